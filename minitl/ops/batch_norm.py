"""Batch normalisation: every channel gets mean beta and standard deviation gamma.

Over the M elements that share a channel (batch, height, width), with r = 1 / sqrt(variance + epsilon):

    x_hat = (x - mean) r,   y = gamma x_hat + beta

Backward, when mean and variance are the batch's own (mean = 1/M sum x, variance = 1/M sum (x - mean)^2).
x reaches the loss on three ways: directly, through the mean, and through the variance. With g = dy gamma,

    dx = r (g - mean(g) - x_hat mean(g x_hat))
         direct   mean's way   variance's way

    dgamma = sum dy x_hat,   dbeta = sum dy

When mean and variance are given constants (inference, or a frozen layer), only the direct way is left: dx = r g.

Shapes: x (..., C), gamma, beta, mean and variance (C,).
Source: S. Ioffe and C. Szegedy, Batch normalization, arXiv 1502.03167, section 3.
"""

import numpy as np

from minitl.ops.window import check_shape


def statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The batch's mean and (biased) variance of every channel, each (C,)."""
    rows = x.reshape(-1, x.shape[-1])
    mean = rows.mean(axis=0)
    return mean, ((rows - mean) ** 2).mean(axis=0)


def follow(moving: np.ndarray, now: np.ndarray, momentum: float) -> None:
    """moving = momentum moving + (1 - momentum) now, in place: statistics for inference."""
    moving[...] = momentum * moving + (1 - momentum) * now


def forward(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
    batch_statistics: bool,
) -> tuple[np.ndarray, tuple]:
    """y = gamma (x - mean) r + beta; `batch_statistics` says whether mean and variance are x's own."""
    check(x, gamma, beta, mean, variance)
    r = 1 / np.sqrt(variance + epsilon)
    y = (x - mean) * (gamma * r) + beta
    return y, (x, gamma, mean.copy(), r, batch_statistics)  # moving statistics may move on before dy comes


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dgamma and dbeta; what is not needed is None."""
    x, gamma, mean, r, batch_statistics = cache
    check_shape("batch_norm", "dy", dy.shape, x.shape)
    axes = tuple(range(x.ndim - 1))
    x_hat = (x - mean) * r
    dx = dgamma = dbeta = None
    if need_dparameters:
        dgamma, dbeta = (dy * x_hat).sum(axis=axes), dy.sum(axis=axes)
    if need_dx:
        g = dy * gamma
        if batch_statistics:
            g = g - g.mean(axis=axes) - x_hat * (g * x_hat).mean(axis=axes)
        dx = r * g
    return dx, dgamma, dbeta


def check(x: np.ndarray, *per_channel: np.ndarray) -> None:
    """Raise ValueError unless gamma, beta, mean and variance have one entry per channel."""
    for name, array in zip(("gamma", "beta", "mean", "variance"), per_channel, strict=True):
        check_shape("batch_norm", name, array.shape, x.shape[-1:])
