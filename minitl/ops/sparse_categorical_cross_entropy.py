"""Cross-entropy with class numbers: how surprised the network is by the right class.

From probabilities p, with the right class t_n of sample n and a weight w_n (1 where none is given). What does not sum to 1 is
divided by its sum s_n = sum_c p[n, c] first; a row that sums to 0 counts as 1 / classes, and has no gradient:

    loss = 1/N sum_n w_n -log max(p[n, t_n] / s_n, eps)              eps = 1e-7
    dp[n, c] = w_n / N (1 / s_n - 1[c = t_n] / p[n, c])  where p[n, t_n] / s_n > eps, else 0

From logits z, with softmax inside (p = softmax(z)), the two gradients meet and almost everything cancels:

    loss = 1/N sum_n w_n (log sum_j exp(z[n, j]) - z[n, t_n])
    dz[n, c] = w_n / N (p[n, c] - 1[c = t_n])

The joint form never takes the logarithm of a rounded zero: logits of +-1e4 give finite losses and gradients.

Shapes: y_pred (..., classes), y_true (...) whole numbers, weights (...) or None; N counts all leading axes.
Errors: ValueError for a label outside 0 .. classes - 1.
Source: Goodfellow, Bengio and Courville, Deep Learning, section 6.2.2.3.
"""

import numpy as np

from minitl.ops.window import check_losses

EPSILON = 1e-7


def forward(
    y_pred: np.ndarray, y_true: np.ndarray, weights: np.ndarray | None = None, from_logits: bool = False
) -> tuple[float, tuple]:
    """The mean loss, and what backward needs."""
    rows, labels, weights = check(y_pred, y_true, weights)
    check_labels(labels, rows.shape[1])
    n = np.arange(len(rows))
    if from_logits:
        shift = rows.real.max(axis=-1, keepdims=True)
        log_sum = np.log(np.exp(rows - shift).sum(axis=-1)) + shift[:, 0]
        losses = log_sum - rows[n, labels]
    else:
        total = rows.sum(axis=-1)
        picked = np.where(total == 0, 1 / rows.shape[1], rows[n, labels]) / np.where(total == 0, 1, total)
        losses = -np.log(np.where(picked.real <= EPSILON, EPSILON, picked))
    return (weights * losses).mean(), (y_pred, labels, weights, from_logits)


def backward(dloss: float, cache: tuple) -> np.ndarray:
    """The gradient with respect to y_pred: probabilities or logits, whichever came in."""
    y_pred, labels, weights, from_logits = cache
    rows = y_pred.reshape(-1, y_pred.shape[-1])
    n = np.arange(len(rows))
    if from_logits:
        e = np.exp(rows - rows.max(axis=-1, keepdims=True))
        d = e / e.sum(axis=-1, keepdims=True)
        d[n, labels] -= 1
    else:
        total = rows.sum(axis=-1)
        total = np.where(total == 0, 1, total)  # where no class counts either
        counts = rows[n, labels] / total > EPSILON
        d = np.where(counts, 1 / total, 0)[:, None] * np.ones_like(rows)
        d[n, labels] -= np.where(counts, 1 / np.where(counts, rows[n, labels], 1), 0)
    d *= (dloss * weights / len(rows))[:, None]
    return d.reshape(y_pred.shape)


def check(y_pred: np.ndarray, y_true: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raise ValueError for shapes that do not fit; return flat rows, labels and weights."""
    rows = y_pred.reshape(-1, y_pred.shape[-1])
    labels = y_true.astype(np.int64)
    weights = check_losses("sparse_categorical_cross_entropy", y_pred, labels, y_pred.shape[:-1], weights, y_pred.ndim - 1)
    return rows, labels.reshape(-1), weights.reshape(-1)


def check_labels(labels: np.ndarray, classes: int) -> None:
    """Raise ValueError for a label that is no class."""
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.size:
        raise ValueError(
            f"label {outside[0]} is outside the {classes} classes 0 .. {classes - 1}; "
            "check the labels, or give the last layer more units"
        )
