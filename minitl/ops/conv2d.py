"""Convolution: the same small dense layer at every place of the image.

With x_pad the padded image, a and b the offsets inside the kernel, and strides s_h, s_w:

    y[n, i, j, f] = sum_{a, b, c} x_pad[n, s_h i + a, s_w j + b, c] kernel[a, b, c, f] + bias[f]

(As everywhere in this field the kernel is not flipped: this is a cross-correlation.)

Hold one offset (a, b) still. What is left is a dense layer over the channels, applied to the image shifted by
(a, b): y += shifted(a, b) @ kernel[a, b]. So forward is a loop over K_h K_w offsets, and backward is the dense
layer's backward, once an offset:

    dkernel[a, b, c, f] = sum_{n, i, j} x_pad[n, s_h i + a, s_w j + b, c] dy[n, i, j, f]
    dx_pad[n, s_h i + a, s_w j + b, c] += sum_f dy[n, i, j, f] kernel[a, b, c, f]
    dbias[f] = sum_{n, i, j} dy[n, i, j, f]

dx adds up: a pixel was seen through several offsets, and receives a gradient from each.

With dilation d the offsets are (d_h a, d_w b): the kernel sees further with as many entries. With G groups the channels and
filters are cut into G parts, and each part of the filters sees its part of the channels.

Shapes: x (N, H, W, C), kernel (K_h, K_w, C / G, F), bias (F,) or None, y (N, H_out, W_out, F), see `window`.
Source: Goodfellow, Bengio and Courville, Deep Learning, section 9.5; LeCun et al., 1998.
"""

import numpy as np

from minitl.ops.window import Axis, Padding, Pair, check_images, check_shape, pad2d, reach, shifted, slide2d


def forward(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None = None, strides: Pair = (1, 1), padding: str = "valid",
    dilation: Pair = (1, 1), groups: int = 1,
) -> tuple[np.ndarray, tuple]:  # fmt: skip
    """y = sum over the offsets of shifted(a, b) @ kernel[a, b], + bias."""
    rows, columns = check(x.shape, kernel.shape, None if bias is None else bias.shape, strides, padding, dilation, groups)
    cache = x, kernel, bias, strides, padding, dilation, groups
    if groups > 1:
        parts = zip(*(np.split(array, groups, axis=3) for array in (x, kernel)), strict=True)
        y = np.concatenate([forward(a, b, None, strides, padding, dilation)[0] for a, b in parts], axis=3)
        return y if bias is None else y + bias, cache
    x_pad = pad2d(x, rows, columns)
    y = np.zeros((len(x), rows.out, columns.out, kernel.shape[3]), np.result_type(x, kernel))
    for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            y += shifted(x_pad, a * dilation[0], b * dilation[1], rows, columns, strides) @ kernel[a, b]
    if bias is not None:
        y += bias
    return y, cache


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dkernel and dbias, offset by offset; what is not needed is None."""
    x, kernel, bias, strides, padding, dilation, groups = cache
    rows, columns = slide2d(x.shape, reach(kernel.shape, dilation), strides, padding)
    check_shape("conv2d", "dy", dy.shape, (len(x), rows.out, columns.out, kernel.shape[3]))
    dbias = dy.sum(axis=(0, 1, 2)) if need_dparameters and bias is not None else None
    if groups > 1:
        parts = zip(*(np.split(array, groups, axis=3) for array in (dy, x, kernel)), strict=True)
        done = [backward(d, (a, b, None, *cache[3:6], 1), need_dx, need_dparameters) for d, a, b in parts]
        dx, dkernel = (None if part[0] is None else np.concatenate(part, axis=3) for part in list(zip(*done, strict=True))[:2])
        return dx, dkernel, dbias
    x_pad = pad2d(x, rows, columns)
    dx_pad = np.zeros(x_pad.shape, dy.dtype) if need_dx else None
    dkernel = np.zeros(kernel.shape, dy.dtype) if need_dparameters else None
    for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            at = a * dilation[0], b * dilation[1]
            if dx_pad is not None:
                seen = shifted(dx_pad, *at, rows, columns, strides)
                seen += dy @ kernel[a, b].T
            if dkernel is not None:
                dkernel[a, b] = np.tensordot(shifted(x_pad, *at, rows, columns, strides), dy, axes=([0, 1, 2],) * 2)
    dx = None
    if dx_pad is not None:
        dx = dx_pad[:, rows.before : rows.before + x.shape[1], columns.before : columns.before + x.shape[2]]
    return dx, dkernel, dbias


def check(
    x: tuple[int, ...], kernel: tuple[int, ...], bias: tuple[int, ...] | None, strides: Pair, padding: Padding,
    dilation: Pair = (1, 1), groups: int = 1,
) -> tuple[Axis, Axis]:  # fmt: skip
    """Raise ValueError unless these shapes belong together; return how the kernel slides."""
    check_images("conv2d", x)
    if len(kernel) != 4 or kernel[2] * groups != x[3] or kernel[3] % groups:
        raise ValueError(f"conv2d: kernel must be (K_h, K_w, {x[3]} / {groups}, F) for x {x} in {groups} groups, got {kernel}")
    if bias is not None:
        check_shape("conv2d", "bias", bias, kernel[3:])
    return slide2d(x, reach(kernel, dilation), strides, padding)
