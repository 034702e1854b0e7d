"""Metrics of all thresholds together: the area under a curve, and the best point of one.

Every threshold gives a point: recall = TP / (TP + FN), precision = TP / (TP + FP), specificity = TN / (TN + FP), from the numbers
of true and false positives and negatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import check_numbers, positive, unknown
from minitl.metrics.detection import Counts, need_shares, share
from minitl.metrics.means import per_output, spread
from minitl.ops import sigmoid

STEPS = 200  # thresholds, as in Keras
CURVES, SUMS = ("ROC", "PR", "PRGAIN"), ("interpolation", "minoring", "majoring")
BEYOND = 1e-7  # the outermost thresholds are beyond 0 and 1, so that these numbers count, too


class AUC(Counts):
    """The area under recall against the rate of false positives ("ROC"), or under precision against recall ("PR", "PRGAIN").

    Formula: between two thresholds, the difference of the one times the mean of the other. For "PR" true positives and yeses, not
    their ratio, run in a straight line: with P = TP + FP and slope s = dTP / dP, an interval from A to B adds
    s (TP_B - TP_A + (TP_A - s P_A) log(P_B / P_A)) / (TP + FN). For "PRGAIN" precision and recall are what they gain over saying
    yes always: with the odds o = (TP + FN) / (TN + FP) of a yes, 1 - o FP / TP, and 1 - o FN / TP or 0.
    Parameters: `num_thresholds` from 0 to 1, 200 by default, or a list of `thresholds` within; `summation_method`
    "minoring" and "majoring" take the smaller and the larger number of every interval instead of the mean: bounds of the area;
    `multi_label` gives the mean of the outputs' areas, weighted by `label_weights`, without it all outputs are counted
    together, each with its weight; `from_logits` says that outputs are logits.
    Shapes: y_true and y_pred (N,) or (N, ...); (N, labels) with `multi_label`.
    Errors: ValueError for another curve or method, fewer than two thresholds, thresholds outside of [0, 1], or labels without
    `multi_label`.
    Source: J. Davis and M. Goadrich, The relationship between precision-recall and ROC curves, 2006; P. Flach and M. Kull,
    Precision-recall-gain curves, 2015.
    """

    def __init__(
        self, num_thresholds: int = STEPS, curve: str = "ROC", summation_method: str = "interpolation", name: str | None = "auc",
        dtype: Any = None, thresholds: Any = None, multi_label: bool = False, num_labels: int | None = None,
        label_weights: Any = None, from_logits: bool = False,
    ):  # fmt: skip
        if str(curve).upper() not in CURVES:
            raise unknown("AUC: curve", curve, CURVES)
        if str(summation_method).lower() not in SUMS:
            raise unknown("AUC: summation_method", summation_method, SUMS)
        if num_labels is not None and not multi_label:
            raise ValueError(f"AUC: num_labels={num_labels} is for multi_label=True")
        need_shares(self, thresholds)
        self.curve, self.summation_method = str(curve).upper(), str(summation_method).lower()
        self.multi_label, self.num_labels, self.from_logits = multi_label, num_labels, from_logits
        self._inside = None if thresholds is None else sorted(float(limit) for limit in thresholds)
        self.label_weights = None if label_weights is None else [float(weight) for weight in label_weights]
        if self._inside is not None:
            inside = np.array(self._inside)
        elif positive("AUC: num_thresholds", num_thresholds) < 2:
            raise ValueError(f"AUC: num_thresholds must be at least 2, got {num_thresholds}")
        else:
            inside = (np.arange(num_thresholds - 2) + 1) / (num_thresholds - 1)
        self.num_thresholds, self.thresholds = len(inside) + 2, [-BEYOND, *inside, 1 + BEYOND]
        super().__init__(self.thresholds, name, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; thresholds only if they were given, without those beyond 0 and 1."""
        return {**super().get_config(), "thresholds": self._inside}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        p: Any = np.asarray(y_pred, float)
        p = sigmoid.forward(p)[0] if self.from_logits else p.clip(0, 1)
        t: Any = per_output(np.asarray(y_true), p) > 0.5
        weights = spread(sample_weight, p.shape)
        if self.multi_label:
            self._check_labels(p.shape)
            if self.true_positives.ndim == 1:
                self.begin((len(self.limits), p.shape[1]))
            self.count_answers(t, p, weights)
            return
        if self.label_weights is not None:
            self._check_labels(p.shape)
            weights = weights * np.array(self.label_weights)
        self.count_answers(t.reshape(-1, 1), p.reshape(-1, 1), weights.reshape(-1, 1))

    def result(self) -> float:
        """The area; of several labels the mean of theirs."""
        if self.curve == "PR" and self.summation_method == "interpolation":
            areas = self._between_counts(self.true_positives + self.false_positives)
        else:
            x, y = share(self.false_positives, self.false_positives + self.true_negatives), self.recalls
            if self.curve == "PR":
                x, y = self.recalls, self.precisions
            elif self.curve == "PRGAIN":
                x, y = self._gains()
            heights = {
                "interpolation": (y[:-1] + y[1:]) / 2,
                "minoring": np.minimum(y[:-1], y[1:]),
                "majoring": np.maximum(y[:-1], y[1:]),
            }
            areas = ((x[:-1] - x[1:]) * heights[self.summation_method]).sum(axis=0)
        if not self.multi_label:
            return float(areas)
        return float(np.average(np.atleast_1d(areas), weights=self.label_weights if areas.size > 1 else None))

    def _between_counts(self, yeses: np.ndarray) -> np.ndarray:
        """The area under precision against recall, true positives and yeses in straight lines between thresholds."""
        more_right, more_yeses = self.true_positives[:-1] - self.true_positives[1:], yeses[:-1] - yeses[1:]
        slope = share(more_right, more_yeses)
        start = self.true_positives[1:] - slope * yeses[1:]
        growth = np.where((yeses[:-1] > 0) & (yeses[1:] > 0), yeses[:-1] / np.where(yeses[1:] > 0, yeses[1:], 1), 1)
        growth = np.maximum(growth, np.finfo(float).tiny)
        wanted = self.true_positives[1:] + self.false_negatives[1:]
        return share(slope * (more_right + start * np.log(growth)), wanted).sum(axis=0)

    def _gains(self) -> tuple[np.ndarray, np.ndarray]:
        """What recall and precision gain; without a true positive 0 and 1, where the curve ends."""
        found = self.true_positives > 0
        odds = share(self.true_positives + self.false_negatives, self.true_negatives + self.false_positives)
        lost, wrong = (odds * share(counts, self.true_positives) for counts in (self.false_negatives, self.false_positives))
        return np.where(found, np.maximum(1 - lost, 0), 0), np.where(found, 1 - wrong, 1)

    def _check_labels(self, shape: tuple[int, ...]) -> None:
        labels = self.num_labels or (None if self.label_weights is None else len(self.label_weights))
        if len(shape) != 2 or (labels is not None and shape[1] != labels):
            raise ValueError(f"AUC: expected predictions of shape (N, {labels or 'labels'}), one per label, got {shape}")


class _Best(Counts):
    """The largest number that a threshold gives while another is large enough; 0 where no threshold does."""

    wanted: str  # the other number, and the constructor's argument for how large it must be

    def __init__(self, least: float, num_thresholds: int, class_id: int | None, name: str | None, dtype: Any):
        check_numbers(self, "[0, 1]", **{self.wanted: least})
        self.num_thresholds = positive(f"{type(self).__name__}: num_thresholds", num_thresholds)
        setattr(self, self.wanted, least)
        super().__init__(np.linspace(0, 1, num_thresholds) if num_thresholds > 1 else 0.5, name, class_id=class_id, dtype=dtype)

    def best(self, numbers: np.ndarray, others: np.ndarray) -> float:
        """The largest of `numbers` whose other is large enough."""
        return float(np.where(others >= getattr(self, self.wanted), numbers, 0).max(initial=0))


class PrecisionAtRecall(_Best):
    """The best precision of all thresholds whose recall is at least `recall`.

    Parameters: `num_thresholds` from 0 to 1, 200 by default; `class_id` counts one output alone.
    Errors: ValueError for a number outside of [0, 1].
    """

    wanted = "recall"

    def __init__(
        self, recall: float, num_thresholds: int = STEPS, class_id: int | None = None, name: str | None = None, dtype: Any = None
    ):  # fmt: skip
        super().__init__(recall, num_thresholds, class_id, name, dtype)

    def result(self) -> float:
        """The precision."""
        return self.best(self.precisions, self.recalls)


class RecallAtPrecision(_Best):
    """The best recall of all thresholds whose precision is at least `precision`.

    Parameters and errors: as those of `PrecisionAtRecall`.
    """

    wanted = "precision"

    def __init__(
        self, precision: float, num_thresholds: int = STEPS, class_id: int | None = None, name: str | None = None,
        dtype: Any = None,
    ):  # fmt: skip
        super().__init__(precision, num_thresholds, class_id, name, dtype)

    def result(self) -> float:
        """The recall."""
        return self.best(self.recalls, self.precisions)


class SensitivityAtSpecificity(_Best):
    """The best sensitivity, which is recall, of all thresholds whose specificity is at least `specificity`.

    Parameters and errors: as those of `PrecisionAtRecall`.
    """

    wanted = "specificity"

    def __init__(
        self, specificity: float, num_thresholds: int = STEPS, class_id: int | None = None, name: str | None = None,
        dtype: Any = None,
    ):  # fmt: skip
        super().__init__(specificity, num_thresholds, class_id, name, dtype)

    def result(self) -> float:
        """The sensitivity."""
        return self.best(self.recalls, self.specificities)


class SpecificityAtSensitivity(_Best):
    """The best specificity of all thresholds whose sensitivity, which is recall, is at least `sensitivity`.

    Parameters and errors: as those of `PrecisionAtRecall`.
    """

    wanted = "sensitivity"

    def __init__(
        self, sensitivity: float, num_thresholds: int = STEPS, class_id: int | None = None, name: str | None = None,
        dtype: Any = None,
    ):  # fmt: skip
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)

    def result(self) -> float:
        """The specificity."""
        return self.best(self.specificities, self.recalls)
