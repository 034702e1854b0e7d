"""Batch normalisation, two passes forward and two backward; the mathematics is in `minitl.ops.batch_norm`.

Sums run over slices of a fixed number of rows and are added in order, in double precision.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory, slices
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.batch_sums import SLICE, mask_and_sum, passes, relu_input, sum_moments, sum_products
from minitl.kernels.launch import Numbers, Task, TaskKernel, launch, task_kernel
from minitl.kernels.normal import gelu, gelu_slope
from minitl.kernels.processor import ELEMENTS_PER_TASK
from minitl.kernels.simd import constant
from minitl.ops import batch_norm as book
from minitl.ops.batch_norm import check
from minitl.ops.window import check_shape

LONG_ROW = 512  # numbers; shorter rows are put together


def statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The batch's mean and (biased) variance of every channel, each (C,).

    One pass over memory: each slice gets its own mean and its squares around it, and these are put together.
    """
    dtype = common_dtype(x)
    sums, squares = sum_moments(flat(x, dtype), x.shape[-1])
    return slices.join_moments(sums, squares, x.size // x.shape[-1], SLICE)


def follow(moving: np.ndarray, now: np.ndarray, momentum: float) -> None:
    """moving = momentum moving + (1 - momentum) now, in place."""
    if moving.dtype == now.dtype and moving.flags.c_contiguous:
        slices.follow(moving, now, momentum)
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
    return normalise(x, gamma, beta, mean, variance, epsilon, batch_statistics)[:2]


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
) -> tuple[np.ndarray, tuple, np.ndarray]:
    """The same; with a `skip` like x added, as at the end of a residual block, and a ReLU behind, which may have a ceiling.

    It also returns the constants from which the input of the ReLU is made again, where there is no skip.
    """
    if skip is not None:
        check_shape("add", "what a residual block skips with", skip.shape, x.shape)
    mean, r, constants = _constants(x, gamma, beta, mean, variance, epsilon)
    dtype = constants.dtype
    x_flat, y = flat(x, dtype), memory.empty(x.shape, dtype)
    added = x_flat if skip is None else flat(skip, dtype)
    _launch_rows(_normalise, x.shape[-1], (relu, ceiling, skip is not None), x_flat, added, y, constants)
    return y, (x, gamma, mean, r, batch_statistics), constants


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
    sums of it that `gradients` needs.
    """
    x, gamma, mean, r, _ = cache
    check_shape("batch_norm", "dy", dy.shape, x.shape)
    dtype = common_dtype(x, gamma)
    dy, y, x_flat, mean, r = (flat(array, dtype) for array in (dy, y, x, mean, r))
    dz, sums = mask_and_sum(dy, None if more is None else flat(more, dtype), y, x_flat, mean, r, ceiling)
    return dz.reshape(x.shape), sums


def cut_off(y: np.ndarray, ceiling: int) -> np.ndarray:
    """y, in its own memory, no larger than the ceiling."""
    _launch_rows(_cut_off, y.shape[-1], (False, ceiling, False), y)
    return y


def gradients(
    dy: np.ndarray,
    cache: tuple,
    before: np.ndarray | None,
    need_dx: bool,
    need_dparameters: bool,
    ceiling: int = 0,
    sums: np.ndarray | None = None,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """The same; with a ReLU behind, for which `before` has the constants, dy counts only where the ReLU's input is above zero and
    below the ceiling: to compute that again takes less time than to read it. `sums` may be there from `behind_skip`.
    """
    x, gamma, mean, r, batch_statistics = cache
    check_shape("batch_norm", "dy", dy.shape, x.shape)
    dtype = common_dtype(x, gamma)
    x_flat, dy_flat, channels = flat(x, dtype), flat(dy, dtype), x.shape[-1]
    gamma, mean, r = flat(gamma, dtype), flat(mean, dtype), flat(r, dtype)
    dx = dgamma = dbeta = None
    totals, repeat = memory.empty((2, channels), dtype), _repeat(channels, x.size)
    if not (need_dparameters or batch_statistics):
        sums = memory.empty((2, 0, channels), dtype)
    elif sums is None:
        sums = sum_products(dy_flat, x_flat, mean, r, before, ceiling)
    share = channels / x.size if batch_statistics else 0.0
    constants = slices.join_products(sums, mean, r, gamma, share, repeat, totals)
    if need_dparameters:
        dbeta, dgamma = totals
    if need_dx:
        dx = memory.empty(x.shape, dtype)
        behind = before is not None, ceiling, False
        _launch_rows(_backward, channels, behind, dy_flat, x_flat, dx, constants if before is None else before, constants)
    return dx, dgamma, dbeta


class Plan(NamedTuple):
    """Rows of channels, and how many of them one task takes; whether a ReLU stands behind, and what is added before it."""

    rows: int
    channels: int
    per_task: int
    relu: int
    ceiling: int  # of the ReLU; 0 for none
    skip: int
    size: int  # of the arrays, if rows were put together


def _repeat(channels: int, size: int) -> int:
    """How many short rows are taken as one, with the constants of their channels repeated."""
    return max(1, min(LONG_ROW // channels, size // channels))


def _launch_rows(kernel: TaskKernel, channels: int, behind: tuple[bool, int, bool], *arrays: np.ndarray) -> None:
    """Run an element-wise kernel. Short rows are taken several at a time, for which constants must have been repeated."""
    size = arrays[0].size
    channels *= _repeat(channels, size)
    per_task = max(1, ELEMENTS_PER_TASK // channels)
    rows = -(-size // channels)
    launch(kernel, -(-rows // per_task), Plan(rows, channels, per_task, *behind, size), *arrays)


def _constants(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and r, copies, since moving statistics may move on; and per channel what is taken away, the factor, what is added."""
    check(x, gamma, beta, mean, variance)
    dtype, repeat = common_dtype(x, gamma), _repeat(x.shape[-1], x.size)
    gamma, beta, mean, variance = (flat(array, dtype) for array in (gamma, beta, mean, variance))
    return slices.constants_of(gamma, beta, mean, variance, epsilon, repeat)


@task_kernel
def _normalise(task: Task, plan: Plan, x: Numbers, skip: Numbers, y: Numbers, constants: Numbers):
    channels, floor, ceiling = plan.channels, constant(x, 0.0 if plan.relu else -np.inf), constant(x, plan.ceiling)
    for n in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.rows)):
        at = n * channels
        here = min(channels, plan.size - at)
        for c in range(here):
            value = relu_input(x[at + c], constants, c, channels)
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
            y[at + c] = gelu(relu_input(x[at + c], constants, c, channels))


@task_kernel
def _slope_gelu(task: Task, plan: Plan, dy: Numbers, x: Numbers, dz: Numbers, constants: Numbers):
    channels = plan.channels
    for n in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.rows)):
        at = n * channels
        for c in range(min(channels, plan.size - at)):
            dz[at + c] = dy[at + c] * gelu_slope(relu_input(x[at + c], constants, c, channels))


@task_kernel
def _cut_off(task: Task, plan: Plan, y: Numbers):
    ceiling = constant(y, plan.ceiling)
    for k in range(task * plan.per_task * plan.channels, min((task + 1) * plan.per_task * plan.channels, plan.size)):
        y[k] = ceiling if y[k] > ceiling else y[k]


@task_kernel
def _backward(task: Task, plan: Plan, dy: Numbers, x: Numbers, dx: Numbers, before: Numbers, constants: Numbers):
    zero, channels = constant(dy, 0), plan.channels
    r, gamma, mean_dy, mean_dy_x_hat = channels, 2 * channels, 3 * channels, 4 * channels  # behind the means of x
    for n in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.rows)):
        for c in range(min(channels, plan.size - n * channels)):
            at = n * channels + c
            g = dy[at] if not plan.relu or passes(plan, relu_input(x[at], before, c, channels)) else zero
            x_hat = (x[at] - constants[c]) * constants[r + c]
            scale = constants[gamma + c] * constants[r + c]
            dx[at] = scale * (g - constants[mean_dy + c] - x_hat * constants[mean_dy_x_hat + c])
