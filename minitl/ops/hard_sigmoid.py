"""Hard sigmoid: a straight line cut off at 0 and 1, in the place of the sigmoid.

    y = min(max(x / 6 + 1/2, 0), 1)
    dx = dy / 6 where -3 < x < 3, else 0

Shapes: any; x, y, dy and dx alike. The cache is x.
Source: A. Howard et al., Searching for MobileNetV3, arXiv 1905.02244.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = x / 6 + 1/2, cut off at 0 and 1."""
    y = np.where(x.real <= -3, 0, np.where(x.real >= 3, 1, x / 6 + 0.5))
    return y.astype(x.dtype, copy=False), x


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy / 6 inside."""
    check_shape("hard_sigmoid", "dy", dy.shape, cache.shape)
    return np.where(np.abs(cache) < 3, dy / 6, 0).astype(dy.dtype, copy=False)
