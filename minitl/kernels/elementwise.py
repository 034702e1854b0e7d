"""Kernels that go through numbers one by one: how they are cut, into tasks of so many neighbours, and called."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.launch import TaskKernel, launch
from minitl.kernels.processor import ELEMENTS_PER_TASK
from minitl.ops.window import check_shape


class Elements(NamedTuple):
    """A number of elements, and how many of them one task takes."""

    elements: int
    per_task: int


def launch_elements(kernel: TaskKernel, *arrays: np.ndarray) -> None:
    """Run a kernel over flat arrays of one length."""
    count = arrays[0].size
    launch(kernel, -(-count // ELEMENTS_PER_TASK), Elements(count, ELEMENTS_PER_TASK), *arrays)


def values(kernel: TaskKernel, x: np.ndarray, *settings: float) -> np.ndarray:
    """y, of which a kernel (x, y), or (x, y, settings), makes each number from that of x."""
    y = memory.empty(x.shape, common_dtype(x))
    launch_elements(kernel, flat(x, y.dtype), y, *_as_one(settings, y.dtype))
    return y


def gradients(operation: str, kernel: TaskKernel, dy: np.ndarray, kept: np.ndarray, *settings: float) -> np.ndarray:
    """dx, of which a kernel (dy, kept, dx), or with settings behind, makes each number; kept is x or y.

    Errors: ValueError with the operation's name for a dy of another shape.
    """
    check_shape(operation, "dy", dy.shape, kept.shape)
    dx = memory.empty(dy.shape, common_dtype(dy, kept))
    launch_elements(kernel, flat(dy, dx.dtype), flat(kept, dx.dtype), dx, *_as_one(settings, dx.dtype))
    return dx


def _as_one(settings: tuple[float, ...], dtype: np.dtype) -> list[np.ndarray]:
    return [np.array(settings, dtype)] if settings else []
