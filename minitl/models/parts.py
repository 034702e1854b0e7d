"""Parts of networks: without models inside, up to a value, and what one of the layers gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minitl.errors import unknown
from minitl.graph.graph import Graph, leading_to
from minitl.graph.value import Node, Value, use
from minitl.layers.base import Layer
from minitl.layers.names import free_name
from minitl.models.model import Model


def opened(model: Model) -> Model:
    """The same layers in one graph, without models inside; the model itself where there are none."""
    if not any(layer.is_container for layer in model.layers):
        return model
    values = {value: value for value in model.graph.inputs}
    _call_all(model.graph, values)
    flat = assembled(list(model.graph.inputs), [values[value] for value in model.graph.outputs], model.name)
    return _recorded_as(model, flat)


def assembled(inputs: Any, outputs: Any, name: str | None = None) -> Model:
    """A model of layers that come from several ones, where two of them had the same name: the second gets a number here."""
    ends = outputs if isinstance(outputs, list) else [outputs]
    names = [layer.name for layer in Graph(inputs if isinstance(inputs, list) else [inputs], ends, "Model").layers]
    return (Model if len(set(names)) == len(names) else Part)(inputs, outputs, name=name)


class Part(Model):
    """A model of another one's layers, of which two have the same name."""

    saved_as = "Model"

    def _free_name(self, layer: Layer) -> str:
        return free_name(str(layer.name), set(self._names.values()))


def value_of(model: Model, path: str, flat: Model) -> Value:
    """What a layer gives where it is used first in `flat`, which is the model opened.

    `path` is a layer's name, that of a layer of a model inside, `model/layer`, or that of a model inside, whose output it is.
    Errors: ValueError for a layer that is not there.
    """
    layer = _layer_at(model, path)
    made = [value for node in flat.graph.nodes if node.layer is layer for value in node.outputs]
    return next(iter(made or [value for value in flat.graph.inputs if value.node.layer is layer]))


def part_of(model: Model, value: Value, graph: Graph | None = None) -> Model:
    """The part of a network that a value depends on."""
    return _recorded_as(model, between((model.graph if graph is None else graph).inputs, value, model.name))


def between(ends: Sequence[Value], value: Value, name: str | None = None) -> Model:
    """What leads to a value from others: from those of `ends` that are met on the way down, which goes no further there."""
    needed = leading_to(value, ends)
    return assembled([end for end in ends if end in needed], value, name)


def call_again(node: Node, values: dict[Value, Value], training: bool | None) -> None:
    """Use a node's layer once more, on the values that stand for its inputs, and note those that stand for its outputs."""
    values.update(zip(node.outputs, use(node.layer, [values[value] for value in node.inputs], training), strict=True))


def _recorded_as(model: Model, new: Model) -> Model:
    """`new` with the dtype and the record of `model`."""
    new.dtype = model.dtype
    new._take_record(model)
    return new


def _layer_at(model: Model, path: str) -> Layer:
    layers = dict(model.named_layers())
    if path in layers:
        return layers[path]
    one: Any = model
    for name in path.split("/"):
        inside = {one._names[layer]: layer for layer in one.layers} if one.is_container else {}
        if name not in inside:
            raise unknown("layer", path, [*layers, *(model._names[layer] for layer in model.layers if layer.is_container)])
        one = inside[name]
    while one.is_container:
        one = one.graph.outputs[0].node.layer
    return one


def _call_all(graph: Graph, values: dict[Value, Value], training: bool | None = None) -> None:
    """Use the layers of a graph again, those of models inside too, whose call may have fixed `training` for all of them."""
    for node in graph.nodes:
        fixed = training if node.training is None else node.training
        if not node.layer.is_container:
            call_again(node, values, fixed)
            continue
        inside = node.layer.graph
        within = {own: values[given] for own, given in zip(inside.inputs, node.inputs, strict=True)}
        _call_all(inside, within, fixed)
        values.update({out: within[own] for out, own in zip(node.outputs, inside.outputs, strict=True)})
