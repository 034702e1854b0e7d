"""Rows of a depthwise convolution in vectors of channels: what LLVM would not do without checking for overlaps at every pixel.

Neighbouring outputs share the kernel's vector: four of them are summed side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.processor import VECTOR_BYTES
from minitl.kernels.simd.vectors import INT, broadcast, pointer

SIDE_BY_SIDE = 4  # outputs


def _row_in_numpy(x, at, row, column, kernel, k_at, k_row, rows, columns, bias, y, to, step, count, channels, floor, ceiling):
    """What `depthwise_row` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    c = np.arange(channels)
    for j in range(count):
        total = bias[c].copy()
        for a in range(rows):
            for b in range(columns):
                total += x[at + a * row + b * column + j * step + c] * kernel[k_at + a * k_row + b * channels + c]
        y[to + j * channels : to + (j + 1) * channels] = np.clip(total, floor, ceiling)


@intrinsic
def _row_in_llvm(
    typingctx, x, at, row, column, kernel, k_at, k_row, rows, columns, bias, y, to, step, count, channels, floor, ceiling
):
    """`count` outputs of one row, whole vectors of channels, with a kernel of rows x columns entries:

    y[to + j channels + c] = bias[c] + sum_{a, b} x[at + a row + b column + j step + c] kernel[k_at + a k_row + b channels + c],
    no smaller than `floor` and no larger than `ceiling`.
    """
    intp, size = types.intp, x.dtype.bitwidth // 8

    def codegen(context, builder, sig, args):
        _, at, row, column, _, k_at, k_row, rows, columns, _, _, to, step, count, channels, floor, ceiling = args
        x, kernel, bias, y = (pointer(context, builder, sig.args[k], args[k]) for k in (0, 4, 9, 10))
        scalar = context.get_value_type(sig.args[0].dtype)
        vector = ir.VectorType(scalar, VECTOR_BYTES // size)
        floors, ceilings = broadcast(builder, floor, vector), broadcast(builder, ceiling, vector)
        sums = [cgutils.alloca_once(builder, vector) for _ in range(SIDE_BY_SIDE)]

        def place(array, index):
            return builder.bitcast(builder.gep(array, [index]), vector.as_pointer())

        def add(total, pixel, weights):
            term = builder.fmul(pixel, weights, flags=("contract",))
            builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)

        def entry(many, in_x, in_kernel, a, b):  # one of the window, for outputs side by side
            in_x = builder.add(in_x, builder.add(builder.mul(a, row), builder.mul(b, column)))
            in_kernel = builder.add(in_kernel, builder.add(builder.mul(a, k_row), builder.mul(b, channels)))
            weights = builder.load(place(kernel, in_kernel), align=size)
            for k, total in enumerate(sums[:many]):
                add(total, builder.load(place(x, builder.add(in_x, builder.mul(step, INT(k)))), align=size), weights)

        def row_of_three(many, in_x, in_kernel, a):  # neighbours share pixels
            in_x, in_kernel = builder.add(in_x, builder.mul(a, row)), builder.add(in_kernel, builder.mul(a, k_row))
            pixels = [builder.load(place(x, builder.add(in_x, builder.mul(column, INT(k)))), align=size) for k in range(many + 2)]
            for b in range(3):
                weights = builder.load(place(kernel, builder.add(in_kernel, builder.mul(channels, INT(b)))), align=size)
                for k, total in enumerate(sums[:many]):
                    add(total, pixels[k + b], weights)

        def outputs(first, many, v):
            start = builder.load(place(bias, v), align=size)
            for total in sums[:many]:
                builder.store(start, total)
            in_x, in_kernel = builder.add(builder.add(at, v), builder.mul(first, step)), builder.add(k_at, v)
            with builder.if_else(neighbours) as (shared, general):
                with shared, cgutils.for_range(builder, rows) as over_rows:
                    row_of_three(many, in_x, in_kernel, over_rows.index)
                with general, cgutils.for_range(builder, rows) as over_rows, cgutils.for_range(builder, columns) as over_columns:
                    entry(many, in_x, in_kernel, over_rows.index, over_columns.index)
            for k, total in enumerate(sums[:many]):
                value = builder.load(total)
                value = builder.select(builder.fcmp_ordered("<", value, floors), floors, value)
                value = builder.select(builder.fcmp_ordered(">", value, ceilings), ceilings, value)
                target = builder.add(builder.add(to, v), builder.mul(builder.add(first, INT(k)), channels))
                builder.store(value, place(y, target), align=size)

        three = builder.icmp_signed("==", columns, INT(3))
        neighbours = builder.and_(three, builder.icmp_signed("==", step, column))
        whole = builder.mul(builder.sdiv(count, INT(SIDE_BY_SIDE)), INT(SIDE_BY_SIDE))
        with cgutils.for_range_slice(builder, INT(0), channels, INT(vector.count), INT) as (v, _):
            with cgutils.for_range_slice(builder, INT(0), whole, INT(SIDE_BY_SIDE), INT) as (first, _):
                outputs(first, SIDE_BY_SIDE, v)
            with builder.if_else(builder.icmp_signed(">", count, INT(SIDE_BY_SIDE))) as (many, few):
                with many, builder.if_then(builder.icmp_signed("!=", whole, count)):  # the last ones, some of them again
                    outputs(builder.sub(count, INT(SIDE_BY_SIDE)), SIDE_BY_SIDE, v)
                with few, cgutils.for_range_slice(builder, whole, count, INT(1), INT) as (first, _):
                    outputs(first, 1, v)
        return context.get_dummy_value()

    kinds = [x, intp, intp, intp, kernel, intp, intp, intp, intp, bias, y, intp, intp, intp, intp, x.dtype, x.dtype]
    return types.void(*kinds), codegen


def _gradient_in_numpy(x, at, column, columns, step, dy, dy_at, count, channels, sums, in_sums):
    """What `depthwise_gradient` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    c = np.arange(channels)
    for b in range(columns):
        for j in range(count):
            sums[in_sums + b * channels + c] += x[at + b * column + j * step + c] * dy[dy_at + j * channels + c]


@intrinsic
def _gradient_in_llvm(typingctx, x, at, column, columns, step, dy, dy_at, count, channels, sums, in_sums):
    """sums[in_sums + b channels + c] += sum_j x[at + b column + j step + c] dy[dy_at + j channels + c], in whole vectors."""
    intp, size = types.intp, x.dtype.bitwidth // 8

    def codegen(context, builder, sig, args):
        _, at, column, columns, step, _, dy_at, count, channels, _, in_sums = args
        x, dy, sums = (pointer(context, builder, sig.args[k], args[k]) for k in (0, 5, 9))
        vector = ir.VectorType(context.get_value_type(sig.args[0].dtype), VECTOR_BYTES // size)
        total = cgutils.alloca_once(builder, vector)

        def place(array, index):
            return builder.bitcast(builder.gep(array, [index]), vector.as_pointer())

        over_vectors = cgutils.for_range_slice(builder, INT(0), channels, INT(vector.count), INT)
        with over_vectors as (v, _), cgutils.for_range(builder, columns) as over_columns:
            b = over_columns.index
            target = place(sums, builder.add(builder.add(in_sums, v), builder.mul(b, channels)))
            builder.store(builder.load(target, align=size), total)
            here = builder.add(builder.add(at, v), builder.mul(b, column))
            with cgutils.for_range(builder, count) as over_outputs:
                j = over_outputs.index
                pixel = builder.load(place(x, builder.add(here, builder.mul(j, step))), align=size)
                gradient = builder.load(place(dy, builder.add(builder.add(dy_at, v), builder.mul(j, channels))), align=size)
                term = builder.fmul(pixel, gradient, flags=("contract",))
                builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
            builder.store(builder.load(total), target, align=size)
        return context.get_dummy_value()

    return types.void(x, intp, intp, intp, intp, dy, intp, intp, intp, sums, intp), codegen


depthwise_row: Any = _row_in_numpy if config.DISABLE_JIT else _row_in_llvm
depthwise_gradient: Any = _gradient_in_numpy if config.DISABLE_JIT else _gradient_in_llvm
