"""Group and layer normalisation, some samples per task; the mathematics is in `minitl.ops.group_norm`.

Sums run over the pixels of a sample channel by channel, in blocks, whose sums are added; those of a group's channels are added in
halves. So rounding stays small, and the order depends on shapes alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.launch import Numbers, Scratch, Task, launch, task_kernel
from minitl.kernels.processor import ELEMENTS_PER_TASK
from minitl.kernels.row_sums import add_rows, fold
from minitl.kernels.simd import constant
from minitl.ops.group_norm import grouped
from minitl.ops.window import check_shape

BLOCK = 64  # pixels whose sum is one partial sum


def forward(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, groups: int, epsilon: float, axes: str = "all"
) -> tuple[np.ndarray, tuple]:
    """y = gamma (x - mean) r + beta."""
    check_shape("group_norm", "gamma and beta", np.broadcast_shapes(gamma.shape, beta.shape), x.shape[-1:])
    y = memory.empty(x.shape, common_dtype(x, gamma, beta))
    x_hat = memory.empty(x.shape, y.dtype)
    tasks, plan = _plan_of(x, groups, axes)
    r = np.empty((plan.samples, 1, groups, 1), y.dtype)
    settings = [np.broadcast_to(array, x.shape[-1:]) for array in (gamma, beta)]
    constants = np.concatenate([*settings, [epsilon, plan.pixels * (plan.channels // groups)]]).astype(y.dtype)
    kernel, arrays = (_forward_of_rows, 0) if _is_row(plan) else (_forward, 4)
    launch(kernel, tasks, plan, flat(x, y.dtype), y, x_hat, constants, r, scratch=memory.whole_lines(arrays * plan.channels))
    return y, (x_hat, gamma, r, groups, axes)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dgamma and dbeta; what is not needed is None."""
    x_hat, gamma, r, groups, axes = cache
    check_shape("group_norm", "dy", dy.shape, x_hat.shape)
    dx = memory.empty(dy.shape, common_dtype(dy, x_hat, gamma))
    tasks, plan = _plan_of(dy, groups, axes)
    sums = np.zeros((tasks, 2 * plan.channels), dx.dtype)
    given = (flat(array, dx.dtype) for array in (dy, x_hat, np.broadcast_to(gamma, dy.shape[-1:]), r))
    kernel, arrays = (_backward_of_rows, 0) if _is_row(plan) else (_backward, 5)
    launch(kernel, tasks, plan, *given, dx, sums, scratch=memory.whole_lines(arrays * plan.channels))
    dbeta, dgamma = add_rows(sums).reshape(2, -1) if need_dparameters else (None, None)
    return dx if need_dx else None, dgamma, dbeta


class Plan(NamedTuple):
    """The samples, the pixels of each, the channels of a pixel and their groups, and how many samples a task takes."""

    samples: int
    pixels: int
    channels: int
    groups: int
    per_task: int


def _plan_of(x: np.ndarray, groups: int, axes: str) -> tuple[int, Plan]:
    """The number of tasks, and the plan."""
    samples, pixels, _, _ = grouped(x, groups, axes).shape
    per_task = max(1, ELEMENTS_PER_TASK // max(1, pixels * x.shape[-1]))
    return -(-samples // per_task), Plan(samples, pixels, x.shape[-1], groups, per_task)


def _is_row(plan: Plan) -> bool:
    """Whether a sample is one pixel, and all its channels are one group, as in layer normalisation: its sums need no scratch."""
    return plan.pixels == plan.groups == 1


@task_kernel
def _forward(
    task: Task, plan: Plan, x: Numbers, y: Numbers, x_hat: Numbers, constants: Numbers, r: Numbers, scratch: Scratch
):  # fmt: skip
    channels, of_group, one, zero = plan.channels, plan.channels // plan.groups, constant(x, 1), constant(x, 0)
    of_beta, epsilon, members = channels, constants[2 * channels], constants[2 * channels + 1]
    means, factors, total, block = 0, channels, 2 * channels, 3 * channels
    for n in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.samples)):
        first, last = n * plan.pixels, (n + 1) * plan.pixels
        for g in range(plan.groups):  # means are counted from some number of the group, which is not far
            for c in range(g * of_group, (g + 1) * of_group):
                scratch[means + c] = x[first * channels + g * of_group]
        for c in range(channels):
            scratch[total + c] = zero
        for squares in range(2):  # first the distances from there, then the squares of those from the mean
            for begin in range(first, last, BLOCK):
                for c in range(channels):
                    scratch[block + c] = zero
                for pixel in range(begin, min(begin + BLOCK, last)):
                    at = pixel * channels
                    for c in range(channels):
                        away = x[at + c] - scratch[means + c]
                        scratch[block + c] += away * away if squares else away
                for c in range(channels):
                    scratch[total + c] += scratch[block + c]
            for g in range(plan.groups):
                mean = fold(scratch, total + g * of_group, of_group) / members
                for c in range(g * of_group, (g + 1) * of_group):
                    if squares:
                        scratch[factors + c] = mean
                    else:
                        scratch[means + c] += mean
            for c in range(channels):
                scratch[total + c] = zero
        for g in range(plan.groups):
            r[n * plan.groups + g] = one / np.sqrt(scratch[factors + g * of_group] + epsilon)
            for c in range(g * of_group, (g + 1) * of_group):
                scratch[factors + c] = r[n * plan.groups + g]
        for at in range(first * channels, last * channels, channels):
            for c in range(channels):
                x_hat[at + c] = (x[at + c] - scratch[means + c]) * scratch[factors + c]
            for c in range(channels):
                y[at + c] = x_hat[at + c] * constants[c] + constants[of_beta + c]


@task_kernel
def _forward_of_rows(
    task: Task, plan: Plan, x: Numbers, y: Numbers, x_hat: Numbers, constants: Numbers, r: Numbers
):  # fmt: skip
    channels, one = plan.channels, constant(x, 1)
    epsilon, members = constants[2 * channels], constants[2 * channels + 1]
    for n in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.samples)):
        at = n * channels
        for c in range(channels):
            y[at + c] = x[at + c] - x[at]
        mean = x[at] + fold(y, at, channels) / members
        for c in range(channels):
            y[at + c] = (x[at + c] - mean) * (x[at + c] - mean)
        factor = one / np.sqrt(fold(y, at, channels) / members + epsilon)
        r[n] = factor
        for c in range(channels):
            x_hat[at + c] = (x[at + c] - mean) * factor
        for c in range(channels):
            y[at + c] = x_hat[at + c] * constants[c] + constants[channels + c]


@task_kernel
def _backward(
    task: Task, plan: Plan, dy: Numbers, x_hat: Numbers, gamma: Numbers, r: Numbers, dx: Numbers, sums: Numbers, scratch: Scratch
):  # fmt: skip
    channels, groups, of_group, zero = plan.channels, plan.groups, plan.channels // plan.groups, constant(dy, 0)
    members, mine = constant(dy, plan.pixels * of_group), task * 2 * channels
    of_dy, of_product, block, block_of_product, rs = 0, channels, 2 * channels, 3 * channels, 4 * channels
    for n in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.samples)):
        first, last = n * plan.pixels, (n + 1) * plan.pixels
        for c in range(2 * channels):
            scratch[of_dy + c] = zero
        for begin in range(first, last, BLOCK):
            for c in range(2 * channels):
                scratch[block + c] = zero
            for at in range(begin * channels, min(begin + BLOCK, last) * channels, channels):
                for c in range(channels):
                    scratch[block + c] += dy[at + c]
                for c in range(channels):
                    scratch[block_of_product + c] += dy[at + c] * x_hat[at + c]
            for c in range(2 * channels):
                scratch[of_dy + c] += scratch[block + c]
        for c in range(2 * channels):
            sums[mine + c] += scratch[of_dy + c]
        for c in range(channels):
            scratch[of_dy + c] *= gamma[c]
        for c in range(channels):
            scratch[of_product + c] *= gamma[c]
        for g in range(groups):
            mean = fold(scratch, of_dy + g * of_group, of_group) / members
            mean_of_product = fold(scratch, of_product + g * of_group, of_group) / members
            for c in range(g * of_group, (g + 1) * of_group):
                scratch[of_dy + c], scratch[of_product + c], scratch[rs + c] = mean, mean_of_product, r[n * groups + g]
        for at in range(first * channels, last * channels, channels):
            for c in range(channels):
                inner = dy[at + c] * gamma[c] - scratch[of_dy + c] - x_hat[at + c] * scratch[of_product + c]
                dx[at + c] = scratch[rs + c] * inner


@task_kernel
def _backward_of_rows(
    task: Task, plan: Plan, dy: Numbers, x_hat: Numbers, gamma: Numbers, r: Numbers, dx: Numbers, sums: Numbers
):  # fmt: skip
    channels, mine = plan.channels, task * 2 * plan.channels
    members = constant(dy, channels)
    for n in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.samples)):
        at, factor = n * channels, r[n]
        for c in range(channels):
            dx[at + c] = dy[at + c] * gamma[c]
        mean = fold(dx, at, channels) / members
        for c in range(channels):
            dx[at + c] = dy[at + c] * x_hat[at + c]
        for c in range(channels):
            sums[mine + channels + c] += dx[at + c]
        for c in range(channels):
            dx[at + c] *= gamma[c]
        mean_of_product = fold(dx, at, channels) / members
        for c in range(channels):
            sums[mine + c] += dy[at + c]
        for c in range(channels):
            dx[at + c] = factor * (dy[at + c] * gamma[c] - mean - x_hat[at + c] * mean_of_product)
