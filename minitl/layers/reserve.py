"""A limit on what layers may allocate for weights while an architecture of unknown origin is built."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def limited_weights(numbers: int) -> Iterator[None]:
    """Inside the block, layers are built with zeros for weights, and together for no more than so many numbers.

    For architectures from files: the weights come from the file, which bounds what they can need.
    """
    before, reserve.left = reserve.left, numbers
    try:
        yield
    finally:
        reserve.left = before


class _Reserve(threading.local):
    """How many numbers may still be allocated for weights; None is no limit."""

    left: int | None = None

    def take(self, label: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Zeros for a weight; ValueError when there is no room for them."""
        size = int(np.prod([int(n) for n in shape], dtype=object))
        if size > (self.left or 0):
            raise ValueError(f"{label}: a weight {name!r} of shape {shape} is more than the file holds")
        self.left = (self.left or 0) - size
        return np.zeros(shape)


reserve = _Reserve()
