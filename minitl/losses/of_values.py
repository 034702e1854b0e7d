"""A loss as a part of a network, as `losses.MeanSquaredError()(y_true, y_pred)` of two values makes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl import losses
from minitl.autodiff import Traced, gradients, plain
from minitl.errors import no_targets
from minitl.graph.plan import Need
from minitl.graph.value import Shape, Value
from minitl.layers.base import Layer
from minitl.layers.core import InputLayer
from minitl.layers.output_shape import of_two_batches


class LossOf(Layer):
    """The loss of predictions, both of which are values of the network.

    Formula: y = loss(y_true, y_pred); dx by the loss's own gradient.
    Parameters: `loss`, a `Loss` or its name; `targets_learn` (False) says whether y_true gets a gradient too, as an output does.
    Shapes: y_true, y_pred and perhaps sample weights come in; the result is one number, or with reduction="none" one per row.
    Errors: TypeError for targets with a gradient and a loss that has none for them.
    """

    takes_several = True

    def __init__(self, loss: Any, targets_learn: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.loss, self.targets_learn = losses.get(loss), targets_learn

    def compute(self, x: Any, training: bool) -> tuple[np.ndarray, Any]:
        """The loss."""
        parts = Traced(x[0]), Traced(x[1])
        y = self.loss(parts[0] if self.targets_learn else x[0], parts[1], *x[2:])
        return np.asarray(plain(y), self.dtype), (parts, x[2:], y)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[Any, dict[str, np.ndarray]]:
        """Gradients of targets and predictions; zeros for what is data."""
        parts, rest, y = cache
        return [*gradients(y, list(parts), dy), *(np.zeros_like(weights) for weights in rest)], {}

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """That of two batches, tried."""
        return of_two_batches(
            input_shape, lambda sizes: self.compute([np.ones(size, self.dtype) for size in sizes], False)[0].shape
        )


def loss_of(loss: Any, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Value:
    """A loss of values as a value; data that come in have no gradient.

    Errors: TypeError where one of targets and predictions is no value; ValueError without targets.
    """
    if y_true is None:
        raise no_targets(f"loss {loss.name}: ")
    if not (isinstance(y_true, Value) and isinstance(y_pred, Value)):
        raise TypeError(f"loss {loss.name}: y_true and y_pred must both be values here, or both arrays")
    data = isinstance(y_true.node.layer, InputLayer) or y_true.dtype.kind != "f"
    return LossOf(loss, not data, dtype=y_pred.dtype)([y_true, y_pred, *([] if sample_weight is None else [sample_weight])])
