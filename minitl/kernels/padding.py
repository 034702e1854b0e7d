"""Zeros around images and behind rows, as products need them; in memory that is good until the next call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, contiguous
from minitl.kernels.launch import Numbers, Task, launch, task_kernel
from minitl.kernels.simd import clear, copy, whole_vectors
from minitl.ops.window import Axis, Pair

ROWS_PER_TASK = 256


def pad2d(x: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """`minitl.ops.window.pad2d` with zeros; the images themselves where there is nothing to add."""
    if not (rows.before or rows.after or columns.before or columns.after):
        return x
    before, after = (rows.before, columns.before), (rows.after, columns.after)
    return _surround(x, memory.workspace("padded", _larger(x.shape, before, after), x.dtype), before)


def surrounded(x: np.ndarray, before: Pair, after: Pair) -> np.ndarray:
    """The same for images of float32 or float64, in memory of its own, with any number of zeros."""
    return _surround(contiguous(x, x.dtype), memory.empty(_larger(x.shape, before, after), x.dtype), before)


def inside(x: np.ndarray, before: Pair, size: Pair) -> np.ndarray:
    """The pixels x[:, before[0] : before[0] + size[0], before[1] : before[1] + size[1]] of images, side by side."""
    y = memory.empty((len(x), *size, x.shape[3]), x.dtype)
    launch(_inside, len(x) * size[0], Frame._make([*size, x.shape[3], *before, *x.shape[1:3]]), contiguous(x, x.dtype), y)
    return y


def widened(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """Zeros in front of the last axis and behind it."""
    columns = x.shape[-1]
    y = memory.empty((*x.shape[:-1], before + columns + after), x.dtype)
    plan = Widening(x.size // columns, columns, before, y.shape[-1])
    launch(_pad_columns, -(-plan.rows // ROWS_PER_TASK), plan, contiguous(x, x.dtype), y)
    return y


def narrowed(x: np.ndarray, before: int, columns: int) -> np.ndarray:
    """x[..., before : before + columns]."""
    y = memory.empty((*x.shape[:-1], columns), x.dtype)
    plan = Widening(x.size // x.shape[-1], columns, before, x.shape[-1])
    launch(_cut_columns, -(-plan.rows // ROWS_PER_TASK), plan, contiguous(x, x.dtype), y)
    return y


def every(x: np.ndarray, strides: Pair) -> np.ndarray:
    """The pixels x[:, ::strides[0], ::strides[1]] of images, side by side; the images themselves for strides of (1, 1)."""
    if strides == (1, 1):
        return x
    x = contiguous(x, common_dtype(x))
    y = memory.empty(x[:, :: strides[0], :: strides[1]].shape, x.dtype)
    launch(_every, len(x) * y.shape[1], Sampling._make([*x.shape[1:], *strides, *y.shape[1:3]]), x, y)
    return y


def pad_columns(matrix: np.ndarray) -> np.ndarray:
    """The same rows, widened with zeros to whole vectors; the matrix itself where it has that width.

    Shapes: (..., columns) to (..., columns rounded up), contiguous.
    """
    columns = matrix.shape[-1]
    padded_columns = whole_vectors(columns, matrix.dtype)
    if padded_columns == columns:
        return matrix
    padded = memory.workspace("widened", (*matrix.shape[:-1], padded_columns), matrix.dtype)
    rows = padded.size // padded_columns
    launch(_pad_columns, -(-rows // ROWS_PER_TASK), Widening(rows, columns, 0, padded_columns), matrix, padded)
    return padded


def _larger(shape: tuple[int, ...], before: Pair, after: Pair) -> tuple[int, ...]:
    return shape[0], before[0] + shape[1] + after[0], before[1] + shape[2] + after[1], shape[3]


def _surround(x: np.ndarray, padded: np.ndarray, before: Pair) -> np.ndarray:
    launch(_pad2d, len(x) * padded.shape[1], Frame._make([*x.shape[1:], *before, *padded.shape[1:3]]), x, padded)
    return padded


class Frame(NamedTuple):
    """Images, and the images with zeros around them."""

    height: int
    width: int
    channels: int
    before_h: int
    before_w: int
    padded_height: int
    padded_width: int


class Sampling(NamedTuple):
    """Images, and of which pixels they are made."""

    height: int
    width: int
    channels: int
    stride_h: int
    stride_w: int
    out_h: int
    out_w: int


class Widening(NamedTuple):
    """A matrix, and how wide it becomes."""

    rows: int
    columns: int
    before: int
    padded_columns: int


@task_kernel
def _pad2d(task: Task, plan: Frame, x: Numbers, padded: Numbers):
    image, row = task // plan.padded_height, task % plan.padded_height - plan.before_h
    to = task * plan.padded_width * plan.channels
    clear(padded, to, plan.padded_width * plan.channels)
    if 0 <= row < plan.height:
        numbers = plan.width * plan.channels
        copy(x, (image * plan.height + row) * numbers, padded, to + plan.before_w * plan.channels, numbers)


@task_kernel
def _every(task: Task, plan: Sampling, x: Numbers, y: Numbers):
    row = task // plan.out_h * plan.height + task % plan.out_h * plan.stride_h
    for j in range(plan.out_w):
        at, to = (row * plan.width + j * plan.stride_w) * plan.channels, (task * plan.out_w + j) * plan.channels
        copy(x, at, y, to, plan.channels)


@task_kernel
def _pad_columns(task: Task, plan: Widening, matrix: Numbers, padded: Numbers):
    for row in range(task * ROWS_PER_TASK, min((task + 1) * ROWS_PER_TASK, plan.rows)):
        to = row * plan.padded_columns
        clear(padded, to, plan.before)
        copy(matrix, row * plan.columns, padded, to + plan.before, plan.columns)
        clear(padded, to + plan.before + plan.columns, plan.padded_columns - plan.before - plan.columns)


@task_kernel
def _cut_columns(task: Task, plan: Widening, padded: Numbers, matrix: Numbers):
    for row in range(task * ROWS_PER_TASK, min((task + 1) * ROWS_PER_TASK, plan.rows)):
        copy(padded, row * plan.padded_columns + plan.before, matrix, row * plan.columns, plan.columns)


@task_kernel
def _inside(task: Task, plan: Frame, padded: Numbers, x: Numbers):
    image, row = task // plan.height, task % plan.height + plan.before_h
    at = ((image * plan.padded_height + row) * plan.padded_width + plan.before_w) * plan.channels
    copy(padded, at, x, task * plan.width * plan.channels, plan.width * plan.channels)
