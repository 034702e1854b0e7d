"""The groups in which a `.weights.h5` keeps layers: those of a model by class and number, those that a layer holds by attribute.

    layers/dense        layers/block/vars        layers/block/a        layers/block/norms/layer_normalization_1

Paths are written here without `layers`, which stands in front of what a model has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from minitl.interop.keras_description import keras_class
from minitl.layers import InputLayer, Layer
from minitl.models import Sequential, TimeDistributedModel


def keras_places(model: Any) -> dict[str, str]:
    """Where a `.weights.h5` keeps each layer that has weights: its path here -> its group there."""
    paths = {id(layer): path for path, layer in model.named_layers()}
    found: dict[str, str] = {}
    for place, layer in parts(model):
        for group, inner in groups_of(layer, place):
            if id(inner) in paths and (inner.parameters or inner.state):
                found.setdefault(paths[id(inner)], group)
    return found


def groups_of(layer: Any, group: str) -> Iterator[tuple[str, Any]]:
    """A layer and those in it, each with its group."""
    if layer.is_container:
        for place, inner in parts(layer):
            yield from groups_of(inner, f"{group}/{place}")
        return
    yield group, layer
    for place, inner in held(layer):
        yield from groups_of(inner, f"{group}/{place}")


def parts(model: Any, expanded: bool = False) -> list[tuple[str, Any]]:
    """The groups in which Keras 3 keeps the parts of a model, with our layers; `expanded`, where several of its stand for one."""
    if isinstance(model, TimeDistributedModel):
        return [("layer", model.layer)]
    layers = [layer for layer in model.layers if not (isinstance(model, Sequential) and isinstance(layer, InputLayer))]
    named = [(layer, kind) for layer in layers for kind in (keras_class(layer, True) if expanded else [keras_class(layer)])]
    return list(zip(numbered([kind for _, kind in named]), (layer for layer, _ in named), strict=True))


def held(layer: Any) -> list[tuple[str, Any]]:
    """The layers that a layer of the user's holds, with their groups inside its own: attributes in order, those with _ last."""
    inside = {id(inner) for _, inner in layer.sublayers()}
    found: list[tuple[str, Any]] = []
    for name in sorted(vars(layer), key=lambda name: f"~{name}" if name.startswith("_") else name):
        value = vars(layer)[name]
        if isinstance(value, Layer):
            here = [(name, value)]
        else:
            listed = list(value.values()) if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
            layers = [item for item in listed if isinstance(item, Layer)]
            groups = numbered([keras_class(item) for item in layers])
            here = [(f"{name}/{group}", item) for group, item in zip(groups, layers, strict=True)]
        for group, inner in here:
            if id(inner) in inside:
                inside.remove(id(inner))  # one that is held twice is in its first place
                found.append((group, inner))
    return found


def numbered(classes: list[str]) -> Iterator[str]:
    """Groups for layers of some classes: dense, dense_1, dropout, dense_2."""
    used: dict[str, int] = {}
    for name in map(_snake, classes):
        count = used.get(name, 0)
        used[name] = count + 1
        yield f"{name}_{count}" if count else name


def _snake(name: str) -> str:
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
