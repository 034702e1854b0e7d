"""PReLU, some neighbouring numbers of all samples per task; the mathematics is in `minitl.ops.prelu`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.launch import Numbers, Task, launch, task_kernel
from minitl.kernels.simd import constant
from minitl.ops.add import summed_to
from minitl.ops.window import check_shape

TOGETHER = 2048  # numbers of a sample that a task takes


def forward(x: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """y = x, or alpha x where x is not positive."""
    y = memory.empty(x.shape, common_dtype(x, alpha))
    plan, slopes = _of_one_sample(x, alpha)
    launch(_forward, -(-plan.numbers // TOGETHER), plan, flat(x, y.dtype), flat(slopes, y.dtype), y)
    return y, (x, alpha)


def backward(
    dy: np.ndarray, cache: tuple[np.ndarray, np.ndarray], need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """dx and dalpha; what is not needed is None."""
    x, alpha = cache
    check_shape("prelu", "dy", dy.shape, x.shape)
    dx = memory.empty(x.shape, common_dtype(dy, x, alpha))
    plan, slopes = _of_one_sample(x, alpha)
    sums = np.zeros(slopes.shape, dx.dtype)
    given = (flat(array, dx.dtype) for array in (dy, x, slopes))
    launch(_backward, -(-plan.numbers // TOGETHER), plan, *given, dx, sums)
    dalpha = summed_to(sums, alpha.shape).astype(dy.dtype, copy=False) if need_dparameters else None
    return dx if need_dx else None, dalpha


class Plan(NamedTuple):
    """How many samples there are, and numbers in each."""

    samples: int
    numbers: int


def _of_one_sample(x: np.ndarray, alpha: np.ndarray) -> tuple[Plan, np.ndarray]:
    """The plan, and the slope of every number of a sample."""
    slopes = np.broadcast_to(alpha, x.shape[1:])
    return Plan(len(x), slopes.size), slopes


@task_kernel
def _forward(task: Task, plan: Plan, x: Numbers, alpha: Numbers, y: Numbers):
    for n in range(plan.samples):
        at = n * plan.numbers
        for k in range(task * TOGETHER, min((task + 1) * TOGETHER, plan.numbers)):
            y[at + k] = x[at + k] if x[at + k] > 0 else alpha[k] * x[at + k]


@task_kernel
def _backward(task: Task, plan: Plan, dy: Numbers, x: Numbers, alpha: Numbers, dx: Numbers, sums: Numbers):
    zero = constant(dy, 0)
    for n in range(plan.samples):
        at = n * plan.numbers
        for k in range(task * TOGETHER, min((task + 1) * TOGETHER, plan.numbers)):
            dx[at + k] = dy[at + k] if x[at + k] > 0 else alpha[k] * dy[at + k]
        for k in range(task * TOGETHER, min((task + 1) * TOGETHER, plan.numbers)):
            sums[k] += zero if x[at + k] > 0 else dy[at + k] * x[at + k]
