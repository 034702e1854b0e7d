"""softplus, element by element in one pass; the mathematics is in `minitl.ops.softplus`.

    log(1 + t) = 2 (s + s^3 / 3 + s^5 / 5 + ...),   s = t / (2 + t)

t = exp(-|x|) is at most 1, so s^2 is at most 1/9, and the first term left out is below the rounding error.
Source: J. Gregory, Exercitationes geometricae, 1668.
"""

from __future__ import annotations

import numpy as np

from minitl.kernels.elementwise import Elements, gradients, values
from minitl.kernels.launch import Numbers, Task, task_kernel
from minitl.kernels.simd import constant, exp

TERMS = 16


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = log(1 + exp(x))."""
    return values(_forward, x), x


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy sigmoid(x)."""
    return gradients("softplus", _backward, dy, cache)


@task_kernel
def _forward(task: Task, plan: Elements, x: Numbers, y: Numbers):
    zero, one, two = constant(x, 0), constant(x, 1), constant(x, 2)
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        t = exp(-abs(x[i]))
        s = t / (two + t)
        series = constant(x, 1 / (2 * TERMS + 1))
        for k in range(TERMS - 1, -1, -1):
            series = series * (s * s) + one / constant(x, 2 * k + 1)
        y[i] = (zero if x[i] < zero else x[i]) + two * s * series


@task_kernel
def _backward(task: Task, plan: Elements, dy: Numbers, x: Numbers, dx: Numbers):
    one = constant(x, 1)
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        dx[i] = dy[i] / (one + exp(-x[i]))
