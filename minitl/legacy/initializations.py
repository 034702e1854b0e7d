"""`keras.initializations`: functions from a shape to first values, as Keras 1 had them."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl import initializers
from minitl.random import new_generator


def _drawn(initializer: Any, shape: Any) -> np.ndarray:
    return np.asarray(initializer(tuple(shape), new_generator()))


def normal(shape: Any, scale: float = 0.05, name: Any = None, **_: Any) -> np.ndarray:
    """Normal numbers of a deviation."""
    return _drawn(initializers.RandomNormal(stddev=scale), shape)


def uniform(shape: Any, scale: float = 0.05, name: Any = None, **_: Any) -> np.ndarray:
    """Numbers between -scale and scale."""
    return _drawn(initializers.RandomUniform(-scale, scale), shape)


def identity(shape: Any, scale: float = 1.0, name: Any = None, **_: Any) -> np.ndarray:
    """A multiple of the unit matrix."""
    return scale * np.eye(*shape)


def orthogonal(shape: Any, scale: float = 1.0, name: Any = None, **_: Any) -> np.ndarray:
    """Orthogonal rows or columns."""
    return scale * _drawn(initializers.get("orthogonal"), shape)


def zero(shape: Any, name: Any = None, **_: Any) -> np.ndarray:
    """Zeros."""
    return np.zeros(tuple(shape))


def one(shape: Any, name: Any = None, **_: Any) -> np.ndarray:
    """Ones."""
    return np.ones(tuple(shape))


def get(identifier: Any, **_: Any) -> Any:
    """A function of this module by its name, or what `initializers` has under it."""
    found = globals().get(identifier) if isinstance(identifier, str) else identifier
    if found is not None:
        return found
    initializer = initializers.get(identifier)
    return lambda shape, name=None, **_: _drawn(initializer, shape)
