"""Models in files: the architecture as JSON, the weights, and how the model was compiled; and back, for files of any origin.

    {"format": 2, "model": {"class_name", "config"}, "preprocessing", "compile": {"optimizer", "iterations", "loss", ...},
     "training": where a run of fit stands}

A Sequential's config lists its layers. A Model's lists layers, and nodes that refer to them and to the values that they take by
number: the inputs are 0, 1, ..., and every node adds its outputs. Format 1 had Sequential alone; it still loads.

An architecture is not trusted: only minitl's own classes are made, and those in `custom_objects`, and no more room is taken for
weights than the file has numbers. What holds a model is never changed half-way: a file is rebuilt whole or not at all.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

from minitl import channels, metrics
from minitl import weights as weight_files
from minitl.errors import unknown
from minitl.functions import function_name, is_function
from minitl.layers.base import Layer
from minitl.layers.known import is_ours, layer_classes, makes_its_own
from minitl.layers.names import check_name
from minitl.layers.reserve import limited_weights
from minitl.losses.of_values import LossOf  # noqa: F401 (a layer that a file may ask for)
from minitl.models.foreign import foreign, load_foreign
from minitl.models.training_state import add_training, take_memory, take_training
from minitl.preprocessing.record import Preprocessing
from minitl.serialization import custom_object_scope, custom_objects_now, decode, encode

FORMAT = 2


def save_model(model: Any, filepath: str | os.PathLike) -> None:
    """Write architecture, weights and, when compiled, optimizer, loss and metrics with their state to one file.

    Errors: ValueError for a model without weights, or a path that is no file's; TypeError for a part that cannot be described.
    """
    model._need_built("save")
    weight_files.check_target(filepath)
    arrays = weight_files.named_weights(model)
    config: dict[str, Any] = {"format": FORMAT, "model": encode(model), "preprocessing": encode(model.preprocessing)}
    if model.class_names is not None:
        config["class_names"] = list(map(str, model.class_names))
    if model.origin is not None:
        config["origin"] = dict(model.origin)
    if model.checkpoint is not None:
        config["checkpoint"] = model.checkpoint
    if model.optimizer is not None and not model.loss_is_the_program_s:
        config["compile"] = {
            "optimizer": encode(model.optimizer),
            "iterations": model.optimizer.iterations,
            "loss": encode(model.loss),
            "loss_weights": encode(model.loss_weights),
            "metrics": encode(model.metrics),
        }
        add_training(model, arrays, config)
    weight_files.write(filepath, arrays, config)


def load_model(filepath: str | os.PathLike, custom_objects: dict[str, Any] | None = None, compile: bool = True) -> Any:
    """Rebuild a model that `save` wrote: architecture, weights, and how it was compiled (unless `compile` is false).

    Your own classes and functions go into custom_objects, by name; nothing else than they and minitl's own is ever made.
    Files of other programs (.keras, .h5, .onnx) are read by `minitl.interop`; Keras's come back compiled, the optimizer anew.
    Errors: FileNotFoundError, or ValueError for a damaged or foreign file, or a class that is not known.
    """
    if foreign(filepath):
        return load_foreign(filepath, custom_objects, compile)
    arrays, config = weight_files.read(filepath)
    if config is None:
        raise ValueError(f"{filepath} holds weights only; build the model and call load_weights")
    if config.get("format") not in (1, FORMAT) or not isinstance(config.get("model"), dict):
        raise ValueError(f"{filepath}: unknown model format {config.get('format')!r}; was it written by a newer minitl?")
    own = {key: array for key, array in arrays.items() if not key.startswith((weight_files.OPTIMIZER, weight_files.TRAINING))}
    try:
        with custom_object_scope(custom_objects or {}), limited_weights(sum(array.size for array in own.values())):
            described = config["model"]
            if "layers" in described.get("config", {}):
                described = {"class_name": "Sequential", **described}
            model = _layer_from({"name": None, **described}, custom_objects)
            model.preprocessing = decode("preprocessing", config.get("preprocessing"), {"Preprocessing": Preprocessing})
            if not (model.preprocessing is None or isinstance(model.preprocessing, Preprocessing)):
                raise TypeError(f"preprocessing is {model.preprocessing!r}")
            model.class_names = _names(config.get("class_names"))
            model.origin = _origin(config.get("origin"))
            model.checkpoint = _checkpoint(config.get("checkpoint"))
            if compile:
                _restore_compile(model, config.get("compile"))
            if model.optimizer is not None:
                take_training(model, arrays, config)
    except Exception as error:  # whatever a damaged description makes constructors raise
        what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{filepath}: the architecture in it cannot be rebuilt: {what}") from error
    if own or model.weights:
        weight_files.load_into(model, own, str(filepath), missing_ok=False, shapes_ok=False)
    if model.optimizer is not None:
        take_memory(model, arrays, str(filepath))
    return model


def model_from_json(text: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """The model that `to_json` described, with new weights; descriptions of Keras are read too.

    Errors: ValueError for a text that describes no model.
    """
    import json

    try:
        described = json.loads(text)
        if "format" not in described:
            architecture: Any = importlib.import_module("minitl.interop.keras_architecture")
            versions: Any = importlib.import_module("minitl.interop.keras_versions")
            described = versions.in_terms_of_keras_3(described, str(described.get("keras_version", "3")))
            return architecture.rebuilt(described, custom_objects)
        with custom_object_scope(custom_objects or {}):
            return _layer_from({"name": None, **described["model"]}, custom_objects)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"model_from_json: the text describes no model ({type(error).__name__}: {error})") from error


def clone_model(model: Any) -> Any:
    """The same architecture with new weights of its own; not compiled."""
    with custom_object_scope(_classes_in(model)):
        kind = importlib.import_module("minitl.models").Model if hasattr(model, "saved_as") else type(model)
        return kind.from_config(encode(model)["config"], {type(l).__name__: type(l) for l in _all_layers(model)})


def layers_from(described: list[dict[str, Any]], custom_objects: dict[str, Any] | None) -> list[Layer]:
    """The layers of an architecture, with their names and flags.

    Errors: ValueError for a class that is not known; whatever a constructor raises for wrong settings.
    """
    return [_layer_from(data, custom_objects) for data in described]


def _checkpoint(found: Any) -> dict[str, Any] | None:
    if found is not None:
        kinds: dict[str, Any] = {"filepath": str, "monitor": str, "saved": str, "best": (int, float)}
        if not (isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in kinds.items())):
            raise TypeError(f"checkpoint is {found!r}")
    return found


def _names(found: Any) -> list[str] | None:
    if found is not None and not (isinstance(found, list) and all(isinstance(name, str) for name in found)):
        raise TypeError(f"class_names is {found!r}")
    return found


def _origin(found: Any) -> dict[str, str] | None:
    if found is not None and not (isinstance(found, dict) and all(isinstance(text, str) for text in found.values())):
        raise TypeError(f"origin is {found!r}")
    return found


def _layer_from(data: dict[str, Any], custom_objects: dict[str, Any] | None) -> Any:
    name, known = data["class_name"], {**layer_classes(), **custom_objects_now(), **(custom_objects or {})}
    if name not in known:
        raise ValueError(f"{unknown('layer class', name, known)}; your own go into custom_objects={{{name!r}: {name}}}")
    cls = known[name]
    if not (isinstance(cls, type) and issubclass(cls, Layer)):
        raise TypeError(f"{name} is not a layer")
    make: Any = cls.from_config
    with channels.inside():
        config = data["config"] if is_ours(cls) else _with_objects(cls, data["config"], custom_objects)
        layer = make(config, custom_objects) if cls.is_container else make(config)
    if data.get("name") is not None:
        check_name(data["name"])
        layer.name = data["name"]
    if not layer.is_container and not data.get("trainable", True):
        layer.trainable = False
    return layer


def _with_objects(cls: type, config: dict[str, Any], custom_objects: dict[str, Any] | None) -> dict[str, Any]:
    """The settings of a layer of the user's own, with the layers and functions in them, unless its from_config makes these."""
    if makes_its_own(cls):
        return config
    made = dict(config)
    for key, value in config.items():
        if isinstance(value, dict) and value.get("class_name") == "function":
            with custom_object_scope(custom_objects or {}):
                made[key] = decode("layer", value, {})
        elif isinstance(value, dict) and "config" in value and value.get("class_name") in layer_classes():
            made[key] = _layer_from(value, custom_objects)
    return made


def _restore_compile(model: Any, saved: dict[str, Any] | None) -> None:
    if saved is None:
        return
    several = isinstance(saved["loss"], list)
    model.compile(saved["optimizer"], saved["loss"], None, saved.get("loss_weights"))
    described = saved["metrics"] if several else [saved["metrics"]]
    of_outputs = [[metrics.get(metric) for metric in group] for group in described]
    model.metrics = of_outputs if several else of_outputs[0]
    model.optimizer.iterations = int(saved["iterations"])


def _all_layers(model: Any) -> Iterator[Layer]:
    for layer in model.layers:
        yield layer
        if layer.is_container:
            yield from _all_layers(layer)


def _classes_in(model: Any) -> dict[str, Any]:
    """The classes and functions that a model's layers were made with, by name."""
    found: dict[str, Any] = {}
    for layer in _all_layers(model):
        found[type(layer).__name__] = type(layer)
        for value in {} if layer.is_container else layer.get_config().values():
            if hasattr(value, "get_config"):
                found[type(value).__name__] = type(value)
                value = getattr(value, "function", None)  # of an initializer or regularizer that is a function
            if is_function(value):
                found[function_name(value)] = value
    return found
