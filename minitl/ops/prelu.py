"""PReLU: a leaky ReLU that learns its slope.

    y = x where x > 0, else alpha x
    dx = dy where x > 0, else alpha dy,   dalpha = sum of dy x where x <= 0, over all that share the slope

Shapes: x (N, ...), alpha the same without the batch, or with 1 where an axis shares it. The cache is x and alpha.
Source: K. He et al., Delving deep into rectifiers, arXiv 1502.01852.
"""

import numpy as np

from minitl.ops.add import summed_to
from minitl.ops.window import check_shape


def forward(x: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """y = x, or alpha x where x is not positive."""
    return np.where(x.real > 0, x, alpha * x), (x, alpha)


def backward(
    dy: np.ndarray, cache: tuple[np.ndarray, np.ndarray], need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """dx and dalpha; what is not needed is None."""
    x, alpha = cache
    check_shape("prelu", "dy", dy.shape, x.shape)
    dx = np.where(x > 0, dy, alpha * dy) if need_dx else None
    dalpha = summed_to(np.where(x > 0, 0, dy * x), alpha.shape).astype(dy.dtype, copy=False) if need_dparameters else None
    return dx, dalpha
