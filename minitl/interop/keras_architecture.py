"""Layers as Keras describes them, and Keras's descriptions as layers: a closed list of classes, nothing is imported or called.

Keras 3 writes {"class_name", "config", "inbound_nodes": [{"args": [tensor or list of them], "kwargs"}]}, Keras 2
{"inbound_nodes": [[[layer, node, tensor, kwargs], ...]]}; both are read, the first is written.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from minitl import initializers
from minitl.errors import unknown
from minitl.layers import ChannelPadding, ConstantOperation, Input, InputLayer, Lambda, ValuePadding2D
from minitl.layers.base import Layer
from minitl.layers.recurrent import Recurrent
from minitl.models import Model, Sequential
from minitl.serialization import encode

# What Keras gives to every layer, or has for other devices and precisions, and what has no meaning here.
IGNORED = {
    "autocast", "batch_input_shape", "batch_shape", "bias_constraint", "beta_constraint", "data_format",
    "data_type", "depthwise_constraint", "dtype", "embeddings_constraint", "alpha_constraint", "fused", "gamma_constraint",
    "implementation", "kernel_constraint", "lora_rank", "moving_mean_initializer", "moving_variance_initializer", "noise_shape",
    "optional", "pointwise_constraint", "quantization_config", "quantization_mode", "ragged", "registered_name", "renorm",
    "renorm_clipping", "renorm_momentum", "sparse", "synchronized", "virtual_batch_size", "input_length", "value_range",
    "lora_alpha", "output_padding", "fill_value", "fill_mode", "rms_scaling", "embeddings_dtype", "time_major",
    "backward_layer", "recurrent_constraint", "zero_output_for_mask",
}  # fmt: skip
MODELS = ("Functional", "Model", "Sequential")
RENAMED = {"Convolution2D": "Conv2D", "Convolution1D": "Conv1D", "MaxPool2D": "MaxPooling2D", "AvgPool2D": "AveragePooling2D"}


def rebuilt(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """The model of a description.

    Errors: ValueError for a class that does not exist here, or settings that it does not take; KeyError and the like for
    a description that is damaged.
    """
    if config["class_name"] not in MODELS:
        raise ValueError(f"the file describes a {config['class_name']}, no Functional or Sequential model")
    return _sequential(config, custom_objects) if config["class_name"] == "Sequential" else _functional(config, custom_objects)


def described(model: Any) -> dict[str, Any]:
    """A model as Keras 3 describes it.

    Errors: ValueError for a layer that Keras does not have, and for added losses.
    """
    if type(model).__name__ == "Sequential":
        shape = model.input_shape
        layers = [_input_entry("input_layer", shape, model.graph.inputs[0].dtype)]
        for layer in model.layers:
            if not isinstance(layer, InputLayer):
                layers += [{k: v for k, v in entry.items() if k != "inbound_nodes"} for entry in _entries(model, layer)]
        return _entry(
            "keras", "Sequential", {"name": model.name or "sequential", "layers": layers, "build_input_shape": _listed(shape)}
        )
    if model.graph.added_losses:
        advice = "save it as .npz, or save Model(model.inputs, model.outputs)"
        raise ValueError(f"{model.label}: files of Keras have no place for what add_loss() was given; {advice}")
    made: dict[Any, tuple[str, int, int]] = {}
    layers = []
    for value in model.graph.inputs:
        name = model._names[value.node.layer]
        made[value] = (name, 0, 0)
        layers.append({**_input_entry(name, value.shape, value.dtype), "name": name, "inbound_nodes": []})
    uses: dict[Any, int] = {}
    known: dict[Any, list[dict[str, Any]]] = {}
    for node in model.graph.nodes:
        layer = node.layer
        if layer not in known:
            known[layer] = _entries(model, layer)
            layers += known[layer]
        tensors = [_tensor(value, made[value]) for value in node.inputs]
        number = uses.get(layer, 0)
        uses[layer] = number + 1
        for place, entry in enumerate(known[layer]):
            several = layer.takes_several or (layer.is_container and len(tensors) > 1)
            args: Any = [tensors] if several and place == 0 else tensors
            kwargs: dict[str, Any] = {} if node.training is None else {"training": node.training}
            if several and isinstance(layer, Recurrent):
                args, kwargs["initial_state"] = tensors[:1], tensors[1:]
            entry["inbound_nodes"].append({"args": args, "kwargs": kwargs})
            shape = entry.pop("_shape", node.outputs[0].shape)
            tensors = [_tensor_of(shape, node.outputs[0].dtype, (entry["name"], number, 0))]
        for index, value in enumerate(node.outputs):
            made[value] = (known[layer][-1]["name"], number, index)
    # Keras numbers layers in the order in which it lists them, which is ours.
    places = {layer: place for place, layer in enumerate(model.layers)}
    of_entry = {id(entry): places[layer] for layer, entries in known.items() for entry in entries}
    of_input = {model._names[value.node.layer]: places.get(value.node.layer, -1) for value in model.graph.inputs}
    layers.sort(key=lambda entry: of_entry.get(id(entry), of_input.get(entry["name"], -1)))
    inputs = [[*made[value]] for value in model.graph.inputs]
    outputs = [[*made[value]] for value in model.graph.outputs]
    return _entry("keras.src.models.functional", "Functional", {
        "name": model.name or "functional", "trainable": True, "layers": layers,
        "input_layers": inputs[0] if len(inputs) == 1 else inputs, "output_layers": outputs[0] if len(outputs) == 1 else outputs,
    })  # fmt: skip


def keras_class(layer: Any, expanded: bool = False) -> Any:
    """Keras's name for a layer's class; `expanded`, the list of classes that stand for it there."""
    kind = "Sequential" if isinstance(layer, Sequential) else "Functional"
    name = kind if layer.is_container else type(layer).__name__
    if not expanded:
        return name
    return ["Permute", "ZeroPadding2D", "Permute"] if isinstance(layer, ChannelPadding) else [name]


def _entry(module: str, class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None}


def _input_entry(name: str, shape: Any, dtype: Any) -> dict[str, Any]:
    return _entry("keras.layers", "InputLayer", {"batch_shape": _listed(shape), "dtype": np.dtype(dtype).name, "name": name})


def _entries(model: Any, layer: Any) -> list[dict[str, Any]]:
    """What describes a layer: one entry, or several where Keras has no such layer."""
    name = model._names[layer]
    if layer.is_container:
        inner = described(layer)
        inner["config"]["name"] = name
        return [{**inner, "name": name, "inbound_nodes": []}]
    if isinstance(layer, (Lambda, ConstantOperation, ValuePadding2D)) or layer.is_users:
        raise ValueError(f"{layer.label}: Keras does not have this layer, so that it cannot be written to a file of Keras")
    if isinstance(layer, ChannelPadding):  # channels become rows, get their zeros, and become channels again
        n, h, w, c = layer.input_shape
        a, b = layer.padding
        parts: list[tuple[str, str, dict[str, Any], Any]] = [
            ("Permute", f"{name}_turned", {"dims": [3, 2, 1]}, (n, c, w, h)),
            ("ZeroPadding2D", f"{name}_padded", {"padding": [[a, b], [0, 0]]}, (n, a + c + b, w, h)),
            ("Permute", name, {"dims": [3, 2, 1]}, (n, h, w, a + c + b)),
        ]
        return [
            {**_entry("keras.layers", kind, {"name": own, **config}), "name": own, "inbound_nodes": [], "_shape": shape}
            for kind, own, config, shape in parts
        ]
    return [{**_entry("keras.layers", type(layer).__name__, _settings(layer, name)), "name": name, "inbound_nodes": []}]


def _settings(layer: Any, name: str) -> dict[str, Any]:
    """A layer's arguments as Keras writes them; initializers are left out, since the weights come with the file."""
    config: dict[str, Any] = {"name": name, "trainable": bool(layer.trainable), "dtype": layer.dtype.name}
    for key, value in layer.get_config().items():
        if key.endswith("_initializer") or key in ("name", "trainable", "dtype", "input_shape", "input_dim_", "declared_shape"):
            continue
        if key == "input_dim" and type(layer).__name__ != "Embedding":
            continue
        if key.endswith("_regularizer") and value is not None:
            value = _entry("keras.regularizers", "L1L2", {"l1": float(value.l1), "l2": float(value.l2)})
        inner = getattr(layer, key, None)
        if isinstance(inner, Layer):  # in Bidirectional and TimeDistributed
            kind = type(inner).__name__
            value = _entry("keras.layers", kind, _settings(inner, inner.name or kind.lower()))
        config[key] = encode(value)
    return config


def _tensor(value: Any, history: tuple[str, int, int]) -> dict[str, Any]:
    return _tensor_of(value.shape, value.dtype, history)


def _tensor_of(shape: Any, dtype: Any, history: tuple[str, int, int]) -> dict[str, Any]:
    config = {"shape": _listed(shape), "dtype": np.dtype(dtype).name, "keras_history": list(history)}
    return {"class_name": "__keras_tensor__", "config": config}


def _listed(shape: Any) -> list[Any]:
    return [None if n is None else int(n) for n in shape]


def _layer(entry: dict[str, Any], custom_objects: dict[str, Any] | None) -> Any:
    from minitl.models.saving import layer_classes

    name, config = RENAMED.get(entry["class_name"], entry["class_name"]), dict(entry["config"])
    if name in MODELS:
        return rebuilt(entry, custom_objects)
    known = {**layer_classes(), **(custom_objects or {})}
    if name not in known or name == "Lambda":
        raise ValueError(f"{unknown('layer of Keras', name, known)}; your own go into custom_objects")
    if config.get("data_format") not in (None, "channels_last"):
        raise ValueError(f"{name} {config.get('name')!r}: data_format={config['data_format']!r}; only channels_last is read")
    cls: type[Layer] = known[name]
    takes = _arguments(cls)
    settings: dict[str, Any] = {}
    for key, value in config.items():
        if key in IGNORED or (key == "activity_regularizer" and value is None):
            if key.endswith("_constraint") and value is not None:
                raise ValueError(f"{name} {config.get('name')!r}: {key} is not known here")
            continue
        if key not in takes:
            if value is None:
                continue  # a setting that is not made
            raise ValueError(f"{name} {config.get('name')!r}: does not take {key}={value!r} here")
        if key.endswith("_initializer"):
            value = _initializer(value)
        elif key.endswith("_regularizer"):
            value = _regularizer(value)
        elif key == "layer":
            value = _layer(value, custom_objects)
        elif key.endswith("activation") and isinstance(value, dict):
            value = value["config"] if isinstance(value.get("config"), str) else value["class_name"]
        elif isinstance(value, list):
            value = tuple(tuple(v) if isinstance(v, list) else v for v in value)
        if key == "axis" and isinstance(value, tuple) and len(value) == 1:
            value = value[0]
        settings[key] = value
    return cls(**settings)


def _arguments(cls: type) -> set[str]:
    found: set[str] = set()
    for base in cls.__mro__[:-1]:
        if "__init__" in vars(base):
            found |= set(inspect.signature(vars(base)["__init__"]).parameters)
    return found - {"self", "kwargs"}


def _initializer(value: Any) -> Any:
    """The initializer of the same name, or the default: weights come from the file."""
    name = value["class_name"] if isinstance(value, dict) else value
    try:
        return initializers.get(name)
    except (ValueError, TypeError):
        return "zeros"


def _regularizer(value: Any) -> Any:
    from minitl.regularizers import L1L2

    if not isinstance(value, dict):
        return value
    config = value.get("config", {})
    return L1L2(float(config.get("l1", 0.0) or 0.0), float(config.get("l2", 0.0) or 0.0))


def _sequential(config: dict[str, Any], custom_objects: dict[str, Any] | None) -> Any:
    inner = config["config"]
    entries = inner["layers"] if isinstance(inner, dict) else inner  # Keras 1 and early 2: the list itself
    model = Sequential(name=inner.get("name") if isinstance(inner, dict) else None)
    for entry in entries:
        shape = _declared(entry)
        if entry["class_name"] == "InputLayer":
            model.add(Input(shape[1:], dtype=entry["config"].get("dtype") or "float32", name=entry["config"].get("name")))
            continue
        if shape is not None and not model._values:
            model.add(Input(shape[1:]))
        model.add(_layer(entry, custom_objects))
    if not model.built and isinstance(inner, dict) and inner.get("build_input_shape"):
        model.build(tuple(inner["build_input_shape"]))
    return model


def _declared(entry: dict[str, Any]) -> Any:
    return entry["config"].get("batch_shape") or entry["config"].get("batch_input_shape")


def _functional(config: dict[str, Any], custom_objects: dict[str, Any] | None) -> Any:
    inner = config["config"]
    values: dict[tuple[str, int, int], Any] = {}
    layers: dict[str, Any] = {}
    waiting = []
    for entry in inner["layers"]:
        name = entry.get("name") or entry["config"]["name"]
        if entry["class_name"] == "InputLayer":
            values[name, 0, 0] = Input(_declared(entry)[1:], dtype=entry["config"].get("dtype") or "float32", name=name)
            continue
        layers[name] = _layer(entry, custom_objects)
        if layers[name].is_container:
            layers[name].name = name
        waiting += [(name, number, node) for number, node in enumerate(entry["inbound_nodes"])]
    while waiting:
        later = []
        for name, number, node in waiting:
            sources, training = _sources(node)
            if not all(source in values for source in sources):
                later.append((name, number, node))
                continue
            several = [values[source] for source in sources]
            made = layers[name](several if layers[name].takes_several or len(several) > 1 else several[0], training)
            for index, value in enumerate(made if isinstance(made, list) else [made]):
                values[name, number, index] = value
        if len(later) == len(waiting):
            raise ValueError(f"layer {waiting[0][0]!r} needs what no layer makes: the nodes of the file form a circle")
        waiting = later
    inputs, outputs = ([values[place] for place in _places(inner[key])] for key in ("input_layers", "output_layers"))
    return Model(inputs, outputs, name=inner.get("name"))


def _sources(node: Any) -> tuple[list[tuple[str, int, int]], Any]:
    """Where the inputs of a node come from, and `training` if its call fixed it."""
    if isinstance(node, dict):
        found: list[tuple[str, int, int]] = []
        _collect(node["args"], found)
        kwargs = node.get("kwargs") or {}
        _collect(kwargs.get("initial_state"), found)
        training = kwargs.get("training")
        return found, training if isinstance(training, bool) else None
    if node and not isinstance(node[0], (list, tuple)):
        node = [node]
    states = [state for part in node if len(part) > 3 for state in (part[3] or {}).get("initial_state") or []]
    return [(part[0], part[1], part[2]) for part in [*node, *states]], None


def _collect(args: Any, found: list[tuple[str, int, int]]) -> None:
    if isinstance(args, list):
        for part in args:
            _collect(part, found)
    elif isinstance(args, dict) and args.get("class_name") == "__keras_tensor__":
        layer, node, index = args["config"]["keras_history"]
        found.append((layer, node, index))
    elif args is not None:
        raise ValueError(f"a layer is called on {str(args)[:60]}, which is no value")


def _places(listed: Any) -> list[tuple[str, int, int]]:
    if listed and not isinstance(listed[0], (list, tuple)):
        listed = [listed]
    return [(part[0], part[1], part[2]) for part in listed]
