"""A function of your own as an activation: its backward is found by recording it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.autodiff import Traced, gradients


def forward(z: np.ndarray, function: Callable[[Any], Any]) -> tuple[np.ndarray, Any]:
    """y = function(z), and its record.

    Errors: TypeError for a function whose result left the record; ValueError for another shape than z's.
    """
    traced, name = Traced(z), getattr(function, "__name__", "activation")
    y = function(traced)
    if not isinstance(y, Traced):
        made_of = "it must be made of NumPy's or minitl.backend's functions"
        raise TypeError(f"activation {name}: its result does not depend on its argument; {made_of}")
    if y.shape != z.shape:
        raise ValueError(f"activation {name}: made shape {y.shape} of {z.shape}; it must keep the shape")
    return np.ascontiguousarray(y.value, z.dtype), (traced, y)


def backward(dy: np.ndarray, cache: Any) -> np.ndarray:
    """dz, by the record."""
    traced, y = cache
    return np.ascontiguousarray(gradients(y, [traced], dy)[0], dy.dtype)
