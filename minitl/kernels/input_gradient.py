"""The input gradient of a convolution, as a product of `simd`; the mathematics is in `minitl.ops.conv2d`.

Rows: the same pixel of several images, since all of them see the same part of the kernel. At the image's border the window is
cut exactly, and nothing is multiplied by padding. k runs over the outputs that saw this pixel. The kernel is rotated first
(`rotated`).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minitl.kernels import memory, winograd
from minitl.kernels.arrays import contiguous
from minitl.kernels.jit import inner
from minitl.kernels.launch import Indices, Numbers, Packed, Task, launch, packed, task_kernel
from minitl.kernels.matrix_product import is_product, multiply
from minitl.kernels.padding import pad2d
from minitl.kernels.places import steps
from minitl.kernels.processor import LEVEL_2
from minitl.kernels.recording import also
from minitl.kernels.simd import product, tile_rows, transpose, whole_vectors
from minitl.kernels.window_product import multiply_windows
from minitl.ops.window import Axis, Pair


def input_gradient(
    dy: np.ndarray,
    kernel: np.ndarray,
    shape: tuple[int, ...],
    strides: Pair,
    rows: Axis,
    columns: Axis,
    dilation: Pair = (1, 1),
) -> np.ndarray:
    """dx (N, H, W, C) from dy, of the kernel's dtype, whose channels may be followed by others that do not count."""
    if is_product(kernel.shape, strides) and dy.shape[1:3] == shape[1:3]:
        pixels = contiguous(dy.reshape(-1, dy.shape[3])[:, : kernel.shape[3]], dy.dtype)
        return multiply(pixels, contiguous(kernel[0, 0], kernel.dtype), np.zeros(shape[3], dy.dtype), b_transposed=True).reshape(
            shape
        )
    if dilation != (1, 1):
        return _of_dilated(dy, kernel, shape, rows, columns, dilation)
    if winograd.suits(kernel.shape, strides, dy.shape[1:3], dy.dtype):
        return winograd.input_gradient(dy, None, kernel, shape, (rows.before, columns.before))
    weights = rotated(kernel, strides)
    dx = memory.empty(shape, dy.dtype)
    tasks, plan = _input_gradient_plan(
        dy.shape, weights.shape, kernel.shape[:2], strides, (rows.before, columns.before), shape, dy.dtype
    )
    launch(_input_gradient, tasks, plan, dy, weights, np.zeros(shape[3], dy.dtype), dx)
    return dx


class InputGradientPlan(NamedTuple):
    """Groups of images, whose same pixels are rows of a tile; the kernel's phases and turns (`rotated`)."""

    images: int
    groups: int
    height: int
    width: int
    channels: int
    out_h: int
    out_w: int
    dy_channels: int  # those of dy, which may be more than the filters
    phases_w: int
    turns_h: int
    turns_w: int
    filters: int
    padded_channels: int
    window_h: int
    window_w: int
    stride_h: int
    stride_w: int
    before_h: int
    before_w: int


@functools.lru_cache(maxsize=256)
def _input_gradient_plan(
    dy: tuple[int, ...], weights: tuple[int, ...], window: Pair, strides: Pair, before: Pair, x: tuple[int, ...], dtype: np.dtype
) -> tuple[int, Packed]:
    """The number of tasks, and the plan, with where images begin in dy and dx."""
    images, height, width, channels = x
    of_image, rows = dy[1] * dy[2] * dy[3], tile_rows(channels, dtype)
    per_group = min(max(images, 1), max(rows, LEVEL_2 // (dtype.itemsize * of_image) // rows * rows))
    groups = -(-images // per_group)
    plan = InputGradientPlan._make([
        images, groups, height, width, channels, *dy[1:], *weights[1:], *window, *strides, *before,
    ])  # fmt: skip
    return groups * height, packed(plan, steps(images, of_image), steps(images, height * width * channels))


def rotated(kernel: np.ndarray, strides: Pair) -> np.ndarray:
    """The kernel as a pixel of x sees it, from the outputs that saw the pixel: last offset first, channels exchanged.

    With stride s a pixel i meets only the offsets a = i mod s, i mod s + s, ...: one phase of the kernel.
    Shapes: (K_h, K_w, C, F) to (s_h, s_w, ceil(K_h / s_h), ceil(K_w / s_w), F, C in whole vectors).
    """
    k_h, k_w, channels, filters = kernel.shape
    turns = -(-k_h // strides[0]), -(-k_w // strides[1])
    padded_channels = whole_vectors(channels, kernel.dtype)
    full = channels == padded_channels and k_h % strides[0] == 0 and k_w % strides[1] == 0
    weights = memory.workspace("rotated", (*strides, *turns, filters, padded_channels), kernel.dtype)
    if not full:
        also(np.ndarray.fill, weights, 0)
    plan = RotationPlan(k_w, channels, filters, *strides, *turns, padded_channels)
    launch(_rotate, k_h * k_w * -(-filters // 16), plan, contiguous(kernel, kernel.dtype), weights)
    return weights


class RotationPlan(NamedTuple):
    """The kernel, its phases and turns."""

    window_w: int
    channels: int
    filters: int
    stride_h: int
    stride_w: int
    turns_h: int
    turns_w: int
    padded_channels: int


def _of_dilated(
    dy: np.ndarray, kernel: np.ndarray, shape: tuple[int, ...], rows: Axis, columns: Axis, dilation: Pair
) -> np.ndarray:
    """A pixel of x sees a dilated window of dy, so that dx is a convolution, too: of dy with the rotated kernel."""
    around = []
    for axis, size, window, apart, out in zip((rows, columns), shape[1:3], kernel.shape, dilation, dy.shape[1:3], strict=False):
        before, reach = apart * (window - 1) - axis.before, apart * (window - 1) + size
        around.append((before, reach - out - before))
    # Outputs that see nothing but padding are left out.
    kept = tuple(slice(max(0, -before), out - max(0, -after)) for (before, after), out in zip(around, dy.shape[1:3], strict=True))
    seen = contiguous(dy[:, kept[0], kept[1], : kernel.shape[3]], dy.dtype)
    padded = pad2d(seen, *(Axis(0, max(0, before), max(0, after)) for before, after in around))
    weights = rotated(kernel, (1, 1))[0, 0]
    return multiply_windows(padded, weights, np.zeros(shape[3], dy.dtype), (shape[1], shape[2]), (1, 1), dilation, relu=False)


@task_kernel
def _input_gradient(
    task: Task,
    plan: InputGradientPlan,
    dy: Numbers,
    weights: Numbers,
    zeros: Numbers,
    dx: Numbers,
    in_dy: Indices,
    in_dx: Indices,
):
    channels, out_w, filters = plan.channels, plan.out_w, plan.filters
    g, i = task // plan.height, task % plan.height
    first, last = g * plan.images // plan.groups, (g + 1) * plan.images // plan.groups
    phase_h, from_h, to_h, turn_h = _who_saw(i + plan.before_h, plan.window_h, plan.stride_h, plan.turns_h, plan.out_h)
    for j in range(plan.width):
        phase_w, from_w, to_w, turn_w = _who_saw(j + plan.before_w, plan.window_w, plan.stride_w, plan.turns_w, out_w)
        at = (i * plan.width + j) * channels
        if to_h <= from_h or to_w <= from_w:
            for image in range(first, last):
                for c in range(channels):
                    dx[in_dx[image] + at + c] = 0
            continue
        phase = phase_h * plan.phases_w + phase_w
        in_weights = ((phase * plan.turns_h + turn_h) * plan.turns_w + turn_w) * filters * plan.padded_channels
        over_rows = (to_h - from_h, out_w * plan.dy_channels, plan.turns_w * filters * plan.padded_channels)
        if plan.dy_channels == filters:  # the outputs of a row are neighbours in memory
            counters = ((1, 0, 0), over_rows, ((to_w - from_w) * filters, 1, plan.padded_channels))
        else:
            over_columns = (to_w - from_w, plan.dy_channels, filters * plan.padded_channels)
            counters = (over_rows, over_columns, (filters, 1, plan.padded_channels))
        product(
            dy, (from_h * out_w + from_w) * plan.dy_channels, in_dy, first, weights, in_weights, counters, zeros, 0, 0,
            dx, at, in_dx, first, last - first, channels, -np.inf,
        )  # fmt: skip


@inner()
def _who_saw(i, window, stride, turns, out):
    """Along one axis: the phase of padded pixel i, the outputs [first, last) that saw it, and the first one's turn."""
    phase = i % stride
    offsets = (window - phase + stride - 1) // stride
    first, last = max(i // stride - offsets + 1, 0), min(i // stride, out - 1) + 1
    return phase, first, last, turns - 1 - (i // stride - first)


@task_kernel
def _rotate(task: Task, plan: RotationPlan, kernel: Numbers, weights: Numbers):
    channels, filters = plan.channels, plan.filters
    blocks = -(-filters // 16)
    a, b, first = task // blocks // plan.window_w, task // blocks % plan.window_w, task % blocks * 16
    phase = a % plan.stride_h * plan.stride_w + b % plan.stride_w
    turn = (plan.turns_h - 1 - a // plan.stride_h) * plan.turns_w + plan.turns_w - 1 - b // plan.stride_w
    to = ((phase * plan.turns_h * plan.turns_w + turn) * filters + first) * plan.padded_channels
    at = (a * plan.window_w + b) * channels * filters + first
    transpose(kernel, at, filters, channels, min(16, filters - first), weights, to, plan.padded_channels)
