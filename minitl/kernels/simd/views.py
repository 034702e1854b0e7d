"""Arrays from pointers: what a task kernel gets, as an array of a shape; and constants of its numbers' type."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from minitl.kernels.jit import config, inner


def _view_in_python(numbers: Any, shape: Any) -> np.ndarray:
    """The first numbers of an array in a shape: its definition, and what runs under NUMBA_DISABLE_JIT=1."""
    return numbers[: math.prod(shape)].reshape(shape)


@inner()
def _view_in_llvm(numbers, shape):
    return numba.carray(numbers, shape)


def _constant_in_python(numbers: Any, value: float) -> Any:
    """The value in the numbers' type."""
    return numbers.dtype.type(value)


@intrinsic
def _constant_in_llvm(typingctx, numbers, value):
    def codegen(context, builder, sig, args):
        kind = context.get_value_type(sig.return_type)
        return args[1] if kind == ir.DoubleType() else builder.fptrunc(args[1], kind)

    return numbers.dtype(numbers, types.float64), codegen


view: Any = _view_in_python if config.DISABLE_JIT else _view_in_llvm
constant: Any = _constant_in_python if config.DISABLE_JIT else _constant_in_llvm
