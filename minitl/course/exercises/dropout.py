"""Exercise: dropout, both ways.

    y = x m,   m = 1 / (1 - rate) with probability 1 - rate, else 0

The survivors are scaled up, so that the mean of y is x and nothing has to change at inference. Chapter: 8 (training).
"""

import numpy as np

INPUTS = ((200, 50),)
RATE = 0.3


def forward(x):
    """y, and the mask; random numbers come from a fresh generator, so that two calls give the same."""
    random = np.random.default_rng(0)
    # your turn
    mask = (random.random(x.shape) >= RATE) / (1 - RATE)
    return x * mask, mask
    # end


def backward(dy, mask):
    """dx."""
    return dy * mask


def probe(module):
    """What the grader compares beside the gradients: the mean of many ones, and the share of zeros."""
    y, _ = module.forward(np.ones((200, 50)))
    return [np.round([y.mean(), (y == 0).mean(), y.max()], 2)]


MISTAKES = {
    "not scaled": (
        "mask = (random.random(x.shape) >= RATE) * 1.0\n    return x * mask, mask",
        "Without the division by 1 - rate the mean of y shrinks in training, and inference sees larger numbers.",
    ),
    "rate for what is kept": (
        "mask = (random.random(x.shape) < RATE) / RATE\n    return x * mask, mask",
        "`rate` is the share that is dropped, and 1 - rate is kept.",
    ),
    "whole rows": (
        "mask = (random.random((len(x), 1)) >= RATE) / (1 - RATE) + np.zeros_like(x)\n    return x * mask, mask",
        "Each element is dropped on its own; this drops whole samples.",
    ),
}
