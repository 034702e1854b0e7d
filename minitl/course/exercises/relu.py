"""Exercise: the backward pass of ReLU.

    y = max(x, 0)

Where x is above zero, y moves with it; elsewhere nothing of dy goes on. At zero exactly, minitl takes 0. Chapter: 3
(activations).
"""

import numpy as np

INPUTS = ((4, 5),)


def forward(x):
    """y, and the cache."""
    return np.maximum(x, 0), x


def backward(dy, x):
    """dx."""
    # your turn
    return dy * (x > 0)
    # end


MISTAKES = {
    "of the gradient": ("return np.maximum(dy, 0)", "The gate is open where x is above zero; the sign of dy does not matter."),
    "gate left out": ("return dy", "Where x is below zero, y does not move, so its gradient there is zero."),
    "the wrong side": ("return dy * (x < 0)", "The gate is open where x is above zero."),
}
