"""Taking networks apart and putting them together: another head, a network cut off at a layer."""

from __future__ import annotations

import copy as copying

from minitl.errors import unknown
from minitl.layers.base import Layer
from minitl.layers.core import Dense
from minitl.models import Sequential


def replace_head(model: Sequential, *head: Layer | int, remove: int = 1, copy: bool = False) -> Sequential:
    """A new model: the same layers without the top `remove` ones, and a new head on them.

    `head` is a number of classes (a Dense layer with softmax that starts at zero, so that the first gradients into the base
    are those of an unprejudiced guess), or layers. The base's layers are shared, what is trained in one model is trained in
    the other; `copy=True` gives the new model its own. It is not compiled yet.
    Errors: ValueError when nothing of the model would be left, or for fewer than two classes.
    """
    if not 0 <= remove < len(model.layers):
        raise ValueError(f"replace_head: cannot take {remove} of {len(model.layers)} layers off; at least one must stay")
    new = _base(model, len(model.layers) - remove, copy)
    for layer in head:
        if isinstance(layer, int):
            if layer < 2:
                raise ValueError(f"replace_head: a head needs at least two classes, got {layer}")
            layer = Dense(layer, activation="softmax", kernel_initializer="zeros")
        new.add(layer)
    return new


def truncate(model: Sequential, at: str | int, copy: bool = False) -> Sequential:
    """The layers up to and including one, by name or position, as a model; shared, or copied.

    Errors: ValueError for a layer that is not there.
    """
    return _base(model, position_of(model, at) + 1, copy)


def feature_extractor(model: Sequential, at: str | int | None = None) -> Sequential:
    """A frozen copy of the network up to a layer, by default the one under the head: it turns pictures into features.

    Errors: ValueError for a layer that is not there.
    """
    extractor = truncate(model, len(model.layers) - 2 if at is None else at, copy=True)
    extractor.trainable = False
    extractor.fold = False  # bitwise what the layers give inside the whole network while that trains
    return extractor


def position_of(model: Sequential, at: str | int) -> int:
    """The position of a layer, by its name or its position.

    Errors: ValueError for a layer that is not there.
    """
    names = [str(layer.name) for layer in model.layers]
    if isinstance(at, str):
        if at not in names:
            raise unknown("layer", at, names)
        return names.index(at)
    if not -len(names) <= at < len(names):
        raise ValueError(f"position {at} is outside the {len(names)} layers: {', '.join(names)}")
    return at % len(names)


def _base(model: Sequential, count: int, copy: bool) -> Sequential:
    new = Sequential(name=model.name)
    new.declared_shape, new.preprocessing = model.declared_shape, model.preprocessing
    for layer in model.layers[:count]:
        new.add(copying.deepcopy(layer) if copy else layer)
    return new
