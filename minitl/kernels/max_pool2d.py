"""Max-pooling, one output row a task; the mathematics is in `minitl.ops.max_pool2d`."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, contiguous
from minitl.kernels.jit import inner
from minitl.kernels.launch import Counts, Numbers, Packed, ShortCounts, Task, launch, packed, task_kernel
from minitl.kernels.simd import best_of_window, constant, lanes
from minitl.ops.max_pool2d import winner_dtype
from minitl.ops.window import Axis, Padding, Pair, check_images, check_shape, slide2d


def forward(x: np.ndarray, pool_size: Pair, strides: Pair, padding: Padding = "valid") -> tuple[np.ndarray, tuple]:
    """y = the largest element of every window."""
    check_images("max_pool2d", x.shape)
    rows, columns = slide2d(x.shape, pool_size, strides, padding)
    y = memory.empty((len(x), rows.out, columns.out, x.shape[3]), common_dtype(x))
    winner = memory.empty(y.shape, winner_dtype(pool_size))
    plan = plan_of(x.shape, pool_size, strides, rows, columns)
    kernel = _forward if winner.itemsize == 2 else _forward_of_large_windows
    launch(kernel, len(x) * rows.out, plan, contiguous(x, y.dtype), y, winner)
    return y, (winner, x.shape, pool_size, strides, padding)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = dy, handed to the winners."""
    winner, shape, pool_size, strides, padding = cache
    check_shape("max_pool2d", "dy", dy.shape, winner.shape)
    dx = memory.empty(shape, common_dtype(dy))
    rows, columns = slide2d(dx.shape, pool_size, strides, padding)
    kernel = _backward if winner.itemsize == 2 else _backward_of_large_windows
    launch(kernel, len(dx), plan_of(dx.shape, pool_size, strides, rows, columns), contiguous(dy, dx.dtype), dx, winner)
    return dx


class Plan(NamedTuple):
    """The shapes, and how the window slides."""

    images: int
    height: int
    width: int
    channels: int
    out_h: int
    out_w: int
    window_h: int
    window_w: int
    stride_h: int
    stride_w: int
    before_h: int
    before_w: int


@functools.lru_cache(maxsize=256)
def plan_of(shape: Any, window: Pair, strides: Pair, rows: Axis, columns: Axis) -> Packed:
    """The plan of windows that slide over images."""
    return packed(Plan._make((*shape, rows.out, columns.out, *window, *strides, rows.before, columns.before)))


@inner()
def largest_of_windows(task, plan, x, y, winner):
    """One row of outputs."""
    n, i, channels = task // plan.out_h, task % plan.out_h, plan.channels
    top = i * plan.stride_h - plan.before_h
    first_a, last_a = max(0, -top), min(plan.window_h, plan.height - top)
    for j in range(plan.out_w):
        to, left = (task * plan.out_w + j) * channels, j * plan.stride_w - plan.before_w
        first_b, last_b = max(0, -left), min(plan.window_w, plan.width - left)
        if channels >= lanes(x):
            at = ((n * plan.height + top + first_a) * plan.width + left + first_b) * channels
            first, row = first_a * plan.window_w + first_b, plan.width * channels
            rows, columns = last_a - first_a, last_b - first_b
            best_of_window(x, at, row, channels, rows, columns, first, plan.window_w, y, to, winner, channels)
            continue
        for c in range(channels):
            y[to + c] = -np.inf
            winner[to + c] = 0
        for a in range(first_a, last_a):
            for b in range(first_b, last_b):
                at = ((n * plan.height + top + a) * plan.width + left + b) * channels
                for c in range(channels):
                    value = x[at + c]
                    if value > y[to + c] or value != value:
                        y[to + c] = value
                        winner[to + c] = a * plan.window_w + b


@inner()
def gradients_to_winners(task, plan, dy, dx, winner):
    """One image: every window hands its gradient to the member that has won it, each channel on its own."""
    channels, zero = plan.channels, constant(dy, 0)
    first = task * plan.height * plan.width * channels
    for k in range(first, first + plan.height * plan.width * channels):
        dx[k] = 0
    for i in range(plan.out_h):
        for j in range(plan.out_w):
            at = ((task * plan.out_h + i) * plan.out_w + j) * channels
            for k in range(plan.window_h * plan.window_w):
                row, column = (
                    i * plan.stride_h + k // plan.window_w - plan.before_h,
                    j * plan.stride_w + k % plan.window_w - plan.before_w,
                )
                if 0 <= row < plan.height and 0 <= column < plan.width:
                    to = first + (row * plan.width + column) * channels
                    for c in range(channels):
                        dx[to + c] += dy[at + c] if winner[at + c] == k else zero


@task_kernel
def _forward(task: Task, plan: Plan, x: Numbers, y: Numbers, winner: ShortCounts):
    largest_of_windows(task, plan, x, y, winner)


@task_kernel
def _forward_of_large_windows(task: Task, plan: Plan, x: Numbers, y: Numbers, winner: Counts):
    largest_of_windows(task, plan, x, y, winner)


@task_kernel
def _backward(task: Task, plan: Plan, dy: Numbers, dx: Numbers, winner: ShortCounts):
    gradients_to_winners(task, plan, dy, dx, winner)


@task_kernel
def _backward_of_large_windows(task: Task, plan: Plan, dy: Numbers, dx: Numbers, winner: Counts):
    gradients_to_winners(task, plan, dy, dx, winner)
