"""Average-pooling, one image per task; the mathematics is in `minitl.ops.average_pool2d`."""

from __future__ import annotations

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, contiguous
from minitl.kernels.jit import inner
from minitl.kernels.launch import Numbers, Task, launch, task_kernel
from minitl.kernels.max_pool2d import Plan, plan_of
from minitl.kernels.simd import constant
from minitl.ops.window import Pair, check_images, check_shape, slide2d


def forward(x: np.ndarray, pool_size: Pair, strides: Pair, padding: str = "valid") -> tuple[np.ndarray, tuple]:
    """y = the mean of every window."""
    check_images("average_pool2d", x.shape)
    rows, columns = slide2d(x.shape, pool_size, strides, padding)
    y = memory.empty((len(x), rows.out, columns.out, x.shape[3]), common_dtype(x))
    launch(_forward, len(x), plan_of(x.shape, pool_size, strides, rows, columns), contiguous(x, y.dtype), y)
    return y, (x.shape, pool_size, strides, padding)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = dy / m, handed to every member of the window."""
    shape, pool_size, strides, padding = cache
    dx = memory.empty(shape, common_dtype(dy))
    rows, columns = slide2d(dx.shape, pool_size, strides, padding)
    check_shape("average_pool2d", "dy", dy.shape, (shape[0], rows.out, columns.out, shape[3]))
    launch(_backward, len(dx), plan_of(shape, pool_size, strides, rows, columns), contiguous(dy, dx.dtype), dx)
    return dx


@task_kernel
def _forward(task: Task, plan: Plan, x: Numbers, y: Numbers):
    channels = plan.channels
    for i in range(plan.out_h):
        top, bottom = _inside(i * plan.stride_h - plan.before_h, plan.window_h, plan.height)
        for j in range(plan.out_w):
            left, right = _inside(j * plan.stride_w - plan.before_w, plan.window_w, plan.width)
            to = ((task * plan.out_h + i) * plan.out_w + j) * channels
            for c in range(channels):
                y[to + c] = 0
            for row in range(top, bottom):
                for column in range(left, right):
                    at = ((task * plan.height + row) * plan.width + column) * channels
                    for c in range(channels):
                        y[to + c] += x[at + c]
            members = constant(x, (bottom - top) * (right - left))
            for c in range(channels):
                y[to + c] /= members


@task_kernel
def _backward(task: Task, plan: Plan, dy: Numbers, dx: Numbers):
    channels = plan.channels
    first = task * plan.height * plan.width * channels
    for k in range(first, first + plan.height * plan.width * channels):
        dx[k] = 0
    for i in range(plan.out_h):
        top, bottom = _inside(i * plan.stride_h - plan.before_h, plan.window_h, plan.height)
        for j in range(plan.out_w):
            left, right = _inside(j * plan.stride_w - plan.before_w, plan.window_w, plan.width)
            members = constant(dy, (bottom - top) * (right - left))
            at = ((task * plan.out_h + i) * plan.out_w + j) * channels
            for row in range(top, bottom):
                for column in range(left, right):
                    to = first + (row * plan.width + column) * channels
                    for c in range(channels):
                        dx[to + c] += dy[at + c] / members


@inner()
def _inside(start, window, size):
    """The part of a window that lies inside the image, along one axis."""
    return max(start, 0), min(start + window, size)
