"""Depthwise convolution, a row of outputs per task, channels in vectors; the mathematics is in `minitl.ops.depthwise_conv2d`.

Windows that lie inside the image are taken many at a time (`simd.depthwise_row`); at the borders the window is cut, and what is
left of it is a smaller window. dx is a depthwise convolution too where the stride is 1: of dy, with the rotated kernel.
Other strides for dx, several kernels per channel, and channels that do not fill vectors go by plain loops.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, contiguous, flat
from minitl.kernels.jit import inner
from minitl.kernels.launch import Numbers, Packed, Task, launch, packed, task_kernel
from minitl.kernels.row_sums import add_rows, sum_rows
from minitl.kernels.simd import clear, constant, depthwise_gradient, depthwise_row, whole_vectors
from minitl.ops.conv2d import check
from minitl.ops.window import Axis, Padding, Pair, check_shape


def forward(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None = None,
    strides: Pair = (1, 1),
    padding: Padding = "valid",
    dilation: Pair = (1, 1),
) -> tuple[np.ndarray, tuple]:
    """y = the window's entries times the kernel's, channel by channel, + bias."""
    return convolve(x, kernel, bias, strides, padding, dilation, -np.inf, np.inf), (x, kernel, bias, strides, padding, dilation)


def convolve(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, strides: Pair, padding: Padding, dilation: Pair, floor: float,
    ceiling: float,
) -> np.ndarray:  # fmt: skip
    """The convolution, no smaller than `floor` and no larger than `ceiling`: ReLU has 0, ReLU6 also 6."""
    rows, columns = geometry(x.shape, kernel.shape, None if bias is None else bias.shape, strides, padding, dilation)
    dtype = common_dtype(x, kernel)
    channels, multiplier = kernel.shape[2:]
    start = np.zeros(channels * multiplier, dtype) if bias is None else flat(bias, dtype)
    y = memory.empty((len(x), rows.out, columns.out, channels * multiplier), dtype)
    limits = np.array([floor, ceiling], dtype)
    plan = plan_of(x.shape, kernel.shape, strides, dilation, rows, columns, dtype)
    launch(_forward, len(x) * rows.out, plan, flat(x, dtype), flat(kernel, dtype), start, y, limits)
    return y


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dkernel and dbias; what is not needed is None."""
    x, kernel, bias, strides, padding, dilation = cache
    rows, columns = geometry(x.shape, kernel.shape, None, strides, padding, dilation)
    channels, multiplier = kernel.shape[2:]
    check_shape("depthwise_conv2d", "dy", dy.shape, (len(x), rows.out, columns.out, channels * multiplier))
    dtype = common_dtype(x, kernel)
    dy, dx, dkernel, dbias = contiguous(dy, dtype), None, None, None
    if need_dx:
        dx = memory.empty(x.shape, dtype)
        if strides == (1, 1) and multiplier == 1:
            rotated = contiguous(kernel[::-1, ::-1], dtype)
            around = [Axis(n, (k - 1) * d - axis.before, 0) for n, k, d, axis in
                      zip(x.shape[1:3], kernel.shape, dilation, (rows, columns), strict=False)]  # fmt: skip
            plan = plan_of(dy.shape, kernel.shape, strides, dilation, around[0], around[1], dtype)
            limits = np.array([-np.inf, np.inf], dtype)
            launch(_forward, len(x) * x.shape[1], plan, dy, rotated, np.zeros(channels, dtype), dx, limits)
        else:
            plan = plan_of(x.shape, kernel.shape, strides, dilation, rows, columns, dtype)
            launch(_input_gradient, len(x), plan, dy, flat(kernel, dtype), dx)
    if need_dparameters:
        plan = plan_of(x.shape, kernel.shape, strides, dilation, rows, columns, dtype)
        sums = memory.empty((len(x), *kernel.shape), dtype)
        launch(_kernel_gradient, len(x), plan, flat(x, dtype), dy, sums)
        dkernel = add_rows(sums)
        dbias = None if bias is None else sum_rows(dy)
    return dx, dkernel, dbias


@functools.lru_cache(maxsize=1024)
def geometry(
    x: tuple[int, ...], kernel: tuple[int, ...], bias: tuple[int, ...] | None, strides: Pair, padding: Padding, dilation: Pair
) -> tuple[Axis, Axis]:
    """How the window slides, after checking the shapes."""
    return check(x, (*kernel[:2], 1, kernel[2] * kernel[3]), bias, strides, padding, dilation, x[-1])


class Plan(NamedTuple):
    """The shapes, how the window slides, and whether whole vectors of channels go by themselves."""

    height: int
    width: int
    channels: int
    multiplier: int
    out_h: int
    out_w: int
    window_h: int
    window_w: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    before_h: int
    before_w: int
    in_vectors: int


@functools.lru_cache(maxsize=256)
def plan_of(
    x: tuple[int, ...], kernel: tuple[int, ...], strides: Pair, dilation: Pair, rows: Axis, columns: Axis, dtype: np.dtype
) -> Packed:
    """The plan of a convolution."""
    in_vectors = kernel[3] == 1 and whole_vectors(kernel[2], dtype) == kernel[2]
    sizes = (*x[1:], kernel[3], rows.out, columns.out, *kernel[:2], *strides, *dilation, rows.before, columns.before, in_vectors)
    return packed(Plan._make(sizes))


@inner()
def _inside(output, window, stride, dilation, before, size):
    """Along one axis: the entries [first, last) of the window at an output that lie inside the image."""
    begin = output * stride - before
    first = 0 if begin >= 0 else (-begin + dilation - 1) // dilation
    last = window if begin + (window - 1) * dilation < size else (size - begin + dilation - 1) // dilation
    return first, max(first, last)


@task_kernel
def _forward(task: Task, plan: Plan, x: Numbers, kernel: Numbers, bias: Numbers, y: Numbers, limits: Numbers):
    to = task * plan.out_w * plan.channels * plan.multiplier
    output_row(plan, task // plan.out_h, task % plan.out_h, x, kernel, bias, y, to, limits[0], limits[1])


@inner()
def output_row(plan, n, i, x, kernel, bias, y, to, floor, ceiling):
    """Row i of image n of the convolution, no smaller than `floor` and no larger than `ceiling`, to y[to] and behind it."""
    channels = plan.channels
    a, a_end = _inside(i, plan.window_h, plan.stride_h, plan.dilation_h, plan.before_h, plan.height)
    top = n * plan.height + i * plan.stride_h - plan.before_h
    j = 0
    while j < plan.out_w:
        b, b_end = _inside(j, plan.window_w, plan.stride_w, plan.dilation_w, plan.before_w, plan.width)
        count = 1
        if b == 0 and b_end == plan.window_w:  # the windows of neighbours that lie inside, too
            furthest = plan.width - 1 - (plan.window_w - 1) * plan.dilation_w + plan.before_w
            count = max(1, min(plan.out_w, furthest // plan.stride_w + 1) - j)
        left = j * plan.stride_w - plan.before_w
        at = ((top + a * plan.dilation_h) * plan.width + left + b * plan.dilation_w) * channels
        if plan.in_vectors:
            depthwise_row(
                x, at, plan.dilation_h * plan.width * channels, plan.dilation_w * channels,
                kernel, (a * plan.window_w + b) * channels, plan.window_w * channels, a_end - a, b_end - b,
                bias, y, to, plan.stride_w * channels, count, channels, floor, ceiling,
            )  # fmt: skip
        else:
            for k in range(count):
                _one_output(plan, x, at + k * plan.stride_w * channels, kernel, a, a_end, b, b_end, bias, y,
                            to + k * channels * plan.multiplier, floor, ceiling)  # fmt: skip
        j, to = j + count, to + count * channels * plan.multiplier


@inner()
def _one_output(plan, x, at, kernel, a, a_end, b, b_end, bias, y, to, floor, ceiling):
    """One pixel of y, all channels."""
    channels, multiplier = plan.channels, plan.multiplier
    for f in range(channels * multiplier):
        y[to + f] = bias[f]
    for row in range(a, a_end):
        for column in range(b, b_end):
            here = at + ((row - a) * plan.dilation_h * plan.width + (column - b) * plan.dilation_w) * channels
            in_kernel = (row * plan.window_w + column) * channels * multiplier
            for c in range(channels):
                for m in range(multiplier):
                    y[to + c * multiplier + m] += x[here + c] * kernel[in_kernel + c * multiplier + m]
    for f in range(channels * multiplier):
        y[to + f] = floor if y[to + f] < floor else (ceiling if y[to + f] > ceiling else y[to + f])


@task_kernel
def _input_gradient(task: Task, plan: Plan, dy: Numbers, kernel: Numbers, dx: Numbers):
    channels, multiplier = plan.channels, plan.multiplier
    first = task * plan.height * plan.width * channels
    for k in range(first, first + plan.height * plan.width * channels):
        dx[k] = 0
    for i in range(plan.out_h):
        a, a_end = _inside(i, plan.window_h, plan.stride_h, plan.dilation_h, plan.before_h, plan.height)
        for j in range(plan.out_w):
            b, b_end = _inside(j, plan.window_w, plan.stride_w, plan.dilation_w, plan.before_w, plan.width)
            at = ((task * plan.out_h + i) * plan.out_w + j) * channels * multiplier
            for row in range(a, a_end):
                for column in range(b, b_end):
                    x_row = i * plan.stride_h - plan.before_h + row * plan.dilation_h
                    x_column = j * plan.stride_w - plan.before_w + column * plan.dilation_w
                    to = first + (x_row * plan.width + x_column) * channels
                    in_kernel = (row * plan.window_w + column) * channels * multiplier
                    if multiplier == 1:
                        for c in range(channels):
                            dx[to + c] += dy[at + c] * kernel[in_kernel + c]
                        continue
                    for c in range(channels):
                        total = constant(dy, 0)
                        for m in range(multiplier):
                            total += dy[at + c * multiplier + m] * kernel[in_kernel + c * multiplier + m]
                        dx[to + c] += total


@task_kernel
def _kernel_gradient(task: Task, plan: Plan, x: Numbers, dy: Numbers, sums: Numbers):
    channels, multiplier = plan.channels, plan.multiplier
    of_image = task * plan.window_h * plan.window_w * channels * multiplier
    clear(sums, of_image, plan.window_h * plan.window_w * channels * multiplier)
    for i in range(plan.out_h):
        a, a_end = _inside(i, plan.window_h, plan.stride_h, plan.dilation_h, plan.before_h, plan.height)
        j = 0
        while j < plan.out_w:
            b, b_end = _inside(j, plan.window_w, plan.stride_w, plan.dilation_w, plan.before_w, plan.width)
            count = 1
            if b == 0 and b_end == plan.window_w:
                furthest = plan.width - 1 - (plan.window_w - 1) * plan.dilation_w + plan.before_w
                count = max(1, min(plan.out_w, furthest // plan.stride_w + 1) - j)
            in_dy = ((task * plan.out_h + i) * plan.out_w + j) * channels * multiplier
            top = task * plan.height + i * plan.stride_h - plan.before_h
            left = j * plan.stride_w - plan.before_w + b * plan.dilation_w
            if plan.in_vectors:
                depthwise_gradient(
                    x, ((top + a * plan.dilation_h) * plan.width + left) * channels, plan.dilation_h * plan.width * channels,
                    plan.dilation_w * channels, a_end - a, b_end - b, plan.stride_w * channels, dy, in_dy, count, channels,
                    sums, of_image + (a * plan.window_w + b) * channels, plan.window_w * channels,
                )  # fmt: skip
                j += count
                continue
            for row in range(a, a_end):
                at = ((top + row * plan.dilation_h) * plan.width + left) * channels
                in_sums = of_image + (row * plan.window_w + b) * channels * multiplier
                for k in range(count):
                    for column in range(b_end - b):
                        here = at + (k * plan.stride_w + column * plan.dilation_w) * channels
                        for c in range(channels):
                            for m in range(multiplier):
                                entry = c * multiplier + m
                                product = x[here + c] * dy[in_dy + k * channels * multiplier + entry]
                                sums[in_sums + column * channels * multiplier + entry] += product
            j += count
