"""Softmax, row by row; the mathematics is in `minitl.ops.softmax`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.jit import inlined, inner
from minitl.kernels.launch import Numbers, Task, TaskKernel, launch, task_kernel
from minitl.kernels.processor import ELEMENTS_PER_TASK
from minitl.kernels.row_sums import fold
from minitl.kernels.simd import exp, view
from minitl.ops.window import check_shape

WIDE = 128  # numbers in a row, from which on it is taken in vectors
LANES = 16  # running maxima and sums, side by side


def forward(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p = exp(z - max z) / sum exp(z - max z), row by row."""
    p = memory.empty(z.shape, common_dtype(z))
    many = z.ndim > 2 and z.shape[-1] >= LANES  # rows of sequences are worth the longer compilation
    launch_rows(_forward_wide if many or is_wide(z.shape[-1]) else _forward, z.shape[-1], flat(z, p.dtype), p)
    return p, p


def backward(dp: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dz = p (dp - <dp, p>), row by row."""
    check_shape("softmax", "dy", dp.shape, cache.shape)
    dz = memory.empty(dp.shape, common_dtype(dp, cache))
    launch_rows(_backward, dp.shape[-1], flat(dp, dz.dtype), flat(cache, dz.dtype), dz)
    return dz


class Rows(NamedTuple):
    """A number of rows, their length, and how many of them one task takes."""

    rows: int
    columns: int
    per_task: int


def is_wide(columns: int) -> bool | None:
    """Whether rows of this length are taken in vectors: True or None, of which compiled code has only the one that is needed."""
    return True if columns >= WIDE else None


def launch_rows(kernel: TaskKernel, columns: int, *arrays: np.ndarray) -> None:
    """Run a kernel over rows of some length."""
    rows = arrays[0].size // columns
    per_task = max(1, ELEMENTS_PER_TASK // 4 // columns)
    launch(kernel, -(-rows // per_task), Rows(rows, columns, per_task), *arrays)


@task_kernel
def _forward(task: Task, plan: Rows, z: Numbers, p: Numbers):
    _some_rows(task, plan, z, p, None)


@task_kernel
def _forward_wide(task: Task, plan: Rows, z: Numbers, p: Numbers):  # of its own, since it takes longer to compile
    _some_rows(task, plan, z, p, True)


@inlined
def _some_rows(task, plan, z, p, wide):
    shape = (plan.rows, plan.columns)
    z_rows, p_rows = view(z, shape), view(p, shape)
    for n in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.rows)):
        softmax_row(z_rows[n], p_rows[n], wide)


@task_kernel
def _backward(task: Task, plan: Rows, dp: Numbers, p: Numbers, dz: Numbers):
    for n in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.rows)):
        first = n * plan.columns
        for k in range(first, first + plan.columns):
            dz[k] = dp[k] * p[k]
        inner = fold(dz, first, plan.columns)
        for k in range(first, first + plan.columns):
            dz[k] = p[k] * (dp[k] - inner)


@inner()
def softmax_row(z, p, wide):
    """Write one row's softmax into p; return log sum exp(z). `wide` is what `is_wide` says."""
    if wide is None:
        return _narrow_row(z, p)
    return _wide_row(z, p)


@inner()
def _narrow_row(z, p):
    largest = z[0]
    for c in range(1, len(z)):
        if not z[c] <= largest:
            largest = z[c]
    total = z.dtype.type(0)
    for c in range(len(z)):
        p[c] = np.exp(z[c] - largest)
        total += p[c]
    for c in range(len(z)):
        p[c] /= total
    return largest + np.log(total)


@inner()
def _wide_row(z, p):
    """The same with LANES maxima and sums at a time, which are put together at the end."""
    lanes, whole = np.empty(LANES, z.dtype), len(z) // LANES * LANES
    for k in range(LANES):
        lanes[k] = z[k]
    for c in range(LANES, whole, LANES):
        for k in range(LANES):
            lanes[k] = max(lanes[k], z[c + k])
    largest = lanes[0]
    for k in range(1, LANES):
        largest = max(largest, lanes[k])
    for c in range(whole, len(z)):
        largest = max(largest, z[c])
    for c in range(len(z)):
        p[c] = exp(z[c] - largest)
    for k in range(LANES):
        lanes[k] = p[k]
    for c in range(LANES, whole, LANES):
        for k in range(LANES):
            lanes[k] += p[c + k]
    total = lanes[0]
    for k in range(1, LANES):
        total += lanes[k]
    for c in range(whole, len(z)):
        total += p[c]
    for c in range(len(z)):
        p[c] /= total
    return largest + np.log(total)
