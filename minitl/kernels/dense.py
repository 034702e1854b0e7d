"""Dense layers as convolutions of 1x1 images; the mathematics is in `minitl.ops.dense`."""

from __future__ import annotations

import numpy as np

from minitl.kernels import conv2d
from minitl.ops.dense import check
from minitl.ops.window import check_shape


def forward(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None = None) -> tuple[np.ndarray, tuple]:
    """y = x W + b."""
    check(x, kernel, bias)
    y, _ = conv2d.forward(_as_images(x), kernel[None, None], bias)
    return y.reshape(*x.shape[:-1], kernel.shape[1]), (x, kernel, bias)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx = dy W^T, dW = x^T dy, db = sum of dy over the samples; what is not needed is None."""
    x, kernel, bias = cache
    check_shape("dense", "dy", dy, (*x.shape[:-1], kernel.shape[1]))
    as_convolution = (_as_images(x), kernel[None, None], bias, (1, 1), "valid")
    dx, dkernel, dbias = conv2d.backward(_as_images(dy), as_convolution, need_dx, need_dparameters)
    dx = None if dx is None else dx.reshape(x.shape)
    return dx, None if dkernel is None else dkernel[0, 0], dbias


def _as_images(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, 1, 1, rows.shape[-1])
