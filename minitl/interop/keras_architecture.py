"""Keras's descriptions as layers: a closed list of classes, nothing is imported or called.

Keras 3 writes {"class_name", "config", "inbound_nodes": [{"args": [tensor or list of them], "kwargs"}]}, Keras 2
{"inbound_nodes": [[[layer, node, tensor, kwargs], ...]]}; both are read.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from minitl import initializers
from minitl.errors import unknown
from minitl.interop.keras_attention import as_list, settings_of
from minitl.interop.keras_masks import mask_for, places_of_masks, without_masks
from minitl.interop.keras_operations import arguments_of, is_operation, name_of, operation
from minitl.layers import RNN, BatchNormalization, Bidirectional, Input, TimeDistributed
from minitl.layers.attention import Attends
from minitl.layers.base import Layer
from minitl.layers.known import is_ours, makes_its_own
from minitl.layers.random_images import RandomImage
from minitl.models import Model, Sequential
from minitl.models.keys import Keys, keys_of
from minitl.serialization import custom_objects_now

# What Keras gives to every layer, or has for other devices and precisions, and what has no meaning here.
IGNORED = {
    "autocast", "batch_input_shape", "batch_shape", "data_format", "data_type", "dtype", "fused", "implementation",
    "moving_mean_initializer", "moving_variance_initializer", "optional", "quantization_config", "ragged", "registered_name",
    "renorm_clipping", "renorm_momentum", "sparse", "synchronized", "virtual_batch_size", "input_length", "lora_alpha",
    "rms_scaling", "embeddings_dtype", "backward_layer",
}  # fmt: skip
OF_OTHERS = ("value_range", "seed")  # what has a meaning here for some layers, and is written with all of a kind
MODELS = ("Functional", "Model", "Sequential")
PENALTIES = ("L1", "L2", "L1L2", "WeightRegularizer")  # sums of lengths and squares, by Keras's names
OWN = "your own go into custom_objects"
RENAMED = {"Convolution2D": "Conv2D", "Convolution1D": "Conv1D", "MaxPool2D": "MaxPooling2D", "AvgPool2D": "AveragePooling2D"}


def rebuilt(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """The model of a description.

    Errors: ValueError for a class that does not exist here, or settings that it does not take; KeyError and the like for
    a description that is damaged.
    """
    name = config["class_name"]
    if name in MODELS:
        return _sequential(config, custom_objects) if name == "Sequential" else _functional(config, custom_objects)
    if name in _own(custom_objects):
        return _of_class(config, custom_objects)
    raise ValueError(f"the file describes a {name}, no Functional or Sequential model; your own classes go into custom_objects")


def _of_class(config: dict[str, Any], custom_objects: dict[str, Any] | None) -> Any:
    """A model that is a class of the user's with a `call`, built for the shape for which it was built."""
    model = layer_of(config, custom_objects)
    if not isinstance(model, Model):
        raise ValueError(f"the file describes a {config['class_name']}, which is no model here")
    if not model.built:
        shape = (config.get("build_config") or {}).get("input_shape")
        if not shape:
            name = config["class_name"]
            raise ValueError(f"the file does not say for what inputs its {name} was built; build one and load_weights")
        several = isinstance(shape, list) and isinstance(shape[0], list)
        model.build([tuple(one) for one in shape] if several else shape if isinstance(shape, dict) else tuple(shape))
    return model


def layer_of(entry: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """The layer, or model, of a description, with new weights.

    Errors: ValueError for a class that does not exist here, or settings that it does not take.
    """
    from minitl.legacy.serialized import deserialize_keras_object
    from minitl.models.saving import layer_classes

    name, config = RENAMED.get(entry["class_name"], entry["class_name"]), dict(entry["config"])
    if name in MODELS:
        return rebuilt(entry, custom_objects)
    known = {**layer_classes(), **_own(custom_objects)}
    if name not in known or name == "Lambda":
        raise ValueError(f"{unknown('layer of Keras', name, known)}; {OWN}")
    if config.get("data_format") not in (None, "channels_last"):
        raise ValueError(f"{name} {config.get('name')!r}: data_format={config['data_format']!r}; only channels_last is read")
    cls: type[Layer] = known[name]
    if issubclass(cls, Attends):
        config = settings_of(config)
    if issubclass(cls, RNN):
        raise ValueError(f"{name} {config.get('name')!r}: cells are not read from files of Keras; hand over the weights")
    if makes_its_own(cls):
        return cls.from_config({key: value for key, value in config.items() if key != "dtype"})
    if issubclass(cls, Bidirectional):
        _check_both_directions(config)
    takes = _arguments(cls)
    settings: dict[str, Any] = {}
    for key, value in config.items():
        if key in IGNORED or (value is None and key in ("activity_regularizer", "noise_shape")):
            continue
        if key not in takes:
            changes_nothing = key in OF_OTHERS or (key == "dilation_rate" and np.all(np.equal(value, 1)))
            if value is None or value is False or changes_nothing:
                continue
            raise ValueError(f"{name} {config.get('name')!r}: does not take {key}={value!r} here")
        if key.endswith("_initializer"):
            value = _initializer(value)
        elif key.endswith("_regularizer"):
            value = _regularizer(value, custom_objects)
        elif key.endswith("_constraint"):
            value = _constraint(value, custom_objects)
        elif key == "layer":
            value = layer_of(value, custom_objects)
        elif key.endswith("activation") and isinstance(value, dict):
            value = _activation(value, custom_objects)
        elif isinstance(value, dict) and {"class_name", "config"} <= set(value) and not is_ours(cls):
            value = deserialize_keras_object(value, custom_objects)
        elif isinstance(value, list):
            value = tuple(tuple(v) if isinstance(v, list) else v for v in value)
        if key == "axis" and isinstance(value, tuple) and len(value) < 2:
            value = value[0] if value else None
        settings[key] = value
    return cls(**settings)


def _check_both_directions(config: dict[str, Any]) -> None:
    """Errors: ValueError if the two directions of a Bidirectional differ in more than names and how their weights began."""
    there, back = config["layer"], config.get("backward_layer") or config["layer"]
    differing = {"class_name"} if there["class_name"] != back["class_name"] else set()
    for key in there["config"].keys() | back["config"].keys():
        apart = key in {"name", "go_backwards", "seed", "trainable", *IGNORED} or key.endswith("_initializer")
        if not apart and _settings(there["config"].get(key)) != _settings(back["config"].get(key)):
            differing.add(key)
    if differing:
        raise ValueError(
            f"Bidirectional {config.get('name')!r}: its directions differ in {', '.join(sorted(differing))}; "
            "here both are alike: call two layers, the second with go_backwards=True, and join them"
        )


def _settings(value: Any) -> Any:
    """What a description says, without the numbers of the objects in it."""
    if isinstance(value, dict):
        return {key: _settings(part) for key, part in value.items() if key != "shared_object_id"}
    return [_settings(part) for part in value] if isinstance(value, (list, tuple)) else value


def _own(custom_objects: dict[str, Any] | None) -> dict[str, Any]:
    """The user's classes: those that are registered or in a scope, and those that are handed over."""
    return {**custom_objects_now(), **(custom_objects or {})}


def _arguments(cls: type) -> set[str]:
    found = {f"{name}_constraint" for name in getattr(cls, "constrained", ())}
    for base in cls.__mro__[:-1]:
        if "__init__" in vars(base):
            found |= set(inspect.signature(vars(base)["__init__"]).parameters)
    return found - {"self", "kwargs", "more"}


def _activation(value: dict[str, Any], custom_objects: Any) -> Any:
    """A function by its name, or a layer with its settings."""
    if isinstance(value.get("config"), str):
        return (custom_objects or {}).get(value["config"], value["config"])
    return layer_of(value, custom_objects)


def _initializer(value: Any) -> Any:
    """The initializer of the same name, or the default: weights come from the file."""
    name = value["class_name"] if isinstance(value, dict) else value
    try:
        return initializers.get(name)
    except (ValueError, TypeError):
        return "zeros"


def _regularizer(value: Any, custom_objects: dict[str, Any] | None) -> Any:
    from minitl.regularizers import L1L2, OrthogonalRegularizer

    if not isinstance(value, dict):
        return value
    name, config = value.get("class_name", value.get("name")), value.get("config", value)  # Keras 1 has no class_name
    if name in _own(custom_objects):
        return _own(custom_objects)[name](**config)
    if name == "OrthogonalRegularizer":
        return OrthogonalRegularizer(float(config["factor"]), config["mode"])
    if name not in PENALTIES:
        raise ValueError(f"{unknown('regularizer of Keras', name, (*PENALTIES, 'OrthogonalRegularizer'))}; {OWN}")
    return L1L2(float(config.get("l1", 0.0) or 0.0), float(config.get("l2", 0.0) or 0.0))


def _constraint(value: Any, custom_objects: dict[str, Any] | None) -> Any:
    from minitl.constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm

    if not isinstance(value, dict):
        return value
    known = {**{cls.__name__: cls for cls in (MaxNorm, MinMaxNorm, NonNeg, UnitNorm)}, **_own(custom_objects)}
    name, config = value.get("class_name"), value.get("config", {})
    if name not in known:
        raise ValueError(f"{unknown('constraint of Keras', name, known)}; {OWN}")
    return known[name](**{key: tuple(given) if isinstance(given, list) else given for key, given in config.items()})


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
        model.add(layer_of(entry, custom_objects))
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
    ends = _places(inner["output_layers"])
    for entry in without_masks(inner["layers"], [name for name, _, _ in ends]):
        name = name_of(entry)
        if entry["class_name"] == "InputLayer":
            values[name, 0, 0] = Input(_declared(entry)[1:], dtype=entry["config"].get("dtype") or "float32", name=name)
            continue
        if is_operation(entry):
            layers[name] = operation(entry)
        else:
            layers[name] = layer_of(entry, custom_objects)
            if layers[name].is_container:
                layers[name].name = name
        waiting += [(name, number, as_list(layers[name], node)) for number, node in enumerate(entry["inbound_nodes"])]
    first, first_end = _first_numbers(inner["layers"], ends)
    while waiting:
        later = []
        for name, number, node in waiting:
            plain = isinstance(layers[name], Layer)
            sources, training = _sources(node, plain)
            sources = [(source, use - first.get(source, 0), index) for source, use, index in sources]
            masks = [mask and (mask[0], mask[1] - first.get(mask[0], 0), mask[2]) for mask in places_of_masks(node)]
            if not all(source in values for source in [*sources, *filter(None, masks)]):
                later.append((name, number, node))
                continue
            several = [values[source] for source in sources]
            if plain:
                x = several if layers[name].takes_several or len(several) > 1 else several[0]
                mask = mask_for(layers[name], [place and values[place] for place in masks])
                made = layers[name](x, _fixed(layers[name], training), **mask)
            else:
                made = layers[name](*arguments_of(node, values))
            for index, value in enumerate(made if isinstance(made, list) else [made]):
                values[name, number, index] = value
        if len(later) == len(waiting):
            raise ValueError(f"layer {waiting[0][0]!r} needs what no layer makes: the nodes of the file form a circle")
        waiting = later
    inputs = [values[place] for place in _places(inner["input_layers"])]
    outputs = [values[source, use - first_end.get(source, 0), index] for source, use, index in ends]
    keys = Keys(keys_of(inner["input_layers"]), keys_of(inner["output_layers"]))
    return Model(*keys.ends(inputs, outputs), name=inner.get("name"))


def _first_numbers(entries: list[dict[str, Any]], ends: list[tuple[str, int, int]]) -> tuple[dict[str, int], dict[str, int]]:
    """The number of the first use of each model inside: where layers take what it gives, and among the outputs.

    Keras counts a model's own making as a use: Keras 2 everywhere, Keras 3 for functional models, among the outputs alone.
    """
    models = {name_of(entry): entry for entry in entries if entry["class_name"] in MODELS}
    nodes = [node for entry in entries for node in entry.get("inbound_nodes", ())]
    if any(isinstance(node, dict) for node in nodes):
        from_zero = {name for name, use, _ in ends if use == 0}  # as no Keras, but older versions of minitl wrote it
        functional = {name for name, entry in models.items() if entry["class_name"] != "Sequential"}
        return {}, dict.fromkeys(functional - from_zero, 1)
    taken = [*ends, *(source for node in nodes for source in _sources(node, True)[0])]
    first = {name: min((use for source, use, _ in taken if source == name), default=0) for name in models}
    return first, first


def _sources(node: Any, values_alone: bool) -> tuple[list[tuple[str, int, int]], Any]:
    """Where the inputs of a node come from, and `training` if its call fixed it; a layer takes `values_alone`."""
    if isinstance(node, dict):
        found: list[tuple[str, int, int]] = []
        _collect(node["args"], found, values_alone)
        kwargs = node.get("kwargs") or {}
        _collect(kwargs.get("initial_state"), found, values_alone)
        training = kwargs.get("training")
        return found, training if isinstance(training, bool) else None
    if node and not isinstance(node[0], (list, tuple)):
        node = [node]
    states = [state for part in node if len(part) > 3 for state in (part[3] or {}).get("initial_state") or []]
    training = [(part[3] or {}).get("training") for part in node if len(part) > 3]
    fixed = next((value for value in training if isinstance(value, bool)), None)
    return [(part[0], part[1], part[2]) for part in [*node, *states]], fixed


def _fixed(layer: Any, training: bool | None) -> bool | None:
    """`training` where a program fixed it: Keras 3 writes the default of a layer's call, too, which fixes nothing."""
    if isinstance(layer, (BatchNormalization, Bidirectional, TimeDistributed)) or layer.is_container:
        return training
    return None if training is isinstance(layer, RandomImage) else training


def _collect(args: Any, found: list[tuple[str, int, int]], values_alone: bool) -> None:
    if isinstance(args, list):
        for part in args:
            _collect(part, found, values_alone)
    elif isinstance(args, dict) and args.get("class_name") == "__keras_tensor__":
        layer, node, index = args["config"]["keras_history"]
        found.append((layer, node, index))
    elif args is not None and values_alone:
        raise ValueError(f"a layer is called on {str(args)[:60]}, which is no value")


def _places(listed: Any) -> list[tuple[str, int, int]]:
    listed = list(listed.values()) if isinstance(listed, dict) else listed
    if listed and not isinstance(listed[0], (list, tuple)):
        listed = [listed]
    return [(part[0], part[1], part[2]) for part in listed]
