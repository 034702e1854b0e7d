"""Metrics that are no means over samples: precision, recall, the area under a curve.

For outputs that are probabilities of yes (N,) or (N, ...): each output counts as one answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.metrics.means import Metric, of_all, per_output

STEPS = 200  # thresholds of curves, as in Keras


class Counts(Metric):
    """What these metrics share: numbers of right and wrong answers by threshold.

    Attributes: `hits` are right yeses, `misses` wrong noes, `alarms` wrong yeses, `passes` right noes, one entry per threshold.
    """

    def __init__(self, thresholds: Any, name: str):
        self.limits = np.atleast_1d(np.asarray(thresholds, float))
        super().__init__(name)

    def reset_state(self) -> None:
        """Begin anew."""
        self.hits, self.misses, self.alarms, self.passes = (np.zeros(len(self.limits)) for _ in range(4))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        p: Any = np.asarray(y_pred, float)
        t: Any = per_output(np.asarray(y_true), p)
        weights = of_all(sample_weight, p.shape)
        t, p = t.reshape(-1) > 0.5, p.reshape(-1)
        yes = p > self.limits[:, None]
        self.hits += (yes & t) @ weights
        self.alarms += (yes & ~t) @ weights
        self.misses += (~yes & t) @ weights
        self.passes += (~yes & ~t) @ weights

    def result(self) -> float:
        """The number so far."""
        raise NotImplementedError


class Precision(Counts):
    """How many of the yeses are right: hits / (hits + false alarms)."""

    def __init__(self, thresholds: Any = None, top_k: Any = None, class_id: Any = None, name: str = "precision"):
        if top_k is not None or class_id is not None:
            raise ValueError(f"{type(self).__name__}: top_k and class_id are not known here")
        self.thresholds, self.top_k, self.class_id = thresholds, None, None
        super().__init__(0.5 if thresholds is None else thresholds, name)

    def result(self) -> float:
        """The share; 0 before the first yes."""
        return _share(self.hits[0], self.hits[0] + self.alarms[0])


class Recall(Precision):
    """How many of those that should be are yeses: hits / (hits + misses)."""

    def __init__(self, thresholds: Any = None, top_k: Any = None, class_id: Any = None, name: str = "recall"):
        super().__init__(thresholds, top_k, class_id, name)

    def result(self) -> float:
        """The share; 0 before the first that should be."""
        return _share(self.hits[0], self.hits[0] + self.misses[0])


class Count(Precision):
    """One of the four numbers, as it is; a subclass says which, and its name."""

    counted: str
    default_name: str

    def __init__(self, thresholds: Any = None, name: str | None = None):
        super().__init__(thresholds, name=name or self.default_name)

    def result(self) -> float:
        """The number."""
        return float(getattr(self, self.counted)[0])


class TruePositives(Count):
    """The number of right yeses."""

    counted, default_name = "hits", "true_positives"


class FalsePositives(Count):
    """The number of wrong yeses."""

    counted, default_name = "alarms", "false_positives"


class TrueNegatives(Count):
    """The number of right noes."""

    counted, default_name = "passes", "true_negatives"


class FalseNegatives(Count):
    """The number of wrong noes."""

    counted, default_name = "misses", "false_negatives"


class AUC(Counts):
    """The area under the curve of hit rate against false-alarm rate, by trapezoids between 200 thresholds."""

    def __init__(self, num_thresholds: int = STEPS, curve: str = "ROC", name: str = "auc"):
        if curve != "ROC":
            raise ValueError(f"AUC: curve must be 'ROC', got {curve!r}")
        self.num_thresholds, self.curve = num_thresholds, curve
        inside = (np.arange(num_thresholds - 2) + 1) / (num_thresholds - 1)
        super().__init__([-1e-7, *inside, 1 + 1e-7], name)

    def result(self) -> float:
        """The area."""
        hits = np.divide(self.hits, self.hits + self.misses, out=np.zeros_like(self.hits), where=self.hits + self.misses > 0)
        negatives = self.alarms + self.passes
        alarms = np.divide(self.alarms, negatives, out=np.zeros_like(hits), where=negatives > 0)
        return float(((hits[1:] + hits[:-1]) / 2 * (alarms[:-1] - alarms[1:])).sum())


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
