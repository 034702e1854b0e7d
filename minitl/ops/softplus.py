"""Softplus: a smooth ReLU.

    y = log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))
    dy/dx = sigmoid(x)

The second form never overflows.
Shapes: any; x, y, dy and dx alike. The cache is x.
Source: C. Dugas et al., Incorporating second-order functional knowledge for better option pricing, 2001.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = log(1 + exp(x))."""
    size = np.where(x.real > 0, x, -x)
    return np.where(x.real > 0, x, 0) + np.log1p(np.exp(-size)), x


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy sigmoid(x)."""
    check_shape("softplus", "dy", dy.shape, cache.shape)
    return dy * (np.tanh(cache / 2) + 1) / 2
