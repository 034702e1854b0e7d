"""Upsampling, one row of x per task; the mathematics is in `minitl.ops.upsample2d`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.launch import Numbers, Task, launch, task_kernel
from minitl.kernels.simd import constant
from minitl.ops.window import Pair, check_images, check_shape


def forward(x: np.ndarray, size: Pair) -> tuple[np.ndarray, tuple]:
    """y = x, every pixel repeated."""
    check_images("upsample2d", x.shape)
    n, height, width, channels = x.shape
    y = memory.empty((n, height * size[0], width * size[1], channels), common_dtype(x))
    launch(_forward, n * height, Plan(width, channels, *size), flat(x, y.dtype), y)
    return y, (x.shape, size)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = the sums over the blocks."""
    (n, height, width, channels), size = cache
    check_shape("upsample2d", "dy", dy.shape, (n, height * size[0], width * size[1], channels))
    dx = memory.empty((n, height, width, channels), common_dtype(dy))
    launch(_backward, n * height, Plan(width, channels, *size), flat(dy, dx.dtype), dx)
    return dx


class Plan(NamedTuple):
    """A row of x, and how often it is repeated, and each of its pixels."""

    width: int
    channels: int
    rows: int
    columns: int


@task_kernel
def _forward(task: Task, plan: Plan, x: Numbers, y: Numbers):
    for a in range(plan.rows):
        to = (task * plan.rows + a) * plan.width * plan.columns * plan.channels
        for j in range(plan.width):
            at = (task * plan.width + j) * plan.channels
            for _ in range(plan.columns):
                for c in range(plan.channels):
                    y[to + c] = x[at + c]
                to += plan.channels


@task_kernel
def _backward(task: Task, plan: Plan, dy: Numbers, dx: Numbers):
    zero = constant(dy, 0)
    for k in range(task * plan.width * plan.channels, (task + 1) * plan.width * plan.channels):
        dx[k] = zero
    for a in range(plan.rows):
        at = (task * plan.rows + a) * plan.width * plan.columns * plan.channels
        for j in range(plan.width):
            to = (task * plan.width + j) * plan.channels
            for _ in range(plan.columns):
                for c in range(plan.channels):
                    dx[to + c] += dy[at + c]
                at += plan.channels
