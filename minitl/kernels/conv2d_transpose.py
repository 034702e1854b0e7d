"""Transposed convolution by the engine's convolution; the mathematics is in `minitl.ops.conv2d_transpose`."""

from __future__ import annotations

import numpy as np

from minitl.kernels import convolution
from minitl.kernels.arrays import common_dtype, contiguous
from minitl.kernels.recording import also
from minitl.kernels.row_sums import sum_rows
from minitl.ops.conv2d_transpose import placed
from minitl.ops.window import Pair, check_shape


def forward(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None = None,
    strides: Pair = (1, 1),
    padding: str = "valid",
    output_padding: Pair | None = None,
) -> tuple[np.ndarray, tuple]:
    """y = what the convolution from y to x would hand back for x, + bias."""
    shape, of_y = placed(x.shape, kernel.shape, None if bias is None else bias.shape, strides, padding, output_padding)
    stand_in = np.broadcast_to(np.zeros((), common_dtype(x, kernel)), shape)
    y, _, _ = convolution.backward(x, (stand_in, kernel, None, strides, of_y), need_dparameters=False)
    assert y is not None
    if bias is not None:
        also(np.add, y, bias, y)
    return y, (x, kernel, bias, strides, of_y, shape)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dkernel and dbias, by the convolution of dy; what is not needed is None."""
    x, kernel, bias, strides, of_y, shape = cache
    check_shape("conv2d_transpose", "dy", dy.shape, shape)
    dx = dkernel = dbias = None
    if need_dx:
        dx = convolution.convolve(dy, kernel, None, strides, of_y, relu=False)
    if need_dparameters:
        _, dkernel, _ = convolution.backward(x, (dy, kernel, None, strides, of_y), need_dx=False)
        dbias = None if bias is None else sum_rows(contiguous(dy, common_dtype(x, kernel)))
    return dx, dkernel, dbias
