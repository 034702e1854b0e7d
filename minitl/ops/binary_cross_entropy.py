"""Binary cross-entropy: every output is a yes-or-no question of its own.

From probabilities p, with targets t and weights w (1 where none is given), M the number of elements:

    loss = 1/M sum w (-t log max(p, eps) - (1 - t) log max(1 - p, eps))          eps = 1e-7
    dp   = w/M (-t / p + (1 - t) / (1 - p)), each term only where its logarithm is not cut off

From logits z, with the sigmoid inside (p = sigmoid(z)):

    loss = 1/M sum w (max(z, 0) - t z + log(1 + exp(-|z|)))
    dz   = w/M (p - t)

Shapes: y_pred, y_true and weights (or None) alike.
Source: Goodfellow, Bengio and Courville, Deep Learning, section 6.2.2.2.
"""

import numpy as np

from minitl.ops.window import check_losses

EPSILON = 1e-7


def forward(
    y_pred: np.ndarray, y_true: np.ndarray, weights: np.ndarray | None = None, from_logits: bool = False
) -> tuple[float, tuple]:
    """The mean loss, and what backward needs."""
    weights = check_losses("binary_cross_entropy", y_pred, y_true, y_pred.shape, weights, y_pred.ndim)
    if from_logits:
        size = np.where(y_pred.real > 0, y_pred, -y_pred)  # |z|, analytic on either side for complex steps
        losses = np.where(y_pred.real > 0, y_pred, 0) - y_true * y_pred + np.log1p(np.exp(-size))
    else:
        yes = np.where(y_pred.real <= EPSILON, EPSILON, y_pred)
        no = np.where((1 - y_pred).real <= EPSILON, EPSILON, 1 - y_pred)
        losses = -y_true * np.log(yes) - (1 - y_true) * np.log(no)
    return (weights * losses).mean(), (y_pred, y_true, weights, from_logits)


def backward(dloss: float, cache: tuple) -> np.ndarray:
    """The gradient with respect to y_pred: probabilities or logits, whichever came in."""
    y_pred, y_true, weights, from_logits = cache
    if from_logits:
        d = (np.tanh(y_pred / 2) + 1) / 2 - y_true
    else:
        p, q = y_pred, 1 - y_pred
        d = np.where(p > EPSILON, -y_true / np.maximum(p, EPSILON), 0)
        d = d + np.where(q > EPSILON, (1 - y_true) / np.maximum(q, EPSILON), 0)
    return (d * (dloss * weights / weights.size)).astype(y_pred.dtype, copy=False)
