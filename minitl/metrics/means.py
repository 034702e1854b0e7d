"""Metrics: numbers for people, averaged over an epoch; nothing is trained on them."""

from __future__ import annotations

import functools
from inspect import signature
from typing import Any

import numpy as np

from minitl import initializers
from minitl.errors import wrong_shape
from minitl.layers.names import default_name
from minitl.layers.variable import Variable, as_result, in_order
from minitl.random import new_generator
from minitl.serialization import Configured


class Metric(Configured):
    """A running mean of one number per sample; a metric of your own defines `values(y_true, y_pred)`."""

    kind = "metric"
    weighted = False  # whether sample weights count

    def __init__(self, name: str | None = None, dtype: Any = None):
        self.name, self.dtype = name or default_name(type(self)), dtype
        # The `reset_state` of a metric of your own may need what its constructor has not made yet.
        next(cls for cls in type(self).__mro__ if cls.__module__.startswith("minitl.")).reset_state(self)  # type: ignore[attr-defined]

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "result" in vars(cls):
            own = cls.result
            cls.result = functools.wraps(own)(lambda self: as_result(own(self)))  # type: ignore[method-assign]

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Take a batch into the mean, and give the mean so far."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    def add_weight(self, *first: Any, **settings: Any) -> Variable:
        """A variable that `update_state` counts in, as metrics for Keras do; `reset_state` sets it to zero.

        Parameters: `name`, `shape`, `initializer` and `dtype`, which is float64 by default; without names in this order, or as in
        Keras 3, where the shape comes first, and the name last.
        """
        of_keras_3 = ("shape", "initializer", "dtype", "name")
        given = in_order(self.name, first, settings, ("name", "shape", "initializer", "dtype"), of_keras_3)
        shape, dtype = given.get("shape") or (), given.get("dtype") or np.float64
        shape = tuple(np.atleast_1d(shape).astype(int)) if np.ndim(shape) or shape else ()
        start = initializers.get(given.get("initializer") or "zeros")
        array = np.array(initializers.drawn(start, shape, new_generator(), dtype), dtype)
        return Variable.of(array, given.get("name") or "variable", self.name, trainable=False)

    add_variable = add_weight

    @property
    def variables(self) -> list[Variable]:
        """What it counts in."""
        counted, settings = self._counted(), signature(type(self)).parameters
        if counted:
            return list(counted.values())
        state = {name: value for name, value in self.get_state().items() if name not in settings}
        return [Variable.of(np.asarray(value), name, self.name, trainable=False) for name, value in state.items()]

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The number of every sample of a batch."""
        raise NotImplementedError(f"{type(self).__name__} must define values(y_true, y_pred)")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into the mean."""
        values = np.asarray(self.values(np.asarray(y_true), np.asarray(y_pred)), np.float64)
        weights = spread(sample_weight, values.shape)
        self.total += float((values * weights).sum())
        self.count += float(weights.sum())

    def result(self) -> float:
        """The mean so far; 0 before the first batch."""
        return as_result(self.total / self.count if self.count else 0.0)

    def reset_state(self) -> None:
        """Begin anew."""
        counted = self._counted()
        for variable in counted.values():
            variable.value[...] = 0
        if not counted:
            self.total = self.count = 0.0

    def get_state(self) -> dict[str, Any]:
        """The numbers and arrays that a batch may have changed."""
        return {name: value for name, value in vars(self).items() if isinstance(value, (int, float, np.ndarray, np.generic))}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        counted = self._counted()
        for name in self.get_state():
            if name in state and name in counted:
                counted[name].assign(state[name])
            elif name in state:
                setattr(self, name, state[name])

    def _counted(self) -> dict[str, Variable]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Variable)}


class Mean(Metric):
    """The mean of numbers that `update_state(values)` is given."""

    def __init__(self, name: str = "mean", dtype: Any = None):
        super().__init__(name, dtype)

    def update_state(self, values: Any, y_pred: Any = None, sample_weight: Any = None) -> None:
        """Take numbers in."""
        values = np.asarray(values, float)
        weights = spread(sample_weight, values.shape)
        self.total += float((values * weights).sum())
        self.count += float(weights.sum())


class Sum(Mean):
    """The sum of numbers that `update_state(values)` is given."""

    def __init__(self, name: str = "sum", dtype: Any = None):
        super().__init__(name, dtype)

    def result(self) -> float:
        """The sum so far."""
        return self.total


class CategoricalAccuracy(Metric):
    """How often the most probable class is the right one, under the name that Keras has for one-hot targets.

    Formula: argmax y_pred = class; with a single output, (y_pred > 0.5) = target.
    Shapes: y_pred (N, ..., classes) with y_true one-hot, (N, ...) or (N, ..., 1); or y_pred (N, 1).
    """

    def __init__(self, name: str = "categorical_accuracy", dtype: Any = None):
        super().__init__(name, dtype)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """1 where right, else 0."""
        if y_pred.shape[-1] == 1:
            return (y_pred > 0.5)[..., 0] == class_numbers(y_true, y_pred)
        return y_pred.argmax(axis=-1) == class_numbers(y_true, y_pred)


class SparseCategoricalAccuracy(CategoricalAccuracy):
    """The same under the name that Keras has for class numbers."""

    def __init__(self, name: str = "sparse_categorical_accuracy", dtype: Any = None):
        super().__init__(name, dtype)


class Accuracy(CategoricalAccuracy):
    """How often the prediction is right, whatever the form of targets and predictions.

    Formula: argmax y_pred = class; with a single output, (y_pred > 0.5) = target; y_pred = y_true of predictions that are class
    numbers themselves.
    Shapes: as for `CategoricalAccuracy`; or both alike, y_pred whole numbers or (N,).
    """

    def __init__(self, name: str = "accuracy", dtype: Any = None):
        super().__init__(name, dtype)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """1 where right, else 0."""
        are_numbers = y_pred.ndim == 1 or y_pred.dtype.kind in "iub"
        if are_numbers and y_true.size == y_pred.size:
            return alike(y_true, y_pred) == y_pred
        return super().values(y_true, y_pred)


class BinaryAccuracy(Metric):
    """How often an output lies on the target's side of the threshold.

    Shapes: y_true and y_pred (N, ...); each output counts, with a weight of its own or its sample's.
    """

    def __init__(self, name: str = "binary_accuracy", dtype: Any = None, threshold: float = 0.5):
        super().__init__(name, dtype)
        self.threshold = threshold

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """1 for every right output, else 0."""
        return (y_pred > self.threshold) == (alike(y_true, y_pred) > self.threshold)


class TopKCategoricalAccuracy(Metric):
    """How often the right class is among the k most probable ones.

    Shapes: as for Accuracy. Ties count for the prediction.
    """

    def __init__(self, k: int = 5, name: str = "top_k_categorical_accuracy", dtype: Any = None):
        super().__init__(name, dtype)
        self.k = k

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """1 where fewer than k classes beat the right one, else 0; NaN is never right."""
        labels = class_numbers(y_true, y_pred)
        of_label = np.take_along_axis(y_pred, labels[..., None], axis=-1)
        return (~(y_pred <= of_label)).sum(axis=-1) < self.k


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """The same under the name that Keras has for class numbers.

    Parameters: with `from_sorted_ids` the predictions are class numbers themselves, the most probable first.
    """

    def __init__(
        self, k: int = 5, name: str = "sparse_top_k_categorical_accuracy", dtype: Any = None, from_sorted_ids: bool = False
    ):  # fmt: skip
        super().__init__(k, name, dtype)
        self.from_sorted_ids = from_sorted_ids

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """1 where fewer than k classes beat the right one, or where it is among the first k, else 0."""
        if not self.from_sorted_ids:
            return super().values(y_true, y_pred)
        return (y_pred[..., : self.k] == alike(y_true, y_pred[..., :1])).any(axis=-1)


class MeanSquaredError(Metric):
    """The squared distance to the target, averaged over outputs."""

    def __init__(self, name: str = "mean_squared_error", dtype: Any = None):
        super().__init__(name, dtype)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """The mean square of every sample, or of every step of a sequence."""
        square = (y_pred - alike(y_true, y_pred)) ** 2
        return square if square.ndim == 1 else square.mean(axis=-1)


def confusion_matrix(y_true: Any, y_pred: Any, classes: int | None = None) -> np.ndarray:
    """How often class i was taken for class j: entry [i, j].

    Shapes: y_true and y_pred class numbers (N,) or (N, 1), or distributions (N, classes); the result (classes, classes), int64.
    Errors: ValueError for different lengths or a class number that is negative or too large.
    """
    true, predicted = (_numbers(np.asarray(y)) for y in (y_true, y_pred))
    if len(true) != len(predicted):
        raise wrong_shape("confusion_matrix: y_pred", true.shape, predicted.shape, "one prediction per sample")
    largest = int(max(true.max(initial=-1), predicted.max(initial=-1)))
    size = largest + 1 if classes is None else classes
    if min(true.min(initial=0), predicted.min(initial=0)) < 0 or largest >= size:
        raise ValueError(f"confusion_matrix: class numbers must lie in 0 .. {size - 1}, the largest is {largest}")
    return np.bincount(true * size + predicted, minlength=size * size).reshape(size, size)


def class_numbers(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """The right class of every sample, from one-hot rows or class numbers.

    Errors: ValueError when the shape fits neither.
    """
    if y_true.shape == y_pred.shape and y_pred.shape[-1] > 1:
        return y_true.argmax(axis=-1)
    if y_true.shape == (*y_pred.shape[:-1], 1):
        return y_true[..., 0].astype(np.int64)
    if y_true.shape == y_pred.shape[:-1]:
        return y_true.astype(np.int64)
    raise wrong_shape(
        "metric: targets", f"{y_pred.shape[:-1]} or {y_pred.shape}", y_true.shape, "give class numbers or one-hot rows"
    )


def alike(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Targets in the shape of the predictions.

    Errors: ValueError for more or fewer of them.
    """
    if y_true.size != y_pred.size:
        raise wrong_shape("metric: targets", y_pred.shape, y_true.shape, "give one target for every prediction")
    return y_true.reshape(y_pred.shape)


def _numbers(y: np.ndarray) -> np.ndarray:
    if y.ndim == 2 and y.shape[1] > 1:
        return y.argmax(axis=1)
    return y.reshape(-1).astype(np.int64)


def per_output(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Targets for every output: class numbers become zeros and ones."""
    return alike(y_true, y_pred) if y_true.size == y_pred.size else np.eye(y_pred.shape[-1])[class_numbers(y_true, y_pred)]


def spread(sample_weight: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The weight of every number of a batch; weights are given per sample, per number, or per step of a sequence."""
    given = np.asarray(1.0 if sample_weight is None else sample_weight, float)
    while given.ndim > len(shape) and given.shape[-1] == 1:
        given = given[..., 0]
    if given.ndim > len(shape) or any(n not in (1, m) for n, m in zip(given.shape, shape, strict=False)):
        raise wrong_shape("metric: sample_weight", shape, np.shape(sample_weight), "give one weight per sample, or per number")
    return np.broadcast_to(given.reshape(given.shape + (1,) * (len(shape) - given.ndim)), shape)
