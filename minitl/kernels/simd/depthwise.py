"""Rows of a depthwise convolution in vectors of channels: what LLVM would not do without checking for overlaps at every pixel.

Along a row of outputs a vector of channels is finished before the next one begins. Four neighbouring outputs are summed side by
side, so that no sum waits for its last term. A window of 3 x 3, or what the image's border leaves of it, stays in registers all
along the row, and where the windows of neighbours are one pixel apart, they share the pixels too. The gradient of such a window
is a sum in a register for each of its entries. A window of 5 x 5 is written out without loops; others are loops.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.processor import VECTOR_BYTES
from minitl.kernels.simd.vectors import INT, broadcast, call_one, internal, pointer

Window = tuple[int, int] | None  # rows and columns; None for one of any size, whose sums are loops

SIDE_BY_SIDE = 4  # outputs
SMALL = [(rows, columns) for rows in (1, 2, 3) for columns in (1, 2, 3)]  # windows that stay in registers
IN_A_ROW = [(1, 3), (2, 3), (3, 3), (5, 5)]  # windows that are written out for outputs side by side


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
        x, kernel, bias, y = (_address(context, builder, sig.args[k], args[k]) for k in (0, 4, 9, 10))
        row, column, k_row, step, pixel = (builder.mul(n, INT(size)) for n in (row, column, k_row, step, channels))
        neighbours = builder.zext(builder.icmp_signed("==", step, column), INT)
        groups, left = builder.sdiv(count, INT(SIDE_BY_SIDE)), builder.srem(count, INT(SIDE_BY_SIDE))
        with cgutils.for_range_slice(builder, INT(0), channels, INT(VECTOR_BYTES // size), INT) as (v, _):

            def outputs(many, first, groups, v=v):
                in_x = builder.add(builder.mul(builder.add(at, v), INT(size)), builder.mul(first, step))
                in_y = builder.add(builder.mul(builder.add(to, v), INT(size)), builder.mul(first, pixel))
                in_kernel = builder.mul(builder.add(k_at, v), INT(size))
                starts = builder.add(x, in_x), builder.add(kernel, in_kernel), builder.add(bias, builder.mul(v, INT(size)))
                sizes = row, column, step, k_row, pixel, rows, columns
                given = [groups, *starts, builder.add(y, in_y), *sizes, floor, ceiling]
                ways = [(window, False) for window in SMALL] if many == 1 else [(w, s) for w in IN_A_ROW for s in (False, True)]
                functions = {_number(*w, s): _outputs(builder.module, size, many, w, s) for w, s in ways}
                number = _number_of(builder, rows, columns, neighbours if many > 1 else None)
                call_one(builder, number, functions, given, _outputs(builder.module, size, many, None, False))

            with builder.if_else(builder.icmp_signed(">=", count, INT(SIDE_BY_SIDE))) as (many, some):
                with many:
                    outputs(SIDE_BY_SIDE, INT(0), groups)
                    with builder.if_then(builder.icmp_signed("!=", left, INT(0))):  # the last ones, some of them again
                        outputs(SIDE_BY_SIDE, builder.sub(count, INT(SIDE_BY_SIDE)), INT(1))
                with some:
                    outputs(1, INT(0), count)
        return context.get_dummy_value()

    kinds = [x, intp, intp, intp, kernel, intp, intp, intp, intp, bias, y, intp, intp, intp, intp, x.dtype, x.dtype]
    return types.void(*kinds), codegen


def _gradient_in_numpy(x, at, row, column, rows, columns, step, dy, dy_at, count, channels, sums, in_sums, s_row):
    """What `depthwise_gradient` computes: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    c = np.arange(channels)
    for a in range(rows):
        for b in range(columns):
            for j in range(count):
                seen = x[at + a * row + b * column + j * step + c]
                sums[in_sums + a * s_row + b * channels + c] += seen * dy[dy_at + j * channels + c]


@intrinsic
def _gradient_in_llvm(typingctx, x, at, row, column, rows, columns, step, dy, dy_at, count, channels, sums, in_sums, s_row):
    """In whole vectors:

    sums[in_sums + a s_row + b channels + c] += sum_j x[at + a row + b column + j step + c] dy[dy_at + j channels + c].
    """
    intp, size = types.intp, x.dtype.bitwidth // 8

    def codegen(context, builder, sig, args):
        _, at, row, column, rows, columns, step, _, dy_at, count, channels, _, in_sums, s_row = args
        x, dy, sums = (_address(context, builder, sig.args[k], args[k]) for k in (0, 7, 11))
        row, column, step, s_row, pixel = (builder.mul(n, INT(size)) for n in (row, column, step, s_row, channels))
        with cgutils.for_range_slice(builder, INT(0), channels, INT(VECTOR_BYTES // size), INT) as (v, _):
            in_x, in_dy, at_sums = (
                builder.add(array, builder.mul(builder.add(offset, v), INT(size)))
                for array, offset in ((x, at), (dy, dy_at), (sums, in_sums))
            )
            given = [count, in_x, in_dy, at_sums, row, column, step, pixel, s_row, rows, columns]
            functions = {_number(*window): _gradients(builder.module, size, window) for window in SMALL}
            call_one(builder, _number_of(builder, rows, columns), functions, given, _gradients(builder.module, size, None))
        return context.get_dummy_value()

    kinds = [x, intp, intp, intp, intp, intp, intp, dy, intp, intp, intp, sums, intp, intp]
    return types.void(*kinds), codegen


depthwise_row: Any = _row_in_numpy if config.DISABLE_JIT else _row_in_llvm
depthwise_gradient: Any = _gradient_in_numpy if config.DISABLE_JIT else _gradient_in_llvm


def _number(rows: int, columns: int, neighbours: bool = False) -> int:
    """Stands for a kind of window."""
    return 100 * (10 * neighbours + rows) + columns


def _number_of(builder: ir.IRBuilder, rows: Any, columns: Any, neighbours: Any = None) -> Any:
    """The same in compiled code."""
    if neighbours is not None:
        rows = builder.add(builder.mul(neighbours, INT(10)), rows)
    return builder.add(builder.mul(rows, INT(100)), columns)


def _outputs(module: ir.Module, size: int, many: int, window: Window, neighbours: bool) -> ir.Function:
    """A function for groups of so many outputs, of one vector of channels; `neighbours` are one pixel apart.

    It takes the number of groups, the addresses of pixels, kernel, bias and outputs, the bytes from one row of pixels to the
    next, from column to column, from output to output, from row to row of the kernel and from one of its entries, or outputs, to
    the next, the window's rows and columns, and the limits.
    """
    name = f"minitl_depthwise_{_number(*window or (0, 0), neighbours)}_{many}_f{8 * size}"
    if name in module.globals:
        return module.globals[name]
    function, builder, vector = _function(module, name, 12, 2, size)
    groups, x, kernel, bias, y, row, column, step, k_row, pixel, rows, columns, floor, ceiling = function.args
    floors, ceilings = broadcast(builder, floor, vector), broadcast(builder, ceiling, vector)
    start, weights = _load(builder, bias, vector), {}

    def weight(a, b):
        return _load(builder, _sum(builder, kernel, builder.mul(k_row, INT(a)), builder.mul(pixel, INT(b))), vector)

    if window in SMALL:
        weights = {(a, b): weight(a, b) for a in range(window[0]) for b in range(window[1])}

    def loops(here):
        slots = [cgutils.alloca_once(builder, vector) for _ in range(many)]
        for slot in slots:
            builder.store(start, slot)
        with cgutils.for_range(builder, rows) as over_rows, cgutils.for_range(builder, columns) as over_columns:
            a, b = over_rows.index, over_columns.index
            factor = _load(builder, _sum(builder, kernel, builder.mul(a, k_row), builder.mul(b, pixel)), vector)
            seen = _sum(builder, here, builder.mul(a, row), builder.mul(b, column))
            for slot in slots:
                builder.store(_add_product(builder, builder.load(slot), _load(builder, seen, vector), factor), slot)
                seen = builder.add(seen, step)
        return [builder.load(slot) for slot in slots]

    def written_out(here, window_rows, window_columns):
        sums = [start] * many
        for a in range(window_rows):
            pixels: dict[int, Any] = {}  # by their number in the row, where neighbours share them
            for b in range(window_columns):
                factor = weights.get((a, b)) or weight(a, b)
                for k in range(many):
                    if not neighbours or k + b not in pixels:
                        offset = builder.add(builder.mul(step, INT(k)), builder.mul(column, INT(b)))
                        pixels[k + b] = _load(builder, _sum(builder, here, builder.mul(row, INT(a)), offset), vector)
                    sums[k] = _add_product(builder, sums[k], pixels[k + b], factor)
        return sums

    at, to = (cgutils.alloca_once_value(builder, address) for address in (x, y))
    with cgutils.for_range(builder, groups):
        here, target = builder.load(at), builder.load(to)
        for value in loops(here) if window is None else written_out(here, *window):
            value = builder.select(builder.fcmp_ordered("<", value, floors), floors, value)
            value = builder.select(builder.fcmp_ordered(">", value, ceilings), ceilings, value)
            _store(builder, value, target)
            target = builder.add(target, pixel)
        builder.store(builder.add(here, builder.mul(step, INT(many))), at)
        builder.store(target, to)
    builder.ret_void()
    return function


def _gradients(module: ir.Module, size: int, window: Window) -> ir.Function:
    """A function for the gradients of a window's entries, of one vector of channels, along a row of outputs.

    It takes the number of outputs, the addresses of pixels, dy and sums, the bytes from one row of pixels to the next, from
    column to column, from output to output, from one output of dy, or entry, to the next, and from row to row of the sums, and
    the window's rows and columns.
    """
    name = f"minitl_depthwise_gradients_{_number(*window or (0, 0))}_f{8 * size}"
    if name in module.globals:
        return module.globals[name]
    function, builder, vector = _function(module, name, 11, 0, size)
    count, x, dy, sums, row, column, step, pixel, s_row, rows, columns = function.args
    if window is None:  # entry by entry
        with cgutils.for_range(builder, rows) as over_rows, cgutils.for_range(builder, columns) as over_columns:
            a, b = over_rows.index, over_columns.index
            seen = _sum(builder, x, builder.mul(a, row), builder.mul(b, column))
            to = _sum(builder, sums, builder.mul(a, s_row), builder.mul(b, pixel))
            one = [count, seen, dy, to, row, column, step, pixel, s_row, INT(1), INT(1)]
            builder.call(_gradients(module, size, (1, 1)), one)
        builder.ret_void()
        return function
    entries = [(a, b) for a in range(window[0]) for b in range(window[1])]
    places = [_sum(builder, sums, builder.mul(s_row, INT(a)), builder.mul(pixel, INT(b))) for a, b in entries]
    slots = [cgutils.alloca_once_value(builder, _load(builder, place, vector)) for place in places]
    at, of_dy = (cgutils.alloca_once_value(builder, address) for address in (x, dy))
    with cgutils.for_range(builder, count):
        here, there = builder.load(at), builder.load(of_dy)
        gradient = _load(builder, there, vector)
        for slot, (a, b) in zip(slots, entries, strict=True):
            seen = _load(builder, _sum(builder, here, builder.mul(row, INT(a)), builder.mul(column, INT(b))), vector)
            builder.store(_add_product(builder, builder.load(slot), seen, gradient), slot)
        builder.store(builder.add(here, step), at)
        builder.store(builder.add(there, pixel), of_dy)
    for slot, place in zip(slots, places, strict=True):
        _store(builder, builder.load(slot), place)
    builder.ret_void()
    return function


def _function(module: ir.Module, name: str, integers: int, numbers: int, size: int) -> tuple[ir.Function, ir.IRBuilder, Any]:
    """A function of the module, where its code goes, and its vectors."""
    scalar = {4: ir.FloatType(), 8: ir.DoubleType()}[size]
    function = internal(module, name, [INT] * integers + [scalar] * numbers)
    return function, ir.IRBuilder(function.append_basic_block("entry")), ir.VectorType(scalar, VECTOR_BYTES // size)


def _address(context: Any, builder: ir.IRBuilder, kind: Any, value: Any) -> Any:
    return builder.ptrtoint(pointer(context, builder, kind, value), INT)


def _sum(builder: ir.IRBuilder, first: Any, *others: Any) -> Any:
    for other in others:
        first = builder.add(first, other)
    return first


def _load(builder: ir.IRBuilder, address: Any, vector: Any) -> Any:
    return builder.load(builder.inttoptr(address, vector.as_pointer()), align=_size(vector))


def _store(builder: ir.IRBuilder, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=_size(value.type))


def _size(vector: Any) -> int:
    return VECTOR_BYTES // vector.count


def _add_product(builder: ir.IRBuilder, total: Any, a: Any, b: Any) -> Any:
    return builder.fadd(total, builder.fmul(a, b, flags=("contract",)), flags=("contract",))
