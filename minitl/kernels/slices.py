"""What sums over slices of a batch come to: its mean and variance, and what a batch normalisation and its gradient need of them.

Slices are added in order, in double precision. In NumPy these few numbers would take as long as the sums.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.launch import Constants, Numbers, Task, launch, task_kernel
from minitl.kernels.simd import constant


def join_moments(sums: np.ndarray, squares: np.ndarray, rows: int, per_slice: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the (biased) variance of every channel, from slices of so many rows, the last of which may have fewer.

    Formula: mean = sum_k sums_k / rows, variance = (sum_k squares_k + sum_k count_k (sums_k / count_k - mean)^2) / rows.
    Shapes: sums of the rows, and squares around each slice's own mean, (slices, C); the results (C,).
    """
    slices, channels = sums.shape
    mean, variance = memory.empty((2, channels), sums.dtype)
    launch(_join_moments, 1, Slices(rows, per_slice, slices, channels, 1), sums, squares, mean, variance)
    return mean, variance


def follow(moving: np.ndarray, now: np.ndarray, momentum: float) -> None:
    """moving = momentum moving + (1 - momentum) now, in moving's own memory, which is contiguous and of now's dtype."""
    launch(_follow, 1, Slices(0, 0, 1, moving.size, 1), moving, now, np.array([momentum, 1 - momentum], now.dtype))


def constants_of(
    gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float, repeat: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean and r = 1 / sqrt(variance + epsilon) of every channel, and constants: mean, gamma r and beta, each repeated.

    Shapes: gamma, beta, mean, variance (C,), contiguous and of one dtype; the results (C,), copies, and (3, repeat, C).
    """
    mean_and_r = memory.empty((2, mean.size), mean.dtype)
    constants = memory.empty((3, repeat, mean.size), mean.dtype)
    plan = Slices(0, 0, 1, mean.size, repeat)
    launch(_constants, 1, plan, gamma, beta, mean, variance, mean_and_r, constants, np.array([epsilon], mean.dtype))
    return mean_and_r[0], mean_and_r[1], constants


def join_products(
    sums: np.ndarray, mean: np.ndarray, r: np.ndarray, gamma: np.ndarray, share: float, repeat: int, totals: np.ndarray
) -> np.ndarray:
    """The constants of the gradient: mean, r, gamma, and the sums of dy and of dy x_hat, which go to `totals`, times `share`.

    Shapes: sums (2, slices, C), mean, r, gamma (C,), totals (2, C), the constants (5, repeat, C), each repeated.
    """
    _, slices, channels = sums.shape
    constants = memory.empty((5, repeat, channels), sums.dtype)
    plan = Slices(0, 0, slices, channels, repeat)
    launch(_join_products, 1, plan, sums, mean, r, gamma, totals, constants, np.array([share], sums.dtype))
    return constants


class Slices(NamedTuple):
    """Rows, cut into slices, and how often constants are repeated."""

    rows: int
    per_slice: int
    slices: int
    channels: int
    repeat: int


@task_kernel
def _join_moments(task: Task, plan: Slices, sums: Numbers, squares: Numbers, mean: Numbers, variance: Numbers):
    channels, slices = plan.channels, plan.slices
    means, within, between = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    for k in range(slices):
        for c in range(channels):
            means[c] += sums[k * channels + c]
    for c in range(channels):
        means[c] /= plan.rows
    for k in range(slices):
        count = min(plan.per_slice, plan.rows - plan.per_slice * k)
        for c in range(channels):
            away = np.float64(sums[k * channels + c]) / count - means[c]
            within[c] += squares[k * channels + c]
            between[c] += count * (away * away)
    for c in range(channels):
        mean[c], variance[c] = means[c], (within[c] + between[c]) / plan.rows


@task_kernel
def _follow(task: Task, plan: Slices, moving: Numbers, now: Numbers, shares: Constants):
    for c in range(plan.channels):
        moving[c] = moving[c] * shares[0] + shares[1] * now[c]


@task_kernel
def _constants(
    task: Task, plan: Slices, gamma: Numbers, beta: Numbers, mean: Numbers, variance: Numbers, mean_and_r: Numbers,
    constants: Numbers, epsilon: Constants,
):  # fmt: skip
    channels, size = plan.channels, plan.repeat * plan.channels
    for c in range(channels):
        mean_and_r[c] = mean[c]
        mean_and_r[channels + c] = constant(mean, 1) / np.sqrt(variance[c] + epsilon[0])
    for row in range(plan.repeat):
        for c in range(channels):
            at = row * channels + c
            constants[at], constants[2 * size + at] = mean[c], beta[c]
            constants[size + at] = gamma[c] * mean_and_r[channels + c]


@task_kernel
def _join_products(
    task: Task, plan: Slices, sums: Numbers, mean: Numbers, r: Numbers, gamma: Numbers, totals: Numbers, constants: Numbers,
    share: Constants,
):  # fmt: skip
    channels, slices, size = plan.channels, plan.slices, plan.repeat * plan.channels
    both = np.zeros(2 * channels)
    for part in range(2):
        for k in range(slices):
            for c in range(channels):
                both[part * channels + c] += sums[(part * slices + k) * channels + c]
    for c in range(2 * channels):
        totals[c] = both[c]
    for row in range(plan.repeat):
        for c in range(channels):
            at = row * channels + c
            constants[at], constants[size + at], constants[2 * size + at] = mean[c], r[c], gamma[c]
            constants[3 * size + at], constants[4 * size + at] = totals[c] * share[0], totals[channels + c] * share[0]
