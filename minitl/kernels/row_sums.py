"""Sums over rows, for the gradients of biases and the slices of a batch: in an order that the shapes alone decide."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.jit import jit
from minitl.kernels.launch import Numbers, Task, launch, task_kernel

SLICE = 256  # rows whose sum is one partial sum
SHARED_FROM = 1 << 15  # numbers that are worth sharing among threads


def sum_rows(dy: np.ndarray) -> np.ndarray:
    """The sum over all axes but the last, in slices of fixed size; `dy` contiguous."""
    rows = dy.reshape(-1, dy.shape[-1])
    if rows.size < SHARED_FROM:
        return add_rows(rows)
    sums = memory.zeros((-(-len(rows) // SLICE), dy.shape[-1]), dy.dtype)
    launch(_sum_rows, len(sums), Plan(*rows.shape), rows, sums)
    return add_rows(sums)


def add_rows(rows: np.ndarray) -> np.ndarray:
    """The sum over the first axis, one after another; `rows` contiguous."""
    if not len(rows):
        return np.zeros(rows.shape[1:], rows.dtype)
    total = memory.empty(rows.shape[1:], rows.dtype)
    _add_rows(rows.reshape(len(rows), -1), total.ravel())
    return total


class Plan(NamedTuple):
    """A matrix."""

    rows: int
    columns: int


@task_kernel
def _sum_rows(task: Task, plan: Plan, matrix: Numbers, sums: Numbers):
    for row in range(task * SLICE, min((task + 1) * SLICE, plan.rows)):
        for column in range(plan.columns):
            sums[task * plan.columns + column] += matrix[row * plan.columns + column]


@jit()
def _add_rows(rows, total):
    # Number by number: an assignment of whole rows would take seconds to compile, with all its error messages.
    for column in range(len(total)):
        total[column] = rows[0, column]
    for row in range(1, len(rows)):
        for column in range(len(total)):
            total[column] += rows[row, column]


@jit()
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
