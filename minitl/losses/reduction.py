"""From the loss of every row to one number: the mean, the sum, the mean by weights, or all of them as they are.

A row is what lies along the last axis of the predictions: a distribution over classes, or the outputs of one sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.autodiff import Traced
from minitl.errors import unknown

MEAN = "sum_over_batch_size"
REDUCTIONS = (MEAN, "sum", "mean_with_sample_weight", "none")
SAME = {"mean": MEAN, "auto": MEAN, None: "none"}


def known_reduction(reduction: str | None) -> str:
    """The name of a reduction.

    Errors: ValueError for an unknown one.
    """
    found = SAME.get(reduction, reduction)
    if found not in REDUCTIONS:
        raise unknown("reduction of a loss", reduction, [*REDUCTIONS, "mean"])
    return found


def reduced(values: Any, weights: Any, reduction: str) -> Any:
    """The losses of rows, times their weights, made to one number.

    Formula: mean of w v; sum of w v; sum of w v / sum of w; or w v itself.
    Shapes: values (N, ...), an array or traced; weights alike, or of their first axes, or None.
    """
    if weights is not None:
        weights = weights if isinstance(weights, Traced) else np.asarray(weights, values.dtype)
        if weights.ndim == values.ndim + 1 and weights.shape[-1] == 1:
            weights = weights[..., 0]
        weights = weights.reshape(weights.shape + (1,) * max(values.ndim - weights.ndim, 0))
        values = values * weights
    if reduction == "none":
        return values
    if reduction == "sum":
        return np.sum(values)
    if reduction == "mean_with_sample_weight" and weights is not None:
        return np.sum(values) / max(float(np.broadcast_to(weights, values.shape).sum()), np.finfo(values.dtype).tiny)
    return np.mean(values)
