"""Steps that do not count: an output whose steps stand for those of a padded input is judged where these are real.

As in Keras, an Embedding with `mask_zero` or a Masking marks steps, layers that treat each step alone hand the marks on, and at
an output the marked steps are left out of losses and metrics, whose means are over the others.
"""

from __future__ import annotations

import numpy as np

from minitl.graph.graph import Graph
from minitl.graph.value import Value
from minitl.layers.masking import Marks, counting_for, follow_marks


def masks_of(graph: Graph, arrays: list[np.ndarray]) -> list[np.ndarray | None]:
    """For each output the steps that count, or None where all do.

    Shapes: each (N, T), for an output (N, T, ...).
    """
    if graph.marks is None:
        found: dict[Value, Marks] = {}
        follow_marks(graph, found, {value: value for value in graph.inputs})
        graph.marks = [found.get(value, ()) for value in graph.outputs]
    return [_counting(marks, graph, arrays) if marks else None for marks in graph.marks]


def _counting(marks: Marks, graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    """The steps that count for one of those who mark them."""
    return np.logical_or.reduce([counting_for(layer, np.asarray(arrays[graph.inputs.index(x)])) for layer, x in marks])
