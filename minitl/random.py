"""One seed for everything random: initial weights, shuffling, dropout, augmentation.

Each consumer gets a generator of its own, spawned from the seed in the order of asking, so that drawing more numbers
in one place changes nothing in another.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

_sequence: np.random.SeedSequence | None = None  # made by who asks first: NumPy imports its generators when they are used


def set_random_seed(seed: int) -> None:
    """Make all that follows repeatable: minitl's generators, and, as Keras does, `random` and `numpy.random` too.

    Errors: ValueError for a seed that is not a whole number of 0 .. 2**32 - 1.
    """
    global _sequence
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"set_random_seed: expected a whole number of 0 .. 2**32 - 1, got {seed!r}")
    import random

    _sequence = np.random.SeedSequence(int(seed))
    random.seed(int(seed))
    np.random.seed(int(seed))


def set_start(entropy: int) -> None:
    """Where minitl's generators begin without a seed: several processes that train together share it."""
    global _sequence
    _sequence = np.random.SeedSequence(entropy)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside the block minitl's generators follow a seed; afterwards they go on where they were. Nobody else's are touched."""
    global _sequence
    before, _sequence = _sequence, np.random.SeedSequence(seed)
    try:
        yield
    finally:
        _sequence = before


def new_generator() -> np.random.Generator:
    """A fresh generator, independent of those given before."""
    global _sequence
    _sequence = _sequence or np.random.SeedSequence()
    return np.random.default_rng(_sequence.spawn(1)[0])


def __getattr__(name: str) -> Any:
    if name in ("SeedGenerator", "normal", "truncated_normal", "uniform", "randint", "dropout", "shuffle"):  # keras.random
        return getattr(importlib.import_module("minitl.legacy.keras_random"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
