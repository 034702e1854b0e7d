"""Average-pooling, one image a task; the mathematics is in `minitl.ops.average_pool2d`."""

from __future__ import annotations

import numpy as np
from numba import prange

from minitl.kernels import memory
from minitl.kernels.jit import common_dtype, jit
from minitl.ops.window import Pair, check_images, check_shape, slide2d


def forward(x: np.ndarray, pool_size: Pair, strides: Pair, padding: str = "valid") -> tuple[np.ndarray, tuple]:
    """y = the mean of every window."""
    check_images("average_pool2d", x.shape)
    rows, columns = slide2d(x.shape, pool_size, strides, padding)
    y = memory.empty((len(x), rows.out, columns.out, x.shape[3]), common_dtype(x))
    _forward(np.ascontiguousarray(x, y.dtype), pool_size, strides, rows.before, columns.before, y)
    return y, (x.shape, pool_size, strides, padding)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = dy / m, handed to every member of the window."""
    shape, pool_size, strides, padding = cache
    dx = memory.empty(shape, common_dtype(dy))
    rows, columns = slide2d(dx.shape, pool_size, strides, padding)
    check_shape("average_pool2d", "dy", dy.shape, (shape[0], rows.out, columns.out, shape[3]))
    _backward(np.ascontiguousarray(dy, dx.dtype), pool_size, strides, rows.before, columns.before, dx)
    return dx


@jit(parallel=True)
def _forward(x, pool_size, strides, before_h, before_w, y):
    images, height, width, channels = x.shape
    for n in prange(images):
        y[n] = 0
        for i in range(y.shape[1]):
            top, bottom = _inside(i * strides[0] - before_h, pool_size[0], height)
            for j in range(y.shape[2]):
                left, right = _inside(j * strides[1] - before_w, pool_size[1], width)
                for row in range(top, bottom):
                    for column in range(left, right):
                        for c in range(channels):
                            y[n, i, j, c] += x[n, row, column, c]
                members = x.dtype.type((bottom - top) * (right - left))
                for c in range(channels):
                    y[n, i, j, c] /= members


@jit(parallel=True)
def _backward(dy, pool_size, strides, before_h, before_w, dx):
    images, height, width, channels = dx.shape
    for n in prange(images):
        dx[n] = 0
        share = np.empty(channels, dx.dtype)
        for i in range(dy.shape[1]):
            top, bottom = _inside(i * strides[0] - before_h, pool_size[0], height)
            for j in range(dy.shape[2]):
                left, right = _inside(j * strides[1] - before_w, pool_size[1], width)
                members = dy.dtype.type((bottom - top) * (right - left))
                for c in range(channels):
                    share[c] = dy[n, i, j, c] / members
                for row in range(top, bottom):
                    for column in range(left, right):
                        for c in range(channels):
                            dx[n, row, column, c] += share[c]


@jit()
def _inside(start, window, size):
    """The part of a window that lies inside the image, along one axis."""
    return max(start, 0), min(start + window, size)
