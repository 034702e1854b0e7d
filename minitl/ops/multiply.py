"""Multiply: entry by entry.

    y = x_1 x_2 ... x_n                   dx_i = dy times the product of all the others

Shapes: any that broadcast, as in `add`. The cache is the inputs.
Source: J. Hu et al., Squeeze-and-excitation networks, arXiv 1709.01507, multiply channels by gates so.
"""

import functools

import numpy as np

from minitl.ops.add import summed_to
from minitl.ops.window import check_shape


def forward(*x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """y = the product of the inputs."""
    return functools.reduce(np.multiply, x), x


def backward(dy: np.ndarray, cache: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """dx_i = dy times the product of the others, without dividing by x_i: it may be zero."""
    check_shape("multiply", "dy", dy.shape, np.broadcast_shapes(*(x.shape for x in cache)))
    others = [functools.reduce(np.multiply, [*cache[:i], *cache[i + 1 :]], dy) for i in range(len(cache))]
    return tuple(summed_to(d, x.shape) for d, x in zip(others, cache, strict=True))
