"""Tanh: squeezes a number into (-1, 1).

    y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))
    dy/dx = 1 - y^2,   so   dx = dy (1 - y^2)

Shapes: any; x, y, dy and dx alike. The cache is y.
Source: Y. LeCun et al., Efficient backprop, 1998, section 4.4.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = tanh(x)."""
    y = np.tanh(x)
    return y, y


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy (1 - y^2)."""
    check_shape("tanh", "dy", dy.shape, cache.shape)
    return dy * (1 - cache * cache)
