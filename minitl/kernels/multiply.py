"""The product of two matrices: dense layers, and 1x1 convolutions, whose pixels are rows of a matrix.

The columns of b are taken in blocks as wide as a tile. A block is first copied into a panel, in which its rows lie one after
another: a panel fits the level-2 cache and is used for many rows of a, while rows of b that are a large power of two
apart would all compete for the same few places of the cache.

Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, 2008, section 4.
"""

from __future__ import annotations

import functools

import numpy as np

from minitl.kernels import memory
from minitl.kernels.launch import Body, launch, table
from minitl.kernels.simd import VECTOR_BYTES, VECTORS, product, whole_vectors

FEW_ROWS = 12  # for fewer, copying a panel costs more than it saves
ROWS_A_PANEL = 48  # at least so many rows use a panel, or copying it would show


def multiply(a: np.ndarray, b: np.ndarray, start: np.ndarray, relu: bool) -> np.ndarray:
    """a b + start, or of that what is above zero.

    Shapes: a (M, K), b (K, N), start (N,), all contiguous and of one dtype; the result (M, N).
    """
    rows, depth = a.shape
    columns = b.shape[1]
    c = memory.empty((rows, columns), a.dtype)
    tasks, room, numbers = _plan(
        rows, depth, columns, whole_vectors(columns, a.dtype), VECTORS * VECTOR_BYTES // a.itemsize, relu
    )
    launch(_multiply, tasks, (a, b, start, c), numbers, room=room)
    return c


def transpose(matrix: np.ndarray) -> np.ndarray:
    """The transposed matrix, contiguous."""
    rows, columns = matrix.shape
    result = memory.empty((columns, rows), matrix.dtype)
    launch(_transpose, -(-rows // 16), (np.ascontiguousarray(matrix), result), table(rows, columns))
    return result


@functools.lru_cache(maxsize=256)
def _plan(rows: int, depth: int, columns: int, wide: int, width: int, relu: bool) -> tuple[int, int, np.ndarray]:
    """The number of tasks, the size of a panel, and what the body has to know."""
    blocks = -(-columns // width)
    chunks = max(1, min(-(-16 // blocks), rows // ROWS_A_PANEL))
    if blocks * chunks == 1 and rows > 1:
        chunks = 2
    panel = depth * width if rows >= FEW_ROWS or wide != columns else 0
    numbers = [rows, depth, columns, width, chunks, relu, panel, *np.arange(rows) * depth, *np.arange(rows) * columns]
    return blocks * chunks, panel, np.array(numbers, np.int64)


@Body
def _multiply(task, a, b, start, c, _small, numbers, panel):
    rows, depth, columns, width, chunks = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    block, chunk = task // chunks, task % chunks
    first, last = chunk * rows // chunks, (chunk + 1) * rows // chunks
    left = block * width
    here = min(width, columns - left)
    source, in_source, step = b, left, columns
    if numbers[6] > 0:
        source, in_source, step = panel, 0, width
        for k in range(depth):
            for column in range(here):
                panel[k * width + column] = b[k * columns + left + column]
            for column in range(here, width):
                panel[k * width + column] = 0
    product(
        a, 0, numbers, 7 + first, source, in_source, ((1, 0, 0), (1, 0, 0), (depth, 1, step)), start, left, 0,
        c, left, numbers, 7 + rows + first, last - first, here, 0.0 if numbers[5] else -np.inf,
    )  # fmt: skip


@Body
def _transpose(task, matrix, result, _c, _d, _small, numbers, _room):
    rows, columns = numbers[0], numbers[1]
    for column in range(columns):
        for row in range(task * 16, min(task * 16 + 16, rows)):
            result[column * rows + row] = matrix[row * columns + column]
