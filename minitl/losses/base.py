"""What a loss is: one number for how wrong a batch of predictions is, and its gradient.

All are means over the batch, unless a `reduction` is given. A sample's weight multiplies its loss; the sum is still divided by
the number of samples, as in Keras.
"""

from __future__ import annotations

import copy
import importlib
import inspect
from typing import Any

import numpy as np

from minitl.autodiff import Traced, gradients
from minitl.backend import op
from minitl.errors import wrong_shape
from minitl.graph.value import Value
from minitl.layers.variable import as_result
from minitl.losses.reduction import MEAN, REDUCTIONS, known_reduction, reduced
from minitl.serialization import Configured, constructor_arguments


class Loss(Configured):
    """A loss: `forward` gives the number, `backward` its gradient with respect to the predictions.

    Attributes: `operation` is the op that computes it; `activation` is the last activation with which it has a joint
    gradient. Then the model hands over what comes before that activation, with from_logits=True.
    The losses here keep nothing: `compute` gives the number and a cache, `backpropagate(cache)` the gradient.
    A loss of your own subclasses this, with `forward(y_true, y_pred, weights, from_logits)` and `backward()`; or with
    `call(y_true, y_pred)` alone, as in Keras, and its gradient is found by `minitl.autodiff`.
    """

    kind = "loss"
    operation: str
    activation: str | None = None
    from_logits: bool = False
    formula: Any = None  # the loss of each sample in NumPy's functions, where there is one (`minitl.losses.formulas`)
    _name: str | None = None
    reduction: str = MEAN
    row_axis = -1  # along which a row of predictions lies

    def __init__(self, name: str | None = None, reduction: str | None = MEAN, axis: int = -1, dtype: Any = None):
        if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
            raise ValueError(f"loss {self.name}: axis must be a whole number, got {axis!r}")
        self.row_axis = int(axis)
        if name in REDUCTIONS:
            raise ValueError(f"loss {self.name}: give the reduction by name, reduction={name!r}")
        self._name, self.reduction = name, known_reduction(reduction)

    def __init_subclass__(cls, **kwargs: Any):
        # One that defines __call__(y_true, y_pred) itself, as some programs for Keras do, gives its values there.
        super().__init_subclass__(**kwargs)
        own = vars(cls).get("__call__")
        if own is not None and not {"call", "forward"} & vars(cls).keys():
            cls.call = lambda self, y_true, y_pred: own(self, y_true, y_pred)  # type: ignore[attr-defined]

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of some predictions: one number, or with reduction="none" one for every row of them."""
        if self.row_axis != -1:
            of_last = copy.copy(self)
            of_last.row_axis = -1
            return of_last(*self.rows_last(y_true, y_pred), sample_weight)
        if isinstance(y_true, Value) or isinstance(y_pred, Value):
            of_values: Any = importlib.import_module("minitl.losses.of_values")
            return of_values.loss_of(self, y_true, y_pred, sample_weight)
        if isinstance(y_true, Traced):
            return reduced(self._of_traced_targets(y_true, y_pred), sample_weight, self.reduction)
        if not isinstance(y_pred, Traced):
            y_pred = np.asarray(y_pred)
            if y_pred.dtype.kind != "f":
                y_pred = y_pred.astype(np.float32)
        p = y_pred.value if isinstance(y_pred, Traced) else y_pred
        if self.reduction != MEAN and type(self).forward is Loss.forward:
            weights = self.counted(np.asarray(y_true), p, sample_weight)
            values = reduced(self.values(np.asarray(y_true), y_pred, self.from_logits), weights, self.reduction)
            return values if isinstance(values, Traced) else as_result(float(values) if values.ndim == 0 else values)
        weights = None if sample_weight is None else np.asarray(sample_weight, p.dtype)
        found, cache = compute(self, np.asarray(y_true), p, weights, self.from_logits)
        if isinstance(y_pred, Traced):  # inside another loss
            return Traced(found, [y_pred], lambda dy: [dy * backpropagate(self, cache)])
        return as_result(float(found))

    def rows_last(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Targets and predictions with their rows along the last axis; class numbers have no such axis."""
        if self.row_axis == -1:
            return y_true, y_pred
        have_rows = np.ndim(y_true) == np.ndim(y_pred)
        return np.moveaxis(y_true, self.row_axis, -1) if have_rows else y_true, np.moveaxis(y_pred, self.row_axis, -1)

    def _of_traced_targets(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of every row by its formula, so that targets have a gradient, too."""
        plain = type(self)().get_config()
        settings = {name: value for name, value in self.get_config().items() if plain.get(name) != value}
        settings.pop("reduction", None)
        if self.formula is None or settings.keys() - inspect.signature(self.formula).parameters.keys():
            advice = "put stop_gradient() around them, if they are to have none"
            raise TypeError(f"loss {self.name}: no formula for the gradient of its targets as it is set; {advice}")
        return self.formula(y_true, y_pred, **settings)

    def values(self, y_true: np.ndarray, y_pred: Any, from_logits: bool = False) -> Any:
        """The loss of every row of predictions, recorded if they are.

        Shapes: y_pred (..., n), an array or traced; of the result (...).
        """
        if hasattr(self, "call"):
            return self.call(*self._fitting(y_true, y_pred))
        p = y_pred.value if isinstance(y_pred, Traced) else y_pred
        values = self.of_rows(self.prepare(y_true, p), p, from_logits)
        return self._recorded(y_true, y_pred, values, from_logits) if isinstance(y_pred, Traced) else values

    def of_rows(self, targets: np.ndarray, y_pred: np.ndarray, from_logits: bool) -> np.ndarray:
        """The loss of every row, of targets as `prepare` gives them."""
        return self.formula(targets, y_pred, from_logits) if self.activation else self.formula(targets, y_pred)

    def _recorded(self, y_true: np.ndarray, y_pred: Traced, values: np.ndarray, from_logits: bool) -> Traced:
        """Losses of rows with their gradients: those of a mean, with dy as weights."""

        def pullback(dy: Any) -> list[np.ndarray]:
            p, single = y_pred.value, self.losses_shape(y_pred.value)
            weights = np.asarray(dy * values.size, p.dtype)
            weights = weights if weights.shape == single else np.broadcast_to(weights[..., None], single)
            return [self.backpropagate(self.compute(y_true, p, np.ascontiguousarray(weights), from_logits)[1])]

        return Traced(values, [y_pred], pullback)

    def compute(self, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None, from_logits: bool) -> tuple[float, Any]:
        """The loss, and what backpropagate needs; weights (N,), or one for every single loss, or None."""
        if hasattr(self, "call"):
            return self._of_record(y_true, y_pred, weights, from_logits)
        targets = self.prepare(y_true, y_pred)
        if weights is not None:
            weights = self.spread(weights, self.losses_shape(y_pred))
        arguments = (from_logits,) if self.activation else ()
        return op(self.operation).forward(y_pred, targets, weights, *arguments)

    def backpropagate(self, cache: Any) -> np.ndarray:
        """The gradient with respect to what compute got as y_pred."""
        if hasattr(self, "call"):
            return gradients(cache[0], [cache[1]])[0]
        return op(self.operation).backward(1.0, cache)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None, from_logits: bool) -> float:
        """The loss, remembered for `backward`."""
        loss, self._kept = self._by_reduction(y_true, y_pred, weights, from_logits)
        return loss

    def backward(self) -> np.ndarray:
        """The gradient with respect to what forward got as y_pred."""
        return self._gradient(self._kept)

    def counted(self, y_true: np.ndarray, y_pred: np.ndarray, weights: Any) -> Any:
        """Sample weights with those of targets that a loss leaves out, if it does: the mean is that of the others."""
        return weights

    def spread(self, weights: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Sample weights for every single loss.

        Errors: ValueError unless there is one for each sample, for each row, or for each loss.
        """
        if weights.shape == shape:
            return weights
        if weights.shape == shape[: weights.ndim]:
            return np.broadcast_to(weights.reshape(weights.shape + (1,) * (len(shape) - weights.ndim)), shape)
        if weights.size != shape[0]:
            raise wrong_shape(f"loss {self.name}: sample_weight", (shape[0],), weights.shape, "give one weight for each sample")
        return np.broadcast_to(weights.reshape(-1, *[1] * (len(shape) - 1)), shape)

    def prepare(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Targets as the op needs them.

        Errors: ValueError when their shape does not fit the predictions.
        """
        if y_true.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
            y_true = y_true[..., None]
        if y_true.shape != y_pred.shape:
            raise wrong_shape(f"loss {self.name}: targets", y_pred.shape, y_true.shape, "one target for every output")
        return y_true.astype(y_pred.dtype, copy=False)

    def losses_shape(self, y_pred: np.ndarray) -> tuple[int, ...]:
        """The shape of the single losses, before their mean."""
        return y_pred.shape

    @property
    def name(self) -> str:
        """The name given, or the class's."""
        return self._name or type(self).__name__

    def _by_reduction(
        self, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None, from_logits: bool
    ) -> tuple[float, Any]:
        """The number that the reduction gives, and what `_gradient` needs."""
        if self.reduction != MEAN:
            return self._of_record(y_true, y_pred, weights, from_logits)
        return self.compute(y_true, y_pred, self.counted(y_true, y_pred, weights), from_logits)

    def _gradient(self, cache: Any) -> np.ndarray:
        return self.backpropagate(cache) if self.reduction == MEAN else gradients(cache[0], [cache[1]])[0]

    def _of_record(
        self, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None, from_logits: bool
    ) -> tuple[float, Any]:
        """The weighted losses of all rows made to one number; and that number and the predictions, traced.

        Errors: TypeError for values that were not recorded.
        """
        p = Traced(y_pred)
        values = self.values(y_true, p, from_logits)
        if not isinstance(values, Traced):
            raise TypeError(
                f"loss {self.name}: its value does not depend on y_pred, or left the record on its way; it must be made of "
                f"NumPy's or minitl.backend's functions of y_pred, got {type(values).__name__}"
            )
        found = reduced(values, self.counted(y_true, y_pred, weights), self.reduction)
        return float(found.value), (found, p)

    def _fitting(self, y_true: np.ndarray, y_pred: Any) -> tuple[np.ndarray, Any]:
        """Targets with the axes and the dtype of the predictions, where they are one number per output."""
        if y_true.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
            y_true = y_true[..., None]
        return (y_true.astype(y_pred.dtype, copy=False) if y_true.ndim == y_pred.ndim else y_true), y_pred

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = constructor_arguments(self, skip=("name", "reduction", "axis", "dtype"))
        if self.row_axis != -1:
            config["axis"] = self.row_axis
        return config if self.reduction == MEAN else {**config, "reduction": self.reduction}


def compute(
    loss: Loss, y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None, from_logits: bool
) -> tuple[float, Any]:
    """Any loss's number and cache: one of the user's has a forward of its own, and keeps in self what its backward needs.

    Errors: TypeError for targets that are no numbers.
    """
    if y_true.dtype.kind not in "iufb":
        advice = "give class numbers, np.unique(labels, return_inverse=True)[1], or one-hot rows"
        raise TypeError(f"loss {loss.name}: targets must be numbers, got dtype {y_true.dtype}; {advice}")
    if type(loss).forward is not Loss.forward:
        return loss.forward(y_true, y_pred, weights, from_logits), None
    return loss._by_reduction(*loss.rows_last(y_true, y_pred), weights, from_logits)


def backpropagate(loss: Loss, cache: Any) -> np.ndarray:
    """Any loss's gradient."""
    if type(loss).backward is not Loss.backward:
        return loss.backward()
    return np.moveaxis(loss._gradient(cache), -1, loss.row_axis) if loss.row_axis != -1 else loss._gradient(cache)
