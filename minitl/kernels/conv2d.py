"""Convolution with its groups, and dilated ones of large images; the mathematics is in `minitl.ops.conv2d`.

Groups are convolutions of parts of the channels. With dilation d, pixels that are not a multiple of d apart never meet: the image
falls apart into d_h d_w smaller ones, each a plain convolution. That is done where Winograd's suits those; otherwise the window
has gaps (`window_product`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minitl.kernels import convolution, winograd
from minitl.kernels.arrays import common_dtype, contiguous
from minitl.kernels.row_sums import sum_rows
from minitl.ops.window import Axis, Pair, check_shape, pad2d

LEAST_PHASE = 12  # pixels along both axes of the smaller images, from which on they pay


def forward(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None = None,
    strides: Pair = (1, 1),
    padding: str = "valid",
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> tuple[np.ndarray, tuple]:
    """y = the window's product with the kernel, at every pixel, + bias."""
    cache = x, kernel, bias, strides, padding, dilation, groups
    phases, gaps = _phases_and_gaps(x, kernel, strides, padding, dilation, groups)
    if phases == (1, 1) and groups == 1:
        return convolution.convolve(x, kernel, bias, strides, padding, relu=False, dilation=gaps), cache
    biases = None if bias is None else bias.shape
    rows, columns = convolution.geometry(x.shape, kernel.shape, biases, strides, padding, dilation, groups)
    y = np.zeros((len(x), rows.out, columns.out, kernel.shape[3]), common_dtype(x, kernel))
    for part, filters in _groups(kernel.shape, groups):
        own = None if bias is None else bias[filters]
        for seen, out, _ in _phases(pad2d(x[..., part], rows, columns), kernel.shape, phases, rows, columns):
            y[:, out[0], out[1], filters] = convolution.convolve(
                seen, kernel[..., filters], own, strides, "valid", relu=False, dilation=gaps
            )
    return y, cache


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dkernel and dbias; what is not needed is None."""
    x, kernel, bias, strides, padding, dilation, groups = cache
    phases, gaps = _phases_and_gaps(x, kernel, strides, padding, dilation, groups)
    if phases == (1, 1) and groups == 1:
        return convolution.backward(dy, cache[:5], need_dx, need_dparameters, gaps)
    rows, columns = convolution.geometry(x.shape, kernel.shape, None, strides, padding, dilation, groups)
    check_shape("conv2d", "dy", dy.shape, (len(x), rows.out, columns.out, kernel.shape[3]))
    dtype = common_dtype(x, kernel)
    height, width = (axis.before + n + axis.after for axis, n in zip((rows, columns), x.shape[1:3], strict=True))
    dx_pad = np.zeros((len(x), height, width, x.shape[3]), dtype) if need_dx else None
    dkernel = np.zeros(kernel.shape, dtype) if need_dparameters else None
    for part, filters in _groups(kernel.shape, groups):
        for seen, out, at in _phases(pad2d(x[..., part], rows, columns), kernel.shape, phases, rows, columns):
            plain = (seen, kernel[..., filters], None, strides, "valid")
            d_seen, d_part, _ = convolution.backward(dy[:, out[0], out[1], filters], plain, need_dx, need_dparameters, gaps)
            if dx_pad is not None:
                dx_pad[:, at[0], at[1], part][:, : seen.shape[1], : seen.shape[2]] += d_seen
            if dkernel is not None:
                dkernel[..., filters] += d_part
    dbias = None if bias is None or not need_dparameters else sum_rows(contiguous(dy, dtype))
    if dx_pad is not None:
        dx_pad = dx_pad[:, rows.before : rows.before + x.shape[1], columns.before : columns.before + x.shape[2]]
    return dx_pad, dkernel, dbias


def _phases_and_gaps(
    x: np.ndarray, kernel: np.ndarray, strides: Pair, padding: str, dilation: Pair, groups: int
) -> tuple[Pair, Pair]:
    """The dilation, either as the number of smaller images along each axis, or as the gaps of the window."""
    if dilation == (1, 1):
        return dilation, dilation
    rows, columns = convolution.geometry(x.shape, kernel.shape, None, strides, padding, dilation, groups)
    smaller = rows.out // dilation[0], columns.out // dilation[1]
    part = *kernel.shape[:3], kernel.shape[3] // groups
    if min(smaller) >= LEAST_PHASE and winograd.suits(part, strides, smaller, kernel.dtype):
        return dilation, (1, 1)
    return (1, 1), dilation


def _groups(kernel: tuple[int, ...], groups: int) -> Iterator[tuple[slice, slice]]:
    """The channels of x and the filters of every group."""
    channels, filters = kernel[2], kernel[3] // groups
    for g in range(groups):
        yield slice(g * channels, (g + 1) * channels), slice(g * filters, (g + 1) * filters)


def _phases(
    x_pad: np.ndarray, kernel: tuple[int, ...], dilation: Pair, rows: Axis, columns: Axis
) -> Iterator[tuple[np.ndarray, tuple[slice, slice], tuple[slice, slice]]]:
    """The smaller images that padded images fall apart into, the outputs that they make, and where they come from."""
    for p in range(min(dilation[0], rows.out)):
        for q in range(min(dilation[1], columns.out)):
            at = slice(p, None, dilation[0]), slice(q, None, dilation[1])
            out = slice(p, rows.out, dilation[0]), slice(q, columns.out, dilation[1])
            seen = contiguous(x_pad[:, at[0], at[1]], x_pad.dtype)
            if dilation != (1, 1):  # pixels behind the last window
                count = [len(range(o.start, o.stop, o.step)) for o in out]
                seen = seen[:, : count[0] + kernel[0] - 1, : count[1] + kernel[1] - 1]
            yield seen, out, at
