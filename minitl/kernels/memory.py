"""Arrays whose memory is used again.

A large array from `np.empty` is memory fresh from the operating system, which has to be mapped and zeroed page by page at
the first touch, and is given back when the array dies. In a training step that costs more than the arithmetic
(`benchmarks/memory.py` counts the page faults). Here, a block of memory returns to a shelf when the last array that
looks into it is gone, and the next array of about its size takes it from there.

So nothing is overwritten that anybody still holds: an array that a user keeps keeps its block.
"""

from __future__ import annotations

import functools
import math
import threading
from typing import Any

import numpy as np

SMALL = 1 << 15  # bytes below which NumPy's own allocator is as good
ALIGNMENT = 64  # bytes: a cache line, and the widest vector
SHELF_LIMIT = 1 << 28  # bytes that may lie unused

_shelf: dict[int, list[tuple[np.ndarray, int]]] = {}  # blocks, and where in them the first cache line begins
_unused = 0
_local = threading.local()
_lock = threading.RLock()  # batches are made in a background thread; and a lease may end while one is begun


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Like `np.empty`: contiguous, contents undefined; in memory that may have been used before."""
    dtype = np.dtype(dtype)
    capacity = _capacity(shape, dtype.itemsize)
    return np.asarray(_Lease(capacity, shape, dtype)) if capacity > SMALL else np.empty(shape, dtype)


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Like `np.zeros`, in memory that may have been used before."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def workspace(purpose: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Like `empty`, for what a kernel needs only until it returns: the next call for this purpose gets the same memory.

    Each Python thread has its own.
    """
    capacity = _capacity(shape, dtype.itemsize)
    kept = vars(_local)
    block = kept.get(purpose)
    if block is None or len(block) < capacity:
        block = np.empty(capacity + ALIGNMENT, np.uint8)
        block = kept[purpose] = block[_aligned(block) - _address(block) :]
    return np.ndarray(shape, dtype, block)


class _Lease:
    """What arrays hold on to; when the last of them is gone, the block goes back to the shelf."""

    def __init__(self, capacity: int, shape: tuple[int, ...], dtype: np.dtype):
        global _unused
        with _lock:
            blocks = _shelf.get(capacity)
            block = blocks.pop() if blocks else None
            _unused -= capacity if block is not None else 0
        if block is None:
            memory = np.empty(capacity + ALIGNMENT, np.uint8)
            block = memory, _aligned(memory)
        self.capacity, self.block = capacity, block
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": dtype.str, "data": (block[1], False)}

    def __del__(self) -> None:
        global _unused
        capacity = self.capacity
        if _lock is None or _unused is None:  # the interpreter is on its way out
            return
        with _lock:
            if _unused + capacity <= SHELF_LIMIT:
                _shelf.setdefault(capacity, []).append(self.block)
                _unused += capacity


@functools.lru_cache(maxsize=4096)
def _capacity(shape: tuple[int, ...], itemsize: int) -> int:
    """Bytes for an array: up to the next of eight steps between powers of two, so that nearly equal sizes share blocks."""
    size = itemsize * math.prod(shape)
    step = 1 << max(12, size.bit_length() - 4)
    return -(-size // step) * step


def _address(block: np.ndarray) -> int:
    return int(block.__array_interface__["data"][0])


def _aligned(block: np.ndarray) -> int:
    return -(-_address(block) // ALIGNMENT) * ALIGNMENT
