"""Where a network's head begins: the Dense layer at the top, with the activations and rescalings that stand on it."""

from __future__ import annotations

import itertools

from minitl.graph.value import Value
from minitl.layers.activations import ActivationOnly
from minitl.layers.base import Layer
from minitl.layers.core import Dense
from minitl.layers.scaling import Rescaling
from minitl.models import Model, Sequential


def height_of_head(model: Model, caller: str) -> int:
    """How many of the top layers are the head; 0 where there is none.

    Errors: ValueError for a network with several outputs; `caller` is named in it.
    """
    above, dense = _above_dense(model, caller)
    return 0 if dense is None else above + 1


def top_dense(model: Model) -> Dense | None:
    """The Dense layer of the head, or None where there is none.

    Errors: ValueError for a network with several outputs.
    """
    return _above_dense(model, "fine_tune")[1]


def under(model: Model, count: int, caller: str) -> Value:
    """The value under the top `count` layers of a network with one output.

    Errors: ValueError for several outputs, a layer on the way that takes several values, or when no layer would stay.
    """
    if len(model.outputs) != 1:
        raise ValueError(f"{caller}: the model has {len(model.outputs)} outputs; say where to cut with truncate(model, at)")
    value = model.outputs[0]
    for _ in range(count):
        takes = value.node.inputs
        if len(takes) > 1:
            raise ValueError(f"{caller}: {value.node.layer.label} takes {len(takes)} values; cut with truncate(model, at)")
        if not takes or takes[0] in model.inputs:
            raise ValueError(f"{caller}: cannot take {count} layers off; at least one must stay")
        value = value.node.inputs[0]
    return value


def _above_dense(model: Model, caller: str) -> tuple[int, Dense | None]:
    """How many activations and rescalings are at the top, and the Dense layer under them, if it is one."""
    layers = model.layers[::-1] if isinstance(model, Sequential) else _from_the_top(under(model, 0, caller))
    above = sum(1 for _ in itertools.takewhile(lambda layer: isinstance(layer, (ActivationOnly, Rescaling)), layers))
    top = layers[above] if above < len(layers) else None
    return above, top if isinstance(top, Dense) else None


def _from_the_top(value: Value) -> list[Layer]:
    """The layers that lead to a value, down to an input or to where values meet."""
    layers = []
    while len(value.node.inputs) == 1:
        layers.append(value.node.layer)
        value = value.node.inputs[0]
    return layers
