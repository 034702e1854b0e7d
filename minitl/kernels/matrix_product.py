"""The product of two matrices: dense layers, and 1x1 convolutions, whose pixels are rows of a matrix.

The columns of b are taken in blocks as wide as a tile. Where b's rows are long, a block is first copied into a panel, in which
they lie one after another: a panel fits the level-2 cache and is used for many rows of a, while rows of b that are a large
power of two apart would all compete for the same few places of the cache. If it is the transpose of b that is wanted, it is
made there. The transpose of a costs nothing: a tile reads single numbers of it, wherever they are.

Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, 2008, section 4.
"""

from __future__ import annotations

import functools

import numpy as np

from minitl.kernels import memory
from minitl.kernels.jit import common_dtype
from minitl.kernels.launch import Body, launch
from minitl.kernels.simd import product, tile_columns, transpose, whole_vectors

FEW_ROWS = 12  # for fewer, copying a panel costs more than it saves
PAGE = 4096  # bytes; the processor fetches ahead within one, and rows nearer to each other need no panel
ROWS_A_PANEL = 48  # at least so many rows use a panel, or copying it would show


def affine(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, relu: bool) -> np.ndarray:
    """x kernel + bias along the last axis, or of that what is above zero.

    Shapes: x (..., in), kernel (in, out), bias (out,) or None; the result (..., out).
    """
    dtype = common_dtype(x, kernel)
    start = np.zeros(kernel.shape[1], dtype) if bias is None else np.ascontiguousarray(bias, dtype)
    rows = np.ascontiguousarray(x, dtype).reshape(-1, kernel.shape[0])
    return multiply(rows, np.ascontiguousarray(kernel, dtype), start, relu).reshape(*x.shape[:-1], kernel.shape[1])


def multiply(
    a: np.ndarray, b: np.ndarray, start: np.ndarray, relu: bool = False, a_turned: bool = False, b_turned: bool = False
) -> np.ndarray:
    """a b + start, or of that what is above zero; or the same with a or b transposed, if they are given `turned`.

    Shapes: a (M, K), or (K, M) if turned, b (K, N), or (N, K) if turned, start (N,), all contiguous and of one dtype; the
    result (M, N).
    """
    depth, rows = a.shape if a_turned else a.shape[::-1]
    columns = b.shape[0] if b_turned else b.shape[1]
    c = memory.empty((rows, columns), a.dtype)
    tasks, room, numbers = _plan(rows, depth, columns, a.dtype, relu, a_turned, b_turned)
    launch(_multiply, tasks, numbers, a, b, start, c, room=room)
    return c


@functools.lru_cache(maxsize=256)
def _plan(
    rows: int, depth: int, columns: int, dtype: np.dtype, relu: bool, a_turned: bool, b_turned: bool
) -> tuple[int, int, np.ndarray]:
    """The number of tasks, the size of a panel, and what the body has to know."""
    width = min(tile_columns(dtype), whole_vectors(columns, dtype))
    blocks = -(-columns // width)
    chunks = max(1, min(-(-16 // blocks), rows // ROWS_A_PANEL))
    if blocks * chunks == 1 and rows > 1:
        chunks = 2
    far = rows >= FEW_ROWS and columns * dtype.itemsize >= PAGE
    panel = depth * width if far or b_turned or whole_vectors(columns, dtype) != columns else 0
    in_row, along_row = (rows, 1) if a_turned else (1, depth)
    numbers = [
        *(rows, depth, columns, width, chunks, relu, panel, b_turned, in_row),
        *np.arange(rows) * along_row, *np.arange(rows) * columns,
    ]  # fmt: skip
    return blocks * chunks, memory.whole_lines(panel), np.array(numbers, np.int64)


@Body
def _multiply(task, a, b, start, c, _small, n, panel):
    rows, depth, columns, width, chunks, in_row = n[0], n[1], n[2], n[3], n[4], n[8]
    # What is longer is read once: neighbouring tasks are likely one thread's.
    blocks = (columns + width - 1) // width
    block, chunk = (task % blocks, task // blocks) if rows > columns else (task // chunks, task % chunks)
    first, last = chunk * rows // chunks, (chunk + 1) * rows // chunks
    left = block * width
    here = min(width, columns - left)
    source, in_source, step = b, left, columns
    if n[6] > 0:
        source, in_source, step = panel, 0, width
        if n[7]:
            transpose(b, left * depth, depth, here, depth, panel, 0, width)
        for k in range(depth):
            if not n[7]:
                for column in range(here):
                    panel[k * width + column] = b[k * columns + left + column]
            for column in range(here, width):
                panel[k * width + column] = 0
    product(
        a, 0, n, 9 + first, source, in_source, ((1, 0, 0), (1, 0, 0), (depth, in_row, step)), start, left, 0,
        c, left, n, 9 + rows + first, last - first, here, 0.0 if n[5] else -np.inf,
    )  # fmt: skip
