"""Softmax: turns a row of scores into probabilities.

    p_i = exp(z_i) / sum_j exp(z_j)

A constant added to the row changes nothing, so the row's maximum is subtracted first: no exponent is then
positive, and nothing overflows.

Backward. dp_i/dz_k = p_i (1[i = k] - p_k): raising one score lowers all other probabilities. Hence

    dz_k = sum_i dp_i p_i (1[i = k] - p_k) = p_k (dp_k - sum_i dp_i p_i)

An upstream gradient of ones gives exactly zero here, whatever mistake stands in this line; check it with a random one.

Shapes: z (..., classes) and p alike; the cache is p.
Source: J. Bridle, Probabilistic interpretation of feedforward classification network outputs, 1990.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p = exp(z - max z) / sum exp(z - max z), row by row."""
    e = np.exp(z - z.real.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return p, p


def backward(dp: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dz = p (dp - <dp, p>), row by row."""
    p = cache
    check_shape("softmax", "dy", dp.shape, p.shape)
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))
