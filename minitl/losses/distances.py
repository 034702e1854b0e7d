"""Losses from a distance between output and target.

Each is a mean over outputs and samples of a function of the two, whose derivative stands beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import check_numbers
from minitl.losses.base import Loss

EPSILON = 1e-7  # Keras's: what logarithms and quotients are kept away from zero by


class MeanSquaredError(Loss):
    """The squared distance to the target.

    Formula: mean over outputs and samples of (y_pred - y_true)^2.
    Shapes: y_true and y_pred alike; (N,) targets fit (N, 1) outputs.
    Source: `minitl.ops.mean_squared_error`.
    """

    operation = "mean_squared_error"


class Distance(Loss):
    """A loss whose terms belong to single outputs: `terms` gives them, `slopes` their derivatives."""

    def terms(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The loss of every output."""
        raise NotImplementedError

    def slopes(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Its derivative with respect to p."""
        raise NotImplementedError

    def compute(self, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None, from_logits: bool) -> tuple[float, Any]:
        """The mean, and what backpropagate needs."""
        targets = self.prepare(y_true, y_pred)
        terms = self.terms(y_pred, targets)
        spread = None if weights is None else self.spread(weights, terms.shape)
        total = terms if spread is None else terms * spread
        return float(total.mean()), (y_pred, targets, spread)

    def backpropagate(self, cache: Any) -> np.ndarray:
        """The derivatives over the number of terms."""
        p, t, spread = cache
        slopes = self.slopes(p, t)
        if spread is not None:
            slopes = slopes * (spread if spread.ndim == p.ndim else spread[..., None])
        return (slopes / (p.size if self.single else p.size // p.shape[-1])).astype(p.dtype, copy=False)

    def of_rows(self, targets: np.ndarray, y_pred: np.ndarray, from_logits: bool) -> np.ndarray:
        """The mean of every row's terms, or its one term."""
        terms = self.terms(y_pred, targets)
        return terms.mean(axis=-1) if self.single else terms

    single = True  # whether a term belongs to one output, and not to a whole row


class MeanAbsoluteError(Distance):
    """|p - t|. Shapes: y_true and y_pred alike."""

    def terms(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """|p - t|."""
        return np.abs(p - t)

    def slopes(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The sign of p - t."""
        return np.sign(p - t)


class MeanAbsolutePercentageError(Distance):
    """100 |p - t| / |t|. Shapes: y_true and y_pred alike."""

    def terms(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """100 |p - t| / max(|t|, epsilon)."""
        return 100 * np.abs(p - t) / np.maximum(np.abs(t), EPSILON)

    def slopes(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """100 sign(p - t) / |t|."""
        return 100 * np.sign(p - t) / np.maximum(np.abs(t), EPSILON)


class MeanSquaredLogarithmicError(Distance):
    """(log(1 + p) - log(1 + t))^2, of numbers that are not negative. Shapes: y_true and y_pred alike."""

    def terms(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The square."""
        return (np.log1p(np.maximum(p, EPSILON)) - np.log1p(np.maximum(t, EPSILON))) ** 2

    def slopes(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """2 (log(1 + p) - log(1 + t)) / (1 + p), and 0 where p was cut."""
        apart = np.log1p(np.maximum(p, EPSILON)) - np.log1p(np.maximum(t, EPSILON))
        return np.where(p > EPSILON, 2 * apart / (1 + np.maximum(p, EPSILON)), 0)


class Huber(Distance):
    """e^2 / 2 for |e| <= delta, else delta (|e| - delta / 2), e = p - t. Shapes: y_true and y_pred alike."""

    def __init__(self, delta: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_numbers(self, "(0, inf)", delta=delta)
        self.delta = delta

    def terms(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The square or the line."""
        e = np.abs(p - t)
        return np.where(e <= self.delta, e * e / 2, self.delta * (e - self.delta / 2))

    def slopes(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """e, cut off at +-delta."""
        return np.clip(p - t, -self.delta, self.delta)


class LogCosh(Distance):
    """log cosh(p - t): a square near zero, a line far away. Shapes: y_true and y_pred alike."""

    def terms(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """|e| + log(1 + exp(-2 |e|)) - log 2."""
        e = np.abs(p - t)
        return e + np.log1p(np.exp(-2 * e)) - np.log(2.0)

    def slopes(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """tanh(p - t)."""
        return np.tanh(p - t)


class Poisson(Distance):
    """p - t log p. Shapes: y_true and y_pred alike."""

    def terms(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """p - t log(p + epsilon)."""
        return p - t * np.log(p + EPSILON)

    def slopes(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """1 - t / (p + epsilon)."""
        return 1 - t / (p + EPSILON)


class Hinge(Distance):
    """max(1 - t p, 0), t being -1 or 1; targets 0 and 1 are turned into these. Shapes: y_true and y_pred alike."""

    def prepare(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Targets of -1 and 1."""
        t = super().prepare(y_true, y_pred)
        return 2 * t - 1 if ((t == 0) | (t == 1)).all() else t

    def terms(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """max(1 - t p, 0)."""
        return np.maximum(1 - t * p, 0)

    def slopes(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """-t where the margin is not kept."""
        return np.where(t * p < 1, -t, 0)


class SquaredHinge(Hinge):
    """max(1 - t p, 0)^2. Shapes: y_true and y_pred alike."""

    def terms(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The square."""
        return np.maximum(1 - t * p, 0) ** 2

    def slopes(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """-2 t max(1 - t p, 0)."""
        return -2 * t * np.maximum(1 - t * p, 0)


class Rows(Distance):
    """A loss whose terms belong to whole rows of outputs."""

    single = False

    def losses_shape(self, y_pred: np.ndarray) -> tuple[int, ...]:
        """One loss per row."""
        return y_pred.shape[:-1]


class CategoricalHinge(Rows):
    """max(1 + the largest wrong output - the right one, 0), with one-hot targets. Shapes: y_true and y_pred (N, ..., classes)."""

    def terms(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The margin's lack."""
        return np.maximum(1 + ((1 - t) * p).max(axis=-1) - (t * p).sum(axis=-1), 0)

    def slopes(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """1 at the largest wrong one, -1 at the right one, where the margin is not kept."""
        wrong = (1 - t) * p
        first = np.arange(p.shape[-1]) == wrong.argmax(axis=-1)[..., None]
        return np.where(self.terms(p, t)[..., None] > 0, first * (1 - t) - t, 0)


class KLDivergence(Rows):
    """sum_c t_c log(t_c / p_c). Shapes: y_true and y_pred (N, ..., classes), distributions."""

    def terms(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The divergence of every row."""
        p, t = np.clip(p, EPSILON, 1), np.clip(t, EPSILON, 1)
        return (t * np.log(t / p)).sum(axis=-1)

    def slopes(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """-t / p, and 0 where p was cut."""
        return np.where((p > EPSILON) & (p < 1), -np.clip(t, EPSILON, 1) / np.maximum(p, EPSILON), 0)


class CosineSimilarity(Rows):
    """Minus the cosine of the angle between output and target: -1 is best. Shapes: y_true and y_pred (N, ..., n)."""

    def terms(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """-p t / (|p| |t|)."""
        return -(p * t).sum(axis=-1) / (_length(p) * _length(t))[..., 0]

    def slopes(self, p: np.ndarray, t: np.ndarray) -> np.ndarray:
        """(p (p t) / |p|^2 - t) / (|p| |t|)."""
        length = _length(p)
        return (p * (p * t).sum(axis=-1, keepdims=True) / length**2 - t) / (length * _length(t))


def _length(x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum((x * x).sum(axis=-1, keepdims=True), EPSILON**2))
