"""ONNX's operators that find places along an axis, and those that take what stands at some places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import layers
from minitl.interop.onnx_tensors import Attributes, as_plain, either, length, with_weights


def _extreme_place(reader: Any, node: Any, a: Attributes) -> Any:
    """ArgMax and ArgMin: the first of equal ones, or the last."""
    x = reader.plain(reader.tensors[node.input[0]])
    axis, function = int(a.get("axis", 0)) % x.ndim, np.argmax if node.op_type == "ArgMax" else np.argmin
    if a.get("select_last_index", 0):
        found = np.subtract(length(reader, x.shape, axis) - 1.0, function(np.flip(x, axis), axis=axis))
    else:
        found = function(x, axis=axis)
    return as_plain(np.expand_dims(found, axis) if a.get("keepdims", 1) else found)


def _largest(reader: Any, node: Any, a: Attributes) -> Any:
    """TopK: the largest or the smallest along an axis, in order, and their places; of equal ones the first."""
    x = reader.plain(reader.tensors[node.input[0]])
    axis, count = int(a.get("axis", -1)) % x.ndim, a["k"] if "k" in a else reader.known(node, 1)
    count, size = int(np.asarray(count).reshape(())), length(reader, x.shape, axis)
    if not 0 < count <= size:
        raise ValueError(f"{count} of {size} along axis {axis}; from 1 to {size} are there")
    order = np.argsort(np.negative(x) if a.get("largest", 1) else x, axis=axis, kind="stable")
    places = np.take(order, np.arange(count), axis=axis)
    return [as_plain(np.take_along_axis(x, places, axis)), as_plain(places)]


def _gather(reader: Any, node: Any, a: Attributes) -> Any:
    """Entries along an axis, by constant places; or rows of a constant by whole numbers that come in, as an Embedding."""
    data, places = node.input
    if data in reader.constants:
        table = reader.constants[data]
        if a.get("axis", 0) or table.ndim != 2:
            raise ValueError("rows of a matrix are known where the data choose")
        tensor = reader.tensors[places]
        chosen = with_weights(layers.Embedding(*table.shape), reader.plain(tensor), table)
        return as_plain(chosen)
    if places not in reader.constants:
        raise ValueError("places that depend on the data are not known")
    x, chosen = reader.plain(reader.tensors[data]), reader.constants[places]
    return as_plain(np.take(x, chosen.astype(int), axis=int(a.get("axis", 0))))


def _gather_elements(reader: Any, node: Any, a: Attributes) -> Any:
    """For each place of the second input, the entry of the first at that place along the axis."""
    x, places = (either(reader, name) for name in node.input)
    return as_plain(np.take_along_axis(x, places, int(a.get("axis", 0))))


READERS: dict[str, Callable[[Any, Any, Attributes], Any]] = {
    "ArgMax": _extreme_place, "ArgMin": _extreme_place, "Gather": _gather, "GatherElements": _gather_elements, "TopK": _largest,
}  # fmt: skip
