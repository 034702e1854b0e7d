"""Batch normalisation, two passes forward and two backward; the mathematics is in `minitl.ops.batch_norm`.

Sums run over slices of a fixed number of rows and are added in order, in double precision.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.jit import common_dtype, flat, jit
from minitl.kernels.launch import Numbers, Task, TaskKernel, launch, task_kernel
from minitl.kernels.normal import gelu, gelu_slope
from minitl.kernels.processor import ELEMENTS_PER_TASK, VECTOR_BYTES
from minitl.kernels.recording import also
from minitl.kernels.simd import constant, moments, products
from minitl.kernels.slices import join_moments, join_products
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
    sums, squares = np.zeros((2, slices, x.shape[-1]), dtype)
    launch(_moments, slices, _plan_of_slices(*rows.shape, False, 0, dtype), rows, sums, squares)
    return join_moments(sums, squares, len(rows), SLICE)


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
    r, constants = _constants(x, gamma, beta, mean, variance, epsilon)
    dtype = constants.dtype
    x_flat, y = flat(x, dtype), memory.empty(x.shape, dtype)
    added = x_flat if skip is None else flat(skip, dtype)
    _launch_rows(_normalise, x.shape[-1], (relu, ceiling, skip is not None), x_flat, added, y, constants=constants)
    return y, (x, gamma, constants[0], r, batch_statistics)


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
    r, constants = _constants(x, gamma, beta, mean, variance, epsilon)
    y = memory.empty(x.shape, constants.dtype)
    _launch_rows(_normalise_gelu, x.shape[-1], (False, 0, False), flat(x, constants.dtype), y, constants=constants)
    return y, ((x, gamma, constants[0], r, batch_statistics), constants)


def behind_gelu(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """The gradient of the normalisation's y, from that of the GELU behind it."""
    (x, *_), constants = cache
    check_shape("batch_norm", "dy", dy.shape, x.shape)
    dtype = constants.dtype
    dz = memory.empty(x.shape, dtype)
    _launch_rows(_slope_gelu, x.shape[-1], (False, 0, False), flat(dy, dtype), flat(x, dtype), dz, constants=constants)
    return dz


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dgamma and dbeta; what is not needed is None."""
    return gradients(dy, cache, None, need_dx, need_dparameters)


def behind_relu(dy: np.ndarray, y: np.ndarray, ceiling: int) -> np.ndarray:
    """dy where the y of a ReLU is above zero, and below its ceiling if there is one."""
    dtype = common_dtype(dy, y)
    dz = memory.empty(y.shape, dtype)
    _launch_rows(_mask, y.shape[-1], (True, ceiling, False), flat(dy, dtype), flat(y, dtype), dz)
    return dz


def cut_off(y: np.ndarray, ceiling: int) -> np.ndarray:
    """y, in its own memory, no larger than the ceiling."""
    _launch_rows(_cut_off, y.shape[-1], (False, ceiling, False), y)
    return y


def gradients(
    dy: np.ndarray, cache: tuple, y: np.ndarray | None, need_dx: bool, need_dparameters: bool, ceiling: int = 0
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """The same; with the y of a ReLU behind the normalisation, dy counts only where y lies above zero and below the ceiling."""
    x, gamma, mean, r, batch_statistics = cache
    check_shape("batch_norm", "dy", dy.shape, x.shape)
    dtype = common_dtype(x, gamma)
    x_flat, dy_flat, channels = flat(x, dtype), flat(dy, dtype), x.shape[-1]
    y_flat, rows = x_flat if y is None else y.reshape(-1), x_flat.size // channels
    gamma, mean, r = flat(gamma, dtype), flat(mean, dtype), flat(r, dtype)
    dx = dgamma = dbeta = None
    slices = -(-rows // SLICE) if need_dparameters or batch_statistics else 0
    sums, totals = np.zeros((2, slices, channels), dtype), np.empty((2, channels), dtype)
    repeat = _repeat(channels, x.size)
    if slices:
        totals[0], totals[1] = mean, r
        plan = _plan_of_slices(rows, channels, y is not None, ceiling, dtype)
        launch(_sum_products, slices, plan, dy_flat, x_flat, y_flat, totals, sums)
    constants = join_products(sums, mean, r, gamma, 1 / rows if batch_statistics else 0.0, repeat, totals)
    if need_dparameters:
        dbeta, dgamma = totals
    if need_dx:
        dx = memory.empty(x.shape, dtype)
        behind = y is not None, ceiling, False
        _launch_rows(_backward, channels, behind, dy_flat, x_flat, y_flat, dx, constants, repeat=repeat)
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


def _launch_rows(
    kernel: TaskKernel,
    channels: int,
    behind: tuple[bool, int, bool],
    *arrays: np.ndarray,
    constants: np.ndarray | None = None,
    repeat: int = 0,
) -> None:
    """Run an element-wise kernel. Short rows are taken several at a time: `repeat`, if their constants are repeated already."""
    size = arrays[0].size
    repeat = repeat or _repeat(channels, size)
    if constants is not None:
        repeated = memory.empty((len(constants), repeat, channels), constants.dtype)
        also(np.copyto, repeated, constants[:, None])
        arrays = (*arrays, repeated)
    channels *= repeat
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
) -> tuple[np.ndarray, np.ndarray]:
    """r, and per channel what is taken away, the factor, and what is added: copies, since moving statistics may move on."""
    check(x, gamma, beta, mean, variance)
    dtype = common_dtype(x, gamma)
    r, constants = memory.empty(mean.shape, dtype), memory.empty((3, *mean.shape), dtype)
    also(_write_constants, r, constants, gamma, beta, mean, variance, epsilon)
    return r, constants


def _write_constants(
    r: np.ndarray, constants: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray,
    epsilon: float,
) -> None:  # fmt: skip
    r[...] = 1 / np.sqrt(variance + epsilon)
    constants[0], constants[1], constants[2] = mean, gamma, beta
    constants[1] *= r


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
def _mask(task: Task, plan: Plan, dy: Numbers, y: Numbers, dz: Numbers):
    zero = constant(dy, 0)
    for k in range(task * plan.per_task * plan.channels, min((task + 1) * plan.per_task * plan.channels, plan.size)):
        dz[k] = dy[k] if _passes(plan, y[k]) else zero


@task_kernel
def _sum_products(task: Task, plan: Plan, dy: Numbers, x: Numbers, y: Numbers, mean_and_r: Numbers, sums: Numbers):
    zero, channels = constant(dy, 0), plan.channels
    first, last = task * SLICE, min((task + 1) * SLICE, plan.rows)
    of_dy, of_products = task * channels, (-(-plan.rows // SLICE) + task) * channels
    products(
        dy, x, y, plan.relu, plan.ceiling, mean_and_r, first, last, channels, plan.in_vectors, sums, of_dy, of_products
    )  # fmt: skip
    for n in range(first, last):
        for c in range(plan.in_vectors, channels):
            at = n * channels + c
            g = dy[at] if _passes(plan, y[at]) else zero
            sums[of_dy + c] += g
            sums[of_products + c] += g * (x[at] - mean_and_r[c]) * mean_and_r[channels + c]


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
