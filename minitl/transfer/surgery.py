"""Taking networks apart and putting them together: another head, a network cut off at a layer."""

from __future__ import annotations

import copy as copying
from collections.abc import Container
from typing import Any

import numpy as np

from minitl.errors import unknown
from minitl.graph.graph import Graph
from minitl.graph.value import Value
from minitl.layers.base import Layer
from minitl.layers.core import Dense, Input
from minitl.models import Model, Sequential
from minitl.models.parts import assembled, call_again, opened, part_of
from minitl.transfer.head import height_of_head, under


def replace_head(model: Model, *head: Layer | int, remove: int | None = None, copy: bool = True) -> Any:
    """A new model: the same network without the top `remove` layers, and a new head on it.

    By default that is the head: the Dense layer at the top, with activations and rescalings that stand on it. `head` is a number
    of classes (a Dense layer with softmax that starts at zero, so that the first gradients into the base are those of an
    unprejudiced guess), or layers. The new model has layers of its own, so that `model` stays what it is; with `copy=False` the
    two share the base, and what is trained in one is trained in the other. It is not compiled yet.
    Errors: ValueError for a model without such a head (`remove=0` puts the new one on top of it), when nothing of the model would
    be left, for fewer than two classes, or where the top layer takes several values (cut there with `truncate`, and call layers
    on its output).
    """
    layers = [_head_layer(layer) for layer in head]
    if remove is None:
        remove = height_of_head(model, "replace_head")
        if not remove:
            top = model.layers[-1].label
            raise ValueError(
                f"replace_head: {model.label} ends in {top}, not in a Dense layer: it has no head to replace; "
                "put the new one on top with remove=0, or say with remove= how many layers go"
            )
    if isinstance(remove, bool) or not isinstance(remove, (int, np.integer)):
        raise TypeError(f"replace_head: remove must be a whole number of layers, got {remove!r}")
    if isinstance(model, Sequential):
        if not 0 <= remove < len(model.layers):
            raise ValueError(f"replace_head: cannot take {remove} of {len(model.layers)} layers off; at least one must stay")
        new = _lowest(model, len(model.layers) - remove, copy)
        for layer in layers:
            new.add(layer)
        return new
    source = copying.deepcopy(model) if copy else model
    value = under(source, remove, "replace_head")
    for layer in layers:
        value = layer(value)
    return part_of(source, value)


def truncate(model: Model, at: str | int, copy: bool = True) -> Any:
    """The network up to and including one layer, as a model with layers of its own, or with shared ones (`copy=False`).

    `at` is a name or a position; a layer of a model inside is `model/layer`, and the models on the way to it are opened.
    Errors: ValueError for a layer that is not there, or is used several times.
    """
    if isinstance(at, str) and "/" in at:
        source = copying.deepcopy(model) if copy else model
        layers = dict(source.named_layers())
        if at not in layers:
            raise unknown("layer", at, layers)
        return part_of(source, _made_by(opened(source).graph, layers[at], at))
    layer = model.get_layer(at) if isinstance(at, str) else model.get_layer(index=at)
    position = model.layers.index(layer)
    if isinstance(model, Sequential):
        return _lowest(model, position + 1, copy)
    source = copying.deepcopy(model) if copy else model
    return part_of(source, _made_by(source.graph, source.layers[position], str(at)))


def feature_extractor(model: Model, at: str | int | None = None) -> Any:
    """A frozen copy of the network up to a layer: it turns images into features.

    `at` is a name or a position, by default the layer under the head; of a network without one (see `replace_head`) it is all.
    Errors: ValueError as `truncate`.
    """
    if at is not None:
        extractor = truncate(model, at)
    elif isinstance(model, Sequential):
        extractor = truncate(model, len(model.layers) - 1 - height_of_head(model, "feature_extractor"))
    else:
        source = copying.deepcopy(model)
        extractor = part_of(source, under(source, height_of_head(model, "feature_extractor"), "feature_extractor"))
    extractor.trainable = False
    extractor.fold = False  # bitwise what the layers give inside the whole network while that trains
    return extractor


def split(model: Model, head: Container[str]) -> tuple[Model, Model]:
    """The network under the layers with some paths, and the network of these, which takes what the first gives.

    Models inside are opened, and all layers are shared with `model`.
    Errors: ValueError when more than one value goes from the one to the other, and for a network that adds to its loss.
    """
    if model.adds_loss:
        raise ValueError(f"{model.label}: what it adds to its loss (add_loss) needs the whole network; train without cached=True")
    top = {id(layer) for path, layer in model.named_layers() if path in head}
    graph = opened(model).graph
    nodes = [node for node in graph.nodes if id(node.layer) in top]
    made = {value for node in nodes for value in node.outputs}
    entering = list(dict.fromkeys(value for node in nodes for value in node.inputs if value not in made))
    if len(entering) != 1 or not made.issuperset(graph.outputs):
        raise ValueError(
            f"{model.label}: {len(entering)} values go from the base into the head, and features can stand for one alone; "
            "train without cached=True, or choose another head="
        )
    entry = Input(entering[0].shape[1:], dtype=entering[0].dtype)
    values = {entering[0]: entry}
    for node in nodes:
        call_again(node, values, node.training)
    return part_of(model, entering[0], graph), assembled(entry, [values[value] for value in graph.outputs])


def _head_layer(layer: Layer | int) -> Layer:
    if isinstance(layer, Layer):
        return layer
    if not isinstance(layer, (int, np.integer)):
        raise TypeError(f"replace_head: expected a number of classes, or layers, got {layer!r}")
    if layer < 2:
        raise ValueError(f"replace_head: a head needs at least two classes, got {layer}")
    return Dense(int(layer), activation="softmax", kernel_initializer="zeros")


def _lowest(model: Sequential, count: int, copy: bool) -> Sequential:
    new = Sequential(name=model.name)
    new.declared_shape = model.declared_shape
    new._take_record(model)
    for layer in model.layers[:count]:
        new.add(copying.deepcopy(layer) if copy else layer)
    return new


def _made_by(graph: Graph, layer: Layer, name: str) -> Value:
    values = [value for node in graph.nodes for value in node.outputs if node.layer is layer]
    values += [value for value in graph.inputs if value.node.layer is layer]
    if len(values) != 1:
        raise ValueError(f"truncate: the layer {name!r} gives {len(values)} values; use Model(inputs, the one that you want)")
    return values[0]
