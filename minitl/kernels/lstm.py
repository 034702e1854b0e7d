"""LSTM, a few samples per task; the mathematics is in `minitl.ops.lstm`."""

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
    given_gradient,
    last_gradient,
    matrix_of,
    pass_on,
    plan_of,
    recurrent_gradient,
    sigmoid_of,
    times_matrix,
)
from minitl.kernels.simd import constant, tanh
from minitl.ops import lstm as book
from minitl.ops.window import check_shape


def forward(
    x: np.ndarray,
    recurrent: np.ndarray,
    start: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    drop: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple]:
    """h of every step."""
    if drop is not None:  # rare
        return book.forward(x, recurrent, start, mask, drop)
    n, _, units = book.check("lstm", x, recurrent, 4, mask, start, 2)
    dtype = common_dtype(x, recurrent)
    x, led = after(start, x), after(start, mask)
    steps = x.shape[1]
    kept, matrix = memory.empty(x.shape, dtype), matrix_of(recurrent, dtype)
    cells, y = memory.empty((n, steps, units), dtype), memory.empty((n, steps, units), dtype)
    if start is not None:
        y[:, 0], cells[:, 0] = np.split(start, 2, axis=1)
    tasks, plan = plan_of(x, units, 4, matrix, led, start, back=False)
    launch(_forward, tasks, plan, np.ascontiguousarray(x, dtype), matrix, kept, cells, y, bytes_of(led))
    kept, cells, y = computed(start, kept), computed(start, cells), computed(start, y)
    return y, (recurrent, kept, cells, y, start, mask, None)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True, dcell: np.ndarray | None = None
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dR and dstart; what is not needed, or was not given, is None."""
    recurrent, kept, cells, y, start, mask, drop = cache
    if drop is not None:
        return book.backward(dy, cache, need_dx, need_dparameters, dcell)
    check_shape("lstm", "dy", dy.shape, y.shape)
    dy, kept, mask = after(start, dy), after(start, kept), after(start, mask)
    y, cells = after(start, y, 0), after(start, cells, 1)
    dtype, units = common_dtype(dy, kept), y.shape[2]
    dx, matrix = memory.empty(kept.shape, dtype), matrix_of(recurrent, dtype, transposed=True)
    dx[:, -1, :units] = 0 if dcell is None else dcell  # where the kernel looks for it
    tasks, plan = plan_of(y, units, 4, matrix, mask, start, back=True)
    given = (np.ascontiguousarray(a, dtype) for a in (dy, matrix, kept, cells))
    launch(_backward, tasks, plan, *given, dx, bytes_of(mask), scratch=whole_lines(2 * plan.plan.per_task * units))
    dstart = given_gradient(start, dx)
    drecurrent = recurrent_gradient(y, dx, recurrent) if need_dparameters else None
    return computed(start, dx) if need_dx else None, drecurrent, dstart


cells = book.cells


@task_kernel
def _forward(
    task: Task, plan: Plan, x: Numbers, matrix: Numbers, kept: Numbers, cells: Numbers, y: Numbers, mask: Bytes,
    in_kept: Indices, in_y: Indices,
):  # fmt: skip
    units, steps, first = plan.units, plan.steps, task * plan.per_task
    rows = min(plan.per_task, plan.samples - first)
    for t in range(plan.begins, steps):
        at = (first * steps + t) * 4 * units
        if t:
            step, in_before = steps * 4 * units, (first * steps + t - 1) * units
            times_matrix(plan, units, 4 * units, y, in_before, in_y, rows, matrix, x, at, step, kept, at, in_kept, step)
        for row in range(rows):
            place = (first + row) * steps + t
            i, h = place * 4 * units, place * units
            f, g, o = i + units, i + 2 * units, i + 3 * units
            if t == 0:
                for k in range(4 * units):
                    kept[i + k] = x[i + k]
            for k in range(2 * units):
                kept[i + k] = sigmoid_of(x, kept[i + k])
            for k in range(units):
                kept[g + k] = tanh(kept[g + k])
            for k in range(units):
                kept[o + k] = sigmoid_of(x, kept[o + k])
            if plan.masked and not mask[place]:
                for k in range(units):
                    cells[h + k] = cells[h - units + k] if t else constant(x, 0)
                    y[h + k] = y[h - units + k] if t else constant(x, 0)
                continue
            for k in range(units):
                before = cells[h - units + k] if t else constant(x, 0)
                cells[h + k] = kept[f + k] * before + kept[i + k] * kept[g + k]
            for k in range(units):
                y[h + k] = kept[o + k] * tanh(cells[h + k])


@task_kernel
def _backward(
    task: Task, plan: Plan, dy: Numbers, matrix: Numbers, kept: Numbers, cells: Numbers, dx: Numbers, mask: Bytes,
    in_dx: Indices, in_dh: Indices, scratch: Scratch,
):  # fmt: skip
    units, steps, first, zero, one = plan.units, plan.steps, task * plan.per_task, constant(dy, 0), constant(dy, 1)
    rows = min(plan.per_task, plan.samples - first)
    in_dc = plan.per_task * units  # behind dh
    last_gradient(plan, first, rows, dy, scratch)
    for row in range(rows):
        for k in range(units):
            scratch[in_dc + row * units + k] = dx[((first + row) * steps + steps - 1) * 4 * units + k]
    for t in range(steps - 1, plan.begins - 1, -1):
        for row in range(rows):
            place = (first + row) * steps + t
            i, h, dh, dc = place * 4 * units, place * units, row * units, in_dc + row * units
            f, g, o = i + units, i + 2 * units, i + 3 * units
            if plan.masked and not mask[place]:
                for k in range(4 * units):
                    dx[i + k] = zero
                continue
            # One line of the book per loop: with more arrays in one, LLVM would not check for overlaps, and not vectorise.
            for k in range(units):
                dx[o + k] = tanh(cells[h + k])
            for k in range(units):
                scratch[dc + k] += scratch[dh + k] * kept[o + k] * (one - dx[o + k] * dx[o + k])
            for k in range(units):
                dx[o + k] = scratch[dh + k] * dx[o + k] * kept[o + k] * (one - kept[o + k])
            for k in range(units):
                dx[i + k] = scratch[dc + k] * kept[g + k] * kept[i + k] * (one - kept[i + k])
            for k in range(units):
                before = cells[h - units + k] if t else zero
                dx[f + k] = scratch[dc + k] * before * kept[f + k] * (one - kept[f + k])
            for k in range(units):
                dx[g + k] = scratch[dc + k] * kept[i + k] * (one - kept[g + k] * kept[g + k])
            for k in range(units):
                scratch[dc + k] *= kept[f + k]
                scratch[dh + k] = zero
        if t:
            pass_on(plan, first, rows, t, dy, matrix, dx, scratch, in_dx, in_dh, 4)
    if plan.begins:
        for row in range(rows):
            for k in range(2 * units):  # dh, then dc
                dx[(first + row) * steps * 4 * units + k] = scratch[(0 if k < units else in_dc - units) + row * units + k]
