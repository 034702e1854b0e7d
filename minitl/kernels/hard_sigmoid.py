"""hard_sigmoid, element by element in one pass; the mathematics is in `minitl.ops.hard_sigmoid`."""

from __future__ import annotations

import numpy as np

from minitl.kernels.elementwise import Elements, gradients, values
from minitl.kernels.launch import Numbers, Task, task_kernel
from minitl.kernels.simd import constant


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = x / 6 + 1/2, cut off at 0 and 1."""
    return values(_forward, x), x


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy / 6 inside."""
    return gradients("hard_sigmoid", _backward, dy, cache)


@task_kernel
def _forward(task: Task, plan: Elements, x: Numbers, y: Numbers):
    one, six, half = constant(x, 1), constant(x, 6), constant(x, 0.5)
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        below = 0 if x[i] <= -3 else x[i] / six + half
        y[i] = one if x[i] >= 3 else below


@task_kernel
def _backward(task: Task, plan: Elements, dy: Numbers, x: Numbers, dx: Numbers):
    six = constant(x, 6)
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        dx[i] = dy[i] / six if abs(x[i]) < 3 else 0
