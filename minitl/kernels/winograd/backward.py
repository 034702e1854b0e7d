"""What is compiled of the gradients of Winograd's convolution: of the kernel, of the image, or of both from one dM."""

from __future__ import annotations

import numpy as np

from minitl.kernels.jit import inner
from minitl.kernels.launch import Bytes, Numbers, Scratch, Task, task_kernel
from minitl.kernels.simd import clear, copy, one_of_four, product, sandwich, square_product, square_sum
from minitl.kernels.winograd.matrices import INPUT_GRADIENT, KERNEL_GRADIENT, OUTPUT_GRADIENT, SUM, mirrored
from minitl.kernels.winograd.patches import copy_pixels, fetch_share, steps, tile_places, write_patches
from minitl.kernels.winograd.plan import LINE, Sizes


@task_kernel
def gradients(
    task: Task, s: Sizes, x: Numbers, dy: Numbers, u: Numbers, zeros: Numbers, sums: Numbers, dx: Numbers, winner: Bytes,
    scratch: Scratch,
):  # fmt: skip
    """dU and dbias of one slice of the batch, dx of its images, or both."""
    # Patches beyond the grid reach into it, where a kernel is several windows of 3; only dx needs them.
    beyond_h, beyond_w = ((s.p - 1), (s.q - 1)) if s.for_image else (0, 0)
    total, columns = s.grid_h + beyond_h, s.grid_w + 2 * beyond_w
    in_sums = task * (s.planes * s.p * s.q * s.channels + 1) * s.filters
    in_bias = in_sums + s.planes * s.p * s.q * s.channels * s.filters
    if s.for_kernel:
        clear(sums, in_bias, s.filters)
    begin, end = task * s.images // s.slices, (task + 1) * s.images // s.slices
    for first in range(begin, end, s.images_per_block):
        count = min(s.images_per_block, end - first)
        for band in range(s.bands):
            top, bottom = band * total // s.bands, (band + 1) * total // s.bands
            rows = bottom - top
            if s.for_kernel:
                write_patches(x, s, first, count, top, rows + s.p - 1, s.grid_w + s.q - 1, scratch)
            _output_gradients(
                dy, winner, s, first, count, top - beyond_h, rows + beyond_h, -beyond_w, columns, scratch, sums, in_bias
            )
            block = first // s.images_per_block * s.bands + band
            if s.for_kernel:
                _kernel_products(s, x, block, count, rows, zeros, sums, in_sums, first == begin and band == 0, scratch)
            if s.for_image:
                _image_products(s, dy, dx, block, count, rows, u, zeros, scratch)
                _image_rows(s, first, count, top, rows, dx, scratch)


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


@inner()
def _kernel_products(s, x, block, count, rows, zeros, sums, in_sums, fresh, scratch):
    """dU of some images, of so many rows of tiles, added to what is there."""
    columns, v_columns = s.grid_w, s.grid_w + s.q - 1
    entries = s.p * s.q * s.channels
    places, targets = np.empty(entries, np.intp), steps(entries, s.filters)
    for entry in range(entries):
        a, b, c = entry // s.channels // s.q, entry // s.channels % s.q, entry % s.channels
        places[entry] = (a * v_columns + b) * s.channels + c
    counters = (
        (count, (rows + s.p - 1) * v_columns * s.channels, rows * columns * s.filters),
        (rows, v_columns * s.channels, columns * s.filters),
        (columns, s.channels, s.filters),
    )
    for plane in range(s.planes):
        if s.for_image and s.block_x > 0:
            fetch_share(x, (block + 1) * s.block_x, s.block_x, plane, s.planes)
        at, in_v, in_m = in_sums + plane * entries * s.filters, plane * s.plane_v, s.in_m + plane * s.plane_m
        start, in_start, step = (zeros, 0, 0) if fresh else (sums, at, s.filters)
        if s.square:
            square_sum(scratch, in_v, scratch, in_m, start, in_start, step, sums, at, count * rows * columns)
            continue
        product(
            scratch, in_v, places, 0, scratch, in_m, counters, start, in_start, step,
            sums, at, targets, 0, entries, s.filters, -np.inf,
        )  # fmt: skip


@inner()
def _image_products(s, dy, dx, block, count, rows, u, zeros, scratch):
    """dV of some images, of so many rows of patches, where V has been."""
    columns = s.grid_w + s.q - 1
    m_columns, run = columns + s.q - 1, s.q * s.filters
    counters = ((1, 0, 0), (s.p, m_columns * s.filters, run * s.channels), (run, 1, s.channels))
    places = tile_places(count, rows, columns, rows + s.p - 1, m_columns, s.filters)
    targets, plane_u = steps(len(places), s.channels), s.p * s.q * s.channels * s.filters + LINE
    for plane in range(s.planes):
        if s.block_x > 0:
            fetch_share(dy, (block + 1) * s.block_y, s.block_y, plane, s.planes)
            fetch_share(dx, block * s.block_x, s.block_x, plane, s.planes)
        in_m, in_v, of_plane = s.in_m + plane * s.plane_m, plane * s.plane_v, mirrored(s.edge, plane) * plane_u
        if s.square:
            square_product(scratch, in_m, u, of_plane, zeros, 0, scratch, in_v, len(places))
            continue
        product(
            scratch, in_m, places, 0, u, of_plane, counters, zeros, 0, 0,
            scratch, in_v, targets, 0, len(places), s.channels, -np.inf,
        )  # fmt: skip


@inner()
def _image_rows(s, first, count, top, rows, dx, scratch):
    """dx from dV: patches overlap by two pixels, so a strip of them is added up before it is written."""
    channels, edge, side = s.channels, s.edge, s.edge + 2
    total, columns = s.grid_h + s.p - 1, s.grid_w + s.q - 1
    strip_row, image_row = (edge * columns + 2) * channels, s.width * s.x_channels
    for line in range(count * rows):
        n, i = first + line // rows, top + line % rows
        if i == 0:
            clear(scratch, s.in_sums, side * strip_row)
        for j in range(columns):
            at, to = (line * columns + j) * channels, s.in_sums + edge * j * channels
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
                at = s.in_sums + k * strip_row + s.before_w * channels
                copy_pixels(scratch, at, channels, dx, to, s.x_channels, here, s.x_channels)
                clear(dx, to + here * s.x_channels, image_row - here * s.x_channels)
        copy(scratch, s.in_sums + edge * strip_row, scratch, s.in_sums, 2 * strip_row)
        clear(scratch, s.in_sums + 2 * strip_row, edge * strip_row)
        if i + 1 == total:
            clear(dx, (n * s.height + row + side) * image_row, (s.height - row - side) * image_row)


@inner()
def _output_gradients(dy, winner, s, first, count, top, rows, left, columns, scratch, sums, in_bias):
    """dM of some images, of `rows` x `columns` tiles; zero for tiles outside the grid. Their sum is added to dbias."""
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
        if s.for_kernel:
            sandwich(SUM, edge, source, at, step, filters, sums, in_bias, 0, 0, filters, None, True)
