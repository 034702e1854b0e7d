"""Weights of classes: how much each counts in the loss, turned into weights of the samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minitl.batches import as_arrays
from minitl.errors import check_numbers
from minitl.legacy import warn_once


def checked(given: Any) -> dict[int, float] | None:
    """A weight per class number, from a dictionary or from one weight per class in their order; None where there is none.

    Errors: TypeError for anything else, ValueError for a weight that is negative or no number.
    """
    if given is None:
        return None
    if isinstance(given, str) and given == "auto":
        warn_once('class_weight="auto", which never did anything,', "class_weight={0: 1.0, 1: 2.5}, a weight per class")
        return None
    if not isinstance(given, Mapping):
        if isinstance(given, str) or np.ndim(given) != 1:
            raise TypeError(f"class_weight must be a dict such as {{0: 1.0, 1: 2.5}}, or one weight per class, got {given!r}")
        given = dict(enumerate(given))
    check_numbers("fit", "[0, inf)", **{f"class_weight[{label!r}]": weight for label, weight in given.items()})
    return {int(label): float(weight) for label, weight in given.items()}


def weighted(weights: Any, y: Any, class_weight: dict[int, float] | None) -> Any:
    """The samples' weights times those of their classes; a class without a weight counts 1.

    Shapes: y (N,) or (N, 1) class numbers, or (N, classes), of which the largest counts; weights (N,) or None.
    Errors: ValueError for the targets of several outputs, whose classes are not the same ones.
    """
    if not class_weight:
        return weights
    y = as_arrays(y)
    outputs = list(y.values()) if isinstance(y, dict) else y if isinstance(y, list) else [y]
    if len(outputs) != 1:
        raise ValueError(f"class_weight: there are {len(outputs)} outputs; give sample_weight, an array for each of them")
    (labels,) = outputs
    labels = labels.argmax(axis=-1) if labels.ndim > 1 and labels.shape[-1] > 1 else labels.reshape(-1)
    of_class = np.array([class_weight.get(int(label), 1.0) for label in labels])
    return of_class if weights is None else of_class * weights
