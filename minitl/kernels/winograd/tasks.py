"""What is compiled of Winograd's convolution: one task of each step, on pointers; the scratch holds V, M, a strip and a tile."""

from __future__ import annotations

import numpy as np

from minitl.kernels.jit import jit
from minitl.kernels.launch import Bytes, Numbers, Scratch, Task, task_kernel
from minitl.kernels.simd import best_of_sandwich, one_of_four, product, sandwich, scaled_sandwich, transpose
from minitl.kernels.winograd.plan import LINE, KernelSizes, Sizes

ENTRIES_PER_TASK = 1024  # of the kernel that one task transforms, whole vectors
FILTERS_PER_TASK = 16  # of the kernel that one task rotates and transforms

INPUT = "1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 -1 0 1"  # B^T
INPUT_GRADIENT = "1 0 0 0; 0 1 -1 -1; -1 1 1 0; 0 0 0 1"  # B
KERNEL = "1 0 0; .5 .5 .5; .5 -.5 .5; 0 0 1"  # G
KERNEL_GRADIENT = "1 .5 .5 0; 0 .5 -.5 0; 0 .5 .5 1"  # G^T
OUTPUT = "1 1 1 0; 0 1 -1 1"  # A^T
OUTPUT_GRADIENT = "1 0; 1 1; 1 -1; 0 1"  # A


@task_kernel
def transform_kernel(task: Task, plan: KernelSizes, parts: Numbers, scale: Numbers, u: Numbers):
    """U of some entries of the kernel."""
    size = plan.p * plan.q * plan.channels * plan.filters
    plane = size + LINE
    at, end = task * ENTRIES_PER_TASK, min((task + 1) * ENTRIES_PER_TASK, size)
    while at < end:  # a row of filters, or what is left of it
        count = min(end - at, plan.filters - at % plan.filters) if plan.scaled else end - at
        _transform(parts, at, size, plan.scaled, scale, at % plan.filters, u, at, plane, count)
        at += count


@task_kernel
def transform_rotated(task: Task, plan: KernelSizes, kernel: Numbers, u: Numbers, scratch: Scratch):
    """U of some filters of the rotated kernel: its last offset first, channels and filters exchanged."""
    p, q, channels, filters = plan.p, plan.q, plan.channels, plan.filters
    blocks = (filters + FILTERS_PER_TASK - 1) // FILTERS_PER_TASK
    a, b, first = task // blocks // q, task // blocks % q, task % blocks * FILTERS_PER_TASK
    count = min(FILTERS_PER_TASK, filters - first)
    size, whole = count * channels, p * q * channels * filters
    for k in range(9):
        if (a > 0 and k < 3) or (b > 0 and k % 3 == 0):
            _clear(scratch, k * size, size)
            continue
        row, column = 2 * p - 2 * a - k // 3, 2 * q - 2 * b - k % 3
        at = (row * (2 * q + 1) + column) * channels * filters + first
        transpose(kernel, at, filters, channels, count, scratch, k * size, channels)
    sandwich(
        KERNEL, scratch, 0, 3 * size, size,
        u, ((a * q + b) * filters + first) * channels, 4 * (whole + LINE), whole + LINE, size, None, False,
    )  # fmt: skip


@task_kernel
def forward(
    task: Task, s: Sizes, x: Numbers, weights: Numbers, bias: Numbers, scale: Numbers, y: Numbers, winner: Bytes, scratch: Scratch
):
    """y of one block, for all filters or some."""
    filters = s.filters // s.chunks
    in_filters = task % s.chunks * filters
    in_y = s.y_first + in_filters
    block, band = task // s.chunks // s.bands, task // s.chunks % s.bands
    first = block * s.images_per_block
    count = min(s.images_per_block, s.images - first)
    top, bottom = band * s.grid_h // s.bands, (band + 1) * s.grid_h // s.bands
    rows, columns = bottom - top, s.grid_w
    v_columns = columns + s.q - 1
    _patches(x, s, first, count, top, rows + s.p - 1, v_columns, scratch)
    places = _tile_places(count, rows, columns, rows + s.p - 1, v_columns, s.channels)
    targets = _steps(len(places), filters)
    _clear(scratch, s.in_tile, filters)
    for channel in range(0, s.channels, s.channels_at_once):
        here = min(s.channels_at_once, s.channels - channel)
        u, in_u = weights, 0
        if s.chunks > 1:  # some filters of U for this task alone
            u, in_u = scratch, s.in_u
            _part_of_u(weights, s, scale, channel, here, in_filters, filters, scratch)
        run = s.q * here  # all channels, unless the kernel is a single window of 3
        counters = ((1, 0, 0), (s.p, v_columns * s.channels, run * filters), (run, 1, filters))
        for plane in range(16):
            start, in_start, step = scratch, s.in_tile, 0
            if channel > 0:
                start, in_start, step = scratch, s.in_m + plane * s.plane_m, filters
            elif plane == 5:
                start, in_start, step = bias, in_filters, 0
            product(
                scratch, plane * s.plane_v + channel, places, 0, u, in_u + plane * s.plane_u, counters,
                start, in_start, step, scratch, s.in_m + plane * s.plane_m, targets, 0, len(places), filters, -np.inf,
            )  # fmt: skip
    floor = 0.0 if s.relu else -np.inf
    for t in range(len(places)):
        n, i, j = first + t // columns // rows, top + t // columns % rows, t % columns
        at = s.in_m + t * filters
        if s.pooled:
            to = ((n * s.out_h + i) * s.out_w + j) * s.y_channels + in_y
            if s.keep:
                best_of_sandwich(OUTPUT, scratch, at, 4 * s.plane_m, s.plane_m, y, to, winner, to, filters)
            else:
                best_of_sandwich(OUTPUT, scratch, at, 4 * s.plane_m, s.plane_m, y, to, None, 0, filters)
            continue
        if 2 * i + 2 <= s.out_h and 2 * j + 2 <= s.out_w:
            to = ((n * s.out_h + 2 * i) * s.out_w + 2 * j) * s.y_channels + in_y
            sandwich(
                OUTPUT, scratch, at, 4 * s.plane_m, s.plane_m, y, to, s.out_w * s.y_channels, s.y_channels, filters, floor, False
            )  # fmt: skip
            continue
        sandwich(OUTPUT, scratch, at, 4 * s.plane_m, s.plane_m, scratch, s.in_tile, 2 * filters, filters, filters, floor, False)
        for k in range(4):
            row, column = 2 * i + k // 2, 2 * j + k % 2
            if row < s.out_h and column < s.out_w:
                to = ((n * s.out_h + row) * s.out_w + column) * s.y_channels + in_y
                _copy(scratch, s.in_tile + k * filters, y, to, filters)


@task_kernel
def sum_of_slice(task: Task, s: Sizes, x: Numbers, dy: Numbers, zeros: Numbers, sums: Numbers, winner: Bytes, scratch: Scratch):
    """dU and dbias of one slice of the batch."""
    columns, v_columns = s.grid_w, s.grid_w + s.q - 1
    entries = s.p * s.q * s.channels
    in_sums = task * (16 * entries + 1) * s.filters
    places, targets = np.empty(entries, np.intp), _steps(entries, s.filters)
    for entry in range(entries):
        a, b, c = entry // s.channels // s.q, entry // s.channels % s.q, entry % s.channels
        places[entry] = (a * v_columns + b) * s.channels + c
    in_bias = in_sums + 16 * entries * s.filters
    _clear(sums, in_bias, s.filters)
    begin, end = task * s.images // s.slices, (task + 1) * s.images // s.slices
    for first in range(begin, end, s.images_per_block):
        count = min(s.images_per_block, end - first)
        for band in range(s.bands):
            top, bottom = band * s.grid_h // s.bands, (band + 1) * s.grid_h // s.bands
            rows = bottom - top
            _patches(x, s, first, count, top, rows + s.p - 1, v_columns, scratch)
            _output_gradients(dy, winner, s, first, count, top, rows, 0, columns, scratch)
            counters = (
                (count, (rows + s.p - 1) * v_columns * s.channels, rows * columns * s.filters),
                (rows, v_columns * s.channels, columns * s.filters),
                (columns, s.channels, s.filters),
            )
            fresh = first == begin and band == 0
            for plane in range(16):
                at = in_sums + plane * entries * s.filters
                product(
                    scratch, plane * s.plane_v, places, 0, scratch, s.in_m + plane * s.plane_m, counters,
                    zeros if fresh else sums, 0 if fresh else at, 0 if fresh else s.filters,
                    sums, at, targets, 0, entries, s.filters, -np.inf,
                )  # fmt: skip
            for t in range(count * rows * columns):  # plane (1, 1) of dM has the sum of a tile's four gradients
                at = s.in_m + 5 * s.plane_m + t * s.filters
                sandwich("1", scratch, at, 0, 0, sums, in_bias, 0, 0, s.filters, None, True)


@task_kernel
def gather(task: Task, s: Sizes, sums: Numbers, parts: Numbers, dbias: Numbers):
    """The slices' sums of one row of entries of dU, and dkernel; and of dbias, with the first row."""
    size, at = s.p * s.q * s.channels * s.filters, task * s.filters
    for k in range(1, s.slices):
        for plane in range(16):
            of_slice = k * (16 * size + s.filters) + plane * size + at
            sandwich("1", sums, of_slice, 0, 0, sums, plane * size + at, 0, 0, s.filters, None, True)
    sandwich(KERNEL_GRADIENT, sums, at, 4 * size, size, parts, at, 3 * size, size, s.filters, None, False)
    if task == 0:
        _clear(dbias, 0, s.filters)
        for k in range(1, s.slices + 1):
            sandwich("1", sums, k * (16 * size + s.filters) - s.filters, 0, 0, dbias, 0, 0, 0, s.filters, None, True)


@task_kernel
def input_gradient(task: Task, s: Sizes, dy: Numbers, u: Numbers, zeros: Numbers, dx: Numbers, winner: Bytes, scratch: Scratch):
    """dx of one block of images."""
    channels, filters = s.channels, s.filters
    total, columns = s.grid_h + s.p - 1, s.grid_w + s.q - 1  # patches of an image
    m_columns = columns + s.q - 1
    run = s.q * filters
    counters = ((1, 0, 0), (s.p, m_columns * filters, run * channels), (run, 1, channels))
    first = task * s.images_per_block
    count = min(s.images_per_block, s.images - first)
    strip_row = (2 * columns + 2) * channels
    image_row = s.width * channels
    plane_u = s.p * s.q * channels * filters + LINE
    for band in range(s.bands):
        top, bottom = band * total // s.bands, (band + 1) * total // s.bands
        rows = bottom - top
        _output_gradients(dy, winner, s, first, count, top - s.p + 1, rows + s.p - 1, 1 - s.q, m_columns, scratch)
        places = _tile_places(count, rows, columns, rows + s.p - 1, m_columns, filters)
        targets = _steps(len(places), channels)
        for plane in range(16):
            product(
                scratch, s.in_m + plane * s.plane_m, places, 0, u, _mirrored(plane) * plane_u, counters, zeros, 0, 0,
                scratch, plane * s.plane_v, targets, 0, len(places), channels, -np.inf,
            )  # fmt: skip
        for line in range(count * rows):
            n, i = first + line // rows, top + line % rows
            if i == 0:
                _clear(scratch, s.in_strip, 4 * strip_row)
            for j in range(columns):
                sandwich(
                    INPUT_GRADIENT, scratch, (line * columns + j) * channels, 4 * s.plane_v, s.plane_v,
                    scratch, s.in_strip + 2 * j * channels, strip_row, channels, channels, None, True,
                )  # fmt: skip
            # Two rows of the strip are finished; the other two are met by the next row of patches.
            row = 2 * i - s.before_h
            here = min(image_row, strip_row - s.before_w * channels)
            for k in range(4 if i + 1 == total else 2):
                if 0 <= row + k < s.height:
                    to = (n * s.height + row + k) * image_row
                    _copy(scratch, s.in_strip + k * strip_row + s.before_w * channels, dx, to, here)
                    _clear(dx, to + here, image_row - here)
            _copy(scratch, s.in_strip + 2 * strip_row, scratch, s.in_strip, 2 * strip_row)
            _clear(scratch, s.in_strip + 2 * strip_row, 2 * strip_row)
            if i + 1 == total:
                _clear(dx, (n * s.height + row + 4) * image_row, (s.height - row - 4) * image_row)


@jit()
def _part_of_u(weights, s, scale, channel, channels, in_filters, filters, scratch):
    """U of some channels and some filters, behind everything else in a task's scratch."""
    size = s.p * s.q * s.channels * s.filters
    for e in range(s.p * s.q * channels):
        at, to = (channel + e) * s.filters + in_filters, s.in_u + e * filters
        _transform(weights, at, size, s.scaled, scale, in_filters, scratch, to, s.plane_u, filters)


@jit()
def _transform(parts, at, size, scaled, scale, in_scale, u, to, plane, count):
    """G g G^T of some entries of the kernel, times the factors of their filters if they have some."""
    if scaled:
        scaled_sandwich(KERNEL, parts, at, 3 * size, size, scale, in_scale, u, to, 4 * plane, plane, count)
    else:
        sandwich(KERNEL, parts, at, 3 * size, size, u, to, 4 * plane, plane, count, None, False)


@jit()
def _mirrored(plane):
    """The plane in which a window of 3 turned around has what it had in `plane` before: entries 0 and 3 of G g change places."""
    i, j = plane // 4, plane % 4
    return 4 * (3 - i if i % 3 == 0 else i) + (3 - j if j % 3 == 0 else j)


@jit()
def _patches(x, s, first, count, top, rows, columns, scratch):
    """V of some images: `rows` x `columns` patches, from row of tiles `top`."""
    channels = s.channels
    wide = 2 * columns + 2
    for line in range(count * rows):
        n, row = first + line // rows, 2 * (top + line % rows) - s.before_h
        source, at, step = x, (n * s.height + row) * s.width * channels, s.width * channels
        if row < 0 or row + 4 > s.height or s.before_w > 0 or wide > s.width:
            # At the border: four rows with the zeros around them.
            source, at, step = scratch, s.in_strip, wide * channels
            for k in range(4):
                to = s.in_strip + k * step
                _clear(scratch, to, step)
                if 0 <= row + k < s.height:
                    here = min(s.width, wide - s.before_w)
                    _copy(x, (n * s.height + row + k) * s.width * channels, scratch, to + s.before_w * channels, here * channels)
        for j in range(columns):
            sandwich(
                INPUT, source, at + 2 * j * channels, step, channels,
                scratch, (line * columns + j) * channels, 4 * s.plane_v, s.plane_v, channels, None, False,
            )  # fmt: skip


@jit()
def _output_gradients(dy, winner, s, first, count, top, rows, left, columns, scratch):
    """dM of some images, of `rows` x `columns` tiles; zero for tiles outside the grid."""
    filters = s.filters
    for t in range(count * rows * columns):
        n, i, j = first + t // columns // rows, top + t // columns % rows, left + t % columns
        source, at, step = dy, ((n * s.out_h + 2 * i) * s.out_w + 2 * j) * filters, s.out_w * filters
        if s.pooled or i < 0 or j < 0 or 2 * i + 2 > s.out_h or 2 * j + 2 > s.out_w:
            source, at, step = scratch, s.in_tile, 2 * filters
            if s.pooled and 0 <= i < s.out_h and 0 <= j < s.out_w:
                pixel = ((n * s.out_h + i) * s.out_w + j) * filters
                one_of_four(dy, pixel, winner, pixel, scratch, at, step, filters, filters)
            else:
                _clear(scratch, at, 4 * filters)
                for k in range(0 if s.pooled else 4):
                    row, column = 2 * i + k // 2, 2 * j + k % 2
                    if 0 <= row < s.out_h and 0 <= column < s.out_w:
                        _copy(dy, ((n * s.out_h + row) * s.out_w + column) * filters, scratch, at + k * filters, filters)
        sandwich(
            OUTPUT_GRADIENT, source, at, step, filters,
            scratch, s.in_m + t * filters, 4 * s.plane_m, s.plane_m, filters, None, False,
        )  # fmt: skip


@jit()
def _tile_places(count, rows, columns, all_rows, all_columns, step):
    """Where the tiles of some images lie that have patches to spare below and on the right."""
    places = np.empty(count * rows * columns, np.intp)
    for t in range(len(places)):
        n, i, j = t // columns // rows, t // columns % rows, t % columns
        places[t] = ((n * all_rows + i) * all_columns + j) * step
    return places


@jit()
def _steps(count, step):
    """0, step, 2 step, ...: where rows lie that follow one another."""
    places = np.empty(count, np.intp)
    for k in range(count):
        places[k] = k * step
    return places


@jit()
def _copy(source, at, target, to, count):
    for k in range(count):
        target[to + k] = source[at + k]


@jit()
def _clear(target, to, count):
    for k in range(count):
        target[to + k] = 0
