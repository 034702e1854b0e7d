"""Add, two arrays of one shape at a time, and perhaps a ReLU of the sum; the mathematics is in `minitl.ops.add`."""

from __future__ import annotations

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.elementwise import Elements, launch_elements
from minitl.kernels.jit import inner
from minitl.kernels.launch import Numbers, Task, task_kernel
from minitl.kernels.simd import sandwich
from minitl.ops import add as book
from minitl.ops.window import check_shape


def forward(*x: np.ndarray, factors: tuple[float, ...] | None = None) -> tuple[np.ndarray, tuple]:
    """y = the sum of the inputs, each times its factor (1 by default)."""
    if len(x) < 2 or any(part.shape != x[0].shape for part in x) or (factors and set(factors) != {1.0}):
        return book.forward(*x, factors=factors)
    y = x[0]
    for part in x[1:]:
        y = _sum(_add, y, part)
    return y, (tuple(part.shape for part in x), y.shape, (1.0,) * len(x))


def backward(dy: np.ndarray, cache: tuple) -> tuple[np.ndarray, ...]:
    """dx_i = f_i dy."""
    return book.backward(dy, cache)


def add_relu(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """max(0, a + b), for two arrays of one shape."""
    check_shape("add", "what a residual block skips with", b.shape, a.shape)
    return _sum(_add_relu, a, b)


def _sum(kernel: object, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    y = memory.empty(a.shape, common_dtype(a, b))
    launch_elements(kernel, flat(a, y.dtype), flat(b, y.dtype), y)  # type: ignore[arg-type]
    return y


@task_kernel
def _add(task: Task, plan: Elements, a: Numbers, b: Numbers, y: Numbers):
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        y[i] = a[i] + b[i]


@task_kernel
def _add_relu(task: Task, plan: Elements, a: Numbers, b: Numbers, y: Numbers):
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        value = a[i] + b[i]
        y[i] = value if not value <= 0 else 0


@inner()
def add_skip(skip, at, y, to, count, relu):
    """Add neighbours in skip, whole vectors, to those in y, which are near, and cut off what is below zero if `relu`."""
    if relu:
        sandwich("1", 0, skip, at, 0, 0, y, to, 0, 0, count, 0.0, True)
    else:
        sandwich("1", 0, skip, at, 0, 0, y, to, 0, 0, count, None, True)
