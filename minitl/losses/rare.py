"""Losses for what is rare: cross-entropies that look away from what is easy, and overlaps of small regions.

Each is written in NumPy's functions, and its gradient is found by `minitl.autodiff`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import check_numbers
from minitl.losses.base import Loss
from minitl.losses.distances import EPSILON


class BinaryFocalCrossentropy(Loss):
    """Cross-entropy of yes-or-no outputs, the less the surer an output is of the right answer.

    Formula: mean of -(1 - q)^gamma log q, q = p for t = 1 and 1 - p for t = 0; with `apply_class_balancing` times alpha for t = 1
    and 1 - alpha for t = 0.
    Shapes: y_true and y_pred alike, y_pred in 0 .. 1, or any numbers with `from_logits`.
    Source: T. Lin et al., arXiv 1708.02002.
    """

    def __init__(
        self, apply_class_balancing: bool = False, alpha: float = 0.25, gamma: float = 2.0, from_logits: bool = False,
        label_smoothing: float = 0.0, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        check_numbers(self, "[0, inf)", gamma=gamma)
        check_numbers(self, "[0, 1]", alpha=alpha, label_smoothing=label_smoothing)
        self.apply_class_balancing, self.alpha, self.gamma = apply_class_balancing, alpha, gamma
        self.from_logits, self.label_smoothing = from_logits, label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The mean over each sample's outputs."""
        p = (np.tanh(y_pred / 2) + 1) / 2 if self.from_logits else y_pred
        p, t = np.clip(p, EPSILON, 1 - EPSILON), y_true * (1 - self.label_smoothing) + self.label_smoothing / 2
        right = t * p + (1 - t) * (1 - p)
        terms = -np.power(1 - right, self.gamma) * (t * np.log(p) + (1 - t) * np.log(1 - p))
        if self.apply_class_balancing:
            terms = terms * (t * self.alpha + (1 - t) * (1 - self.alpha))
        return np.mean(terms, axis=-1)


class CategoricalFocalCrossentropy(Loss):
    """Cross-entropy of classes, the less the surer a prediction is of the right one.

    Formula: -alpha sum_c t_c (1 - p_c)^gamma log p_c, p divided by its sum.
    Shapes: y_true one-hot (N, ..., classes), y_pred alike, probabilities, or any numbers with `from_logits`.
    Source: T. Lin et al., arXiv 1708.02002.
    """

    def __init__(
        self, alpha: float = 0.25, gamma: float = 2.0, from_logits: bool = False, label_smoothing: float = 0.0, **kwargs: Any
    ):
        super().__init__(**kwargs)
        check_numbers(self, "[0, inf)", gamma=gamma, alpha=alpha)
        check_numbers(self, "[0, 1]", label_smoothing=label_smoothing)
        self.alpha, self.gamma, self.from_logits, self.label_smoothing = alpha, gamma, from_logits, label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The sum over each sample's classes."""
        if self.from_logits:
            y_pred = np.exp(y_pred - np.max(y_pred, axis=-1, keepdims=True))
        p = np.clip(y_pred / np.sum(y_pred, axis=-1, keepdims=True), EPSILON, 1 - EPSILON)
        t = y_true * (1 - self.label_smoothing) + self.label_smoothing / y_true.shape[-1]
        return np.sum(-self.alpha * t * np.power(1 - p, self.gamma) * np.log(p), axis=-1)


class OfRegions(Loss):
    """What losses of overlapping regions share: the axes of their sums, all of them for None.

    Parameters: with `axis=(1, 2, 3)` every image has a loss of its own.
    """

    def __init__(self, axis: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis if axis is None or isinstance(axis, int) else tuple(axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() if self.axis is None else {**super().get_config(), "axis": self.axis}


class Tversky(OfRegions):
    """How little a predicted region and the true one overlap, over the whole batch.

    Formula: 1 - o / (o + alpha sum (1 - t) p + beta sum t (1 - p)), o = sum t p.
    Parameters: `alpha` is the weight of what is predicted and not there, `beta` of what is there and not predicted; `axis` is
    what the sums run over, everything for None, (1, 2, 3) for a loss of each image.
    Shapes: y_true and y_pred alike, y_pred in 0 .. 1.
    Source: S. Salehi et al., arXiv 1706.05721.
    """

    def __init__(self, alpha: float = 0.5, beta: float = 0.5, axis: Any = None, **kwargs: Any):
        super().__init__(axis, **kwargs)
        check_numbers(self, "[0, inf)", alpha=alpha, beta=beta)
        self.alpha, self.beta = alpha, beta

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One number for the batch, or one for what the axes leave."""
        overlap = np.sum(y_true * y_pred, axis=self.axis)
        too_much, missed = np.sum((1 - y_true) * y_pred, axis=self.axis), np.sum(y_true * (1 - y_pred), axis=self.axis)
        wrong = self.alpha * too_much + self.beta * missed
        return 1 - (overlap + EPSILON) / (overlap + wrong + EPSILON)


class Dice(OfRegions):
    """How little a predicted region and the true one overlap, over the whole batch.

    Formula: 1 - 2 sum t p / (sum t + sum p).
    Parameters: `axis` is what the sums run over, everything for None, (1, 2, 3) for a loss of each image.
    Shapes: y_true and y_pred alike, y_pred in 0 .. 1.
    Source: F. Milletari et al., arXiv 1606.04797.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One number for the batch, or one for what the axes leave."""
        overlap, both = np.sum(y_true * y_pred, axis=self.axis), np.sum(y_true, axis=self.axis) + np.sum(y_pred, axis=self.axis)
        return 1 - (2 * overlap + EPSILON) / (both + EPSILON)
