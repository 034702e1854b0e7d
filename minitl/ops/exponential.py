"""The exponential function, its own derivative.

    y = exp(x)
    dx = dy y

Shapes: any; x, y, dy and dx alike. The cache is y.
Source: L. Euler, Introductio in analysin infinitorum, 1748, chapter 7.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = exp(x)."""
    y = np.exp(x)
    return y, y


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy y."""
    check_shape("exponential", "dy", dy.shape, cache.shape)
    return dy * cache
