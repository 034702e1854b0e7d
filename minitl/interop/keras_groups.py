"""The groups in which a `.weights.h5` keeps layers: a model's by class and number, those that an object holds by attribute.

    layers/dense        layers/block/vars        layers/block/a        layers/block/norms/layer_normalization_1

A model that is a class with a `call` is walked as Keras walks it: its attributes in the order of their names, of which one is
`layers`, all that the attributes before it have not named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from minitl.interop.keras_description import keras_classes
from minitl.layers import InputLayer, Layer
from minitl.layers.holding import held_in
from minitl.layers.known import is_ours
from minitl.models import Sequential, TimeDistributedModel
from minitl.models.structure import OF_MODELS


def keras_places(model: Any, as_described: bool) -> dict[str, str]:
    """Where a `.weights.h5` keeps each layer that has weights: its path here -> its group there.

    `as_described`, where the file belongs to a description, in which every model is a Functional or a Sequential one.
    """
    paths = {id(layer): path for path, layer in model.named_layers()}
    found: dict[str, str] = {}
    for group, layer in parts(model, as_described):
        for place, inner in groups_of(layer, group, as_described):
            if id(inner) in paths and (inner.parameters or inner.state):
                found.setdefault(paths[id(inner)], place)
    return found


def groups_of(layer: Any, group: str, as_described: bool) -> Iterator[tuple[str, Any]]:
    """A layer and those in it, each with its group; of a model, those in it."""
    if not layer.is_container:
        yield group, layer
    for place, inner in parts(layer, as_described):
        yield from groups_of(inner, f"{group}/{place}", as_described and layer.is_container)


def parts(layer: Any, as_described: bool) -> list[tuple[str, Any]]:
    """The groups in which Keras 3 keeps what a model or a layer consists of, with our layers."""
    if isinstance(layer, TimeDistributedModel):
        return [("layer", layer.layer)]
    if not layer.is_container:
        return _held(layer)
    if layer.has_own_call and not as_described:
        return _of_class(layer)
    layers = [inner for inner in layer.layers if not (isinstance(layer, Sequential) and isinstance(inner, InputLayer))]
    named = [(inner, kind) for inner in layers for kind in _classes(inner, as_described)]
    groups = numbered([kind for _, kind in named])
    return [(f"layers/{group}", inner) for group, (inner, _) in zip(groups, named, strict=True)]


def numbered(classes: list[str]) -> Iterator[str]:
    """Groups for layers of some classes: dense, dense_1, dropout, dense_2."""
    used: dict[str, int] = {}
    for name in map(_snake, classes):
        count = used.get(name, 0)
        used[name] = count + 1
        yield f"{name}_{count}" if count else name


def _held(layer: Any) -> list[tuple[str, Any]]:
    """The layers that a layer of the user's holds: by attribute, in the order of names, those with _ last."""
    inside = {id(inner) for _, inner in layer.sublayers()}
    found: list[tuple[str, Any]] = []
    for name in sorted(vars(layer), key=_order):
        for group, inner in _in_attribute(vars(layer)[name], name):
            if id(inner) in inside:
                inside.remove(id(inner))  # one that is held twice is in its first place
                found.append((group, inner))
    return found


def _of_class(model: Any) -> list[tuple[str, Any]]:
    """The layers that the call of a model uses, by attribute, or by class and number in the order in which they were assigned."""
    used = [layer for layer in model.layers if not isinstance(layer, InputLayer)]
    attributes = {name: value for name, value in vars(model).items() if name not in OF_MODELS}
    assigned = [layer for name, value in attributes.items() for _, layer in held_in(value, name)]
    tracked = list({id(layer): layer for layer in [*assigned, *used]}.values())
    groups = numbered([_classes(layer, False)[0] for layer in tracked])
    before = sorted(name for name in attributes if _order(name) < "layers")
    places = [place for name in before for place in _in_attribute(attributes[name], name)]
    places += [(f"layers/{group}", layer) for group, layer in zip(groups, tracked, strict=True)]
    first = {id(layer): group for group, layer in reversed(places)}
    return [(first[id(layer)], layer) for layer in used]


def _in_attribute(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The layers in an attribute's value, alone or in lists and dictionaries, with their groups."""
    if isinstance(value, Layer):
        yield place, value
        return
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    items = [item for item in items if isinstance(item, (Layer, dict, list, tuple))]
    names = numbered([_classes(item, False)[0] if isinstance(item, Layer) else "container" for item in items])
    for name, item in zip(names, items, strict=True):
        yield from _in_attribute(item, f"{place}/{name}")


def _classes(layer: Any, as_described: bool) -> list[str]:
    """The classes that stand for a layer in Keras; a model of a class of its own goes by that, where nothing describes it."""
    kind = type(layer)
    if layer.is_container and not as_described and not is_ours(kind):
        return [kind.__name__]
    return keras_classes(layer)


def _order(attribute: str) -> str:
    return f"~{attribute}" if attribute.startswith("_") else attribute


def _snake(name: str) -> str:
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
