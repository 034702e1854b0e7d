"""The product of two matrices: dense layers, and 1x1 convolutions, whose pixels are rows of a matrix.

The columns of b are taken in blocks as wide as a tile. A block is first copied into a panel, in which its rows lie one after
another: a panel fits the level-2 cache and is used for many rows of a, while rows of b that are a large power of two
apart would all compete for the same few places of the cache.

Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, 2008, section 4.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, get_thread_id, prange

from minitl.kernels import memory
from minitl.kernels.jit import jit
from minitl.kernels.simd import VECTOR_BYTES, VECTORS, product, ready

ROWS_A_PANEL = 48  # at least so many rows use a panel, or copying it would show


def multiply(a: np.ndarray, b: np.ndarray, start: np.ndarray, floor: float) -> np.ndarray:
    """max(floor, a b + start).

    Shapes: a (M, K), b (K, N), start (N,), all contiguous and of one dtype; the result (M, N).
    """
    ready(a.dtype)
    rows, depth = a.shape
    columns = b.shape[1]
    c = memory.empty((rows, columns), a.dtype)
    width = VECTORS * VECTOR_BYTES // a.itemsize
    blocks = -(-columns // width)
    chunks = max(1, min(-(-16 // blocks), rows // ROWS_A_PANEL))
    if blocks * chunks == 1 and rows > 1:
        chunks = 2
    panels = memory.empty((get_num_threads(), depth * width), a.dtype)
    a_rows, c_rows = np.arange(rows) * depth, np.arange(rows) * columns
    _multiply(a.reshape(-1), a_rows, b, width, chunks, panels, start, a.dtype.type(floor), c.reshape(-1), c_rows)
    return c


def transpose(matrix: np.ndarray) -> np.ndarray:
    """The transposed matrix, contiguous."""
    result = memory.empty(matrix.shape[::-1], matrix.dtype)
    _transpose(matrix, result)
    return result


@jit(parallel=True)
def _multiply(a, a_rows, b, width, chunks, panels, start, floor, c, c_rows):
    depth, columns = b.shape
    blocks = -(-columns // width)
    rows = len(a_rows)
    for task in prange(blocks * chunks):
        block, chunk = task // chunks, task % chunks
        first, last = chunk * rows // chunks, (chunk + 1) * rows // chunks
        left = block * width
        here = min(width, columns - left)
        panel = panels[get_thread_id()]
        for k in range(depth):
            panel[k * width : k * width + here] = b[k, left : left + here]
            panel[k * width + here : (k + 1) * width] = 0
        product(
            a, 0, a_rows[first:last], panel, 0, 1, ((1, 0, 0), (1, 0, 0), (depth, 1, width)), start, left, 0,
            c, left, c_rows[first:last], here, floor,
        )  # fmt: skip


@jit(parallel=True)
def _transpose(matrix, result):
    rows, columns = matrix.shape
    bands = -(-rows // 16)
    for band in prange(bands):
        for column in range(columns):
            for row in range(band * 16, min(band * 16 + 16, rows)):
                result[column, row] = matrix[row, column]
