"""How a convolution is cut into blocks of tiles, and a kernel into windows of 3."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import contiguous
from minitl.kernels.launch import Packed, packed
from minitl.kernels.memory import whole_lines
from minitl.kernels.processor import THREADS
from minitl.kernels.recording import also
from minitl.kernels.simd.transformed import CHANNELS_AT_ONCE, TILES_AT_ONCE
from minitl.ops.window import Pair

TILES_PER_BLOCK = 64  # and twice as many for a kernel whose U has to come from far for each block
LARGEST_NEAR_U = 1 << 19  # numbers of U that stay in a level-2 cache of today
LARGEST_BESIDE = 1 << 18  # numbers of a block and of U, beside which the level-2 cache has room for images
FEWEST_TASKS = 8  # pieces of work to share among threads, where the images are few
TILES_PER_SLICE = 512  # of the batch, with a sum of its own for dU, up to FEWEST_TASKS slices
LARGEST_PART_OF_U = 1 << 17  # numbers of U that a task makes and uses at a time
WIDEST_CHUNK = 256  # filters; the wider, the longer the pieces of the kernel that a task reads
LARGE_KERNEL = 1 << 14  # channels times filters, from which on 4x4 tiles pay although some reach beyond the image,
LARGEST_SHARE = 0.75  # if there are so many products, in terms of those of 2x2 tiles
NEARLY_FULL = 1.15  # pixels in the 4x4 tiles, per pixel of the image, for a smaller kernel
MIDDLE_KERNEL, FEWEST_TILES = 1 << 12, 4  # of an image then, and four times as many for a kernel smaller than that
LINE = 16  # numbers between planes, or a power of two between them would send all to the same places of the cache


class Sizes(NamedTuple):
    """The plan of a convolution: what its tasks have to know."""

    edge: int  # of a tile: 2 outputs, or 4
    planes: int
    images: int
    height: int
    width: int
    x_channels: int
    channels: int  # those of x and, perhaps, zeros to fill the last vector
    before_h: int  # zeros above the image, and left of it
    before_w: int
    out_h: int  # of y, which is the pooled one if `pooled`
    out_w: int
    filters: int
    y_channels: int  # of y, of which the filters are some
    y_first: int
    grid_h: int  # tiles
    grid_w: int
    p: int  # pieces of the kernel
    q: int
    pooled: int
    keep: int  # the winners
    relu: int
    scaled: int
    skips: int
    images_per_block: int  # images in a block
    bands: int  # of tile rows, in an image
    chunks: int  # of filters; more than one only when all is one block
    own_u: int  # every task makes U, or its part of it, since there is so little to do
    few: int  # U is multiplied as it is made, and not written; in its place are V and the kernel of some channels
    channels_at_once: int  # of which a task with some filters makes U, and adds up the products
    square: int  # one window of 3, and as many channels as filters, which fill one vector
    block_x: int  # numbers of x and of y in a block, if they are brought nearer while another one is multiplied
    block_y: int
    for_kernel: int  # the gradients that are asked for
    for_image: int
    slices: int  # of the batch: those of the sums, or for dx alone a block each
    plane_v: int  # numbers from one plane to the next, in V, M and U
    plane_m: int
    plane_u: int
    in_m: int  # where M, the patches' strip, the sums of patches, the tile and U begin in a task's scratch
    in_strip: int
    in_sums: int
    in_tile: int
    in_u: int
    scratch: int


class KernelSizes(NamedTuple):
    """A kernel of p x q windows of 3, and whether each filter has a factor."""

    edge: int
    p: int
    q: int
    channels: int
    filters: int
    scaled: int

    @property
    def size(self) -> int:
        """The numbers of the kernel in its pieces, with the zeros between them, in one plane of U."""
        return self.p * self.q * self.channels * self.filters


@functools.lru_cache(maxsize=256)
def plan(
    x: tuple[int, ...],
    kernel: tuple[int, ...],
    out: Pair,
    before: Pair,
    lanes: int,
    pooled: bool,
    keep: bool = True,
    relu: bool = False,
    share_filters: bool = True,
    scaled: bool = False,
    skips: bool = False,
    part: Pair | None = None,
    for_kernel: bool = False,
    for_image: bool = False,
) -> tuple[Sizes, Packed]:
    """How to cut the work; kept, since small batches would notice making it.

    `part` says how many channels y has, and which is the first one of the filters. `share_filters` lets the tasks of a single
    block take some filters or rows each, and make their own part of U. `for_kernel` and `for_image` ask for gradients.
    Shapes: x (N, H, W, C), kernel (K_h, K_w, C or whole vectors of them, F), out (H_out, W_out) of y.
    """
    (images, height, width, x_channels), (channels, filters) = x, kernel[2:]
    p, q = pieces(kernel)
    whole = (2 * out[0], 2 * out[1]) if pooled else out  # the convolution's
    edge = tile_edge(kernel, whole)
    grid = -(-whole[0] // edge), -(-whole[1] // edge)
    tiles, planes = grid[0] * grid[1], (edge + 2) ** 2
    size = p * q * channels * filters
    most = TILES_PER_BLOCK if planes * size <= LARGEST_NEAR_U else 2 * TILES_PER_BLOCK
    # As many images as fill a block, or bands of one image; in a single block the filters are shared out instead, if there
    # are enough.
    single = share_filters and images * tiles <= TILES_PER_BLOCK
    chunks = _chunks(filters, lanes) if single else 1
    at_once = channels
    if chunks > 1 and p == q == 1:
        at_once = min(channels, max(lanes, LARGEST_PART_OF_U // (planes * (filters // chunks)) // lanes * lanes))
    few = chunks > 1 and p == q == 1 and edge == 4 and images * tiles == TILES_AT_ONCE and lanes % CHANNELS_AT_ONCE == 0
    at_once = lanes if few else at_once
    alone = single and images == chunks == 1 and planes * size <= LARGEST_PART_OF_U  # a band for each thread
    own_u = (chunks > 1 or alone) and not few
    plane_u = (p * q * at_once if chunks > 1 else size // filters) * (filters // chunks) + LINE
    images_per_block = images if chunks > 1 else max(1, min(most // tiles, images // FEWEST_TASKS))
    fewest = THREADS if alone else -(-FEWEST_TASKS // images)
    bands = 1 if images_per_block > 1 or chunks > 1 else min(grid[0], max(tiles // most, fewest))
    slices = min(images, FEWEST_TASKS, max(2, images * tiles // TILES_PER_SLICE))
    slices += slices % 2 if edge == 4 and slices < images else 0  # pairs of threads are seldom alone at the end
    block = images_per_block * (-(-(grid[0] + p - 1) // bands) + 2 * p - 1) * (grid[1] + 2 * q - 2)
    plane_v, plane_m = block * channels + LINE, block * filters + LINE
    in_m, of_m = planes * plane_v, planes * plane_m
    if few:
        plane_m = TILES_AT_ONCE * lanes
        of_m = planes * plane_m * (filters // chunks // lanes)
    in_strip, strip = in_m + of_m, (edge + 2) * (edge * (grid[1] + q - 1) + 2) * channels
    in_sums = in_strip + strip * (for_kernel and for_image)
    in_tile = in_sums + strip
    in_u = in_tile + edge * edge * filters
    of_few = planes * plane_m + 9 * lanes * (filters // chunks)  # V of some channels, and those of the kernel
    scratch = whole_lines(in_u + (planes * plane_u if own_u else of_few if few else 0))
    square = p == q == 1 and channels == filters == lanes
    fetches = not own_u and in_u + planes * size <= LARGEST_BESIDE
    blocks = -(-images // images_per_block) * bands
    block_x, block_y = (math.prod(shape) // blocks if fetches else 0 for shape in (x, (images, *out, (part or (filters,))[0])))
    sizes = Sizes(
        *(edge, planes, images, height, width, x_channels, channels, *before, *out),
        *(filters, *(part or (filters, 0)), *grid, p, q),
        *(pooled, keep, relu, scaled, skips),
        *(images_per_block, bands, chunks, own_u, few, at_once, square, block_x, block_y),
        *(for_kernel, for_image, slices if for_kernel else -(-images // images_per_block)),
        *(plane_v, plane_m, plane_u, in_m, in_strip, in_sums, in_tile, in_u, scratch),
    )
    return sizes, packed(sizes)


@functools.lru_cache(maxsize=1024)
def tile_edge(kernel: tuple[int, ...], out: Pair) -> int:
    """Whether tiles have 2x2 or 4x4 outputs; the batch has no say.

    Shapes: kernel (K_h, K_w, C, F), out (H_out, W_out) of the convolution.
    """
    if kernel[:2] != (3, 3):
        return 2
    small, large = (-(-out[0] // edge) * -(-out[1] // edge) for edge in (2, 4))
    size = kernel[2] * kernel[3]
    if size >= LARGE_KERNEL:
        return 4 if 36 * large <= LARGEST_SHARE * 16 * small else 2
    fewest = FEWEST_TILES if size >= MIDDLE_KERNEL else 4 * FEWEST_TILES
    return 4 if large >= fewest and 16 * large <= NEARLY_FULL * out[0] * out[1] else 2


def _chunks(filters: int, lanes: int) -> int:
    """Into how many chunks of whole vectors filters are cut: one for each thread, unless they would be too wide or too narrow."""
    widest = min(WIDEST_CHUNK, max(2 * lanes, filters // THREADS))
    return next((n for n in range(-(-filters // widest), filters // (2 * lanes) + 1) if filters % (n * lanes) == 0), 1)


def pieces(kernel: tuple[int, ...]) -> Pair:
    """How many windows of 3, two pixels apart, make the kernel's."""
    return (kernel[0] - 1) // 2, (kernel[1] - 1) // 2


def cut(kernel: np.ndarray) -> np.ndarray:
    """The pieces of a kernel, each behind a row and a column of zeros where the piece before it has been.

    Shapes: (K_h, K_w, C, F) to (3, 3, p, q, C, F).
    """
    p, q = pieces(kernel.shape)
    if p == q == 1:
        return contiguous(kernel, kernel.dtype)[:, :, None, None]
    parts = np.zeros((3, 3, p, q, *kernel.shape[2:]), kernel.dtype)
    for a, b, part, whole in _matching(p, q):
        also(np.copyto, parts[part][:, :, a, b], kernel[whole])
    return parts


def joined(parts: np.ndarray) -> np.ndarray:
    """The kernel from its pieces.

    Shapes: (3, 3, p, q, C, F) to (K_h, K_w, C, F).
    """
    p, q = parts.shape[2:4]
    if p == q == 1:
        return parts[:, :, 0, 0]
    kernel = memory.empty((2 * p + 1, 2 * q + 1, *parts.shape[4:]), parts.dtype)
    for a, b, part, whole in _matching(p, q):
        also(np.copyto, kernel[whole], parts[part][:, :, a, b])
    return kernel


def _matching(p: int, q: int) -> Iterator[tuple[int, int, tuple[slice, slice], tuple[slice, slice]]]:
    """For every piece: which part of its 3x3 entries counts, and where in the kernel they are."""
    for a in range(p):
        for b in range(q):
            yield (
                *(a, b, (slice(a > 0, 3), slice(b > 0, 3))),
                (slice(2 * a + (a > 0), 2 * a + 3), slice(2 * b + (b > 0), 2 * b + 3)),
            )
