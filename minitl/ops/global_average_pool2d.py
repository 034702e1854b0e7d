"""Global average-pooling: one number per channel, its mean over the image.

    y[n, c] = 1/(H W) sum_{i, j} x[n, i, j, c]
    dx[n, i, j, c] = dy[n, c] / (H W)

Shapes: x (N, H, W, C), y (N, C). The cache is x's shape.
Source: M. Lin, Q. Chen and S. Yan, Network in network, arXiv 1312.4400.
"""

import numpy as np

from minitl.ops.window import check_images, check_shape


def forward(x: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """y = the mean over height and width."""
    check_images("global_average_pool2d", x.shape)
    return x.mean(axis=(1, 2)), x.shape


def backward(dy: np.ndarray, cache: tuple[int, ...]) -> np.ndarray:
    """dx = dy / (H W), the same for every pixel."""
    check_shape("global_average_pool2d", "dy", dy.shape, (cache[0], cache[3]))
    return np.broadcast_to(dy[:, None, None, :] / (cache[1] * cache[2]), cache).copy()
