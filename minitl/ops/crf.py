"""A linear-chain conditional random field: how surprised a network is by a whole sequence of labels.

A potential p[t, i, j] says how well label j fits at step t behind label i; at the first step its first row counts. A sequence's
score is the sum of its potentials, and its probability exp(score) divided by the sum Z over all sequences:

    loss = 1/N sum_n w_n (log Z_n - score_n)

The forward algorithm makes log Z step by step, instead of from all K^T sequences; alpha[t, j] is log of the sum of exp(score)
over all beginnings that end with j:

    alpha[0, j] = p[0, 0, j]    alpha[t, j] = log sum_i exp(alpha[t-1, i] + p[t, i, j])    log Z = log sum_j exp(alpha[T-1, j])

Backward, d log Z / dp[t, i, j] is the probability that labels i and j stand at t-1 and t, the exponential of
alpha[t-1, i] + p[t, i, j] + beta[t, j] - log Z, where beta is alpha from the other end: beta[T-1, j] = 0 and
beta[t-1, i] = log sum_j exp(p[t, i, j] + beta[t, j]). So dp = w_n / N (that probability - 1 where the right labels are i and j).

`decode` finds the sequence with the highest score: the same recursion with max in the place of log sum exp (Viterbi), and the
winners followed back from the last step.
Shapes: potentials (N, T, K, K), labels (N, T) whole numbers, -1 behind a sequence's end, weights (N,) or None.
Source: J. Lafferty, A. McCallum and F. Pereira 2001; L. Rabiner 1989 for both recursions.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(potentials: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, tuple]:
    """The mean loss, and what backward needs."""
    labels, lengths, weights = check(potentials, labels, weights)
    alpha = np.empty(potentials.shape[:3], potentials.dtype)
    alpha[:, 0] = potentials[:, 0, 0]
    for t in range(1, potentials.shape[1]):
        alpha[:, t] = log_sum_exp(alpha[:, t - 1, :, None] + potentials[:, t], axis=1)
    alpha[np.arange(potentials.shape[1]) >= lengths[:, None]] = 0
    log_z = log_sum_exp(alpha[np.arange(len(alpha)), lengths - 1], axis=1)
    losses = log_z - (potentials * right(labels, potentials.shape)).sum(axis=(1, 2, 3))
    return (weights * losses).mean(), (potentials, labels, weights, alpha)


def backward(dloss: float, cache: tuple) -> np.ndarray:
    """The gradient of the potentials."""
    potentials, labels, weights, alpha = cache
    n, steps, classes = alpha.shape
    lengths = (labels >= 0).sum(axis=1)
    log_z = log_sum_exp(alpha[np.arange(n), lengths - 1], axis=1)
    probability, beta = np.zeros_like(potentials), np.zeros((n, classes), potentials.dtype)
    for t in reversed(range(steps)):
        inside, behind = (t < lengths)[:, None], potentials[:, t] + beta[:, None]
        if t:
            found = np.exp(alpha[:, t - 1, :, None] + behind - log_z[:, None, None])
            probability[:, t] = np.where(inside[..., None], found, 0)
            beta = np.where(inside, log_sum_exp(behind, axis=2), beta)
        else:
            probability[:, 0, 0] = np.exp(behind[:, 0] - log_z[:, None])
    shares = np.asarray(dloss * weights / n, potentials.dtype)
    return shares[:, None, None, None] * (probability - right(labels, potentials.shape))


def decode(potentials: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
    """The labels with the highest score (N, T), -1 behind the end."""
    n, steps, classes = potentials.shape[:3]
    lengths = np.full(n, steps) if lengths is None else np.asarray(lengths)
    best, winners = potentials[:, 0, 0], np.tile(np.arange(classes), (n, steps, 1))
    for t in range(1, steps):
        scores = best[:, :, None] + potentials[:, t]
        inside = (t < lengths)[:, None]
        winners[:, t] = np.where(inside, scores.argmax(axis=1), winners[:, t])  # behind the end every label is its own winner
        best = np.where(inside, scores.max(axis=1), best)
    labels = np.empty((n, steps), np.int64)
    labels[:, -1] = best.argmax(axis=1)
    for t in range(steps - 1, 0, -1):
        labels[:, t - 1] = winners[np.arange(n), t, labels[:, t]]
    return np.where(np.arange(steps) < lengths[:, None], labels, -1)


def log_sum_exp(x: np.ndarray, axis: int) -> np.ndarray:
    """log sum exp, without overflow."""
    shift = x.real.max(axis=axis, keepdims=True)
    return np.log(np.exp(x - shift).sum(axis=axis)) + shift.squeeze(axis)


def right(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """1 where the right labels' potentials are."""
    marks = np.zeros(shape, np.float32)  # whole numbers, which every dtype holds
    n, t = np.nonzero(labels >= 0)
    before = np.where(t > 0, labels[n, t - 1], 0)
    marks[n, t, before, labels[n, t]] = 1
    return marks


def check(potentials: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, lengths and weights; raise ValueError for shapes or labels that do not fit."""
    if potentials.ndim != 4 or potentials.shape[2] != potentials.shape[3]:
        raise ValueError(f"crf: potentials must be (N, T, K, K), got {potentials.shape}")
    check_shape("crf", "labels", labels.shape, potentials.shape[:2])
    labels, classes = labels.astype(np.int64), potentials.shape[2]
    if ((labels < -1) | (labels >= classes)).any():
        raise ValueError(f"crf: labels must be 0 .. {classes - 1}, or -1 behind the end, got {labels.min()} .. {labels.max()}")
    inside = labels >= 0
    lengths = inside.sum(axis=1)
    if not lengths.all() or (inside[:, 1:] & ~inside[:, :-1]).any():
        raise ValueError("crf: a sequence has no label, or one behind its end (-1)")
    return labels, lengths, np.ones(len(labels)) if weights is None else weights
