"""Group normalisation: `batch_norm` without the batch; one group of channels of one sample at a time.

The channels are cut into G groups. Over the M elements of a group of one sample (height, width, channels of the group), with
r = 1 / sqrt(variance + epsilon):

    x_hat = (x - mean) r,   y = gamma x_hat + beta
    dx = r (g - mean(g) - x_hat mean(g x_hat)),   g = dy gamma          as in batch_norm, the means now over the group

With one group, and only the last axis, it is layer normalisation. No sample sees another, and training and inference are alike.
Shapes: x (N, ..., C), gamma and beta (C,). `axes` "all" takes the means over height and width too, "last" does not.
Source: Y. Wu and K. He, arXiv 1803.08494; J. Ba et al., Layer normalization, arXiv 1607.06450.
"""

import math

import numpy as np

from minitl.ops.window import check_shape


def forward(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, groups: int, epsilon: float, axes: str = "all"
) -> tuple[np.ndarray, tuple]:
    """y = gamma (x - mean) r + beta."""
    check_shape("group_norm", "gamma and beta", np.broadcast_shapes(gamma.shape, beta.shape), x.shape[-1:])
    rows = grouped(x, groups, axes)
    mean = rows.mean(axis=(1, 3), keepdims=True)
    r = 1 / np.sqrt(((rows - mean) ** 2).mean(axis=(1, 3), keepdims=True) + epsilon)
    x_hat = ((rows - mean) * r).astype(x.dtype, copy=False).reshape(x.shape)
    return x_hat * gamma + beta, (x_hat, gamma, r, groups, axes)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dgamma and dbeta; what is not needed is None."""
    x_hat, gamma, r, groups, axes = cache
    check_shape("group_norm", "dy", dy.shape, x_hat.shape)
    dx, dgamma, dbeta, samples = None, None, None, tuple(range(dy.ndim - 1))
    if need_dparameters:
        dgamma, dbeta = (dy * x_hat).sum(axis=samples), dy.sum(axis=samples)
    if need_dx:
        g, h = grouped(dy * gamma, groups, axes), grouped(x_hat, groups, axes)
        dx = r * (g - g.mean(axis=(1, 3), keepdims=True) - h * (g * h).mean(axis=(1, 3), keepdims=True))
        dx = dx.astype(dy.dtype, copy=False).reshape(dy.shape)
    return dx, dgamma, dbeta


def grouped(x: np.ndarray, groups: int, axes: str) -> np.ndarray:
    """x as (samples, pixels, groups, channels of a group); with axes "last" every pixel is a sample of its own."""
    samples, pixels = (len(x), math.prod(x.shape[1:-1])) if axes == "all" else (math.prod(x.shape[:-1]), 1)
    return x.reshape(samples, pixels, groups, x.shape[-1] // groups)
