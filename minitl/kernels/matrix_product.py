"""The product of two matrices: dense layers, and 1x1 convolutions, whose pixels are rows of a matrix.

The columns of b are taken in blocks as wide as a tile. Where b's rows are long, a block is first copied into a panel, in which
they lie one after another: a panel fits the level-2 cache and is used for many rows of a, while rows of b that are a large
power of two apart would all compete for the same few places of the cache. If it is the transpose of b that is wanted, it is
made there. The transpose of a costs nothing: a tile reads single numbers of it, wherever they are.

Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, 2008, section 4.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.jit import common_dtype
from minitl.kernels.launch import Indices, Numbers, Packed, Scratch, Task, launch, packed, task_kernel
from minitl.kernels.places import steps
from minitl.kernels.processor import PAGE, TASKS
from minitl.kernels.simd import product, tile_columns, transpose, whole_vectors
from minitl.ops.window import Pair

FEW_ROWS = 12  # for fewer, copying a panel costs more than it saves
ROWS_PER_PANEL = 48  # at least, or copying it would show
ROWS_AT_ONCE = 1024  # whose places are written down: the same array serves any number of rows


def is_product(kernel: tuple[int, ...], strides: Pair) -> bool:
    """Whether the convolution is one product of matrices: a 1x1 kernel at every pixel."""
    return kernel[:2] == (1, 1) and strides == (1, 1)


def affine(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, relu: bool) -> np.ndarray:
    """x kernel + bias along the last axis, or of that what is above zero.

    Shapes: x (..., in), kernel (in, out), bias (out,) or None; the result (..., out).
    """
    dtype = common_dtype(x, kernel)
    start = np.zeros(kernel.shape[1], dtype) if bias is None else np.ascontiguousarray(bias, dtype)
    rows = np.ascontiguousarray(x, dtype).reshape(-1, kernel.shape[0])
    return multiply(rows, np.ascontiguousarray(kernel, dtype), start, relu).reshape(*x.shape[:-1], kernel.shape[1])


def multiply(
    a: np.ndarray, b: np.ndarray, start: np.ndarray, relu: bool = False, a_transposed: bool = False, b_transposed: bool = False
) -> np.ndarray:
    """a b + start, or of that what is above zero; or the same with a or b transposed.

    Shapes: a (M, K), or (K, M) if transposed, b (K, N), or (N, K) if transposed, start (N,), all contiguous and of one dtype; the
    result (M, N).
    """
    depth, rows = a.shape if a_transposed else a.shape[::-1]
    columns = b.shape[0] if b_transposed else b.shape[1]
    c = memory.empty((rows, columns), a.dtype)
    tasks, scratch, plan = _plan(rows, depth, columns, a.dtype, relu, a_transposed, b_transposed)
    launch(_multiply, tasks, plan, a, b, start, c, scratch=scratch)
    return c


class Plan(NamedTuple):
    """How the product is cut: into blocks of columns, and chunks of rows."""

    rows: int
    depth: int  # of the sums
    columns: int
    block_columns: int
    chunks: int
    relu: int
    copies_panel: int
    b_transposed: int
    row_in_a: int  # numbers from one row to the next
    step_in_a: int  # and from one term of its sum to the next


@functools.lru_cache(maxsize=256)
def _plan(
    rows: int, depth: int, columns: int, dtype: np.dtype, relu: bool, a_transposed: bool, b_transposed: bool
) -> tuple[int, int, Packed]:
    """The number of tasks, the size of a panel, and the plan, with where the rows of a and c begin."""
    width = min(tile_columns(dtype), whole_vectors(columns, dtype))
    blocks = -(-columns // width)
    chunks = max(1, min(-(-TASKS // blocks), rows // ROWS_PER_PANEL))
    if blocks * chunks == 1 and rows > 1:
        chunks = 2
    far = rows >= FEW_ROWS and columns * dtype.itemsize >= PAGE
    panel = depth * width if far or b_transposed or whole_vectors(columns, dtype) != columns else 0
    step_in_a, row_of_a = (rows, 1) if a_transposed else (1, depth)
    plan = Plan(rows, depth, columns, width, chunks, relu, panel > 0, b_transposed, row_of_a, step_in_a)
    return blocks * chunks, memory.whole_lines(panel), packed(plan, steps(ROWS_AT_ONCE, row_of_a), steps(ROWS_AT_ONCE, columns))


@task_kernel
def _multiply(
    task: Task, plan: Plan, a: Numbers, b: Numbers, start: Numbers, c: Numbers, in_a: Indices, in_c: Indices, panel: Scratch
):
    rows, depth, columns, width = plan.rows, plan.depth, plan.columns, plan.block_columns
    # The longer of the two matrices is read once: neighbouring tasks are likely one thread's.
    blocks = (columns + width - 1) // width
    block, chunk = (task % blocks, task // blocks) if rows > columns else (task // plan.chunks, task % plan.chunks)
    first, last = chunk * rows // plan.chunks, (chunk + 1) * rows // plan.chunks
    left = block * width
    here = min(width, columns - left)
    source, in_source, step = b, left, columns
    if plan.copies_panel:
        source, in_source, step = panel, 0, width
        if plan.b_transposed:
            transpose(b, left * depth, depth, here, depth, panel, 0, width)
        for k in range(depth):
            if not plan.b_transposed:
                for column in range(here):
                    panel[k * width + column] = b[k * columns + left + column]
            for column in range(here, width):
                panel[k * width + column] = 0
    for row in range(first, last, ROWS_AT_ONCE):
        product(
            a, row * plan.row_in_a, in_a, 0, source, in_source, ((1, 0, 0), (1, 0, 0), (depth, plan.step_in_a, step)),
            start, left, 0, c, row * columns + left, in_c, 0, min(ROWS_AT_ONCE, last - row), here,
            0.0 if plan.relu else -np.inf,
        )  # fmt: skip
