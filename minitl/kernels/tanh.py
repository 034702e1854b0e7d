"""tanh, element by element in one pass; the mathematics is in `minitl.ops.tanh`."""

from __future__ import annotations

import numpy as np

from minitl.kernels import memory
from minitl.kernels.elementwise import Elements, launch_elements
from minitl.kernels.jit import common_dtype, flat
from minitl.kernels.launch import Numbers, Task, task_kernel
from minitl.kernels.simd import tanh
from minitl.ops.window import check_shape


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = tanh(x)."""
    y = memory.empty(x.shape, common_dtype(x))
    launch_elements(_forward, flat(x, y.dtype), y)
    return y, y


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy (1 - y^2)."""
    check_shape("tanh", "dy", dy.shape, cache.shape)
    dx = memory.empty(dy.shape, common_dtype(dy, cache))
    launch_elements(_backward, flat(dy, dx.dtype), flat(cache, dx.dtype), dx)
    return dx


@task_kernel
def _forward(task: Task, plan: Elements, x: Numbers, y: Numbers):
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        y[i] = tanh(x[i])


@task_kernel
def _backward(task: Task, plan: Elements, dy: Numbers, y: Numbers, dx: Numbers):
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        dx[i] = dy[i] * (1 - y[i] * y[i])
