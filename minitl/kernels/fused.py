"""Convolution, bias, ReLU and 2x2 max-pooling in one go, forward and backward.

A pass over activations costs as much as arithmetic, so what comes out of the convolution should not go to memory and back
three times. Forward, a few rows of the convolution are made in a scratch that stays in the level-1 cache, ReLU
included, and pooled from there: the unpooled image never exists. Rows and columns that pooling would drop are not made.

Backward, each pooled gradient goes to its winner, unless ReLU had cut it off (winner 4: nobody). That fills dz, the
gradient of the convolution itself, whose products are those of `conv2d`. Without pooling, dz is dy where y > 0.

There is no twin in the book: this is conv2d, relu and max_pool2d one after another, and a test compares it with them.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from minitl.kernels import memory
from minitl.kernels.conv2d import (
    TASKS,
    convolve,
    input_gradient,
    kernel_gradient,
    offsets,
    pad2d,
    prepare,
    window_counters,
    window_places,
)
from minitl.kernels.jit import common_dtype, jit
from minitl.kernels.simd import pad_columns, product, whole_vectors
from minitl.ops.conv2d import check
from minitl.ops.window import Pair, check_shape, slide2d

NOBODY = 4  # the winner of a window in which nothing was above zero
SLICE = 64  # rows whose sum is one partial sum of dbias


def forward(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, strides: Pair, padding: str, pool: bool
) -> tuple[np.ndarray, tuple]:
    """y = max(0, convolution + bias), and of that the maximum of every 2x2 window when `pool` is set.

    Shapes: x (N, H, W, C), y (N, H_out, W_out, F), or half of that, rounded down, with `pool`.
    """
    if not pool:
        y = convolve(x, kernel, bias, strides, padding, 0.0)
        return y, (x, kernel, bias, strides, padding, False, y)
    rows, columns = check(x, kernel, bias, strides, padding)
    x_pad, weights, start = prepare(x, kernel, bias, rows, columns)
    start = pad_columns(start)
    images, height, width, channels = x_pad.shape
    filters, half_h, half_w = kernel.shape[3], rows.out // 2, columns.out // 2
    y = memory.empty((images, half_h, half_w, filters), x_pad.dtype)
    winner = memory.empty(y.shape, np.uint8)
    band = min(half_h, max(1, 64 // (4 * half_w)))  # pooled rows that are made together, to fill the tiles
    places = window_places(1, 0, 2 * band, 2 * half_w, strides, width, channels)
    chunks = -(-TASKS // images) if images < TASKS else 1
    _forward(
        x_pad.reshape(-1), places, weights.reshape(-1), *window_counters(kernel.shape, x_pad.shape, weights.shape),
        start, height * width * channels, 2 * strides[0] * width * channels, band, chunks,
        offsets(len(places), len(start)), y, winner,
    )  # fmt: skip
    return y, (x, kernel, bias, strides, padding, True, winner)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dkernel and dbias; what is not needed is None."""
    x, kernel, bias, strides, padding, pooled, kept = cache
    check_shape("conv2d with relu", "dy", dy, kept.shape)  # the winners, or y, have y's shape
    dtype = common_dtype(x, kernel)
    rows, columns = slide2d(x, kernel.shape[:2], strides, padding)
    dy = np.ascontiguousarray(dy, dtype)
    images, half_h, half_w, filters = dy.shape
    wide = whole_vectors(filters, dtype)
    if pooled:
        dz = memory.empty((images, 2 * half_h, 2 * half_w, wide), dtype)
        sums = np.zeros((images, filters), dtype)
        _unpool(dy, kept, dz, sums)
        # The convolution as if it had stopped where the pooling does.
        rows, columns = rows._replace(out=2 * half_h), columns._replace(out=2 * half_w)
    else:
        dz = memory.empty((*dy.shape[:3], wide), dtype)
        flat = (-1, filters)
        sums = np.zeros((-(-dy.size // filters // SLICE), filters), dtype)
        _mask(dy.reshape(flat), kept.reshape(flat), dz.reshape(-1, wide), sums)
    dx = dkernel = dbias = None
    if need_dparameters:
        x_pad = pad2d(np.ascontiguousarray(x, dtype), rows, columns)
        dkernel = kernel_gradient(x_pad, dz, kernel.shape, strides)
        dbias = None if bias is None else sums.sum(axis=0)
    if need_dx:
        dx = input_gradient(dz, np.asarray(kernel, dtype), x.shape, strides, rows, columns)
    return dx, dkernel, dbias


@jit(parallel=True)
def _forward(x, places, weights, over_rows, over_run, start, x_image, x_row, band, chunks, scratch_rows, y, winner):
    images, half_h, half_w, filters = y.shape
    wide = len(start)  # the scratch has whole vectors, so that tiles need not care for the last columns
    zero = x.dtype.type(0)
    for task in prange(images * chunks):
        n, chunk = task // chunks, task % chunks
        first, last = chunk * half_h // chunks, (chunk + 1) * half_h // chunks
        scratch = np.empty(len(places) * wide, x.dtype)
        best, won = np.empty(wide, x.dtype), np.empty(wide, np.uint8)
        for top in range(first, last, band):
            count = min(band, last - top)
            pixels = count * 4 * half_w
            product(
                x, n * x_image + top * x_row, places[:pixels], weights, 0, 1, ((1, 0, 0), over_rows, over_run), start, 0, 0,
                scratch, 0, scratch_rows[:pixels], wide, zero,
            )  # fmt: skip
            for i in range(count):
                for j in range(half_w):
                    at = (i * 4 * half_w + 2 * j) * wide
                    below = at + 2 * half_w * wide
                    _pool(
                        scratch[at : at + wide], scratch[at + wide : at + 2 * wide],
                        scratch[below : below + wide], scratch[below + wide : below + 2 * wide], best, won,
                    )  # fmt: skip
                    for f in range(filters):
                        y[n, top + i, j, f] = best[f]
                        winner[n, top + i, j, f] = won[f]


@jit()
def _pool(a, b, c, d, best, won):
    """The maximum of four pixels, and which it was; the first of equal ones, a NaN before all.

    Loops over whole vectors, here and in _unpool, become SIMD code also when there are few filters.
    """
    for f in range(len(best)):
        largest, which = a[f], np.uint8(0)
        if b[f] > largest or b[f] != b[f]:
            largest, which = b[f], np.uint8(1)
        if c[f] > largest or c[f] != c[f]:
            largest, which = c[f], np.uint8(2)
        if d[f] > largest or d[f] != d[f]:
            largest, which = d[f], np.uint8(3)
        best[f] = largest
        won[f] = which if largest > 0 else np.uint8(NOBODY)


@jit(parallel=True)
def _unpool(dy, winner, dz, sums):
    images, half_h, half_w, filters = dy.shape
    wide = dz.shape[3]
    zero = dy.dtype.type(0)
    for n in prange(images):
        g, won = np.empty(wide, dy.dtype), np.empty(wide, np.uint8)
        for f in range(wide):
            g[f], won[f] = zero, NOBODY
        for i in range(half_h):
            for j in range(half_w):
                for f in range(filters):
                    g[f], won[f] = dy[n, i, j, f], winner[n, i, j, f]
                    sums[n, f] += g[f] if won[f] != NOBODY else zero
                for a in range(2):
                    for b in range(2):
                        place = dz[n, 2 * i + a, 2 * j + b]
                        for f in range(wide):
                            place[f] = g[f] if won[f] == 2 * a + b else zero


@jit(parallel=True)
def _mask(dy, y, dz, sums):
    zero = dy.dtype.type(0)
    for s in prange(len(sums)):
        for r in range(s * SLICE, min((s + 1) * SLICE, len(dy))):
            for f in range(dy.shape[1]):
                g = dy[r, f] if y[r, f] > 0 else zero
                dz[r, f] = g
                sums[s, f] += g
            for f in range(dy.shape[1], dz.shape[1]):
                dz[r, f] = zero
