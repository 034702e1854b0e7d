"""Convolution without groups, as three products of `simd`; the mathematics is in `minitl.ops.conv2d`.

Shapes that suit it go to `winograd`, which needs fewer multiplications; this is for all others.

Forward         in `window_product`.
dkernel         rows: the K_h K_w C entries of the kernel. k runs over images, rows and columns of dy. A small kernel
                has too few rows to share among threads, so the batch is cut into slices, each with sums of its own,
                added in a fixed order.
dx              in `input_gradient`.
dbias           a sum over all pixels, in slices.

A dense layer is a convolution of 1x1 images, and `kernels.dense` calls the functions here.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from minitl.kernels import memory, winograd
from minitl.kernels.add import add_relu
from minitl.kernels.add import forward as add
from minitl.kernels.arrays import common_dtype, contiguous
from minitl.kernels.folding import scaled
from minitl.kernels.input_gradient import input_gradient
from minitl.kernels.launch import Indices, Numbers, Packed, Task, launch, packed, task_kernel
from minitl.kernels.matrix_gradient import GROUP, multiply_slices, suits
from minitl.kernels.matrix_product import FEW_ROWS, is_product, multiply
from minitl.kernels.padding import every, pad2d, pad_columns
from minitl.kernels.places import entry_places, steps
from minitl.kernels.processor import CACHE_LINE, LEVEL_1, TASKS, THREADS
from minitl.kernels.recording import also
from minitl.kernels.row_sums import add_rows, sum_rows
from minitl.kernels.simd import product, tile_columns, tile_rows
from minitl.kernels.window_product import multiply_windows
from minitl.ops.conv2d import check
from minitl.ops.window import Axis, Pair, check_shape

geometry = functools.lru_cache(maxsize=1024)(check)  # how the kernel slides; small batches would notice checking
LARGE_BATCH = 4  # times as many numbers as a kernel has: the batch is worth cutting in two
MANY_ROWS = 1024  # up to so many, the gradient of a 1x1 kernel is a product of matrices like any other, or soon done


def convolve(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    strides: Pair,
    padding: str,
    relu: bool,
    scale: np.ndarray | None = None,
    skip: np.ndarray | None = None,
    into: tuple[np.ndarray, int] | None = None,
    dilation: Pair = (1, 1),
) -> np.ndarray:
    """Convolution with kernel times `scale` + bias, and ReLU of it while the tile is in the registers.

    `skip`, of y's shape, may be added in front of the ReLU; or y may go `into` channels of images that are there, contiguous and
    of the same dtype, from a given channel on; then those are returned. A factor for each filter comes in where the kernel is
    copied anyway: a product of its own would be one more pass.
    """
    rows, columns = geometry(x.shape, kernel.shape, None if bias is None else bias.shape, strides, padding, dilation)
    shape, out = (len(x), rows.out, columns.out, kernel.shape[3]), (rows.out, columns.out)
    if into is not None:
        check_shape("concatenate", "a part", into[0].shape[:3], shape[:3])
    if skip is not None:
        check_shape("add", "what a residual block skips with", skip.shape, shape)
    if kernel.shape[:2] == (1, 1):
        return pointwise(every(x, strides), kernel, bias, relu, scale, skip=skip, into=into)
    x, kernel, start = operands(x, kernel, bias)
    scale = None if scale is None else contiguous(scale, x.dtype)
    if dilation == (1, 1) and winograd.suits(kernel.shape, strides, out, x.dtype):
        skip = None if skip is None else contiguous(skip, x.dtype)
        before = rows.before, columns.before
        return winograd.forward(x, kernel, start, out, before, relu, scale=scale, skip=skip, into=into)[0]
    weights = pad_columns(kernel if scale is None else scaled(kernel, scale))
    y = multiply_windows(pad2d(x, rows, columns), weights, start, out, strides, dilation, relu and skip is None)
    if skip is not None:
        return add_relu(y, skip) if relu else add(y, skip)[0]
    if into is None:
        return y
    whole, first = into
    also(np.copyto, whole[..., first : first + kernel.shape[3]], y)
    return whole


def pointwise(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    relu: bool,
    scale: np.ndarray | None = None,
    ceiling: int = 0,
    skip: np.ndarray | None = None,
    into: tuple[np.ndarray, int] | None = None,
) -> np.ndarray:
    """The convolution with a 1x1 kernel, a product of matrices, with all that `matrix_product.multiply` does beside it."""
    x, kernel, start = operands(x, kernel, bias)
    shape = *x.shape[:3], kernel.shape[3]
    if skip is not None:
        check_shape("add", "what a residual block skips with", skip.shape, shape)
    scale = None if scale is None else contiguous(scale, x.dtype)
    skip = None if skip is None else contiguous(skip, x.dtype)
    rows, matrix = x.reshape(-1, kernel.shape[2]), kernel.reshape(kernel.shape[2:])
    if into is None:
        return multiply(rows, matrix, start, relu, scale=scale, ceiling=ceiling, skip=skip).reshape(shape)
    columns = into[0].reshape(-1, into[0].shape[3]), into[1]
    multiply(rows, matrix, start, relu, scale=scale, ceiling=ceiling, skip=skip, into=columns)
    return into[0]


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True, dilation: Pair = (1, 1)
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dkernel and dbias; what is not needed is None."""
    x, kernel, bias, strides, padding = cache
    rows, columns = geometry(x.shape, kernel.shape, None, strides, padding, dilation)
    check_shape("conv2d", "dy", dy.shape, (len(x), rows.out, columns.out, kernel.shape[3]))
    dtype = common_dtype(x, kernel)
    dy = contiguous(dy, dtype)
    dx, dkernel = gradients(x, dy, np.asarray(kernel, dtype), strides, rows, columns, dilation, need_dx, need_dparameters)
    return dx, dkernel, sum_rows(dy) if need_dparameters and bias is not None else None


def gradients(
    x: np.ndarray,
    dy: np.ndarray,
    kernel: np.ndarray,
    strides: Pair,
    rows: Axis,
    columns: Axis,
    dilation: Pair = (1, 1),
    need_dx: bool = True,
    need_dkernel: bool = True,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """dx and dkernel; what is not needed is None. dy has the kernel's dtype, and its channels may be followed by others."""
    if (
        need_dx
        and need_dkernel
        and dilation == (1, 1)
        and winograd.suits(kernel.shape, strides, dy.shape[1:3], dy.dtype)
        and len(x)
    ):
        return winograd.gradients(contiguous(x, dy.dtype), dy, None, kernel, (rows.before, columns.before))[:2]
    dx = input_gradient(dy, kernel, x.shape, strides, rows, columns, dilation) if need_dx else None
    if not need_dkernel:
        return dx, None
    return dx, kernel_gradient(contiguous(x, dy.dtype), dy, kernel.shape, strides, rows, columns, dilation)


def operands(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three as kernels need them, of one dtype; zeros for no bias."""
    dtype = common_dtype(x, kernel)
    start = np.zeros(kernel.shape[-1], dtype) if bias is None else contiguous(bias, dtype)
    return contiguous(x, dtype), contiguous(kernel, dtype), start


def kernel_gradient(
    x: np.ndarray, dy: np.ndarray, shape: tuple[int, ...], strides: Pair, rows: Axis, columns: Axis, dilation: Pair = (1, 1)
) -> np.ndarray:
    """dkernel (K_h, K_w, C, F) from x and dy, whose channels may be followed by others that do not count; both contiguous and
    of one dtype.
    """
    if not len(x):
        return np.zeros(shape, dy.dtype)
    pixels = dy.shape[1] * dy.shape[2]
    if shape[:2] == (1, 1) and len(x) * pixels > MANY_ROWS and suits(shape[2], shape[3], pixels):
        x = every(pad2d(x, rows, columns), strides)
        sums = slice_sums(kernel_slices(len(x), x.size + dy.size, shape, dy.dtype), shape, dy.dtype)
        multiply_slices(x.reshape(-1, shape[2]), dy.reshape(-1, dy.shape[3]), len(x), sums)
        return add_slices(sums)
    if is_product(shape, strides) and dy.shape[3] == shape[3] and dy.shape[1:3] == x.shape[1:3]:
        x_rows, dy_rows = x.reshape(-1, shape[2]), dy.reshape(-1, shape[3])
        if FEW_ROWS <= len(x_rows) <= MANY_ROWS and _tiles(shape, dy.dtype) >= TASKS:
            return multiply(x_rows, dy_rows, np.zeros(shape[3], dy.dtype), a_transposed=True).reshape(shape)
    if dilation == (1, 1) and winograd.suits(shape, strides, dy.shape[1:3], dy.dtype):
        return winograd.kernel_gradient(x, dy, None, shape, (rows.before, columns.before))[0]
    x_pad, dy = pad2d(x, rows, columns), pad_columns(dy)
    tasks, slices, plan = _kernel_gradient_plan(x_pad.shape, dy.shape, shape, strides, dilation, dy.dtype, THREADS)
    sums = slice_sums(slices, shape, dy.dtype)
    launch(_kernel_gradient, tasks, plan, x_pad, dy, np.zeros(shape[3], dy.dtype), sums)
    return add_slices(sums)


def slice_sums(slices: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Where the sums of the batch's slices go: a workspace, or, when there is one slice, what will be the result."""
    return memory.workspace("sums", (slices, *shape), dtype) if slices > 1 else memory.empty((1, *shape), dtype)


def add_slices(sums: np.ndarray) -> np.ndarray:
    """The sum over the slices of `slice_sums`."""
    return add_rows(sums) if len(sums) > 1 else sums[0]


class KernelGradientPlan(NamedTuple):
    """Slices of the batch, each cut into chunks of the kernel's entries; a block of images or a band of rows at a time."""

    images: int
    slices: int
    chunks: int
    block: int
    band: int
    entries: int
    groups: int  # of entries: whole tiles
    filters: int
    out_h: int
    out_w: int
    image_in_x: int  # numbers from one image, row or column of dy's pixels to the next, in x and in dy
    row_in_x: int
    column_in_x: int
    image_in_dy: int
    row_in_dy: int
    column_in_dy: int


@functools.lru_cache(maxsize=256)
def _kernel_gradient_plan(
    x_pad: tuple[int, ...],
    dy: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: Pair,
    dilation: Pair,
    dtype: np.dtype,
    threads: int,
) -> tuple[int, int, Packed]:
    """The number of tasks and of slices of the batch, and the plan, with where entries begin in x and in the sums."""
    (images, height, width, channels), padded_filters = x_pad, dy[3]
    entries = kernel[0] * kernel[1] * channels
    slices, groups = kernel_slices(images, math.prod(x_pad) + math.prod(dy), kernel, dtype), -(-entries // GROUP)
    # Every task reads the whole slice, so there should not be more of them than threads can use.
    chunks = min(groups, -(-threads // slices))
    # So many pixels of dy, and a cache line of each in x, stay in the level-1 cache while all entries of the kernel meet them.
    pixels = LEVEL_1 // 2 // (dtype.itemsize * min(padded_filters, tile_columns(dtype)) + CACHE_LINE)
    band = min(dy[1], max(1, pixels // dy[2]))
    block = max(1, pixels // (dy[1] * dy[2]))
    plan = KernelGradientPlan(
        images, slices, chunks, block, band, entries, groups, kernel[3], dy[1], dy[2],
        height * width * channels, strides[0] * width * channels, strides[1] * channels,
        dy[1] * dy[2] * padded_filters, dy[2] * padded_filters, padded_filters,
    )  # fmt: skip
    return slices * chunks, slices, packed(plan, entry_places(kernel, dilation, width, channels), steps(entries, kernel[3]))


def kernel_slices(images: int, numbers: int, kernel: tuple[int, ...], dtype: np.dtype) -> int:
    """Into how many slices the batch is cut for dkernel: the fewer tiles the kernel has, the more, an even number; and two at
    least where x and dy have many more numbers than the kernel, so that of two threads each reads half of them.
    """
    slices = -(-TASKS // _tiles(kernel, dtype))
    if slices > 1 or numbers > LARGE_BATCH * math.prod(kernel):
        slices = 2 * -(-slices // 2)
    return min(images, slices)


def _tiles(kernel: tuple[int, ...], dtype: np.dtype) -> int:
    return -(-kernel[0] * kernel[1] * kernel[2] // tile_rows(kernel[3], dtype))


@task_kernel
def _kernel_gradient(
    task: Task, plan: KernelGradientPlan, x: Numbers, dy: Numbers, zeros: Numbers, sums: Numbers, in_x: Indices, in_sums: Indices
):
    images, entries, filters = plan.images, plan.entries, plan.filters
    s, chunk = task // plan.chunks, task % plan.chunks
    first = chunk * plan.groups // plan.chunks * GROUP
    last = min((chunk + 1) * plan.groups // plan.chunks * GROUP, entries)
    begin, end, of_slice = s * images // plan.slices, (s + 1) * images // plan.slices, s * entries * filters
    for image in range(begin, end, plan.block):
        for top in range(0, plan.out_h, plan.band):
            fresh = image == begin and top == 0
            over_images = min(plan.block, end - image), plan.image_in_x, plan.image_in_dy
            over_rows = min(plan.band, plan.out_h - top), plan.row_in_x, plan.row_in_dy
            product(
                x, image * plan.image_in_x + top * plan.row_in_x, in_x, first,
                dy, image * plan.image_in_dy + top * plan.row_in_dy,
                (over_images, over_rows, (plan.out_w, plan.column_in_x, plan.column_in_dy)),
                zeros if fresh else sums, 0 if fresh else of_slice + first * filters, 0 if fresh else filters,
                sums, of_slice, in_sums, first, last - first, filters, -np.inf,
            )  # fmt: skip
