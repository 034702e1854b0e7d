"""Batch normalisation, two passes forward and two backward; the mathematics is in `minitl.ops.batch_norm`.

Sums run over slices of a fixed number of rows and are added in order, in double precision.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from minitl.kernels import memory
from minitl.kernels.jit import common_dtype, flat, jit
from minitl.ops.batch_norm import check
from minitl.ops.window import check_shape

SLICE = 256


def statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The batch's mean and (biased) variance of every channel, each (C,).

    One pass over memory: each slice gets its own mean and its squares around it, and these are put together.
    """
    dtype = common_dtype(x)
    rows = flat(x, dtype).reshape(-1, x.shape[-1])
    slices = -(-len(rows) // SLICE)
    sums, squares = np.zeros((2, slices, x.shape[-1]), dtype)
    _moments(rows, sums, squares)
    counts = np.minimum(SLICE, len(rows) - SLICE * np.arange(slices))[:, None]
    mean = sums.sum(axis=0, dtype=np.float64) / len(rows)
    between = counts * (sums / counts - mean) ** 2
    variance = (squares.sum(axis=0, dtype=np.float64) + between.sum(axis=0)) / len(rows)
    return mean.astype(dtype), variance.astype(dtype)


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
    return normalise(x, gamma, beta, mean, variance, epsilon, batch_statistics, -np.inf)


def normalise(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
    batch_statistics: bool,
    floor: float,
) -> tuple[np.ndarray, tuple]:
    """The same, and max(floor, y) of it: 0 is a ReLU behind the normalisation."""
    check(x, gamma, beta, mean, variance)
    dtype = common_dtype(x, gamma)
    y = memory.empty(x.shape, dtype)
    r = (1 / np.sqrt(variance + epsilon)).astype(dtype)
    as_rows = (-1, x.shape[-1])
    x_rows, scale = flat(x, dtype).reshape(as_rows), flat(gamma, dtype) * r
    _normalise(x_rows, flat(mean, dtype), scale, flat(beta, dtype), dtype.type(floor), y.reshape(as_rows))
    return y, (x, gamma, mean, r, batch_statistics)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dgamma and dbeta; what is not needed is None."""
    return gradients(dy, cache, None, need_dx, need_dparameters)


def gradients(
    dy: np.ndarray, cache: tuple, y: np.ndarray | None, need_dx: bool, need_dparameters: bool
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """The same; with the y of a ReLU behind the normalisation, dy counts only where y > 0."""
    x, gamma, mean, r, batch_statistics = cache
    check_shape("batch_norm", "dy", dy.shape, x.shape)
    dtype = common_dtype(x, gamma)
    as_rows = (-1, x.shape[-1])
    x_rows, dy_rows = flat(x, dtype).reshape(as_rows), flat(dy, dtype).reshape(as_rows)
    y_rows = x_rows if y is None else y.reshape(as_rows)
    gamma, mean = flat(gamma, dtype), flat(mean, dtype)
    dx = dgamma = dbeta = None
    sum_dy = sum_dy_x_hat = np.zeros(x.shape[-1], dtype)
    if need_dparameters or batch_statistics:
        sums = np.zeros((2, -(-len(x_rows) // SLICE), x.shape[-1]), dtype)
        _sum_products(dy_rows, x_rows, y_rows, y is not None, mean, r, sums[0], sums[1])
        sum_dy, sum_dy_x_hat = sums.sum(axis=1, dtype=np.float64).astype(dtype)
    if need_dparameters:
        dgamma, dbeta = sum_dy_x_hat, sum_dy
    if need_dx:
        dx = memory.empty(x.shape, dtype)
        share = dtype.type(1 / len(x_rows) if batch_statistics else 0)
        means = sum_dy * share, sum_dy_x_hat * share
        _backward(dy_rows, x_rows, y_rows, y is not None, mean, r, gamma, *means, dx.reshape(as_rows))
    return dx, dgamma, dbeta


@jit(parallel=True)
def _moments(rows, sums, squares):
    for s in prange(len(sums)):
        first, last = s * SLICE, min((s + 1) * SLICE, len(rows))
        for n in range(first, last):
            for c in range(rows.shape[1]):
                sums[s, c] += rows[n, c]
        here = rows.dtype.type(last - first)
        for n in range(first, last):
            for c in range(rows.shape[1]):
                difference = rows[n, c] - sums[s, c] / here
                squares[s, c] += difference * difference


@jit(parallel=True)
def _normalise(x, mean, scale, beta, floor, y):
    for n in prange(len(x)):
        for c in range(x.shape[1]):
            value = (x[n, c] - mean[c]) * scale[c] + beta[c]
            y[n, c] = floor if value < floor else value


@jit(parallel=True)
def _sum_products(dy, x, y, masked, mean, r, sums_dy, sums_dy_x_hat):
    zero = dy.dtype.type(0)
    for s in prange(len(sums_dy)):
        for n in range(s * SLICE, min((s + 1) * SLICE, len(dy))):
            for c in range(dy.shape[1]):
                g = zero if masked and not y[n, c] > 0 else dy[n, c]
                sums_dy[s, c] += g
                sums_dy_x_hat[s, c] += g * (x[n, c] - mean[c]) * r[c]


@jit(parallel=True)
def _backward(dy, x, y, masked, mean, r, gamma, mean_dy, mean_dy_x_hat, dx):
    zero = dy.dtype.type(0)
    for n in prange(len(dy)):
        for c in range(dy.shape[1]):
            g = zero if masked and not y[n, c] > 0 else dy[n, c]
            x_hat = (x[n, c] - mean[c]) * r[c]
            dx[n, c] = gamma[c] * r[c] * (g - mean_dy[c] - x_hat * mean_dy_x_hat[c])
