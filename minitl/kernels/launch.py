"""Running one function for many tasks on all threads.

A kernel's body is compiled as a C function, for one task, and a single parallel loop calls it by its address: Numba's
compilation for parallel code is slow, and this way it happens once and not for every kernel. What a body gets is always
the same,

    body(task, a, b, c, d, small, numbers, room)

four arrays of one dtype, one of small integers (np.uint8), one of np.int64 for sizes and places, and a row of scratch
memory that no other thread uses meanwhile; all as pointers, which index like arrays of one axis and know no length. Which
task a thread gets must not matter: a body writes what belongs to its task, and `room`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import get_thread_id, prange
from numba.core import types

from minitl.kernels import memory
from minitl.kernels.jit import compile_c, config, jit
from minitl.kernels.simd import ready
from minitl.kernels.simd.calls import call_task

INTERPRETED: bool = config.DISABLE_JIT
NOTHING = np.empty(0, np.uint8)
THREADS = config.NUMBA_NUM_THREADS  # of the pool; fewer may be in use
NO_ROOM = {np.dtype(kind): np.empty((THREADS, 0), kind) for kind in (np.float32, np.float64)}


class Body:
    """A function body(task, a, b, c, d, small, numbers, room), compiled at its first launch for a dtype."""

    def __init__(self, function: Callable[..., None]):
        self.function = function
        self.addresses: dict[np.dtype, int] = {}  # where the machine code begins
        self._compiled: list[Any] = []  # keeps it alive

    def compile(self, dtype: np.dtype) -> int:
        """The address of the machine code for a dtype."""
        ready(dtype)
        of_dtype, small, numbers = (types.CPointer(numba.from_dtype(np.dtype(d))) for d in (dtype, np.uint8, np.int64))
        signature = types.void(types.intp, *[of_dtype] * 4, small, numbers, of_dtype)
        self._compiled.append(compile_c(signature)(self.function))
        self.addresses[dtype] = self._compiled[-1].address
        return self.addresses[dtype]


def launch(
    body: Body,
    tasks: int,
    numbers: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray = NOTHING,
    d: np.ndarray = NOTHING,
    small: np.ndarray = NOTHING,
    room: int = 0,
) -> None:
    """Run body(task, ...) for every task.

    Shapes: a to d contiguous and of one dtype; `small` np.uint8, `numbers` np.int64; `room` counts numbers, in whole cache
    lines (`memory.whole_lines`).
    """
    dtype = a.dtype
    scratch = memory.workspace("room", (THREADS, room), dtype) if room else NO_ROOM[dtype]
    a, b, small = a.ravel(), b.ravel(), small.ravel()
    c, d = a if c is NOTHING else c.ravel(), a if d is NOTHING else d.ravel()
    if INTERPRETED:
        for task in range(tasks):
            body.function(task, a, b, c, d, small, numbers, scratch[0])
        return
    _launch(body.addresses.get(dtype) or body.compile(dtype), tasks, a, b, c, d, small, numbers, scratch)


@functools.lru_cache(maxsize=1024)
def table(*numbers: int) -> np.ndarray:
    """What a body has to know, as it takes it; kept, since small batches would notice making it."""
    return np.array(numbers, np.int64)


@jit(parallel=True)
def _launch(address, tasks, a, b, c, d, small, numbers, scratch):
    if tasks == 1:  # waking the other threads takes longer than many a task
        call_task(address, 0, a, b, c, d, small, numbers, scratch[0])
        return
    for task in prange(tasks):
        call_task(address, task, a, b, c, d, small, numbers, scratch[get_thread_id()])
