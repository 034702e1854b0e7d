"""The register tile: one piece of machine code that does every product of the network.

Convolution and dense layers, forward and backward, are all sums of products: a number of rows (pixels, samples,
kernel entries), a number of columns (output channels), and for each of them a long sum over k:

    c[row, column] = max(floor, start[row, column] + sum_k a[row, k] b[k, column])

Written as three loops this spends its time on loading and storing. Each loaded number should be used as often as
possible before it leaves the registers. So we keep a tile of P rows x V vectors of columns in registers, as P V
running sums. One step of k loads V vectors of b and P numbers of a, and does P V fused multiply-adds:

                      b[k, 0:16] b[k, 16:32] b[k, 32:48] b[k, 48:64]       V = 4 loads
        a[row 0, k]       +          +           +           +
        a[row 1, k]       +          +           +           +             P = 6 broadcasts
           ...                                                             24 multiply-adds of 16 numbers each

The sums, the V vectors and one broadcast have to fit the processor's registers: 24 + 4 + 1 of the 32 that AVX-512
and NEON have, 12 + 2 + 1 of the 16 of AVX2; where fewer columns leave registers free, a tile has 12 rows.
`benchmarks/tile.py` prints what each shape reaches.

There is no im2col buffer. A convolution is such a product as it lies in memory: row r starts anywhere
(`a_rows[r]`), and k is three nested counters, each with a step in a and a step in b. For the forward pass the
rows are pixels and the counters run over (1, K_h, K_w C); for the weight gradient the rows are entries (a, b, c)
of the kernel and the counters run over images, rows and columns of dy. The caller chooses.

b must be readable in whole vectors: `padding.pad_columns` gives a matrix of such a width. c is written exactly.
`start` is where the sum begins: a bias (its row step 0), c itself (to add to it), or zeros; `floor` is 0 for ReLU
and -inf for none. Each element's sum runs over k in one order, whatever the tile, so no choice here changes a bit.
The end of a residual block is done on the way out: `finished_product` adds what it skips with, and knows a ceiling.

LLVM, left to itself, keeps such a tile in memory. Numba lets a function emit LLVM instructions itself
(`numba.extending.intrinsic`), which is what happens below: `emit_tiles` writes the function for tiles of given P, V
and number type, and `_tiles` calls the one that the number of rows and vectors asks for. All of them together are one
C function a number type, compiled once; kernels call it by its name (`names`), so that they need not contain it.

Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, 2008.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import config, inner
from minitl.kernels.processor import ROWS, VECTOR_BYTES, VECTORS
from minitl.kernels.simd.ahead import NUMBERS, Walk, write
from minitl.kernels.simd.finishing import finish, rows_finished
from minitl.kernels.simd.moving import rows_fetched
from minitl.kernels.simd.names import by_name, call
from minitl.kernels.simd.row_ends import RowEnds, in_row
from minitl.kernels.simd.vectors import INT, broadcast, call_one, internal, pointer


def product_in_numpy(
    a, a_at, a_rows, a_row, b, b_at, counters, start, start_at, start_step, c, c_at, c_rows, c_row, rows, columns, floor
):  # fmt: skip
    """What `product` computes, step by step: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    (n0, a0, b0), (n1, a1, b1), (n2, a2, b2) = counters
    in_b = b_at + np.arange(columns)
    for r in range(rows):
        begin = start_at + r * start_step
        total = start[begin : begin + columns].copy()
        for i in range(n0):
            for j in range(n1):
                for k in range(n2):
                    total += a[a_at + a_rows[a_row + r] + i * a0 + j * a1 + k * a2] * b[in_b + i * b0 + j * b1 + k * b2]
        to = c_at + c_rows[c_row + r]
        c[to : to + columns] = np.where(total < floor, floor, total)


@intrinsic
def _product_in_llvm(
    typingctx, a, a_at, a_rows, a_row, b, b_at, counters, start, start_at, start_step,
    c, c_at, c_rows, c_row, rows, columns, floor,
):  # fmt: skip
    """Call the compiled product by its name, with addresses in the place of arrays.

    Row r begins at a[a_at + a_rows[a_row + r]] and c[c_at + c_rows[c_row + r]]; the arrays may be pointers.
    """
    return _product_call(product_types(a, a_rows, b, start, c, c_rows), lambda *_: [INT(0)] * 4)


def finished_product_in_numpy(
    a, a_at, a_rows, a_row, b, b_at, counters, start, start_at, start_step, c, c_at, c_rows, c_row, rows, columns, floor,
    far, ceiling, skips, skip, walk,
):  # fmt: skip
    """What `finished_product` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    given = a, a_at, a_rows, a_row, b, b_at, counters, start, start_at, start_step, c, c_at, c_rows, c_row, rows, columns
    product_in_numpy(*given, -np.inf if skips else floor)
    for r in range(rows):
        at = c_at + c_rows[c_row + r] + np.arange(columns)
        total = c[at] + skip[at] if skips else c[at]
        total = np.where(total < floor, floor, total)
        c[at] = np.where(total > ceiling, ceiling, total) if ceiling else total


@intrinsic
def _finished_product_in_llvm(
    typingctx, a, a_at, a_rows, a_row, b, b_at, counters, start, start_at, start_step,
    c, c_at, c_rows, c_row, rows, columns, floor, far, ceiling, skips, skip, walk,
):  # fmt: skip
    """As `product`; with `skips`, what is in the same place of `skip` is added first; and what is above a whole `ceiling` is cut
    off, unless that is 0.

    With `far`, rows of a and c are in memory and not near: while a tile is computed, those of the next are asked for. Only where
    the last counter alone counts, and a row of a is a run of neighbours. A `walk` (`ahead`) is taken along in their place, unless
    it is 0.
    """
    intp = types.intp

    def more(context, builder, args):
        begin = builder.ptrtoint(pointer(context, builder, skip, args[20]), INT)
        begin = builder.add(begin, builder.mul(args[11], INT(a.dtype.bitwidth // 8)))
        return [args[17], args[18], builder.select(builder.icmp_signed("!=", args[19], INT(0)), begin, INT(0)), args[21]]

    return _product_call([*product_types(a, a_rows, b, start, c, c_rows), intp, intp, intp, skip, intp], more)


def _product_call(kinds: list[Any], more: Callable[..., list[Any]]) -> Any:
    """The signature and the code of a call of the compiled product; `more` gives far, the ceiling, the skip and a walk."""

    def codegen(context, builder, sig, args):
        *arguments, floor = product_arguments(context, builder, sig.args, args)
        call(builder, "product", kinds[0].dtype.bitwidth // 8, [*arguments, *more(context, builder, args), floor])
        return context.get_dummy_value()

    return types.void(*kinds), codegen


product: Any = product_in_numpy if config.DISABLE_JIT else _product_in_llvm
finished_product: Any = finished_product_in_numpy if config.DISABLE_JIT else _finished_product_in_llvm


def product_types(a: Any, a_rows: Any, b: Any, start: Any, c: Any, c_rows: Any) -> list[Any]:
    """The types of a product's arguments."""
    intp = types.intp
    three = types.UniTuple(types.UniTuple(intp, 3), 3)
    return [a, intp, a_rows, intp, b, intp, three, start, intp, intp, c, intp, c_rows, intp, intp, intp, a.dtype]


def product_arguments(context: Any, builder: ir.IRBuilder, kinds: Any, args: Any) -> list[Any]:
    """Inside an intrinsic: what the compiled product takes."""
    size = kinds[0].dtype.bitwidth // 8

    def at(position, offset, size=size):
        address = builder.ptrtoint(pointer(context, builder, kinds[position], args[position]), INT)
        return builder.add(address, builder.mul(offset, INT(size)))

    _, a_at, _, a_row, _, b_at, counters, _, start_at, start_step, _, c_at, _, c_row, rows, columns, floor = args[:17]
    groups = cgutils.unpack_tuple(builder, counters)
    return [
        at(0, a_at), at(2, a_row, 8), at(4, b_at),
        *[item for group in groups for item in cgutils.unpack_tuple(builder, group)],
        at(7, start_at), start_step, at(10, c_at), at(12, c_row, 8), rows, columns, floor,
    ]  # fmt: skip


@by_name("product", 22)
def _product_in_tiles(
    a, a_rows, b, n0, a0, b0, n1, a1, b1, n2, a2, b2, start, start_step, c, c_rows, rows, columns, far, ceiling, skip, walk, floor
):  # fmt: skip
    """The compiled product: cut rows and columns into tiles as equal as they come."""
    size = itemsize(floor)
    lanes = VECTOR_BYTES // size
    column = 0
    while column < columns:
        needed = -(-(columns - column) // lanes)  # vectors; the last may be a part of one
        vectors = VECTORS if needed >= VECTORS else (2 if needed >= 2 else 1)
        width = min(columns - column, vectors * lanes)
        first = 0
        for here, count in equal_parts(rows, ROWS if vectors == VECTORS else 2 * ROWS):
            if count > 0:
                _tiles(
                    here, vectors, count, width, a, a_rows + 8 * first, b + size * column,
                    n0, a0, b0, n1, a1, b1, n2, a2, b2,
                    start + size * (first * start_step + column), start_step, c + size * column, c_rows + 8 * first,
                    far, ceiling, skip + size * column if skip != 0 else 0, walk, floor,
                )  # fmt: skip
                first += here * count
        column += width


@inner()
def equal_parts(rows, most):
    """How to cut rows into parts of at most `most`, as equal as they come: of how many rows, and how many of them, twice."""
    parts = -(-rows // most)
    least = rows // max(parts, 1)
    larger = rows - least * parts
    return (least + 1, larger), (least, parts - larger)


@intrinsic
def itemsize(typingctx, number):
    """The bytes of a number."""
    return types.intp(number), lambda context, builder, sig, args: INT(sig.args[0].bitwidth // 8)


@intrinsic
def _tiles(
    typingctx, rows, vectors, count, width, a, a_rows, b, n0, a0, b0, n1, a1, b1, n2, a2, b2,
    start, start_step, c, c_rows, far, ceiling, skip, walk, floor,
):  # fmt: skip
    """A switch over (rows, vectors) that calls the function for `count` such tiles."""

    def codegen(context, builder, sig, args):
        shapes = [(P, V) for V in sorted({1, 2, VECTORS}) for P in range(1, (ROWS if V == VECTORS else 2 * ROWS) + 1)]
        call_tiles(builder, shapes, args, lambda P, V: emit_tiles(builder.module, P, V, sig.args[-1].bitwidth // 8))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 24, floor), codegen


def call_tiles(builder: ir.IRBuilder, shapes: list[tuple[int, int]], args: Any, emit: Callable[[int, int], ir.Function]) -> None:
    """Inside an intrinsic: a switch over the first two arguments, rows and vectors, that calls the function for them."""
    key = builder.add(builder.mul(args[1], INT(100)), args[0])
    call_one(builder, key, {100 * V + P: emit(P, V) for P, V in shapes}, args[2:])


def emit_tiles(module: ir.Module, P: int, V: int, size: int, reduce: Callable[..., Any] | None = None) -> ir.Function:
    """The function tiles_PxV of this module: P rows, V vectors of numbers of `size` bytes, one tile below another.

    `reduce` makes one row of every four rows of sums, which then goes to c, and gives what makes a row of bytes, which goes to
    the same place of one more array if its address is not 0. Without it, four numbers say what `finished_product` does besides:
    whether rows are far, the ceiling, and the addresses of the skip and of a walk.
    """
    lanes, scalar, group = VECTOR_BYTES // size, {4: ir.FloatType(), 8: ir.DoubleType()}[size], 4 if reduce else 1
    name = f"minitl_tiles_{P}x{V}_f{8 * size}_{reduce.__name__ if reduce else ''}"
    if name in module.globals:
        return module.globals[name]
    function = internal(module, name, [INT] * (19 if reduce else 22) + [scalar])
    count, width, a, a_rows, b, n0, a0, b0, n1, a1, b1, n2, a2, b2, start, start_step, c, c_rows, *more, floor = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vector = ir.VectorType(scalar, lanes)
    ends = RowEnds(builder, width, V, lanes)
    least = floor
    if not reduce:
        far, ceiling, skip, walk = more
        is_far = builder.and_(builder.icmp_signed("!=", far, INT(0)), builder.icmp_signed("==", a2, INT(1)))
        is_skip = builder.icmp_signed("!=", skip, INT(0))
        is_more = builder.or_(is_skip, builder.icmp_signed("!=", ceiling, INT(0)))
        least = builder.select(is_skip, scalar(-np.inf), floor)  # what is skipped with comes before the floor
    floors = broadcast(builder, least, vector)
    # The sums live in stack slots, which LLVM turns into registers.
    sums = [[cgutils.alloca_once(builder, vector) for _ in range(V)] for _ in range(P)]

    def place(address, number, kind):  # an address that x86 and ARM compute while they load
        one = kind.element if isinstance(kind, ir.VectorType) else kind
        first = builder.gep(builder.inttoptr(address, one.as_pointer()), [number])
        return builder.bitcast(first, kind.as_pointer())

    def load(address, number, kind):
        return builder.load(place(address, number, kind), align=size)

    def fetch_next(tile):
        """Bring what the next tile reads and writes nearer."""
        following = builder.add(tile.index, INT(1))
        with builder.if_then(builder.and_(is_far, builder.icmp_signed("<", following, count))):
            read = () if spread else ((False, a_rows, a, n2),)
            for write, table, begin, columns in (*read, (True, c_rows, c, INT(V * lanes))):
                first = builder.add(table, builder.mul(following, INT(8 * P)))
                builder.call(rows_fetched(module, write, size), [first, begin, INT(P), columns])
            with builder.if_then(is_skip):
                builder.call(rows_fetched(module, False, size), [first, skip, INT(P), columns])

    spread = not reduce and V == VECTORS and P == ROWS  # most tiles: what they fetch must not come all at once
    to_next = cgutils.alloca_once(builder, INT, size=NUMBERS) if spread else None  # the walk through what the next tile reads
    inline = not reduce and V == VECTORS and P >= ROWS - 1  # most tiles; all of them would take long to compile

    with cgutils.for_range(builder, count) as tile:
        first = builder.mul(tile.index, INT(P))
        rows_of_a = [load(a_rows, builder.add(first, INT(p)), INT) for p in range(P)]

        starts = [builder.add(builder.mul(first, start_step), builder.mul(start_step, INT(p))) for p in range(P)]
        ends.read([place(start, at, vector) for at in starts], sums, size)
        if not reduce:
            fetch_next(tile)

        def add_up(further):
            """All terms of the sums; with each of them a walk goes on, if there is one."""
            with cgutils.for_range(builder, n0) as loop0, cgutils.for_range(builder, n1) as loop1:
                in_a = builder.add(builder.mul(loop0.index, a0), builder.mul(loop1.index, a1))
                in_b = builder.add(builder.mul(loop0.index, b0), builder.mul(loop1.index, b1))
                with cgutils.for_range(builder, n2) as loop2:
                    k_a = builder.add(a, builder.mul(builder.add(in_a, builder.mul(loop2.index, a2)), INT(size)))
                    k_b = builder.add(in_b, builder.mul(loop2.index, b2))
                    if further is not None:
                        further.go_on()
                    columns_of_b = place(b, k_b, vector)
                    weights = [builder.load(in_row(builder, columns_of_b, v), align=size) for v in range(V)]
                    for p in range(P):
                        number = broadcast(builder, load(k_a, rows_of_a[p], scalar), vector)
                        for v in range(V):
                            term = builder.fmul(number, weights[v], flags=("contract",))
                            total = builder.fadd(builder.load(sums[p][v]), term, flags=("contract",))
                            builder.store(total, sums[p][v])

        if spread:
            following, is_walk = builder.add(first, INT(P)), builder.icmp_signed("!=", walk, INT(0))
            is_next = builder.and_(is_far, builder.icmp_signed("<", following, builder.mul(count, INT(P))))
            with builder.if_else(builder.or_(is_walk, is_next)) as (along, alone):
                with along:
                    with builder.if_then(builder.not_(is_walk)):
                        row, below = (load(a_rows, builder.add(following, INT(p)), INT) for p in range(2))
                        length, gap = (builder.mul(n, INT(size)) for n in (n2, builder.sub(builder.sub(below, row), n2)))
                        begin = builder.add(a, builder.mul(row, INT(size)))
                        write(builder, to_next, [begin, length, length, gap, INT(P * size)])
                    further = Walk(builder, builder.select(is_walk, builder.inttoptr(walk, INT.as_pointer()), to_next))
                    add_up(further)
                    further.rest()
                with alone:
                    add_up(None)
        else:
            add_up(None)

        table = builder.add(c_rows, builder.mul(tile.index, INT(8 * (P // group))))
        in_c = [load(table, INT(r), INT) for r in range(P // group)]
        if inline:
            with builder.if_then(builder.and_(is_more, builder.not_(ends.part))):
                skips = [in_row(builder, place(skip, at, vector), v) for at in in_c for v in range(V)]
                finish(builder, [total for row in sums for total in row], skips, skip, ceiling, floor, size)
        totals = [[builder.load(total) for total in row] for row in sums]
        winners: list[Callable[[], list[Any]]] = []  # each emits a row of bytes
        if reduce:
            reduced = [reduce(builder, totals[p : p + group]) for p in range(0, P, group)]
            totals, winners = [row for row, _ in reduced], [of_row for _, of_row in reduced]
        totals = [[builder.select(builder.fcmp_ordered("<", total, floors), floors, total) for total in row] for row in totals]
        ends.write(totals, [place(c, at, vector) for at in in_c], size)
        if reduce:
            note = more[0]
            with builder.if_then(builder.icmp_signed("!=", note, INT(0))):
                rows = [of_row() for of_row in winners]
                ends.write(rows, [place(note, at, rows[0][0].type) for at in in_c], 1)
        else:
            with builder.if_then(builder.and_(is_more, ends.part) if inline else is_more):
                builder.call(rows_finished(module, scalar, size), [table, c, skip, INT(P), width, ceiling, floor])
    builder.ret_void()
    return function
