"""GRU, a few samples per task; the mathematics is in `minitl.ops.gru`."""

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
    sigmoid_of,
    times_matrix,
)
from minitl.kernels.row_sums import sum_rows
from minitl.kernels.simd import constant, tanh
from minitl.ops import gru as book
from minitl.ops.window import check_shape


def forward(
    x: np.ndarray,
    recurrent: np.ndarray,
    bias: np.ndarray | None = None,
    start: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    drop: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple]:
    """h of every step."""
    if drop is not None:  # rare
        return book.forward(x, recurrent, bias, start, mask, drop)
    n, _, units = book.check("gru", x, recurrent, 3, mask, start)
    dtype = common_dtype(x, recurrent)
    x, led = after(start, x), after(start, mask)
    steps = x.shape[1]
    kept, y, matrix = (
        memory.empty((n, steps, 4 * units), dtype),
        memory.empty((n, steps, units), dtype),
        matrix_of(recurrent, dtype),
    )
    if start is not None:
        y[:, 0] = start
    own_bias = np.zeros(3 * units, dtype) if bias is None else np.ascontiguousarray(bias, dtype)
    tasks, plan = plan_of(x, units, 4, matrix, led, start, back=False)
    launch(_forward, tasks, plan, np.ascontiguousarray(x, dtype), matrix, own_bias, kept, y, bytes_of(led))
    kept, y = computed(start, kept), computed(start, y)
    return y, (recurrent, bias, kept, y, start, mask, None)


def backward(dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True) -> tuple[np.ndarray | None, ...]:
    """dx, dR, de and dstart; what is not needed, or was not given, is None."""
    recurrent, bias, kept, y, start, mask, drop = cache
    if drop is not None:
        return book.backward(dy, cache, need_dx, need_dparameters)
    check_shape("gru", "dy", dy.shape, y.shape)
    dy, kept, y, mask = after(start, dy), after(start, kept), after(start, y, 0), after(start, mask)
    dtype, units = common_dtype(dy, kept), y.shape[2]
    # One column of zeros for dg, which the product with R^T leaves out: da lies in d with dg between its parts.
    back = np.concatenate([recurrent[:, : 2 * units], np.zeros((units, units), dtype), recurrent[:, 2 * units :]], axis=1)
    d, matrix = memory.empty(kept.shape, dtype), matrix_of(back, dtype, transposed=True)
    tasks, plan = plan_of(y, units, 4, matrix, mask, start, back=True)
    given = (np.ascontiguousarray(a, dtype) for a in (dy, matrix, kept, y))
    launch(_backward, tasks, plan, *given, d, bytes_of(mask), scratch=whole_lines(plan.plan.per_task * units))
    dstart = given_gradient(start, d)
    dx = np.ascontiguousarray(computed(start, d)[..., : 3 * units]) if need_dx else None
    if not need_dparameters:
        return dx, None, None, dstart
    da = book.recurrent_part(d, units)
    return dx, recurrent_gradient(y, da, recurrent), None if bias is None else sum_rows(da), dstart


@task_kernel
def _forward(
    task: Task, plan: Plan, x: Numbers, matrix: Numbers, bias: Numbers, kept: Numbers, y: Numbers, mask: Bytes,
    in_kept: Indices, in_y: Indices,
):  # fmt: skip
    units, steps, first = plan.units, plan.steps, task * plan.per_task
    rows = min(plan.per_task, plan.samples - first)
    for t in range(plan.begins, steps):
        at = (first * steps + t) * 4 * units + units  # a, behind the first quarter: its last part stays there
        if t:
            step, in_before = steps * 4 * units, (first * steps + t - 1) * units
            times_matrix(plan, units, 3 * units, y, in_before, in_y, rows, matrix, bias, 0, 0, kept, at, in_kept, step)
        for row in range(rows):
            place = (first + row) * steps + t
            z, h, of_x = place * 4 * units, place * units, place * 3 * units
            a = z + units
            if t == 0:
                for k in range(3 * units):
                    kept[a + k] = bias[k]
            r, g, hidden = z + units, z + 2 * units, z + 3 * units
            for k in range(units):  # each number is written one place below where it is read
                kept[z + k] = sigmoid_of(x, x[of_x + k] + kept[a + k])
            for k in range(units):
                kept[r + k] = sigmoid_of(x, x[of_x + units + k] + kept[g + k])
            for k in range(units):
                kept[g + k] = tanh(x[of_x + 2 * units + k] + kept[r + k] * kept[hidden + k])
            stays = plan.masked and not mask[place]
            for k in range(units):
                before = y[h - units + k] if t else constant(x, 0)
                y[h + k] = before if stays else kept[z + k] * before + (1 - kept[z + k]) * kept[g + k]


@task_kernel
def _backward(
    task: Task, plan: Plan, dy: Numbers, matrix: Numbers, kept: Numbers, y: Numbers, d: Numbers, mask: Bytes,
    in_d: Indices, in_dh: Indices, scratch: Scratch,
):  # fmt: skip
    units, steps, first, zero, one = plan.units, plan.steps, task * plan.per_task, constant(dy, 0), constant(dy, 1)
    rows = min(plan.per_task, plan.samples - first)
    last_gradient(plan, first, rows, dy, scratch)
    for t in range(steps - 1, plan.begins - 1, -1):
        for row in range(rows):
            place = (first + row) * steps + t
            at, h, dh = place * 4 * units, place * units, row * units
            if plan.masked and not mask[place]:
                for k in range(4 * units):
                    d[at + k] = zero
                continue
            z, r, g, hidden = at, at + units, at + 2 * units, at + 3 * units
            # One line of the book per loop: with more arrays in one, LLVM would not check for overlaps, and not vectorise.
            for k in range(units):
                d[g + k] = scratch[dh + k] * (one - kept[z + k]) * (one - kept[g + k] * kept[g + k])
            for k in range(units):
                before = y[h - units + k] if t else zero
                d[z + k] = scratch[dh + k] * (before - kept[g + k]) * kept[z + k] * (one - kept[z + k])
            for k in range(units):
                d[r + k] = d[g + k] * kept[hidden + k] * kept[r + k] * (one - kept[r + k])
            for k in range(units):
                d[hidden + k] = d[g + k] * kept[r + k]
            for k in range(units):
                scratch[dh + k] *= kept[z + k]
        if t:
            pass_on(plan, first, rows, t, dy, matrix, d, scratch, in_d, in_dh, 4)
    first_gradient(plan, first, rows, 4, scratch, d)
