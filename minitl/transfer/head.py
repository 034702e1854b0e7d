"""Where a network's head begins: the Dense layer at the top, with the activations and rescalings that stand on it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from minitl.graph.value import Value
from minitl.layers.activations import ActivationOnly
from minitl.layers.base import Layer
from minitl.layers.core import Dense
from minitl.layers.scaling import Rescaling


def height_of_head(layers: Sequence[Layer]) -> int:
    """How many of some layers, the topmost first, are the head; 0 where there is none."""
    above = sum(1 for _ in itertools.takewhile(lambda layer: isinstance(layer, (ActivationOnly, Rescaling)), layers))
    return above + 1 if above < len(layers) and isinstance(layers[above], Dense) else 0


def layers_under(value: Value) -> list[Layer]:
    """The layers that lead to a value, the topmost first, down to an input or to where values meet."""
    layers = []
    while len(value.node.inputs) == 1:
        layers.append(value.node.layer)
        value = value.node.inputs[0]
    return layers


def under(value: Value, count: int) -> Value:
    """What the top `count` of these layers are given."""
    for _ in range(count):
        value = value.node.inputs[0]
    return value
