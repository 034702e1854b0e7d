"""Upsampling: every pixel becomes a block of equal pixels, and its gradient is the block's sum.

    y[n, s_h i + a, s_w j + b, c] = x[n, i, j, c]        for all 0 <= a < s_h, 0 <= b < s_w
    dx[n, i, j, c] = sum_{a, b} dy[n, s_h i + a, s_w j + b, c]

Shapes: x (N, H, W, C), size (s_h, s_w), y (N, s_h H, s_w W, C). The cache is x's shape and the size.
Source: O. Ronneberger et al., U-Net, arXiv 1505.04597.
"""

import numpy as np

from minitl.ops.window import Pair, check_images, check_shape


def forward(x: np.ndarray, size: Pair) -> tuple[np.ndarray, tuple]:
    """y = x, every pixel repeated."""
    check_images("upsample2d", x.shape)
    return x.repeat(size[0], axis=1).repeat(size[1], axis=2), (x.shape, size)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = the sums over the blocks."""
    (n, height, width, channels), size = cache
    check_shape("upsample2d", "dy", dy.shape, (n, height * size[0], width * size[1], channels))
    return dy.reshape(n, height, size[0], width, size[1], channels).sum(axis=(2, 4))
