"""ReLU: what is negative becomes zero.

    y = max(x, 0)
    dx = dy where x > 0, else 0

At x = 0 there is a kink and no derivative; the convention here is ReLU'(0) = 0. A NaN stays a NaN.

Shapes: any; x, y, dy and dx alike. The cache is y, since y > 0 exactly where x > 0.
Source: V. Nair and G. Hinton, Rectified linear units improve restricted Boltzmann machines, 2010.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = max(x, 0)."""
    y = np.maximum(x, 0)
    return y, y


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy where y > 0, else 0."""
    check_shape("relu", "dy", dy.shape, cache.shape)
    return np.where(cache > 0, dy, np.zeros((), dy.dtype))
