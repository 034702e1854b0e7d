"""Convolution, bias, ReLU and 2x2 max-pooling in one go, forward and backward.

A pass over activations costs as much as arithmetic, so what comes out of the convolution should not go to memory and back
three times. Forward, it is pooled before it leaves the registers, ReLU included: the unpooled image never exists. Rows and
columns that pooling would drop are not made.

Backward, each pooled gradient goes to its winner, unless ReLU had cut it off (winner 4: nobody). That fills dz, the
gradient of the convolution itself, whose products are those of `conv2d`. Without pooling, dz is dy where y > 0. Where dx is
not needed, in a network's first layer, dz too is made a few rows at a time.

There is no twin in the book: this is conv2d, relu and max_pool2d one after another, and a test compares it with them.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from minitl.kernels import memory, winograd
from minitl.kernels.convolution import (
    TASKS,
    add_slices,
    contiguous,
    convolve,
    entry_places,
    input_gradient,
    kernel_gradient,
    kernel_slices,
    placed,
    slice_sums,
    window_counters,
    window_places,
)
from minitl.kernels.dense import as_images
from minitl.kernels.jit import common_dtype, jit
from minitl.kernels.launch import NOTHING, Body, launch, table
from minitl.kernels.matrix_product import affine
from minitl.kernels.padding import pad2d, pad_columns
from minitl.kernels.row_sums import add_rows
from minitl.kernels.simd import one_of_four, pooled_product, product, sandwich, whole_vectors
from minitl.ops.window import Axis, Pair, check_shape, slide

SLICE = 64  # rows whose sum is one partial sum of dbias
SCRATCH = 1 << 14  # bytes that stay in the level-1 cache beside what they are multiplied by


def forward(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, strides: Pair, padding: str, pool: bool, keep: bool = True
) -> tuple[np.ndarray, tuple]:
    """y = max(0, convolution + bias), and of that the maximum of every 2x2 window when `pool` is set.

    Shapes: x (N, H, W, C), y (N, H_out, W_out, F), or half of that, rounded down, with `pool`. `keep` says whether there
    will be a backward pass.
    """
    if not pool:
        y = convolve(x, kernel, bias, strides, padding, relu=True)
        return y, (x, kernel, bias, strides, padding, False, y)
    images, weights, start = contiguous(x, kernel, bias)
    rows, columns, half, before, suits = _pooled(images.shape, weights.shape, start.shape, strides, padding, images.dtype)
    if suits:
        y, winner = winograd.forward(images, weights, start, half, before, True, True, keep)
        return y, (x, kernel, bias, strides, padding, True, winner)
    x_pad = pad2d(images, rows, columns)
    weights = pad_columns(weights)
    y = memory.empty((len(x), *half, kernel.shape[3]), x_pad.dtype)
    winner = memory.empty(y.shape, np.uint8) if keep else NOTHING
    tasks, numbers = _forward_plan(x_pad.shape, kernel.shape, weights.shape[3], half, strides, keep)
    launch(_forward, tasks, numbers, x_pad, weights, start, y, small=winner)
    return y, (x, kernel, bias, strides, padding, True, winner)


def forward_dense(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None) -> tuple[np.ndarray, tuple]:
    """y = max(0, x kernel + bias).

    Shapes: x (..., in), kernel (in, units), y (..., units).
    """
    y = affine(x, kernel, bias, relu=True)
    return y, (x, kernel, bias, y)


@functools.lru_cache(maxsize=256)
def _pooled(
    x: tuple[int, ...], kernel: tuple[int, ...], bias: tuple[int, ...] | None, strides: Pair, padding: str, dtype: np.dtype
) -> tuple[Axis, Axis, Pair, Pair, bool]:
    """The convolution as if it had stopped where the pooling does: how its kernel slides, the size of the pooled image, the
    padding above and on the left, and whether Winograd's way suits.
    """
    rows, columns = placed(x, kernel, bias, strides, padding)
    half = slide(rows.out, 2, 2, "valid").out, slide(columns.out, 2, 2, "valid").out
    rows, columns = rows._replace(out=2 * half[0]), columns._replace(out=2 * half[1])
    suits = winograd.suits(kernel, strides, (rows.out, columns.out), dtype)
    return rows, columns, half, (rows.before, columns.before), suits


@functools.lru_cache(maxsize=256)
def _forward_plan(
    x_pad: tuple[int, ...], kernel: tuple[int, ...], wide: int, half: Pair, strides: Pair, keep: bool
) -> tuple[int, np.ndarray]:
    """The number of tasks, and what the body has to know."""
    images, height, width, channels = x_pad
    band = min(half[0], max(1, 64 // (4 * half[1])))  # pooled rows that are made together, to fill the tiles
    places = window_places((2 * band, 2 * half[1]), strides, width, channels)
    of_windows = places.reshape(band, 2, half[1], 2).swapaxes(1, 2).reshape(-1)  # the four pixels of one after another
    chunks = -(-TASKS // images) if images < TASKS else 1
    numbers = [
        *(*half, kernel[3], chunks, band, keep, height * width * channels, 2 * strides[0] * width * channels, len(places)),
        *window_counters(kernel, width, channels, wide), *of_windows, *np.arange(len(places) // 4) * kernel[3],
    ]  # fmt: skip
    return images * chunks, np.array(numbers, np.int64)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dkernel and dbias; what is not needed is None."""
    x, kernel, bias, strides, padding, pooled, kept = cache
    check_shape("conv2d with relu", "dy", dy.shape, kept.shape)  # the winners, or y, have y's shape
    dtype = common_dtype(x, kernel)
    dy = np.ascontiguousarray(dy, dtype)
    images, half_h, half_w, filters = dy.shape
    dx = dkernel = dbias = None
    if not pooled:
        rows, columns = placed(x.shape, kernel.shape, None, strides, padding)
    else:
        rows, columns, _, before, suits = _pooled(x.shape, kernel.shape, None, strides, padding, dtype)
        if suits:
            if need_dparameters:
                x = np.ascontiguousarray(x, dtype)
                dkernel, dbias = winograd.kernel_gradient(x, dy, kept, kernel.shape, before)
            if need_dx:
                dx = winograd.input_gradient(dy, kept, np.asarray(kernel, dtype), x.shape, before)
            return dx, dkernel, None if bias is None else dbias
        if not need_dx:
            return None, *_parameter_gradients(dy, cache, rows, columns)
    wide = whole_vectors(filters, dtype)
    if pooled:
        dz = memory.workspace("dz", (images, rows.out, columns.out, wide), dtype)
        sums = memory.zeros((images, wide), dtype)
        launch(_unpool, images, table(images, half_h, half_w, filters, wide), dy, dz, sums, small=kept)
    else:
        dz = memory.workspace("dz", (*dy.shape[:3], wide), dtype)
        pixels = images * half_h * half_w
        sums = memory.zeros((-(-pixels // SLICE), wide), dtype)
        launch(_mask, len(sums), table(pixels, filters, wide), dy, np.ascontiguousarray(kept), dz, sums)
    if need_dparameters:
        dkernel = kernel_gradient(np.ascontiguousarray(x, dtype), dz, kernel.shape, strides, rows, columns)
        dbias = None if bias is None else add_rows(sums)[:filters]
    if need_dx:
        dx = input_gradient(dz, np.asarray(kernel, dtype), x.shape, strides, rows, columns)
    return dx, dkernel, dbias


def _parameter_gradients(dy: np.ndarray, cache: tuple, rows: Axis, columns: Axis) -> tuple[np.ndarray, np.ndarray | None]:
    """dkernel and dbias of a pooled layer that need not send a gradient on: the first one. Its dz never exists as a whole."""
    x, kernel, bias, strides, _, _, winner = cache
    dtype, wide = dy.dtype, whole_vectors(dy.shape[3], dy.dtype)
    x_pad = pad2d(np.ascontiguousarray(x, dtype), rows, columns)
    slices, room, numbers = _parameter_gradients_plan(x_pad.shape, dy.shape, kernel.shape, wide, strides, dtype)
    dkernel, dbias = slice_sums(slices, kernel.shape, dtype), memory.zeros((len(x), wide), dtype)
    launch(_gradients_of_slice, slices, numbers, x_pad, dy, dkernel, dbias, small=winner, room=room)
    return add_slices(dkernel), None if bias is None else add_rows(dbias)[: dy.shape[3]]


@functools.lru_cache(maxsize=256)
def _parameter_gradients_plan(
    x_pad: tuple[int, ...], dy: tuple[int, ...], kernel: tuple[int, ...], wide: int, strides: Pair, dtype: np.dtype
) -> tuple[int, int, np.ndarray]:
    """The number of slices of the batch, the size of a scratch, and what the body has to know."""
    images, height, width, channels = x_pad
    entries, of_row = kernel[0] * kernel[1] * channels, 4 * dy[2] * wide
    band = min(dy[1], max(1, SCRATCH // (of_row * dtype.itemsize)))  # pooled rows whose dz is made at a time
    slices = kernel_slices(images, math.prod(x_pad) + images * dy[1] * of_row, kernel, dtype)
    numbers = [
        *(images, slices, *dy[1:], wide, entries, band),
        *(height * width * channels, strides[0] * width * channels, strides[1] * channels),
        *entry_places(kernel, width, channels), *np.arange(entries) * kernel[3],
    ]  # fmt: skip
    return slices, memory.whole_lines(band * of_row + wide), np.array(numbers, np.int64)


def backward_dense(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """The same for a dense layer, a convolution of 1x1 images."""
    x, kernel, bias, y = cache
    as_convolution = (as_images(x), kernel[None, None], bias, (1, 1), "valid", False, as_images(y))
    dx, dkernel, dbias = backward(as_images(dy), as_convolution, need_dx, need_dparameters)
    return None if dx is None else dx.reshape(x.shape), None if dkernel is None else dkernel[0, 0], dbias


@Body
def _forward(task, x, weights, start, y, winner, n, _room):
    half_h, half_w, filters, chunks, band, keep, x_image, x_row, pixels = n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8]
    image, chunk = task // chunks, task % chunks
    first, last = chunk * half_h // chunks, (chunk + 1) * half_h // chunks
    counters = ((1, 0, 0), (n[9], n[10], n[11]), (n[12], n[13], n[14]))
    for top in range(first, last, band):
        count, at = 4 * min(band, last - top) * half_w, image * x_image + top * x_row
        to = (image * half_h + top) * half_w * filters
        if keep:
            pooled_product(
                x, at, n, 15, weights, 0, counters, start, 0, 0, y, to, n, 15 + pixels, count, filters, 0.0, winner
            )  # fmt: skip
        else:
            pooled_product(
                x, at, n, 15, weights, 0, counters, start, 0, 0, y, to, n, 15 + pixels, count, filters, 0.0, None
            )  # fmt: skip


@Body
def _unpool(task, dy, dz, sums, _d, winner, n, _room):
    images, half_h, half_w, filters, wide = n[0], n[1], n[2], n[3], n[4]
    pixels = half_h * half_w
    first, to = task * pixels, task * 4 * pixels * wide
    _spread(dy, winner, first, pixels, half_w, filters, wide, images * pixels, dz, to, sums, task * wide)


@Body
def _gradients_of_slice(task, x, dy, dkernel, sums, winner, n, scratch):
    images, slices, half_h, half_w, filters, wide, entries, band = n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7]
    begin, end = task * images // slices, (task + 1) * images // slices
    all_pixels, in_dkernel, zeros = images * half_h * half_w, task * entries * filters, band * 4 * half_w * wide
    for f in range(wide):
        scratch[zeros + f] = 0
    for image in range(begin, end):
        for top in range(0, half_h, band):
            count, first = min(band, half_h - top), (image * half_h + top) * half_w
            _spread(dy, winner, first, count * half_w, half_w, filters, wide, all_pixels, scratch, 0, sums, image * wide)
            fresh = image == begin and top == 0
            product(
                x, image * n[8] + 2 * top * n[9], n, 11, scratch, 0,
                ((1, 0, 0), (2 * count, n[9], 2 * half_w * wide), (2 * half_w, n[10], wide)),
                scratch if fresh else dkernel, zeros if fresh else in_dkernel, 0 if fresh else filters,
                dkernel, in_dkernel, n, 11 + entries, entries, filters, -np.inf,
            )  # fmt: skip


@jit()
def _spread(dy, winner, first, count, half_w, filters, wide, all_pixels, dz, begin, sums, in_sums):
    """dz of some pooled pixels, rows of `half_w`, from `begin` on; and its sum, added to the one there is."""
    row = 2 * half_w * wide
    for pixel in range(first, first + count):
        at, here = pixel * filters, pixel - first
        to = begin + here // half_w * 2 * row + here % half_w * 2 * wide
        # What a vector reads behind the last filter is the next pixel's; it ends up where nobody looks.
        if wide == filters or pixel + wide // filters + 1 < all_pixels:
            one_of_four(dy, at, winner, at, dz, to, row, wide, wide)
        else:
            for k in range(4):
                pixel_of_dz = to + k // 2 * row + k % 2 * wide
                for f in range(filters):
                    dz[pixel_of_dz + f] = dy[at + f] if winner[at + f] == k else 0
                for f in range(filters, wide):
                    dz[pixel_of_dz + f] = 0
        sandwich("1 1", dz, to, row, wide, sums, in_sums, 0, 0, wide, None, True)


@Body
def _mask(task, dy, y, dz, sums, _small, n, _room):
    pixels, filters, wide = n[0], n[1], n[2]
    first, last = task * SLICE, min((task + 1) * SLICE, pixels)
    if wide == filters:
        for k in range(first * filters, last * filters):
            dz[k] = dy[k] if y[k] > 0 else 0
    else:
        for pixel in range(first, last):
            for f in range(wide):
                above = f < filters and y[pixel * filters + f] > 0
                dz[pixel * wide + f] = dy[pixel * filters + f] if above else 0
    for pixel in range(first, last):
        sandwich("1", dz, pixel * wide, 0, 0, sums, task * wide, 0, 0, wide, None, True)
