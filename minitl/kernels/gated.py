"""Gated units, element by element in one pass; the mathematics is in `minitl.ops.gated`."""

from __future__ import annotations

import math

import numpy as np

from minitl.kernels.elementwise import Elements, gradients, values
from minitl.kernels.launch import Numbers, Task, task_kernel
from minitl.kernels.normal import gelu, gelu_slope
from minitl.kernels.simd import constant, exp, tanh

STEEPNESS, CUBE = math.sqrt(2 / math.pi), 0.044715  # of the gate with tanh


def forward(x: np.ndarray, gate: str = "sigmoid") -> tuple[np.ndarray, tuple]:
    """y = x g(x), with the gate "sigmoid", "hard_sigmoid", "normal" or "normal_tanh"."""
    return values(KERNELS[gate][0], x), (x, gate)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = dy (g(x) + x g'(x))."""
    x, gate = cache
    return gradients("gated", KERNELS[gate][1], dy, x)


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


@task_kernel
def _forward_hard_sigmoid(task: Task, plan: Elements, x: Numbers, y: Numbers):
    zero, one, six, half = constant(x, 0), constant(x, 1), constant(x, 6), constant(x, 0.5)
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        g = x[i] / six + half
        g = zero if g < zero else g
        y[i] = x[i] * (one if g > one else g)


@task_kernel
def _backward_hard_sigmoid(task: Task, plan: Elements, dy: Numbers, x: Numbers, dx: Numbers):
    zero, one, six, half = constant(x, 0), constant(x, 1), constant(x, 6), constant(x, 0.5)
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        g = x[i] / six + half
        g = zero if g < zero else g
        g = one if g > one else g
        dx[i] = dy[i] * (g + (x[i] / six if abs(x[i]) < 3 else zero))


@task_kernel
def _forward_normal_tanh(task: Task, plan: Elements, x: Numbers, y: Numbers):
    one, half, factor, third = constant(x, 1), constant(x, 0.5), constant(x, STEEPNESS), constant(x, CUBE)
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        y[i] = x[i] * half * (one + tanh(factor * x[i] * (one + third * x[i] * x[i])))


@task_kernel
def _backward_normal_tanh(task: Task, plan: Elements, dy: Numbers, x: Numbers, dx: Numbers):
    one, half, factor, third = constant(x, 1), constant(x, 0.5), constant(x, STEEPNESS), constant(x, CUBE)
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        square = third * x[i] * x[i]
        t = tanh(factor * x[i] * (one + square))
        slope = (one - t * t) * factor * (one + square + square + square)
        dx[i] = dy[i] * half * (one + t + x[i] * slope)


KERNELS = {
    "sigmoid": (_forward_sigmoid, _backward_sigmoid),
    "hard_sigmoid": (_forward_hard_sigmoid, _backward_hard_sigmoid),
    "normal": (_forward_normal, _backward_normal),
    "normal_tanh": (_forward_normal_tanh, _backward_normal_tanh),
}
