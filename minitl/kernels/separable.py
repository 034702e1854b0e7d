"""A depthwise convolution and the 1x1 convolution behind it, at inference: what lies between them never leaves the cache.

A task takes some rows of an image's outputs. It computes what the depthwise convolution gives there into scratch memory, which is
at home in the level-2 cache, and multiplies that by the matrix of the 1x1 convolution. The matrix is copied into panels once,
before the tasks begin; for one small image by each thread for itself, since what another thread has just written comes slowly.
A mean over height and width behind them is taken at once: a task then has a whole image, whose outputs stay in scratch memory.
The sums are those of the layers one after the other, to the bit.

Source: A. Howard et al., MobileNets, arXiv 1704.04861; `minitl.kernels.depthwise_conv2d`, `minitl.kernels.matrix_product`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minitl.kernels import global_average_pool2d, memory
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.convolution import pointwise
from minitl.kernels.depthwise_conv2d import Plan as Window
from minitl.kernels.depthwise_conv2d import convolve as convolve_depthwise
from minitl.kernels.depthwise_conv2d import geometry, output_row, plan_of
from minitl.kernels.global_average_pool2d import add_pixels
from minitl.kernels.jit import inner
from minitl.kernels.launch import Constants, Indices, Numbers, Packed, Scratch, Task, launch, packed, task_kernel
from minitl.kernels.matrix_product import ROWS_AT_ONCE, lay_out
from minitl.kernels.places import steps
from minitl.kernels.processor import LEVEL_1, LEVEL_2, THREADS
from minitl.kernels.simd import constant, finished_product, tile_columns, whole_vectors
from minitl.kernels.simd.entries import read_plan
from minitl.ops.window import Axis, Padding, Pair, check_shape

PIXELS = 48  # of a task, at least: for fewer, reading the panels takes longer than reading what lies between
TASKS_PER_THREAD = 2
OWN_PANELS = 512  # pixels of one image per thread, up to which each makes the panels for itself


class First(NamedTuple):
    """The depthwise convolution: what comes behind it is cut off below `floor` and above `ceiling`."""

    kernel: np.ndarray
    bias: np.ndarray | None
    strides: Pair
    padding: Padding
    dilation: Pair
    floor: float
    ceiling: float


class Second(NamedTuple):
    """The 1x1 convolution, with factors for its filters, a skip, and perhaps a ReLU with a ceiling, 0 for none, behind it."""

    kernel: np.ndarray
    bias: np.ndarray | None
    relu: bool
    scale: np.ndarray | None
    ceiling: int
    skip: np.ndarray | None


def convolve(x: np.ndarray, first: First, second: Second, mean: bool = False) -> np.ndarray:
    """The second convolution of what the first one gives; of that, with `mean`, the mean over height and width.

    Shapes: x (N, H, W, C), kernels (K_h, K_w, C, M) and (1, 1, C M, F), bias and scale (C M,) and (F,), skip and y (N, H_out,
    W_out, F), or y (N, F).
    Errors: ValueError for a skip of another shape.
    """
    rows, columns = geometry(x.shape, first.kernel.shape, None, first.strides, first.padding, first.dilation)
    shape = len(x), rows.out, columns.out, second.kernel.shape[3]
    if second.skip is not None:
        check_shape("add", "what a residual block skips with", second.skip.shape, shape)
    dtype = common_dtype(x, first.kernel)
    limits = first.floor == 0, 0 if first.ceiling == np.inf else int(first.ceiling)
    behind = second.relu, second.ceiling, second.skip is not None
    window = first.kernel.shape, first.strides, first.dilation, rows, columns
    tasks, scratch, plan = _plan(x.shape, *window, limits, shape[3], behind, dtype, mean)
    if mean and (plan is None or not plan.plan.means):
        return global_average_pool2d.forward(convolve(x, first, second))[0]
    if plan is None:
        return pointwise(convolve_depthwise(x, *first), *second)
    y = memory.empty((len(x), shape[3]) if mean else shape, dtype)
    middle, filters, width = second.kernel.shape[2], shape[3], plan.plan.panel_columns
    scale = np.ones(filters, dtype) if second.scale is None else flat(second.scale, dtype)
    b = flat(second.kernel, dtype)
    if not plan.plan.own_panels:
        panels = memory.empty((-(-filters // width), middle, width), dtype)
        launch(_make_panels, len(panels), plan, b, scale, panels)
        b = panels
    starts = [
        np.zeros(size, dtype) if bias is None else flat(bias, dtype)
        for bias, size in ((first.bias, middle), (second.bias, filters))
    ]
    skip = y if second.skip is None else flat(second.skip, dtype)
    given = flat(x, dtype), flat(first.kernel, dtype), b, scale, starts[1], skip, y, starts[0]
    launch(_forward, tasks, plan, *given, scratch=scratch)
    return y


class Plan(NamedTuple):
    """How the outputs of the depthwise convolution, whose own plan says how it slides, are cut and multiplied."""

    rectified: int  # whether what lies between is cut off below zero
    middle_ceiling: int  # and above what, or 0
    own_panels: int  # in a task's scratch, from this number on; or 0, where all tasks read the same
    chunks: int  # of an image's rows
    chunks_per_task: int
    means: int  # the first row of a chunk's outputs in a task's scratch, where their mean is wanted; or 0
    depth: int  # of the sums
    depth_at_once: int  # of a panel that is copied
    terms: int  # of a panel that is multiplied at once
    columns: int
    panel_columns: int
    relu: int
    ceiling: int
    skips: int
    row_in_c: int
    first_in_c: int


@functools.lru_cache(maxsize=256)
def _plan(
    x: tuple[int, ...], kernel: tuple[int, ...], strides: Pair, dilation: Pair, rows: Axis, columns: Axis,
    limits: tuple[bool, int], filters: int, behind: tuple[bool, int, bool], dtype: np.dtype, mean: bool = False,
) -> tuple[int, int, Packed | None]:  # fmt: skip
    """The number of tasks, the size of what lies between, and the plan; None where the two are better done one by one."""
    middle = kernel[2] * kernel[3]
    row = columns.out * middle * dtype.itemsize
    chunks = max(-(-rows.out // max(1, LEVEL_2 // row)), min(rows.out, -(-TASKS_PER_THREAD * THREADS // x[0])))
    own = x[0] == 1 and chunks <= TASKS_PER_THREAD * THREADS and rows.out * columns.out <= THREADS * OWN_PANELS
    if own:
        chunks = min(rows.out, THREADS)
    at_once = -(-rows.out // chunks)
    if at_once * columns.out < PIXELS or at_once * row > 2 * LEVEL_2:
        return 0, 0, None
    width = min(tile_columns(dtype), whole_vectors(filters, dtype))
    terms = -(-middle // -(-middle * width * dtype.itemsize // LEVEL_1))
    between = memory.whole_lines(at_once * columns.out * middle)
    panels = -(-filters // width) * middle * width if own else 0
    relu, ceiling, skips = behind
    outputs, before = at_once * columns.out * filters, -(-between // filters)
    mean = mean and not skips and x[0] >= TASKS_PER_THREAD * THREADS and outputs * dtype.itemsize <= 2 * LEVEL_2
    cut = (chunks, chunks, before) if mean else (chunks, 1, 0)
    product = between if own else 0, *cut, middle, middle, terms, filters, width, relu, ceiling, skips, filters, 0
    window = np.array(plan_of(x, kernel, strides, dilation, rows, columns, dtype).plan)
    indices = steps(ROWS_AT_ONCE, middle), steps(ROWS_AT_ONCE, filters), window
    scratch = before * filters + outputs if mean else between + panels
    return x[0] * chunks // cut[1], memory.whole_lines(scratch), packed(Plan._make([*limits, *product]), *indices)


@task_kernel
def _make_panels(task: Task, plan: Plan, b: Numbers, scale: Numbers, panels: Numbers):
    left = task * plan.panel_columns
    lay_out(plan, b, scale, 0, left, min(left + plan.panel_columns, plan.columns), panels, left * plan.depth)


@task_kernel
def _forward(
    task: Task, plan: Plan, x: Numbers, kernel: Numbers, b: Numbers, scale: Numbers, start: Numbers, skip: Numbers, y: Numbers,
    bias: Constants, in_a: Indices, in_c: Indices, depthwise: Indices, scratch: Scratch,
):  # fmt: skip
    window, image = read_plan(depthwise, Window), task * plan.columns
    panels, in_panels = b, 0
    if plan.own_panels:
        panels, in_panels = scratch, plan.own_panels
        lay_out(plan, b, scale, 0, 0, plan.columns, panels, in_panels)
    c = y
    if plan.means:
        c = scratch
        for k in range(plan.columns):
            y[image + k] = 0
    for chunk in range(task * plan.chunks_per_task, (task + 1) * plan.chunks_per_task):
        n, number = chunk // plan.chunks, chunk % plan.chunks
        first, last = number * window.out_h // plan.chunks, (number + 1) * window.out_h // plan.chunks
        begin, rows = (n * window.out_h + first) * window.out_w, (last - first) * window.out_w
        if plan.means:
            begin = plan.means
        _between(plan, window, n, first, last, x, kernel, bias, scratch)
        _product(plan, rows, begin, scratch, in_a, panels, in_panels, start, skip, c, in_c)
        if plan.means:
            add_pixels(c, begin * plan.columns, rows, plan.columns, y, image)
    if plan.means:
        pixels = constant(x, window.out_h * window.out_w)
        for k in range(plan.columns):
            y[image + k] /= pixels


@inner()
def _between(plan, window, n, first, last, x, kernel, bias, scratch):
    """What the depthwise convolution gives for some rows."""
    floor = constant(x, 0.0 if plan.rectified else -np.inf)
    ceiling = constant(x, plan.middle_ceiling if plan.middle_ceiling else np.inf)
    for i in range(first, last):
        output_row(window, n, i, x, kernel, bias, scratch, (i - first) * window.out_w * plan.depth, floor, ceiling)


@inner()
def _product(plan, rows, begin, scratch, in_a, panels, in_panels, start, skip, c, in_c):
    """Multiply that by the matrix, whose panels are there."""
    for k in range(0, plan.depth, plan.terms):
        terms = min(plan.terms, plan.depth - k)
        whole = k + terms == plan.depth
        least = 0.0 if plan.relu and whole else -np.inf
        for left in range(0, plan.columns, plan.panel_columns):
            for row in range(0, rows, ROWS_AT_ONCE):
                to, at = (begin + row) * plan.columns + left, in_panels + left * plan.depth + k * plan.panel_columns
                finished_product(
                    scratch, row * plan.depth + k, in_a, 0, panels, at, ((1, 0, 0), (1, 0, 0), (terms, 1, plan.panel_columns)),
                    start if k == 0 else c, left if k == 0 else to, 0 if k == 0 else plan.columns,
                    c, to, in_c, 0, min(ROWS_AT_ONCE, rows - row), min(plan.panel_columns, plan.columns - left), least,
                    False, plan.ceiling if whole else 0, plan.skips and whole, skip, 0,
                )  # fmt: skip
