"""Columns and rows in the processor's vectors, and what emitting vector code needs everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from minitl.kernels.processor import ROWS, VECTOR_BYTES, VECTORS

INT = ir.IntType(64)


def whole_vectors(columns: int, dtype: np.dtype) -> int:
    """A number of columns, rounded up to whole vectors."""
    lanes = VECTOR_BYTES // dtype.itemsize
    return -(-columns // lanes) * lanes


def tile_columns(dtype: np.dtype) -> int:
    """How many columns the widest tile has."""
    return VECTORS * VECTOR_BYTES // dtype.itemsize


def tile_rows(columns: int, dtype: np.dtype) -> int:
    """How many rows to cut work by: a tile of one vector of columns needs twice as many to keep the processor busy."""
    return ROWS if columns > VECTOR_BYTES // dtype.itemsize else 2 * ROWS


def broadcast(builder: ir.IRBuilder, number: Any, vector: ir.VectorType) -> Any:
    """Inside an intrinsic: a vector of the same number everywhere."""
    none = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(none, number, ir.IntType(32)(0))
    return builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count))


def pointer(context: Any, builder: ir.IRBuilder, kind: types.Type, value: Any) -> Any:
    """Inside an intrinsic: where an argument's numbers begin; it is an array, or a pointer already."""
    if isinstance(kind, types.CPointer):
        return value
    return context.make_array(kind)(context, builder, value).data
