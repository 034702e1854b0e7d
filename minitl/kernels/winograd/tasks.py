"""What is compiled of Winograd's convolution: one task of each step, on pointers; the scratch holds V, M, a strip and a tile."""

from __future__ import annotations

import numpy as np

from minitl.kernels.add import add_skip
from minitl.kernels.jit import jit
from minitl.kernels.launch import Bytes, Numbers, Scratch, Task, task_kernel
from minitl.kernels.simd import (
    best_of_sandwich,
    biased_sandwich,
    clear,
    copy,
    one_of_four,
    prefetch,
    product,
    sandwich,
    square_product,
    square_sum,
)
from minitl.kernels.winograd.matrices import (
    INPUT,
    INPUT_GRADIENT,
    KERNEL_GRADIENT,
    OUTPUT_2,
    OUTPUT_4,
    OUTPUT_GRADIENT,
    SUM,
    mirrored,
)
from minitl.kernels.winograd.plan import LINE, Sizes
from minitl.kernels.winograd.transform import part_of_u


@task_kernel
def forward(
    task: Task, s: Sizes, x: Numbers, weights: Numbers, bias: Numbers, scale: Numbers, skip: Numbers, y: Numbers, winner: Bytes,
    scratch: Scratch,
):  # fmt: skip
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
    clear(scratch, s.in_tile, filters)
    for channel in range(0, s.channels, s.channels_at_once):
        here = min(s.channels_at_once, s.channels - channel)
        u, in_u = weights, 0
        if s.own_u:  # some filters of U, or all, for this task alone
            u, in_u = scratch, s.in_u
            part_of_u(weights, s, scale, channel, here, in_filters, filters, scratch)
        run = s.q * here  # all channels, unless the kernel is a single window of 3
        counters = ((1, 0, 0), (s.p, v_columns * s.channels, run * filters), (run, 1, filters))
        for plane in range(s.planes):
            if s.block_x > 0:
                _fetch(x, (task + 1) * s.block_x, s.block_x, plane, s.planes)
                _fetch(y, task * s.block_y, s.block_y, plane, s.planes)
                _fetch(skip, task * s.block_y, s.block_y * s.skips, plane, s.planes)
            start, in_start, step = scratch, s.in_tile, 0
            if channel > 0:
                start, in_start, step = scratch, s.in_m + plane * s.plane_m, filters
            elif s.edge == 2 and plane == 5:
                start, in_start, step = bias, in_filters, 0
            in_v, in_m, of_plane = plane * s.plane_v + channel, s.in_m + plane * s.plane_m, in_u + plane * s.plane_u
            if s.square:
                square_product(scratch, in_v, u, of_plane, start, in_start, scratch, in_m, len(places))
                continue
            product(
                scratch, in_v, places, 0, u, of_plane, counters, start, in_start, step,
                scratch, in_m, targets, 0, len(places), filters, -np.inf,
            )  # fmt: skip
    floor = 0.0 if s.relu and not s.skips else -np.inf
    for t in range(len(places)):
        n, i, j = first + t // columns // rows, top + t // columns % rows, t % columns
        at = s.in_m + t * filters
        if s.pooled and s.edge == 2:
            to = ((n * s.out_h + i) * s.out_w + j) * s.y_channels + in_y
            if s.keep:
                best_of_sandwich(OUTPUT_2, scratch, at, 4 * s.plane_m, s.plane_m, y, to, winner, to, filters)
            else:
                best_of_sandwich(OUTPUT_2, scratch, at, 4 * s.plane_m, s.plane_m, y, to, None, 0, filters)
            continue
        i, j = s.edge * i, s.edge * j
        inside = not s.pooled and i + s.edge <= s.out_h and j + s.edge <= s.out_w
        target, to, row, column = scratch, s.in_tile, s.edge * filters, filters
        if inside:
            target, to = y, ((n * s.out_h + i) * s.out_w + j) * s.y_channels + in_y
            row, column = s.out_w * s.y_channels, s.y_channels
        if s.edge == 2:
            sandwich(OUTPUT_2, 0, scratch, at, 4 * s.plane_m, s.plane_m, target, to, row, column, filters, floor, False)
        else:
            biased_sandwich(
                OUTPUT_4, 0, scratch, at, 6 * s.plane_m, s.plane_m, bias, in_filters, target, to, row, column, filters, floor
            )
        if inside:
            continue
        # What of the tile is part of y, or what its windows of 2x2 have.
        size = 2 if s.pooled else 1
        across = s.edge // size
        for k in range(across * across):
            below, right = i // size + k // across, j // size + k % across
            if below < s.out_h and right < s.out_w:
                at = s.in_tile + size * (k // across * row + k % across * filters)
                to = ((n * s.out_h + below) * s.out_w + right) * s.y_channels + in_y
                if not s.pooled:
                    copy(scratch, at, y, to, filters)
                elif s.keep:
                    best_of_sandwich("1 0; 0 1", scratch, at, row, filters, y, to, winner, to, filters)
                else:
                    best_of_sandwich("1 0; 0 1", scratch, at, row, filters, y, to, None, 0, filters)
    if s.skips:
        pieces, length = (1, s.out_w * filters) if filters == s.filters else (s.out_w, filters)
        above, here = s.edge * top, min(s.edge * bottom, s.out_h) - s.edge * top
        for line in range(count * here):
            row = (first + line // here) * s.out_h + above + line % here
            for k in range(pieces):
                at = (row * s.out_w + k) * s.filters + in_filters
                add_skip(skip, at, y, at, length, s.relu)


@task_kernel
def sum_of_slice(task: Task, s: Sizes, x: Numbers, dy: Numbers, zeros: Numbers, sums: Numbers, winner: Bytes, scratch: Scratch):
    """dU and dbias of one slice of the batch."""
    columns, v_columns = s.grid_w, s.grid_w + s.q - 1
    entries = s.p * s.q * s.channels
    in_sums = task * (s.planes * entries + 1) * s.filters
    places, targets = np.empty(entries, np.intp), _steps(entries, s.filters)
    for entry in range(entries):
        a, b, c = entry // s.channels // s.q, entry // s.channels % s.q, entry % s.channels
        places[entry] = (a * v_columns + b) * s.channels + c
    in_bias = in_sums + s.planes * entries * s.filters
    clear(sums, in_bias, s.filters)
    begin, end = task * s.images // s.slices, (task + 1) * s.images // s.slices
    for first in range(begin, end, s.images_per_block):
        count = min(s.images_per_block, end - first)
        for band in range(s.bands):
            top, bottom = band * s.grid_h // s.bands, (band + 1) * s.grid_h // s.bands
            rows = bottom - top
            _patches(x, s, first, count, top, rows + s.p - 1, v_columns, scratch)
            _output_gradients(dy, winner, s, first, count, top, rows, 0, columns, scratch, sums, in_bias, True)
            counters = (
                (count, (rows + s.p - 1) * v_columns * s.channels, rows * columns * s.filters),
                (rows, v_columns * s.channels, columns * s.filters),
                (columns, s.channels, s.filters),
            )
            fresh = first == begin and band == 0
            for plane in range(s.planes):
                at, in_v, in_m = in_sums + plane * entries * s.filters, plane * s.plane_v, s.in_m + plane * s.plane_m
                start, in_start, step = (zeros, 0, 0) if fresh else (sums, at, s.filters)
                if s.square:
                    square_sum(scratch, in_v, scratch, in_m, start, in_start, step, sums, at, count * rows * columns)
                    continue
                product(
                    scratch, in_v, places, 0, scratch, in_m, counters, start, in_start, step,
                    sums, at, targets, 0, entries, s.filters, -np.inf,
                )  # fmt: skip


@task_kernel
def gather(task: Task, s: Sizes, sums: Numbers, parts: Numbers, dbias: Numbers):
    """The slices' sums of one row of entries of dU, and dkernel; and of dbias, with the first row."""
    size, at = s.p * s.q * s.channels * s.filters, task * s.filters
    for k in range(1, s.slices):
        for plane in range(s.planes):
            of_slice = k * (s.planes * size + s.filters) + plane * size + at
            sandwich("1", 0, sums, of_slice, 0, 0, sums, plane * size + at, 0, 0, s.filters, None, True)
    sandwich(KERNEL_GRADIENT, s.edge, sums, at, (s.edge + 2) * size, size, parts, at, 3 * size, size, s.filters, None, False)
    if task == 0:
        clear(dbias, 0, s.filters)
        for k in range(1, s.slices + 1):
            sandwich("1", 0, sums, k * (s.planes * size + s.filters) - s.filters, 0, 0, dbias, 0, 0, 0, s.filters, None, True)


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
    edge, side = s.edge, s.edge + 2
    strip_row = (edge * columns + 2) * channels
    image_row = s.width * s.x_channels
    plane_u = s.p * s.q * channels * filters + LINE
    for band in range(s.bands):
        top, bottom = band * total // s.bands, (band + 1) * total // s.bands
        rows = bottom - top
        _output_gradients(
            dy, winner, s, first, count, top - s.p + 1, rows + s.p - 1, 1 - s.q, m_columns, scratch, scratch, 0, False
        )
        places = _tile_places(count, rows, columns, rows + s.p - 1, m_columns, filters)
        targets = _steps(len(places), channels)
        block = task * s.bands + band
        for plane in range(s.planes):
            if s.block_x > 0:
                _fetch(dy, (block + 1) * s.block_y, s.block_y, plane, s.planes)
                _fetch(dx, block * s.block_x, s.block_x, plane, s.planes)
            in_m, in_v, of_plane = s.in_m + plane * s.plane_m, plane * s.plane_v, mirrored(edge, plane) * plane_u
            if s.square:
                square_product(scratch, in_m, u, of_plane, zeros, 0, scratch, in_v, len(places))
                continue
            product(
                scratch, in_m, places, 0, u, of_plane, counters, zeros, 0, 0,
                scratch, in_v, targets, 0, len(places), channels, -np.inf,
            )  # fmt: skip
        for line in range(count * rows):
            n, i = first + line // rows, top + line % rows
            if i == 0:
                clear(scratch, s.in_strip, side * strip_row)
            for j in range(columns):
                at, to = (line * columns + j) * channels, s.in_strip + edge * j * channels
                sandwich(
                    INPUT_GRADIENT, edge, scratch, at, side * s.plane_v, s.plane_v,
                    scratch, to, strip_row, channels, channels, None, True,
                )  # fmt: skip
            # All rows of the strip are finished but two, which are met by the next row of patches.
            row = edge * i - s.before_h
            here = min(s.width, edge * columns + 2 - s.before_w)
            for k in range(side if i + 1 == total else edge):
                if 0 <= row + k < s.height:
                    to = (n * s.height + row + k) * image_row
                    at = s.in_strip + k * strip_row + s.before_w * channels
                    _copy_pixels(scratch, at, channels, dx, to, s.x_channels, here, s.x_channels)
                    clear(dx, to + here * s.x_channels, image_row - here * s.x_channels)
            copy(scratch, s.in_strip + edge * strip_row, scratch, s.in_strip, 2 * strip_row)
            clear(scratch, s.in_strip + 2 * strip_row, edge * strip_row)
            if i + 1 == total:
                clear(dx, (n * s.height + row + side) * image_row, (s.height - row - side) * image_row)


@jit()
def _fetch(array, begin, count, plane, planes):
    """Bring a plane's share of some numbers nearer: of the next block, or of what this one will write."""
    share = -(-count // planes)
    prefetch(array, begin + plane * share, share)


@jit()
def _patches(x, s, first, count, top, rows, columns, scratch):
    """V of some images: `rows` x `columns` patches, from row of tiles `top`."""
    channels, edge, side = s.channels, s.edge, s.edge + 2
    wide = edge * columns + 2
    for line in range(count * rows):
        n, row = first + line // rows, edge * (top + line % rows) - s.before_h
        source, at, step = x, (n * s.height + row) * s.width * channels, s.width * channels
        if row < 0 or row + side > s.height or s.before_w > 0 or wide > s.width or s.x_channels < channels:
            # At the border, or with channels to fill up: the patches' rows with the zeros around them.
            source, at, step = scratch, s.in_strip, wide * channels
            for k in range(side):
                to = s.in_strip + k * step
                here = min(s.width, wide - s.before_w) if 0 <= row + k < s.height else 0
                left = s.before_w * channels if here > 0 and s.x_channels == channels else step
                clear(scratch, to, left)
                clear(scratch, to + left + here * channels, step - left - here * channels)
                in_x = (n * s.height + row + k) * s.width * s.x_channels
                _copy_pixels(x, in_x, s.x_channels, scratch, to + s.before_w * channels, channels, here, s.x_channels)
        for j in range(columns):
            sandwich(
                INPUT, edge, source, at + edge * j * channels, step, channels,
                scratch, (line * columns + j) * channels, side * s.plane_v, s.plane_v, channels, None, False,
            )  # fmt: skip


@jit()
def _output_gradients(dy, winner, s, first, count, top, rows, left, columns, scratch, sums, in_sums, add_up):
    """dM of some images, of `rows` x `columns` tiles; zero for tiles outside the grid. `add_up` adds their sum to `sums`."""
    filters, edge = s.filters, s.edge
    size = 2 if s.pooled else 1  # pixels of a tile that share one of dy, along a side
    across = edge // size
    for t in range(count * rows * columns):
        n, i, j = first + t // columns // rows, edge * (top + t // columns % rows), edge * (left + t % columns)
        source, at, step = dy, ((n * s.out_h + i) * s.out_w + j) * filters, s.out_w * filters
        inside = i >= 0 and j >= 0 and i // size + across <= s.out_h and j // size + across <= s.out_w
        if s.pooled or not inside:
            source, at, step = scratch, s.in_tile, edge * filters
            if not inside:
                clear(scratch, at, edge * step)
            for k in range(across * across):
                below, right = k // across, k % across
                row, column = i // size + below, j // size + right
                if 0 <= row < s.out_h and 0 <= column < s.out_w:
                    pixel = ((n * s.out_h + row) * s.out_w + column) * filters
                    to = at + size * (below * step + right * filters)
                    if s.pooled:
                        one_of_four(dy, pixel, winner, pixel, scratch, to, step, filters, filters)
                    else:
                        copy(dy, pixel, scratch, to, filters)
        sandwich(
            OUTPUT_GRADIENT, edge, source, at, step, filters,
            scratch, s.in_m + t * filters, (edge + 2) * s.plane_m, s.plane_m, filters, None, False,
        )  # fmt: skip
        if add_up:
            sandwich(SUM, edge, source, at, step, filters, sums, in_sums, 0, 0, filters, None, True)


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
def _copy_pixels(source, at, step, target, to, to_step, pixels, channels):
    """`channels` of so many pixels, of which source and target may have more."""
    pieces, length = (1, pixels * channels) if step == to_step else (pixels, channels)
    for k in range(pieces):
        copy(source, at + k * step, target, to + k * to_step, length)
