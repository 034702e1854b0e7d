"""Cross-entropies: minus the logarithm of the probability of what was right."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import check_numbers, wrong_shape
from minitl.losses.base import Loss
from minitl.losses.reduction import MEAN


class CategoricalCrossentropy(Loss):
    """Cross-entropy with one-hot targets; label smoothing mixes them with the uniform distribution.

    Formula: mean over samples of -sum_c t_c log p_c, with t = (1 - label_smoothing) y_true + label_smoothing / classes.
    Shapes: y_true and y_pred (N, ..., classes).
    Source: `minitl.ops.categorical_cross_entropy`; C. Szegedy et al., arXiv 1512.00567, for the smoothing.
    """

    operation = "categorical_cross_entropy"
    activation = "softmax"

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_numbers(self, "[0, 1]", label_smoothing=label_smoothing)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing

    def prepare(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Smoothed targets."""
        if y_true.shape != y_pred.shape:
            advice = "class numbers want sparse_categorical_crossentropy, or utils.to_categorical first"
            raise wrong_shape(f"loss {self.name}: targets", y_pred.shape, y_true.shape, advice)
        targets = y_true.astype(y_pred.dtype, copy=False)
        if self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing / y_pred.shape[-1]
        return targets

    def losses_shape(self, y_pred: np.ndarray) -> tuple[int, ...]:
        """One loss a distribution."""
        return y_pred.shape[:-1]


class SparseCategoricalCrossentropy(Loss):
    """Cross-entropy with class numbers as targets.

    Formula: mean of -log p[label] over all samples whose label is not `ignore_class` (void pixels, say -1 or 255).
    Shapes: y_true (N, ...) or (N, ..., 1) whole numbers, y_pred (N, ..., classes).
    Errors: ValueError for a label outside the classes.
    Source: `minitl.ops.sparse_categorical_cross_entropy`.
    """

    operation = "sparse_categorical_cross_entropy"
    activation = "softmax"

    def __init__(self, from_logits: bool = False, ignore_class: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        check_numbers(self, "(-inf, inf) or None", ignore_class=ignore_class)
        self.from_logits, self.ignore_class = from_logits, ignore_class

    def compute(self, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None, from_logits: bool) -> tuple[float, Any]:
        """The loss, with nothing from what is ignored, and what backpropagate needs."""
        if self.ignore_class is None:
            return super().compute(y_true, y_pred, weights, from_logits)
        labels = self.prepare(y_true, y_pred)
        counts = (labels != self.ignore_class).astype(y_pred.dtype)
        weights = counts if weights is None else counts * self.spread(weights, counts.shape)
        return super().compute(np.where(counts, labels, 0), y_pred, weights, from_logits)

    def of_rows(self, targets: np.ndarray, y_pred: np.ndarray, from_logits: bool) -> np.ndarray:
        """The loss of every row, 0 where it is ignored."""
        if self.ignore_class is None:
            return super().of_rows(targets, y_pred, from_logits)
        counts = targets != self.ignore_class
        return np.where(counts, super().of_rows(np.where(counts, targets, 0), y_pred, from_logits), 0)

    def counted(self, y_true: np.ndarray, y_pred: np.ndarray, weights: Any) -> Any:
        """Weights that make the mean of all rows the mean of those that count."""
        if self.ignore_class is None:
            return weights
        counts = self.prepare(y_true, y_pred) != self.ignore_class
        share = counts.size / max(np.count_nonzero(counts), 1) if self.reduction == MEAN else 1
        counted = counts.astype(y_pred.dtype) * y_pred.dtype.type(share)
        return counted if weights is None else counted * self.spread(np.asarray(weights, y_pred.dtype), counts.shape)

    def prepare(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Labels without a last axis of one."""
        if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
            y_true = y_true[..., 0]
        if y_true.shape != y_pred.shape[:-1]:
            advice = "one class number per sample; one-hot rows want categorical_crossentropy"
            raise wrong_shape(f"loss {self.name}: targets", y_pred.shape[:-1], y_true.shape, advice)
        if y_true.dtype.kind == "f" and not (y_true == np.floor(y_true)).all():
            raise ValueError(f"loss {self.name}: targets must be whole class numbers, got {y_true.dtype} with fractions or NaN")
        return y_true

    def losses_shape(self, y_pred: np.ndarray) -> tuple[int, ...]:
        """One loss a distribution."""
        return y_pred.shape[:-1]


class BinaryCrossentropy(Loss):
    """Every output is a yes-or-no question.

    Formula: mean over outputs and samples of -t log p - (1 - t) log(1 - p).
    Shapes: y_true and y_pred alike; (N,) targets fit (N, 1) outputs.
    Source: `minitl.ops.binary_cross_entropy`.
    """

    operation = "binary_cross_entropy"
    activation = "sigmoid"

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_numbers(self, "[0, 1]", label_smoothing=label_smoothing)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing

    def prepare(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Smoothed targets."""
        targets = super().prepare(y_true, y_pred)
        return targets * (1 - self.label_smoothing) + self.label_smoothing / 2 if self.label_smoothing else targets
