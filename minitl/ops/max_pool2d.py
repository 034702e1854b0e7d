"""Max-pooling: every window hands on its largest element.

    y[n, i, j, c] = max_{a, b} x[n, s_h i + a, s_w j + b, c]

The maximum is a choice, and its gradient goes to the chosen element alone:

    dx[n, s_h i + a, s_w j + b, c] += dy[n, i, j, c]   where (a, b) won at (i, j)

Ties go to the first element in row order (the comparison is strict). Padding never wins. A NaN always wins.
Windows may overlap, so dx adds up. The cache holds each window's winner as the number a P_w + b.

Shapes: x (N, H, W, C), pool_size (P_h, P_w), y (N, H_out, W_out, C), see `window`.
Source: D. Scherer, A. Mueller and S. Behnke, Evaluation of pooling operations in convolutional architectures, 2010.
"""

import numpy as np

from minitl.ops.window import Padding, Pair, check_images, check_shape, pad2d, shifted, slide2d


def forward(x: np.ndarray, pool_size: Pair, strides: Pair, padding: Padding = "valid") -> tuple[np.ndarray, tuple]:
    """y = the largest element of every window."""
    check_images("max_pool2d", x.shape)
    rows, columns = slide2d(x.shape, pool_size, strides, padding)
    x_pad = pad2d(x, rows, columns, -np.inf)
    y = np.full((len(x), rows.out, columns.out, x.shape[3]), -np.inf, x.dtype)
    winner = np.zeros(y.shape, winner_dtype(pool_size))
    for a in range(pool_size[0]):
        for b in range(pool_size[1]):
            candidate = shifted(x_pad, a, b, rows, columns, strides)
            wins = (candidate > y) | np.isnan(candidate)
            y = np.where(wins, candidate, y)
            winner[wins] = a * pool_size[1] + b
    return y, (winner, x.shape, pool_size, strides, padding)


def winner_dtype(pool_size: Pair) -> type[np.unsignedinteger]:
    """The integers that can number the elements of a window."""
    return np.uint16 if pool_size[0] * pool_size[1] <= 1 << 16 else np.uint32


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = dy, handed to the winners."""
    winner, shape, pool_size, strides, padding = cache
    check_shape("max_pool2d", "dy", dy.shape, winner.shape)
    x = np.zeros(shape, dy.dtype)
    rows, columns = slide2d(x.shape, pool_size, strides, padding)
    dx_pad = pad2d(x, rows, columns)
    for a in range(pool_size[0]):
        for b in range(pool_size[1]):
            seen = shifted(dx_pad, a, b, rows, columns, strides)
            seen += np.where(winner == a * pool_size[1] + b, dy, 0)
    return dx_pad[:, rows.before : rows.before + shape[1], columns.before : columns.before + shape[2]]
