"""Add: a weighted sum of arrays; sums, differences and means are this.

    y = f_1 x_1 + f_2 x_2 + ...           dx_i = f_i dy

Where several paths meet in a sum, each gets the whole gradient: that is why a residual network can be deep.
Shapes: any that broadcast; dx_i is summed over the axes along which x_i was repeated. The cache is shapes and factors.
Source: K. He et al., Deep residual learning, arXiv 1512.03385.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(*x: np.ndarray, factors: tuple[float, ...] | None = None) -> tuple[np.ndarray, tuple]:
    """y = the sum of the inputs, each times its factor (1 by default)."""
    factors = factors or (1.0,) * len(x)
    y = factors[0] * x[0] if factors[0] != 1 else x[0]
    for factor, part in zip(factors[1:], x[1:], strict=True):
        y = y + (factor * part if factor != 1 else part)
    return y, (tuple(part.shape for part in x), y.shape, factors)


def backward(dy: np.ndarray, cache: tuple) -> tuple[np.ndarray, ...]:
    """dx_i = f_i dy."""
    shapes, shape, factors = cache
    check_shape("add", "dy", dy.shape, shape)
    return tuple(summed_to(dy if f == 1 else f * dy, s) for f, s in zip(factors, shapes, strict=True))


def summed_to(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an array of this shape that was repeated to the gradient's: the sum over the repetitions."""
    if gradient.shape == shape:
        return gradient
    gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    repeated = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    return gradient.sum(axis=repeated, keepdims=True)
