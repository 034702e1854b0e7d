"""Principal components."""

from __future__ import annotations

import numpy as np


def pca(features: np.ndarray, components: int = 2) -> np.ndarray:
    """Samples along the directions in which they differ most.

    Formula: X = U S V^T of the centred features; the result is the first columns of U S. The largest entry of
    every column of V is positive.
    Shapes: (N, ...) to (N, components).
    Errors: ValueError for more components than there are samples or features.
    """
    rows = np.asarray(features, np.float64).reshape(len(features), -1)
    if not 1 <= components <= min(rows.shape):
        raise ValueError(f"pca: {components} components of data of shape {rows.shape}")
    u, s, v = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    sign = np.sign(v[np.arange(len(v)), np.abs(v).argmax(axis=1)])
    return (u * s * sign)[:, :components]
