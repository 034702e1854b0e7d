"""The matrices of Winograd's convolution, for tiles of 2x2 outputs and for those of 4x4.

A tile of 2x2 is evaluated at 0, 1, -1 and infinity. One of 4x4 needs two points more: 0, a, -a, b, -b and infinity with
a = 1/sqrt(2) and b = sqrt(2), which round less than 1 and 2 would. Points that come in pairs share
their sums: what is even and what is odd in the point is computed once, then added and subtracted; hence the products of two
matrices. And because a b = 1, a window turned around has the same values at the other points (`mirrored`).

Source: A. Lavin and S. Gray, arXiv 1509.09308; on points and rounding B. Barabasz et al., arXiv 1803.10986.
"""

from __future__ import annotations

from minitl.kernels.jit import inner

INPUT_2 = "1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 -1 0 1"  # B^T
INPUT_GRADIENT_2 = "1 0 0 0; 0 1 -1 -1; -1 1 1 0; 0 0 0 1"  # B
KERNEL_2 = "1 0 0; .5 .5 .5; .5 -.5 .5; 0 0 1"  # G
KERNEL_GRADIENT_2 = "1 .5 .5 0; 0 .5 -.5 0; 0 .5 .5 1"  # G^T
OUTPUT_2 = "1 1 1 0; 0 1 -1 1"  # A^T
OUTPUT_GRADIENT_2 = "1 0; 1 1; 1 -1; 0 1"  # A

# The same for 4x4 outputs. What is taken out of G at a point comes in with B^T, shared so that `mirrored` only changes places.
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
TURNED_2, TURNED_4 = (3, 1, 2, 0), (5, 3, 4, 1, 2, 0)  # the point at which a window turned around has the value of each point


@inner()
def mirrored(edge, plane):
    """The plane in which a window of 3 turned around has what it had in `plane` before.

    The points 0 and infinity change places, and a and b, and -a and -b; 1 and -1 stay.
    """
    if edge == 2:
        return 4 * TURNED_2[plane // 4] + TURNED_2[plane % 4]
    return 6 * TURNED_4[plane // 6] + TURNED_4[plane % 6]
