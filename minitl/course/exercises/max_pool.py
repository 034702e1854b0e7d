"""Exercise: the backward pass of 2x2 max-pooling.

    y[n, i, j, c] = max of x[n, 2i : 2i + 2, 2j : 2j + 2, c]

dy goes to the pixel that won, and zero to the other three. Where several are equal, the first in row order wins. Chapter: 6
(pooling).
"""

import numpy as np

INPUTS = ((2, 4, 6, 3),)


def forward(x):
    """y, and the winners: 0 to 3 in row order."""
    n, height, width, channels = x.shape
    windows = x.reshape(n, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 5, 2, 4)
    windows = windows.reshape(n, height // 2, width // 2, channels, 4)
    winner = windows.argmax(axis=-1)
    return windows.max(axis=-1), (winner, x.shape)


def backward(dy, cache):
    """dx."""
    winner, shape = cache
    dx = np.zeros(shape)
    # your turn
    for k in range(4):
        dx[:, k // 2 :: 2, k % 2 :: 2] = dy * (winner == k)
    return dx
    # end


MISTAKES = {
    "shared by all four": (
        "for k in range(4):\n        dx[:, k // 2 :: 2, k % 2 :: 2] = dy / 4\n    return dx",
        "That is average-pooling. Here only the winner has moved y, so it gets all of dy.",
    ),
    "always the first": ("dx[:, ::2, ::2] = dy\n    return dx", "dy goes to the winner, which is another pixel in every window."),
    "rows and columns exchanged": (
        "for k in range(4):\n        dx[:, k % 2 :: 2, k // 2 :: 2] = dy * (winner == k)\n    return dx",
        "Winners are numbered row by row: number 1 is right of number 0, number 2 below it.",
    ),
}
