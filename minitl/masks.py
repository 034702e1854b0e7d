"""Steps that do not count: an output whose steps stand for those of a padded input is judged where these are real.

As in Keras, an Embedding with `mask_zero` or a Masking marks steps, layers that treat each step alone hand the marks on, and at
an output the marked steps are left out of losses and metrics, whose means are over the others.
"""

from __future__ import annotations

import numpy as np

from minitl.graph.graph import Graph
from minitl.graph.value import Value
from minitl.layers.masking import Marks, counting_for, hands_on, marks_steps, merged_marks, standing_for


def masks_of(graph: Graph, arrays: list[np.ndarray]) -> list[np.ndarray | None]:
    """For each output the steps that count, or None where all do.

    Shapes: each (N, T), for an output (N, T, ...).
    """
    if graph.marks is None:
        found: dict[Value, Marks] = {}
        _follow(graph, found, {value: value for value in graph.inputs})
        graph.marks = [found.get(value, ()) for value in graph.outputs]
    return [_counting(marks, graph, arrays) if marks else None for marks in graph.marks]


def _counting(marks: Marks, graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    """The steps that count for one of those who mark them."""
    return np.logical_or.reduce([counting_for(layer, np.asarray(arrays[graph.inputs.index(x)])) for layer, x in marks])


def _follow(graph: Graph, found: dict[Value, Marks], whose: dict[Value, Value]) -> None:
    """Add to `found` who marks the steps of a graph's values; `whose` has the network's inputs by what they are called here."""
    for node in graph.nodes:
        layer = node.layer
        if marks_steps(layer):
            if node.inputs[0] in whose:
                found[node.outputs[0]] = ((layer, whose[node.inputs[0]]),)
        elif layer.is_container:
            pairs = list(zip(layer.graph.inputs, node.inputs, strict=True))
            inside = {own: found[given] for own, given in pairs if given in found}
            _follow(layer.graph, inside, {own: whose[given] for own, given in pairs if given in whose})
            ends = zip(node.outputs, layer.graph.outputs, strict=True)
            found.update({value: inside[own] for value, own in ends if own in inside})
        elif hands_on(layer):
            found[node.outputs[0]] = merged_marks([found.get(value, ()) for value in standing_for(layer, node.inputs)])
