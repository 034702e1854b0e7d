"""Sums over a batch, channel by channel: of x and its squares, of dy and dy x_hat; for batch normalisation.

A slice is a fixed number of rows. What the slices' sums come to is in `slices`. Where there are few slices, each is shared out
among tasks by its channels; no sum depends on that.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.jit import inlined, inner
from minitl.kernels.launch import Constants, Numbers, Task, launch, task_kernel
from minitl.kernels.processor import TASKS, VECTOR_BYTES
from minitl.kernels.simd import clear, constant, moments, products, whole_vectors

SLICE = 256  # rows
CHUNK = 64  # channels that a task sums, at least


def sum_moments(x: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """For every slice: the sums, and the sums of squares around the slice's own mean.

    Shapes: x contiguous, (M C,); the results (slices, C).
    """
    tasks, plan = _plan(x.size // channels, channels, False, 0, 0, False, x.dtype)
    sums, squares = memory.empty((2, plan.slices, channels), x.dtype)
    launch(_moments, tasks, plan, x, sums, squares)
    return sums, squares


def sum_products(
    dy: np.ndarray, x: np.ndarray, mean: np.ndarray, r: np.ndarray, before: np.ndarray | None = None, ceiling: int = 0
) -> np.ndarray:
    """For every slice: the sums of dy, and of dy x_hat.

    In front of a ReLU, for which `before` has the constants (what is taken from x, the factor, what is added), dy counts only
    where the ReLU's input is above zero, and below its ceiling if there is one.
    Shapes: dy and x (M C,), mean and r (C,), before (3, repeated, C), all contiguous and of one dtype; the result (2, slices, C).
    """
    channels, repeated = mean.size, 0 if before is None else before[0].size
    tasks, plan = _plan(x.size // channels, channels, before is not None, ceiling, repeated, False, x.dtype)
    sums = memory.empty((2, plan.slices, channels), x.dtype)
    launch(_sum_products, tasks, plan, dy, x, mean if before is None else before, mean, r, sums)
    return sums


def mask_and_sum(
    dy: np.ndarray, more: np.ndarray | None, y: np.ndarray, x: np.ndarray, mean: np.ndarray, r: np.ndarray, ceiling: int
) -> tuple[np.ndarray, np.ndarray]:
    """dz = dy + more where the y of a ReLU is above zero and below its ceiling; and the sums of dz and dz x_hat, made while a
    slice of it is near.

    Shapes: as in `sum_products`; more, y and dz like dy.
    """
    channels, dz = mean.size, memory.empty(x.shape, x.dtype)
    tasks, plan = _plan(x.size // channels, channels, True, ceiling, 0, more is not None, x.dtype)
    sums = memory.empty((2, plan.slices, channels), x.dtype)
    launch(_mask_and_sum, tasks, plan, dy, dy if more is None else more, y, x, mean, dz, sums, r)
    return dz, sums


class Plan(NamedTuple):
    """Slices of rows, and chunks of their channels."""

    rows: int
    slices: int
    channels: int
    chunk: int
    in_vectors: int  # channels that are summed in whole vectors
    relu: int
    ceiling: int  # of the ReLU; 0 for none
    repeated: int  # numbers of each constant
    adds: int  # whether dy comes in two parts


@functools.lru_cache(maxsize=1024)
def _plan(rows: int, channels: int, relu: bool, ceiling: int, repeated: int, adds: bool, dtype: np.dtype) -> tuple[int, Plan]:
    lanes, slices = VECTOR_BYTES // dtype.itemsize, -(-rows // SLICE)
    chunk = channels if slices >= TASKS else max(CHUNK, whole_vectors(-(-channels * slices // TASKS), dtype))
    chunk = min(chunk, channels)
    plan = Plan(rows, slices, channels, chunk, channels // lanes * lanes, relu, ceiling, repeated, adds)
    return slices * -(-channels // chunk), plan


@inner()
def relu_input(x, constants, c, size):
    """What comes out of a normalisation, and goes into what stands behind it: constants of a channel are `size` numbers apart."""
    return (x - constants[c]) * constants[size + c] + constants[2 * size + c]


@inner()
def passes(plan, z):
    """Whether a gradient goes through the ReLU behind, if there is one; z is what it got, or what it gave."""
    return not plan.relu or (z > 0 and not (plan.ceiling > 0 and z >= plan.ceiling))


@task_kernel
def _moments(task: Task, plan: Plan, rows: Numbers, sums: Numbers, squares: Numbers):
    first, last, begin, end = _part(task, plan)
    at, whole, here = first // SLICE * plan.channels, min(end, plan.in_vectors), constant(rows, last - first)
    clear(sums, at + begin, end - begin)
    clear(squares, at + begin, end - begin)
    moments(rows, first, last, plan.channels, begin, whole, sums, squares, at)
    for c in range(max(begin, whole), end):
        for n in range(first, last):
            sums[at + c] += rows[n * plan.channels + c]
        for n in range(first, last):
            difference = rows[n * plan.channels + c] - sums[at + c] / here
            squares[at + c] += difference * difference


@task_kernel
def _sum_products(task: Task, plan: Plan, dy: Numbers, x: Numbers, before: Numbers, mean: Numbers, r: Numbers, sums: Numbers):
    _sum_slice(task, plan, plan.relu, dy, x, before, mean, r, sums)


@task_kernel
def _mask_and_sum(
    task: Task, plan: Plan, dy: Numbers, more: Numbers, y: Numbers, x: Numbers, mean: Numbers, dz: Numbers, sums: Numbers,
    r: Constants,
):  # fmt: skip
    zero, channels = constant(dy, 0), plan.channels
    first, last, begin, end = _part(task, plan)
    whole = end - begin == channels  # rows are one behind another
    for n in range(first, first + 1 if whole else last):
        at, to = n * channels + begin, (last * channels) if whole else (n * channels + end)
        if plan.adds:
            for k in range(at, to):
                dz[k] = dy[k] + more[k] if passes(plan, y[k]) else zero
        else:
            for k in range(at, to):
                dz[k] = dy[k] if passes(plan, y[k]) else zero
    _sum_slice(task, plan, 0, dz, x, mean, mean, r, sums)


@inlined
def _sum_slice(task, plan, relu, dy, x, before, mean, r, sums):
    """The sums of a slice, of dy and of dy x_hat; in front of a ReLU only where it lets dy pass."""
    zero, channels, ceiling = constant(dy, 0), plan.channels, plan.ceiling
    first, last, begin, end = _part(task, plan)
    of_dy, whole = first // SLICE * channels, min(end, plan.in_vectors)
    of_products = plan.slices * channels + of_dy
    clear(sums, of_dy + begin, end - begin)
    clear(sums, of_products + begin, end - begin)
    products(
        dy, x, before, plan.repeated, relu, ceiling, mean, r, first, last, channels, begin, whole, sums, of_dy, of_products
    )  # fmt: skip
    for n in range(first, last):
        for c in range(max(begin, whole), end):
            at = n * channels + c
            g = dy[at] if not relu or passes(plan, relu_input(x[at], before, c, plan.repeated)) else zero
            sums[of_dy + c] += g
            sums[of_products + c] += g * (x[at] - mean[c]) * r[c]


@inlined
def _part(task, plan):
    """The rows and the channels of a task."""
    chunks = (plan.channels + plan.chunk - 1) // plan.chunk
    first, begin = task // chunks * SLICE, task % chunks * plan.chunk
    return first, min(first + SLICE, plan.rows), begin, min(begin + plan.chunk, plan.channels)
