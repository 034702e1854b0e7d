"""What sums over slices of a batch come to: its mean and variance, and what the gradient of a batch normalisation needs.

Slices are added in order, in double precision. In NumPy these few numbers would take as long as the sums.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.launch import Constants, Numbers, Task, launch, task_kernel


def join_moments(sums: np.ndarray, squares: np.ndarray, rows: int, per_slice: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the (biased) variance of every channel, from slices of so many rows, the last of which may have fewer.

    Formula: mean = sum_k sums_k / rows, variance = (sum_k squares_k + sum_k count_k (sums_k / count_k - mean)^2) / rows.
    Shapes: sums of the rows, and squares around each slice's own mean, (slices, C); the results (C,).
    """
    slices, channels = sums.shape
    mean, variance = np.empty((2, channels), sums.dtype)
    launch(_join_moments, 1, Slices(rows, per_slice, slices, channels, 1), sums, squares, mean, variance)
    return mean, variance


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
def _join_products(
    task: Task,
    plan: Slices,
    sums: Numbers,
    mean: Numbers,
    r: Numbers,
    gamma: Numbers,
    totals: Numbers,
    constants: Numbers,
    share: Constants,
):
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
