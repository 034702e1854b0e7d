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
    """The batch's mean and (biased) variance of every channel, each (C,)."""
    dtype = common_dtype(x)
    rows = flat(x, dtype).reshape(-1, x.shape[-1])
    sums = memory.zeros((-(-len(rows) // SLICE), x.shape[-1]), dtype)
    _sum(rows, sums)
    mean = (sums.sum(axis=0, dtype=np.float64) / len(rows)).astype(dtype)
    sums[:] = 0
    _sum_squares(rows, mean, sums)
    return mean, (sums.sum(axis=0, dtype=np.float64) / len(rows)).astype(dtype)


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
    check(x, gamma, beta, mean, variance)
    dtype = common_dtype(x, gamma)
    y = memory.empty(x.shape, dtype)
    r = (1 / np.sqrt(variance + epsilon)).astype(dtype)
    as_rows = (-1, x.shape[-1])
    _normalise(flat(x, dtype).reshape(as_rows), flat(mean, dtype), flat(gamma, dtype) * r, flat(beta, dtype), y.reshape(as_rows))
    return y, (x, gamma, mean, r, batch_statistics)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dgamma and dbeta; what is not needed is None."""
    x, gamma, mean, r, batch_statistics = cache
    check_shape("batch_norm", "dy", dy, x.shape)
    dtype = common_dtype(x, gamma)
    as_rows = (-1, x.shape[-1])
    x_rows, dy_rows = flat(x, dtype).reshape(as_rows), flat(dy, dtype).reshape(as_rows)
    gamma, mean = flat(gamma, dtype), flat(mean, dtype)
    dx = dgamma = dbeta = None
    sum_dy = sum_dy_x_hat = np.zeros(x.shape[-1], dtype)
    if need_dparameters or batch_statistics:
        sums = memory.zeros((2, -(-len(x_rows) // SLICE), x.shape[-1]), dtype)
        _sum_products(dy_rows, x_rows, mean, r, sums)
        sum_dy, sum_dy_x_hat = sums.sum(axis=1, dtype=np.float64).astype(dtype)
    if need_dparameters:
        dgamma, dbeta = sum_dy_x_hat, sum_dy
    if need_dx:
        dx = memory.empty(x.shape, dtype)
        share = dtype.type(1 / len(x_rows) if batch_statistics else 0)
        _backward(dy_rows, x_rows, mean, r, gamma, sum_dy * share, sum_dy_x_hat * share, dx.reshape(as_rows))
    return dx, dgamma, dbeta


@jit(parallel=True)
def _sum(rows, sums):
    for s in prange(len(sums)):
        for n in range(s * SLICE, min((s + 1) * SLICE, len(rows))):
            for c in range(rows.shape[1]):
                sums[s, c] += rows[n, c]


@jit(parallel=True)
def _sum_squares(rows, mean, sums):
    for s in prange(len(sums)):
        for n in range(s * SLICE, min((s + 1) * SLICE, len(rows))):
            for c in range(rows.shape[1]):
                sums[s, c] += (rows[n, c] - mean[c]) ** 2


@jit(parallel=True)
def _normalise(x, mean, scale, beta, y):
    for n in prange(len(x)):
        for c in range(x.shape[1]):
            y[n, c] = (x[n, c] - mean[c]) * scale[c] + beta[c]


@jit(parallel=True)
def _sum_products(dy, x, mean, r, sums):
    for s in prange(sums.shape[1]):
        for n in range(s * SLICE, min((s + 1) * SLICE, len(dy))):
            for c in range(dy.shape[1]):
                sums[0, s, c] += dy[n, c]
                sums[1, s, c] += dy[n, c] * (x[n, c] - mean[c]) * r[c]


@jit(parallel=True)
def _backward(dy, x, mean, r, gamma, mean_dy, mean_dy_x_hat, dx):
    for n in prange(len(dy)):
        for c in range(dy.shape[1]):
            x_hat = (x[n, c] - mean[c]) * r[c]
            dx[n, c] = gamma[c] * r[c] * (dy[n, c] - mean_dy[c] - x_hat * mean_dy_x_hat[c])
