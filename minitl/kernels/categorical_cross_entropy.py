"""Cross-entropy with target distributions, in one pass; the mathematics is in the book's file of this name."""

from __future__ import annotations

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.jit import jit
from minitl.kernels.softmax import is_wide, softmax_row
from minitl.ops.categorical_cross_entropy import EPSILON
from minitl.ops.window import check_losses


def forward(
    y_pred: np.ndarray, y_true: np.ndarray, weights: np.ndarray | None = None, from_logits: bool = False
) -> tuple[float, tuple]:
    """The mean loss, and what backward needs."""
    weights = check_losses("categorical_cross_entropy", y_pred, y_true, y_pred.shape, weights, y_pred.ndim - 1)
    dtype = common_dtype(y_pred)
    as_rows = (-1, y_pred.shape[-1])
    rows, targets = flat(y_pred, dtype).reshape(as_rows), flat(y_true, dtype).reshape(as_rows)
    loss = _forward(rows, targets, flat(weights, dtype), from_logits, is_wide(y_pred.shape[-1]))
    return loss, (y_pred, y_true, weights, from_logits)


def backward(dloss: float, cache: tuple) -> np.ndarray:
    """The gradient with respect to y_pred: probabilities or logits, whichever came in."""
    y_pred, y_true, weights, from_logits = cache
    d = memory.empty(y_pred.shape, common_dtype(y_pred))
    as_rows = (-1, y_pred.shape[-1])
    rows, targets = flat(y_pred, d.dtype).reshape(as_rows), flat(y_true, d.dtype).reshape(as_rows)
    _backward(
        d.dtype.type(dloss), rows, targets, flat(weights, d.dtype), from_logits, is_wide(y_pred.shape[-1]), d.reshape(as_rows)
    )
    return d


@jit()
def _forward(rows, targets, weights, from_logits, wide):
    total = 0.0
    p = np.empty(rows.shape[1], rows.dtype)
    for n in range(len(rows)):
        loss = 0.0
        if from_logits:
            log_sum = softmax_row(rows[n], p, wide)
            for c in range(rows.shape[1]):
                loss += targets[n, c] * (log_sum - rows[n, c])
        else:
            total_p = rows.dtype.type(0)
            for c in range(rows.shape[1]):
                total_p += rows[n, c]
            for c in range(rows.shape[1]):
                q = rows[n, c] / total_p if total_p != 0 else rows.dtype.type(1 / rows.shape[1])
                loss -= targets[n, c] * np.log(q if not q <= EPSILON else rows.dtype.type(EPSILON))
        total += weights[n] * loss
    return total / len(rows)


@jit()
def _backward(dloss, rows, targets, weights, from_logits, wide, d):
    for n in range(len(rows)):
        scale = dloss * weights[n] / rows.dtype.type(len(rows))
        if from_logits:
            softmax_row(rows[n], d[n], wide)
            target_sum = rows.dtype.type(0)
            for c in range(rows.shape[1]):
                target_sum += targets[n, c]
            for c in range(rows.shape[1]):
                d[n, c] = scale * (target_sum * d[n, c] - targets[n, c])
        else:
            total_p = target_sum = rows.dtype.type(0)
            for c in range(rows.shape[1]):
                total_p += rows[n, c]
            if total_p == 0:
                d[n] = 0
                continue
            for c in range(rows.shape[1]):
                target_sum += targets[n, c] if rows[n, c] / total_p > EPSILON else 0
            for c in range(rows.shape[1]):
                d[n, c] = scale * target_sum / total_p
                if rows[n, c] / total_p > EPSILON:
                    d[n, c] -= scale * targets[n, c] / rows[n, c]
