"""Binary cross-entropy, in one pass; the mathematics is in the book's file of this name."""

from __future__ import annotations

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.jit import jit
from minitl.kernels.simd import exp
from minitl.ops.binary_cross_entropy import EPSILON
from minitl.ops.window import check_losses


def forward(
    y_pred: np.ndarray, y_true: np.ndarray, weights: np.ndarray | None = None, from_logits: bool = False
) -> tuple[float, tuple]:
    """The mean loss, and what backward needs."""
    weights = check_losses("binary_cross_entropy", y_pred, y_true, y_pred.shape, weights, y_pred.ndim)
    dtype = common_dtype(y_pred)
    loss = _forward(flat(y_pred, dtype), flat(y_true, dtype), flat(weights, dtype), from_logits)
    return loss, (y_pred, y_true, weights, from_logits)


def backward(dloss: float, cache: tuple) -> np.ndarray:
    """The gradient with respect to y_pred: probabilities or logits, whichever came in."""
    y_pred, y_true, weights, from_logits = cache
    d = memory.empty(y_pred.shape, common_dtype(y_pred))
    y, t, w = (flat(array, d.dtype) for array in (y_pred, y_true, weights))
    _backward(d.dtype.type(dloss), y, t, w, from_logits, d.reshape(-1))
    return d


@jit()
def _forward(y, t, w, from_logits):
    total = 0.0
    for i in range(y.size):
        if from_logits:
            loss = max(y[i], 0) - t[i] * y[i] + np.log1p(np.exp(-abs(y[i])))
        else:
            p, q = y[i], 1 - y[i]
            loss = -t[i] * np.log(p if not p <= EPSILON else EPSILON)
            loss -= (1 - t[i]) * np.log(q if not q <= EPSILON else EPSILON)
        total += w[i] * loss
    return total / y.size


@jit()
def _backward(dloss, y, t, w, from_logits, d):
    one = y.dtype.type(1)
    for i in range(y.size):
        if from_logits:
            slope = one / (one + exp(-y[i])) - t[i]
        else:
            p, q = y[i], 1 - y[i]
            slope = -t[i] / p if p > EPSILON else 0.0
            slope += (1 - t[i]) / q if q > EPSILON else 0.0
        d[i] = dloss * w[i] / y.size * slope
