"""Exercise: the backward pass of a residual block.

    y = relu(x + f(x)),   f(x) = x W

x goes two ways, so its gradient is the sum of what comes back on both. Chapter: 7 (deep networks).
"""

import numpy as np

INPUTS = ((4, 3), (3, 3))


def forward(x, kernel):
    """y, and the cache."""
    z = x + x @ kernel
    return np.maximum(z, 0), (x, kernel, z)


def backward(dy, cache):
    """dx, dkernel."""
    x, kernel, z = cache
    # your turn
    dz = dy * (z > 0)
    return dz + dz @ kernel.T, x.T @ dz
    # end


MISTAKES = {
    "the skip forgotten": (
        "dz = dy * (z > 0)\n    return dz @ kernel.T, x.T @ dz",
        "x is added to f(x) unchanged, so dz comes back on that way as well.",
    ),
    "ReLU on one way only": (
        "dz = dy * (z > 0)\n    return dy + dz @ kernel.T, x.T @ dz",
        "ReLU stands behind the sum: both ways get dy through its gate.",
    ),
    "gate of x": (
        "dz = dy * (x > 0)\n    return dz + dz @ kernel.T, x.T @ dz",
        "The gate is open where the sum is above zero, not where x is.",
    ),
}
