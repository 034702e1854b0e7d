"""Metrics that are no means over samples: precision, recall, and the four counts that they are made of.

For outputs that are probabilities of yes (N,) or (N, ...): each output counts as one answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import positive
from minitl.metrics.means import Metric, per_output, spread


class Counts(Metric):
    """What these metrics share: numbers of right and wrong answers by threshold; a number above it is a yes.

    Parameters: `top_k` lets only the k largest outputs of a sample be yeses; `class_id` counts one output alone.
    Attributes: `true_positives` are right yeses, `false_negatives` wrong noes, `false_positives` wrong yeses, `true_negatives`
    right noes, one entry per threshold.
    Errors: ValueError for a `top_k` below 1.
    """

    def __init__(self, limits: Any, name: str | None, top_k: int | None = None, class_id: int | None = None, dtype: Any = None):
        self.limits = tuple(np.atleast_1d(np.asarray(limits, float)).tolist())
        self.top_k = None if top_k is None else positive(f"{type(self).__name__}: top_k", top_k)
        self.class_id = class_id
        super().__init__(name, dtype)

    def reset_state(self) -> None:
        """Begin anew."""
        self.begin((len(self.limits),))

    def begin(self, shape: tuple[int, ...]) -> None:
        """Set the counts to zeros of a shape."""
        self.true_positives, self.false_negatives = np.zeros(shape), np.zeros(shape)
        self.false_positives, self.true_negatives = np.zeros(shape), np.zeros(shape)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        p: Any = np.asarray(y_pred, float)
        t: Any = per_output(np.asarray(y_true), p)
        if self.top_k is not None:
            p = np.where(_among_largest(p, self.top_k), p, -np.inf)
        if self.class_id is not None:
            t, p = (_of_class(array, self.class_id, type(self).__name__) for array in (t, p))
        self.count_answers(t.reshape(-1, 1) > 0.5, p.reshape(-1, 1), spread(sample_weight, p.shape).reshape(-1, 1))

    def count_answers(self, t: np.ndarray, p: np.ndarray, weights: np.ndarray) -> None:
        """Count answers, each column by itself.

        Shapes: t and p (answers, columns), weights the same; the counts (thresholds,) for one column, else (thresholds, columns).
        """
        limits = np.array(self.limits)
        order = np.argsort(limits)
        # How many thresholds lie below a number: it is a yes for these. What is not a number is a no.
        below = np.searchsorted(limits[order], np.where(np.isnan(p), -np.inf, p))
        columns, steps = p.shape[1], len(order) + 1
        places = (below + steps * np.arange(columns)).reshape(-1)
        for positives, found, left in ((t, "true_positives", "false_negatives"), (~t, "false_positives", "true_negatives")):
            by_step = np.bincount(places, (positives * weights).reshape(-1), steps * columns).reshape(columns, steps)
            # From both ends, so that none left is 0 and no rounded difference.
            yeses, noes = by_step[:, :0:-1].cumsum(axis=1)[:, ::-1].T, by_step[:, :-1].cumsum(axis=1).T
            for name, counted in ((found, yeses), (left, noes)):
                numbers = getattr(self, name).copy()
                numbers[order] += counted.reshape(numbers.shape)
                setattr(self, name, numbers)

    @property
    def recalls(self) -> np.ndarray:
        """How many of those that should be are yeses, by threshold: TP / (TP + FN)."""
        return share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def precisions(self) -> np.ndarray:
        """How many of the yeses are right, by threshold: TP / (TP + FP)."""
        return share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def specificities(self) -> np.ndarray:
        """How many of those that should be are noes, by threshold: TN / (TN + FP)."""
        return share(self.true_negatives, self.true_negatives + self.false_positives)

    def result(self) -> Any:
        """The number so far."""
        raise NotImplementedError


class Precision(Counts):
    """How many of the yeses are right: TP / (TP + FP).

    Parameters: `thresholds` is one, 0.5 by default, or a list; `top_k` lets only the k largest outputs of a sample be yeses,
    whatever they are unless a threshold is given; `class_id` counts one output alone.
    Errors: ValueError for a threshold outside of [0, 1], or a `top_k` below 1.
    """

    def __init__(
        self, thresholds: Any = None, top_k: int | None = None, class_id: int | None = None, name: str = "precision",
        dtype: Any = None,
    ):  # fmt: skip
        self.thresholds = thresholds
        need_shares(self, thresholds)
        lowest = 0.5 if top_k is None else np.finfo(float).min
        super().__init__(lowest if thresholds is None else thresholds, name, top_k, class_id, dtype)

    def result(self) -> Any:
        """The share, or one per threshold; 0 before the first yes."""
        return _one_or_more(self.precisions)


class Recall(Precision):
    """How many of those that should be are yeses: TP / (TP + FN).

    Parameters and errors: as those of `Precision`.
    """

    def __init__(
        self, thresholds: Any = None, top_k: int | None = None, class_id: int | None = None, name: str = "recall",
        dtype: Any = None,
    ):  # fmt: skip
        super().__init__(thresholds, top_k, class_id, name, dtype)

    def result(self) -> Any:
        """The share, or one per threshold; 0 before the first that should be."""
        return _one_or_more(self.recalls)


class Count(Precision):
    """One of the four numbers, as it is; a subclass says which."""

    counted: str

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None):
        super().__init__(thresholds, name=name or self.counted, dtype=dtype)

    def result(self) -> Any:
        """The number, or one per threshold."""
        return _one_or_more(getattr(self, self.counted))


class TruePositives(Count):
    """The number of right yeses."""

    counted = "true_positives"


class FalsePositives(Count):
    """The number of wrong yeses."""

    counted = "false_positives"


class TrueNegatives(Count):
    """The number of right noes."""

    counted = "true_negatives"


class FalseNegatives(Count):
    """The number of wrong noes."""

    counted = "false_negatives"


def need_shares(metric: Counts, thresholds: Any) -> None:
    """Raise ValueError unless thresholds, if there are any, lie in [0, 1]."""
    given = np.asarray([] if thresholds is None else thresholds, float)
    if not np.all((given >= 0) & (given <= 1)):
        raise ValueError(f"{type(metric).__name__}: thresholds must lie in [0, 1], got {thresholds!r}")


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, and 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _one_or_more(numbers: np.ndarray) -> Any:
    return float(numbers[0]) if numbers.size == 1 else numbers


def _among_largest(p: np.ndarray, k: int) -> np.ndarray:
    largest = np.argsort(-p, axis=-1, kind="stable")[..., :k]  # of equal ones the first
    found = np.zeros(p.shape, bool)
    np.put_along_axis(found, largest, True, axis=-1)
    return found


def _of_class(array: np.ndarray, class_id: int, name: str) -> np.ndarray:
    if array.ndim < 2 or not 0 <= class_id < array.shape[-1]:
        raise ValueError(f"{name}: class_id={class_id} is no output of predictions of shape {array.shape}")
    return array[..., class_id, None]
