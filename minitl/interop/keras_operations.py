"""Keras 3's operations between layers, `x + 1` or `ops.mean(x, axis=1)`, as it describes them: functions of values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import activations
from minitl.activations import NAMED
from minitl.errors import unknown
from minitl.graph.value import Value
from minitl.layers.array_function import KNOWN

OTHER_NAMES = {"true_divide": "divide", "get_item": "getitem", "abs": "absolute"}
# Settings that NumPy has under another name.
POSITIONAL = {"reshape": ("newshape",), "tile": ("repeats",)}


def is_operation(entry: Any) -> bool:
    """Whether an entry of an architecture describes an operation and no layer."""
    return str(entry.get("module", "")).startswith(("keras.src.ops.", "keras.ops"))


def operation(entry: dict[str, Any]) -> Callable[[list[Any]], Any]:
    """The function of an entry: what its arguments, values among them, give.

    Errors: ValueError for an operation that is not known here.
    """
    kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", entry["class_name"]).lower()
    settings = {
        key: _plain(value) for key, value in entry["config"].items() if key not in ("name", "dtype") and value is not None
    }
    if entry["module"].endswith(".nn") and (kind in NAMED or kind in ("gelu", "softmax")):
        return lambda arguments: getattr(activations, kind)(*arguments, **settings)
    name = OTHER_NAMES.get(kind, kind)
    if name not in KNOWN:
        raise ValueError(str(unknown("operation of Keras", entry["class_name"], KNOWN)))
    first = [settings.pop(key) for key in POSITIONAL.get(name, ()) if key in settings]
    return lambda arguments: Value.expression(name, [*arguments, *first], settings)


def arguments_of(node: dict[str, Any], values: dict[tuple[str, int, int], Value]) -> list[Any]:
    """A call's arguments, with values in the places of its tensors."""
    return [_plain(argument, values) for argument in node["args"]]


def _plain(item: Any, values: dict[tuple[str, int, int], Value] | None = None) -> Any:
    if isinstance(item, dict) and item.get("class_name") == "__keras_tensor__" and values is not None:
        layer, node, index = item["config"]["keras_history"]
        return values[layer, node, index]
    if isinstance(item, dict) and item.get("class_name") == "__slice__":
        return slice(*(item["config"][key] for key in ("start", "stop", "step")))
    if isinstance(item, dict) and item.get("class_name") == "__numpy__":
        return np.array(item["config"]["value"], item["config"]["dtype"])
    if isinstance(item, dict) and item.get("class_name") == "__ellipsis__":
        return Ellipsis
    if isinstance(item, list):
        parts = [_plain(part, values) for part in item]
        return parts if any(isinstance(part, Value) for part in parts) else tuple(parts)
    return item
