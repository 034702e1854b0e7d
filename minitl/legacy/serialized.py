"""`serialize` and `deserialize`, as Keras's modules have them: an object as plain data, and back."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from minitl.serialization import custom_object_scope, decode, encode

MODULES = ("initializers", "regularizers", "constraints", "schedules", "losses", "metrics", "optimizers")


def serialize_keras_object(obj: Any) -> Any:
    """`{"class_name": ..., "config": ...}` of an object; names and numbers are as they are.

    Errors: TypeError for an object without a configuration.
    """
    return encode(obj)


def deserialize_keras_object(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The object that `serialize_keras_object` described: a layer, an optimizer, a loss, an initializer ...

    Errors: ValueError for a class or function that is not known.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        return config
    known: dict[str, Any] = {}
    for name in MODULES:
        module: Any = importlib.import_module(f"minitl.{name}")
        named = {cls.__name__: cls for cls in getattr(module, "NAMED", {}).values()}
        known.update({**named, **getattr(module, "CLASSES", {})})
    saving: Any = importlib.import_module("minitl.models.saving")
    with custom_object_scope(custom_objects or {}):
        if config["class_name"] in known or config["class_name"] == "function":
            return decode("object", config, known)
        if "module" in config:  # as Keras 3 describes a layer
            return importlib.import_module("minitl.interop.keras_architecture").layer_of(config)
        return saving.layers_from([config], custom_objects)[0]


def offer(modules: Iterable[ModuleType]) -> None:
    """Let modules have the two functions under Keras's names."""
    for module in modules:
        module.serialize, module.deserialize = serialize_keras_object, deserialize_keras_object  # type: ignore[attr-defined]
