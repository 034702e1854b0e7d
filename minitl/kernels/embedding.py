"""Embedding, a few columns of the table per task; the mathematics is in `minitl.ops.embedding`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels.arrays import common_dtype, contiguous, zeros
from minitl.kernels.launch import Indices, Numbers, Task, launch, packed, task_kernel
from minitl.kernels.processor import TASKS
from minitl.ops import embedding as book
from minitl.ops.window import check_shape

COLUMNS = 16  # of a task, at least


def forward(table: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, tuple]:
    """y = the rows of the table."""
    return book.forward(table, x)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dtable: each row gets the sum of its gradients, in the order of the samples."""
    x, shape = cache
    check_shape("embedding", "dy", dy.shape, (*x.shape, shape[1]))
    dtable = zeros(shape, common_dtype(dy))
    per_task = max(COLUMNS, -(-shape[1] // TASKS))
    plan = packed(Plan(x.size, shape[1], per_task), np.ascontiguousarray(x.reshape(-1), np.int64))
    launch(_add, -(-shape[1] // per_task), plan, contiguous(dy, dtable.dtype), dtable)
    return dtable


class Plan(NamedTuple):
    """How many numbers there are, and how many of the table's columns one task takes."""

    numbers: int
    columns: int
    per_task: int


@task_kernel
def _add(task: Task, plan: Plan, dy: Numbers, dtable: Numbers, x: Indices):
    first, last = task * plan.per_task, min((task + 1) * plan.per_task, plan.columns)
    for n in range(plan.numbers):
        for column in range(first, last):
            dtable[x[n] * plan.columns + column] += dy[n * plan.columns + column]
