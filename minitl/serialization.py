"""Objects as plain data and back: `{"class_name": ..., "config": {...}}`, from closed lists of classes.

An object's configuration is what its constructor takes, read from the attributes of the same names.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import numpy as np

from minitl.errors import unknown
from minitl.functions import function_name, is_function


def constructor_arguments(instance: object, skip: tuple[str, ...] = (), partly: bool = False) -> dict[str, Any]:
    """Every constructor argument of an object, base classes' included, from the attribute of the same name.

    With `partly`, those that were kept: a `get_config` of the user's own adds the others.
    Errors: TypeError when an argument was not kept as an attribute.
    """
    arguments: dict[str, Any] = {}
    for cls in type(instance).__mro__[:-1]:
        if "__init__" not in vars(cls):
            continue
        parameters = list(inspect.signature(vars(cls)["__init__"]).parameters.values())[1:]
        takes_more = any(p.kind is p.VAR_KEYWORD for p in parameters)
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) or parameter.name in {*arguments, *skip}:
                continue
            if not hasattr(instance, parameter.name):
                if partly:
                    continue
                raise TypeError(
                    f"{type(instance).__name__}: the constructor's argument {parameter.name!r} is not kept as "
                    f"self.{parameter.name}; keep it, or write get_config()"
                )
            arguments[parameter.name] = getattr(instance, parameter.name)
        if not takes_more:
            break
    return arguments


class Configured:
    """What can be made anew from its constructor's arguments."""

    kind = "object"  # what errors call it

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return constructor_arguments(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The object that `get_config` described; a function in it is found among the custom objects.

        Errors: ValueError for a function that is not there.
        """
        return cls(**{name: decode(cls.kind, value, {}) if _is_function(value) else value for name, value in config.items()})


_everywhere: dict[str, Any] = {}
_custom: ContextVar[Mapping[str, Any]] = ContextVar("custom_objects", default=_everywhere)


@contextlib.contextmanager
def custom_object_scope(objects: Mapping[str, Any]) -> Iterator[None]:
    """Inside the block, classes and functions of the user's own are found by their names."""
    token = _custom.set({**_custom.get(), **objects})
    try:
        yield
    finally:
        _custom.reset(token)


def custom_objects_now() -> dict[str, Any]:
    """The user's classes and functions that are known here, by name."""
    return dict(_custom.get())


def custom_object(name: str) -> Any:
    """The user's class or function of a name; None where there is none."""
    return _custom.get().get(name)


def get_custom_objects() -> dict[str, Any]:
    """The user's classes and functions that are found everywhere: put yours in, by name."""
    return _everywhere


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Any:
    """A decorator that makes a class or function known by its name, so that files with it load."""

    def known(decorated: Any) -> Any:
        _everywhere[name or decorated.__name__] = decorated
        return decorated

    return known


def encode(value: Any) -> Any:
    """Turn a configuration into what JSON can hold."""
    if hasattr(value, "get_config"):
        name = getattr(value, "saved_as", type(value).__name__)
        return {"class_name": name, "config": encode(value.get_config())}
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if is_function(value) and function_name(value).isidentifier():
        return {"class_name": "function", "config": function_name(value)}
    raise TypeError(f"cannot save {value!r} in a model file; give it a name, or a class with get_config()")


def decode(kind: str, data: Any, classes: Mapping[str, type]) -> Any:
    """Make an object from `{"class_name", "config"}`, of a class in `classes` or the user's own; anything else comes back as is.

    Errors: ValueError for a class or function that is not in the list.
    """
    if not (isinstance(data, dict) and "class_name" in data):
        return data
    name, custom = data["class_name"], _custom.get()
    config = data.get("config", {})
    if name == "function":
        if config not in custom:
            raise ValueError(
                f"{unknown(f'{kind} function', config, custom)}; it goes into custom_objects={{{config!r}: {config}}}"
            )
        return custom[config]
    if name not in classes and name not in custom:
        raise ValueError(f"{unknown(f'{kind} class', name, classes)}; your own go into custom_objects={{{name!r}: {name}}}")
    cls: Any = custom[name] if name in custom else classes[name]
    return cls.from_config(config) if hasattr(cls, "from_config") else cls(**config)


def _is_function(data: Any) -> bool:
    return isinstance(data, dict) and data.get("class_name") == "function"


def lookup(kind: str, identifier: Any, named: Mapping[str, Any]) -> Any:
    """What a user means by a name, a class, a configuration or an object: the named default, or the object itself.

    Names are compared without case, as Keras does; a class's own name ("HeNormal") is one, too.
    Errors: ValueError for a name that does not exist.
    """
    if isinstance(identifier, type):  # without its parentheses
        return identifier()
    if isinstance(identifier, str):
        if identifier in _custom.get():
            found = _custom.get()[identifier]
            return found() if isinstance(found, type) else found
        if identifier.lower() in named:
            return named[identifier.lower()]()
    classes = {factory.__name__: factory for factory in named.values()}
    if isinstance(identifier, str):
        if identifier not in classes:
            raise unknown(kind, identifier, named)
        return classes[identifier]()
    if isinstance(identifier, dict) and str(identifier.get("class_name")).lower() in named:
        identifier = {**identifier, "class_name": named[identifier["class_name"].lower()].__name__}
    return decode(kind, identifier, classes)
