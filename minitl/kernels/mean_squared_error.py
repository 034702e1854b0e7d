"""Mean squared error, in one pass; the mathematics is in the book's file of this name."""

from __future__ import annotations

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.jit import jit
from minitl.ops.window import check_losses


def forward(y_pred: np.ndarray, y_true: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, tuple]:
    """The mean loss, and what backward needs."""
    weights = check_losses("mean_squared_error", y_pred, y_true, y_pred.shape, weights, y_pred.ndim)
    dtype = common_dtype(y_pred)
    return _forward(flat(y_pred, dtype), flat(y_true, dtype), flat(weights, dtype)), (y_pred, y_true, weights)


def backward(dloss: float, cache: tuple) -> np.ndarray:
    """dy_pred = dloss 2 w (y_pred - y_true) / M."""
    y_pred, y_true, weights = cache
    d = memory.empty(y_pred.shape, common_dtype(y_pred))
    y, t, w = (flat(array, d.dtype) for array in (y_pred, y_true, weights))
    _backward(d.dtype.type(dloss), y, t, w, d.reshape(-1))
    return d


@jit()
def _forward(y, t, w):
    total = 0.0
    for i in range(y.size):
        total += w[i] * (y[i] - t[i]) ** 2
    return total / y.size


@jit()
def _backward(dloss, y, t, w, d):
    for i in range(y.size):
        d[i] = 2 * dloss * w[i] * (y[i] - t[i]) / y.size
