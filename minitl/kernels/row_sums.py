"""Sums over rows, for the gradients of biases and the slices of a batch: in an order that the shapes alone decide."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.jit import inner
from minitl.kernels.launch import Numbers, Task, launch, task_kernel
from minitl.kernels.processor import TASKS
from minitl.kernels.simd import clear

SLICE = 256  # rows whose sum is one partial sum
SHARED_FROM = 1 << 15  # numbers that are worth sharing among threads


def sum_rows(dy: np.ndarray) -> np.ndarray:
    """The sum over all axes but the last, in slices of fixed size; `dy` contiguous."""
    rows = dy.reshape(-1, dy.shape[-1])
    if rows.size < SHARED_FROM:
        return add_rows(rows)
    sums = memory.empty((-(-len(rows) // SLICE), dy.shape[-1]), dy.dtype)
    launch(_sum_rows, len(sums), Plan(*rows.shape), rows, sums)
    return add_rows(sums)


def add_rows(rows: np.ndarray) -> np.ndarray:
    """The sum over the first axis, one after another; `rows` contiguous."""
    if not len(rows):
        return np.zeros(rows.shape[1:], rows.dtype)
    total = memory.empty(rows.shape[1:], rows.dtype)
    shared = rows.size >= SHARED_FROM
    per_task = memory.whole_lines(-(-total.size // TASKS)) if shared else total.size
    launch(_add_rows, -(-total.size // max(1, per_task)), Columns(len(rows), total.size, per_task), rows, total)
    return total


class Plan(NamedTuple):
    """A matrix."""

    rows: int
    columns: int


class Columns(NamedTuple):
    """A matrix, and how many of its columns one task takes."""

    rows: int
    columns: int
    per_task: int


@task_kernel
def _sum_rows(task: Task, plan: Plan, matrix: Numbers, sums: Numbers):
    clear(sums, task * plan.columns, plan.columns)
    for row in range(task * SLICE, min((task + 1) * SLICE, plan.rows)):
        for column in range(plan.columns):
            sums[task * plan.columns + column] += matrix[row * plan.columns + column]


@task_kernel
def _add_rows(task: Task, plan: Columns, matrix: Numbers, total: Numbers):
    first, last = task * plan.per_task, min((task + 1) * plan.per_task, plan.columns)
    for column in range(first, last):
        total[column] = matrix[column]
    for row in range(1, plan.rows):
        for column in range(first, last):
            total[column] += matrix[row * plan.columns + column]


@inner()
def fold(numbers, first, count):
    """The sum of some neighbours, half of them added to the other half until few are left; they are not kept."""
    while count > 8:
        half = count // 2
        for k in range(half):
            numbers[first + k] += numbers[first + count - half + k]
        count -= half
    total = numbers[first]
    for k in range(first + 1, first + count):
        total += numbers[k]
    return total
