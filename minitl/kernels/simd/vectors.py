"""Columns and rows in the processor's vectors, and what emitting vector code needs everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from minitl.kernels.jit import config
from minitl.kernels.processor import ROWS, VECTOR_BYTES, VECTORS

INT = ir.IntType(64)


def whole_vectors(columns: int, dtype: np.dtype) -> int:
    """A number of columns, rounded up to whole vectors."""
    count = VECTOR_BYTES // dtype.itemsize
    return -(-columns // count) * count


def tile_columns(dtype: np.dtype) -> int:
    """How many columns the widest tile has."""
    return VECTORS * VECTOR_BYTES // dtype.itemsize


def tile_rows(columns: int, dtype: np.dtype) -> int:
    """How many rows to cut work by: a tile of one vector of columns needs twice as many to keep the processor busy."""
    return ROWS if columns > VECTOR_BYTES // dtype.itemsize else 2 * ROWS


def _lanes_in_numpy(array):
    return VECTOR_BYTES // array.itemsize


@intrinsic
def _lanes_in_llvm(typingctx, array):
    """How many numbers of an array a vector holds."""
    count = VECTOR_BYTES // (array.dtype.bitwidth // 8)
    return types.intp(array), lambda context, builder, sig, args: INT(count)


lanes: Any = _lanes_in_numpy if config.DISABLE_JIT else _lanes_in_llvm


def broadcast(builder: ir.IRBuilder, number: Any, vector: ir.VectorType) -> Any:
    """Inside an intrinsic: a vector of the same number everywhere."""
    none = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(none, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count))


def call_one(
    builder: ir.IRBuilder, key: Any, functions: dict[int, ir.Function], given: Any, other: ir.Function | None = None
) -> None:
    """Inside an intrinsic: call the function that a number stands for; for none of them the other one, if there is one."""
    done = builder.append_basic_block("done")
    none = done if other is None else builder.append_basic_block("other")
    choice = builder.switch(key, none)
    blocks = [] if other is None else [(none, other)]
    for number, function in functions.items():
        blocks.append((builder.append_basic_block(f"case_{number}"), function))
        choice.add_case(INT(number), blocks[-1][0])
    for block, function in blocks:
        builder.position_at_end(block)
        builder.call(function, given)
        builder.branch(done)
    builder.position_at_end(done)


def internal(module: ir.Module, name: str, kinds: list[ir.Type]) -> ir.Function:
    """A new function of the module, which is called and not copied into what calls it."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return function


def pointer(context: Any, builder: ir.IRBuilder, kind: types.Type, value: Any) -> Any:
    """Inside an intrinsic: where an argument's numbers begin; it is an array, or a pointer already."""
    if isinstance(kind, types.CPointer):
        return value
    return context.make_array(kind)(context, builder, value).data
