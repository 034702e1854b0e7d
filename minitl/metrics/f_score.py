"""The F score of every class: one number for precision and recall."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import check_numbers, unknown
from minitl.metrics.means import Metric, per_output, spread

AVERAGES = (None, "micro", "macro", "weighted")
TINY = 1e-7  # added to what is divided by, as in Keras


class FBetaScore(Metric):
    """A mean of precision and recall, in which recall counts beta^2 times.

    Formula: with precision p = TP / (TP + FP) and recall r = TP / (TP + FN) of a class, (1 + beta^2) p r / (beta^2 p + r).
    Parameters: `average` None gives one number per class, "macro" their mean, "weighted" their mean weighted by how often each
    occurs, "micro" the score of all answers together; a class is answered with yes above `threshold`, without one where it has
    the largest number, and a single output above 0.5.
    Shapes: y_true (N, classes) of zeros and ones, or (N,) class numbers; y_pred (N, classes).
    Errors: ValueError for another average.
    """

    def __init__(
        self, average: str | None = None, beta: float = 1.0, threshold: float | None = None, name: str = "fbeta_score",
        dtype: Any = None,
    ):  # fmt: skip
        if average not in AVERAGES:
            raise unknown("average", average, [str(one) for one in AVERAGES])
        check_numbers(self, "(0, inf)", beta=beta)
        self.average, self.beta, self.threshold = average, beta, threshold
        super().__init__(name)

    def reset_state(self) -> None:
        """Begin anew."""
        self.true_positives = self.false_positives = self.false_negatives = np.zeros(1)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        p, t = np.asarray(y_pred, float), np.asarray(y_true)
        p = p.reshape(len(p), -1)
        t = per_output(t, p)
        if self.threshold is not None or p.shape[1] == 1:
            yes = p > (0.5 if self.threshold is None else self.threshold)
        else:
            yes = (p >= p.max(axis=1, keepdims=True)) & (np.abs(p) > 1e-9)
        each, axis = spread(sample_weight, p.shape), (0, 1) if self.average == "micro" else 0
        self.true_positives = self.true_positives + (each * yes * t).sum(axis)
        self.false_positives = self.false_positives + (each * yes * (1 - t)).sum(axis)
        self.false_negatives = self.false_negatives + (each * ~yes * t).sum(axis)

    def result(self) -> Any:
        """One number, or one per class; 0 without true positives."""
        precision = self.true_positives / (self.true_positives + self.false_positives + TINY)
        recall = self.true_positives / (self.true_positives + self.false_negatives + TINY)
        score = (1 + self.beta**2) * precision * recall / (self.beta**2 * precision + recall + TINY)
        if self.average == "weighted":
            there = self.true_positives + self.false_negatives
            return float((score * there).sum() / (there.sum() + TINY))
        return float(score.mean()) if self.average is not None or score.size == 1 else score


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall: `FBetaScore` with beta = 1."""

    def __init__(
        self, average: str | None = None, threshold: float | None = None, name: str = "f1_score", dtype: Any = None,
        thresholds: float | None = None, **older: Any,
    ):  # fmt: skip
        if any(value is not None for value in older.values()):
            raise ValueError(f"F1Score: {', '.join(older)} is not known here")
        super().__init__(average, 1.0, threshold if thresholds is None else thresholds, name)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"average": self.average, "threshold": self.threshold, "name": self.name}
