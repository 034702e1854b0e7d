"""Layers that `keras.ops.nn` has as functions, too: normalisations, attention, gates, and channels that become pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minitl import activations, rare_activations
from minitl.activations import NOTHING
from minitl.legacy import backend, backend_more
from minitl.legacy.operations import split
from minitl.legacy.windows import check_channels_last, of_values


def batch_normalization(
    x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) scale + offset, along an axis."""
    return backend_more.batch_normalization(x, mean, variance, offset, scale, axis, epsilon)


def layer_normalization(
    x: Any, gamma: Any = None, beta: Any = None, axis: Any = -1, epsilon: float | None = None, **_: Any
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) gamma + beta, of each sample's own mean and variance along an axis."""
    epsilon = backend.epsilon() if epsilon is None else epsilon
    y = (x - np.mean(x, axis=axis, keepdims=True)) / np.sqrt(np.var(x, axis=axis, keepdims=True) + epsilon)
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta


def rms_normalization(x: Any, scale: Any = 1, axis: Any = -1, epsilon: float | None = None) -> Any:
    """x / sqrt(mean of x^2 + epsilon) scale."""
    epsilon = backend.epsilon() if epsilon is None else epsilon
    return x / np.sqrt(np.mean(np.square(x), axis=axis, keepdims=True) + epsilon) * scale


def dot_product_attention(
    query: Any, key: Any, value: Any, bias: Any = None, mask: Any = None, scale: float | None = None, is_causal: bool = False
) -> Any:
    """softmax(query key^T scale + bias) value, for each head.

    Shapes: query (N, T, heads, size), key and value (N, S, heads, size); `mask`, true where a step may look, and `bias` go
    with (N, heads, T, S). `scale` is 1 / sqrt(size) by default; with `is_causal` no step looks at later ones.
    """
    scores = np.einsum("nthd,nshd->nhts", query, key) * (1 / math.sqrt(np.shape(query)[-1]) if scale is None else scale)
    scores = scores if bias is None else scores + bias
    if is_causal:
        steps, others = np.shape(query)[1], np.shape(key)[1]
        scores = np.where(np.tri(steps, others, dtype=bool), scores, NOTHING)
    if mask is not None:
        scores = np.where(mask, scores, NOTHING)
    return np.einsum("nhts,nshd->nthd", activations.softmax(scores), value)


def glu(x: Any, axis: int = -1) -> Any:
    """a sigmoid(b), of the halves a and b of x along an axis."""
    a, b = split(x, 2, axis)
    return a * activations.sigmoid(b)


def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x where it is above a threshold, and a number elsewhere."""
    return np.where(np.greater(x, threshold), x, default_value)


sparsemax = of_values(rare_activations.sparsemax)


@of_values
def depth_to_space(x: Any, block_size: int, data_format: Any = None) -> Any:
    """Images (N, H, W, b b C) as larger ones (N, b H, b W, C): each pixel's channels become a block of b by b pixels."""
    check_channels_last(data_format)
    n, height, width, channels = np.shape(x)
    blocks = np.reshape(x, (n, height, width, block_size, block_size, channels // block_size**2))
    return np.reshape(np.transpose(blocks, (0, 1, 3, 2, 4, 5)), (n, height * block_size, width * block_size, -1))


@of_values
def space_to_depth(x: Any, block_size: int, data_format: Any = None) -> Any:
    """Images (N, b H, b W, C) as smaller ones (N, H, W, b b C): the pixels of each block become channels."""
    check_channels_last(data_format)
    n, height, width, channels = np.shape(x)
    blocks = np.reshape(x, (n, height // block_size, block_size, width // block_size, block_size, channels))
    return np.reshape(np.transpose(blocks, (0, 1, 3, 2, 4, 5)), (n, height // block_size, width // block_size, -1))
