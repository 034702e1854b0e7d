"""Cross-entropy with class numbers, in one pass; the mathematics is in the book's file of this name."""

from __future__ import annotations

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.jit import inner, jit
from minitl.kernels.softmax import is_wide, softmax_row
from minitl.ops.sparse_categorical_cross_entropy import EPSILON, check, check_labels


def forward(
    y_pred: np.ndarray, y_true: np.ndarray, weights: np.ndarray | None = None, from_logits: bool = False
) -> tuple[float, tuple]:
    """The mean loss, and what backward needs."""
    rows, labels, weights = check(y_pred, y_true, weights)
    dtype = common_dtype(y_pred)
    loss, fits = _forward(np.ascontiguousarray(rows, dtype), labels, flat(weights, dtype), from_logits, is_wide(rows.shape[1]))
    if not fits:
        check_labels(labels, rows.shape[1])
    return loss, (y_pred, labels, weights, from_logits)


def backward(dloss: float, cache: tuple) -> np.ndarray:
    """The gradient with respect to y_pred: probabilities or logits, whichever came in."""
    y_pred, labels, weights, from_logits = cache
    d = memory.empty(y_pred.shape, common_dtype(y_pred))
    as_rows = (-1, y_pred.shape[-1])
    rows = flat(y_pred, d.dtype).reshape(as_rows)
    _backward(d.dtype.type(dloss), rows, labels, flat(weights, d.dtype), from_logits, is_wide(rows.shape[1]), d.reshape(as_rows))
    return d


@jit()
def _forward(rows, labels, weights, from_logits, wide):
    total = 0.0
    p = np.empty(rows.shape[1], rows.dtype)
    for n in range(len(rows)):
        if not 0 <= labels[n] < rows.shape[1]:
            return np.nan, False
        if from_logits:
            loss = softmax_row(rows[n], p, wide) - rows[n, labels[n]]
        else:
            total_p = _total(rows[n])
            q = rows[n, labels[n]] / total_p if total_p != 0 else rows.dtype.type(1 / rows.shape[1])
            loss = -np.log(q if not q <= EPSILON else rows.dtype.type(EPSILON))
        total += weights[n] * loss
    return total / len(rows), True


@jit()
def _backward(dloss, rows, labels, weights, from_logits, wide, d):
    for n in range(len(rows)):
        scale = dloss * weights[n] / rows.dtype.type(len(rows))
        t = labels[n]
        if from_logits:
            softmax_row(rows[n], d[n], wide)
            d[n, t] -= 1
            for c in range(rows.shape[1]):
                d[n, c] *= scale
        else:
            total = _total(rows[n])
            counts = total != 0 and rows[n, t] / total > EPSILON
            for c in range(rows.shape[1]):
                d[n, c] = scale / total if counts else 0
            if counts:
                d[n, t] -= scale / rows[n, t]


@inner()
def _total(row):
    total = row.dtype.type(0)
    for c in range(len(row)):
        total += row[c]
    return total
