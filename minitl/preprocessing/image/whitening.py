"""A first layer that needs no training: filters that make the patches of images uncorrelated, with variance 1."""

from __future__ import annotations

import numpy as np


def whitening_kernel(images: np.ndarray, size: int = 2, epsilon: float = 5e-4) -> np.ndarray:
    """The kernel of a convolution whose outputs are white, followed by its negative, since activations lose one side.

    Formula: the covariance of all patches is V diag(lambda) V^T; filter i is V_i / sqrt(lambda_i + epsilon), from the largest
    lambda on.
    Shapes: images (N, H, W, C) as the network gets them; (size, size, C, 2 size^2 C), float32.
    Errors: ValueError for images smaller than a patch.
    Source: A. Coates and A. Ng 2012; D. Page 2019; K. Jordan, arXiv 2404.00498.
    """
    if images.ndim != 4 or min(images.shape[1:3]) < size:
        raise ValueError(f"whitening_kernel: needs images (N, H, W, C) of at least {size}x{size}, got {images.shape}")
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))  # (N, h, w, C, size, size)
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size * size * images.shape[3]).astype(np.float32)
    values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
    filters = (vectors / np.sqrt(values + epsilon))[:, ::-1]
    kernel = np.concatenate([filters, -filters], axis=1)
    return kernel.reshape(size, size, images.shape[3], -1).astype(np.float32)
