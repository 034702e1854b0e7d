"""Global average-pooling, one image a task; the mathematics is in `minitl.ops.global_average_pool2d`."""

from __future__ import annotations

import numpy as np
from numba import prange

from minitl.kernels import memory
from minitl.kernels.jit import common_dtype, jit
from minitl.ops.window import check_images, check_shape


def forward(x: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """y = the mean over height and width."""
    check_images("global_average_pool2d", x.shape)
    y = memory.zeros((x.shape[0], x.shape[3]), common_dtype(x))
    _forward(np.ascontiguousarray(x, y.dtype).reshape(len(x), -1, x.shape[3]), y)
    return y, x.shape


def backward(dy: np.ndarray, cache: tuple[int, ...]) -> np.ndarray:
    """dx = dy / (H W), the same for every pixel."""
    check_shape("global_average_pool2d", "dy", dy.shape, (cache[0], cache[3]))
    dx = memory.empty(cache, common_dtype(dy))
    _backward(np.ascontiguousarray(dy, dx.dtype), dx.reshape(cache[0], -1, cache[3]))
    return dx


@jit(parallel=True)
def _forward(x, y):
    pixels = x.dtype.type(x.shape[1])
    for n in prange(len(x)):
        for pixel in range(x.shape[1]):
            for c in range(x.shape[2]):
                y[n, c] += x[n, pixel, c]
        for c in range(x.shape[2]):
            y[n, c] /= pixels


@jit(parallel=True)
def _backward(dy, dx):
    pixels = dy.dtype.type(dx.shape[1])
    for n in prange(len(dx)):
        for pixel in range(dx.shape[1]):
            for c in range(dx.shape[2]):
                dx[n, pixel, c] = dy[n, c] / pixels
