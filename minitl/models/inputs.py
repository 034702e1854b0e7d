"""Data as a model takes them: arrays of real numbers, in an input's dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl import channels
from minitl.errors import as_array
from minitl.graph.value import Value, fits


def as_input(x: Any, value: Value, label: str) -> np.ndarray:
    """Data as an input takes them: in its dtype, with an axis for one channel where it is missing.

    Errors: TypeError for masked, complex or other arrays that are no real numbers; ValueError for fractions where whole numbers
    are wanted, or an empty array.
    """
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{label}: got a masked array; fill it (x.filled(0)), masks are not used")
    array = channels.inner_images(as_array(x), value.shape)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{label}: expected an array of real numbers, got dtype {array.dtype}")
    if not fits(value.shape, array.shape):
        array = _with_channel(array, value.shape)
    if 0 in array.shape:
        raise ValueError(f"{label}: got an array of shape {array.shape}, which holds no numbers")
    if array.dtype != value.dtype:
        converted = array.astype(value.dtype)
        if value.dtype.kind in "iu" and array.dtype.kind == "f" and not (converted == array).all():
            raise ValueError(f"{label}: the input {value.name!r} takes whole numbers, got fractions or NaN")
        return converted
    return array


def _with_channel(array: np.ndarray, shape: Any) -> np.ndarray:
    """As Keras: a last axis of length 1 may be missing (images of one channel), or be too much."""
    if shape and shape[-1] == 1 and fits(shape, (*array.shape, 1)):
        return array[..., None]
    return array[..., 0] if array.ndim > 1 and array.shape[-1] == 1 and fits(shape, array.shape[:-1]) else array


def shapes_of(x: Any) -> Any:
    """The shapes of data, for `build`."""
    if isinstance(x, dict):
        return {name: (None, *np.shape(part)[1:]) for name, part in x.items()}
    if isinstance(x, (list, tuple)) and len(x) > 1 and all(np.ndim(part) > 1 for part in x):
        return [(None, *np.shape(part)[1:]) for part in x]
    if isinstance(x, (list, tuple)) and len(x) == 1 and isinstance(x[0], np.ndarray) and x[0].ndim > 1:
        return (None, *x[0].shape[1:])
    return (None, *np.shape(x)[1:])
