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
from typing import NamedTuple

import numpy as np

from minitl.kernels import memory, winograd
from minitl.kernels.arrays import common_dtype, contiguous
from minitl.kernels.convolution import (
    add_slices,
    convolve,
    geometry,
    gradients,
    kernel_slices,
    operands,
    slice_sums,
)
from minitl.kernels.dense import as_images
from minitl.kernels.folding import scaled
from minitl.kernels.jit import inner
from minitl.kernels.launch import NOTHING, Bytes, Indices, Numbers, Packed, Scratch, Task, launch, packed, task_kernel
from minitl.kernels.matrix_product import affine
from minitl.kernels.padding import pad2d, pad_columns
from minitl.kernels.places import entry_places, steps, window_places
from minitl.kernels.processor import HALF_OF_LEVEL_1, TASKS
from minitl.kernels.row_sums import add_rows
from minitl.kernels.simd import clear, one_of_four, pooled_product, product, sandwich, whole_vectors
from minitl.kernels.window_product import window_steps
from minitl.ops.window import Axis, Pair, check_shape, slide

SLICE = 64  # rows whose sum is one partial sum of dbias


def forward(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    strides: Pair,
    padding: str,
    pool: bool,
    keep: bool = True,
    scale: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple]:
    """y = max(0, convolution + bias), and of that the maximum of every 2x2 window when `pool` is set.

    Shapes: x (N, H, W, C), y (N, H_out, W_out, F), or half of that, rounded down, with `pool`. `keep` says whether there
    will be a backward pass; without one, the kernel's filters may come with factors, `scale` (F,).
    """
    if not pool:
        y = convolve(x, kernel, bias, strides, padding, relu=True, scale=scale)
        return y, (x, kernel, bias, strides, padding, False, y)
    images, weights, start = operands(x, kernel, bias)
    scale = None if scale is None else contiguous(scale, images.dtype)
    rows, columns, half = _pooled(images.shape, weights.shape, start.shape, strides, padding)
    if winograd.suits(weights.shape, strides, (rows.out, columns.out), images.dtype):
        y, winner = winograd.forward(images, weights, start, half, (rows.before, columns.before), True, True, keep, scale)
        return y, (x, kernel, bias, strides, padding, True, winner)
    x_pad = pad2d(images, rows, columns)
    weights = pad_columns(weights if scale is None else scaled(weights, scale))
    y = memory.empty((len(x), *half, kernel.shape[3]), x_pad.dtype)
    winner = memory.empty(y.shape, np.uint8) if keep else NOTHING
    tasks, plan = _forward_plan(x_pad.shape, kernel.shape, weights.shape[3], half, strides, keep)
    launch(_forward, tasks, plan, x_pad, weights, start, y, winner)
    return y, (x, kernel, bias, strides, padding, True, winner)


def forward_dense(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None) -> tuple[np.ndarray, tuple]:
    """y = max(0, x kernel + bias).

    Shapes: x (..., in), kernel (in, units), y (..., units).
    """
    y = affine(x, kernel, bias, relu=True)
    return y, (x, kernel, bias, y)


@functools.lru_cache(maxsize=256)
def _pooled(
    x: tuple[int, ...], kernel: tuple[int, ...], bias: tuple[int, ...] | None, strides: Pair, padding: str
) -> tuple[Axis, Axis, Pair]:
    """The convolution as if it had stopped where the pooling does: how its kernel slides, and the size of the pooled image."""
    rows, columns = geometry(x, kernel, bias, strides, padding)
    half = slide(rows.out, 2, 2, "valid").out, slide(columns.out, 2, 2, "valid").out
    return rows._replace(out=2 * half[0]), columns._replace(out=2 * half[1]), half


class ForwardPlan(NamedTuple):
    """Pooled rows, made a band at a time; how a window of the convolution is walked through."""

    half_h: int
    half_w: int
    filters: int
    chunks: int  # of an image's pooled rows
    band: int
    keep: int  # the winners
    image_in_x: int
    pooled_row_in_x: int
    window_rows: int
    row_in_x: int
    row_in_weights: int
    window_run: int
    run_in_x: int
    run_in_weights: int


@functools.lru_cache(maxsize=256)
def _forward_plan(
    x_pad: tuple[int, ...], kernel: tuple[int, ...], padded_filters: int, half: Pair, strides: Pair, keep: bool
) -> tuple[int, Packed]:
    """The number of tasks, and the plan, with where windows and pooled pixels begin."""
    images, height, width, channels = x_pad
    band = min(half[0], max(1, 64 // (4 * half[1])))  # pooled rows that are made together, to fill the tiles
    places = window_places((2 * band, 2 * half[1]), strides, width, channels)
    of_windows = places.reshape(band, 2, half[1], 2).swapaxes(1, 2).reshape(-1)  # the four pixels of one after another
    chunks = -(-TASKS // images) if images < TASKS else 1
    plan = ForwardPlan._make([
        *half, kernel[3], chunks, band, keep, height * width * channels, 2 * strides[0] * width * channels,
        *window_steps(kernel, width, channels, padded_filters),
    ])  # fmt: skip
    return images * chunks, packed(plan, of_windows, steps(len(places) // 4, kernel[3]))


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dkernel and dbias; what is not needed is None."""
    x, kernel, bias, strides, padding, pooled, kept = cache
    check_shape("conv2d with relu", "dy", dy.shape, kept.shape)  # the winners, or y, have y's shape
    dtype = common_dtype(x, kernel)
    dy = contiguous(dy, dtype)
    images, half_h, half_w, filters = dy.shape
    dx = dkernel = dbias = None
    if not pooled:
        rows, columns = geometry(x.shape, kernel.shape, None, strides, padding)
    else:
        rows, columns, _ = _pooled(x.shape, kernel.shape, None, strides, padding)
        if winograd.suits(kernel.shape, strides, (rows.out, columns.out), dtype):
            before, kernel = (rows.before, columns.before), np.asarray(kernel, dtype)
            if need_dx and need_dparameters:
                dx, dkernel, dbias = winograd.gradients(contiguous(x, dtype), dy, kept, kernel, before)
            elif need_dparameters:
                dkernel, dbias = winograd.kernel_gradient(contiguous(x, dtype), dy, kept, kernel.shape, before)
            elif need_dx:
                dx = winograd.input_gradient(dy, kept, kernel, x.shape, before)
            return dx, dkernel, None if bias is None else dbias
        if not need_dx:
            return None, *_parameter_gradients(dy, cache, rows, columns)
    padded_filters = whole_vectors(filters, dtype)
    if pooled:
        dz = memory.workspace("dz", (images, rows.out, columns.out, padded_filters), dtype)
        sums = memory.empty((images, padded_filters), dtype)
        launch(_unpool, images, UnpoolPlan(images, half_h, half_w, filters, padded_filters), dy, dz, sums, kept)
    else:
        dz = memory.workspace("dz", (*dy.shape[:3], padded_filters), dtype)
        pixels = images * half_h * half_w
        sums = memory.empty((-(-pixels // SLICE), padded_filters), dtype)
        launch(_mask, len(sums), MaskPlan(pixels, filters, padded_filters), dy, contiguous(kept, kept.dtype), dz, sums)
    kernel = np.asarray(kernel, dtype)
    dx, dkernel = gradients(x, dz, kernel, strides, rows, columns, need_dx=need_dx, need_dkernel=need_dparameters)
    return dx, dkernel, add_rows(sums)[:filters] if need_dparameters and bias is not None else None


def _parameter_gradients(dy: np.ndarray, cache: tuple, rows: Axis, columns: Axis) -> tuple[np.ndarray, np.ndarray | None]:
    """dkernel and dbias of a pooled layer that need not send a gradient on: the first one. Its dz never exists as a whole."""
    x, kernel, bias, strides, _, _, winner = cache
    dtype, padded_filters = dy.dtype, whole_vectors(dy.shape[3], dy.dtype)
    x_pad = pad2d(contiguous(x, dtype), rows, columns)
    slices, scratch, plan = _slice_plan(x_pad.shape, dy.shape, kernel.shape, padded_filters, strides, dtype)
    dkernel, dbias = slice_sums(slices, kernel.shape, dtype), memory.empty((len(x), padded_filters), dtype)
    launch(_gradients_of_slice, slices, plan, x_pad, dy, dkernel, dbias, winner, scratch=scratch)
    return add_slices(dkernel), None if bias is None else add_rows(dbias)[: dy.shape[3]]


class SlicePlan(NamedTuple):
    """Slices of the batch; dz is made for a band of pooled rows at a time."""

    images: int
    slices: int
    half_h: int
    half_w: int
    filters: int
    padded_filters: int
    entries: int  # of the kernel
    band: int
    image_in_x: int
    row_in_x: int
    column_in_x: int


@functools.lru_cache(maxsize=256)
def _slice_plan(
    x_pad: tuple[int, ...], dy: tuple[int, ...], kernel: tuple[int, ...], padded_filters: int, strides: Pair, dtype: np.dtype
) -> tuple[int, int, Packed]:
    """The number of slices of the batch, the size of the scratch, and the plan, with where entries begin in x and dkernel."""
    images, height, width, channels = x_pad
    entries, of_row = kernel[0] * kernel[1] * channels, 4 * dy[2] * padded_filters
    band = min(dy[1], max(1, HALF_OF_LEVEL_1 // (of_row * dtype.itemsize)))
    slices = kernel_slices(images, math.prod(x_pad) + images * dy[1] * of_row, kernel, dtype)
    plan = SlicePlan._make([
        images, slices, *dy[1:], padded_filters, entries, band,
        height * width * channels, strides[0] * width * channels, strides[1] * channels,
    ])  # fmt: skip
    scratch = memory.whole_lines(band * of_row + padded_filters)
    return slices, scratch, packed(plan, entry_places(kernel, (1, 1), width, channels), steps(entries, kernel[3]))


def backward_dense(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """The same for a dense layer, a convolution of 1x1 images."""
    x, kernel, bias, y = cache
    as_convolution = (as_images(x), kernel[None, None], bias, (1, 1), "valid", False, as_images(y))
    dx, dkernel, dbias = backward(as_images(dy), as_convolution, need_dx, need_dparameters)
    return None if dx is None else dx.reshape(x.shape), None if dkernel is None else dkernel[0, 0], dbias


class UnpoolPlan(NamedTuple):
    """Pooled images, and the padded filters of dz."""

    images: int
    half_h: int
    half_w: int
    filters: int
    padded_filters: int


class MaskPlan(NamedTuple):
    """Pixels, and the padded filters of dz."""

    pixels: int
    filters: int
    padded_filters: int


@task_kernel
def _forward(
    task: Task, plan: ForwardPlan, x: Numbers, weights: Numbers, bias: Numbers, y: Numbers, winner: Bytes, in_x: Indices,
    in_y: Indices,
):  # fmt: skip
    image, chunk = task // plan.chunks, task % plan.chunks
    first, last = chunk * plan.half_h // plan.chunks, (chunk + 1) * plan.half_h // plan.chunks
    over_rows = plan.window_rows, plan.row_in_x, plan.row_in_weights
    counters = ((1, 0, 0), over_rows, (plan.window_run, plan.run_in_x, plan.run_in_weights))
    for top in range(first, last, plan.band):
        count = 4 * min(plan.band, last - top) * plan.half_w
        at, to = image * plan.image_in_x + top * plan.pooled_row_in_x, (image * plan.half_h + top) * plan.half_w * plan.filters
        if plan.keep:
            pooled_product(
                x, at, in_x, 0, weights, 0, counters, bias, 0, 0, y, to, in_y, 0, count, plan.filters, 0.0, winner
            )  # fmt: skip
        else:
            pooled_product(
                x, at, in_x, 0, weights, 0, counters, bias, 0, 0, y, to, in_y, 0, count, plan.filters, 0.0, None
            )  # fmt: skip


@task_kernel
def _unpool(task: Task, plan: UnpoolPlan, dy: Numbers, dz: Numbers, sums: Numbers, winner: Bytes):
    pixels, padded_filters = plan.half_h * plan.half_w, plan.padded_filters
    first, to = task * pixels, task * 4 * pixels * padded_filters
    clear(sums, task * padded_filters, padded_filters)
    _spread(dy, winner, first, pixels, plan, plan.images * pixels, dz, to, sums, task * padded_filters)


@task_kernel
def _gradients_of_slice(
    task: Task, plan: SlicePlan, x: Numbers, dy: Numbers, dkernel: Numbers, sums: Numbers, winner: Bytes, in_x: Indices,
    in_dkernel: Indices, scratch: Scratch,
):  # fmt: skip
    half_w, filters, padded_filters, entries = plan.half_w, plan.filters, plan.padded_filters, plan.entries
    begin, end = task * plan.images // plan.slices, (task + 1) * plan.images // plan.slices
    all_pixels, of_slice = plan.images * plan.half_h * half_w, task * entries * filters
    zeros = plan.band * 4 * half_w * padded_filters
    for f in range(padded_filters):
        scratch[zeros + f] = 0
    for image in range(begin, end):
        clear(sums, image * padded_filters, padded_filters)
        for top in range(0, plan.half_h, plan.band):
            count, first = min(plan.band, plan.half_h - top), (image * plan.half_h + top) * half_w
            _spread(dy, winner, first, count * half_w, plan, all_pixels, scratch, 0, sums, image * padded_filters)
            fresh = image == begin and top == 0
            over_rows = 2 * count, plan.row_in_x, 2 * half_w * padded_filters
            product(
                x, image * plan.image_in_x + 2 * top * plan.row_in_x, in_x, 0, scratch, 0,
                ((1, 0, 0), over_rows, (2 * half_w, plan.column_in_x, padded_filters)),
                scratch if fresh else dkernel, zeros if fresh else of_slice, 0 if fresh else filters,
                dkernel, of_slice, in_dkernel, 0, entries, filters, -np.inf,
            )  # fmt: skip


@inner()
def _spread(dy, winner, first, count, plan, all_pixels, dz, begin, sums, in_sums):
    """dz of some pooled pixels, rows of `half_w`, from `begin` on; and its sum, added to the one there is."""
    half_w, filters, padded_filters = plan.half_w, plan.filters, plan.padded_filters
    row = 2 * half_w * padded_filters
    for pixel in range(first, first + count):
        at, here = pixel * filters, pixel - first
        to = begin + here // half_w * 2 * row + here % half_w * 2 * padded_filters
        # What a vector reads behind the last filter is the next pixel's; it ends up where nobody looks.
        if padded_filters == filters or pixel + padded_filters // filters + 1 < all_pixels:
            one_of_four(dy, at, winner, at, dz, to, row, padded_filters, padded_filters)
        else:
            for k in range(4):
                pixel_of_dz = to + k // 2 * row + k % 2 * padded_filters
                for f in range(filters):
                    dz[pixel_of_dz + f] = dy[at + f] if winner[at + f] == k else 0
                for f in range(filters, padded_filters):
                    dz[pixel_of_dz + f] = 0
        sandwich("1 1", 0, dz, to, row, padded_filters, sums, in_sums, 0, 0, padded_filters, None, True)


@task_kernel
def _mask(task: Task, plan: MaskPlan, dy: Numbers, y: Numbers, dz: Numbers, sums: Numbers):
    filters, padded_filters = plan.filters, plan.padded_filters
    first, last = task * SLICE, min((task + 1) * SLICE, plan.pixels)
    if padded_filters == filters:
        for k in range(first * filters, last * filters):
            dz[k] = dy[k] if y[k] > 0 else 0
    else:
        for pixel in range(first, last):
            for f in range(padded_filters):
                above = f < filters and y[pixel * filters + f] > 0
                dz[pixel * padded_filters + f] = dy[pixel * filters + f] if above else 0
    clear(sums, task * padded_filters, padded_filters)
    for pixel in range(first, last):
        sandwich("1", 0, dz, pixel * padded_filters, 0, 0, sums, task * padded_filters, 0, 0, padded_filters, None, True)
