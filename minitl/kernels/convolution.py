"""Convolution without dilation and groups, as three products of `simd`; the mathematics is in `minitl.ops.conv2d`.

Shapes that suit it go to `winograd`, which needs fewer multiplications; this is for all others.

Forward         rows: output pixels, some images together when they are small. k runs over the window: K_h runs of
                K_w C neighbours in memory.
dkernel         rows: the K_h K_w C entries of the kernel. k runs over images, rows and columns of dy. A small kernel
                has too few rows to share among threads, so the batch is cut into slices, each with sums of its own,
                added in a fixed order.
dx              rows: the same pixel of several images, since all of them see the same part of the kernel: at the
                image's border the window is cut exactly, and nothing is multiplied by padding. k runs over the
                outputs that saw this pixel. The kernel is turned around first (`turn`).
dbias           a sum over all pixels, in slices.

A dense layer is a convolution of 1x1 images, and `kernels.dense` calls the functions here.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numba import get_num_threads

from minitl.kernels import memory, winograd
from minitl.kernels.jit import common_dtype, jit
from minitl.kernels.launch import Body, launch, table
from minitl.kernels.matrix_product import FEW_ROWS, affine, multiply
from minitl.kernels.padding import pad2d, pad_columns
from minitl.kernels.row_sums import add_rows, sum_rows
from minitl.kernels.simd import LEVEL_1, product, tile_columns, tile_rows, transpose, whole_vectors
from minitl.ops.conv2d import check
from minitl.ops.window import Axis, Pair, check_shape

TASKS = 16  # enough pieces of work to share evenly, few enough to cost nothing
GROUP = 12  # entries of a kernel that a thread takes at a time: whole tiles
placed = functools.lru_cache(maxsize=1024)(check)  # small batches would notice checking
MUCH = 4  # times as many numbers as a kernel has
MANY_ROWS = 1024  # up to so many, the gradient of a 1x1 kernel is a product of matrices like any other
CACHED = 1 << 18  # bytes that stay in a core's level-2 cache beside everything else


def convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, strides: Pair, padding: str, relu: bool) -> np.ndarray:
    """Convolution + bias, and ReLU of it while the tile is in the registers."""
    rows, columns = placed(x.shape, kernel.shape, None if bias is None else bias.shape, strides, padding)
    if is_product(kernel.shape, strides):
        return affine(x, kernel[0, 0], bias, relu)
    x, kernel, start = contiguous(x, kernel, bias)
    out = rows.out, columns.out
    if winograd.suits(kernel.shape, strides, out, x.dtype):
        return winograd.forward(x, kernel, start, out, (rows.before, columns.before), relu)[0]
    x_pad, weights = pad2d(x, rows, columns), pad_columns(kernel)
    y = memory.empty((len(x), *out, kernel.shape[3]), x.dtype)
    tasks, numbers = _forward_plan(x_pad.shape, kernel.shape, weights.shape[3], out, strides, relu, x.dtype)
    launch(_forward, tasks, numbers, x_pad, weights, start, y)
    return y


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dkernel and dbias; what is not needed is None."""
    x, kernel, bias, strides, padding = cache
    rows, columns = placed(x.shape, kernel.shape, None, strides, padding)
    check_shape("conv2d", "dy", dy.shape, (len(x), rows.out, columns.out, kernel.shape[3]))
    dtype = common_dtype(x, kernel)
    dy = np.ascontiguousarray(dy, dtype)
    dx = dkernel = dbias = None
    if need_dx:
        dx = input_gradient(dy, np.asarray(kernel, dtype), x.shape, strides, rows, columns)
    if need_dparameters:
        dkernel = kernel_gradient(np.ascontiguousarray(x, dtype), dy, kernel.shape, strides, rows, columns)
        dbias = None if bias is None else sum_rows(dy)
    return dx, dkernel, dbias


def contiguous(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three as kernels need them, of one dtype; zeros for no bias."""
    dtype = common_dtype(x, kernel)
    start = np.zeros(kernel.shape[-1], dtype) if bias is None else np.ascontiguousarray(bias, dtype)
    return np.ascontiguousarray(x, dtype), np.ascontiguousarray(kernel, dtype), start


@functools.lru_cache(maxsize=256)
def _forward_plan(
    x_pad: tuple[int, ...], kernel: tuple[int, ...], wide: int, out: Pair, strides: Pair, relu: bool, dtype: np.dtype
) -> tuple[int, np.ndarray]:
    """The number of tasks, and what the body has to know. Plans are kept, since small batches would notice making them."""
    images, height, width, channels = x_pad
    filters, pixels = kernel[3], out[0] * out[1]
    together = max(1, 64 // pixels)  # small images share tiles
    chunks = -(-TASKS * together // images) if images < TASKS * together else 1
    places = (np.arange(together)[:, None] * height * width * channels + window_places(out, strides, width, channels)).reshape(-1)
    group = len(places)
    numbers = [
        *(images * pixels, group, chunks, height * width * channels * together, filters, relu),
        *window_counters(kernel, width, channels, wide), *_pieces(kernel, wide, dtype), *places, *np.arange(group) * filters,
    ]  # fmt: skip
    return -(-images * pixels // group) * chunks, np.array(numbers, np.int64)


def window_counters(kernel: tuple[int, ...], width: int, channels: int, wide: int) -> tuple[int, ...]:
    """How k runs over a window: its rows, and within a row K_w C neighbours in memory; each with steps in x and kernel."""
    run = kernel[1] * channels
    return kernel[0], width * channels, run * wide, run, 1, wide


def _pieces(kernel: tuple[int, ...], wide: int, dtype: np.dtype) -> Pair:
    """How many rows of the window, and how many numbers of a row, a product takes at a time: as much of the kernel as stays
    in the level-1 cache while all pixels meet it.
    """
    numbers, run = LEVEL_1 // (dtype.itemsize * min(wide, tile_columns(dtype))), kernel[1] * kernel[2]
    if run > numbers:
        return 1, -(-run // -(-run // numbers))
    return -(-kernel[0] // -(-kernel[0] * run // numbers)), run


def window_places(out: Pair, strides: Pair, width: int, channels: int) -> np.ndarray:
    """Where the windows of all output pixels of an image begin, as offsets in it."""
    rows = np.arange(out[0])[:, None] * strides[0] * width
    return ((rows + np.arange(out[1]) * strides[1]) * channels).reshape(-1)


def kernel_gradient(
    x: np.ndarray, dy: np.ndarray, shape: tuple[int, ...], strides: Pair, rows: Axis, columns: Axis
) -> np.ndarray:
    """dkernel (K_h, K_w, C, F) from x and dy, whose channels may be followed by others that do not count; both contiguous and
    of one dtype.
    """
    if is_product(shape, strides) and dy.shape[3] == shape[3] and dy.shape[1:3] == x.shape[1:3]:
        x_rows, dy_rows = x.reshape(-1, shape[2]), dy.reshape(-1, shape[3])
        if FEW_ROWS <= len(x_rows) <= MANY_ROWS and _tiles(shape, dy.dtype) >= TASKS:
            return multiply(x_rows, dy_rows, np.zeros(shape[3], dy.dtype), a_turned=True).reshape(shape)
    if winograd.suits(shape, strides, dy.shape[1:3], dy.dtype):
        return winograd.kernel_gradient(x, dy, None, shape, (rows.before, columns.before))[0]
    x_pad, dy = pad2d(x, rows, columns), pad_columns(dy)
    tasks, slices, numbers = _kernel_gradient_plan(x_pad.shape, dy.shape, shape, strides, dy.dtype, get_num_threads())
    sums = slice_sums(slices, shape, dy.dtype)
    launch(_kernel_gradient, tasks, numbers, x_pad, dy, np.zeros(shape[3], dy.dtype), sums)
    return add_slices(sums)


def slice_sums(slices: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Where the sums of the batch's slices go: a workspace, or, when there is one slice, what will be the result."""
    return memory.workspace("sums", (slices, *shape), dtype) if slices > 1 else memory.empty((1, *shape), dtype)


def add_slices(sums: np.ndarray) -> np.ndarray:
    """The sum over the slices of `slice_sums`."""
    return add_rows(sums) if len(sums) > 1 else sums[0]


@functools.lru_cache(maxsize=256)
def _kernel_gradient_plan(
    x_pad: tuple[int, ...], dy: tuple[int, ...], kernel: tuple[int, ...], strides: Pair, dtype: np.dtype, threads: int
) -> tuple[int, int, np.ndarray]:
    """The number of tasks and of slices of the batch, and what the body has to know."""
    (images, height, width, channels), wide = x_pad, dy[3]
    entries = kernel[0] * kernel[1] * channels
    slices, groups = kernel_slices(images, math.prod(x_pad) + math.prod(dy), kernel, dtype), -(-entries // GROUP)
    # Every task reads the whole slice, so there should not be more of them than threads can use.
    chunks = min(groups, -(-threads // slices))
    # So many pixels of dy, and of x, at a time stay in the level-1 cache while all entries of the kernel meet them.
    pixels = LEVEL_1 // 2 // (dtype.itemsize * min(wide, tile_columns(dtype)))
    band = min(dy[1], max(1, pixels // dy[2]))
    block = max(1, pixels // (dy[1] * dy[2]))
    numbers = [
        *(images, slices, chunks, block, entries, kernel[3], dy[1], dy[2], groups, band),
        *(height * width * channels, strides[0] * width * channels, strides[1] * channels),
        *(dy[1] * dy[2] * wide, dy[2] * wide, wide),
        *entry_places(kernel, width, channels), *np.arange(entries) * kernel[3],
    ]  # fmt: skip
    return slices * chunks, slices, np.array(numbers, np.int64)


def kernel_slices(images: int, numbers: int, kernel: tuple[int, ...], dtype: np.dtype) -> int:
    """Into how many slices the batch is cut for dkernel: the fewer tiles the kernel has, the more, an even number; and two at
    least where x and dy have many more numbers than the kernel, so that of two threads each reads half of them.
    """
    slices = -(-TASKS // _tiles(kernel, dtype))
    if slices > 1 or numbers > MUCH * math.prod(kernel):
        slices = 2 * -(-slices // 2)
    return min(images, slices)


def _tiles(kernel: tuple[int, ...], dtype: np.dtype) -> int:
    return -(-kernel[0] * kernel[1] * kernel[2] // tile_rows(kernel[3], dtype))


def entry_places(kernel: tuple[int, ...], width: int, channels: int) -> np.ndarray:
    """Where the pixel lies that an entry (a, b, c) of the kernel sees, as an offset in the window."""
    rows = np.arange(kernel[0])[:, None] * width + np.arange(kernel[1])
    return (rows[:, :, None] * channels + np.arange(channels)).reshape(-1)


def input_gradient(
    dy: np.ndarray, kernel: np.ndarray, shape: tuple[int, ...], strides: Pair, rows: Axis, columns: Axis
) -> np.ndarray:
    """dx (N, H, W, C) from dy, of the kernel's dtype, whose channels may be followed by others that do not count."""
    if is_product(kernel.shape, strides) and dy.shape[1:3] == shape[1:3]:
        pixels = np.ascontiguousarray(dy.reshape(-1, dy.shape[3])[:, : kernel.shape[3]])
        return multiply(pixels, np.ascontiguousarray(kernel[0, 0]), np.zeros(shape[3], dy.dtype), b_turned=True).reshape(shape)
    if winograd.suits(kernel.shape, strides, dy.shape[1:3], dy.dtype):
        return winograd.input_gradient(dy, None, kernel, shape, (rows.before, columns.before))
    turned = turn(kernel, strides)
    dx = memory.empty(shape, dy.dtype)
    tasks, numbers = _input_gradient_plan(
        dy.shape, turned.shape, kernel.shape[:2], strides, (rows.before, columns.before), shape, dy.dtype
    )
    launch(_input_gradient, tasks, numbers, dy, turned, np.zeros(shape[3], dy.dtype), dx)
    return dx


@functools.lru_cache(maxsize=256)
def _input_gradient_plan(
    dy: tuple[int, ...], turned: tuple[int, ...], window: Pair, strides: Pair, before: Pair, x: tuple[int, ...], dtype: np.dtype
) -> tuple[int, np.ndarray]:
    """The number of tasks, and what the body has to know."""
    images, height, width, channels = x
    of_image, rows = dy[1] * dy[2] * dy[3], tile_rows(channels, dtype)
    together = min(images, max(rows, CACHED // (dtype.itemsize * of_image) // rows * rows))
    groups = -(-images // together)
    numbers = [
        *(images, height, width, channels, *dy[1:], *turned[1:], *window, *strides, *before, groups),
        *np.arange(images) * of_image, *np.arange(images) * height * width * channels,
    ]  # fmt: skip
    return groups * height, np.array(numbers, np.int64)


def is_product(kernel: tuple[int, ...], strides: Pair) -> bool:
    """Whether the convolution is one product of matrices: a 1x1 kernel at every pixel."""
    return kernel[:2] == (1, 1) and strides == (1, 1)


def turn(kernel: np.ndarray, strides: Pair) -> np.ndarray:
    """The kernel as a pixel of x sees it, from the outputs that saw the pixel: last offset first, channels exchanged.

    With stride s a pixel i meets only the offsets a = i mod s, i mod s + s, ...: one phase of the kernel.
    Shapes: (K_h, K_w, C, F) to (s_h, s_w, ceil(K_h / s_h), ceil(K_w / s_w), F, C in whole vectors).
    """
    k_h, k_w, channels, filters = kernel.shape
    turns = -(-k_h // strides[0]), -(-k_w // strides[1])
    wide = whole_vectors(channels, kernel.dtype)
    full = channels == wide and k_h % strides[0] == 0 and k_w % strides[1] == 0
    turned = memory.workspace("turned", (*strides, *turns, filters, wide), kernel.dtype)
    if not full:
        turned.fill(0)
    numbers = table(*kernel.shape, *turned.shape[:4], wide)
    launch(_turn_around, k_h * k_w * -(-filters // 16), numbers, np.ascontiguousarray(kernel), turned)
    return turned


@Body
def _forward(task, x, weights, start, y, _small, n, _room):
    outputs, group, chunks, x_group, filters = n[0], n[1], n[2], n[3], n[4]
    g, chunk = task // chunks, task % chunks
    here = min(group, outputs - g * group)
    first, last = chunk * here // chunks, (chunk + 1) * here // chunks
    places, targets, to = 14 + first, 14 + group + first, (g * group + first) * filters
    for row in range(0, n[6], n[12]):
        for k in range(0, n[9], n[13]):
            fresh, whole = row + k == 0, row + n[12] >= n[6] and k + n[13] >= n[9]
            product(
                x, g * x_group + row * n[7] + k, n, places, weights, row * n[8] + k * n[11],
                ((1, 0, 0), (min(n[12], n[6] - row), n[7], n[8]), (min(n[13], n[9] - k), n[10], n[11])),
                start if fresh else y, 0 if fresh else to, 0 if fresh else filters,
                y, g * group * filters, n, targets, last - first, filters, 0.0 if whole and n[5] else -np.inf,
            )  # fmt: skip


@Body
def _kernel_gradient(task, x, dy, zeros, sums, _small, n, _room):
    images, slices, chunks, block, entries, filters, out_h, out_w = n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7]
    groups, band = n[8], n[9]
    s, chunk = task // chunks, task % chunks
    first, last = chunk * groups // chunks * GROUP, min((chunk + 1) * groups // chunks * GROUP, entries)
    begin, end, in_sums = s * images // slices, (s + 1) * images // slices, s * entries * filters
    for image in range(begin, end, block):
        for top in range(0, out_h, band):
            fresh = image == begin and top == 0
            counters = ((min(block, end - image), n[10], n[13]), (min(band, out_h - top), n[11], n[14]), (out_w, n[12], n[15]))
            product(
                x, image * n[10] + top * n[11], n, 16 + first, dy, image * n[13] + top * n[14], counters,
                zeros if fresh else sums, 0 if fresh else in_sums + first * filters, 0 if fresh else filters,
                sums, in_sums, n, 16 + entries + first, last - first, filters, -np.inf,
            )  # fmt: skip


@Body
def _input_gradient(task, dy, turned, zeros, dx, _small, n, _room):
    images, height, width, channels, out_h, out_w, dy_wide = n[0], n[1], n[2], n[3], n[4], n[5], n[6]
    phases_w, turns_h, turns_w, filters, wide, groups = n[7], n[8], n[9], n[10], n[11], n[18]
    g, i = task // height, task % height
    first, last = g * images // groups, (g + 1) * images // groups
    phase_h, from_h, to_h, turn_h = _who_saw(i + n[16], n[12], n[14], turns_h, out_h)
    for j in range(width):
        phase_w, from_w, to_w, turn_w = _who_saw(j + n[17], n[13], n[15], turns_w, out_w)
        at = (i * width + j) * channels
        if to_h <= from_h or to_w <= from_w:
            for image in range(first, last):
                for c in range(channels):
                    dx[n[19 + images + image] + at + c] = 0
            continue
        in_turned = (((phase_h * phases_w + phase_w) * turns_h + turn_h) * turns_w + turn_w) * filters * wide
        over_rows = (to_h - from_h, out_w * dy_wide, turns_w * filters * wide)
        if dy_wide == filters:  # the outputs of a row are neighbours in memory
            counters = ((1, 0, 0), over_rows, ((to_w - from_w) * filters, 1, wide))
        else:
            counters = (over_rows, (to_w - from_w, dy_wide, filters * wide), (filters, 1, wide))
        product(
            dy, (from_h * out_w + from_w) * dy_wide, n, 19 + first, turned, in_turned, counters, zeros, 0, 0,
            dx, at, n, 19 + images + first, last - first, channels, -np.inf,
        )  # fmt: skip


@jit()
def _who_saw(i, window, stride, turns, out):
    """Along one axis: the phase of padded pixel i, the outputs [first, last) that saw it, and the first one's turn."""
    phase = i % stride
    offsets = (window - phase + stride - 1) // stride
    first, last = max(i // stride - offsets + 1, 0), min(i // stride, out - 1) + 1
    return phase, first, last, turns - 1 - (i // stride - first)


@Body
def _turn_around(task, kernel, turned, _c, _d, _small, n, _room):
    k_w, channels, filters, strides_h, strides_w, turns_h, turns_w, wide = n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8]
    blocks = -(-filters // 16)
    a, b, first = task // blocks // k_w, task // blocks % k_w, task % blocks * 16
    phase = a % strides_h * strides_w + b % strides_w
    turn = (turns_h - 1 - a // strides_h) * turns_w + turns_w - 1 - b // strides_w
    to = ((phase * turns_h * turns_w + turn) * filters + first) * wide
    at = (a * k_w + b) * channels * filters + first
    transpose(kernel, at, filters, channels, min(16, filters - first), turned, to, wide)
