"""`keras.random` of Keras 3: numbers from a seed, from a generator of seeds, or from minitl's."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.initializers import TruncatedNormal
from minitl.random import new_generator


class SeedGenerator:
    """Seeds, one after another; a layer holds one, so that its numbers repeat.

    Parameters: `seed` is a whole number; None takes minitl's.
    """

    def __init__(self, seed: int | None = None, **_: Any):
        self.generator = new_generator() if seed is None else np.random.default_rng(seed)

    def next(self) -> int:
        """The next one."""
        return int(self.generator.integers(2**31))


def normal(shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None) -> np.ndarray:
    """Normal numbers."""
    return _generator(seed).normal(mean, stddev, tuple(shape)).astype(dtype or "float32")


def truncated_normal(shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None) -> np.ndarray:
    """Normal numbers no further than two deviations from the mean."""
    return TruncatedNormal(mean, stddev)(tuple(shape), _generator(seed)).astype(dtype or "float32")


def uniform(shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None) -> np.ndarray:
    """Numbers between two others."""
    return _generator(seed).uniform(minval, maxval, tuple(shape)).astype(dtype or "float32")


def randint(shape: Any, minval: int, maxval: int, dtype: Any = "int32", seed: Any = None) -> np.ndarray:
    """Whole numbers from `minval` to below `maxval`."""
    return _generator(seed).integers(minval, maxval, tuple(shape)).astype(dtype)


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """Numbers left out with a probability, the others made larger for it."""
    stays = _generator(seed).random(tuple(noise_shape or inputs.shape)) >= rate
    return inputs * (stays / (1 - rate)).astype(inputs.dtype)


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> np.ndarray:
    """x in another order."""
    return _generator(seed).permutation(np.asarray(x), axis=axis)


def _generator(seed: Any) -> np.random.Generator:
    if isinstance(seed, SeedGenerator):
        return seed.generator
    return new_generator() if seed is None else np.random.default_rng(seed)
