"""A product whose rows are pooled before they leave the registers: convolution, ReLU and 2x2 max-pooling.

The rows of a tile come in fours, the pixels of a window. When their sums are done, the largest of each four is written, and
which it was: a quarter of the stores, and the unpooled image is nowhere. Twelve rows and half as many vectors as in the
widest tile keep the processor as busy as that, and are three windows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.processor import VECTOR_BYTES, VECTORS
from minitl.kernels.simd.names import by_name, call
from minitl.kernels.simd.pooling import best_of_four_in_numpy, pick
from minitl.kernels.simd.tile import (
    call_tiles,
    emit_tiles,
    equal_parts,
    itemsize,
    product_arguments,
    product_in_numpy,
    product_types,
)
from minitl.kernels.simd.vectors import INT, pointer

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


pooled_product: Any = pooled_product_in_numpy if config.DISABLE_JIT else _pooled_product_in_llvm


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
        first = 0
        for here, count in equal_parts(windows, WINDOWS):
            if count > 0:
                _pooled_tiles(
                    4 * here, vectors, count, width, a, a_rows + 32 * first, b + size * column,
                    n0, a0, b0, n1, a1, b1, n2, a2, b2,
                    start + size * (4 * first * start_step + column), start_step, c + size * column, c_rows + 8 * first,
                    winner + column if winner != 0 else 0, floor,
                )  # fmt: skip
                first += here * count
        column += width


@intrinsic
def _pooled_tiles(
    typingctx, rows, vectors, count, width, a, a_rows, b, n0, a0, b0, n1, a1, b1, n2, a2, b2,
    start, start_step, c, c_rows, winner, floor,
):  # fmt: skip
    def codegen(context, builder, sig, args):
        shapes = [(4 * windows, V) for V in sorted({1, NARROWER}) for windows in range(1, WINDOWS + 1)]
        call_tiles(builder, shapes, args, lambda P, V: emit_tiles(builder.module, P, V, sig.args[-1].bitwidth // 8, pooled))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 21, floor), codegen


def pooled(builder: ir.IRBuilder, window: list[list[Any]]) -> tuple[list[Any], Callable[[], list[Any]]]:
    """Inside an intrinsic: the largest of four rows of sums, and what computes which it was."""
    picked = [pick(builder, list(four)) for four in zip(*window, strict=True)]
    return [largest for largest, _ in picked], lambda: [which() for _, which in picked]
