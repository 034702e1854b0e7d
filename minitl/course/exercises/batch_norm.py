"""Exercise: the backward pass of batch normalisation.

    x_hat = (x - mean) r,   r = 1 / sqrt(variance + eps),   y = gamma x_hat + beta

Mean and variance belong to the batch, and depend on every x. With g = dy gamma, three ways lead from y back to x: directly,
through the mean, and through the variance. Chapter: 7 (normalisation) has the four lines.
"""

import numpy as np

INPUTS = ((6, 3), (3,), (3,))
EPSILON = 1e-3


def forward(x, gamma, beta):
    """y, and the cache."""
    r = 1 / np.sqrt(x.var(axis=0) + EPSILON)
    x_hat = (x - x.mean(axis=0)) * r
    return gamma * x_hat + beta, (x_hat, r, gamma)


def backward(dy, cache):
    """dx, dgamma, dbeta."""
    x_hat, r, gamma = cache
    # your turn
    g = dy * gamma
    dx = r * (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0))
    return dx, (dy * x_hat).sum(axis=0), dy.sum(axis=0)
    # end


MISTAKES = {
    "statistics taken as constants": (
        "return dy * gamma * r, (dy * x_hat).sum(axis=0), dy.sum(axis=0)",
        "That is inference, where the statistics are fixed. In training mean and variance move with x.",
    ),
    "the mean's way missing": (
        "g = dy * gamma\n    return r * (g - x_hat * (g * x_hat).mean(axis=0)), (dy * x_hat).sum(axis=0), dy.sum(axis=0)",
        "The mean depends on x as well: it takes mean(g) away.",
    ),
    "the variance's way missing": (
        "g = dy * gamma\n    return r * (g - g.mean(axis=0)), (dy * x_hat).sum(axis=0), dy.sum(axis=0)",
        "The variance depends on x as well: it takes x_hat mean(g x_hat) away.",
    ),
}
