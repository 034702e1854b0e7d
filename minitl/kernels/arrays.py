"""Arrays as kernels take them: of one dtype, one number behind another, and zero where sums begin.

In a pass that is recorded, a copy or a zero that is made here is made again whenever the pass is played.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.kernels import memory
from minitl.kernels.recording import also


def common_dtype(*arrays: np.ndarray) -> np.dtype:
    """The dtype that a kernel computes in: float32 when all are, else float64; TypeError for anything else."""
    dtype = arrays[0].dtype
    for array in arrays:
        if array.dtype != dtype:
            dtype = np.result_type(*arrays)
    if dtype.char not in "fd":
        raise TypeError(f"kernels compute in float32 and float64, got {dtype}; convert, or use set_backend('numpy')")
    return dtype


def contiguous(array: np.ndarray, dtype: Any) -> np.ndarray:
    """The array in row order and in a dtype; no copy where it is like that already."""
    if array.flags.c_contiguous and array.dtype == dtype:
        return array
    copy = memory.empty(array.shape, dtype)
    also(np.copyto, copy, array, "unsafe")
    return copy


def flat(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array's elements in row order along one axis, in a dtype; no copy where it is like that already."""
    return contiguous(array, dtype).reshape(-1)


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Like `np.zeros`, in memory that may have been used before."""
    array = memory.empty(shape, dtype)
    also(np.ndarray.fill, array, 0)
    return array
