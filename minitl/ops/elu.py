"""ELU: ReLU whose negative side bends towards -alpha; SELU is this with a scale that keeps mean and variance.

    y = scale x where x > 0, else scale alpha (exp(x) - 1)
    dy/dx = scale where x > 0, else y + scale alpha

SELU has alpha = 1.6732632423543772 and scale = 1.0507009873554805: the fixed point of mean 0 and variance 1.
Shapes: any; x, y, dy and dx alike. The cache is y, alpha and scale.
Source: D. Clevert et al., arXiv 1511.07289; G. Klambauer et al., Self-normalizing neural networks, arXiv 1706.02515.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(x: np.ndarray, alpha: float = 1.0, scale: float = 1.0) -> tuple[np.ndarray, tuple]:
    """y = scale x, or scale alpha (exp(x) - 1) for x <= 0."""
    y = (scale * np.where(x.real > 0, x, alpha * np.expm1(np.where(x.real > 0, 0, x)))).astype(x.dtype, copy=False)
    return y, (y, alpha, scale)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = dy scale, or dy (y + scale alpha)."""
    y, alpha, scale = cache
    check_shape("elu", "dy", dy.shape, y.shape)
    return (dy * np.where(y > 0, scale, y + scale * alpha)).astype(dy.dtype, copy=False)
