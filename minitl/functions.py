"""Functions of a program's own: a loss, a metric, an activation, a penalty may be whatever can be called, as in Keras."""

from __future__ import annotations

import re
from typing import Any

LIBRARIES = ("minitl", "tensorflow", "keras", "torch", "jax")


def is_function(found: Any) -> bool:
    """Whether something can be called and is neither a class nor an object of minitl's.

    A `def`, a lambda, a method, a `functools.partial`, a function of NumPy's, and an object of a class with `__call__` are such.
    """
    return callable(found) and not isinstance(found, type) and type(found).__module__.split(".")[0] != "minitl"


def is_known(function: Any) -> bool:
    """Whether it is a function of minitl's, or of a library that has the same ones under the same names."""
    return is_function(function) and str(getattr(function, "__module__", "")).split(".")[0] in LIBRARIES


def function_name(function: Any) -> str:
    """The name that a history or a file knows a function by: its own, or that of its class in small letters (`partial`)."""
    return getattr(function, "__name__", None) or in_small_letters(type(function).__name__)


def in_small_letters(class_name: str) -> str:
    """A class's name as functions are written: `LogicalAnd` as `logical_and`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower()
