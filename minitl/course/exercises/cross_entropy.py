"""Exercise: softmax and cross-entropy together.

    loss = 1/N sum_n -log p[n, label_n],   p = softmax(z)

The gradient of the logarithm and softmax's cancel to one short line. Chapter: 4 (loss).
"""

import numpy as np

INPUTS = ((4, 5),)
LABELS = np.array([0, 4, 2, 2])


def forward(z):
    """The mean loss, and the cache."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return -np.log(p[np.arange(len(z)), LABELS]).mean(), p


def backward(dloss, p):
    """dz."""
    # your turn
    dz = p.copy()
    dz[np.arange(len(p)), LABELS] -= 1
    return dloss * dz / len(p)
    # end


MISTAKES = {
    "the mean forgotten": (
        "dz = p.copy()\n    dz[np.arange(len(p)), LABELS] -= 1\n    return dloss * dz",
        "The loss is the mean over N samples, so each sample's gradient is divided by N.",
    ),
    "sign": (
        "dz = -p\n    dz[np.arange(len(p)), LABELS] += 1\n    return dloss * dz / len(p)",
        "Raising the right class's logit lowers the loss: its gradient is p - 1, below zero.",
    ),
    "of the right class alone": (
        "dz = np.zeros_like(p)\n    n = np.arange(len(p))\n    dz[n, LABELS] = p[n, LABELS] - 1\n    return dloss * dz / len(p)",
        "The other classes have a gradient, too: their probabilities, through the sum under the fraction.",
    ),
}
