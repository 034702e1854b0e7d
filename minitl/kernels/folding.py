"""What a batch normalisation with fixed statistics comes to behind a linear layer: a factor for each filter, and another bias."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.launch import Constants, Numbers, Task, launch, task_kernel


def factors(
    gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float, bias: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """What fixed statistics come to behind a linear layer: y = z scale + shift for what it gives without its bias; each (C,).

    Formula: scale = gamma / sqrt(variance + epsilon), shift = (bias - mean) scale + beta.
    """
    dtype, channels = common_dtype(gamma, mean), len(mean)
    both = memory.empty((2, channels), dtype)
    bias = np.zeros(channels, dtype) if bias is None else bias
    given = (flat(array, dtype) for array in (gamma, beta, mean, variance, bias))
    launch(_factors, 1, Factors(1, channels), *given, both, np.array([epsilon], dtype))
    return both[0], both[1]


def scaled(kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """A kernel with a factor for each of its filters.

    Shapes: kernel (..., F), or (..., C, M) of a depthwise convolution; scale (F,) or (C M,).
    """
    product = memory.empty(kernel.shape, common_dtype(kernel, scale))
    rows, given = kernel.size // max(1, scale.size), (flat(kernel, product.dtype), flat(scale, product.dtype))
    launch(_scaled, 1, Factors(rows, scale.size), *given, product)
    return product


class Factors(NamedTuple):
    """Channels, and rows that have so many."""

    rows: int
    channels: int


@task_kernel
def _factors(
    task: Task, plan: Factors, gamma: Numbers, beta: Numbers, mean: Numbers, variance: Numbers, bias: Numbers, both: Numbers,
    epsilon: Constants,
):  # fmt: skip
    small = epsilon[0]  # read once, since it could lie in what is written
    for c in range(plan.channels):
        both[c] = gamma[c] / np.sqrt(variance[c] + small)
    for c in range(plan.channels):
        both[plan.channels + c] = (bias[c] - mean[c]) * both[c] + beta[c]


@task_kernel
def _scaled(task: Task, plan: Factors, kernel: Numbers, scale: Numbers, product: Numbers):
    for row in range(plan.rows):
        for c in range(plan.channels):
            product[row * plan.channels + c] = kernel[row * plan.channels + c] * scale[c]
