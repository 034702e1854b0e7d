"""Depthwise convolution: every channel has kernels of its own, and channels do not mix.

    y[n, i, j, c M + m] = sum_{a, b} x_pad[n, s_h i + d_h a, s_w j + d_w b, c] kernel[a, b, c, m] + bias[c M + m]

Offset by offset, as in `conv2d`, but the dense layer over the channels is a product entry by entry:

    dkernel[a, b, c, m] = sum_{n, i, j} x_pad[...] dy[n, i, j, c M + m]
    dx_pad[...] += sum_m dy[n, i, j, c M + m] kernel[a, b, c, m]

Shapes: x (N, H, W, C), kernel (K_h, K_w, C, M), bias (C M,) or None, y (N, H_out, W_out, C M), see `window`.
Source: A. Howard et al., MobileNets, arXiv 1704.04861.
"""

import numpy as np

from minitl.ops import conv2d
from minitl.ops.window import Padding, Pair, check_shape, pad2d, shifted


def forward(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None = None, strides: Pair = (1, 1), padding: Padding = "valid",
    dilation: Pair = (1, 1),
) -> tuple[np.ndarray, tuple]:  # fmt: skip
    """y = sum over the offsets of shifted(a, b) times kernel[a, b], + bias."""
    rows, columns = conv2d.check(
        x.shape, as_groups(kernel), None if bias is None else bias.shape, strides, padding, dilation, x.shape[-1]
    )
    x_pad = pad2d(x, rows, columns)[..., None]
    y = np.zeros((len(x), rows.out, columns.out, *kernel.shape[2:]), np.result_type(x, kernel))
    for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            y += shifted(x_pad, a * dilation[0], b * dilation[1], rows, columns, strides) * kernel[a, b]
    y = y.reshape(*y.shape[:3], y.shape[3] * y.shape[4])
    if bias is not None:
        y += bias
    return y, (x, kernel, bias, strides, padding, dilation)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dkernel and dbias, offset by offset; what is not needed is None."""
    x, kernel, bias, strides, padding, dilation = cache
    rows, columns = conv2d.check(x.shape, as_groups(kernel), None, strides, padding, dilation, x.shape[-1])
    channels, multiplier = kernel.shape[2:]
    check_shape("depthwise_conv2d", "dy", dy.shape, (len(x), rows.out, columns.out, channels * multiplier))
    parts = dy.reshape(*dy.shape[:3], channels, multiplier)
    x_pad = pad2d(x, rows, columns)[..., None]
    dx_pad, dkernel = np.zeros(x_pad.shape, dy.dtype), np.zeros(kernel.shape, dy.dtype)
    for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            at = a * dilation[0], b * dilation[1]
            if need_dx:
                seen = shifted(dx_pad, *at, rows, columns, strides)
                seen += (parts * kernel[a, b]).sum(axis=-1, keepdims=True)
            if need_dparameters:
                dkernel[a, b] = (shifted(x_pad, *at, rows, columns, strides) * parts).sum(axis=(0, 1, 2))
    dbias = dy.sum(axis=(0, 1, 2)) if need_dparameters and bias is not None else None
    dx = dx_pad[:, rows.before : rows.before + x.shape[1], columns.before : columns.before + x.shape[2], :, 0]
    return dx if need_dx else None, dkernel if need_dparameters else None, dbias


def as_groups(kernel: np.ndarray) -> tuple[int, int, int, int]:
    """The kernel's shape as that of a convolution in which every channel is a group."""
    return *kernel.shape[:2], 1, kernel.shape[2] * kernel.shape[3]
