"""Metrics: numbers for people; nothing is trained on them.

means      averages over samples: accuracies, squared error
detection  precision, recall, and the counts they are made of
curves     areas under curves, and their best points
f_score    precision and recall in one number per class
overlap    intersection over union
regression root of the squared error, R^2, cosine
spans      precision, recall, F1 of spans in sentences

The name of any loss is a metric too: its mean over samples.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minitl import losses
from minitl.errors import unknown
from minitl.functions import function_name, is_function, is_known
from minitl.metrics.curves import AUC, PrecisionAtRecall, RecallAtPrecision, SensitivityAtSpecificity, SpecificityAtSensitivity
from minitl.metrics.detection import (
    FalseNegatives,
    FalsePositives,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from minitl.metrics.f_score import F1Score, FBetaScore
from minitl.metrics.means import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    Mean,
    MeanSquaredError,
    Metric,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    Sum,
    TopKCategoricalAccuracy,
    class_numbers,
    confusion_matrix,
)
from minitl.metrics.overlap import BinaryIoU, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
from minitl.metrics.regression import (
    ConcordanceCorrelation,
    CosineSimilarity,
    PearsonCorrelation,
    R2Score,
    RootMeanSquaredError,
)
from minitl.serialization import decode


class MeanLoss(Metric):
    """The mean of a loss over samples, by the loss's name; `settings` are the loss's."""

    def __init__(self, loss: str, name: str | None = None, **settings: Any):
        super().__init__(name or loss)
        self.loss, self.settings = loss, settings
        self.measured = losses.NAMED[loss](**{"reduction": "sum", **settings})

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into the mean, without what the loss leaves out."""
        counted = self.measured.counted(np.asarray(y_true), np.asarray(y_pred), sample_weight)
        super().update_state(y_true, y_pred, counted)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The loss of every row of predictions, or that of all of them for each sample."""
        p = y_pred if y_pred.dtype.kind == "f" else y_pred.astype(np.float32)
        found = np.asarray(self.measured.values(y_true, p, self.measured.from_logits))
        return found if found.ndim else np.full(len(p), float(found))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"loss": self.loss, "name": self.name, **self.settings}


class LogCoshError(MeanLoss):
    """The mean of log cosh (p - t), under the name that Keras has."""

    def __init__(self, name: str = "logcosh", dtype: Any = None):
        super().__init__("log_cosh", name)
        self.dtype = dtype

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name, "dtype": self.dtype}


class OwnFunction(Metric):
    """A function of your own, (y_true, y_pred) to a number or one per sample."""

    def __init__(self, function: Any, name: str | None = None):
        super().__init__(name or function_name(function))
        self.function = function

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """What the function gives, spread over the samples if it is one number."""
        found = np.asarray(self.function(y_true, y_pred), float)
        return np.full(len(y_pred), float(found)) if found.size == 1 else found.reshape(len(y_pred), -1).mean(axis=1)


class MeanMetricWrapper(OwnFunction):
    """The mean of a function of your own, with settings: fn(y_true, y_pred, **settings) gives one number, or one per sample."""

    def __init__(self, fn: Any, name: str | None = None, dtype: Any = None, **settings: Any):
        super().__init__(fn, name or function_name(fn))
        self.dtype, self.settings = dtype, settings

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """What the function gives, spread over the samples if it is one number."""
        found = np.asarray(self.function(y_true, y_pred, **self.settings), float)
        return np.full(len(y_pred), float(found)) if found.ndim == 0 else found

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"fn": self.function, "name": self.name, "dtype": self.dtype, **self.settings}


CLASSES: dict[str, type[Metric]] = {
    cls.__name__: cls
    for cls in (
        AUC, Accuracy, BinaryAccuracy, BinaryIoU, CategoricalAccuracy, ConcordanceCorrelation, CosineSimilarity, F1Score,
        FBetaScore, FalseNegatives, FalsePositives, IoU, LogCoshError, Mean, MeanIoU, MeanLoss, MeanMetricWrapper,
        MeanSquaredError, OneHotIoU, OneHotMeanIoU, OwnFunction, PearsonCorrelation, Precision, PrecisionAtRecall, R2Score,
        Recall, RecallAtPrecision, RootMeanSquaredError, SensitivityAtSpecificity, SparseCategoricalAccuracy,
        SparseTopKCategoricalAccuracy, SpecificityAtSensitivity, Sum, TopKCategoricalAccuracy, TrueNegatives, TruePositives,
    )
}  # fmt: skip
NAMED = {
    "accuracy": Accuracy,
    "acc": Accuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "binary_accuracy": BinaryAccuracy,
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
    "mse": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
    "root_mean_squared_error": RootMeanSquaredError,
    "cosine_similarity": CosineSimilarity,
    "r2_score": R2Score,
    "precision": Precision,
    "recall": Recall,
    "auc": AUC,
}
LOSSES = {cls.__name__: key for key, cls in reversed(losses.NAMED.items())}  # the first name of each class


def get(identifier: Any) -> Metric:
    """The metric of a name, under that very name in the history; of a function; or the object itself.

    Errors: ValueError for an unknown name; TypeError for what is no metric.
    """
    if isinstance(identifier, type) or isinstance(getattr(identifier, "func", None), type):  # a class, without its parentheses
        identifier = identifier()
    if isinstance(identifier, losses.Loss):
        return OwnFunction(identifier.__call__, LOSSES.get(identifier.name, identifier.name))
    if is_function(identifier) and not isinstance(identifier, Metric):
        name = function_name(identifier)
        return get(name) if is_known(identifier) and (name in NAMED or name in losses.NAMED) else OwnFunction(identifier)
    if isinstance(identifier, str):
        key = identifier.lower()
        if key in NAMED:
            metric: Any = NAMED[key]
            return metric(name=identifier)
        if key in losses.NAMED:
            return MeanLoss(key, identifier)
        if identifier in CLASSES:  # "RootMeanSquaredError"
            return CLASSES[identifier]()
        if identifier in LOSSES:
            return MeanLoss(LOSSES[identifier])
        raise unknown("metric", identifier, [*NAMED, *losses.NAMED])
    metric = decode("metric", identifier, CLASSES)
    if not isinstance(metric, Metric):
        raise TypeError(f"a metric must be a name, a function or a minitl.metrics.Metric, got {metric!r}")
    return metric


def __getattr__(name: str) -> Any:
    # Functions of (y_true, y_pred), one number per sample, under the names of metrics and losses.
    if name in NAMED and name not in ("auc", "r2_score", "root_mean_squared_error", "cosine_similarity"):
        return _of_samples(name)
    if name in losses.NAMED:
        return getattr(losses, name)
    if name in LOSSES:  # MeanAbsoluteError() as a metric
        return functools.partial(MeanLoss, LOSSES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def _of_samples(name: str) -> Any:
    kind: Any = NAMED[name]

    def function(y_true: Any, y_pred: Any, **settings: Any) -> np.ndarray:
        return kind(**settings).values(np.asarray(y_true), np.asarray(y_pred))

    function.__name__ = function.__qualname__ = name
    return function


__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryIoU",
    "CategoricalAccuracy",
    "ConcordanceCorrelation",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "IoU",
    "LogCoshError",
    "Mean",
    "MeanIoU",
    "MeanLoss",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "Metric",
    "OneHotIoU",
    "OneHotMeanIoU",
    "PearsonCorrelation",
    "Precision",
    "PrecisionAtRecall",
    "R2Score",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "class_numbers",
    "confusion_matrix",
    "get",
]  # fmt: skip
