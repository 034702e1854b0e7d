"""Mean squared error: the distance to the target, squared.

    loss = 1/M sum w (y_pred - y_true)^2                 M the number of elements, w a weight (1 where none is given)
    dy_pred = 2 w/M (y_pred - y_true)

Shapes: y_pred, y_true and weights (or None) alike.
Source: Goodfellow, Bengio and Courville, Deep Learning, section 5.1.4.
"""

import numpy as np

from minitl.ops.window import check_losses


def forward(y_pred: np.ndarray, y_true: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, tuple]:
    """The mean loss, and what backward needs."""
    weights = check_losses("mean_squared_error", y_pred, y_true, y_pred.shape, weights, y_pred.ndim)
    difference = y_pred - y_true
    return (weights * difference * difference).mean(), (y_pred, y_true, weights)


def backward(dloss: float, cache: tuple) -> np.ndarray:
    """dy_pred = dloss 2 w (y_pred - y_true) / M."""
    y_pred, y_true, weights = cache
    return (2 * dloss * weights * (y_pred - y_true) / weights.size).astype(y_pred.dtype, copy=False)
