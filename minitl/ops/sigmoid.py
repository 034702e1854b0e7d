"""Sigmoid: squeezes a number into (0, 1).

    y = 1 / (1 + exp(-x))
    dy/dx = exp(-x) / (1 + exp(-x))^2 = y (1 - y),   so   dx = dy y (1 - y)

For large negative x the formula would overflow; exp(x) / (1 + exp(x)) is the same number and does not.
sigmoid(x) = (1 + tanh(x / 2)) / 2 has neither branch, and is analytic, so complex steps work on it.

Shapes: any; x, y, dy and dx alike. The cache is y.
Source: Goodfellow, Bengio and Courville, Deep Learning, section 3.10.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = 1 / (1 + exp(-x)), computed as (1 + tanh(x / 2)) / 2."""
    y = (np.tanh(x / 2) + 1) / 2
    return y, y


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy y (1 - y)."""
    check_shape("sigmoid", "dy", dy.shape, cache.shape)
    return dy * cache * (1 - cache)
