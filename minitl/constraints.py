"""Constraints: what a weight is brought to after every update. Names and arguments are Keras's."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import check_numbers
from minitl.serialization import Configured, lookup

EPSILON = 1e-7


class Constraint(Configured):
    """A function of a weight that gives the weight as it may be."""

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """The weight as it may be."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(w)")


class MaxNorm(Constraint):
    """The weights into each unit are scaled down to a length of at most `max_value`.

    Formula: w min(|w|, max_value) / |w|, lengths along `axis`: 0 for dense layers, (0, 1, 2) for convolutions.
    Source: N. Srivastava et al., Dropout, JMLR 15, 2014.
    """

    def __init__(self, max_value: float = 2, axis: Any = 0):
        check_numbers(self, "[0, inf)", max_value=max_value)
        self.max_value, self.axis = max_value, _axes(self, axis)

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """w, scaled down."""
        length = _length(w, self.axis)
        return w * (np.clip(length, 0, self.max_value) / (EPSILON + length))


class NonNeg(Constraint):
    """max(w, 0)."""

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """w without what is negative."""
        return np.maximum(w, 0)


class UnitNorm(Constraint):
    """The weights into each unit have length 1: w / |w|, lengths along `axis`."""

    def __init__(self, axis: Any = 0):
        self.axis = _axes(self, axis)

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """w of length 1."""
        return w / (EPSILON + _length(w, self.axis))


class MinMaxNorm(Constraint):
    """The lengths are brought towards the range of `min_value` to `max_value`, by a share `rate` of the way."""

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Any = 0):
        check_numbers(self, "[0, inf)", min_value=min_value, max_value=max_value)
        check_numbers(self, "[0, 1]", rate=rate)
        self.min_value, self.max_value, self.rate, self.axis = min_value, max_value, rate, _axes(self, axis)

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """w of a length nearer to the range."""
        length = _length(w, self.axis)
        wanted = self.rate * np.clip(length, self.min_value, self.max_value) + (1 - self.rate) * length
        return w * (wanted / (EPSILON + length))


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm
maxnorm, nonneg, unitnorm = MaxNorm, NonNeg, UnitNorm  # older names
NAMED: dict[str, type[Constraint]] = {
    "max_norm": MaxNorm, "maxnorm": MaxNorm, "non_neg": NonNeg, "nonneg": NonNeg, "nonnegative": NonNeg, "unit_norm": UnitNorm,
    "unitnorm": UnitNorm, "min_max_norm": MinMaxNorm,
}  # fmt: skip


def get(identifier: Any) -> Any:
    """The constraint of a name, the object itself, or None.

    Errors: ValueError for an unknown name, TypeError for what cannot be called.
    """
    found = None if identifier is None else lookup("constraint", identifier, NAMED)
    if found is not None and not callable(found):
        raise TypeError(f"a constraint must be a name or a function of a weight, got {found!r}")
    return found


def _axes(constraint: Constraint, axis: Any) -> Any:
    listed = axis if isinstance(axis, (list, tuple)) else (axis,)
    if not all(isinstance(one, (int, np.integer)) for one in listed):
        raise ValueError(f"{type(constraint).__name__}: axis must be a whole number or several, got {axis!r}")
    return axis


def _length(w: np.ndarray, axis: Any) -> np.ndarray:
    axis = tuple(axis) if isinstance(axis, (list, tuple)) else axis
    return np.sqrt((w * w).sum(axis=axis, keepdims=True))
