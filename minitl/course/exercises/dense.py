"""Exercise: the backward pass of a dense layer.

    y[n, o] = sum_i x[n, i] kernel[i, o] + bias[o]

L depends on x[n, i] through every output o of sample n, on kernel[i, o] through output o of every sample. Write the three sums as
products of matrices. Chapter: 2 (one layer).
"""

import numpy as np

INPUTS = ((4, 3), (3, 5), (5,))


def forward(x, kernel, bias):
    """y = x W + b, and what backward needs."""
    return x @ kernel + bias, (x, kernel)


def backward(dy, cache):
    """dx, dkernel, dbias; dy has the shape of y."""
    x, kernel = cache
    # your turn
    return dy @ kernel.T, x.T @ dy, np.sum(dy, axis=0)
    # end


MISTAKES = {
    "one sample's gradient": (
        "return dy @ kernel.T, x.T @ dy / len(x), np.sum(dy, axis=0)",
        "dkernel is the sum over the samples. The mean belongs to the loss, which has divided by N already.",
    ),
    "bias averaged": (
        "return dy @ kernel.T, x.T @ dy, np.mean(dy, axis=0)",
        "dbias is the sum of dy over the samples, since one bias serves them all.",
    ),
    "mixed up": (
        "return dy @ kernel.T, (dy.T @ x).T[::-1], np.sum(dy, axis=0)",
        "The rows of dkernel belong to the inputs in their order: dkernel[i, o] = sum_n x[n, i] dy[n, o].",
    ),
}
