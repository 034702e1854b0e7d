"""Layers whose `call` takes several arguments: `layer(source, context)`, `layer(query=x, value=y)`.

Inside the engine they are a list, as for other layers with several inputs.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from minitl.autodiff import plain
from minitl.graph.value import Undecided, Value, values_in

HOOKS = ("convolution_op", "compute_output_spec")
SETTINGS = ("training", "mask")  # what a call may be told beside its inputs


def examine(cls: Any) -> None:
    """Let a class whose call needs two arguments or more be called with them, and one that takes a mask get it.

    Errors: TypeError for a class that defines what Keras would call and nothing here does.
    """
    if "call" not in vars(cls):
        for hook in HOOKS:
            if hook in vars(cls):
                raise TypeError(f"{cls.__name__}: nothing here calls {hook}(); define call(), or forward() and backward()")
        return
    if cls.is_container or "forward" in vars(cls):
        return
    if "mask" in inspect.signature(cls.call).parameters:
        cls.leave_out, cls.notice_marks = _leaving_out, _noticing
        cls.__call__ = _masking(cls.__call__)
    names, needed = _inputs_of(cls.call)
    cls.spreads = needed > 1
    if cls.spreads:
        cls.takes_several = True
        cls.__call__ = _packing(cls.__call__, names)
    elif len(names) > 1:
        cls.__call__ = _alone(cls.__call__, names)


def _packing(inner: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    @functools.wraps(inner)
    def called(self: Any, *given: Any, training: bool | None = None, **named: Any) -> Any:
        if given and isinstance(given[0], (list, tuple)) and not named:  # in a list already
            return inner(self, given[0], *(given[1:] or [training]))
        found = {**dict(zip(names, given, strict=False)), **named}
        found = {name: value for name, value in found.items() if value is not None}
        if len(given) > len(names) or set(found) - set(names) or list(names[: len(found)]) != [n for n in names if n in found]:
            got = ", ".join(map(str, named)) or len(given)
            raise TypeError(f"{self.label}: takes {', '.join(names)}, got {got}; give each after those before it")
        return inner(self, [found[name] for name in names[: len(found)]], training)

    return called


def _alone(inner: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    packed = _packing(inner, names)

    @functools.wraps(inner)
    def called(self: Any, x: Any, *given: Any, training: bool | None = None, **named: Any) -> Any:
        more = [value for value in (*given, *named.values()) if value is not None]
        if not more or (len(given) == 1 and not named and isinstance(given[0], (bool, Undecided))):
            return inner(self, x, given[0] if more else training)
        if not self.built:  # from now on it has these inputs
            self.spreads = True
        elif not self.spreads:
            raise ValueError(f"{self.label}: was first called with {names[0]} alone; give it the same inputs at every call")
        return packed(self, x, *given, training=training, **named)

    return called


def _masking(inner: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(inner)
    def called(self: Any, *given: Any, mask: Any = None, **named: Any) -> Any:
        if mask is None:
            return inner(self, *given, **named)
        if isinstance(mask, Value) or (given and values_in(given[0]) is not None):
            raise TypeError(f"{self.label}: mask= takes an array, inside a call; of values it is an input, under another name")
        vars(self)["given_mask"] = plain(mask)  # no setting: nothing that was planned changes with it
        try:
            return inner(self, *given, **named)
        finally:
            vars(self).pop("given_mask", None)

    return called


def _leaving_out(self: Any, values: list[Any]) -> list[Any]:
    masking: Any = importlib.import_module("minitl.layers.masking")
    return [masking.left_out(values[0]), *values[1:]]


def _noticing(self: Any, values: list[Any]) -> None:
    masking: Any = importlib.import_module("minitl.layers.masking")
    self.marked = masking.leaves_out_steps(values[0])


def _inputs_of(call: Callable[..., Any]) -> tuple[list[str], int]:
    """The names of a call's inputs, and how many of them have no default."""
    parameters = [p for p in list(inspect.signature(call).parameters.values())[1:] if p.name not in SETTINGS]
    inputs = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [p.name for p in inputs], sum(p.default is p.empty for p in inputs)
