"""The matrices of Winograd's convolution, for tiles of 2x2 outputs and for those of 4x4, and the sandwiches with them.

A tile of 2x2 is evaluated at 0, 1, -1 and infinity. One of 4x4 needs two points more: 0, a, -a, b, -b and infinity with
a = 1/sqrt(2) and b = sqrt(2). Small whole numbers would be 1 and 2, and round twice as badly. Points that come in pairs share
their sums: what is even and what is odd in the point is computed once, then added and subtracted; hence the products of two
matrices. And because a b = 1, a window turned around has the same values at the other points (`mirrored`).

Source: A. Lavin and S. Gray, arXiv 1509.09308; on points and rounding B. Barabasz et al., arXiv 1803.10986.
"""

from __future__ import annotations

from minitl.kernels.jit import jit

INPUT_2 = "1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 -1 0 1"  # B^T
INPUT_GRADIENT_2 = "1 0 0 0; 0 1 -1 -1; -1 1 1 0; 0 0 0 1"  # B
KERNEL_2 = "1 0 0; .5 .5 .5; .5 -.5 .5; 0 0 1"  # G
KERNEL_GRADIENT_2 = "1 .5 .5 0; 0 .5 -.5 0; 0 .5 .5 1"  # G^T
OUTPUT_2 = "1 1 1 0; 0 1 -1 1"  # A^T
OUTPUT_GRADIENT_2 = "1 0; 1 1; 1 -1; 0 1"  # A

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

INPUT = f"{INPUT_2} | {INPUT_4}"
INPUT_GRADIENT = f"{INPUT_GRADIENT_2} | {INPUT_GRADIENT_4}"
KERNEL = f"{KERNEL_2} | {KERNEL_4}"
KERNEL_GRADIENT = f"{KERNEL_GRADIENT_2} | {KERNEL_GRADIENT_4}"
OUTPUT_GRADIENT = f"{OUTPUT_GRADIENT_2} | {OUTPUT_GRADIENT_4}"
SUM = "1 1 | 1 1 1 1"  # of a tile's pixels


@jit()
def mirrored(edge, plane):
    """The plane in which a window of 3 turned around has what it had in `plane` before.

    The points 0 and infinity change places, and a and b, and -a and -b; 1 and -1 stay.
    """
    last = edge + 1
    i, j = plane // (edge + 2), plane % (edge + 2)
    move_i = last - 2 * i if i % last == 0 else 0 if edge == 2 else 2 if i < 3 else -2
    move_j = last - 2 * j if j % last == 0 else 0 if edge == 2 else 2 if j < 3 else -2
    return plane + move_i * (edge + 2) + move_j
