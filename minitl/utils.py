"""Keras's place for small things that have no other."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.random import set_random_seed

__all__ = ["set_random_seed", "to_categorical"]


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Class numbers as one-hot rows.

    Shapes: whole numbers (N, ...) or (N, 1) to float32 (N, ..., num_classes).
    Errors: ValueError for class numbers that are negative, fractional, or not below num_classes.
    """
    labels = np.asarray(x)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    whole = labels.astype(np.int64)
    if (whole != labels).any():
        raise ValueError("to_categorical: class numbers must be whole")
    classes = int(whole.max(initial=-1)) + 1 if num_classes is None else num_classes
    if whole.size and not 0 <= whole.min() <= whole.max() < classes:
        raise ValueError(f"to_categorical: class numbers must lie in 0 .. {classes - 1}, got {whole.min()} .. {whole.max()}")
    return np.eye(classes, dtype=np.float32)[whole]
