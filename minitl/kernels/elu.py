"""elu, element by element in one pass; the mathematics is in `minitl.ops.elu`."""

from __future__ import annotations

import numpy as np

from minitl.kernels.elementwise import Elements, gradients, values
from minitl.kernels.launch import Numbers, Task, task_kernel
from minitl.kernels.simd import constant, expm1


def forward(x: np.ndarray, alpha: float = 1.0, scale: float = 1.0) -> tuple[np.ndarray, tuple]:
    """y = scale x, or scale alpha (exp(x) - 1) for x <= 0."""
    y = values(_forward, x, scale, scale * alpha)
    return y, (y, alpha, scale)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = dy scale, or dy (y + scale alpha)."""
    y, alpha, scale = cache
    return gradients("elu", _backward, dy, y, scale, scale * alpha)


@task_kernel
def _forward(task: Task, plan: Elements, x: Numbers, y: Numbers, settings: Numbers):
    scale, bend, zero = settings[0], settings[1], constant(x, 0)
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        below = bend * expm1(zero if x[i] > zero else x[i])
        y[i] = scale * x[i] if x[i] > zero else below


@task_kernel
def _backward(task: Task, plan: Elements, dy: Numbers, y: Numbers, dx: Numbers, settings: Numbers):
    scale, bend = settings[0], settings[1]
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        dx[i] = dy[i] * (scale if y[i] > 0 else y[i] + bend)
