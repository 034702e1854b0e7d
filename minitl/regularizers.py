"""A penalty on large weights, added to the loss.

    L1  l1 sum |w|       its gradient l1 sign(w)
    L2  l2 sum w^2       its gradient 2 l2 w

Source: Goodfellow, Bengio and Courville, Deep Learning, section 7.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.autodiff import Traced, gradients
from minitl.errors import check_numbers, unknown
from minitl.functions import is_function
from minitl.serialization import Configured, lookup


class Regularizer(Configured):
    """A penalty on a weight; one of your own defines `__call__(w)`, made of NumPy's or minitl.backend's functions."""

    kind = "regularizer"

    def __call__(self, w: np.ndarray) -> float:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(w)")

    def gradient(self, w: np.ndarray) -> np.ndarray:
        """The penalty's gradient, found by recording it.

        Errors: TypeError for a penalty that does not depend on w.
        """
        traced = Traced(w)
        penalty = self(traced)  # type: ignore[arg-type]
        if not isinstance(penalty, Traced):
            raise TypeError(f"regularizer {type(self).__name__}: its penalty does not depend on the weight")
        return gradients(np.sum(penalty), [traced])[0]


class L1L2(Regularizer):
    """Both penalties: l1 sum |w| + l2 sum w^2."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        check_numbers(self, "[0, inf)", l1=l1, l2=l2)
        self.l1, self.l2 = l1, l2

    def __call__(self, w: np.ndarray) -> float:
        return self.l1 * float(np.abs(w).sum()) + self.l2 * float(np.square(w).sum())

    def gradient(self, w: np.ndarray) -> np.ndarray:
        """l1 sign(w) + 2 l2 w, in w's shape and dtype."""
        return self.l1 * np.sign(w) + 2 * self.l2 * w


class L1(L1L2):
    """l1 sum |w|."""

    def __init__(self, l1: float = 0.01):
        super().__init__(l1=l1)


class L2(L1L2):
    """l2 sum w^2."""

    def __init__(self, l2: float = 0.01):
        super().__init__(l2=l2)


class OrthogonalRegularizer(Regularizer):
    """A penalty on rows (or columns) of a matrix that point alike: the mean of their cosines' sizes, over all pairs.

    Formula: factor / 2 sum over i != j of |cos(w_i, w_j)| / (n (n - 1) / 2).
    Parameters: `mode` is "rows" or "columns".
    Errors: ValueError for another mode, or a weight that is no matrix.
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        check_numbers(self, "[0, inf)", factor=factor)
        if mode not in ("rows", "columns"):
            raise unknown("OrthogonalRegularizer: mode", mode, ("rows", "columns"))
        self.factor, self.mode = factor, mode

    def __call__(self, w: Any) -> Any:
        if w.ndim != 2:
            raise ValueError(f"OrthogonalRegularizer: takes a matrix, got a weight of shape {w.shape}")
        rows = w if self.mode == "rows" else w.T
        unit = rows / np.sqrt(np.maximum(np.sum(np.square(rows), axis=1, keepdims=True), 1e-12))
        n = rows.shape[0]
        others = (1 - np.eye(n)).astype(w.dtype)
        return self.factor * 0.5 * np.sum(np.abs((unit @ unit.T) * others)) / max(n * (n - 1) / 2, 1)


class OwnRegularizer(Regularizer):
    """A function of your own, from a weight to a penalty."""

    def __init__(self, function: Callable[[Any], Any]):
        self.function = function

    def __call__(self, w: np.ndarray) -> Any:
        return np.sum(self.function(w))


def l1(l1: float = 0.01) -> L1:
    """L1 under the name that older programs use."""
    return L1(l1)


def l2(l2: float = 0.01) -> L2:
    """L2 under the name that older programs use."""
    return L2(l2)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """L1L2 under the name that older programs use."""
    return L1L2(l1, l2)


l1l2 = l1_l2

NAMED: dict[str, Any] = {
    "l1": L1, "l2": L2, "l1l2": L1L2, "l1_l2": L1L2, "orthogonal_regularizer": OrthogonalRegularizer,
    "orthogonalregularizer": OrthogonalRegularizer,
}  # fmt: skip


def get(identifier: Any) -> Any:
    """The regularizer of a name ("l2"), of a function of your own, the object itself, or None.

    Errors: ValueError for an unknown name, TypeError for what is no regularizer.
    """
    found: Any = None if identifier is None else lookup("regularizer", identifier, {**NAMED, "ownregularizer": OwnRegularizer})
    if is_function(found) and not hasattr(found, "gradient"):
        found = OwnRegularizer(found)
    if found is not None and not hasattr(found, "gradient"):
        raise TypeError(f"a regularizer must be a name, a function of a weight, or a Regularizer, got {found!r}")
    return found
