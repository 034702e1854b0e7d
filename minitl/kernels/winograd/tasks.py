"""What is compiled of Winograd's convolution: one block of y, on pointers; the scratch holds V, M, a strip and a tile."""

from __future__ import annotations

import numpy as np

from minitl.kernels.add import add_skip
from minitl.kernels.launch import Bytes, Numbers, Scratch, Task, task_kernel
from minitl.kernels.simd import best_of_sandwich, biased_sandwich, clear, copy, product, sandwich, square_product
from minitl.kernels.winograd.matrices import OUTPUT_2, OUTPUT_4
from minitl.kernels.winograd.patches import fetch_share, steps, tile_places, write_patches
from minitl.kernels.winograd.plan import Sizes
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
    write_patches(x, s, first, count, top, rows + s.p - 1, v_columns, scratch)
    places = tile_places(count, rows, columns, rows + s.p - 1, v_columns, s.channels)
    targets = steps(len(places), filters)
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
                fetch_share(x, (task + 1) * s.block_x, s.block_x, plane, s.planes)
                fetch_share(y, task * s.block_y, s.block_y, plane, s.planes)
                fetch_share(skip, task * s.block_y, s.block_y * s.skips, plane, s.planes)
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
