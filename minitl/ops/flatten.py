"""Flatten: an image becomes a row, in the order (height, width, channel) in which it lies in memory.

    y = x reshaped to (N, H W C),   dx = dy reshaped back

Shapes: x (N, ...), y (N, product of the rest). The cache is x's shape.
"""

import math

import numpy as np

from minitl.ops.window import check_shape


def forward(x: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """y = x, one row per sample."""
    return x.reshape(len(x), math.prod(x.shape[1:])), x.shape


def backward(dy: np.ndarray, cache: tuple[int, ...]) -> np.ndarray:
    """dx = dy in x's shape."""
    check_shape("flatten", "dy", dy.shape, (cache[0], math.prod(cache[1:])))
    return dy.reshape(cache)
