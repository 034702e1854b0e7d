"""A model that was built for the sizes of its first data, and is then given other ones.

Whoever says no shape has said no sizes: batches of sequences that are filled up to the longest of each, or images of two sizes,
go through one model if its layers can take them. So the model is built again, with the axes open that differ; its layers and
weights stay, and models inside of which the same is true are opened, too. A model whose shape was given keeps to it.
"""

from __future__ import annotations

from typing import Any

from minitl.graph.value import Shape, fits


def open_for(model: Any, shape: Shape) -> None:
    """Build a model anew whose only input does not fit a shape, with those axes open that differ.

    Where its layers cannot take that, it stays as it was, and the layer that gets such data says what it expects.
    """
    expected = model.graph.inputs[0].shape
    if len(expected) != len(shape) or fits(expected, shape):
        return
    users = {node.layer: node.layer.input_shape for node in model.graph.nodes if node.layer.is_users}
    for layer, known in users.items():  # whether one can take another size is found out by running it
        layer.input_shape = [_open(part) for part in known] if layer.takes_several else _open(known)
    try:
        model.build_anew((None, *(a if a == b else None for a, b in zip(expected[1:], shape[1:], strict=True))))
    except Exception:  # whatever a call of the user's makes of sizes that are open
        for layer, known in users.items():
            layer.input_shape = known
        return
    for node in model.graph.nodes:
        if not node.layer.is_container:
            shapes = [value.shape for value in node.inputs]
            node.layer.input_shape = shapes if node.layer.takes_several else shapes[0]
            node.layer.output_shape = [value.shape for value in node.outputs] if len(node.outputs) > 1 else node.outputs[0].shape


def _open(shape: Shape) -> Shape:
    """The shape with all sizes open but the last axis; it has no samples, so that no layer takes it for one that it knows."""
    return (0, *[None] * (len(shape) - 2), *shape[1:][-1:])
