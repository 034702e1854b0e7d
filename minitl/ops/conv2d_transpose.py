"""Transposed convolution: a convolution's backward pass as a forward pass; it makes images larger.

A convolution from y to x hands the gradient of its outputs back to its inputs. Taken as a layer of its own, with x in the place
of that gradient, every pixel of x paints its kernel onto y:

    y_pad[n, s_h i + a, s_w j + b, f] += sum_c x[n, i, j, c] kernel[a, b, f, c]

and its gradient is the convolution itself: dx is dy convolved with the kernel, dkernel that of the convolution.
Shapes: x (N, H, W, C), kernel (K_h, K_w, F, C), bias (F,) or None; y (N, s_h H, s_w W, F) for `same` padding, for `valid`
(N, s_h H + max(K_h - s_h, 0), ...).
Source: V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning, arXiv 1603.07285, chapter 4.
"""

import numpy as np

from minitl.ops import conv2d
from minitl.ops.window import Pair, check_images, check_shape


def forward(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None = None, strides: Pair = (1, 1), padding: str = "valid"
) -> tuple[np.ndarray, tuple]:
    """y = what the convolution from y to x would hand back for x, + bias."""
    shape = output_shape(x.shape, kernel.shape, None if bias is None else bias.shape, strides, padding)
    stand_in = np.broadcast_to(np.zeros((), x.dtype), shape)
    y: np.ndarray = conv2d.backward(x, (stand_in, kernel, None, strides, padding, (1, 1), 1), need_dparameters=False)[0]  # type: ignore[assignment]
    return y if bias is None else y + bias, (x, kernel, bias, strides, padding)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dkernel and dbias, by the convolution of dy; what is not needed is None."""
    x, kernel, bias, strides, padding = cache
    check_shape("conv2d_transpose", "dy", dy.shape, output_shape(x.shape, kernel.shape, None, strides, padding))
    dx = dkernel = dbias = None
    if need_dx:
        dx, _ = conv2d.forward(dy, kernel, None, strides, padding)
    if need_dparameters:
        _, dkernel, _ = conv2d.backward(x, (dy, kernel, None, strides, padding, (1, 1), 1), need_dx=False)
        dbias = None if bias is None else dy.sum(axis=(0, 1, 2))
    return dx, dkernel, dbias


def output_shape(
    x: tuple[int, ...], kernel: tuple[int, ...], bias: tuple[int, ...] | None, strides: Pair, padding: str
) -> tuple[int, int, int, int]:
    """The shape of y. Raise ValueError unless the shapes belong together."""
    check_images("conv2d_transpose", x)
    if len(kernel) != 4 or kernel[3] != x[3]:
        raise ValueError(f"conv2d_transpose: kernel must be (K_h, K_w, F, {x[3]}) for x {x}, got {kernel}")
    if bias is not None:
        check_shape("conv2d_transpose", "bias", bias, kernel[2:3])
    more = [0 if padding == "same" else max(k - s, 0) for k, s in zip(kernel[:2], strides, strict=True)]
    return x[0], x[1] * strides[0] + more[0], x[2] * strides[1] + more[1], kernel[2]
