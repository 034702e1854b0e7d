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
and NEON have, 12 + 2 + 1 of the 16 of AVX2. `benchmarks/tile.py` prints what each shape reaches.

There is no im2col buffer. A convolution is such a product as it lies in memory: row r starts anywhere
(`a_rows[r]`), and k is three nested counters, each with a step in a and a step in b. For the forward pass the
rows are pixels and the counters run over (1, K_h, K_w C); for the weight gradient the rows are entries (a, b, c)
of the kernel and the counters run over images, rows and columns of dy. The caller chooses.

b must be readable in whole vectors: `pad_columns` gives a matrix of such a width. c is written exactly.
`start` is where the sum begins: a bias (its row step 0), c itself (to add to it), or zeros; `floor` is 0 for ReLU
and -inf for none. Each element's sum runs over k in one order, whatever the tile, so no choice here changes a bit.

LLVM, left to itself, keeps such a tile in memory. Numba lets a function emit LLVM instructions itself
(`numba.extending.intrinsic`), which is what happens below: `_emit_tile` writes one tile function for given P, V
and number type, and `_tile` calls the one that the number of rows and vectors asks for. All of them together are one
C function a number type, compiled once; kernels call it by its name, so that they need not contain it.

Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, 2008.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import compile_c, config, jit


def _host_vectors() -> tuple[int, int, int]:
    """Bytes of a vector, and the largest tile (P, V), for the processor that Numba compiles for."""
    if config.CPU_FEATURES is not None:
        features = set(config.CPU_FEATURES.split(","))
    else:
        features = {"+" + name for name, there in llvmlite.binding.get_host_cpu_features().items() if there}
    if "+avx512f" in features:
        return 64, 6, 4
    if "+avx2" in features or "+avx" in features:
        return 32, 6, 2
    return 16, 6, 4 if "+neon" in features else 2


VECTOR_BYTES, ROWS, VECTORS = _host_vectors()
INT = ir.IntType(64)


def ready(dtype: np.dtype) -> None:
    """Compile the product for float32 or float64, or load it, and let kernels find it; call before a kernel that uses it."""
    if dtype not in _ready and not config.DISABLE_JIT:
        _ready[dtype] = compile_c(_product_signature(dtype))(_product_in_tiles)
        llvmlite.binding.add_symbol(_symbol(dtype.itemsize), _ready[dtype].address)


_ready: dict[np.dtype, Any] = {}  # keeps the machine code alive


def whole_vectors(columns: int, dtype: np.dtype) -> int:
    """A number of columns, rounded up to whole vectors."""
    lanes = VECTOR_BYTES // dtype.itemsize
    return -(-columns // lanes) * lanes


def pad_columns(matrix: np.ndarray) -> np.ndarray:
    """The same rows, widened with zeros to whole vectors; the matrix itself where it has that width.

    Shapes: (..., columns) to (..., columns rounded up).
    """
    wide = whole_vectors(matrix.shape[-1], matrix.dtype)
    if wide == matrix.shape[-1]:
        return np.ascontiguousarray(matrix)
    padded = np.zeros((*matrix.shape[:-1], wide), matrix.dtype)
    padded[..., : matrix.shape[-1]] = matrix
    return padded


def _product_in_numpy(
    a, a_at, a_rows, b, b_at, b_step, counters, start, start_at, start_step, c, c_at, c_rows, columns, floor
):  # fmt: skip
    """What `product` computes, step by step: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    (n0, a0, b0), (n1, a1, b1), (n2, a2, b2) = counters
    in_b = b_at + np.arange(columns) * b_step
    for r in range(len(a_rows)):
        begin = start_at + r * start_step
        total = start[begin : begin + columns].copy()
        for i in range(n0):
            for j in range(n1):
                for k in range(n2):
                    total += a[a_at + a_rows[r] + i * a0 + j * a1 + k * a2] * b[in_b + i * b0 + j * b1 + k * b2]
        c[c_at + c_rows[r] : c_at + c_rows[r] + columns] = np.where(total < floor, floor, total)


@intrinsic
def _product_in_llvm(
    typingctx, a, a_at, a_rows, b, b_at, b_step, counters, start, start_at, start_step, c, c_at, c_rows, columns, floor
):  # fmt: skip
    """Call the compiled product by its name, with addresses in the place of arrays."""
    size = a.dtype.bitwidth // 8
    intp = types.intp
    three = types.UniTuple(types.UniTuple(intp, 3), 3)
    signature = types.void(a, intp, a_rows, b, intp, intp, three, start, intp, intp, c, intp, c_rows, intp, a.dtype)

    def codegen(context, builder, sig, args):
        def array(position):
            return context.make_array(sig.args[position])(context, builder, args[position])

        def at(position, offset):
            address = builder.ptrtoint(array(position).data, INT)
            return builder.add(address, builder.mul(offset, INT(size)))

        _, a_at, _, _, b_at, b_step, counters, _, start_at, start_step, _, c_at, _, columns, floor = args
        groups = cgutils.unpack_tuple(builder, counters)
        a_rows, c_rows = array(2), array(12)
        call = [
            at(0, a_at), builder.ptrtoint(a_rows.data, INT), at(3, b_at), b_step,
            *[item for group in groups for item in cgutils.unpack_tuple(builder, group)],
            at(7, start_at), start_step, at(10, c_at), builder.ptrtoint(c_rows.data, INT), a_rows.nitems, columns, floor,
        ]  # fmt: skip
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in call])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, _symbol(size)), call)
        return context.get_dummy_value()

    return signature, codegen


product = _product_in_numpy if config.DISABLE_JIT else _product_in_llvm


def _as_array_in_python(address, count, like):
    """`count` numbers at an address, of the dtype of `like`: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    kind = {4: ctypes.c_float, 8: ctypes.c_double}[like.itemsize]
    return np.ctypeslib.as_array(ctypes.cast(int(address), ctypes.POINTER(kind)), (count,))


@intrinsic
def _pointer(typingctx, address, like):
    return types.CPointer(like.dtype)(address, like), lambda context, builder, sig, args: builder.inttoptr(
        args[0], context.get_value_type(sig.return_type)
    )


@jit()
def _as_array_in_llvm(address, count, like):
    return numba.carray(_pointer(address, like), count)


as_array = _as_array_in_python if config.DISABLE_JIT else _as_array_in_llvm


def _symbol(size: int) -> str:
    return f"minitl_product_f{8 * size}"


def _product_signature(dtype: np.dtype) -> Any:
    return types.void(*[types.intp] * 19, numba.from_dtype(dtype))


def _product_in_tiles(
    a, a_rows, b, b_step, n0, a0, b0, n1, a1, b1, n2, a2, b2, start, start_step, c, c_rows, rows, columns, floor
):  # fmt: skip
    """The compiled product: cut rows and columns into tiles as equal as they come."""
    size = _itemsize(floor)
    lanes = VECTOR_BYTES // size
    tiles = -(-rows // ROWS)
    column = 0
    while column < columns:
        left = (columns - column) // lanes  # whole vectors; fewer columns than one are a tile of V = 1 too
        vectors = VECTORS if left >= VECTORS else (2 if left >= 2 else 1)
        width = min(columns - column, vectors * lanes)
        for t in range(tiles):
            first, last = t * rows // tiles, (t + 1) * rows // tiles
            _tile(
                last - first, vectors, width, a, a_rows + 8 * first, b + size * column * b_step,
                n0, a0, b0, n1, a1, b1, n2, a2, b2,
                start + size * (first * start_step + column), start_step, c + size * column, c_rows + 8 * first, floor,
            )  # fmt: skip
        column += width


@intrinsic
def _itemsize(typingctx, number):
    return types.intp(number), lambda context, builder, sig, args: INT(sig.args[0].bitwidth // 8)


@intrinsic
def _tile(
    typingctx, rows, vectors, width, a, a_rows, b, n0, a0, b0, n1, a1, b1, n2, a2, b2, start, start_step, c, c_rows, floor
):  # fmt: skip
    """A switch over (rows, vectors) that calls the tile function for it."""
    size = floor.bitwidth // 8
    scalar = {4: ir.FloatType(), 8: ir.DoubleType()}[size]

    def codegen(context, builder, sig, args):
        rows, vectors = args[:2]
        done = builder.append_basic_block("done")
        choice = builder.switch(builder.add(builder.mul(vectors, INT(ROWS + 1)), rows), done)
        for V in sorted({1, 2, VECTORS}):
            for P in range(1, ROWS + 1):
                block = builder.append_basic_block(f"tile_{P}x{V}")
                choice.add_case(INT(V * (ROWS + 1) + P), block)
                builder.position_at_end(block)
                builder.call(_emit_tile(builder.module, P, V, VECTOR_BYTES // size, scalar, size), args[2:])
                builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 19, floor), codegen


def _emit_tile(module: ir.Module, P: int, V: int, lanes: int, scalar: ir.Type, size: int) -> ir.Function:
    """The function tile_PxV of this module: P rows, V vectors of `lanes` numbers of `size` bytes."""
    name = f"minitl_tile_{P}x{V}x{lanes}_f{8 * size}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT] * 17 + [scalar]), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    width, a, a_rows, b, n0, a0, b0, n1, a1, b1, n2, a2, b2, start, start_step, c, c_rows, floor = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vector = ir.VectorType(scalar, lanes)
    none = ir.Constant(vector, ir.Undefined)
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    bytes_ = INT(size)

    def pointer(address, kind):
        return builder.inttoptr(address, kind.as_pointer())

    def load(address, kind):
        value = builder.load(pointer(address, kind))
        value.align = size
        return value

    def broadcast(number):
        return builder.shuffle_vector(builder.insert_element(none, number, ir.IntType(32)(0)), none, everywhere)

    def row_address(table, base, p):
        return builder.add(base, builder.mul(load(builder.add(table, INT(8 * p)), INT), bytes_))

    # The sums live in stack slots, which LLVM turns into registers.
    sums = [[cgutils.alloca_once(builder, vector) for _ in range(V)] for _ in range(P)]
    a_addresses = [row_address(a_rows, a, p) for p in range(P)]
    copy = _emit_copy(module, scalar, size)
    edge = builder.ptrtoint(cgutils.alloca_once(builder, vector), INT) if V == 1 else None
    part = builder.icmp_signed("<", width, INT(lanes))

    for p in range(P):
        source = builder.add(start, builder.mul(builder.mul(start_step, INT(p)), bytes_))
        if edge is not None:  # the last columns may be fewer than a vector
            with builder.if_then(part):
                builder.call(copy, [source, edge, width])
            source = builder.select(part, edge, source)
        for v in range(V):
            builder.store(load(builder.add(source, INT(v * lanes * size)), vector), sums[p][v])

    with cgutils.for_range(builder, n0) as loop0:
        with cgutils.for_range(builder, n1) as loop1:
            in_a = builder.add(builder.mul(loop0.index, a0), builder.mul(loop1.index, a1))
            in_b = builder.add(builder.mul(loop0.index, b0), builder.mul(loop1.index, b1))
            with cgutils.for_range(builder, n2) as loop2:
                k_a = builder.mul(builder.add(in_a, builder.mul(loop2.index, a2)), bytes_)
                k_b = builder.add(b, builder.mul(builder.add(in_b, builder.mul(loop2.index, b2)), bytes_))
                weights = [load(builder.add(k_b, INT(v * lanes * size)), vector) for v in range(V)]
                for p in range(P):
                    number = broadcast(load(builder.add(a_addresses[p], k_a), scalar))
                    for v in range(V):
                        term = builder.fmul(number, weights[v], flags=("contract",))
                        total = builder.fadd(builder.load(sums[p][v]), term, flags=("contract",))
                        builder.store(total, sums[p][v])

    floors = broadcast(floor)
    for p in range(P):
        base = row_address(c_rows, c, p)
        target = base if edge is None else builder.select(part, edge, base)
        for v in range(V):
            total = builder.load(sums[p][v])
            total = builder.select(builder.fcmp_ordered("<", total, floors), floors, total)
            builder.store(total, pointer(builder.add(target, INT(v * lanes * size)), vector)).align = size
        if edge is not None:
            with builder.if_then(part):
                builder.call(copy, [edge, base, width])
    builder.ret_void()
    return function


def _emit_copy(module: ir.Module, scalar: ir.Type, size: int) -> ir.Function:
    """The function copy(source, target, how many numbers) of this module."""
    name = f"minitl_copy_f{8 * size}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT] * 3), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    source, target, count = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    with cgutils.for_range(builder, count) as loop:
        offset = builder.mul(loop.index, INT(size))
        number = builder.load(builder.inttoptr(builder.add(source, offset), scalar.as_pointer()))
        builder.store(number, builder.inttoptr(builder.add(target, offset), scalar.as_pointer()))
    builder.ret_void()
    return function
