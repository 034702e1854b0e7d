"""A model that was built for the sizes of its first data, and is then given other ones.

Whoever says no shape has said no sizes: batches of sequences that are filled up to the longest of each, or images of two sizes,
go through one model if its layers can take them. So the model is built again, with the axes open that differ; its layers and
weights stay. A model whose shape was given keeps to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.graph.value import fits


def open_for(model: Any, array: np.ndarray) -> None:
    """Build a model anew whose only input does not fit an array, with those axes open that differ.

    Where its layers cannot take that, it stays as it was, and the layer that gets the array says what it expects.
    """
    expected = model.graph.inputs[0].shape
    if len(expected) != array.ndim or fits(expected, array.shape):
        return
    try:
        model.build_anew((None, *(a if a == b else None for a, b in zip(expected[1:], array.shape[1:], strict=True))))
    except (ValueError, TypeError):
        return
    for node in model.graph.nodes:
        if not node.layer.is_container:
            shapes = [value.shape for value in node.inputs]
            node.layer.input_shape = shapes if node.layer.takes_several else shapes[0]
            node.layer.output_shape = [value.shape for value in node.outputs] if len(node.outputs) > 1 else node.outputs[0].shape
