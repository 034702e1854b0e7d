"""Transposed convolution: a convolution's backward pass as a forward pass; it makes images larger.

A convolution from y to x hands the gradient of its outputs back to its inputs. Taken as a layer of its own, with x in the place
of that gradient, every pixel of x paints its kernel onto y:

    y_pad[n, s_h i + a, s_w j + b, f] += sum_c x[n, i, j, c] kernel[a, b, f, c]

and its gradient is the convolution itself: dx is dy convolved with the kernel, dkernel that of the convolution.
Shapes: x (N, H, W, C), kernel (K_h, K_w, F, C), bias (F,) or None; y (N, s_h H, s_w W, F) for `same`, for `valid` larger by K - s
where positive; with `output_padding`, below s, that many more than the painted s (H - 1) + K, less 2 (K // 2) for `same`.
Source: V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning, arXiv 1603.07285, chapter 4.
"""

import numpy as np

from minitl.ops import conv2d
from minitl.ops.window import Padding, Pair, check_images, check_shape


def forward(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None = None, strides: Pair = (1, 1), padding: str = "valid",
    output_padding: Pair | None = None,
) -> tuple[np.ndarray, tuple]:  # fmt: skip
    """y = what the convolution from y to x would hand back for x, + bias."""
    shape, of_y = placed(x.shape, kernel.shape, None if bias is None else bias.shape, strides, padding, output_padding)
    stand_in = np.broadcast_to(np.zeros((), x.dtype), shape)
    y: np.ndarray = conv2d.backward(x, (stand_in, kernel, None, strides, of_y, (1, 1), 1), need_dparameters=False)[0]  # type: ignore[assignment]
    return y if bias is None else y + bias, (x, kernel, bias, strides, of_y, shape)


def backward(dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True) -> tuple[np.ndarray | None, ...]:
    """dx, dkernel and dbias, by the convolution of dy; what is not needed is None."""
    x, kernel, bias, strides, of_y, shape = cache
    check_shape("conv2d_transpose", "dy", dy.shape, shape)
    dx = conv2d.forward(dy, kernel, None, strides, of_y)[0] if need_dx else None
    dkernel = conv2d.backward(x, (dy, kernel, None, strides, of_y, (1, 1), 1), need_dx=False)[1] if need_dparameters else None
    dbias = dy.sum(axis=(0, 1, 2)) if need_dparameters and bias is not None else None
    return dx, dkernel, dbias


def placed(x: tuple, kernel: tuple, bias: tuple | None, strides: Pair, padding: str, more: Pair | None) -> tuple[tuple, Padding]:
    """The shape of y, and the padding of the convolution from y to x. Raise ValueError unless the shapes belong together."""
    check_images("conv2d_transpose", x)
    if len(kernel) != 4 or kernel[3] != x[3]:
        raise ValueError(f"conv2d_transpose: kernel must be (K_h, K_w, F, {x[3]}) for x {x}, got {kernel}")
    check_shape("conv2d_transpose", "bias", kernel[2:3] if bias is None else bias, kernel[2:3])
    (top, bottom), (left, right) = (beyond(*one, padding) for one in zip(kernel[:2], strides, more or (None, None), strict=True))
    height, width = (x[1] - 1) * strides[0] + kernel[0] - top - bottom, (x[2] - 1) * strides[1] + kernel[1] - left - right
    if min(height, width) < 1:
        raise ValueError(f"conv2d_transpose: nothing is left of x {x} with padding {padding!r} and output_padding {more}")
    return (x[0], height, width, kernel[2]), padding if more is None else ((top, max(bottom, 0)), (left, max(right, 0)))


def beyond(window: int, stride: int, more: int | None, padding: str) -> Pair:
    """How much of what is painted lies in front of y and behind it, along one axis; below 0 where y reaches further."""
    if more is not None and not 0 <= more < stride:
        raise ValueError(f"output_padding must be at least 0 and below the stride, {stride}, got {more}")
    without = window - stride if padding == "same" else min(window - stride, 0)
    total = without if more is None else (window // 2 * 2 if padding == "same" else 0) - more
    return max(total, 0) // 2, total - max(total, 0) // 2
