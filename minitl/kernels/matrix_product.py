"""The product of two matrices: dense layers, and 1x1 convolutions, whose pixels are rows of a matrix.

The columns of b are taken in blocks as wide as a tile. Where b's rows are long, or many, a block is first copied into a panel, in
which they lie one after another: a panel is used for many rows of a, while rows of b that are a large power of two apart would
all compete for the same few places of the cache. A task copies some panels side by side, since memory is read faster in long
pieces, and so many rows of them at a time that each stays in the level-1 cache while all its rows of a meet it. If it is the
transpose of b that is wanted, it is made there, and so is b with factors for its columns. The transpose of a costs nothing: a
tile reads single numbers of it, wherever they are.

Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, 2008, section 4.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, contiguous
from minitl.kernels.jit import inlined, inner
from minitl.kernels.launch import Indices, Numbers, Packed, Scratch, Task, launch, packed, task_kernel
from minitl.kernels.places import steps
from minitl.kernels.processor import CACHE_LINE, LEVEL_1, PAGE, ROWS, TASKS, THREADS
from minitl.kernels.simd import (
    begin_walk,
    clear,
    copy_panels,
    finished_product,
    tile_columns,
    transpose,
    whole_vectors,
)
from minitl.ops.window import Pair

MOST_BESIDE = 8  # panels that a task copies together: the longer the pieces of b's rows that it reads, the faster they come
TASKS_PER_THREAD = 2  # at least, if there are enough panels
NONE, LAST, ALL = 0, 1, 2  # of the panels are copied; the last one if it is not whole, since vectors are read whole
FEW_ROWS = 12  # for fewer, copying a panel costs more than it saves
DEEP, LARGE = 2048, 1 << 21  # rows and bytes of b, from which on a panel's rows compete for places of the level-2 cache too
ROWS_PER_PANEL = 384  # that a task takes, where there are tasks enough, or copying its panels would show
LEAST_ROWS = 48  # that it takes otherwise
ROWS_NEAR = 96  # that meet all panels of a task while they, and what they skip with, are in the level-2 cache
ROWS_AT_ONCE = 1024  # whose places are written down: the same array serves any number of rows


def is_product(kernel: tuple[int, ...], strides: Pair) -> bool:
    """Whether the convolution is one product of matrices: a 1x1 kernel at every pixel."""
    return kernel[:2] == (1, 1) and strides == (1, 1)


def affine(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, relu: bool) -> np.ndarray:
    """x kernel + bias along the last axis, or of that what is above zero.

    Shapes: x (..., in), kernel (in, out), bias (out,) or None; the result (..., out).
    """
    dtype = common_dtype(x, kernel)
    start = np.zeros(kernel.shape[1], dtype) if bias is None else contiguous(bias, dtype)
    rows = contiguous(x, dtype).reshape(-1, kernel.shape[0])
    return multiply(rows, contiguous(kernel, dtype), start, relu).reshape(*x.shape[:-1], kernel.shape[1])


def multiply(
    a: np.ndarray,
    b: np.ndarray,
    start: np.ndarray,
    relu: bool = False,
    a_transposed: bool = False,
    b_transposed: bool = False,
    scale: np.ndarray | None = None,
    ceiling: int = 0,
    skip: np.ndarray | None = None,
    into: tuple[np.ndarray, int] | None = None,
) -> np.ndarray:
    """a b + start, or of that what is above zero; or the same with a or b transposed.

    The columns of b may be multiplied by `scale`; `skip` may be added in front of the ReLU, and what is above `ceiling` cut off.
    The result may go `into` columns of a wider matrix, from a given one on; then that matrix is what is returned.
    Shapes: a (M, K), or (K, M) if transposed, b (K, N), or (N, K) if transposed and with nothing more, start and scale (N,), skip
    and the result (M, N), all contiguous and of one dtype.
    """
    depth, rows = a.shape if a_transposed else a.shape[::-1]
    columns = b.shape[0] if b_transposed else b.shape[1]
    c, first = into or (memory.empty((rows, columns), a.dtype), 0)
    more = scale is not None or skip is not None or ceiling > 0
    tasks, scratch, plan = _plan(
        *(rows, depth, columns, a.dtype, relu, a_transposed, b_transposed),
        *(more, ceiling, skip is not None, c.shape[1], first),
    )
    if more:
        factors, added = np.ones(columns, a.dtype) if scale is None else scale, c if skip is None else skip
        launch(_multiply_with_more, tasks, plan, a, b, start, factors, added, c, scratch=scratch)
    else:
        launch(_multiply, tasks, plan, a, b, start, c, scratch=scratch)
    return c


class Plan(NamedTuple):
    """How the product is cut: into blocks of columns, each of some panels, and chunks of rows."""

    rows: int
    depth: int  # of the sums
    depth_at_once: int
    columns: int
    panel_columns: int
    panels: int  # side by side
    chunks: int
    relu: int
    copies: int  # NONE, LAST or ALL
    b_transposed: int
    ceiling: int
    skips: int
    row_in_c: int
    first_in_c: int  # the first column of the result
    row_in_a: int  # numbers from one row to the next
    step_in_a: int  # and from one term of its sum to the next
    step_ahead: int  # bytes of b's next part that come nearer with each term of a tile; 0 if none do


@functools.lru_cache(maxsize=256)
def _plan(
    rows: int,
    depth: int,
    columns: int,
    dtype: np.dtype,
    relu: bool,
    a_transposed: bool,
    b_transposed: bool,
    more: bool,
    ceiling: int,
    skips: bool,
    row_in_c: int,
    first_in_c: int,
) -> tuple[int, int, Packed]:
    """The number of tasks, the size of a task's panels, and the plan, with where the rows of a and c begin."""
    width = min(tile_columns(dtype), whole_vectors(columns, dtype))
    panels = -(-columns // width)
    far = rows >= FEW_ROWS and columns * dtype.itemsize >= PAGE
    deep = rows >= FEW_ROWS and columns > width and depth >= DEEP and depth * columns * dtype.itemsize >= LARGE
    shallow = rows > columns > width and depth * width * dtype.itemsize <= LEVEL_1  # what is written of c is most of the work
    copies = ALL if far or deep or shallow or b_transposed or more else LAST if whole_vectors(columns, dtype) != columns else NONE
    least = min(-(-TASKS_PER_THREAD * THREADS // panels), rows // LEAST_ROWS)
    chunks = max(1, least, min(-(-TASKS // panels), rows // (ROWS_PER_PANEL if copies else LEAST_ROWS)))
    if panels * chunks == 1 and rows > 1:
        chunks = 2
    beside, at_once = 1, max(depth, 1)
    ahead = 0
    if (more or deep or shallow) and not b_transposed:
        beside = max(1, min(MOST_BESIDE, panels * chunks // (TASKS_PER_THREAD * THREADS)))
        at_once = -(-at_once // -(-at_once * width * dtype.itemsize // LEVEL_1))
        ahead = _step_ahead(rows // chunks, width * dtype.itemsize) if columns > rows else 0
    step_in_a, row_of_a = (rows, 1) if a_transposed else (1, depth)
    cut = beside, chunks, relu, copies, b_transposed, ceiling, skips, row_in_c, first_in_c
    plan = Plan(rows, depth, at_once, columns, width, *cut, row_of_a, step_in_a, ahead)
    places = steps(ROWS_AT_ONCE, row_of_a), steps(ROWS_AT_ONCE, row_in_c)
    return -(-panels // beside) * chunks, memory.whole_lines(at_once * width * beside) if copies else 0, packed(plan, *places)


def _step_ahead(rows: int, size: int) -> int:
    """How many bytes to ask for per term, so that one more panel has come by the time all rows have met a panel.

    A row of it has `size` bytes. Only tiles of ROWS rows take a walk along.
    """
    tiles = rows - (ROWS - 1) * -(-rows // ROWS)  # of ROWS rows, if the others have fewer by one; else there are none
    return min(CACHE_LINE, -(-size // tiles)) if tiles > 0 else 0


@task_kernel
def _multiply(
    task: Task, plan: Plan, a: Numbers, b: Numbers, start: Numbers, c: Numbers, in_a: Indices, in_c: Indices, scratch: Scratch,
):  # fmt: skip
    first, last, begin, end = _part(task, plan)
    for k in range(0, max(plan.depth, 1), plan.depth_at_once):
        if plan.b_transposed:
            _turn(plan, b, k, begin, end, scratch)
        elif plan.copies == ALL or (plan.copies == LAST and end - begin < plan.panel_columns):
            lay_out(plan, b, None, k, begin, end, scratch, 0)
        floor = 0.0 if plan.relu and k + plan.depth_at_once >= plan.depth else -np.inf
        further, step = _next(plan, k, begin, end)
        walk = begin_walk(b, further, end - begin, plan.columns, step)
        _multiply_panels(plan, k, first, last, begin, end, a, in_a, b, start, c, in_c, scratch, floor, c, False, walk)


@task_kernel
def _multiply_with_more(
    task: Task, plan: Plan, a: Numbers, b: Numbers, start: Numbers, scale: Numbers, skip: Numbers, c: Numbers, in_a: Indices,
    in_c: Indices, scratch: Scratch,
):  # fmt: skip
    first, last, begin, end = _part(task, plan)
    for k in range(0, max(plan.depth, 1), plan.depth_at_once):
        lay_out(plan, b, scale, k, begin, end, scratch, 0)
        whole = k + plan.depth_at_once >= plan.depth
        floor = 0.0 if whole and plan.relu else -np.inf
        further, step = _next(plan, k, begin, end)
        walk = begin_walk(b, further, end - begin, plan.columns, step)
        at_once = ROWS_NEAR if whole and (plan.skips or plan.ceiling) else max(1, last - first)
        for row in range(first, last, at_once):
            below = min(row + at_once, last)
            _multiply_panels(plan, k, row, below, begin, end, a, in_a, b, start, c, in_c, scratch, floor, skip, whole, walk)


@inlined
def _part(task, plan):
    """The rows and the columns of a task."""
    block_columns = plan.panel_columns * plan.panels
    blocks = (plan.columns + block_columns - 1) // block_columns
    # The longer of the two matrices is read once: neighbouring tasks are likely one thread's.
    by_rows = plan.rows > plan.columns
    block, chunk = (task % blocks, task // blocks) if by_rows else (task // plan.chunks, task % plan.chunks)
    first, last = chunk * plan.rows // plan.chunks, (chunk + 1) * plan.rows // plan.chunks
    return first, last, block * block_columns, min((block + 1) * block_columns, plan.columns)


@inlined
def _next(plan, k, begin, end):
    """Where the part of b begins that is copied next, by this task or likely its neighbour, and how many bytes come per term."""
    further = k + plan.depth_at_once
    if further < plan.depth:
        return further * plan.columns + begin, plan.step_ahead
    return end, plan.step_ahead if end < plan.columns else 0


@inlined
def _multiply_panels(plan, k, first, last, begin, end, a, in_a, b, start, c, in_c, panels, floor, skip, finish, walk):
    """Some terms of the sums, of some rows and columns, added to what is in c of those before; the last ones also to the skip."""
    width, terms = plan.panel_columns, min(plan.depth_at_once, plan.depth - k)
    for left in range(begin, end, width):
        source, at, step = b, k * plan.columns + left, plan.columns
        if plan.copies == ALL or (plan.copies == LAST and end - left < width):
            source, at, step = panels, (left - begin) * plan.depth_at_once, width
        for row in range(first, last, ROWS_AT_ONCE):
            to = row * plan.row_in_c + plan.first_in_c + left
            finished_product(
                a, row * plan.row_in_a + k * plan.step_in_a, in_a, 0,
                source, at, ((1, 0, 0), (1, 0, 0), (terms, plan.step_in_a, step)),
                start if k == 0 else c, left if k == 0 else to, 0 if k == 0 else plan.row_in_c,
                c, to, in_c, 0, min(ROWS_AT_ONCE, last - row), min(width, end - left), floor,
                True, plan.ceiling if finish else 0, plan.skips and finish, skip, walk,
            )  # fmt: skip


@inner()
def lay_out(plan, b, scale, k, begin, end, panels, at):
    """Rows of a block of b from k on, laid out as panels from panels[at] on; what is missing of the last one's columns is zero.

    The columns are multiplied by their factors, if there is a scale.
    """
    width, terms, size = plan.panel_columns, min(plan.depth_at_once, plan.depth - k), plan.panel_columns * plan.depth_at_once
    whole, first = (end - begin) // width, k * plan.columns + begin
    copy_panels(b, first, plan.columns, scale, begin, panels, at, size, width, whole, terms)
    left = begin + whole * width
    for j in range(terms if left < end else 0):
        to = at + whole * size + j * width
        for column in range(end - left):
            number = b[(k + j) * plan.columns + left + column]
            panels[to + column] = number if scale is None else number * scale[left + column]
        clear(panels, to + end - left, left + width - end)


@inner()
def _turn(plan, b, k, begin, end, panels):
    """The same of a b that is transposed, of which a task takes one panel."""
    terms = min(plan.depth_at_once, plan.depth - k)
    transpose(b, begin * plan.depth + k, plan.depth, end - begin, terms, panels, 0, plan.panel_columns)
    for j in range(terms):
        clear(panels, j * plan.panel_columns + end - begin, plan.panel_columns - end + begin)
