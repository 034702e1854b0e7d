"""The matrices of Winograd's convolution, for tiles of 2x2 outputs and for those of 4x4, and the sandwiches with them.

A tile of 2x2 is evaluated at 0, 1, -1 and infinity. One of 4x4 needs two points more: 0, a, -a, b, -b and infinity with
a = 1/sqrt(2) and b = sqrt(2). Small whole numbers would be 1 and 2, and round twice as badly. Points that come in pairs share
their sums: what is even and what is odd in the point is computed once, then added and subtracted; hence the products of two
matrices. And because a b = 1, a window turned around has the same values at the other points (`mirrored`).

Source: A. Lavin and S. Gray, arXiv 1509.09308; on points and rounding B. Barabasz et al., arXiv 1803.10986.
"""

from __future__ import annotations

from minitl.kernels.jit import jit
from minitl.kernels.simd import biased_sandwich, sandwich, scaled_sandwich

INPUT = "1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 -1 0 1"  # B^T
INPUT_GRADIENT = "1 0 0 0; 0 1 -1 -1; -1 1 1 0; 0 0 0 1"  # B
KERNEL = "1 0 0; .5 .5 .5; .5 -.5 .5; 0 0 1"  # G
KERNEL_GRADIENT = "1 .5 .5 0; 0 .5 -.5 0; 0 .5 .5 1"  # G^T
OUTPUT = "1 1 1 0; 0 1 -1 1"  # A^T
OUTPUT_GRADIENT = "1 0; 1 1; 1 -1; 0 1"  # A

# The same for 4x4 outputs; B^T and G have the factors 2, 2 and 1/2, 1/2 at +-a, so that `mirrored` is a change of places alone.
PAIRS = "1 0 0 0 0 0; 0 1 1 0 0 0; 0 1 -1 0 0 0; 0 0 0 1 1 0; 0 0 0 1 -1 0; 0 0 0 0 0 1"
INPUT_4 = (
    f"{PAIRS} @ 1 0 -2.5 0 1 0; 0 0 4 0 -2 0; 0 2.8284271247461903 0 -1.4142135623730951 0 0; 0 0 -.5 0 1 0;"
    "0 -.7071067811865476 0 1.4142135623730951 0 0; 0 1 0 -2.5 0 1"
)
INPUT_GRADIENT_4 = (
    "1 0 0 0 0 0; 0 0 2.8284271247461903 0 -.7071067811865476 1; -2.5 4 0 -.5 0 0;"
    f"0 0 -1.4142135623730951 0 1.4142135623730951 -2.5; 1 -2 0 1 0 0; 0 0 0 0 0 1 @ {PAIRS}"
)
KERNEL_4 = (
    f"{PAIRS} @ 1 0 0; .3333333333333333 0 .16666666666666666; 0 .23570226039551584 0;"
    ".16666666666666666 0 .3333333333333333; 0 .23570226039551584 0; 0 0 1"
)
KERNEL_GRADIENT_4 = (
    "1 .3333333333333333 0 .16666666666666666 0 0; 0 0 .23570226039551584 0 .23570226039551584 0;"
    f"0 .16666666666666666 0 .3333333333333333 0 1 @ {PAIRS}"
)
OUTPUT_4 = (
    "1 1 0 1 0 0; 0 0 .7071067811865476 0 1.4142135623730951 0; 0 .5 0 2 0 0;"
    f"0 0 .3535533905932738 0 2.8284271247461903 1 @ {PAIRS}"
)
OUTPUT_GRADIENT_4 = (
    f"{PAIRS} @ 1 0 0 0; 1 0 .5 0; 0 .7071067811865476 0 .3535533905932738; 1 0 2 0;"
    "0 1.4142135623730951 0 2.8284271247461903; 0 0 0 1"
)


@jit()
def of_input(edge, source, at, row, column, target, to, plane, count):
    """V = B^T d B of a patch: `count` channels of it, each a matrix."""
    if edge == 2:
        sandwich(INPUT, source, at, row, column, target, to, 4 * plane, plane, count, None, False)
    else:
        sandwich(INPUT_4, source, at, row, column, target, to, 6 * plane, plane, count, None, False)


@jit()
def of_input_gradient(edge, source, at, plane, target, to, row, column, count):
    """B dV B^T, added to the pixels of a patch."""
    if edge == 2:
        sandwich(INPUT_GRADIENT, source, at, 4 * plane, plane, target, to, row, column, count, None, True)
    else:
        sandwich(INPUT_GRADIENT_4, source, at, 6 * plane, plane, target, to, row, column, count, None, True)


@jit()
def of_kernel(edge, parts, at, size, target, to, plane, count):
    """U = G g G^T of entries of a kernel."""
    if edge == 2:
        sandwich(KERNEL, parts, at, 3 * size, size, target, to, 4 * plane, plane, count, None, False)
    else:
        sandwich(KERNEL_4, parts, at, 3 * size, size, target, to, 6 * plane, plane, count, None, False)


@jit()
def of_scaled_kernel(edge, parts, at, size, scale, in_scale, target, to, plane, count):
    """U of entries of a kernel, each times its factor."""
    if edge == 2:
        scaled_sandwich(KERNEL, parts, at, 3 * size, size, scale, in_scale, target, to, 4 * plane, plane, count)
    else:
        scaled_sandwich(KERNEL_4, parts, at, 3 * size, size, scale, in_scale, target, to, 6 * plane, plane, count)


@jit()
def of_kernel_gradient(edge, source, at, plane, target, to, size, count):
    """G^T dU G, entries of the kernel's gradient."""
    if edge == 2:
        sandwich(KERNEL_GRADIENT, source, at, 4 * plane, plane, target, to, 3 * size, size, count, None, False)
    else:
        sandwich(KERNEL_GRADIENT_4, source, at, 6 * plane, plane, target, to, 3 * size, size, count, None, False)


@jit()
def of_output(edge, source, at, plane, bias, in_bias, target, to, row, column, count, floor):
    """max(floor, A^T M A + bias), a tile of outputs; one of 2x2 has its bias in M already."""
    if edge == 2:
        sandwich(OUTPUT, source, at, 4 * plane, plane, target, to, row, column, count, floor, False)
    else:
        biased_sandwich(OUTPUT_4, source, at, 6 * plane, plane, bias, in_bias, target, to, row, column, count, floor)


@jit()
def of_output_gradient(edge, source, at, row, column, target, to, plane, count):
    """dM = A dy A^T of a tile of outputs' gradients."""
    if edge == 2:
        sandwich(OUTPUT_GRADIENT, source, at, row, column, target, to, 4 * plane, plane, count, None, False)
    else:
        sandwich(OUTPUT_GRADIENT_4, source, at, row, column, target, to, 6 * plane, plane, count, None, False)


@jit()
def sum_of_tile(edge, source, at, row, column, target, to, count):
    """The sum of a tile's pixels, added to what is there."""
    if edge == 2:
        sandwich("1 1", source, at, row, column, target, to, 0, 0, count, None, True)
    else:
        sandwich("1 1 1 1", source, at, row, column, target, to, 0, 0, count, None, True)


@jit()
def mirrored(edge, plane):
    """The plane in which a window of 3 turned around has what it had in `plane` before.

    The points 0 and infinity change places, and a and b, and -a and -b; 1 and -1 stay.
    """
    side = edge + 2
    return _mirrored_point(edge, plane // side) * side + _mirrored_point(edge, plane % side)


@jit()
def _mirrored_point(edge, point):
    if point == 0 or point == edge + 1:
        return edge + 1 - point
    if edge == 2:
        return point
    return point + 2 if point < 3 else point - 2
