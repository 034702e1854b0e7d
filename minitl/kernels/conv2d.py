"""Convolution as three products of `simd`; the mathematics is in `minitl.ops.conv2d`.

Forward         rows: output pixels, some images together when they are small. k runs over the window: K_h runs of
                K_w C neighbours in memory.
dkernel         rows: the K_h K_w C entries of the kernel. k runs over images, rows and columns of dy. A small kernel
                has too few rows to share among threads, so the batch is cut into slices, each with sums of its own,
                added in a fixed order.
dx              rows: the same pixel of several images, since all of them see the same part of the kernel: at the
                image's border the window is cut exactly, and nothing is multiplied by padding. k runs over the
                outputs that saw this pixel. The kernel is turned around first (`_turn`).
dbias           a sum over all pixels, in slices.

A dense layer is a convolution of 1x1 images, and `kernels.dense` calls the functions here.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import prange

from minitl.kernels import memory
from minitl.kernels.jit import common_dtype, flat, jit
from minitl.kernels.multiply import multiply, transpose
from minitl.kernels.simd import ROWS, pad_columns, product, ready, whole_vectors
from minitl.ops.conv2d import check
from minitl.ops.window import Axis, Pair, check_shape, slide2d

TASKS = 16  # enough pieces of work to share evenly, few enough to cost nothing
CACHED = 1 << 18  # bytes that stay in a core's level-2 cache beside everything else


def forward(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None = None, strides: Pair = (1, 1), padding: str = "valid"
) -> tuple[np.ndarray, tuple]:
    """y = the window's product with the kernel, at every pixel, + bias."""
    return convolve(x, kernel, bias, strides, padding, -np.inf), (x, kernel, bias, strides, padding)


def convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, strides: Pair, padding: str, floor: float) -> np.ndarray:
    """max(floor, convolution + bias): the maximum is taken while the tile is in the registers."""
    rows, columns = check(x, kernel, bias, strides, padding)
    filters = kernel.shape[3]
    if is_product(kernel.shape, strides):
        dtype = common_dtype(x, kernel)
        start = np.zeros(filters, dtype) if bias is None else flat(bias, dtype)
        pixels = flat(x, dtype).reshape(-1, x.shape[3])
        return multiply(pixels, flat(kernel, dtype).reshape(kernel.shape[2:]), start, floor).reshape(*x.shape[:3], filters)
    x_pad, weights, start = prepare(x, kernel, bias, rows, columns)
    images, height, width, channels = x_pad.shape
    y = memory.empty((images, rows.out, columns.out, filters), x_pad.dtype)
    together = max(1, 64 // (rows.out * columns.out))  # small images share tiles
    pixels = window_places(together, height * width * channels, rows.out, columns.out, strides, width, channels)
    chunks = -(-TASKS * together // images) if images < TASKS * together else 1
    _forward(
        x_pad.reshape(-1), pixels, weights.reshape(-1), *window_counters(kernel.shape, x_pad.shape, weights.shape),
        start, x_pad.dtype.type(floor), y.reshape(-1), offsets(len(pixels), filters), filters, images * rows.out * columns.out,
        height * width * channels * together, chunks,
    )  # fmt: skip
    return y


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dkernel and dbias; what is not needed is None."""
    x, kernel, bias, strides, padding = cache
    rows, columns = slide2d(x, kernel.shape[:2], strides, padding)
    check_shape("conv2d", "dy", dy, (len(x), rows.out, columns.out, kernel.shape[3]))
    dtype = common_dtype(x, kernel)
    ready(dtype)
    dy = np.ascontiguousarray(dy, dtype)
    dx = dkernel = dbias = None
    if need_dx:
        dx = input_gradient(dy, np.asarray(kernel, dtype), x.shape, strides, rows, columns)
    if need_dparameters:
        x_pad = pad2d(np.ascontiguousarray(x, dtype), rows, columns)
        dkernel = kernel_gradient(x_pad, pad_columns(dy), kernel.shape, strides)
        dbias = None if bias is None else sum_rows(dy)
    return dx, dkernel, dbias


def prepare(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, rows: Axis, columns: Axis
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The padded images, the kernel in whole vectors, and where sums begin; contiguous and of one dtype."""
    dtype = common_dtype(x, kernel)
    ready(dtype)
    x_pad = pad2d(np.ascontiguousarray(x, dtype), rows, columns)
    start = np.zeros(kernel.shape[3], dtype) if bias is None else flat(bias, dtype)
    return x_pad, pad_columns(np.asarray(kernel, dtype)), start


def window_counters(kernel: tuple[int, ...], x_pad: tuple[int, ...], weights: tuple[int, ...]) -> tuple[tuple, tuple]:
    """How k runs over a window, from the three shapes: its rows, and within a row K_w C neighbours in memory."""
    run = kernel[1] * x_pad[3]
    return (kernel[0], x_pad[2] * x_pad[3], run * weights[3]), (run, 1, weights[3])


@functools.lru_cache(maxsize=256)
def offsets(count: int, step: int) -> np.ndarray:
    """0, step, 2 step, ...: where rows of equal length begin. Kept, since small batches would notice making it."""
    return np.arange(count) * step


@functools.lru_cache(maxsize=256)
def window_places(together: int, image: int, height: int, width: int, strides: Pair, row: int, channels: int) -> np.ndarray:
    """Where the windows of all output pixels of some images begin, as offsets in x_pad."""
    in_image = (np.arange(height)[:, None] * strides[0] * row + np.arange(width) * strides[1]) * channels
    return (np.arange(together)[:, None] * image + in_image.reshape(-1)).reshape(-1)


def kernel_gradient(x_pad: np.ndarray, dy: np.ndarray, shape: tuple[int, ...], strides: Pair) -> np.ndarray:
    """dkernel (K_h, K_w, C, F) from the padded images and dy, whose channels fill whole vectors; both of one dtype."""
    images, height, width, channels = x_pad.shape
    entries = shape[0] * shape[1] * channels
    entry_rows = _entry_places(shape[0], shape[1], channels, width)
    wide = dy.shape[3]
    tiles = -(-entries // ROWS)
    slices = min(images, -(-TASKS // tiles))
    block = max(1, CACHED // (x_pad[0].nbytes + dy[0].nbytes))
    sums = memory.empty((slices, entries, shape[3]), dy.dtype)
    _kernel_gradient(
        x_pad.reshape(-1), entry_rows, offsets(entries, shape[3]), np.zeros(shape[3], dy.dtype), dy.reshape(-1),
        (height * width * channels, strides[0] * width * channels, strides[1] * channels),
        (dy.shape[1] * dy.shape[2] * wide, dy.shape[2] * wide, wide), dy.shape[:3], shape[3],
        slices, min(tiles, TASKS), block, sums.reshape(-1),
    )  # fmt: skip
    return (sums[0] if slices == 1 else sums.sum(axis=0)).reshape(shape)


@functools.lru_cache(maxsize=256)
def _entry_places(k_h: int, k_w: int, channels: int, width: int) -> np.ndarray:
    """Where in a window each entry of the kernel lies, as offsets in x_pad."""
    window_rows = (np.arange(k_h)[:, None] * width + np.arange(k_w)) * channels
    return (window_rows[:, :, None] + np.arange(channels)).reshape(-1)


def input_gradient(
    dy: np.ndarray, kernel: np.ndarray, shape: tuple[int, ...], strides: Pair, rows: Axis, columns: Axis
) -> np.ndarray:
    """dx (N, H, W, C) from dy, of the kernel's dtype, whose channels may be followed by others that do not count."""
    if is_product(kernel.shape, strides):
        return _product_gradient(dy, kernel[0, 0], shape)
    turned = _turn(kernel, strides)
    dx = memory.empty(shape, dy.dtype)
    together = min(shape[0], max(ROWS, CACHED // dy[0].nbytes // ROWS * ROWS))
    groups = -(-shape[0] // together)
    _input_gradient(
        dy.reshape(-1), offsets(len(dy), dy[0].size), dy.shape[1:], turned.reshape(-1), turned.shape,
        kernel.shape[:2], strides, rows.before, columns.before, groups, np.zeros(shape[3], dy.dtype),
        dx.reshape(-1), offsets(len(dx), dx[0].size), shape,
    )  # fmt: skip
    return dx


def is_product(kernel: tuple[int, ...], strides: Pair) -> bool:
    """Whether the convolution is one product of matrices: a 1x1 kernel at every pixel."""
    return kernel[:2] == (1, 1) and strides == (1, 1)


def _product_gradient(dy: np.ndarray, kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """dx = dy W^T; with few samples and a large W as (W dy^T)^T, which turns the smaller matrices around."""
    channels, filters = kernel.shape
    rows = dy.reshape(-1, dy.shape[3])[:, :filters]
    kernel = np.ascontiguousarray(kernel)
    if len(rows) * (channels + filters) < channels * filters:
        dx = transpose(multiply(kernel, transpose(rows), np.zeros(len(rows), dy.dtype), -np.inf))
    else:
        dx = multiply(np.ascontiguousarray(rows), transpose(kernel), np.zeros(channels, dy.dtype), -np.inf)
    return dx.reshape(shape)


def sum_rows(dy: np.ndarray) -> np.ndarray:
    """The sum over all axes but the last, in slices of fixed size."""
    rows = dy.reshape(-1, dy.shape[-1])
    if rows.size < 1 << 15:
        return rows.sum(axis=0)
    sums = memory.zeros((-(-len(rows) // 256), dy.shape[-1]), dy.dtype)
    _sum_rows(rows, sums)
    return sums.sum(axis=0)


def pad2d(x: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """`minitl.ops.window.pad2d` with zeros; the images themselves where there is nothing to add."""
    if not (rows.before or rows.after or columns.before or columns.after):
        return x
    images, height, width, channels = x.shape
    shape = (images, height + rows.before + rows.after, width + columns.before + columns.after, channels)
    padded = memory.empty(shape, x.dtype)
    _pad2d(x, padded, rows.before, columns.before)
    return padded


def _turn(kernel: np.ndarray, strides: Pair) -> np.ndarray:
    """The kernel as a pixel of x sees it, from the outputs that saw the pixel: last offset first, channels exchanged.

    With stride s a pixel i meets only the offsets a = i mod s, i mod s + s, ...: one phase of the kernel.
    Shapes: (K_h, K_w, C, F) to (s_h, s_w, ceil(K_h / s_h), ceil(K_w / s_w), F, C in whole vectors).
    """
    k_h, k_w, channels, filters = kernel.shape
    turns = -(-k_h // strides[0]), -(-k_w // strides[1])
    wide = whole_vectors(channels, kernel.dtype)
    full = channels == wide and k_h % strides[0] == 0 and k_w % strides[1] == 0
    turned = (memory.empty if full else memory.zeros)((*strides, *turns, filters, wide), kernel.dtype)
    _turn_around(np.ascontiguousarray(kernel), turned)
    return turned


@jit(parallel=True)
def _forward(x, pixels, weights, over_rows, over_run, start, floor, y, y_rows, filters, outputs, x_group, chunks):
    group = len(pixels)
    groups = -(-outputs // group)
    for task in prange(groups * chunks):
        g, chunk = task // chunks, task % chunks
        here = min(group, outputs - g * group)
        first, last = chunk * here // chunks, (chunk + 1) * here // chunks
        if last > first:
            product(
                x, g * x_group, pixels[first:last], weights, 0, 1, ((1, 0, 0), over_rows, over_run), start, 0, 0,
                y, g * group * filters, y_rows[first:last], filters, floor,
            )  # fmt: skip


@jit(parallel=True)
def _kernel_gradient(x, entry_rows, sum_offsets, zeros, dy, x_steps, dy_steps, extents, filters, slices, chunks, block, sums):
    images, height, width = extents
    entries = len(entry_rows)
    floor = x.dtype.type(-np.inf)
    for task in prange(slices * chunks):
        s, chunk = task // chunks, task % chunks
        first, last = chunk * entries // chunks, (chunk + 1) * entries // chunks
        begin, end = s * images // slices, (s + 1) * images // slices
        sum_at = s * entries * filters
        for n in range(begin, end, block):
            counters = (
                (min(block, end - n), x_steps[0], dy_steps[0]),
                (height, x_steps[1], dy_steps[1]),
                (width, x_steps[2], dy_steps[2]),
            )
            at = n * x_steps[0], n * dy_steps[0]
            rows, targets = entry_rows[first:last], sum_offsets[first:last]
            if n == begin:
                product(x, at[0], rows, dy, at[1], 1, counters, zeros, 0, 0, sums, sum_at, targets, filters, floor)
            else:
                product(
                    x, at[0], rows, dy, at[1], 1, counters, sums, sum_at + first * filters, filters,
                    sums, sum_at, targets, filters, floor,
                )  # fmt: skip


@jit(parallel=True)
def _input_gradient(
    dy, dy_rows, dy_shape, turned, turned_shape, window, strides, before_h, before_w, groups, zeros, dx, dx_rows, shape
):  # fmt: skip
    images, height, width, channels = shape
    out_h, out_w, dy_wide = dy_shape
    _, phases_w, turns_h, turns_w, filters, wide = turned_shape
    floor = dy.dtype.type(-np.inf)
    for task in prange(groups * height):
        g, i = task // height, task % height
        first, last = g * images // groups, (g + 1) * images // groups
        phase_h, from_h, to_h, turn_h = _who_saw(i + before_h, window[0], strides[0], turns_h, out_h)
        for j in range(width):
            phase_w, from_w, to_w, turn_w = _who_saw(j + before_w, window[1], strides[1], turns_w, out_w)
            at = (i * width + j) * channels
            if to_h <= from_h or to_w <= from_w:
                for n in range(first, last):
                    dx[dx_rows[n] + at : dx_rows[n] + at + channels] = 0
                continue
            turned_at = (((phase_h * phases_w + phase_w) * turns_h + turn_h) * turns_w + turn_w) * filters * wide
            over_rows = (to_h - from_h, out_w * dy_wide, turns_w * filters * wide)
            if dy_wide == filters:  # the outputs of a row are neighbours in memory
                counters = ((1, 0, 0), over_rows, ((to_w - from_w) * filters, 1, wide))
            else:
                counters = (over_rows, (to_w - from_w, dy_wide, filters * wide), (filters, 1, wide))
            product(
                dy, (from_h * out_w + from_w) * dy_wide, dy_rows[first:last], turned, turned_at, 1, counters,
                zeros, 0, 0, dx, at, dx_rows[first:last], channels, floor,
            )  # fmt: skip


@jit(parallel=True)
def _turn_around(kernel, turned):
    k_h, k_w, channels, filters = kernel.shape
    strides_h, strides_w, turns_h, turns_w = turned.shape[:4]
    blocks = -(-filters // 16)
    for task in prange(k_h * k_w * blocks):
        a, b, first = task // blocks // k_w, task // blocks % k_w, task % blocks * 16
        place = turned[a % strides_h, b % strides_w, turns_h - 1 - a // strides_h, turns_w - 1 - b // strides_w]
        for c in range(channels):
            for f in range(first, min(first + 16, filters)):
                place[f, c] = kernel[a, b, c, f]


@jit()
def _who_saw(i, window, stride, turns, out):
    """Along one axis: the phase of padded pixel i, the outputs [first, last) that saw it, and the first one's turn."""
    phase = i % stride
    offsets = (window - phase + stride - 1) // stride
    first, last = max(i // stride - offsets + 1, 0), min(i // stride, out - 1) + 1
    return phase, first, last, turns - 1 - (i // stride - first)


@jit(parallel=True)
def _sum_rows(rows, sums):
    for s in prange(len(sums)):
        for r in range(s * 256, min((s + 1) * 256, len(rows))):
            for f in range(rows.shape[1]):
                sums[s, f] += rows[r, f]


@jit(parallel=True)
def _pad2d(x, padded, before_h, before_w):
    images, height, width, _ = x.shape
    for n in prange(images):
        padded[n, :before_h] = 0
        padded[n, before_h + height :] = 0
        for i in range(height):
            row = padded[n, before_h + i]
            row[:before_w] = 0
            row[before_w : before_w + width] = x[n, i]
            row[before_w + width :] = 0
