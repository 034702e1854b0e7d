"""The product of every window of images with a kernel: most of a convolution, as a product of `simd`.

Rows: output pixels, some images together when they are small. k runs over the window: K_h rows of K_w C neighbours in memory.
With dilation d the rows of a window are d_h rows of the image apart, and its columns d_w pixels: then k runs over K_h rows of
K_w columns of C neighbours.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.launch import Indices, Numbers, Packed, Task, launch, packed, task_kernel
from minitl.kernels.places import steps, window_places
from minitl.kernels.processor import LEVEL_1, TASKS
from minitl.kernels.simd import product, tile_columns
from minitl.ops.window import Pair


def multiply_windows(
    x_pad: np.ndarray, weights: np.ndarray, start: np.ndarray, out: Pair, strides: Pair, dilation: Pair, relu: bool
) -> np.ndarray:
    """The windows of padded images times the kernel + start, and of that what is above zero if `relu`.

    Shapes: x_pad (N, H, W, C), weights (K_h, K_w, C, F in whole vectors), start (F,), the result (N, *out, F); all contiguous
    and of one dtype.
    """
    y = memory.empty((len(x_pad), *out, len(start)), x_pad.dtype)
    tasks, plan = _plan(x_pad.shape, weights.shape, len(start), out, strides, dilation, relu, x_pad.dtype)
    launch(_multiply_windows, tasks, plan, x_pad, weights, start, y)
    return y


class Plan(NamedTuple):
    """Groups of output pixels, each cut into chunks; how a window is walked through, and how much of it at a time."""

    outputs: int  # pixels of all images
    group: int  # of them, whose windows share the places
    chunks: int
    x_group: int  # numbers of x from one group to the next
    filters: int
    relu: int
    window_rows: int
    row_in_x: int  # numbers from one row of the window to the next
    row_in_weights: int
    window_run: int  # neighbours in a row of the window: K_w C, or with dilation C
    run_in_x: int
    run_in_weights: int
    window_columns: int  # such runs in a row
    column_in_x: int
    column_in_weights: int
    rows_at_once: int
    columns_at_once: int
    run_at_once: int


@functools.lru_cache(maxsize=256)
def _plan(
    x_pad: tuple[int, ...],
    weights: tuple[int, ...],
    filters: int,
    out: Pair,
    strides: Pair,
    dilation: Pair,
    relu: bool,
    dtype: np.dtype,
) -> tuple[int, Packed]:
    """The number of tasks, and the plan, with where windows and outputs begin; kept, since making it takes its time."""
    images, height, width, channels = x_pad
    padded_filters, pixels = weights[3], out[0] * out[1]
    per_group = max(1, 64 // pixels)  # small images share tiles
    chunks = -(-TASKS * per_group // images) if 0 < images < TASKS * per_group else 1
    places = window_places(out, strides, width, channels)
    if per_group > 1:
        places = (np.arange(per_group)[:, None] * height * width * channels + places).reshape(-1)
    rows, row_in_x, row_in_weights, run, *run_steps = window_steps(weights, width, channels, padded_filters)
    apart = 1, 0, 0
    if dilation[1] > 1:
        run, apart = channels, (weights[1], dilation[1] * channels, channels * padded_filters)
    at_once = _at_once((rows, apart[0], run), min(padded_filters, tile_columns(dtype)) * dtype.itemsize)
    plan = Plan._make([
        images * pixels, len(places), chunks, height * width * channels * per_group, filters, relu,
        rows, dilation[0] * row_in_x, row_in_weights, run, *run_steps, *apart, *at_once,
    ])  # fmt: skip
    return -(-images * pixels // len(places)) * chunks, packed(plan, places, steps(len(places), filters))


def window_steps(kernel: tuple[int, ...], width: int, channels: int, padded_filters: int) -> tuple[int, ...]:
    """How k runs over a window: its rows, and within a row K_w C neighbours in memory; each with steps in x and kernel."""
    run = kernel[1] * channels
    return kernel[0], width * channels, run * padded_filters, run, 1, padded_filters


def _at_once(counts: tuple[int, int, int], size: int) -> tuple[int, int, int]:
    """How many rows, columns and neighbours of the window a product takes at a time: as much of the kernel, of which a number has
    `size` bytes in a tile's columns, as stays in the level-1 cache while all pixels meet it.
    """
    numbers, (rows, columns, run) = LEVEL_1 // size, counts
    if run > numbers:
        return 1, 1, -(-run // -(-run // numbers))
    if columns * run > numbers:
        return 1, -(-columns // -(-columns * run // numbers)), run
    return -(-rows // -(-rows * columns * run // numbers)), columns, run


@task_kernel
def _multiply_windows(
    task: Task, plan: Plan, x: Numbers, weights: Numbers, start: Numbers, y: Numbers, in_x: Indices, in_y: Indices
):
    filters = plan.filters
    g, chunk = task // plan.chunks, task % plan.chunks
    here = min(plan.group, plan.outputs - g * plan.group)
    first, last = chunk * here // plan.chunks, (chunk + 1) * here // plan.chunks
    to = (g * plan.group + first) * filters
    for row in range(0, plan.window_rows, plan.rows_at_once):
        for column in range(0, plan.window_columns, plan.columns_at_once):
            for k in range(0, plan.window_run, plan.run_at_once):
                rows = min(plan.rows_at_once, plan.window_rows - row)
                columns = min(plan.columns_at_once, plan.window_columns - column)
                run = min(plan.run_at_once, plan.window_run - k)
                whole = row + rows == plan.window_rows and column + columns == plan.window_columns and k + run == plan.window_run
                fresh = row + column + k == 0
                at = row * plan.row_in_x + column * plan.column_in_x + k
                in_weights = row * plan.row_in_weights + column * plan.column_in_weights + k * plan.run_in_weights
                product(
                    x, g * plan.x_group + at, in_x, first, weights, in_weights,
                    ((rows, plan.row_in_x, plan.row_in_weights), (columns, plan.column_in_x, plan.column_in_weights),
                     (run, plan.run_in_x, plan.run_in_weights)),
                    start if fresh else y, 0 if fresh else to, 0 if fresh else filters,
                    y, g * plan.group * filters, in_y, first, last - first, filters, 0.0 if whole and plan.relu else -np.inf,
                )  # fmt: skip
