"""A product whose rows are pooled before they leave the registers: convolution, ReLU and 2x2 max-pooling.

The rows of a tile come in fours, the pixels of a window. When their sums are done, the largest of each four is written, and
which it was: a quarter of the stores, and the unpooled image is nowhere. Twelve rows and half as many vectors as in the
widest tile keep the processor as busy as that, and are three windows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.simd.names import by_name, call
from minitl.kernels.simd.pooling import best_of_four_in_numpy, pick
from minitl.kernels.simd.tile import call_tile, emit_tile, itemsize, product_arguments, product_in_numpy, product_types
from minitl.kernels.simd.vectors import INT, VECTOR_BYTES, VECTORS, pointer

WINDOWS = 3  # in a tile
NARROWER = max(1, VECTORS // 2)  # vectors of a tile


def pooled_product_in_numpy(
    a, a_at, a_rows, a_row, b, b_at, counters, start, start_at, start_step, c, c_at, c_rows, c_row, rows, columns, floor, winner
):  # fmt: skip
    """What `pooled_product` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    sums = np.empty(rows * columns, c.dtype)
    product_in_numpy(
        a, a_at, a_rows, a_row, b, b_at, counters, start, start_at, start_step,
        sums, 0, np.arange(rows) * columns, 0, rows, columns, floor,
    )  # fmt: skip
    for w in range(rows // 4):
        to = c_at + c_rows[c_row + w]
        best_of_four_in_numpy(sums, 4 * w * columns, 2 * columns, columns, c, to, winner, to, columns)


@intrinsic
def _pooled_product_in_llvm(
    typingctx, a, a_at, a_rows, a_row, b, b_at, counters, start, start_at, start_step,
    c, c_at, c_rows, c_row, rows, columns, floor, winner,
):  # fmt: skip
    """As `product`, but of every four rows the largest goes to c, whose rows are windows; and which it was to the same place
    in `winner`, if that is not None: 0 to 3, or NOBODY where none is above zero.
    """
    size = a.dtype.bitwidth // 8
    kinds = [*product_types(a, a_rows, b, start, c, c_rows), winner]

    def codegen(context, builder, sig, args):
        *arguments, floor = product_arguments(context, builder, sig.args, args)
        note = INT(0)
        if winner is not types.none:
            note = builder.add(builder.ptrtoint(pointer(context, builder, winner, args[17]), INT), args[11])
        call(builder, "pooled_product", size, [*arguments, note, floor])
        return context.get_dummy_value()

    return types.void(*kinds), codegen


pooled_product = pooled_product_in_numpy if config.DISABLE_JIT else _pooled_product_in_llvm


@by_name("pooled_product", 19)
def _pooled_product_in_tiles(
    a, a_rows, b, n0, a0, b0, n1, a1, b1, n2, a2, b2, start, start_step, c, c_rows, rows, columns, winner, floor
):  # fmt: skip
    """The compiled product: cut windows and columns into tiles as equal as they come."""
    size = itemsize(floor)
    lanes = VECTOR_BYTES // size
    windows, column = rows // 4, 0
    while column < columns:
        vectors = NARROWER if columns - column > (NARROWER - 1) * lanes else 1
        width = min(columns - column, vectors * lanes)
        tiles = -(-windows // WINDOWS)
        least = windows // max(tiles, 1)
        larger, first = windows - least * tiles, 0
        for t in range(tiles):
            here = least + (t < larger)
            _pooled_tile(
                4 * here, vectors, width, a, a_rows + 32 * first, b + size * column,
                n0, a0, b0, n1, a1, b1, n2, a2, b2,
                start + size * (4 * first * start_step + column), start_step, c + size * column, c_rows + 8 * first,
                winner + column if winner != 0 else 0, floor,
            )  # fmt: skip
            first += here
        column += width


@intrinsic
def _pooled_tile(
    typingctx, rows, vectors, width, a, a_rows, b, n0, a0, b0, n1, a1, b1, n2, a2, b2, start, start_step, c, c_rows, winner, floor
):  # fmt: skip
    def codegen(context, builder, sig, args):
        shapes = [(4 * windows, V) for V in sorted({1, NARROWER}) for windows in range(1, WINDOWS + 1)]
        call_tile(builder, shapes, args, lambda P, V: emit_tile(builder.module, P, V, sig.args[-1].bitwidth // 8, _pooled))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 20, floor), codegen


def _pooled(builder: ir.IRBuilder, sums: list[list[Any]], floors: Any, width: Any, c: Any, c_rows: Any, winner: Any) -> None:
    """Write the largest of every four rows of a tile, and their winners unless their address is 0."""
    lanes = floors.type.count
    size = VECTOR_BYTES // lanes
    windows, vectors = range(len(sums) // 4), range(len(sums[0]))
    places = [builder.load(builder.inttoptr(builder.add(c_rows, INT(8 * w)), INT.as_pointer())) for w in windows]
    results = []
    for w in windows:
        for v in vectors:
            largest, which = pick(builder, [sums[4 * w + k][v] for k in range(4)])
            largest = builder.select(builder.fcmp_ordered("<", largest, floors), floors, largest)
            number = builder.add(places[w], INT(v * lanes))
            results.append((largest, which, number))
    numbers = [(largest, builder.add(c, builder.mul(number, INT(size))), size) for largest, _, number in results]
    _write(builder, numbers, width, len(vectors))
    with builder.if_then(builder.icmp_signed("!=", winner, INT(0))):
        _write(builder, [(which, builder.add(winner, number), 1) for _, which, number in results], width, len(vectors))


def _write(builder: ir.IRBuilder, parts: list[tuple[Any, Any, int]], width: Any, vectors: int) -> None:
    """Store a tile's vectors at their addresses, row by row; of the last in a row only the part that `width` asks for."""
    lanes = parts[0][0].type.count
    done = builder.append_basic_block("written")
    choice = builder.switch(width, builder.append_basic_block("whole"))
    for count in range(1, lanes):
        block = builder.append_basic_block(f"first_{count}")
        choice.add_case(INT((vectors - 1) * lanes + count), block)
        builder.position_at_end(block)
        for k, (vector, address, size) in enumerate(parts):
            begin, half = 0, lanes // 2
            if k % vectors < vectors - 1:
                builder.store(vector, builder.inttoptr(address, vector.type.as_pointer()), align=size)
                continue
            while half:
                if count & half:
                    some = ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(begin, begin + half)))
                    piece = builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), some)
                    to = builder.inttoptr(builder.add(address, INT(begin * size)), piece.type.as_pointer())
                    builder.store(piece, to, align=size)
                    begin += half
                half //= 2
        builder.branch(done)
    builder.position_at_end(choice.default)
    for vector, address, size in parts:
        builder.store(vector, builder.inttoptr(address, vector.type.as_pointer()), align=size)
    builder.branch(done)
    builder.position_at_end(done)
