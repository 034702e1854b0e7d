"""Average-pooling: every window hands on its mean.

    y[n, i, j, c] = 1/m[i, j] sum_{a, b} x[n, s_h i + a, s_w j + b, c]
    dx[n, s_h i + a, s_w j + b, c] += dy[n, i, j, c] / m[i, j]

m[i, j] counts the window's elements that lie inside the image: padding is not part of the mean.

Shapes: x (N, H, W, C), pool_size (P_h, P_w), y (N, H_out, W_out, C), see `window`.
Source: Y. LeCun et al., Gradient-based learning applied to document recognition, 1998 ("subsampling").
"""

import numpy as np

from minitl.ops.window import Axis, Pair, check_images, check_shape, pad2d, shifted, slide2d


def forward(x: np.ndarray, pool_size: Pair, strides: Pair, padding: str = "valid") -> tuple[np.ndarray, tuple]:
    """y = the mean of every window."""
    check_images("average_pool2d", x.shape)
    rows, columns = slide2d(x.shape, pool_size, strides, padding)
    x_pad = pad2d(x, rows, columns)
    y = np.zeros((len(x), rows.out, columns.out, x.shape[3]), x.dtype)
    for a in range(pool_size[0]):
        for b in range(pool_size[1]):
            y += shifted(x_pad, a, b, rows, columns, strides)
    y /= members(x.shape, pool_size, strides, rows, columns)
    return y, (x.shape, pool_size, strides, padding)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = dy / m, handed to every member of the window."""
    shape, pool_size, strides, padding = cache
    x = np.zeros(shape, dy.dtype)
    rows, columns = slide2d(x.shape, pool_size, strides, padding)
    check_shape("average_pool2d", "dy", dy.shape, (shape[0], rows.out, columns.out, shape[3]))
    share = dy / members(shape, pool_size, strides, rows, columns).astype(dy.real.dtype)
    dx_pad = pad2d(x, rows, columns)
    for a in range(pool_size[0]):
        for b in range(pool_size[1]):
            seen = shifted(dx_pad, a, b, rows, columns, strides)
            seen += share
    return dx_pad[:, rows.before : rows.before + shape[1], columns.before : columns.before + shape[2]]


def members(shape: tuple[int, ...], pool_size: Pair, strides: Pair, rows: Axis, columns: Axis) -> np.ndarray:
    """m (H_out, W_out, 1): how many elements of each window lie inside the image."""
    in_row = inside(shape[1], pool_size[0], strides[0], rows)
    in_column = inside(shape[2], pool_size[1], strides[1], columns)
    return (in_row[:, None] * in_column[None, :])[..., None]


def inside(size: int, window: int, stride: int, axis: Axis) -> np.ndarray:
    """For each position along one axis, how many of the window's elements lie inside; float32 holds them exactly."""
    start = np.arange(axis.out) * stride - axis.before
    return (np.minimum(start + window, size) - np.maximum(start, 0)).astype(np.float32)
