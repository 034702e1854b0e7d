"""Batch normalisation, two passes forward and two backward; the mathematics is in `minitl.ops.batch_norm`.

Sums run over slices of a fixed number of rows and are added in order, in double precision.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels import slices as of_slices
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.jit import inlined, jit
from minitl.kernels.launch import Constants, Numbers, Task, TaskKernel, launch, task_kernel
from minitl.kernels.normal import gelu, gelu_slope
from minitl.kernels.processor import ELEMENTS_PER_TASK, VECTOR_BYTES
from minitl.kernels.simd import clear, constant, moments, products
from minitl.ops import batch_norm as book
from minitl.ops.batch_norm import check
from minitl.ops.window import check_shape

SLICE = 256
LONG_ROW = 512  # numbers; shorter rows are put together


def statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The batch's mean and (biased) variance of every channel, each (C,).

    One pass over memory: each slice gets its own mean and its squares around it, and these are put together.
    """
    dtype = common_dtype(x)
    rows = flat(x, dtype).reshape(-1, x.shape[-1])
    slices = -(-len(rows) // SLICE)
    sums, squares = memory.empty((2, slices, x.shape[-1]), dtype)
    launch(_moments, slices, _plan_of_slices(*rows.shape, False, 0, dtype), rows, sums, squares)
    return of_slices.join_moments(sums, squares, len(rows), SLICE)


def follow(moving: np.ndarray, now: np.ndarray, momentum: float) -> None:
    """moving = momentum moving + (1 - momentum) now, in place."""
    if moving.dtype == now.dtype and moving.flags.c_contiguous:
        of_slices.follow(moving, now, momentum)
    else:
        book.follow(moving, now, momentum)


def forward(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
    batch_statistics: bool,
) -> tuple[np.ndarray, tuple]:
    """y = gamma (x - mean) r + beta; `batch_statistics` says whether mean and variance are x's own."""
    return normalise(x, gamma, beta, mean, variance, epsilon, batch_statistics)


def normalise(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
    batch_statistics: bool,
    relu: bool = False,
    ceiling: int = 0,
    skip: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple]:
    """The same; with a `skip` like x added, as at the end of a residual block, and a ReLU behind, which may have a ceiling."""
    if skip is not None:
        check_shape("add", "what a residual block skips with", skip.shape, x.shape)
    mean, r, constants = _constants(x, gamma, beta, mean, variance, epsilon)
    dtype = constants.dtype
    x_flat, y = flat(x, dtype), memory.empty(x.shape, dtype)
    added = x_flat if skip is None else flat(skip, dtype)
    _launch_rows(_normalise, x.shape[-1], (relu, ceiling, skip is not None), x_flat, added, y, constants)
    return y, (x, gamma, mean, r, batch_statistics)


def normalise_gelu(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
    batch_statistics: bool,
) -> tuple[np.ndarray, tuple]:
    """The same with a GELU behind; the cache has the constants from which the GELU's input is made again."""
    mean, r, constants = _constants(x, gamma, beta, mean, variance, epsilon)
    y = memory.empty(x.shape, constants.dtype)
    _launch_rows(_normalise_gelu, x.shape[-1], (False, 0, False), flat(x, constants.dtype), y, constants)
    return y, ((x, gamma, mean, r, batch_statistics), constants)


def behind_gelu(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """The gradient of the normalisation's y, from that of the GELU behind it."""
    (x, *_), constants = cache
    check_shape("batch_norm", "dy", dy.shape, x.shape)
    dtype = constants.dtype
    dz = memory.empty(x.shape, dtype)
    _launch_rows(_slope_gelu, x.shape[-1], (False, 0, False), flat(dy, dtype), flat(x, dtype), dz, constants)
    return dz


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dgamma and dbeta; what is not needed is None."""
    return gradients(dy, cache, None, need_dx, need_dparameters)


def behind_skip(
    dy: np.ndarray, more: np.ndarray | None, cache: tuple, y: np.ndarray, ceiling: int
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient of the sum with a skip in front of a ReLU, dz = dy + more where y is above zero and below the ceiling; and the
    sums that `gradients` needs of dz, made while a slice of it is near.
    """
    x, gamma, mean, r, _ = cache
    check_shape("batch_norm", "dy", dy.shape, x.shape)
    dtype, channels = common_dtype(x, gamma), x.shape[-1]
    rows, dz = x.size // channels, memory.empty(x.shape, dtype)
    slices = -(-rows // SLICE)
    sums = memory.empty((2, slices, channels), dtype)
    plan = _plan_of_slices(rows, channels, True, ceiling, dtype)._replace(skip=more is not None)
    arrays = (flat(array, dtype) for array in (dy, dy if more is None else more, y, x, mean))
    launch(_mask_and_sum, slices, plan, *arrays, dz, sums, flat(r, dtype))
    return dz, sums


def cut_off(y: np.ndarray, ceiling: int) -> np.ndarray:
    """y, in its own memory, no larger than the ceiling."""
    _launch_rows(_cut_off, y.shape[-1], (False, ceiling, False), y)
    return y


def gradients(
    dy: np.ndarray,
    cache: tuple,
    y: np.ndarray | None,
    need_dx: bool,
    need_dparameters: bool,
    ceiling: int = 0,
    sums: np.ndarray | None = None,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """The same; with the y of a ReLU behind the normalisation, dy counts only where y lies above zero and below the ceiling.
    `sums` may be there from `behind_skip`.
    """
    x, gamma, mean, r, batch_statistics = cache
    check_shape("batch_norm", "dy", dy.shape, x.shape)
    dtype = common_dtype(x, gamma)
    x_flat, dy_flat, channels = flat(x, dtype), flat(dy, dtype), x.shape[-1]
    y_flat, rows = x_flat if y is None else y.reshape(-1), x_flat.size // channels
    gamma, mean, r = flat(gamma, dtype), flat(mean, dtype), flat(r, dtype)
    dx = dgamma = dbeta = None
    totals, repeat = memory.empty((2, channels), dtype), _repeat(channels, x.size)
    if sums is None:
        slices = -(-rows // SLICE) if need_dparameters or batch_statistics else 0
        sums = memory.empty((2, slices, channels), dtype)
        plan = _plan_of_slices(rows, channels, y is not None, ceiling, dtype)
        launch(_sum_products, slices, plan, dy_flat, x_flat, y_flat, mean, r, sums)
    constants = of_slices.join_products(sums, mean, r, gamma, 1 / rows if batch_statistics else 0.0, repeat, totals)
    if need_dparameters:
        dbeta, dgamma = totals
    if need_dx:
        dx = memory.empty(x.shape, dtype)
        behind = y is not None, ceiling, False
        _launch_rows(_backward, channels, behind, dy_flat, x_flat, y_flat, dx, constants)
    return dx, dgamma, dbeta


class Plan(NamedTuple):
    """Rows of channels, and how many of them one task takes; whether a ReLU stands behind, and what is added before it."""

    rows: int
    channels: int
    per_task: int
    relu: int
    ceiling: int  # of the ReLU; 0 for none
    skip: int
    in_vectors: int  # channels that are summed in whole vectors
    size: int  # of the arrays, if rows were put together


def _plan_of_slices(rows: int, channels: int, relu: bool, ceiling: int, dtype: np.dtype) -> Plan:
    lanes = VECTOR_BYTES // dtype.itemsize
    return Plan(rows, channels, SLICE, relu, ceiling, False, channels // lanes * lanes, rows * channels)


def _repeat(channels: int, size: int) -> int:
    """How many short rows are taken as one, with the constants of their channels repeated."""
    return max(1, min(LONG_ROW // channels, size // channels))


def _launch_rows(kernel: TaskKernel, channels: int, behind: tuple[bool, int, bool], *arrays: np.ndarray) -> None:
    """Run an element-wise kernel. Short rows are taken several at a time, for which constants must have been repeated."""
    size = arrays[0].size
    channels *= _repeat(channels, size)
    per_task = max(1, ELEMENTS_PER_TASK // channels)
    rows = -(-size // channels)
    launch(kernel, -(-rows // per_task), Plan(rows, channels, per_task, *behind, 0, size), *arrays)


@jit()
def _passes(plan, y):
    """Whether a gradient goes through the ReLU behind, if there is one."""
    return not plan.relu or (y > 0 and not (plan.ceiling > 0 and y >= plan.ceiling))


@task_kernel
def _moments(task: Task, plan: Plan, rows: Numbers, sums: Numbers, squares: Numbers):
    first, last, at, channels = task * SLICE, min((task + 1) * SLICE, plan.rows), task * plan.channels, plan.channels
    clear(sums, at, channels)
    clear(squares, at, channels)
    moments(rows, first, last, channels, plan.in_vectors, sums, squares, at)
    here = constant(rows, last - first)
    for c in range(plan.in_vectors, channels):
        for n in range(first, last):
            sums[at + c] += rows[n * channels + c]
        for n in range(first, last):
            difference = rows[n * channels + c] - sums[at + c] / here
            squares[at + c] += difference * difference


def _constants(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and r, copies, since moving statistics may move on; and per channel what is taken away, the factor, what is added."""
    check(x, gamma, beta, mean, variance)
    dtype, repeat = common_dtype(x, gamma), _repeat(x.shape[-1], x.size)
    gamma, beta, mean, variance = (flat(array, dtype) for array in (gamma, beta, mean, variance))
    return of_slices.constants_of(gamma, beta, mean, variance, epsilon, repeat)


@task_kernel
def _normalise(task: Task, plan: Plan, x: Numbers, skip: Numbers, y: Numbers, constants: Numbers):
    channels, floor, ceiling = plan.channels, constant(x, 0.0 if plan.relu else -np.inf), constant(x, plan.ceiling)
    for n in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.rows)):
        at = n * channels
        here = min(channels, plan.size - at)
        for c in range(here):
            value = (x[at + c] - constants[c]) * constants[channels + c] + constants[2 * channels + c]
            if plan.skip:
                value += skip[at + c]
            y[at + c] = floor if value < floor else value
        if plan.ceiling > 0:
            for c in range(here):
                y[at + c] = ceiling if y[at + c] > ceiling else y[at + c]


@task_kernel
def _normalise_gelu(task: Task, plan: Plan, x: Numbers, y: Numbers, constants: Numbers):
    channels = plan.channels
    for n in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.rows)):
        at = n * channels
        for c in range(min(channels, plan.size - at)):
            y[at + c] = gelu((x[at + c] - constants[c]) * constants[channels + c] + constants[2 * channels + c])


@task_kernel
def _slope_gelu(task: Task, plan: Plan, dy: Numbers, x: Numbers, dz: Numbers, constants: Numbers):
    channels = plan.channels
    for n in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.rows)):
        at = n * channels
        for c in range(min(channels, plan.size - at)):
            z = (x[at + c] - constants[c]) * constants[channels + c] + constants[2 * channels + c]
            dz[at + c] = dy[at + c] * gelu_slope(z)


@task_kernel
def _cut_off(task: Task, plan: Plan, y: Numbers):
    ceiling = constant(y, plan.ceiling)
    for k in range(task * plan.per_task * plan.channels, min((task + 1) * plan.per_task * plan.channels, plan.size)):
        y[k] = ceiling if y[k] > ceiling else y[k]


@task_kernel
def _sum_products(task: Task, plan: Plan, dy: Numbers, x: Numbers, y: Numbers, mean: Numbers, r: Numbers, sums: Numbers):
    _sum_slice(task, plan, plan.relu, dy, x, y, mean, r, sums)


@task_kernel
def _mask_and_sum(
    task: Task, plan: Plan, dy: Numbers, more: Numbers, y: Numbers, x: Numbers, mean: Numbers, dz: Numbers, sums: Numbers,
    r: Constants,
):  # fmt: skip
    zero, first, last = constant(dy, 0), task * SLICE * plan.channels, min((task + 1) * SLICE, plan.rows) * plan.channels
    if plan.skip:
        for k in range(first, last):
            dz[k] = dy[k] + more[k] if _passes(plan, y[k]) else zero
    else:
        for k in range(first, last):
            dz[k] = dy[k] if _passes(plan, y[k]) else zero
    _sum_slice(task, plan, 0, dz, x, dz, mean, r, sums)


@inlined
def _sum_slice(task, plan, relu, dy, x, y, mean, r, sums):
    """The sums of a slice, of dy and of dy x_hat; behind a ReLU, if there is one, only where its y lets dy pass."""
    zero, channels = constant(dy, 0), plan.channels
    first, last = task * SLICE, min((task + 1) * SLICE, plan.rows)
    of_dy, of_products = task * channels, (-(-plan.rows // SLICE) + task) * channels
    clear(sums, of_dy, channels)
    clear(sums, of_products, channels)
    products(dy, x, y, relu, plan.ceiling, mean, r, first, last, channels, plan.in_vectors, sums, of_dy, of_products)
    for n in range(first, last):
        for c in range(plan.in_vectors, channels):
            at = n * channels + c
            g = dy[at] if not relu or _passes(plan, y[at]) else zero
            sums[of_dy + c] += g
            sums[of_products + c] += g * (x[at] - mean[c]) * r[c]


@task_kernel
def _backward(task: Task, plan: Plan, dy: Numbers, x: Numbers, y: Numbers, dx: Numbers, constants: Numbers):
    zero, channels = constant(dy, 0), plan.channels
    r, gamma, mean_dy, mean_dy_x_hat = channels, 2 * channels, 3 * channels, 4 * channels  # behind the means of x
    for n in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.rows)):
        for c in range(min(channels, plan.size - n * channels)):
            at = n * channels + c
            g = dy[at] if _passes(plan, y[at]) else zero
            x_hat = (x[at] - constants[c]) * constants[r + c]
            scale = constants[gamma + c] * constants[r + c]
            dx[at] = scale * (g - constants[mean_dy + c] - x_hat * constants[mean_dy_x_hat + c])
