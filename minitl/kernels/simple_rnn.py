"""A simple recurrent network, a few samples per task; the mathematics is in `minitl.ops.simple_rnn`."""

from __future__ import annotations

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype
from minitl.kernels.launch import Bytes, Indices, Numbers, Scratch, Task, launch, task_kernel
from minitl.kernels.memory import whole_lines
from minitl.kernels.recurrent import (
    Plan,
    after,
    bytes_of,
    computed,
    first_gradient,
    given_gradient,
    last_gradient,
    matrix_of,
    pass_on,
    plan_of,
    recurrent_gradient,
    times_matrix,
)
from minitl.kernels.simd import constant, tanh
from minitl.ops import simple_rnn as book
from minitl.ops.lstm import check
from minitl.ops.window import check_shape


def forward(
    x: np.ndarray,
    recurrent: np.ndarray,
    start: np.ndarray | None = None,
    rectified: bool = False,
    mask: np.ndarray | None = None,
    drop: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple]:
    """h of every step."""
    if drop is not None:  # rare
        return book.forward(x, recurrent, start, rectified, mask, drop)
    n, _, units = check("simple_rnn", x, recurrent, 1, mask, start)
    dtype = common_dtype(x, recurrent)
    x, led = after(start, x), after(start, mask)
    steps = x.shape[1]
    y, matrix = memory.empty((n, steps, units), dtype), matrix_of(recurrent, dtype)
    if start is not None:
        y[:, 0] = start
    tasks, plan = plan_of(x, units, 1, matrix, led, start, back=False, rectified=rectified)
    launch(_forward, tasks, plan, np.ascontiguousarray(x, dtype), matrix, y, bytes_of(led))
    y = computed(start, y)
    return y, (recurrent, y, start, rectified, mask, None)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dR and dstart; what is not needed, or was not given, is None."""
    recurrent, y, start, rectified, mask, drop = cache
    if drop is not None:
        return book.backward(dy, cache, need_dx, need_dparameters)
    check_shape("simple_rnn", "dy", dy.shape, y.shape)
    dy, y, mask = after(start, dy), after(start, y, 0), after(start, mask)
    dtype, units = common_dtype(dy, y), y.shape[2]
    dx, matrix = memory.empty(y.shape, dtype), matrix_of(recurrent, dtype, transposed=True)
    tasks, plan = plan_of(y, units, 1, matrix, mask, start, back=True, rectified=rectified)
    given = (np.ascontiguousarray(a, dtype) for a in (dy, matrix, y))
    launch(_backward, tasks, plan, *given, dx, bytes_of(mask), scratch=whole_lines(plan.plan.per_task * units))
    dstart = given_gradient(start, dx)
    drecurrent = recurrent_gradient(y, dx, recurrent) if need_dparameters else None
    return computed(start, dx) if need_dx else None, drecurrent, dstart


@task_kernel
def _forward(
    task: Task, plan: Plan, x: Numbers, matrix: Numbers, y: Numbers, mask: Bytes, in_x: Indices, in_y: Indices,
):  # fmt: skip
    units, steps, first, zero = plan.units, plan.steps, task * plan.per_task, constant(x, 0)
    rows = min(plan.per_task, plan.samples - first)
    for t in range(plan.begins, steps):
        at = (first * steps + t) * units
        if t:
            step = steps * units
            times_matrix(plan, units, units, y, at - units, in_y, rows, matrix, x, at, step, y, at, in_x, step)
        for row in range(rows):
            place = (first + row) * steps + t
            h = place * units
            if t == 0:
                for k in range(units):
                    y[h + k] = x[h + k]
            if plan.masked and not mask[place]:
                for k in range(units):
                    y[h + k] = y[h - units + k] if t else zero
            elif plan.rectified:
                for k in range(units):
                    y[h + k] = y[h + k] if y[h + k] > zero or y[h + k] != y[h + k] else zero
            else:
                for k in range(units):
                    y[h + k] = tanh(y[h + k])


@task_kernel
def _backward(
    task: Task, plan: Plan, dy: Numbers, matrix: Numbers, y: Numbers, dx: Numbers, mask: Bytes,
    in_dx: Indices, in_dh: Indices, scratch: Scratch,
):  # fmt: skip
    units, steps, first, zero, one = plan.units, plan.steps, task * plan.per_task, constant(dy, 0), constant(dy, 1)
    rows = min(plan.per_task, plan.samples - first)
    last_gradient(plan, first, rows, dy, scratch)
    for t in range(steps - 1, plan.begins - 1, -1):
        for row in range(rows):
            place = (first + row) * steps + t
            h, dh = place * units, row * units
            if plan.masked and not mask[place]:
                for k in range(units):
                    dx[h + k] = zero
                continue
            for k in range(units):
                slope = one - y[h + k] * y[h + k]
                if plan.rectified:
                    slope = one if y[h + k] > zero else zero
                dx[h + k] = scratch[dh + k] * slope
                scratch[dh + k] = zero
        if t:
            pass_on(plan, first, rows, t, dy, matrix, dx, scratch, in_dx, in_dh, 1)
    first_gradient(plan, first, rows, 1, scratch, dx)
