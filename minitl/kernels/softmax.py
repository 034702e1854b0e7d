"""Softmax, row by row; the mathematics is in `minitl.ops.softmax`."""

from __future__ import annotations

import numpy as np
from numba import prange

from minitl.kernels import memory
from minitl.kernels.jit import common_dtype, flat, jit
from minitl.kernels.simd import exp
from minitl.ops.window import check_shape

WIDE = 128  # numbers in a row, from which on it is taken in vectors
LANES = 16  # running maxima and sums, side by side


def forward(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p = exp(z - max z) / sum exp(z - max z), row by row."""
    p = memory.empty(z.shape, common_dtype(z))
    _forward(flat(z, p.dtype).reshape(-1, z.shape[-1]), p.reshape(-1, z.shape[-1]))
    return p, p


def backward(dp: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dz = p (dp - <dp, p>), row by row."""
    check_shape("softmax", "dy", dp.shape, cache.shape)
    dz = memory.empty(dp.shape, common_dtype(dp, cache))
    as_rows = (-1, dp.shape[-1])
    _backward(flat(dp, dz.dtype).reshape(as_rows), flat(cache, dz.dtype).reshape(as_rows), dz.reshape(as_rows))
    return dz


@jit(parallel=True)
def _forward(z, p):
    for n in prange(len(z)):
        softmax_row(z[n], p[n])


@jit(parallel=True)
def _backward(dp, p, dz):
    for n in prange(len(dp)):
        inner = dp.dtype.type(0)
        for c in range(dp.shape[1]):
            inner += dp[n, c] * p[n, c]
        for c in range(dp.shape[1]):
            dz[n, c] = p[n, c] * (dp[n, c] - inner)


@jit()
def softmax_row(z, p):
    """Write one row's softmax into p; return log sum exp(z)."""
    if len(z) >= WIDE:
        return _wide_row(z, p)
    largest = z[0]
    for c in range(1, len(z)):
        if not z[c] <= largest:
            largest = z[c]
    total = z.dtype.type(0)
    for c in range(len(z)):
        p[c] = np.exp(z[c] - largest)
        total += p[c]
    for c in range(len(z)):
        p[c] /= total
    return largest + np.log(total)


@jit()
def _wide_row(z, p):
    """The same as `softmax_row` with LANES maxima and sums at a time, which are put together at the end."""
    lanes, whole = np.empty(LANES, z.dtype), len(z) // LANES * LANES
    for k in range(LANES):
        lanes[k] = z[k]
    for c in range(LANES, whole, LANES):
        for k in range(LANES):
            lanes[k] = max(lanes[k], z[c + k])
    largest = lanes[0]
    for k in range(1, LANES):
        largest = max(largest, lanes[k])
    for c in range(whole, len(z)):
        largest = max(largest, z[c])
    for c in range(len(z)):
        p[c] = exp(z[c] - largest)
    for k in range(LANES):
        lanes[k] = p[k]
    for c in range(LANES, whole, LANES):
        for k in range(LANES):
            lanes[k] += p[c + k]
    total = lanes[0]
    for k in range(1, LANES):
        total += lanes[k]
    for c in range(whole, len(z)):
        total += p[c]
    for c in range(len(z)):
        p[c] /= total
    return largest + np.log(total)
