"""Winograd's convolution F(2x2, 3x3): the same sums with 16 multiplications per four outputs instead of 36.

Read three weights g and two outputs y of a one-dimensional convolution as polynomials. What a window computes is a product of
polynomials turned round, and a product of degree 3 is known from its values at four points: 0, 1, -1 and infinity (the leading
coefficient). At each point one multiplication does it. Written as matrices (the derivation is chapter 10 of the course):

    G  takes g to its values at the four points          B^T  takes a patch d of four numbers to what they multiply
    A^T  puts the four products together to two outputs        y = A^T ((G g) * (B^T d))

Two dimensions are one after the other: Y = A^T ((G g G^T) * (B^T d B^T^T)) A, summed over channels between the two.
Shapes: x (N, H, W, C) with even H and W, kernel (3, 3, C, F), y (N, H - 2, W - 2, F), as `conv2d` without padding.
Source: S. Winograd 1980; A. Lavin and S. Gray, arXiv 1509.09308. The engine's is `minitl.kernels.winograd`.
"""

import numpy as np

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
B_T = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]])
A_T = np.array([[1, 1, 1, 0], [0, 1, -1, 1]])


def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """y, tile by tile: patches of 4x4, two pixels apart, give 2x2 outputs each."""
    if x.shape[1] % 2 or x.shape[2] % 2 or kernel.shape[:2] != (3, 3):
        raise ValueError(f"winograd: needs even height and width and a 3x3 kernel, got {x.shape} and {kernel.shape}")
    windows = np.lib.stride_tricks.sliding_window_view(x, (4, 4), axis=(1, 2))[:, ::2, ::2]  # (N, tiles, tiles, C, 4, 4)
    u = np.einsum("pa,abcf,qb->pqcf", G, kernel, G)
    v = np.einsum("pa,nijcab,qb->nijpqc", B_T, windows, B_T)
    m = np.einsum("nijpqc,pqcf->nijpqf", v, u)
    y = np.einsum("ap,nijpqf,bq->niajbf", A_T, m, A_T)
    return y.reshape(len(x), x.shape[1] - 2, x.shape[2] - 2, -1).astype(x.dtype)
