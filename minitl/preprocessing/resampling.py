"""Images of another size as products with a matrix on either side: y = A x B^T, for every channel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

INTERPOLATIONS = ("area", "bicubic", "bilinear", "lanczos3", "lanczos5", "nearest")


def resizing_matrix(size: int, target: int, interpolation: str, antialias: bool = False) -> np.ndarray:
    """The weights (target, size) of source pixels in each target pixel, centres on centres.

    Formula: A[i, j] = K((j - place_i) / s) / sum_j K(...), place_i = (i + 1/2) size / target - 1/2, s = 1; with `antialias`
    s = size / target where images become smaller, so that no source pixel is passed over.
    K is a triangle (bilinear), Keys's cubic with a = -1/2 (bicubic), or sinc(d) sinc(d / r) for |d| < r (lanczos3, lanczos5).
    "area" weighs each source pixel by how much of it a target pixel covers, and "nearest" takes one; neither needs `antialias`.
    Source: R. Keys, 1981; C. Duchon, 1979.
    """
    place = (np.arange(target) + 0.5) * size / target - 0.5
    weights = np.zeros((target, size))
    if interpolation == "area":
        ends = np.arange(target + 1)[:, None] * size / target
        covered = np.minimum(ends[1:], np.arange(1, size + 1)) - np.maximum(ends[:-1], np.arange(size))
        return np.maximum(covered, 0) * target / size
    if interpolation in KERNELS and (antialias or interpolation != "bilinear"):
        stretch = max(size / target, 1) if antialias else 1
        weights = KERNELS[interpolation]((np.arange(size) - place[:, None]) / stretch)
        return weights / weights.sum(axis=1, keepdims=True)
    if interpolation == "nearest":
        weights[np.arange(target), np.clip(np.floor(place + 0.5), 0, size - 1).astype(int)] = 1
        return weights
    low = np.floor(place)
    for offset, share in ((0, 1 - (place - low)), (1, place - low)):
        np.add.at(weights, (np.arange(target), np.clip(low + offset, 0, size - 1).astype(int)), share)
    return weights


def _cubic(d: np.ndarray) -> np.ndarray:
    d = np.abs(d)
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d <= 1, 1.5 * d**3 - 2.5 * d**2 + 1, np.where(d < 2, far, 0))


def _lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda d: np.where(np.abs(d) < radius, np.sinc(d) * np.sinc(d / radius), 0)


KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bilinear": lambda d: np.maximum(1 - np.abs(d), 0), "bicubic": _cubic, "lanczos3": _lanczos(3), "lanczos5": _lanczos(5),
}  # fmt: skip


def both_sides(rows: np.ndarray, x: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """rows x columns^T of every channel of images (N, H, W, C)."""
    tall = np.tensordot(x, rows, axes=(1, 1))  # (N, W, C, H')
    return np.ascontiguousarray(np.tensordot(tall, columns, axes=(1, 1)).transpose(0, 2, 3, 1))


def too_long(height: int, width: int, target_height: int, target_width: int) -> tuple[int, int, int, int]:
    """How many rows above and below, and columns on the left and right, an image has too many for the target's proportions."""
    tall = max(min(height, int(width * target_height / target_width)), 1)
    broad = max(min(width, int(height * target_width / target_height)), 1)
    above, left = (height - tall) // 2, (width - broad) // 2
    return above, height - tall - above, left, width - broad - left
