"""Zeros around images and behind rows, as products need them; in memory that is good until the next call."""

from __future__ import annotations

import numpy as np

from minitl.kernels import memory
from minitl.kernels.launch import Body, launch, table
from minitl.kernels.simd import whole_vectors
from minitl.ops.window import Axis

ROWS = 256  # that one task widens


def pad2d(x: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """`minitl.ops.window.pad2d` with zeros; the images themselves where there is nothing to add."""
    if not (rows.before or rows.after or columns.before or columns.after):
        return x
    images, height, width, channels = x.shape
    shape = (images, height + rows.before + rows.after, width + columns.before + columns.after, channels)
    padded = memory.workspace("padded", shape, x.dtype)
    numbers = table(height, width, channels, rows.before, columns.before, *shape[1:3])
    launch(_pad2d, images * shape[1], numbers, x, padded)
    return padded


def pad_columns(matrix: np.ndarray) -> np.ndarray:
    """The same rows, widened with zeros to whole vectors; the matrix itself where it has that width.

    Shapes: (..., columns) to (..., columns rounded up), contiguous.
    """
    columns = matrix.shape[-1]
    wide = whole_vectors(columns, matrix.dtype)
    if wide == columns:
        return matrix
    padded = memory.workspace("widened", (*matrix.shape[:-1], wide), matrix.dtype)
    rows = padded.size // wide
    launch(_pad_columns, -(-rows // ROWS), table(rows, columns, wide), matrix, padded)
    return padded


@Body
def _pad2d(task, x, padded, _c, _d, _small, n, _room):
    height, width, channels, before_h, before_w, all_rows, all_columns = n[0], n[1], n[2], n[3], n[4], n[5], n[6]
    image, row = task // all_rows, task % all_rows - before_h
    to = task * all_columns * channels
    for k in range(all_columns * channels):
        padded[to + k] = 0
    if 0 <= row < height:
        at = (image * height + row) * width * channels
        for k in range(width * channels):
            padded[to + before_w * channels + k] = x[at + k]


@Body
def _pad_columns(task, matrix, padded, _c, _d, _small, n, _room):
    rows, columns, wide = n[0], n[1], n[2]
    for row in range(task * ROWS, min((task + 1) * ROWS, rows)):
        for column in range(columns):
            padded[row * wide + column] = matrix[row * columns + column]
        for column in range(columns, wide):
            padded[row * wide + column] = 0
