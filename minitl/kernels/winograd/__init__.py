"""Winograd's convolution: the same sums with 16 multiplications, or 9, where the definition needs 36.

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

Where that takes fewer products, dx is a convolution instead: of dy, with the rotated kernel.

Tiles of 4x4 outputs work the same way on patches of 6x6 (`matrices`): 36 multiplications for 16 outputs, 2.25 each where tiles of
2x2 need 4. They round three times as much in float32, about twice as much as the definition. `plan.tile_edge` says which
tiles a shape gets; the batch has no say. Their bias comes in with the last sandwich: no plane turns into all 16 outputs.

A window of 5 is one of 3 and the two rows below it, behind a row of zeros: two windows of 3, two pixels apart, so that
the second sees the patch of the next tile. A 5x5 convolution is therefore a 2x2 convolution over tiles in every plane, 64
multiplications a tile and not 100, and a 7x7 one a 3x3. `pieces` counts them: (1, 1) for a 3x3 kernel, (2, 2) for 5x5.

`plan` cuts the work into blocks whose V and M stay in the level-2 cache. `transform`, `tasks`, `output` and `backward` have what
is compiled, and `few_tiles` what multiplies U as it makes it, for a single image of 2x2 tiles. Sums run in an order that the
shapes decide, each tile by itself. Compared with the definition, an infinity or a NaN in the image reaches all outputs of the
tiles that see it. `benchmarks/tile.py` prints the rounding errors of all three ways.

Source: A. Lavin and S. Gray, Fast algorithms for convolutional neural networks, arXiv 1509.09308.
"""

from __future__ import annotations

import functools

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import contiguous
from minitl.kernels.launch import NOTHING, Packed, launch
from minitl.kernels.processor import THREADS, VECTOR_BYTES
from minitl.kernels.recording import also
from minitl.kernels.simd import whole_vectors
from minitl.kernels.winograd import backward as compiled
from minitl.kernels.winograd import few_tiles, transform
from minitl.kernels.winograd import tasks as compiled_output
from minitl.kernels.winograd.plan import LINE, KernelSizes, Sizes, cut, joined, pieces, plan, tile_edge
from minitl.ops.window import Pair


@functools.lru_cache(maxsize=1024)
def suits(kernel: tuple[int, ...], strides: Pair, out: Pair, dtype: np.dtype) -> bool:
    """Whether a convolution is faster this way; the batch has no say, so that an image's result does not depend on it.

    Shapes: kernel (K_h, K_w, C, F), out (H_out, W_out).
    """
    k_h, k_w, channels, filters = kernel
    if strides != (1, 1) or {k_h, k_w} - {3, 5, 7} or whole_vectors(filters, dtype) != filters:
        return False
    (p, q), edge = pieces(kernel), tile_edge(_filled(kernel, dtype), out)
    if min(channels, filters) < 16:  # too little to multiply for the transformations to pay
        return False
    if edge == 2 and (channels * filters < 512 or whole_vectors(channels, dtype) != channels):
        return False
    tiles = -(-out[0] // edge) * -(-out[1] // edge)
    return (edge + 2) ** 2 * p * q * tiles <= 0.75 * k_h * k_w * out[0] * out[1]


def better_rotated(kernel: tuple[int, ...], image: Pair, out: Pair) -> bool:
    """Whether dx takes fewer products as a convolution of dy with the rotated kernel than by the transposed formulas.

    Shapes: kernel (K_h, K_w, C, F), image (H, W) of x, out (H_out, W_out).
    """
    p, q = pieces(kernel)
    edge, edge_back = tile_edge(kernel, out), tile_edge(kernel, image)
    rotated = -(-image[0] // edge_back) * -(-image[1] // edge_back) * (edge_back + 2) ** 2
    return rotated < (-(-out[0] // edge) + p - 1) * (-(-out[1] // edge) + q - 1) * (edge + 2) ** 2


def forward(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    out: Pair,
    before: Pair,
    relu: bool,
    pooled: bool = False,
    keep: bool = True,
    scale: np.ndarray | None = None,
    skip: np.ndarray | None = None,
    into: tuple[np.ndarray, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The convolution, of that what is above zero if `relu`, and of that the maxima of 2x2 windows if `pooled` too.

    Each filter of the kernel may have a factor, `scale`; `skip` may be added in front of the ReLU; and y may go `into` channels
    of images that are there, from a given one on. What it returns beside y are the winners of the windows, if there are some and
    `keep` asks for them.
    Shapes: x (N, H, W, C), kernel (K_h, K_w, C, F), bias (F,), scale (F,) or None, skip like y or None and then neither `pooled`
    nor `into`, all contiguous and of one dtype; `out` is (H_out, W_out), or half of it if `pooled`; `before` the zeros above and
    left of x.
    """
    lanes, part = VECTOR_BYTES // x.itemsize, (into[0].shape[-1], into[1]) if into else None
    kernel = _with_zeros(kernel)
    more = True, scale is not None, skip is not None, part
    sizes, packed_sizes = plan(x.shape, kernel.shape, out, before, lanes, pooled, keep, relu, *more)
    factors, added = bias if scale is None else scale, bias if skip is None else skip
    y = into[0] if into else memory.empty((sizes.images, *out, sizes.filters), x.dtype)
    winner = memory.empty(y.shape, np.uint8) if pooled and keep else NOTHING
    weights = kernel if sizes.p == sizes.q == 1 else cut(kernel)
    if not sizes.own_u and not sizes.few:
        of_kernel = KernelSizes(sizes.edge, sizes.p, sizes.q, sizes.channels, sizes.filters, sizes.scaled)
        weights, parts = _memory_for_u(of_kernel, x.dtype), weights
        launch(transform.transform_kernel, -(-of_kernel.size // transform.ENTRIES_PER_TASK), of_kernel, parts, factors, weights)
    tasks = -(-sizes.images // sizes.images_per_block) * sizes.bands * sizes.chunks
    task_kernel = compiled_output.forward
    if sizes.few:
        task_kernel, factors = few_tiles.forward_of_few, np.ones(sizes.filters, x.dtype) if scale is None else scale
    launch(task_kernel, tasks, packed_sizes, x, weights, bias, factors, added, y, winner, scratch=sizes.scratch)
    return y, winner


def gradients(
    x: np.ndarray, dy: np.ndarray, winner: np.ndarray | None, kernel: np.ndarray, before: Pair
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dkernel and dbias; from one dM, if that is possible: then dy is read and transformed once.

    Shapes: x (N, H, W, C), dy (N, H_out, W_out, F), kernel (K_h, K_w, C, F), contiguous and of one dtype; winner like dy.
    """
    whole = _filled(kernel.shape, x.dtype)
    sizes, packed_sizes = _gradient_plan(x.shape, whole, dy, before, winner, for_kernel=True, for_image=True)
    if sizes.p * sizes.q > 1 or sizes.slices < THREADS or _is_convolution(dy, winner, whole, x.shape):
        return input_gradient(dy, winner, kernel, x.shape, before), *kernel_gradient(x, dy, winner, kernel.shape, before)
    sums, dx = _memory_for_sums(sizes, x.dtype), memory.empty(x.shape, x.dtype)
    u, zeros = _rotated(_with_zeros(kernel), sizes.edge), np.zeros(max(sizes.channels, sizes.filters), x.dtype)
    launch(
        compiled.gradients, sizes.slices, packed_sizes, x, dy, u, zeros, sums, dx, NOTHING if winner is None else winner,
        scratch=sizes.scratch,
    )  # fmt: skip
    return dx, *_gathered(sizes, packed_sizes, sums, kernel.shape)


def kernel_gradient(
    x: np.ndarray, dy: np.ndarray, winner: np.ndarray | None, shape: tuple[int, ...], before: Pair
) -> tuple[np.ndarray, np.ndarray]:
    """dkernel (K_h, K_w, C, F) and dbias (F,) from x, dy and the winners of the pooling behind, if there was one.

    Shapes: x (N, H, W, C), dy (N, H_out, W_out, F), contiguous and of one dtype; winner like dy.
    """
    sizes, packed_sizes = _gradient_plan(x.shape, _filled(shape, x.dtype), dy, before, winner, for_kernel=True)
    sums, zeros = _memory_for_sums(sizes, x.dtype), np.zeros(sizes.filters, x.dtype)
    winners = NOTHING if winner is None else winner
    launch(compiled.gradients, sizes.slices, packed_sizes, x, dy, zeros, zeros, sums, zeros, winners, scratch=sizes.scratch)
    return _gathered(sizes, packed_sizes, sums, shape)


def input_gradient(
    dy: np.ndarray, winner: np.ndarray | None, kernel: np.ndarray, shape: tuple[int, ...], before: Pair
) -> np.ndarray:
    """dx (N, H, W, C) from dy, the winners of the pooling behind, if there was one, and the kernel.

    Shapes: dy (N, H_out, W_out, F), contiguous, winner like it, kernel (K_h, K_w, C, F).
    """
    kernel, lanes = _with_zeros(kernel), VECTOR_BYTES // dy.itemsize
    k_h, k_w, channels, filters = kernel.shape
    dx, zeros = memory.empty(shape, dy.dtype), np.zeros(channels, dy.dtype)
    if _is_convolution(dy, winner, kernel.shape, shape):
        rotated, around = (k_h, k_w, filters, channels), (k_h - 1 - before[0], k_w - 1 - before[1])
        sizes, packed_sizes = plan(dy.shape, rotated, (shape[1], shape[2]), around, lanes, pooled=False, share_filters=False)
        u, tasks = _rotated(kernel, sizes.edge), -(-sizes.images // sizes.images_per_block) * sizes.bands
        launch(compiled_output.forward, tasks, packed_sizes, dy, u, zeros, zeros, zeros, dx, NOTHING, scratch=sizes.scratch)
        return dx
    sizes, packed_sizes = _gradient_plan(shape, kernel.shape, dy, before, winner, for_image=True)
    winners, u = NOTHING if winner is None else winner, _rotated(kernel, sizes.edge)
    launch(compiled.gradients, sizes.slices, packed_sizes, zeros, dy, u, zeros, zeros, dx, winners, scratch=sizes.scratch)
    return dx


def _gradient_plan(
    x: tuple[int, ...], kernel: tuple[int, ...], dy: np.ndarray, before: Pair, winner: np.ndarray | None, **asked: bool
) -> tuple[Sizes, Packed]:
    """The plan of the gradients that are asked for: `for_kernel`, `for_image`."""
    out = dy.shape[1], dy.shape[2]
    return plan(x, kernel, out, before, VECTOR_BYTES // dy.itemsize, winner is not None, **asked)


def _is_convolution(dy: np.ndarray, winner: np.ndarray | None, kernel: tuple[int, ...], x: tuple[int, ...]) -> bool:
    """Whether dx is computed as a convolution of dy; the kernel's channels fill vectors, which those of x must do, too."""
    return winner is None and kernel[2] == x[3] and better_rotated(kernel, (x[1], x[2]), (dy.shape[1], dy.shape[2]))


def _memory_for_sums(sizes: Sizes, dtype: np.dtype) -> np.ndarray:
    """For dU and dbias of every slice."""
    numbers = sizes.planes * sizes.p * sizes.q * sizes.channels * sizes.filters
    return memory.workspace("sums", (sizes.slices, numbers + sizes.filters), dtype)


def _gathered(sizes: Sizes, packed_sizes: Packed, sums: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """dkernel and dbias from the slices' sums."""
    parts = memory.empty((3, 3, sizes.p, sizes.q, sizes.channels, sizes.filters), sums.dtype)
    dbias = memory.empty((sizes.filters,), sums.dtype)
    launch(compiled.gather, sizes.p * sizes.q * sizes.channels, packed_sizes, sums, parts, dbias)
    dkernel = joined(parts)
    return dkernel if sizes.channels == shape[2] else contiguous(dkernel[:, :, : shape[2]], dkernel.dtype), dbias


def _filled(shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...]:
    """The shape of a kernel whose channels fill vectors."""
    return *shape[:2], whole_vectors(shape[2], dtype), shape[3]


def _with_zeros(kernel: np.ndarray) -> np.ndarray:
    """The kernel, with zeros for the channels that fill the last vector."""
    if kernel.shape[2] * kernel.itemsize % VECTOR_BYTES == 0:
        return kernel
    whole = np.zeros(_filled(kernel.shape, kernel.dtype), kernel.dtype)
    also(np.copyto, whole[:, :, : kernel.shape[2]], kernel)
    return whole


def _rotated(kernel: np.ndarray, edge: int) -> np.ndarray:
    """U of the rotated kernel: its last offset first, channels and filters exchanged."""
    of_kernel = KernelSizes._make([edge, *pieces(kernel.shape), *kernel.shape[2:], False])
    u = _memory_for_u(of_kernel, kernel.dtype)
    scratch = memory.whole_lines(9 * transform.FILTERS_PER_TASK * of_kernel.channels)
    tasks = of_kernel.p * of_kernel.q * -(-of_kernel.filters // transform.FILTERS_PER_TASK)
    launch(transform.transform_rotated, tasks, of_kernel, contiguous(kernel, kernel.dtype), u, scratch=scratch)
    return u


def _memory_for_u(kernel: KernelSizes, dtype: np.dtype) -> np.ndarray:
    """For U of a kernel, with the zeros between its pieces, one plane after another: (planes, size + LINE)."""
    return memory.workspace("u", ((kernel.edge + 2) ** 2, kernel.size + LINE), dtype)
