"""What is compiled of Winograd's convolution: one block of y, on pointers; the scratch holds V, M, a strip and a tile."""

from __future__ import annotations

import numpy as np

from minitl.kernels.launch import Bytes, Numbers, Scratch, Task, task_kernel
from minitl.kernels.simd import clear, product, square_product
from minitl.kernels.winograd.output import write_output
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
    write_output(s, first, count, top, rows, in_filters, filters, s.in_m, s.plane_m, bias, skip, y, winner, scratch)
