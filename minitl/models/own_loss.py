"""A `compute_loss` of a model's own, as Keras has it for distillation:

    class Distiller(Model):
        def call(self, x):
            return self.student(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return self.student_loss(y, y_pred) + self.distillation_loss(self.teacher(x, training=False), y_pred)

It is called once, on values that stand for a batch; what it gives is added to the loss of a network that takes targets and sample
weights as more inputs, and shares all layers with the model.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from typing import Any

import numpy as np

from minitl.graph.graph import Graph, leading_to
from minitl.graph.value import Value
from minitl.layers.added_loss import AddedLoss
from minitl.layers.core import InputLayer

NAMES = ("x", "y", "y_pred", "sample_weight")


def with_own_loss(model: Any, targets: list[Any], weights: list[Any]) -> tuple[Any, list[int]]:
    """The network that takes such targets and sample weights too, None for what the data do not have; and the places of those
    that it uses.

    Of several numbers that compute_loss() gives, the mean is trained.
    Errors: TypeError for a compute_loss() that gives no value of the network.
    """
    outputs = list(model.graph.outputs)
    y, own = (
        [_standing_for(array, f"{what}_{number}", outputs[0].dtype) for number, array in enumerate(arrays)]
        for what, arrays in (("target", targets), ("sample_weight", weights))
    )
    found = model.compute_loss(**_taken(model.compute_loss, model.graph.inputs, y, outputs, own))
    if not isinstance(found, Value):
        raise TypeError(f"{model.label}: compute_loss() must give what its layers, losses and functions give, got {found!r}")
    used = leading_to(found)
    taken = {place: value for place, value in enumerate((*y, *own)) if value is not None and value in used}
    network = with_loss_beside(model, found, list(taken.values()))
    known = {id(layer) for _, layer in model.named_layers()}
    beside = [path for path, layer in network.named_layers() if id(layer) not in known and layer.trainable and layer.parameters]
    if beside:
        warnings.warn(
            f"{model.label}: compute_loss() uses layers that call() does not, and which are not trained: {', '.join(beside)}; "
            "use them in call(), or freeze them to say so",
            stacklevel=2,
        )
    return network, list(taken)


def with_loss_beside(model: Any, loss: Value, entries: list[Value]) -> Any:
    """The network of a model's layers and outputs that takes more values in, of which a loss is computed that joins the trained
    one.
    """
    models: Any = importlib.import_module("minitl.models")
    inputs, outputs = list(model.graph.inputs), list(model.graph.outputs)
    network = models.Model(inputs, outputs)
    if len(outputs) > 1:
        network.loss = [None] * len(outputs)
    losses = [*model.graph.added_losses, AddedLoss(dtype=loss.dtype)(loss)]
    network._adopt(Graph([*inputs, *entries], outputs, model.label, losses))
    return network


def _standing_for(array: Any, name: str, dtype: np.dtype) -> Value | None:
    """A value for what comes in batches; what is no whole number comes in the outputs' dtype."""
    if array is None:
        return None
    array = np.asarray(array)
    kind = array.dtype if array.dtype.kind in "iu" else dtype
    return InputLayer(array.shape[1:], dtype=kind, name=name).value


def _taken(function: Any, *parts: Any) -> dict[str, Any]:
    """What the method takes of a batch: one value where there is one, a list of several, None where the data have none."""
    parameters = inspect.signature(function).parameters
    everything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    given = {name: part[0] if len(part) == 1 else list(part) for name, part in zip(NAMES, parts, strict=True)}
    given.update({name: None for name, part in zip(NAMES, parts, strict=True) if all(value is None for value in part)})
    return {name: value for name, value in given.items() if name in parameters or everything}
