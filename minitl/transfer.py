"""Transfer: keep what a network has learnt, and teach it something else.

The base is what is kept, the head the layers on top that belong to the old task. Freezing a layer is its own flag,
`layer.trainable = False`, and takes effect on the next batch; the functions here set it for many layers by name.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from minitl.errors import unknown
from minitl.layers.base import Layer
from minitl.models import Sequential


def freeze(model: Sequential, names: str | Iterable[str] = "*") -> list[str]:
    """Freeze the layers whose names match, and return their names.

    `names` is a name or a pattern ("conv*"), or several; layers inside a container are `container/layer`.
    Errors: ValueError for a pattern that matches no layer.
    """
    return _set_trainable(model, names, False)


def unfreeze(model: Sequential, names: str | Iterable[str] = "*") -> list[str]:
    """Make the layers whose names match trainable again, and return their names.

    Errors: ValueError for a pattern that matches no layer.
    """
    return _set_trainable(model, names, True)


def replace_head(model: Sequential, *head: Layer, remove: int = 1) -> Sequential:
    """A new model: the same layers without the top `remove` ones, and a new head on them.

    The base's layers are shared, not copied: what is trained in one model is trained in the other. The new model is not
    compiled yet.
    Errors: ValueError when nothing of the model would be left.
    """
    if not 0 <= remove < len(model.layers):
        raise ValueError(f"replace_head: cannot take {remove} of {len(model.layers)} layers off; at least one must stay")
    kept = model.layers[: len(model.layers) - remove]
    new = Sequential(name=model.name)
    new.declared_shape = model.declared_shape
    for layer in [*kept, *head]:
        new.add(layer)
    return new


def _set_trainable(model: Sequential, names: str | Iterable[str], trainable: bool) -> list[str]:
    layers = dict(model.walk())
    matched: list[str] = []
    for pattern in [names] if isinstance(names, str) else names:
        found = [name for name in layers if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            raise unknown("layer name or pattern", pattern, layers)
        matched += [name for name in found if name not in matched]
    for name in matched:
        layers[name].trainable = trainable
    return matched
