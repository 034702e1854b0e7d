"""Global average-pooling, one image per task; the mathematics is in `minitl.ops.global_average_pool2d`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, contiguous
from minitl.kernels.jit import inner
from minitl.kernels.launch import Numbers, Task, launch, task_kernel
from minitl.kernels.simd import constant
from minitl.ops.window import check_images, check_shape


def forward(x: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """y = the mean over height and width."""
    check_images("global_average_pool2d", x.shape)
    y = memory.empty((x.shape[0], x.shape[3]), common_dtype(x))
    launch(_forward, len(x), Plan(x.shape[1] * x.shape[2], x.shape[3]), contiguous(x, y.dtype), y)
    return y, x.shape


def backward(dy: np.ndarray, cache: tuple[int, ...]) -> np.ndarray:
    """dx = dy / (H W), the same for every pixel."""
    check_shape("global_average_pool2d", "dy", dy.shape, (cache[0], cache[3]))
    dx = memory.empty(cache, common_dtype(dy))
    launch(_backward, cache[0], Plan(cache[1] * cache[2], cache[3]), contiguous(dy, dx.dtype), dx)
    return dx


class Plan(NamedTuple):
    """The shape of the images."""

    pixels: int
    channels: int


@task_kernel
def _forward(task: Task, plan: Plan, x: Numbers, y: Numbers):
    pixels, to = constant(x, plan.pixels), task * plan.channels
    for c in range(plan.channels):
        y[to + c] = 0
    add_pixels(x, task * plan.pixels * plan.channels, plan.pixels, plan.channels, y, to)
    for c in range(plan.channels):
        y[to + c] /= pixels


@inner()
def add_pixels(x, at, pixels, channels, y, to):
    """Add the pixels of x, one after another, to a row of y."""
    for pixel in range(pixels):
        for c in range(channels):
            y[to + c] += x[at + pixel * channels + c]


@task_kernel
def _backward(task: Task, plan: Plan, dy: Numbers, dx: Numbers):
    pixels, at = constant(dy, plan.pixels), task * plan.channels
    for pixel in range(plan.pixels):
        to = (task * plan.pixels + pixel) * plan.channels
        for c in range(plan.channels):
            dx[to + c] = dy[at + c] / pixels
