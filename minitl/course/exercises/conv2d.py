"""Exercise: the backward pass of a convolution, offset by offset.

    y[n, i, j, f] = sum_{a, b, c} x[n, i + a, j + b, c] kernel[a, b, c, f] + bias[f]

For one offset (a, b) it is a dense layer between x shifted by (a, b) and y. So each of the K_h K_w offsets gives its own
dkernel[a, b], and adds its part to dx, where windows overlap. Chapter: 5 (convolution).
"""

import numpy as np

INPUTS = ((2, 5, 4, 2), (3, 2, 2, 3), (3,))


def forward(x, kernel, bias):
    """y without padding, stride 1, and the cache."""
    height, width = x.shape[1] - kernel.shape[0] + 1, x.shape[2] - kernel.shape[1] + 1
    y = np.zeros((len(x), height, width, kernel.shape[3])) + bias
    for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            y = y + x[:, a : a + height, b : b + width] @ kernel[a, b]
    return y, (x, kernel)


def backward(dy, cache):
    """dx, dkernel, dbias."""
    x, kernel = cache
    height, width = dy.shape[1:3]
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    # your turn
    for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            seen = x[:, a : a + height, b : b + width]
            dkernel[a, b] = np.einsum("nijc,nijf->cf", seen, dy)
            dx[:, a : a + height, b : b + width] += dy @ kernel[a, b].T
    return dx, dkernel, dy.sum(axis=(0, 1, 2))
    # end


MISTAKES = {
    "overwritten": (
        """for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            dkernel[a, b] = np.einsum("nijc,nijf->cf", x[:, a : a + height, b : b + width], dy)
            dx[:, a : a + height, b : b + width] = dy @ kernel[a, b].T
    return dx, dkernel, dy.sum(axis=(0, 1, 2))""",
        "Windows overlap: a pixel of x belongs to several of them, and their gradients add (+=).",
    ),
    "kernel not moved": (
        """for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            dkernel[a, b] = np.einsum("nijc,nijf->cf", x[:, :height, :width], dy)
            dx[:, a : a + height, b : b + width] += dy @ kernel[a, b].T
    return dx, dkernel, dy.sum(axis=(0, 1, 2))""",
        "dkernel[a, b] meets the pixels that this offset sees: x from row a and column b on.",
    ),
    "bias of one image": (
        """for a in range(kernel.shape[0]):
        for b in range(kernel.shape[1]):
            dkernel[a, b] = np.einsum("nijc,nijf->cf", x[:, a : a + height, b : b + width], dy)
            dx[:, a : a + height, b : b + width] += dy @ kernel[a, b].T
    return dx, dkernel, dy[0].sum(axis=(0, 1))""",
        "One bias serves every pixel of every image: sum over the axes 0, 1 and 2.",
    ),
}
