"""Leaky ReLU, and ReLU with a ceiling, element by element in one pass; the mathematics is in `minitl.ops.leaky_relu`."""

from __future__ import annotations

import numpy as np

from minitl.kernels.elementwise import Elements, gradients, values
from minitl.kernels.launch import Numbers, Task, task_kernel


def forward(x: np.ndarray, slope: float = 0.0, threshold: float = 0.0, ceiling: float = np.inf) -> tuple[np.ndarray, tuple]:
    """y = x, damped below and cut off above."""
    return values(_forward, x, slope, threshold, ceiling), (x, slope, threshold, ceiling)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = dy, slope dy, or 0."""
    x, *settings = cache
    return gradients("leaky_relu", _backward, dy, x, *settings)


@task_kernel
def _forward(task: Task, plan: Elements, x: Numbers, y: Numbers, settings: Numbers):
    slope, threshold, ceiling = settings[0], settings[1], settings[2]
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        low = slope * (x[i] - threshold) if x[i] <= threshold else x[i]
        y[i] = ceiling if x[i] >= ceiling else low


@task_kernel
def _backward(task: Task, plan: Elements, dy: Numbers, x: Numbers, dx: Numbers, settings: Numbers):
    slope, threshold, ceiling = settings[0], settings[1], settings[2]
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        low = slope * dy[i] if x[i] <= threshold else dy[i]
        dx[i] = 0 if x[i] >= ceiling else low
