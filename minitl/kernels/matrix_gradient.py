"""The gradient of a matrix, x^T dy: of dense layers, and of 1x1 convolutions, whose pixels are rows of a matrix.

The sums run over rows of x and dy, which are read down their columns: from row to row the processor would meet the same few
places of its cache again and again. So a block of rows is copied to where a tile reads it in order: x in groups of a tile's
entries, dy in panels of a tile's columns. A copied panel stays in the level-1 cache while every group meets it.

Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, 2008, section 4.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.jit import inlined
from minitl.kernels.launch import Indices, Numbers, Packed, Scratch, Task, launch, packed, task_kernel
from minitl.kernels.places import steps
from minitl.kernels.processor import HALF_OF_LEVEL_1, LEVEL_2, THREADS
from minitl.kernels.simd import clear, copy, copy_panels, product, tile_columns, whole_vectors

GROUP = 12  # channels of x that lie together: whole tiles
WORTH_COPYING = 64  # channels and filters, from which on copying costs less than reading rows of pixels where they lie


def suits(channels: int, filters: int, pixels: int) -> bool:
    """Whether copying pays: kernels of many channels and filters, and images of one pixel, which have no rows to run along."""
    return pixels == 1 or min(channels, filters) >= WORTH_COPYING


def multiply_slices(x: np.ndarray, dy: np.ndarray, images: int, sums: np.ndarray) -> None:
    """sums[s] = x^T dy over the pixels of the images in slice s of the batch.

    Shapes: x (M, C) and dy (M, F), M pixels of so many images, or more columns of dy, which do not count; sums
    (slices, ..., C, F); all contiguous and of one dtype.
    """
    (pixels, channels), filters = x.shape, sums.shape[-1]
    tasks, scratch, plan = _plan(pixels, images, channels, filters, dy.shape[1], len(sums), dy.dtype, THREADS)
    launch(_multiply_slices, tasks, plan, x, dy, np.zeros(filters, dy.dtype), sums, scratch=scratch)


class Plan(NamedTuple):
    """Slices of the batch, each cut into chunks of groups of channels; a block of pixels at a time."""

    images: int
    pixels: int  # per image
    slices: int
    chunks: int
    channels: int
    groups: int
    filters: int
    row_in_dy: int
    panel: int  # filters
    pixels_at_once: int
    groups_at_once: int


@functools.lru_cache(maxsize=256)
def _plan(
    pixels: int, images: int, channels: int, filters: int, row_in_dy: int, slices: int, dtype: np.dtype, threads: int
) -> tuple[int, int, Packed]:
    """The number of tasks, the size of their scratch, and the plan, with where channels begin in groups and in the sums."""
    panel, groups = min(tile_columns(dtype), whole_vectors(filters, dtype)), -(-channels // GROUP)
    chunks = min(groups, -(-threads // slices))
    pixels_at_once = min(pixels, HALF_OF_LEVEL_1 // (tile_columns(dtype) * dtype.itemsize))
    groups_at_once = max(1, min(-(-groups // chunks), LEVEL_2 // (pixels_at_once * GROUP * dtype.itemsize)))
    plan = Plan(
        images, pixels // images, slices, chunks, channels, groups, filters, row_in_dy, panel, pixels_at_once, groups_at_once
    )
    at_once = np.arange(groups_at_once * GROUP)
    in_groups = at_once // GROUP * GROUP * pixels_at_once + at_once % GROUP
    scratch = memory.whole_lines(pixels_at_once * (panel + groups_at_once * GROUP))
    return slices * chunks, scratch, packed(plan, in_groups, steps(len(at_once), filters))


@task_kernel
def _multiply_slices(
    task: Task, plan: Plan, x: Numbers, dy: Numbers, zeros: Numbers, sums: Numbers, in_groups: Indices, in_sums: Indices,
    scratch: Scratch,
):  # fmt: skip
    s, chunk = task // plan.chunks, task % plan.chunks
    begin, end = s * plan.images // plan.slices * plan.pixels, (s + 1) * plan.images // plan.slices * plan.pixels
    first_group, last_group = chunk * plan.groups // plan.chunks, (chunk + 1) * plan.groups // plan.chunks
    groups = plan.pixels_at_once * plan.panel  # behind the panel
    for pixel in range(begin, end, plan.pixels_at_once):
        pixels, fresh = min(plan.pixels_at_once, end - pixel), pixel == begin
        for group in range(first_group, last_group, plan.groups_at_once):
            first = group * GROUP
            last = min(min(group + plan.groups_at_once, last_group) * GROUP, plan.channels)
            _copy_groups(plan, x, pixel, pixels, first, last, scratch, groups)
            for left in range(0, plan.filters, plan.panel):
                width = min(plan.panel, plan.filters - left)
                _copy_panel(plan, dy, pixel, pixels, left, width, scratch)
                to = (s * plan.channels + first) * plan.filters + left
                product(
                    scratch, groups, in_groups, 0, scratch, 0, ((1, 0, 0), (1, 0, 0), (pixels, GROUP, plan.panel)),
                    zeros if fresh else sums, 0 if fresh else to, 0 if fresh else plan.filters,
                    sums, to, in_sums, 0, last - first, width, -np.inf,
                )  # fmt: skip


@inlined
def _copy_groups(plan, x, pixel, pixels, first, last, groups, to):
    """Channels [first, last) of some pixels: a group's channels of every pixel, then the next group's."""
    for left in range(first, last, GROUP):
        in_group = to + (left - first) * plan.pixels_at_once
        if left + GROUP <= last:  # a number that the compiler knows becomes two or three instructions
            for k in range(pixels):
                copy(x, (pixel + k) * plan.channels + left, groups, in_group + k * GROUP, GROUP)
        else:
            for k in range(pixels):
                copy(x, (pixel + k) * plan.channels + left, groups, in_group + k * GROUP, last - left)


@inlined
def _copy_panel(plan, dy, pixel, pixels, left, width, panel):
    """Filters [left, left + width) of some pixels; what is missing of the panel's columns is zero."""
    first = pixel * plan.row_in_dy + left
    if width == plan.panel:
        copy_panels(dy, first, plan.row_in_dy, None, 0, panel, 0, 0, width, 1, pixels)
        return
    for k in range(pixels):
        copy(dy, first + k * plan.row_in_dy, panel, k * plan.panel, width)
        clear(panel, k * plan.panel + width, plan.panel - width)
