"""Losses of values: written out in NumPy's functions, so that they become part of the network (`Model.add_loss`).

t and p are alike; each gives one number for every row, the last axis being averaged or summed, as in Keras. Both have gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.losses.distances import EPSILON
from minitl.ops.sparse_categorical_cross_entropy import check_labels


def mean_squared_error(t: Any, p: Any) -> Any:
    """mean (t - p)^2."""
    return np.mean(np.square(t - p), axis=-1)


def mean_absolute_error(t: Any, p: Any) -> Any:
    """mean |t - p|."""
    return np.mean(np.abs(t - p), axis=-1)


def binary_crossentropy(t: Any, p: Any, from_logits: bool = False) -> Any:
    """-mean (t log p + (1 - t) log (1 - p)), p kept away from 0 and 1; of logits z, mean (log(1 + exp(z)) - t z)."""
    if from_logits:
        return np.mean(np.logaddexp(p, 0) - t * p, axis=-1)
    inside = np.clip(p, EPSILON, 1 - EPSILON)
    return -np.mean(t * np.log(inside) + (1 - t) * np.log(1 - inside), axis=-1)


def categorical_crossentropy(t: Any, p: Any, from_logits: bool = False) -> Any:
    """-sum t log (p / sum p), p kept away from 0; of logits z, sum t (log sum exp z - z)."""
    if from_logits:
        z = p - np.max(p, axis=-1, keepdims=True)
        return np.sum(t * (np.log(np.sum(np.exp(z), axis=-1, keepdims=True)) - z), axis=-1)
    total = np.sum(p, axis=-1, keepdims=True)
    empty = total == 0  # a row that says nothing
    share = np.where(empty, 1 / p.shape[-1], p) / np.where(empty, 1, total)
    return -np.sum(t * np.log(np.clip(share, EPSILON, 1 - EPSILON)), axis=-1)


def sparse_categorical_crossentropy(t: Any, p: Any, from_logits: bool = False) -> Any:
    """The same of class numbers t.

    Errors: ValueError for a label outside the classes.
    """
    check_labels(t.reshape(-1), p.shape[-1])
    return categorical_crossentropy(np.eye(p.shape[-1], dtype=p.dtype)[t.astype(np.int64)], p, from_logits)


def kl_divergence(t: Any, p: Any) -> Any:
    """sum t log (t / p), both kept away from 0."""
    t, p = np.clip(t, EPSILON, 1), np.clip(p, EPSILON, 1)
    return np.sum(t * np.log(t / p), axis=-1)


OF_VALUES = {
    "mse": mean_squared_error,
    "mean_squared_error": mean_squared_error,
    "mae": mean_absolute_error,
    "mean_absolute_error": mean_absolute_error,
    "binary_crossentropy": binary_crossentropy,
    "categorical_crossentropy": categorical_crossentropy,
    "kld": kl_divergence,
    "kl_divergence": kl_divergence,
    "kullback_leibler_divergence": kl_divergence,
}
