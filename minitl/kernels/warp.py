"""One affine warp per image: rotation, shear, zoom, shift and flips are one matrix, and one pass over the pixels.

    y[i, j, c] = x(m00 i + m01 j + m02, m10 i + m11 j + m12, c) scale

x between its pixels is bilinear (order 1) or the nearest pixel (order 0). Beyond its edges, by fill mode:

    constant  cval          nearest  the edge pixel          reflect  d c b a | a b c d | d c b a
    wrap      the opposite edge, whose first and last pixel count as one (SciPy's rule)

Serial, without the GIL: it runs in a background thread while the training step has the cores.
`minitl.preprocessing.image.warp` is the same in NumPy, and the definition.
Source: SciPy's `ndimage.affine_transform`, whose rules for edges these are.
"""

from __future__ import annotations

import numpy as np

from minitl.kernels.jit import inner, jit
from minitl.kernels.simd import blend

CONSTANT, NEAREST, REFLECT, WRAP = range(4)
U = np.uint64  # for an index: Numba then leaves out its test for negative ones, which keeps a loop from being vectorised


@jit()
def warp(source, index, matrices, mode, cval, order, scale, out):
    """Fill out (B, H, W, C) from the images source[index], contiguous, each through its own matrix (B, 2, 3).

    A row at a time: first where each pixel comes from, a loop without branches, then the pixels themselves.
    """
    _, height, width, channels = source.shape
    pixels, made = source.reshape(-1), out.reshape(-1)
    number = made.dtype.type  # all in the result's precision: whole pixels times float32 would be float64
    down, right = np.empty(width, made.dtype), np.empty(width, made.dtype)
    place = np.empty(width, np.int64)
    size = height * width * channels
    picture = np.zeros(size + 1, made.dtype)  # one more: pixels of three channels are read as four numbers
    step_down = width * channels if height > 1 else 0
    step_right = channels if width > 1 else 0
    for b in range(len(index)):
        m = matrices[b]
        start, end = index[b] * size, b * size
        if m[0, 0] == 1 and m[0, 1] == 0 and m[0, 2] == 0 and m[1, 0] == 0 and m[1, 1] == 1 and m[1, 2] == 0:
            for k in range(size):
                made[U(end + k)] = number(pixels[U(start + k)]) * scale
            continue
        for k in range(size):  # converted once, not at each of the four places where a pixel is used
            picture[U(k)] = number(pixels[U(start + k)]) * scale
        for i in range(height):
            row, column = m[0, 0] * i + m[0, 2], m[1, 0] * i + m[1, 2]
            if mode >= REFLECT or order == 0:
                _places_beyond(row, m[0, 1], column, m[1, 1], height, width, channels, mode, order, place, down, right)
            else:
                _places(row, m[0, 1], column, m[1, 1], height, width, channels, place, down, right)
            to = end + i * width * channels
            if channels == 3:
                blend(picture, place, down, right, step_down, step_right, made, to, width)
            else:
                _blend(picture, place, down, right, step_down, step_right, channels, made, to)
            if mode == CONSTANT:
                for j in range(width):
                    y, x = row + m[0, 1] * j, column + m[1, 1] * j
                    if y < 0 or y > height - 1 or x < 0 or x > width - 1:
                        for c in range(channels):
                            made[to + j * channels + c] = cval * scale


@inner(contract=True)
def _places(row, row_step, column, column_step, height, width, channels, place, down, right):
    """Where the pixels of one row come from, its ends going on: an offset, and how far down and right of it. Without branches."""
    last_top, last_left = max(height - 2, 0), max(width - 2, 0)
    for j in range(len(place)):
        y = min(max(row + row_step * j, 0.0), height - 1.0)
        x = min(max(column + column_step * j, 0.0), width - 1.0)
        top, left = min(np.int32(y), np.int32(last_top)), min(np.int32(x), np.int32(last_left))
        down[U(j)], right[U(j)] = y - top, x - left
        place[U(j)] = (top * width + left) * channels


@inner()
def _places_beyond(row, row_step, column, column_step, height, width, channels, mode, order, place, down, right):
    """The same for the other fill modes, and for the nearest pixel."""
    last_top, last_left = max(height - 2, 0), max(width - 2, 0)
    for j in range(len(place)):
        y, x = row + row_step * j, column + column_step * j
        if mode == REFLECT:
            y, x = _reflected(y, height), _reflected(x, width)
        elif mode == WRAP:
            y, x = _wrapped(y, height), _wrapped(x, width)
        y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
        if order == 0:
            y, x = np.floor(y + 0.5), np.floor(x + 0.5)
        top, left = min(int(y), last_top), min(int(x), last_left)
        down[U(j)], right[U(j)] = y - top, x - left
        place[U(j)] = (top * width + left) * channels


@inner(contract=True)
def _blend(picture, place, down, right, step_down, step_right, channels, made, to):
    """One row of any number of channels."""
    for j in range(len(place)):
        k, o = place[U(j)], to + j * channels
        d, r = down[U(j)], right[U(j)]
        w01, w11 = (1 - d) * r, d * r
        w00, w10 = 1 - d - w01, d - w11
        k01, k10, k11 = k + step_right, k + step_down, k + step_down + step_right
        for c in range(channels):
            upper = w00 * picture[U(k + c)] + w01 * picture[U(k01 + c)]
            made[U(o + c)] = upper + w10 * picture[U(k10 + c)] + w11 * picture[U(k11 + c)]


@inner()
def _reflected(position, size):
    """The position inside an axis that is continued by its mirror image; half a pixel beyond its ends is still the end."""
    if -0.5 <= position <= size - 0.5:
        return position
    position = (position + 0.5) % (2 * size) - 0.5
    return position if position <= size - 0.5 else 2 * size - 1 - position


@inner()
def _wrapped(position, size):
    """The position inside an axis whose ends are one point."""
    if 0 <= position <= size - 1 or size <= 1:
        return position
    period = size - 1
    if position < 0:
        return position + period * (np.floor(-position / period) + 1)
    return position - period * np.floor(position / period)
