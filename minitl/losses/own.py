"""Losses that are a program's own function of (y_true, y_pred)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minitl.functions import function_name
from minitl.losses.base import Loss


class OwnLoss(Loss):
    """The mean of what a function gives: one number, or one per sample.

    Formula: L = mean(w function(y_true, y_pred)), with the weights of the samples; dL/dy_pred by automatic differentiation.
    Parameters: `function` is made of NumPy's functions, `minitl.backend`'s, or other losses.
    Shapes: y_pred (N, ...); y_true as it was given, in y_pred's dtype where it has as many axes.
    Errors: TypeError for a function whose result does not depend on y_pred, or that uses what has no derivative.
    Source: `minitl.autodiff`.
    """

    def __init__(self, function: Callable[[Any, Any], Any]):
        super().__init__(function_name(function))
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The function's values."""
        return self.function(y_true, y_pred)
