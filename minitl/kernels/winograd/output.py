"""From M to y: the last sandwich of Winograd's convolution, and what belongs to a tile that reaches beyond the image."""

from __future__ import annotations

import numpy as np

from minitl.kernels.add import add_skip
from minitl.kernels.jit import inlined
from minitl.kernels.simd import best_of_sandwich, biased_sandwich, copy, sandwich
from minitl.kernels.winograd.matrices import OUTPUT_2, OUTPUT_4


@inlined
def write_output(s, first, count, top, rows, in_filters, filters, in_m, plane_m, bias, skip, y, winner, scratch):
    """y of some filters of `count` images from the first one on: `rows` rows of tiles from `top` on; M begins at `in_m`."""
    columns, in_y = s.grid_w, s.y_first + in_filters
    floor = 0.0 if s.relu and not s.skips else -np.inf
    for t in range(count * rows * columns):
        n, i, j = first + t // columns // rows, top + t // columns % rows, t % columns
        at = in_m + t * filters
        if s.pooled and s.edge == 2:
            to = ((n * s.out_h + i) * s.out_w + j) * s.y_channels + in_y
            if s.keep:
                best_of_sandwich(OUTPUT_2, scratch, at, 4 * plane_m, plane_m, y, to, winner, to, filters)
            else:
                best_of_sandwich(OUTPUT_2, scratch, at, 4 * plane_m, plane_m, y, to, None, 0, filters)
            continue
        i, j = s.edge * i, s.edge * j
        inside = not s.pooled and i + s.edge <= s.out_h and j + s.edge <= s.out_w
        target, to, row, column = scratch, s.in_tile, s.edge * filters, filters
        if inside:
            target, to = y, ((n * s.out_h + i) * s.out_w + j) * s.y_channels + in_y
            row, column = s.out_w * s.y_channels, s.y_channels
        if s.edge == 2:
            sandwich(OUTPUT_2, 0, scratch, at, 4 * plane_m, plane_m, target, to, row, column, filters, floor, False)
        else:
            biased_sandwich(
                OUTPUT_4, 0, scratch, at, 6 * plane_m, plane_m, bias, in_filters, target, to, row, column, filters, floor
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
        above, here = s.edge * top, min(s.edge * (top + rows), s.out_h) - s.edge * top
        for line in range(count * here):
            row = (first + line // here) * s.out_h + above + line % here
            for k in range(pieces):
                at = (row * s.out_w + k) * s.filters + in_filters
                add_skip(skip, at, y, at, length, s.relu)
