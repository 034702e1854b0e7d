"""Images of another size as products with a matrix on either side: y = A x B^T, for every channel."""

from __future__ import annotations

import numpy as np


def resizing_matrix(size: int, target: int, interpolation: str) -> np.ndarray:
    """The weights (target, size) of source pixels in each target pixel, centres on centres."""
    place = (np.arange(target) + 0.5) * size / target - 0.5
    weights = np.zeros((target, size))
    if interpolation == "nearest":
        weights[np.arange(target), np.clip(np.floor(place + 0.5), 0, size - 1).astype(int)] = 1
        return weights
    low = np.floor(place)
    for offset, share in ((0, 1 - (place - low)), (1, place - low)):
        np.add.at(weights, (np.arange(target), np.clip(low + offset, 0, size - 1).astype(int)), share)
    return weights


def both_sides(rows: np.ndarray, x: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """rows x columns^T of every channel of images (N, H, W, C)."""
    tall = np.tensordot(x, rows, axes=(1, 1))  # (N, W, C, H')
    return np.ascontiguousarray(np.tensordot(tall, columns, axes=(1, 1)).transpose(0, 2, 3, 1))
