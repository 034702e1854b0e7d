"""Convolution, bias, ReLU and 2x2 max-pooling in one go, forward and backward.

A pass over activations costs as much as arithmetic, so what comes out of the convolution should not go to memory and back
three times. Forward, a few rows of the convolution are made in a scratch that stays in the level-1 cache, ReLU
included, and pooled from there: the unpooled image never exists. Rows and columns that pooling would drop are not made.

Backward, each pooled gradient goes to its winner, unless ReLU had cut it off (winner 4: nobody). That fills dz, the
gradient of the convolution itself, whose products are those of `conv2d`. Without pooling, dz is dy where y > 0.

There is no twin in the book: this is conv2d, relu and max_pool2d one after another, and a test compares it with them.
"""

from __future__ import annotations

import functools

import numpy as np

from minitl.kernels import memory, winograd
from minitl.kernels.conv2d import (
    TASKS,
    contiguous,
    convolve,
    input_gradient,
    kernel_gradient,
    prepare,
    turn,
    window_counters,
    window_places,
)
from minitl.kernels.jit import common_dtype
from minitl.kernels.launch import Body, launch, table
from minitl.kernels.simd import best_of_four, one_of_four, pad_columns, product, sandwich, whole_vectors
from minitl.ops.conv2d import check
from minitl.ops.window import Pair, check_shape, slide2d

SLICE = 64  # rows whose sum is one partial sum of dbias


def forward(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, strides: Pair, padding: str, pool: bool
) -> tuple[np.ndarray, tuple]:
    """y = max(0, convolution + bias), and of that the maximum of every 2x2 window when `pool` is set.

    Shapes: x (N, H, W, C), y (N, H_out, W_out, F), or half of that, rounded down, with `pool`.
    """
    if not pool:
        y = convolve(x, kernel, bias, strides, padding, relu=True)
        return y, (x, kernel, bias, strides, padding, False, y)
    rows, columns = check(x, kernel, bias, strides, padding)
    filters, half_h, half_w = kernel.shape[3], rows.out // 2, columns.out // 2
    if winograd.suits(kernel.shape, strides, (2 * half_h, 2 * half_w), common_dtype(x, kernel)):
        before = rows.before, columns.before
        y, winner = winograd.forward(*contiguous(x, kernel, bias), (half_h, half_w), before, relu=True, pooled=True)
        return y, (x, kernel, bias, strides, padding, True, winner)
    x_pad, weights, start = prepare(x, kernel, bias, rows, columns)
    start = pad_columns(start)  # the scratch has whole vectors, so that tiles need not care for the last columns
    y = memory.empty((len(x), half_h, half_w, filters), x_pad.dtype)
    winner = memory.empty(y.shape, np.uint8)
    tasks, room, numbers = _forward_plan(x_pad.shape, kernel.shape, len(start), (half_h, half_w), strides)
    launch(_forward, tasks, (x_pad, weights, start, y), numbers, winner, room)
    return y, (x, kernel, bias, strides, padding, True, winner)


@functools.lru_cache(maxsize=256)
def _forward_plan(
    x_pad: tuple[int, ...], kernel: tuple[int, ...], wide: int, half: Pair, strides: Pair
) -> tuple[int, int, np.ndarray]:
    """The number of tasks, the size of a scratch, and what the body has to know."""
    images, height, width, channels = x_pad
    band = min(half[0], max(1, 64 // (4 * half[1])))  # pooled rows that are made together, to fill the tiles
    places = window_places((2 * band, 2 * half[1]), strides, width, channels)
    chunks = -(-TASKS // images) if images < TASKS else 1
    numbers = [
        *(*half, kernel[3], wide, chunks, band, height * width * channels, 2 * strides[0] * width * channels, len(places)),
        *window_counters(kernel, width, channels, wide), *places, *np.arange(len(places)) * wide,
    ]  # fmt: skip
    return images * chunks, (len(places) + 1) * wide, np.array(numbers, np.int64)


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
    dx = dkernel = dbias = None
    if pooled:
        # The convolution as if it had stopped where the pooling does.
        rows, columns = rows._replace(out=2 * half_h), columns._replace(out=2 * half_w)
        if winograd.suits(kernel.shape, strides, (rows.out, columns.out), dtype):
            before = rows.before, columns.before
            if need_dparameters:
                x = np.ascontiguousarray(x, dtype)
                dkernel, dbias = winograd.kernel_gradient(x, dy, kept, kernel.shape, before)
            if need_dx:
                turned = turn(np.asarray(kernel, dtype), strides)[0, 0]
                dx = winograd.input_gradient(dy, kept, turned, x.shape, before)
            return dx, dkernel, None if bias is None else dbias
    wide = whole_vectors(filters, dtype)
    if pooled:
        dz = memory.workspace("dz", (images, rows.out, columns.out, wide), dtype)
        sums = memory.zeros((images, wide), dtype)
        launch(_unpool, images, (dy, dz, sums), table(images, half_h, half_w, filters, wide), kept)
    else:
        dz = memory.workspace("dz", (*dy.shape[:3], wide), dtype)
        pixels = images * half_h * half_w
        sums = memory.zeros((-(-pixels // SLICE), wide), dtype)
        launch(_mask, len(sums), (dy, np.ascontiguousarray(kept), dz, sums), table(pixels, filters, wide))
    if need_dparameters:
        dkernel = kernel_gradient(np.ascontiguousarray(x, dtype), dz, kernel.shape, strides, rows, columns)
        dbias = None if bias is None else sums.sum(axis=0)[:filters]
    if need_dx:
        dx = input_gradient(dz, np.asarray(kernel, dtype), x.shape, strides, rows, columns)
    return dx, dkernel, dbias


@Body
def _forward(task, x, weights, start, y, winner, n, scratch):
    half_h, half_w, filters, wide, chunks, band, x_image, x_row, all_pixels = n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8]
    image, chunk = task // chunks, task % chunks
    first, last = chunk * half_h // chunks, (chunk + 1) * half_h // chunks
    best, won = all_pixels * wide, np.empty(wide, np.uint8)
    for top in range(first, last, band):
        count = min(band, last - top)
        product(
            x, image * x_image + top * x_row, n, 15, weights, 0, ((1, 0, 0), (n[9], n[10], n[11]), (n[12], n[13], n[14])),
            start, 0, 0, scratch, 0, n, 15 + all_pixels, count * 4 * half_w, wide, 0.0,
        )  # fmt: skip
        for i in range(count):
            for j in range(half_w):
                at, to = (i * 4 * half_w + 2 * j) * wide, ((image * half_h + top + i) * half_w + j) * filters
                if wide == filters:
                    best_of_four(scratch, at, 2 * half_w * wide, wide, y, to, winner, to, wide)
                    continue
                best_of_four(scratch, at, 2 * half_w * wide, wide, scratch, best, won, 0, wide)
                for f in range(filters):
                    y[to + f], winner[to + f] = scratch[best + f], won[f]


@Body
def _unpool(task, dy, dz, sums, _d, winner, n, _room):
    images, half_h, half_w, filters, wide = n[0], n[1], n[2], n[3], n[4]
    pixels = half_h * half_w
    row = 2 * half_w * wide
    for pixel in range(task * pixels, (task + 1) * pixels):
        at = pixel * filters
        to = pixel // half_w * 2 * row + pixel % half_w * 2 * wide
        # What a vector reads behind the last filter is the next pixel's; it ends up where nobody looks.
        if wide == filters or pixel + wide // filters + 1 < images * pixels:
            one_of_four(dy, at, winner, at, dz, to, row, wide, wide)
        else:
            for k in range(4):
                pixel_of_dz = to + k // 2 * row + k % 2 * wide
                for f in range(filters):
                    dz[pixel_of_dz + f] = dy[at + f] if winner[at + f] == k else 0
                for f in range(filters, wide):
                    dz[pixel_of_dz + f] = 0
        sandwich("1 1", dz, to, row, wide, sums, task * wide, 0, 0, wide, -np.inf, True)


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
        sandwich("1", dz, pixel * wide, 0, 0, sums, task * wide, 0, 0, wide, -np.inf, True)
