"""Multiply, in memory that may have been used before; the mathematics is in `minitl.ops.multiply`."""

from __future__ import annotations

import numpy as np

from minitl.kernels import memory
from minitl.kernels.recording import also
from minitl.ops.multiply import backward

__all__ = ["backward", "forward"]


def forward(*x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """y = the product of the inputs."""
    if len(x) < 2:
        return x[0], x
    y = memory.empty(np.broadcast_shapes(*(part.shape for part in x)), np.result_type(*x))
    also(np.multiply, x[0], x[1], y)
    for part in x[2:]:
        also(np.multiply, y, part, y)
    return y, x
