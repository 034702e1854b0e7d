"""Max-pooling, one output row a task; the mathematics is in `minitl.ops.max_pool2d`."""

from __future__ import annotations

import numpy as np
from numba import prange

from minitl.kernels import memory
from minitl.kernels.jit import common_dtype, jit
from minitl.ops.max_pool2d import winner_dtype
from minitl.ops.window import Pair, check_images, check_shape, slide2d


def forward(x: np.ndarray, pool_size: Pair, strides: Pair, padding: str = "valid") -> tuple[np.ndarray, tuple]:
    """y = the largest element of every window."""
    check_images("max_pool2d", x.shape)
    rows, columns = slide2d(x.shape, pool_size, strides, padding)
    y = memory.empty((len(x), rows.out, columns.out, x.shape[3]), common_dtype(x))
    winner = memory.empty(y.shape, winner_dtype(pool_size))
    _forward(np.ascontiguousarray(x, y.dtype), pool_size, strides, rows.before, columns.before, y, winner)
    return y, (winner, x.shape, pool_size, strides, padding)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = dy, handed to the winners."""
    winner, shape, pool_size, strides, padding = cache
    check_shape("max_pool2d", "dy", dy.shape, winner.shape)
    dx = memory.empty(shape, common_dtype(dy))
    rows, columns = slide2d(dx.shape, pool_size, strides, padding)
    _backward(np.ascontiguousarray(dy, dx.dtype), winner, pool_size, strides, rows.before, columns.before, dx)
    return dx


@jit(parallel=True)
def _forward(x, pool_size, strides, before_h, before_w, y, winner):
    images, height, width, channels = x.shape
    out_h, out_w = y.shape[1], y.shape[2]
    for task in prange(images * out_h):
        n, i = task // out_h, task % out_h
        for j in range(out_w):
            y[n, i, j] = -np.inf
            winner[n, i, j] = 0
            for a in range(pool_size[0]):
                for b in range(pool_size[1]):
                    row, column = i * strides[0] + a - before_h, j * strides[1] + b - before_w
                    if 0 <= row < height and 0 <= column < width:
                        for c in range(channels):
                            value = x[n, row, column, c]
                            if value > y[n, i, j, c] or value != value:
                                y[n, i, j, c] = value
                                winner[n, i, j, c] = a * pool_size[1] + b


@jit(parallel=True)
def _backward(dy, winner, pool_size, strides, before_h, before_w, dx):
    images, out_h, out_w, channels = dy.shape
    zero = dy.dtype.type(0)
    for n in prange(images):
        dx[n] = 0
        for i in range(out_h):
            for j in range(out_w):
                for k in range(pool_size[0] * pool_size[1]):  # every member of the window, and for some channels it has won
                    row = i * strides[0] + k // pool_size[1] - before_h
                    column = j * strides[1] + k % pool_size[1] - before_w
                    if 0 <= row < dx.shape[1] and 0 <= column < dx.shape[2]:
                        for c in range(channels):
                            dx[n, row, column, c] += dy[n, i, j, c] if winner[n, i, j, c] == k else zero
