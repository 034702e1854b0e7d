"""Steps that do not count: an output whose steps stand for those of a padded input is judged where these are real.

As in Keras, an Embedding with `mask_zero` or a Masking marks steps, layers that treat each step alone hand the marks on, and at
an output the marked steps are left out of losses and metrics, whose means are over the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl import layers
from minitl.graph.graph import Graph
from minitl.graph.value import Value
from minitl.layers.masking import KEEPS_ZEROS, marks_steps
from minitl.layers.recurrent import Recurrent
from minitl.layers.steps import SamplesAsSteps

HANDS_ON = (  # behind these, but for KEEPS_ZEROS, a left-out step is no step of zeros any more
    layers.Activation, layers.ActivityRegularization, layers.Add, layers.AlphaDropout, layers.Average, layers.BatchNormalization,
    layers.Concatenate, layers.Dense, layers.ELU, layers.GaussianNoise, layers.GroupNormalization, layers.LayerNormalization,
    layers.LeakyReLU, layers.Multiply, layers.PReLU, layers.ReLU, layers.Rescaling, layers.Softmax, layers.Subtract,
    layers.TimeDistributed, SamplesAsSteps,
)  # fmt: skip
Marks = tuple[Any, Value]  # the layer that marks, and the input of the network that it looks at


def masks_of(graph: Graph, arrays: list[np.ndarray]) -> list[np.ndarray | None]:
    """For each output the steps that count, or None where all do.

    Shapes: each (N, T), for an output (N, T, ...).
    """
    if graph.marks is None:
        found: dict[Value, Marks] = {}
        _follow(graph, found, {value: value for value in graph.inputs})
        graph.marks = [found.get(value) for value in graph.outputs]
    return [marks and _counting(marks[0], np.asarray(arrays[graph.inputs.index(marks[1])])) for marks in graph.marks]


def _counting(layer: Any, x: np.ndarray) -> np.ndarray:
    return (x != layer.mask_value).any(axis=-1) if isinstance(layer, layers.Masking) else x != 0


def _follow(graph: Graph, found: dict[Value, Marks], whose: dict[Value, Value]) -> None:
    """Add to `found` who marks the steps of a graph's values; `whose` has the network's inputs by what they are called here."""
    for node in graph.nodes:
        layer = node.layer
        if marks_steps(layer):
            if node.inputs[0] in whose:
                found[node.outputs[0]] = layer, whose[node.inputs[0]]
        elif layer.is_container:
            pairs = list(zip(layer.graph.inputs, node.inputs, strict=True))
            inside = {own: found[given] for own, given in pairs if given in found}
            _follow(layer.graph, inside, {own: whose[given] for own, given in pairs if given in whose})
            ends = zip(node.outputs, layer.graph.outputs, strict=True)
            found.update({value: inside[own] for value, own in ends if own in inside})
        elif _hands_on(layer):
            marks = {found[value] for value in node.inputs if value in found}
            if len(marks) == 1:
                found[node.outputs[0]] = marks.pop()


def _hands_on(layer: Any) -> bool:
    if isinstance(layer, layers.Bidirectional):
        layer = layer.layer
    if isinstance(layer, Recurrent):
        return layer.return_sequences
    return isinstance(layer, (*HANDS_ON, *KEEPS_ZEROS))
