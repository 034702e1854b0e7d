"""Activations that few networks use: formulas in NumPy's functions, differentiated by recording (`minitl.autodiff`).

Their names work like those of `minitl.activations`: `Dense(8, activation="mish")`, `minitl.activations.mish(x)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.autodiff import plain


def celu(x: Any, alpha: float = 1.0) -> Any:
    """x, or alpha (exp(x / alpha) - 1) where x is negative."""
    return np.where(np.greater(x, 0), x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x, or 0 where |x| <= threshold."""
    return np.where(np.abs(x) > threshold, x, np.zeros_like(x))


def hard_tanh(x: Any) -> Any:
    """x cut off at -1 and 1."""
    return np.clip(x, -1, 1)


def keras2_hard_sigmoid(x: Any) -> Any:
    """x / 5 + 1/2, cut off at 0 and 1: what Keras called hard_sigmoid up to version 2."""
    return np.clip(0.2 * x + 0.5, 0, 1)


def log_sigmoid(x: Any) -> Any:
    """log(1 / (1 + exp(-x))) = -log(1 + exp(-x))."""
    return -np.logaddexp(-x, 0)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """x - log sum exp(x) along an axis."""
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def mish(x: Any) -> Any:
    """x tanh(log(1 + exp(x)))."""
    return x * np.tanh(np.logaddexp(x, 0))


def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x moved towards 0 by the threshold, and 0 where |x| is smaller."""
    return x - np.clip(x, -threshold, threshold)


def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    return x / (1 + np.abs(x))


def sparse_plus(x: Any) -> Any:
    """0 below -1, x above 1, and (x + 1)^2 / 4 between."""
    return np.square(np.clip(x, -1, 1) + 1) / 4 + np.maximum(x - 1, 0)


def sparsemax(x: Any, axis: int = -1) -> Any:
    """The probabilities that are nearest to x: max(x - t, 0), with the t for which they add up to 1.

    Source: A. Martins, R. Astudillo, From softmax to sparsemax, 2016, algorithm 1.
    """
    numbers = np.moveaxis(plain(x), axis, -1)
    largest = -np.sort(-numbers)
    above = np.cumsum(largest, axis=-1) - 1
    counts = np.sum(largest * np.arange(1, numbers.shape[-1] + 1) > above, axis=-1, keepdims=True)
    kept = np.moveaxis(numbers > np.take_along_axis(above, counts - 1, axis=-1) / counts, -1, axis)
    count = np.sum(kept, axis=axis, keepdims=True).astype(x.dtype)
    return np.where(kept, x - (np.sum(np.where(kept, x, 0), axis=axis, keepdims=True) - 1) / count, 0)


def sparse_sigmoid(x: Any) -> Any:
    """(x + 1) / 2, cut off at 0 and 1."""
    return np.clip((x + 1) / 2, 0, 1)


def squareplus(x: Any, b: float = 4.0) -> Any:
    """(x + sqrt(x^2 + b)) / 2."""
    return (x + np.sqrt(np.square(x) + b)) / 2


def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)."""
    return x - np.tanh(x)


NAMED: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        celu, hard_shrink, hard_tanh, keras2_hard_sigmoid, log_sigmoid, log_softmax, mish, soft_shrink, softsign, sparse_plus,
        sparse_sigmoid, sparsemax, squareplus, tanh_shrink,
    )
}  # fmt: skip
