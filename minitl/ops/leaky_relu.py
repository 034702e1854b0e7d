"""Leaky ReLU, and ReLU with a ceiling: what is low is damped, what is high is cut off.

    y = x where threshold < x < ceiling;  slope (x - threshold) up to the threshold;  ceiling from there on
    dx = dy, slope dy, 0

ReLU6, which MobileNets use, has slope 0 and ceiling 6. At the kinks: slope at the threshold from below, 0 at the ceiling.
Shapes: any; x, y, dy and dx alike. The cache is x, and the three settings.
Source: A. Maas et al., Rectifier nonlinearities improve neural network acoustic models, 2013; A. Krizhevsky, 2010, for ReLU6.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(x: np.ndarray, slope: float = 0.0, threshold: float = 0.0, ceiling: float = np.inf) -> tuple[np.ndarray, tuple]:
    """y = x, damped below and cut off above."""
    y = np.where(x.real <= threshold, slope * (x - threshold), x)
    return np.where(x.real >= ceiling, x.dtype.type(min(ceiling, 1e30)), y).astype(x.dtype, copy=False), (
        x,
        slope,
        threshold,
        ceiling,
    )


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = dy, slope dy, or 0."""
    x, slope, threshold, ceiling = cache
    check_shape("leaky_relu", "dy", dy.shape, x.shape)
    return np.where(x >= ceiling, 0, np.where(x <= threshold, slope * dy, dy)).astype(dy.dtype, copy=False)
