"""Dense layers, backward as convolutions of 1x1 images; the mathematics is in `minitl.ops.dense`."""

from __future__ import annotations

import numpy as np

from minitl.kernels import convolution
from minitl.kernels.matrix_product import affine
from minitl.ops.dense import check
from minitl.ops.window import check_shape


def forward(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None = None) -> tuple[np.ndarray, tuple]:
    """y = x W + b."""
    check(x, kernel, bias)
    return affine(x, kernel, bias, relu=False), (x, kernel, bias)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx = dy W^T, dW = x^T dy, db = sum of dy over the samples; what is not needed is None."""
    x, kernel, bias = cache
    check_shape("dense", "dy", dy.shape, (*x.shape[:-1], kernel.shape[1]))
    as_convolution = (as_images(x), kernel[None, None], bias, (1, 1), "valid")
    dx, dkernel, dbias = convolution.backward(as_images(dy), as_convolution, need_dx, need_dparameters)
    dx = None if dx is None else dx.reshape(x.shape)
    return dx, None if dkernel is None else dkernel[0, 0], dbias


def as_images(rows: np.ndarray) -> np.ndarray:
    """Rows (..., channels) as images of one pixel (N, 1, 1, channels)."""
    return rows.reshape(-1, 1, 1, rows.shape[-1])
