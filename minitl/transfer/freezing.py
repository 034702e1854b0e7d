"""Which layers learn: a flag of each layer, set for many at once by name, pattern, position, or depth."""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Iterable, Iterator
from typing import Any

from minitl.errors import unknown
from minitl.layers.base import Layer
from minitl.models import Model

Names = str | int | Iterable[str | int]


def freeze(model: Model, names: Names = "*", *, upto: str | None = None, depth: int | None = None) -> list[str]:
    """Freeze layers, and return their names.

    `names` is a name, a pattern ("conv*") or a position, or several of them; layers inside a container are `container/layer`,
    and the container's name stands for all of them.
    `upto` freezes from the bottom to that layer, `depth` the lowest so many layers that have weights.
    Errors: ValueError for a pattern that matches no layer (it lists the names), or a position or depth that is not there.
    """
    return _set_trainable(model, select(model, names, upto, depth), False)


def unfreeze(model: Model, names: Names = "*", *, upto: str | None = None, depth: int | None = None) -> list[str]:
    """Make layers trainable again, and return their names; chosen as for `freeze`.

    Errors: ValueError as `freeze`.
    """
    return _set_trainable(model, select(model, names, upto, depth), True)


@contextlib.contextmanager
def frozen(model: Model, names: Names = "*", *, upto: str | None = None, depth: int | None = None) -> Iterator[list[str]]:
    """Freeze layers inside a `with` block; afterwards every layer's flag is what it was.

    Errors: ValueError as `freeze`.
    """
    before = [(layer, layer.trainable) for _, layer in model.named_layers()]
    try:
        yield freeze(model, names, upto=upto, depth=depth)
    finally:
        for layer, flag in before:
            layer.trainable = flag


def select(model: Model, names: Names = "*", upto: str | None = None, depth: int | None = None) -> list[str]:
    """The names that a pattern, position, `upto` or `depth` stands for, bottom first.

    Errors: ValueError as `freeze`.
    """
    layers = dict(model.named_layers())
    order = list(layers)
    if upto is not None:
        below = [upto] if upto in layers else [name for name in order if name.startswith(f"{upto}/")]
        if not below:
            raise unknown("layer", upto, layers)
        return order[: order.index(below[-1]) + 1]
    if depth is not None:
        weighted = [name for name in order if layers[name].weights]
        if not 0 <= depth <= len(weighted):
            raise ValueError(f"depth {depth}: the model has {len(weighted)} layers with weights: {', '.join(weighted)}")
        return order[: order.index(weighted[depth - 1]) + 1] if depth else []
    matched: set[str] = set()
    for pattern in [names] if isinstance(names, (str, int)) else names:
        if isinstance(pattern, int):
            if not -len(order) <= pattern < len(order):
                raise ValueError(f"position {pattern} is outside the {len(order)} layers: {', '.join(order)}")
            matched.add(order[pattern])
            continue
        found = fnmatch.filter(order, pattern) or fnmatch.filter(order, f"{pattern}/*")
        if not found:
            error = unknown("layer name or pattern", pattern, layers)
            raise ValueError(f"{error}; the layers are {', '.join(order)}")
        matched.update(found)
    return [name for name in order if name in matched]


def _set_trainable(model: Model, names: list[str], trainable: bool) -> list[str]:
    layers: dict[str, Any] = dict(model.named_layers())
    for name in names:
        layers[name].trainable = trainable
    return names


def weighted(model: Model) -> list[tuple[str, Layer]]:
    """The layers that have weights, with their paths, bottom first."""
    return [(path, layer) for path, layer in model.named_layers() if layer.weights]
