"""Machine code that other compiled code calls by its name, so that it is compiled once and not into every kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from minitl.kernels.jit import compile_c, config

_functions: dict[str, tuple[int, Callable[..., Any]]] = {}
_compiled: dict[tuple[str, np.dtype], Any] = {}  # keeps the machine code alive


def by_name(name: str, integers: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function of so many integers, addresses among them, and a last argument of the dtype it is for."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        _functions[name] = integers, function
        return function

    return decorate


def ready(dtype: np.dtype) -> None:
    """Compile the functions for float32 or float64, or load them; what calls them must be compiled after."""
    for name, (integers, function) in _functions.items():
        if (name, dtype) not in _compiled and not config.DISABLE_JIT:
            signature = types.void(*[types.intp] * integers, numba.from_dtype(dtype))
            _compiled[name, dtype] = compile_c(signature, function)
            llvmlite.binding.add_symbol(_symbol(name, dtype.itemsize), _compiled[name, dtype].address)


def call(builder: ir.IRBuilder, name: str, size: int, arguments: list[Any]) -> None:
    """Inside an intrinsic: call the function for numbers of `size` bytes."""
    kind = ir.FunctionType(ir.VoidType(), [value.type for value in arguments])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, _symbol(name, size)), arguments)


def _symbol(name: str, size: int) -> str:
    return f"minitl_{name}_f{8 * size}"
