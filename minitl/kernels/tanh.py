"""tanh, element by element in one pass; the mathematics is in `minitl.ops.tanh`."""

from __future__ import annotations

import numpy as np

from minitl.kernels.elementwise import Elements, gradients, values
from minitl.kernels.launch import Numbers, Task, task_kernel
from minitl.kernels.simd import tanh


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = tanh(x)."""
    y = values(_forward, x)
    return y, y


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy (1 - y^2)."""
    return gradients("tanh", _backward, dy, cache)


@task_kernel
def _forward(task: Task, plan: Elements, x: Numbers, y: Numbers):
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        y[i] = tanh(x[i])


@task_kernel
def _backward(task: Task, plan: Elements, dy: Numbers, y: Numbers, dx: Numbers):
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        dx[i] = dy[i] * (1 - y[i] * y[i])
