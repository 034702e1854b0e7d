"""Cross-entropy with target distributions: one-hot rows, or smoothed ones.

From probabilities p, with targets t and a weight w_n per sample (1 where none is given). What does not sum to 1 is divided by
its sum s_n = sum_c p[n, c] first; t' is t where p / s > eps, else 0. A row of sum 0 counts as 1 / classes, without gradient:

    loss = 1/N sum_n w_n sum_c -t[n, c] log max(p[n, c] / s_n, eps)  eps = 1e-7
    dp[n, c] = w_n / N (sum_k t'[n, k] / s_n - t'[n, c] / p[n, c])

From logits z, with softmax inside (p = softmax(z), T_n = sum_c t[n, c], which is 1 for a distribution):

    loss = 1/N sum_n w_n (T_n log sum_j exp(z[n, j]) - sum_c t[n, c] z[n, c])
    dz[n, c] = w_n / N (T_n p[n, c] - t[n, c])                      (p - t) / N

Shapes: y_pred and y_true (..., classes), weights (...) or None; N counts all leading axes.
Source: Goodfellow, Bengio and Courville, Deep Learning, section 6.2.2.3.
"""

import numpy as np

from minitl.ops.window import check_losses

EPSILON = 1e-7


def forward(
    y_pred: np.ndarray, y_true: np.ndarray, weights: np.ndarray | None = None, from_logits: bool = False
) -> tuple[float, tuple]:
    """The mean loss, and what backward needs."""
    weights = check_losses("categorical_cross_entropy", y_pred, y_true, y_pred.shape, weights, y_pred.ndim - 1)
    if from_logits:
        shift = y_pred.real.max(axis=-1, keepdims=True)
        log_p = y_pred - shift - np.log(np.exp(y_pred - shift).sum(axis=-1, keepdims=True))
    else:
        total = y_pred.sum(axis=-1, keepdims=True)
        p = np.where(total == 0, 1 / y_pred.shape[-1], y_pred) / np.where(total == 0, 1, total)
        log_p = np.log(np.where(p.real <= EPSILON, EPSILON, p))
    losses = -(y_true * log_p).sum(axis=-1)
    return (weights * losses).mean(), (y_pred, y_true, weights, from_logits)


def backward(dloss: float, cache: tuple) -> np.ndarray:
    """The gradient with respect to y_pred: probabilities or logits, whichever came in."""
    y_pred, y_true, weights, from_logits = cache
    if from_logits:
        e = np.exp(y_pred - y_pred.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True)
        d = y_true.sum(axis=-1, keepdims=True) * p - y_true
    else:
        total = y_pred.sum(axis=-1, keepdims=True)
        total = np.where(total == 0, 1, total)  # where no class counts either
        t = np.where(y_pred / total > EPSILON, y_true, 0)
        d = t.sum(axis=-1, keepdims=True) / total - t / np.where(t == 0, 1, y_pred)
    return (d * (dloss * weights / weights.size)[..., None]).astype(y_pred.dtype, copy=False)
