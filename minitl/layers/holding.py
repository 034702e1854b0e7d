"""What a layer holds: the layers that are its attributes, and the flag that freezes it with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minitl.autodiff import plain
from minitl.graph import changes
from minitl.graph.value import Value
from minitl.layers.names import default_name
from minitl.layers.weighted import Weighted

OF_A_CALL = ("_nodes", "_kept", "_record", "_uses", "added_losses")  # what no copy of a layer has


class Holding(Weighted):
    """The layers in a layer, and whether they learn."""

    name: str | None
    is_users: Any
    added_losses: tuple[Any, ...] | list[Any] = ()  # what the last call gave to `add_loss`
    marked: Any = False  # whether steps of zeros are no steps
    given_mask: Any = None  # what a call of the layer says itself
    supports_masking = False  # whether the steps of y stand for those of x, so that some of them may be left out behind it
    steps_of: int | None = 0  # of several inputs, the one whose steps they stand for; None for all

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        changes.note()

    def sublayers(self) -> list[tuple[str, Any]]:
        """The layers that a user's layer holds as attributes, alone or in lists and dictionaries, with their names."""
        return _attributes(self) if self.is_users else []

    def named_layers(self, prefix: str = "", name: str | None = None) -> Iterator[tuple[str, Any]]:
        """This layer under its path, and the layers in it; a model gives the layers in it alone.

        Those of a model in it stand beside its own, without the model's attribute, unless two would have one path.
        """
        path = prefix + (name or self.name or default_name(type(self)))
        yield path, self
        inside = [(attribute, layer, list(layer.named_layers(f"{path}/", attribute))) for attribute, layer in self.sublayers()]
        at: dict[str, set[int]] = {}
        for _, _, found in inside:
            for place, leaf in found:
                at.setdefault(place, set()).add(id(leaf))
        for attribute, layer, found in inside:
            clashes = layer.is_container and any(len(at[place]) > 1 for place, _ in found)
            yield from layer.named_layers(f"{path}/{attribute}/") if clashes else found

    def every_layer(self) -> Iterator[tuple[str, Any]]:
        """`named_layers`, and the layers in wrappers: their weights are the wrapper's, their generators and states not."""
        waiting, seen = list(self.named_layers()), set()
        while waiting:
            path, layer = waiting.pop(0)
            if id(layer) not in seen and not layer.is_container:
                seen.add(id(layer))
                yield path, layer
                waiting += [(f"{path}/{attribute}", inner) for attribute, inner in _attributes(layer)]

    @property
    def losses(self) -> list[float]:
        """What joins the loss beside the outputs': what the last call gave to `add_loss`, and penalties on weights."""
        found: list[float] = []
        for _, leaf in self.named_layers():
            found += [float(np.mean(plain(loss))) for loss in leaf.added_losses]
            penalties = leaf.regularizers.items()
            found += [float(penalty(leaf.parameters[name])) for name, penalty in penalties if name in leaf.parameters]
        return found

    def leave_out(self, values: list[Value]) -> list[Value]:
        """The values that come in, with zeros at the steps that the layer leaves out; most layers leave none out."""
        return values

    def notice_marks(self, values: list[Value]) -> None:
        """Learn from the values that come in whether steps of zeros are to be left out."""

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Which steps count behind the layer; most layers leave a mask as it is."""
        return mask

    @property
    def trainable(self) -> bool:
        """Whether training may change the layer."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for _, layer in self.sublayers():
            layer.trainable = value

    @property
    def learns(self) -> bool:
        """Whether training changes something in it now."""
        return self._trainable and (bool(self.parameters) or any(layer.learns for _, layer in self.sublayers()))

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name not in OF_A_CALL}
        return {**kept, "_variables": {}}


def held_in(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The layers in an attribute's value, alone or in lists and dictionaries, also within each other, with their names."""
    if isinstance(value, Holding):
        yield name, value
    elif isinstance(value, (list, tuple, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from held_in(item, f"{name}_{key}")


def _attributes(layer: Holding) -> list[tuple[str, Any]]:
    kept = [(name, value) for name, value in list(vars(layer).items()) if name not in OF_A_CALL]
    found = dict(found for name, value in kept for found in held_in(value, name))
    first = {id(inner): name for name, inner in reversed(found.items())}  # one that is held twice counts once
    return [(name, inner) for name, inner in found.items() if first[id(inner)] == name]
