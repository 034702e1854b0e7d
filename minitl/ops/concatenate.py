"""Concatenate: arrays side by side along one axis; the gradient is cut at the same places.

    y = [x_1, x_2, ...]                   dx_i = the part of dy that came from x_i

Shapes: alike but for `axis`. The cache is the ends of the parts, the axis, and y's shape.
Source: G. Huang et al., Densely connected convolutional networks, arXiv 1608.06993.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(*x: np.ndarray, axis: int = -1) -> tuple[np.ndarray, tuple]:
    """y = the inputs, one behind another."""
    y = np.concatenate(x, axis)
    return y, (np.cumsum([part.shape[axis] for part in x])[:-1], axis, y.shape)


def backward(dy: np.ndarray, cache: tuple) -> tuple[np.ndarray, ...]:
    """dx_i = its part of dy."""
    ends, axis, shape = cache
    check_shape("concatenate", "dy", dy.shape, shape)
    return tuple(np.split(dy, ends, axis))
