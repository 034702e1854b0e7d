"""What Winograd's convolution and its gradients share: V of a block, and where its tiles lie."""

from __future__ import annotations

import numpy as np

from minitl.kernels.jit import inner
from minitl.kernels.simd import clear, copy, prefetch, sandwich
from minitl.kernels.winograd.matrices import INPUT


@inner()
def fetch_share(array, begin, count, plane, planes):
    """Bring a plane's share of some numbers nearer: of the next block, or of what this one will write."""
    share = -(-count // planes)
    prefetch(array, begin + plane * share, share)


@inner()
def write_patches(x, s, first, count, top, rows, columns, scratch):
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
                copy_pixels(x, in_x, s.x_channels, scratch, to + s.before_w * channels, channels, here, s.x_channels)
        for j in range(columns):
            sandwich(
                INPUT, edge, source, at + edge * j * channels, step, channels,
                scratch, (line * columns + j) * channels, side * s.plane_v, s.plane_v, channels, None, False,
            )  # fmt: skip


@inner()
def tile_places(count, rows, columns, all_rows, all_columns, step):
    """Where the tiles of some images lie that have patches to spare below and on the right."""
    places = np.empty(count * rows * columns, np.intp)
    for t in range(len(places)):
        n, i, j = t // columns // rows, t // columns % rows, t % columns
        places[t] = ((n * all_rows + i) * all_columns + j) * step
    return places


@inner()
def steps(count, step):
    """0, step, 2 step, ...: where rows lie that follow one another."""
    places = np.empty(count, np.intp)
    for k in range(count):
        places[k] = k * step
    return places


@inner()
def copy_pixels(source, at, step, target, to, to_step, pixels, channels):
    """`channels` of so many pixels, of which source and target may have more."""
    pieces, length = (1, pixels * channels) if step == to_step else (pixels, channels)
    for k in range(pieces):
        copy(source, at + k * step, target, to + k * to_step, length)
