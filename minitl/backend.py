"""Which of the two houses a call uses: the book (`minitl.ops`) or the engine (`minitl.kernels`)."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from minitl.errors import unknown

FOLDERS = {"numba": "kernels", "numpy": "ops"}
_backend = os.environ.get("MINITL_BACKEND", "numba")


def set_backend(name: str) -> None:
    """Compute with "numba" (the compiled kernels, the default) or "numpy" (the book) from now on.

    The environment variable MINITL_BACKEND sets it from outside. Caches are the same in both, so it may change at
    any time, even between a forward and its backward pass.
    Errors: ValueError for another name.
    """
    global _backend
    if name not in FOLDERS:
        raise unknown("backend", name, FOLDERS)
    _backend = name


def get_backend() -> str:
    """The backend in use: "numba" or "numpy"."""
    return _backend


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Compute with the named backend inside a `with` block."""
    before = _backend
    set_backend(name)
    try:
        yield
    finally:
        set_backend(before)


def op(name: str) -> ModuleType:
    """The module of an operation ("conv2d", "relu", ...) in the backend in use, with its forward and backward."""
    if _backend not in FOLDERS:
        raise unknown("backend (from MINITL_BACKEND)", _backend, FOLDERS)
    return _load(FOLDERS[_backend], name)


def engine(name: str) -> ModuleType:
    """A module of `minitl.kernels`, imported at its first use: Numba takes a while to load."""
    return _load("kernels", name)


def write(function: Callable[..., Any], *arguments: Any) -> None:
    """Call a NumPy function that writes into one of its arguments, so that a pass which is recorded has it too."""
    if _backend == "numba":
        engine("recording").also(function, *arguments)
    else:
        function(*arguments)


@functools.cache
def _load(folder: str, name: str) -> ModuleType:
    return importlib.import_module(f"minitl.{folder}.{name}")


__path__: list[str] = []  # older programs import `backend.tensorflow_backend`, which `minitl.legacy.modules` finds


def __getattr__(name: str) -> Any:  # `backend as K`: what other programs mean by this module's name
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in ("backend", "backend_more", "windows"):
        found = importlib.import_module(f"minitl.legacy.{module}")
        if hasattr(found, name):
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
