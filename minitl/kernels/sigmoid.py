"""sigmoid, element by element in one pass; the mathematics is in `minitl.ops.sigmoid`."""

from __future__ import annotations

import numpy as np
from numba import prange

from minitl.kernels import memory
from minitl.kernels.jit import common_dtype, flat, jit
from minitl.kernels.simd import exp
from minitl.ops.window import check_shape


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = 1 / (1 + exp(-x))."""
    y = memory.empty(x.shape, common_dtype(x))
    _forward(flat(x, y.dtype), y.reshape(-1))
    return y, y


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy y (1 - y)."""
    check_shape("sigmoid", "dy", dy.shape, cache.shape)
    dx = memory.empty(dy.shape, common_dtype(dy, cache))
    _backward(flat(dy, dx.dtype), flat(cache, dx.dtype), dx.reshape(-1))
    return dx


@jit(parallel=True)
def _forward(x, y):
    one = x.dtype.type(1)
    for i in prange(x.size):
        y[i] = one / (one + exp(-x[i]))


@jit(parallel=True)
def _backward(dy, y, dx):
    for i in prange(dy.size):
        dx[i] = dy[i] * y[i] * (1 - y[i])
