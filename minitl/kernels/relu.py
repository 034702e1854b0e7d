"""relu, element by element in one pass; the mathematics is in `minitl.ops.relu`."""

from __future__ import annotations

import numpy as np

from minitl.kernels.elementwise import Elements, gradients, values
from minitl.kernels.launch import Numbers, Task, task_kernel


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = max(x, 0)."""
    y = values(_forward, x)
    return y, y


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy where y > 0, else 0."""
    return gradients("relu", _backward, dy, cache)


@task_kernel
def _forward(task: Task, plan: Elements, x: Numbers, y: Numbers):
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        y[i] = x[i] if not x[i] <= 0 else 0


@task_kernel
def _backward(task: Task, plan: Elements, dy: Numbers, y: Numbers, dx: Numbers):
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        dx[i] = dy[i] if y[i] > 0 else 0
