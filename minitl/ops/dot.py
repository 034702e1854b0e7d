"""Dot: inner products of two arrays of vectors, sample by sample: how alike two descriptions are.

    y[n, i, j] = sum_k a[n, i, k] b[n, j, k]
    da[n, i, k] = sum_j dy[n, i, j] b[n, j, k],   db[n, j, k] = sum_i dy[n, i, j] a[n, i, k]

Shapes: a (N, I, K), b (N, J, K), y (N, I, J). `layers.merging` brings other axes into this order. The cache is a and b.
Source: J. Bromley et al., Signature verification using a siamese time delay neural network, 1993, compares so.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """y = a b^T, sample by sample."""
    return a @ b.swapaxes(1, 2), (a, b)


def backward(dy: np.ndarray, cache: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """da = dy b, db = dy^T a."""
    a, b = cache
    check_shape("dot", "dy", dy.shape, (len(a), a.shape[1], b.shape[1]))
    return dy @ b, dy.swapaxes(1, 2) @ a
