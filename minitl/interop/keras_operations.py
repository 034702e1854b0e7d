"""Keras 3's operations between layers, `x + 1` or `ops.mean(x, axis=1)`, as it describes them: functions of values.

Its description has {"class_name": "Mean", "config": settings, "inbound_nodes": [{"args": what it is called on}]}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import activations
from minitl.activations import NAMED, OPERATION
from minitl.errors import unknown
from minitl.functions import in_small_letters
from minitl.graph.value import Value
from minitl.layers.array_function import KNOWN, OPERATIONS, ArrayFunction, filled
from minitl.layers.known import layer_classes
from minitl.legacy.keras_ops import function

OTHER_NAMES = {
    "true_divide": "divide", "get_item": "getitem", "abs": "absolute", "layer_norm": "layer_normalization",
    "rmsnorm": "rms_normalization",
}  # fmt: skip
# Settings that NumPy has under another name.
POSITIONAL = {"reshape": ("newshape",), "tile": ("repeats",), "clip": ("x_min", "x_max")}
IN_FRONT = {"einsum": ("subscripts",)}
# What is a setting there, in the order in which NumPy takes it behind what a function is called on: so many arguments.
SETTINGS: dict[str, tuple[int, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("mean", "sum", "max", "min", "amax", "amin", "prod", "std", "var", "any", "all"), (1, ("axis", "keepdims"))
    ),
    **dict.fromkeys(
        ("argmax", "argmin", "argsort", "cumsum", "concatenate", "stack", "expand_dims", "squeeze", "flip"), (1, ("axis",))
    ),
    "reshape": (1, ("newshape",)), "tile": (1, ("repeats",)), "transpose": (1, ("axes",)), "swapaxes": (1, ("axis1", "axis2")),
    "moveaxis": (1, ("source", "destination")), "broadcast_to": (1, ("shape",)), "repeat": (1, ("repeats", "axis")),
    "roll": (1, ("shift", "axis")), "clip": (1, ("x_min", "x_max")), "round": (1, ("decimals",)), "around": (1, ("decimals",)),
    "take": (2, ("axis",)), "tensordot": (2, ("axes",)),
}  # fmt: skip
# Functions of `minitl.ops`, as Keras has them: those that a file cannot make large.
MADE_OF_OTHERS = (
    "average_pool", "cast", "celu", "dot_product_attention", "glu", "hard_shrink", "hard_tanh", "layer_normalization",
    "log_sigmoid", "log_softmax", "logsumexp", "max_pool", "mod", "moments", "normalize", "pad", "rms_normalization", "rsqrt",
    "slice", "soft_shrink", "softsign", "sort", "split", "squareplus", "tanh_shrink", "top_k", "tril", "triu",
)  # fmt: skip
AS_IT_IS = "convert_to_tensor"  # of a mask that an attention hands on
SCALED_SUM = "CustomScaleLayer"  # x + scale y, of Keras's InceptionResNetV2
CLASS_NAMES = {"getitem": "GetItem", "divide": "TrueDivide", "around": "Round"}
NOT_WRITTEN = ("norm", "average", "rint", "fabs", "ndim", "shape", "allclose", "positive")


def name_of(entry: dict[str, Any]) -> str:
    """The name of a layer or an operation; older entries have it among the settings alone."""
    return entry.get("name") or entry["config"]["name"]


def is_operation(entry: Any) -> bool:
    """Whether an entry of an architecture describes an operation and no layer; the older format does not say where it is from."""
    if entry["class_name"] == SCALED_SUM:
        return True
    if "module" in entry:
        return str(entry["module"]).startswith(("keras.src.ops.", "keras.ops"))
    name, nodes = _function(entry["class_name"]), entry.get("inbound_nodes") or [None]
    if not isinstance(nodes[0], dict):
        return False
    return name == AS_IT_IS or (name in KNOWN and (entry["class_name"] not in layer_classes() or len(nodes[0]["args"]) > 1))


def operation(entry: dict[str, Any]) -> Callable[[list[Any], dict[str, Any]], Any]:
    """The function of an entry: what its arguments, values among them, and those by name give.

    Errors: ValueError for an operation that is not known here.
    """
    if entry["class_name"] == SCALED_SUM:
        scale = float(entry["config"]["scale"])
        return lambda arguments, _: np.add(arguments[0][0], np.multiply(arguments[0][1], scale))
    name = _function(entry["class_name"])
    if name == AS_IT_IS and entry["config"].get("dtype") is None:
        return lambda arguments, _: arguments[0]
    left_out = ("name",) if name == "cast" else ("name", "dtype")
    settings = {key: _plain(value) for key, value in entry["config"].items() if key not in left_out and value is not None}
    of_numpy = entry.get("module", "").endswith(".numpy") or ("module" not in entry and name in KNOWN)
    if name in NAMED and not of_numpy:
        return lambda arguments, named: getattr(activations, name)(*arguments, **settings, **named)
    if name not in KNOWN:
        if name not in MADE_OF_OTHERS:
            raise ValueError(str(unknown("operation of Keras", entry["class_name"], KNOWN)))
        return lambda arguments, named: _made(name, arguments, {**settings, **named})
    before = [settings.pop(key) for key in IN_FRONT.get(name, ()) if key in settings]
    behind = [settings.pop(key) for key in POSITIONAL.get(name, ()) if key in settings]
    return lambda arguments, named: Value.expression(name, [*before, *arguments, *behind], {**settings, **named})


def arguments_of(node: dict[str, Any], values: dict[tuple[str, int, int], Value]) -> tuple[list[Any], dict[str, Any]]:
    """A call's arguments, and those by name, with values in the places of its tensors."""
    named = {key: _plain(value, values) for key, value in (node.get("kwargs") or {}).items() if value is not None}
    return [_plain(argument, values) for argument in node["args"]], named


def described_operation(layer: ArrayFunction, name: str) -> dict[str, Any]:
    """The entry of a function of values.

    Errors: ValueError for one that Keras does not have in this form.
    """
    refused = ValueError(f"{layer.label}: Keras has no operation {layer.function!r} as it is used here")
    if layer.function in OPERATIONS:
        found = _described_activation(layer, name)
        if found is None:
            raise refused
        return found
    in_front, arguments = _in_front(layer)
    taken, names = SETTINGS.get(layer.function, (len(arguments), ()))
    given = {**dict(zip(names, arguments[taken:], strict=False)), **layer.settings}
    too_many = len(arguments) > taken + len(names)
    if layer.function in NOT_WRITTEN or layer.batch is not None or too_many or not set(given) <= set(names):
        raise refused
    class_name = CLASS_NAMES.get(layer.function, "".join(part.capitalize() for part in layer.function.split("_")))
    config = {"name": name, **in_front, **{key: _written(value) for key, value in filled(given, []).items()}}
    return {"module": "keras.src.ops.numpy", "class_name": class_name, "config": config, "registered_name": class_name}


def _described_activation(layer: ArrayFunction, name: str) -> dict[str, Any] | None:
    """An activation by its name, as a layer; with settings that no name stands for, as an operation, if Keras has it."""
    kind, settings = layer.function.removeprefix(OPERATION), layer.settings
    for activation, known in NAMED.items():
        if known == (kind, settings):
            config: dict[str, Any] = {"name": name, "activation": activation}
            return {"module": "keras.layers", "class_name": "Activation", "config": config, "registered_name": None}
    if settings == {"gate": "normal_tanh"}:
        class_name, config = "Gelu", {"name": name, "approximate": True}
    elif kind == "elu" and settings.keys() == {"alpha"}:
        class_name, config = "Elu", {"name": name, "alpha": settings["alpha"]}
    elif kind == "leaky_relu" and settings.keys() == {"slope"}:
        class_name, config = "LeakyRelu", {"name": name, "negative_slope": settings["slope"]}
    else:
        return None
    return {"module": "keras.src.ops.nn", "class_name": class_name, "config": config, "registered_name": class_name}


def called_on(layer: ArrayFunction, tensors: list[Any]) -> list[Any]:
    """What the operation of a function of values is called on, with tensors in the places of its values."""
    arguments = _in_front(layer)[1]
    taken = SETTINGS.get(layer.function, (len(arguments), ()))[0]
    return [_written(argument) for argument in filled(arguments[:taken], tensors)]


def _in_front(layer: ArrayFunction) -> tuple[dict[str, Any], Any]:
    """What Keras has as a setting of what stands in front here, and the other arguments."""
    names = IN_FRONT.get(layer.function, ())
    return dict(zip(names, layer.arguments, strict=False)), layer.arguments[len(names) :]


def _written(item: Any) -> Any:
    """An argument as Keras writes it; `_plain` reads it."""
    if isinstance(item, slice):
        return {"class_name": "__slice__", "config": {"start": item.start, "stop": item.stop, "step": item.step}}
    if item is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(item, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": item.tolist(), "dtype": item.dtype.name}}
    return [_written(part) for part in item] if isinstance(item, (list, tuple)) else item


def _made(name: str, arguments: list[Any], settings: dict[str, Any]) -> Any:
    try:
        made = function(name)(*arguments, **settings)
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:  # of settings that no program writes
        raise ValueError(f"operation {name!r} with {settings}: {type(error).__name__}: {error}") from error
    return list(made) if isinstance(made, tuple) else made


def _function(class_name: str) -> str:
    """NumPy's name for a class of Keras's."""
    name = in_small_letters(class_name)
    return OTHER_NAMES.get(name, name)


def _plain(item: Any, values: dict[tuple[str, int, int], Value] | None = None) -> Any:
    if isinstance(item, dict) and item.get("class_name") == "__keras_tensor__" and values is not None:
        layer, node, index = item["config"]["keras_history"]
        return values[layer, node, index]
    if isinstance(item, dict) and item.get("class_name") == "__slice__":
        return slice(*(item["config"][key] for key in ("start", "stop", "step")))
    if isinstance(item, dict) and item.get("class_name") in ("__numpy__", "__tensor__"):
        return np.array(item["config"]["value"], item["config"]["dtype"])
    if isinstance(item, dict) and item.get("class_name") == "__ellipsis__":
        return Ellipsis
    if isinstance(item, list):
        parts = [_plain(part, values) for part in item]
        return parts if any(isinstance(part, Value) for part in parts) else tuple(parts)
    return item
