"""Concatenate, in memory that may have been used before; the mathematics is in `minitl.ops.concatenate`."""

from __future__ import annotations

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import contiguous
from minitl.kernels.recording import also
from minitl.ops import concatenate as book


def forward(*x: np.ndarray, axis: int = -1) -> tuple[np.ndarray, tuple]:
    """y = the inputs, one behind another."""
    ends = np.cumsum([part.shape[axis] for part in x])
    shape = [*x[0].shape]
    shape[axis] = int(ends[-1])
    y = memory.empty(tuple(shape), np.result_type(*x))
    also(np.concatenate, x, axis, y)
    return y, (ends[:-1], axis, y.shape)


def backward(dy: np.ndarray, cache: tuple) -> tuple[np.ndarray, ...]:
    """dx_i = its part of dy."""
    return tuple(contiguous(part, part.dtype) for part in book.backward(dy, cache))
