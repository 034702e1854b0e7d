"""Dropout: while training, each element is dropped with probability `rate`.

    m = 1 / (1 - rate) with probability 1 - rate, else 0
    y = x m,   dx = dy m

The survivors are scaled up, so that the expectation of y is x and inference needs no change ("inverted" dropout).

Shapes: any; x, y, dy and dx alike. The cache is m. `generator` is a numpy.random.Generator and moves on.
Source: N. Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 2014.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(x: np.ndarray, rate: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """y = x m with a fresh mask m."""
    mask = draw(x, rate, generator)
    return x * mask, mask


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy m."""
    check_shape("dropout", "dy", dy.shape, cache.shape)
    return dy * cache


def draw(x: np.ndarray, rate: float, generator: np.random.Generator) -> np.ndarray:
    """A mask like x: 1 / (1 - rate) where the element stays, 0 where it is dropped."""
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate must be in [0, 1), got {rate}")
    return (generator.random(x.shape, np.float32) >= rate) * x.real.dtype.type(1 / (1 - rate))
