"""Winograd's convolution: the same sums with 16 multiplications where the definition needs 36.

Two neighbouring outputs of a 3-wide window share most of their inputs, and four products are enough for both:

    y0 = d0 g0 + d1 g1 + d2 g2        p0 = (d0 - d2) g0                   y0 = p0 + p1 + p2
    y1 = d1 g0 + d2 g1 + d3 g2        p1 = (d1 + d2) (g0 + g1 + g2) / 2   y1 = p1 - p2 + p3
                                      p2 = (d2 - d1) (g0 - g1 + g2) / 2
                                      p3 = (d3 - d1) g2

As matrices, with * entry by entry: y = A^T ((G g) * (B^T d)). Once for the rows and once for the columns, a tile of 2x2 outputs
is y = A^T (U * V) A with U = G g G^T of the kernel and V = B^T d B of a 4x4 patch of the image. Over channels the product
U * V becomes, for each of the 16 entries (a plane), a product of matrices: M[tile, f] = sum_c V[tile, c] U[c, f], which the
register tile does. A bias belongs to the plane (1, 1) alone: A^T turns that into all four outputs.

The gradients follow from the three formulas, each a product and a sandwich m d m^T:

    dM = A dy A^T      dU[c, f] = sum over tiles V[tile, c] dM[tile, f]      dkernel = G^T dU G
                       dV[tile, c] = sum_f dM[tile, f] U[c, f]               dx += B dV B^T, patches overlap by two pixels

A window of 5 is one of 3 and the two rows below it, behind a row of zeros: two windows of 3, two pixels apart, so that the second sees
the patch of the next tile. A 5x5 convolution is therefore a 2x2 convolution over tiles in every plane, 64
multiplications a tile and not 100, and a 7x7 one a 3x3. `pieces` counts them, (1, 1) for a 3x3 kernel.

Work is cut into blocks of some rows of tiles, or of some small images, whose V and M stay in the level-2 cache. Sums run in
an order that the shapes decide, each tile by itself. Compared with the definition, an infinity or a NaN in the image reaches all
outputs of the tiles that see it, and rounding errors are about twice as large (`benchmarks/operations.py` prints them).

Source: A. Lavin and S. Gray, Fast algorithms for convolutional neural networks, arXiv 1509.09308.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.jit import jit
from minitl.kernels.launch import NOTHING, Body, launch
from minitl.kernels.simd import VECTOR_BYTES, best_of_four, one_of_four, product, sandwich, whole_vectors
from minitl.ops.window import Pair

TILES = 64  # about so many in a block
TASKS = 8  # pieces of work to share among threads, where the images are few
SLICE_TILES = 512  # so many tiles are worth a slice of the batch with a sum of its own for dU, up to TASKS slices
ENTRIES = 4096  # of the kernel that one task transforms, whole vectors
LINE = 16  # numbers between planes, or a power of two between them would send all to the same places of the cache

INPUT = "1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 -1 0 1"  # B^T
INPUT_GRADIENT = "1 0 0 0; 0 1 -1 -1; -1 1 1 0; 0 0 0 1"  # B
KERNEL = "1 0 0; .5 .5 .5; .5 -.5 .5; 0 0 1"  # G
KERNEL_GRADIENT = "1 .5 .5 0; 0 .5 -.5 0; 0 .5 .5 1"  # G^T
OUTPUT = "1 1 1 0; 0 1 -1 1"  # A^T
OUTPUT_GRADIENT = "1 0; 1 1; 1 -1; 0 1"  # A


class Sizes(NamedTuple):
    """What a body has to know, in the order in which it lies in `numbers`."""

    images: int
    height: int
    width: int
    channels: int
    before_h: int  # zeros above the image, and left of it
    before_w: int
    out_h: int  # of y, which is the pooled one if `pooled`
    out_w: int
    filters: int
    grid_h: int  # tiles
    grid_w: int
    p: int  # pieces of the kernel
    q: int
    pooled: int
    relu: int
    together: int  # images in a block
    bands: int  # of tile rows, in an image
    chunks: int  # of filters; more than one only when all is one block
    slices: int
    plane_v: int  # numbers from one plane to the next, in V, M and U
    plane_m: int
    plane_u: int
    in_m: int  # where M, the strip, the tile and U begin in a body's room
    in_strip: int
    in_tile: int
    in_u: int
    room: int


@functools.lru_cache(maxsize=256)
def _plan(
    x: tuple[int, ...], kernel: tuple[int, ...], out: Pair, before: Pair, pooled: bool, relu: bool, lanes: int
) -> tuple[Sizes, np.ndarray]:
    """How to cut the work; kept, since small batches would notice making it.

    Shapes: x (N, H, W, C), kernel (K_h, K_w, C, F), out (H_out, W_out) of y.
    """
    (images, height, width, channels), filters = x, kernel[3]
    p, q = pieces(kernel)
    grid = out if pooled else (-(-out[0] // 2), -(-out[1] // 2))
    tiles = grid[0] * grid[1]
    # As many images as fill a block, or bands of one image; in a single block the filters are shared out instead.
    single = images * tiles <= TILES
    chunks = max(1, filters // (2 * lanes)) if single else 1
    chunks = chunks if filters % (chunks * lanes) == 0 else 1
    together = images if chunks > 1 else max(1, min(TILES // tiles, images // TASKS))
    bands = 1 if together > 1 or chunks > 1 else min(grid[0], max(tiles // TILES, -(-TASKS // images)))
    slices = min(images, TASKS, max(2, images * tiles // SLICE_TILES))
    block = together * (-(-(grid[0] + p - 1) // bands) + 2 * p - 1) * (grid[1] + 2 * q - 2)
    plane_v, plane_m = block * channels + LINE, block * filters + LINE
    size = p * q * channels * filters
    in_m = 16 * plane_v
    in_strip = in_m + 16 * plane_m
    in_tile = in_strip + 4 * (2 * (grid[1] + q - 1) + 2) * channels
    in_u = in_tile + 4 * filters
    room = in_u + (16 * (size // chunks + LINE) if chunks > 1 else 0)
    sizes = Sizes(
        *(images, height, width, channels, *before, *out, filters, *grid, p, q, pooled, relu, together, bands, chunks, slices),
        *(plane_v, plane_m, size // chunks + LINE, in_m, in_strip, in_tile, in_u, room),
    )
    return sizes, np.array(sizes, np.int64)


@functools.lru_cache(maxsize=1024)
def suits(kernel: tuple[int, ...], strides: Pair, out: Pair, dtype: np.dtype) -> bool:
    """Whether a convolution is faster this way; the batch has no say, so that a picture's result does not depend on it.

    Shapes: kernel (K_h, K_w, C, F), out (H_out, W_out).
    """
    k_h, k_w, channels, filters = kernel
    if strides != (1, 1) or {k_h, k_w} - {3, 5, 7} or any(whole_vectors(n, dtype) != n for n in (channels, filters)):
        return False
    p, q = pieces(kernel)
    if min(channels, filters) < 32 * max(p, q):  # too little to multiply for the transformations to pay
        return False
    tiles = -(-out[0] // 2) * -(-out[1] // 2)
    return 16 * p * q * tiles <= 0.75 * k_h * k_w * out[0] * out[1]


def pieces(kernel: tuple[int, ...]) -> Pair:
    """How many windows of 3, two pixels apart, make the kernel's."""
    return (kernel[0] - 1) // 2, (kernel[1] - 1) // 2


def forward(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, out: Pair, before: Pair, relu: bool, pooled: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The convolution, of that what is above zero if `relu`, and of that the maxima of 2x2 windows and their winners if `pooled`.

    Shapes: x (N, H, W, C), kernel (K_h, K_w, C, F), bias (F,), all contiguous and of one dtype; `out` is (H_out, W_out), or half of it
    if `pooled`; `before` the zeros above and left of x.
    """
    sizes, numbers = _plan(x.shape, kernel.shape, out, before, pooled, relu, VECTOR_BYTES // x.itemsize)
    y = memory.empty((len(x), *out, sizes.filters), x.dtype)
    winner = memory.empty(y.shape if pooled else (0,), np.uint8)
    weights = _cut(kernel) if sizes.chunks > 1 else _transformed(_cut(kernel), numbers)
    starts = np.zeros((2, sizes.filters), x.dtype)
    starts[1] = bias
    tasks = -(-sizes.images // sizes.together) * sizes.bands * sizes.chunks
    launch(_forward, tasks, (x, weights, starts, y), numbers, winner, sizes.room)
    return y, winner


def kernel_gradient(
    x: np.ndarray, dy: np.ndarray, winner: np.ndarray | None, shape: tuple[int, ...], before: Pair
) -> tuple[np.ndarray, np.ndarray]:
    """dkernel (K_h, K_w, C, F) and dbias (F,) from x, dy and the winners of the pooling behind, if there was one.

    Shapes: x (N, H, W, C), dy (N, H_out, W_out, F), contiguous and of one dtype; winner like dy.
    """
    pooled = winner is not None
    sizes, numbers = _plan(x.shape, shape, dy.shape[1:3], before, pooled, False, VECTOR_BYTES // x.itemsize)
    parts = memory.empty((3, 3, sizes.p, sizes.q, *shape[2:]), x.dtype)
    size = parts[0, 0].size
    sums = memory.workspace("sums", (sizes.slices, 16 * size + sizes.filters), x.dtype)
    zeros = np.zeros(sizes.filters, x.dtype)
    launch(_sum_of_slice, sizes.slices, (x, dy, zeros, sums), numbers, winner if pooled else NOTHING, sizes.room)
    launch(_gather, size // sizes.filters, (sums, parts), numbers)
    return _joined(parts), sums[:, 16 * size :].sum(axis=0)


def input_gradient(
    dy: np.ndarray, winner: np.ndarray | None, turned: np.ndarray, shape: tuple[int, ...], before: Pair
) -> np.ndarray:
    """dx (N, H, W, C) from dy, the winners of the pooling behind, if there was one, and the kernel turned around.

    Shapes: dy (N, H_out, W_out, F), winner like it, turned (K_h, K_w, F, C).
    """
    pooled = winner is not None
    kernel = (*turned.shape[:2], turned.shape[3], turned.shape[2])
    sizes, numbers = _plan(shape, kernel, dy.shape[1:3], before, pooled, False, VECTOR_BYTES // dy.itemsize)
    dx = memory.empty(shape, dy.dtype)
    u = _transformed(_cut(turned), numbers)
    tasks = -(-sizes.images // sizes.together)
    launch(_input_gradient, tasks, (dy, u, np.zeros(sizes.channels, dy.dtype), dx), numbers, winner if pooled else NOTHING, sizes.room)
    return dx


def _transformed(parts: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """U, one plane after another.

    Shapes: (3, 3, p, q, C, F) to (16, p q C F + LINE).
    """
    u = memory.workspace("u", (16, parts[0, 0].size + LINE), parts.dtype)
    launch(_transform_kernel, -(-parts[0, 0].size // ENTRIES), (parts, u), np.array([parts[0, 0].size, u.shape[1]]))
    return u


def _cut(kernel: np.ndarray) -> np.ndarray:
    """The pieces of a kernel, each behind a row and a column of zeros where the piece before it has been.

    Shapes: (K_h, K_w, C, F) to (3, 3, p, q, C, F).
    """
    p, q = pieces(kernel.shape)
    if p == q == 1:
        return np.ascontiguousarray(kernel)[:, :, None, None]
    parts = np.zeros((3, 3, p, q, *kernel.shape[2:]), kernel.dtype)
    for a, b, part, whole in _matching(p, q):
        parts[(*part, a, b)] = kernel[whole]
    return parts


def _joined(parts: np.ndarray) -> np.ndarray:
    """The kernel from its pieces.

    Shapes: (3, 3, p, q, C, F) to (K_h, K_w, C, F).
    """
    p, q = parts.shape[2:4]
    if p == q == 1:
        return parts[:, :, 0, 0]
    kernel = np.empty((2 * p + 1, 2 * q + 1, *parts.shape[4:]), parts.dtype)
    for a, b, part, whole in _matching(p, q):
        kernel[whole] = parts[(*part, a, b)]
    return kernel


def _matching(p: int, q: int) -> Iterator[tuple[int, int, tuple[slice, slice], tuple[slice, slice]]]:
    """For every piece: which part of its 3x3 entries counts, and where in the kernel they are."""
    for a in range(p):
        for b in range(q):
            yield (
                *(a, b, (slice(a > 0, 3), slice(b > 0, 3))),
                (slice(2 * a + (a > 0), 2 * a + 3), slice(2 * b + (b > 0), 2 * b + 3)),
            )


@Body
def _transform_kernel(task, parts, u, _c, _d, _small, numbers, _room):
    size, plane = numbers[0], numbers[1]
    at = task * ENTRIES
    sandwich(KERNEL, parts, at, 3 * size, size, u, at, 4 * plane, plane, min(ENTRIES, size - at), -np.inf, False)


@Body
def _forward(task, x, weights, starts, y, winner, numbers, room):
    s = _sizes(numbers)
    filters = s.filters // s.chunks
    in_filters = task % s.chunks * filters
    block, band = task // s.chunks // s.bands, task // s.chunks % s.bands
    first = block * s.together
    count = min(s.together, s.images - first)
    top, bottom = band * s.grid_h // s.bands, (band + 1) * s.grid_h // s.bands
    rows, columns = bottom - top, s.grid_w
    v_columns, entries = columns + s.q - 1, s.p * s.q * s.channels
    u, in_u = weights, 0
    if s.chunks > 1:  # some filters of U for this task alone
        u, in_u = room, s.in_u
        size = entries * s.filters
        for e in range(entries):
            sandwich(
                KERNEL, weights, e * s.filters + in_filters, 3 * size, size, room, in_u + e * filters, 4 * s.plane_u, s.plane_u,
                filters, -np.inf, False,
            )  # fmt: skip
    _patches(x, s, first, count, top, rows + s.p - 1, v_columns, room)
    places = _tile_places(count, rows, columns, rows + s.p - 1, v_columns, s.channels)
    targets = np.arange(len(places)) * filters
    run = s.q * s.channels
    counters = ((1, 0, 0), (s.p, v_columns * s.channels, run * filters), (run, 1, filters))
    for plane in range(16):
        product(
            room, plane * s.plane_v, places, 0, u, in_u + plane * s.plane_u, counters,
            starts, in_filters + (s.filters if plane == 5 else 0), 0,
            room, s.in_m + plane * s.plane_m, targets, 0, len(places), filters, -np.inf,
        )  # fmt: skip
    floor = 0.0 if s.relu else -np.inf
    for t in range(len(places)):
        n, i, j = first + t // columns // rows, top + t // columns % rows, t % columns
        at = s.in_m + t * filters
        if not s.pooled and 2 * i + 2 <= s.out_h and 2 * j + 2 <= s.out_w:
            to = ((n * s.out_h + 2 * i) * s.out_w + 2 * j) * s.filters + in_filters
            sandwich(
                OUTPUT, room, at, 4 * s.plane_m, s.plane_m, y, to, s.out_w * s.filters, s.filters, filters, floor, False
            )  # fmt: skip
            continue
        sandwich(OUTPUT, room, at, 4 * s.plane_m, s.plane_m, room, s.in_tile, 2 * filters, filters, filters, floor, False)
        if s.pooled:
            to = ((n * s.out_h + i) * s.out_w + j) * s.filters + in_filters
            best_of_four(room, s.in_tile, 2 * filters, filters, y, to, winner, to, filters)
            continue
        for k in range(4):
            row, column = 2 * i + k // 2, 2 * j + k % 2
            if row < s.out_h and column < s.out_w:
                to = ((n * s.out_h + row) * s.out_w + column) * s.filters + in_filters
                _copy(room, s.in_tile + k * filters, y, to, filters)


@Body
def _sum_of_slice(task, x, dy, zeros, sums, winner, numbers, room):
    s = _sizes(numbers)
    columns, v_columns = s.grid_w, s.grid_w + s.q - 1
    entries = s.p * s.q * s.channels
    in_sums = task * (16 * entries + 1) * s.filters
    places, targets = np.empty(entries, np.intp), np.arange(entries) * s.filters
    for entry in range(entries):
        a, b, c = entry // s.channels // s.q, entry // s.channels % s.q, entry % s.channels
        places[entry] = (a * v_columns + b) * s.channels + c
    _clear(sums, in_sums + 16 * entries * s.filters, s.filters)
    begin, end = task * s.images // s.slices, (task + 1) * s.images // s.slices
    for first in range(begin, end, s.together):
        count = min(s.together, end - first)
        for band in range(s.bands):
            top, bottom = band * s.grid_h // s.bands, (band + 1) * s.grid_h // s.bands
            rows = bottom - top
            _patches(x, s, first, count, top, rows + s.p - 1, v_columns, room)
            _output_gradients(dy, winner, s, first, count, top, rows, 0, columns, room)
            counters = (
                (count, (rows + s.p - 1) * v_columns * s.channels, rows * columns * s.filters),
                (rows, v_columns * s.channels, columns * s.filters),
                (columns, s.channels, s.filters),
            )
            fresh = first == begin and band == 0
            for plane in range(16):
                at = in_sums + plane * entries * s.filters
                product(
                    room, plane * s.plane_v, places, 0, room, s.in_m + plane * s.plane_m, counters,
                    zeros if fresh else sums, 0 if fresh else at, 0 if fresh else s.filters,
                    sums, at, targets, 0, entries, s.filters, -np.inf,
                )  # fmt: skip
            for t in range(count * rows * columns):  # plane (1, 1) of dM has the sum of a tile's four gradients
                at = s.in_m + 5 * s.plane_m + t * s.filters
                _add(room, at, sums, in_sums + 16 * entries * s.filters, s.filters)


@Body
def _gather(task, sums, parts, _c, _d, _small, numbers, _room):
    """The slices' sums of one row of entries of dU, and dkernel."""
    s = _sizes(numbers)
    size, at = s.p * s.q * s.channels * s.filters, task * s.filters
    for k in range(1, s.slices):
        for plane in range(16):
            _add(sums, k * (16 * size + s.filters) + plane * size + at, sums, plane * size + at, s.filters)
    sandwich(KERNEL_GRADIENT, sums, at, 4 * size, size, parts, at, 3 * size, size, s.filters, -np.inf, False)


@Body
def _input_gradient(task, dy, u, zeros, dx, winner, numbers, room):
    s = _sizes(numbers)
    channels, filters = s.channels, s.filters
    total, columns = s.grid_h + s.p - 1, s.grid_w + s.q - 1  # patches of an image
    m_columns = columns + s.q - 1
    run = s.q * filters
    counters = ((1, 0, 0), (s.p, m_columns * filters, run * channels), (run, 1, channels))
    first = task * s.together
    count = min(s.together, s.images - first)
    strip_row = (2 * columns + 2) * channels
    image_row = s.width * channels
    plane_u = s.p * s.q * channels * filters + LINE
    for band in range(s.bands):
        top, bottom = band * total // s.bands, (band + 1) * total // s.bands
        rows = bottom - top
        _output_gradients(dy, winner, s, first, count, top - s.p + 1, rows + s.p - 1, 1 - s.q, m_columns, room)
        places = _tile_places(count, rows, columns, rows + s.p - 1, m_columns, filters)
        targets = np.arange(len(places)) * channels
        for plane in range(16):
            product(
                room, s.in_m + plane * s.plane_m, places, 0, u, _mirrored(plane) * plane_u, counters, zeros, 0, 0,
                room, plane * s.plane_v, targets, 0, len(places), channels, -np.inf,
            )  # fmt: skip
        for line in range(count * rows):
            n, i = first + line // rows, top + line % rows
            if i == 0:
                _clear(room, s.in_strip, 4 * strip_row)
            for j in range(columns):
                sandwich(
                    INPUT_GRADIENT, room, (line * columns + j) * channels, 4 * s.plane_v, s.plane_v,
                    room, s.in_strip + 2 * j * channels, strip_row, channels, channels, -np.inf, True,
                )  # fmt: skip
            # Two rows of the strip are finished; the other two are met by the next row of patches.
            row = 2 * i - s.before_h
            here = min(image_row, strip_row - s.before_w * channels)
            for k in range(4 if i + 1 == total else 2):
                if 0 <= row + k < s.height:
                    to = (n * s.height + row + k) * image_row
                    _copy(room, s.in_strip + k * strip_row + s.before_w * channels, dx, to, here)
                    _clear(dx, to + here, image_row - here)
            _copy(room, s.in_strip + 2 * strip_row, room, s.in_strip, 2 * strip_row)
            _clear(room, s.in_strip + 2 * strip_row, 2 * strip_row)
            if i + 1 == total:
                _clear(dx, (n * s.height + row + 4) * image_row, (s.height - row - 4) * image_row)


@jit()
def _mirrored(plane):
    """The plane in which a window of 3 turned around has what it had in `plane` before: entries 0 and 3 of G g change places."""
    i, j = plane // 4, plane % 4
    return 4 * (3 - i if i % 3 == 0 else i) + (3 - j if j % 3 == 0 else j)


@jit()
def _patches(x, s, first, count, top, rows, columns, room):
    """V of some images: `rows` x `columns` patches, from row of tiles `top`."""
    channels = s.channels
    wide = 2 * columns + 2
    for line in range(count * rows):
        n, row = first + line // rows, 2 * (top + line % rows) - s.before_h
        source, at, step = x, (n * s.height + row) * s.width * channels, s.width * channels
        if row < 0 or row + 4 > s.height or s.before_w > 0 or wide > s.width:
            # At the border: four rows with the zeros around them.
            source, at, step = room, s.in_strip, wide * channels
            for k in range(4):
                to = s.in_strip + k * step
                _clear(room, to, step)
                if 0 <= row + k < s.height:
                    here = min(s.width, wide - s.before_w)
                    _copy(x, (n * s.height + row + k) * s.width * channels, room, to + s.before_w * channels, here * channels)
        for j in range(columns):
            sandwich(
                INPUT, source, at + 2 * j * channels, step, channels, room, (line * columns + j) * channels, 4 * s.plane_v, s.plane_v,
                channels, -np.inf, False,
            )  # fmt: skip


@jit()
def _output_gradients(dy, winner, s, first, count, top, rows, left, columns, room):
    """dM of some images, of `rows` x `columns` tiles; zero for tiles outside the grid."""
    filters = s.filters
    for t in range(count * rows * columns):
        n, i, j = first + t // columns // rows, top + t // columns % rows, left + t % columns
        source, at, step = dy, ((n * s.out_h + 2 * i) * s.out_w + 2 * j) * filters, s.out_w * filters
        if s.pooled or i < 0 or j < 0 or 2 * i + 2 > s.out_h or 2 * j + 2 > s.out_w:
            source, at, step = room, s.in_tile, 2 * filters
            if s.pooled and 0 <= i < s.out_h and 0 <= j < s.out_w:
                pixel = ((n * s.out_h + i) * s.out_w + j) * filters
                one_of_four(dy, pixel, winner, pixel, room, at, step, filters, filters)
            else:
                _clear(room, at, 4 * filters)
                for k in range(0 if s.pooled else 4):
                    row, column = 2 * i + k // 2, 2 * j + k % 2
                    if 0 <= row < s.out_h and 0 <= column < s.out_w:
                        _copy(dy, ((n * s.out_h + row) * s.out_w + column) * filters, room, at + k * filters, filters)
        sandwich(
            OUTPUT_GRADIENT, source, at, step, filters, room, s.in_m + t * filters, 4 * s.plane_m, s.plane_m, filters, -np.inf, False
        )  # fmt: skip


@jit()
def _tile_places(count, rows, columns, all_rows, all_columns, step):
    """Where the tiles of some images lie that have patches to spare below and on the right."""
    places = np.empty(count * rows * columns, np.intp)
    for t in range(len(places)):
        n, i, j = t // columns // rows, t // columns % rows, t % columns
        places[t] = ((n * all_rows + i) * all_columns + j) * step
    return places


@jit()
def _sizes(n):
    return Sizes(
        n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12], n[13], n[14], n[15], n[16], n[17],
        n[18], n[19], n[20], n[21], n[22], n[23], n[24], n[25], n[26],
    )  # fmt: skip


@jit()
def _copy(source, at, target, to, count):
    for k in range(count):
        target[to + k] = source[at + k]


@jit()
def _add(source, at, target, to, count):
    for k in range(count):
        target[to + k] += source[at + k]


@jit()
def _clear(target, to, count):
    for k in range(count):
        target[to + k] = 0
