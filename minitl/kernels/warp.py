"""One affine warp a picture: rotation, shear, zoom, shift and flips are one matrix, and one pass over the pixels.

    y[i, j, c] = x(m00 i + m01 j + m02, m10 i + m11 j + m12, c) scale

x between its pixels is bilinear (order 1) or the nearest pixel (order 0). Beyond its edges, by fill mode:

    constant  cval          nearest  the edge pixel          reflect  d c b a | a b c d | d c b a
    wrap      the opposite edge, whose first and last pixel count as one (SciPy's rule)

Serial, without the GIL: it runs in a background thread while the training step has the cores.
`minitl.preprocessing.image.warp` is the same in NumPy, and the definition.
Source: SciPy's `ndimage.affine_transform`, whose rules for edges these are.
"""

from __future__ import annotations

import math

from minitl.kernels.jit import jit

CONSTANT, NEAREST, REFLECT, WRAP = range(4)


@jit()
def warp(source, index, matrices, mode, cval, order, scale, out):
    """Fill out (B, H, W, C) from the pictures source[index], each through its own matrix (B, 2, 3)."""
    _, height, width, channels = source.shape
    for b in range(len(index)):
        n = index[b]
        m00, m01, m02 = matrices[b, 0, 0], matrices[b, 0, 1], matrices[b, 0, 2]
        m10, m11, m12 = matrices[b, 1, 0], matrices[b, 1, 1], matrices[b, 1, 2]
        if m00 == 1 and m01 == 0 and m02 == 0 and m10 == 0 and m11 == 1 and m12 == 0:
            for i in range(height):
                for j in range(width):
                    for c in range(channels):
                        out[b, i, j, c] = source[n, i, j, c] * scale
            continue
        for i in range(height):
            for j in range(width):
                row = m00 * i + m01 * j + m02
                column = m10 * i + m11 * j + m12
                if mode == CONSTANT and (row < 0 or row > height - 1 or column < 0 or column > width - 1):
                    for c in range(channels):
                        out[b, i, j, c] = cval * scale
                    continue
                if mode == WRAP:
                    row, column = _wrapped(row, height), _wrapped(column, width)
                if order == 0:
                    top, left = math.floor(row + 0.5), math.floor(column + 0.5)
                    top, left = _inside(top, height, mode), _inside(left, width, mode)
                    for c in range(channels):
                        out[b, i, j, c] = source[n, top, left, c] * scale
                    continue
                top, left = math.floor(row), math.floor(column)
                down, right = row - top, column - left
                top, bottom = _inside(top, height, mode), _inside(top + 1, height, mode)
                left, far = _inside(left, width, mode), _inside(left + 1, width, mode)
                w00, w01 = (1 - down) * (1 - right) * scale, (1 - down) * right * scale
                w10, w11 = down * (1 - right) * scale, down * right * scale
                for c in range(channels):
                    out[b, i, j, c] = (
                        w00 * source[n, top, left, c]
                        + w01 * source[n, top, far, c]
                        + w10 * source[n, bottom, left, c]
                        + w11 * source[n, bottom, far, c]
                    )


@jit()
def _inside(k, size, mode):
    """The index that stands for k, inside or beyond an axis."""
    if 0 <= k < size:
        return int(k)
    if mode == REFLECT:
        k = k % (2 * size)
        return int(k if k < size else 2 * size - 1 - k)
    return int(0 if k < 0 else size - 1)


@jit()
def _wrapped(position, size):
    """The position inside an axis whose ends are one point."""
    if size <= 1:
        return 0.0
    period = size - 1
    if position < 0:
        return position + period * (math.floor(-position / period) + 1)
    return position - period * math.floor(position / period) if position > period else position
