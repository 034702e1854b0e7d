"""Metrics of numbers: the root of the squared error, the share of the variance that is explained, the angle to the target."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minitl.errors import check_numbers, unknown
from minitl.metrics.means import MeanSquaredError, Metric, alike

AGGREGATIONS = (None, "uniform_average", "variance_weighted_average")  # of the outputs' scores


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean squared error.

    Formula: sqrt(mean (t - p)^2).
    """

    def __init__(self, name: str = "root_mean_squared_error", dtype: Any = None):
        super().__init__(name, dtype)

    def result(self) -> float:
        """The root of the mean so far."""
        return math.sqrt(super().result())


class CosineSimilarity(Metric):
    """The cosine of the angle between prediction and target, averaged over samples; 1 is best. (The loss is its negative.)

    Formula: mean of t p / (|t| |p|), along an axis, the last one by default.
    """

    def __init__(self, name: str = "cosine_similarity", dtype: Any = None, axis: int = -1):
        super().__init__(name, dtype)
        self.axis = axis

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The cosine of every sample."""
        y_true = alike(y_true, y_pred)
        lengths = [np.sqrt(np.maximum((y * y).sum(axis=self.axis), 1e-12)) for y in (y_true, y_pred)]
        return (y_true * y_pred).sum(axis=self.axis) / lengths[0] / lengths[1]


class PearsonCorrelation(Metric):
    """How far prediction and target of a sample lie on a line, averaged over samples: 1 is best, -1 is the reverse.

    Formula: mean of (t - mean t)(p - mean p) / (std t std p), along an axis, the last one by default; NaN where one is constant.
    Shapes: y_true and y_pred alike.
    """

    def __init__(self, name: str = "pearson_correlation", dtype: Any = None, axis: int = -1):
        super().__init__(name, dtype)
        self.axis = axis

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The correlation of every sample."""
        covariance, variances, _ = _moments(y_true, y_pred, self.axis)
        with np.errstate(invalid="ignore", divide="ignore"):
            return covariance / np.sqrt(variances[0] * variances[1])


class ConcordanceCorrelation(PearsonCorrelation):
    """How far prediction and target of a sample are the same, averaged over samples: 1 is best.

    Formula: mean of 2 covariance / (var t + var p + (mean t - mean p)^2), along an axis, the last one by default.
    Shapes: y_true and y_pred alike.
    Source: L. Lin, A concordance correlation coefficient to evaluate reproducibility, Biometrics 45, 1989.
    """

    def __init__(self, name: str = "concordance_correlation", dtype: Any = None, axis: int = -1):
        super().__init__(name, dtype, axis)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The concordance of every sample."""
        covariance, variances, apart = _moments(y_true, y_pred, self.axis)
        return 2 * covariance / (variances[0] + variances[1] + apart**2 + 1e-7)  # Keras's epsilon


class R2Score(Metric):
    """The share of the targets' variance that the predictions explain: 1 is best, 0 is no better than the mean.

    Formula: 1 - sum a (t - p)^2 / sum a (t - mean t)^2 per output, a the sample weights, averaged over outputs
    (`class_aggregation="uniform_average"`), or by their variance ("variance_weighted_average"), or one number per output (None).
    With `num_regressors` k > 0 the score R of n numbers is adjusted, 1 - (1 - R) (n - 1) / (n - k - 1), if n > k + 1.
    Shapes: y_true and y_pred (N, outputs).
    Errors: ValueError for another aggregation, or a negative number of regressors.
    """

    def __init__(
        self, class_aggregation: str | None = "uniform_average", num_regressors: int = 0, name: str = "r2_score",
        dtype: Any = None,
    ):  # fmt: skip
        if class_aggregation not in AGGREGATIONS:
            raise unknown("class_aggregation", class_aggregation, [str(one) for one in AGGREGATIONS])
        check_numbers("R2Score", "[0, inf)", num_regressors=num_regressors)
        super().__init__(name, dtype)
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors

    def reset_state(self) -> None:
        """Begin anew."""
        self.weights, self.size, self.sums = 0.0, 0, np.zeros((3, 1))  # of t, t^2 and (t - p)^2

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into the sums."""
        p = np.asarray(y_pred, np.float64)
        p = p.reshape(len(p), -1)
        t = alike(np.asarray(y_true, np.float64), p)
        weights = np.ones(len(p)) if sample_weight is None else np.asarray(sample_weight, np.float64).reshape(-1)
        self.weights += float(weights.sum())
        self.size += t.size
        self.sums = self.sums + np.stack([weights @ t, weights @ t**2, weights @ (t - p) ** 2])

    def result(self) -> Any:
        """The score so far, or one per output; 0 before the first batch."""
        if not self.weights:
            return 0.0
        total = self.sums[1] - self.sums[0] ** 2 / self.weights
        scores = np.where(total > 0, 1 - self.sums[2] / np.where(total > 0, total, 1), 0.0)
        score: Any = scores
        if self.class_aggregation is not None:
            by_variance = self.class_aggregation == "variance_weighted_average" and (total > 0).any()
            score = float(np.average(scores, weights=total if by_variance else None))
        free = self.size - self.num_regressors - 1
        return score if self.num_regressors == 0 or free <= 0 else 1 - (1 - score) * (self.size - 1) / free


def _moments(y_true: np.ndarray, y_pred: np.ndarray, axis: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Covariance, variances, and the difference of the means."""
    t, p = alike(y_true, y_pred).astype(np.float64), y_pred.astype(np.float64)
    means = t.mean(axis, keepdims=True), p.mean(axis, keepdims=True)
    covariance = ((t - means[0]) * (p - means[1])).mean(axis)
    return covariance, (t.var(axis), p.var(axis)), (means[0] - means[1]).squeeze(axis)
