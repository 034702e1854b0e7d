"""Gated units, element by element in one pass; the mathematics is in `minitl.ops.gated`.

The sigmoid's and the normal distribution's gate are compiled; the others are rare, and the book's.
"""

from __future__ import annotations

import numpy as np

from minitl.kernels import memory
from minitl.kernels.elementwise import Elements, launch_elements
from minitl.kernels.jit import common_dtype, flat
from minitl.kernels.launch import Numbers, Task, task_kernel
from minitl.kernels.normal import gelu, gelu_slope
from minitl.kernels.simd import constant, exp
from minitl.ops import gated as book
from minitl.ops.window import check_shape


def forward(x: np.ndarray, gate: str = "sigmoid") -> tuple[np.ndarray, tuple]:
    """y = x g(x), with the gate "sigmoid", "hard_sigmoid", "normal" or "normal_tanh"."""
    kernels = COMPILED.get(gate)
    if kernels is None:
        return book.forward(x, gate)
    y = memory.empty(x.shape, common_dtype(x))
    launch_elements(kernels[0], flat(x, y.dtype), y)
    return y, (x, gate)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = dy (g(x) + x g'(x))."""
    x, gate = cache
    kernels = COMPILED.get(gate)
    if kernels is None:
        return book.backward(dy, cache)
    check_shape("gated", "dy", dy.shape, x.shape)
    dx = memory.empty(dy.shape, common_dtype(dy, x))
    launch_elements(kernels[1], flat(dy, dx.dtype), flat(x, dx.dtype), dx)
    return dx


@task_kernel
def _forward_sigmoid(task: Task, plan: Elements, x: Numbers, y: Numbers):
    one = constant(x, 1)
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        y[i] = x[i] / (one + exp(-x[i]))


@task_kernel
def _backward_sigmoid(task: Task, plan: Elements, dy: Numbers, x: Numbers, dx: Numbers):
    one = constant(x, 1)
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        g = one / (one + exp(-x[i]))
        dx[i] = dy[i] * (g + x[i] * g * (one - g))


@task_kernel
def _forward_normal(task: Task, plan: Elements, x: Numbers, y: Numbers):
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        y[i] = gelu(x[i])


@task_kernel
def _backward_normal(task: Task, plan: Elements, dy: Numbers, x: Numbers, dx: Numbers):
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        dx[i] = dy[i] * gelu_slope(x[i])


COMPILED = {"sigmoid": (_forward_sigmoid, _backward_sigmoid), "normal": (_forward_normal, _backward_normal)}
