"""Exercise: the backward pass of softmax.

    p[c] = exp(z[c]) / sum_j exp(z[j])

Every z moves every p: dp[c] / dz[j] = p[c] (1[c = j] - p[j]). Multiply by dp, sum over c, and simplify. Chapter: 4 (loss).
"""

import numpy as np

INPUTS = ((4, 5),)


def forward(z):
    """Probabilities along the last axis, and the cache."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return p, p


def backward(dp, p):
    """dz."""
    # your turn
    return p * (dp - np.sum(dp * p, axis=-1, keepdims=True))
    # end


MISTAKES = {
    "the diagonal alone": (
        "return dp * p * (1 - p)",
        "That is each p's own z. Every z moves all the others as well, through the sum.",
    ),
    "sum over the batch": (
        "return p * (dp - np.sum(dp * p, axis=0, keepdims=True))",
        "The sum runs over the classes, the last axis, and not over samples.",
    ),
    "sum of dp": (
        "return p * (dp - np.sum(dp, axis=-1, keepdims=True))",
        "The sum is weighted: sum_c dp[c] p[c].",
    ),
}
