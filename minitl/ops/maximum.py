"""Maximum: entry by entry the largest (or, with sign -1, the smallest) of several arrays.

    y = max_i x_i                         dx_i = dy where x_i won, else 0

Ties go to the first input, as in max-pooling. A NaN wins.
Shapes: any that broadcast, as in `add`. The cache is each entry's winner, and the shapes.
Source: I. Goodfellow et al., Maxout networks, arXiv 1302.4389.
"""

import numpy as np

from minitl.ops.add import summed_to
from minitl.ops.window import check_shape


def forward(*x: np.ndarray, sign: int = 1) -> tuple[np.ndarray, tuple]:
    """y = the largest of the inputs, or the smallest."""
    whole = np.broadcast_arrays(*x)
    y, winner = whole[0], np.zeros(whole[0].shape, np.uint8)
    for i, part in enumerate(whole[1:], 1):
        wins = ((part > y) if sign > 0 else (part < y)) | np.isnan(part)
        y = np.where(wins, part, y)
        winner[wins] = i
    return np.array(y), (winner, tuple(part.shape for part in x))


def backward(dy: np.ndarray, cache: tuple) -> tuple[np.ndarray, ...]:
    """dx = dy, handed to the winners."""
    winner, shapes = cache
    check_shape("maximum", "dy", dy.shape, winner.shape)
    return tuple(summed_to(np.where(winner == i, dy, np.zeros((), dy.dtype)), shape) for i, shape in enumerate(shapes))
