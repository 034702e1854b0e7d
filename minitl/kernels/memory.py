"""Arrays whose memory is used again.

A large array from `np.empty` is memory fresh from the operating system, which has to be mapped and zeroed page by page at
the first touch, and is given back when the array dies. In a training step that costs more than the arithmetic
(`benchmarks/memory.py` counts the page faults). Here, blocks of memory are kept on a shelf, and the next array of about
its size takes one into which no other array looks any more: Python counts the references to everything anyway.

So nothing is overwritten that anybody still holds: an array that a user keeps keeps its block.
"""

from __future__ import annotations

import functools
import math
import os
import threading
import weakref
from collections.abc import Iterable
from sys import getrefcount
from typing import Any

import numpy as np


def _of_the_machine() -> int:
    """Bytes of the machine's memory, or 4 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 1 << 32


SMALL = 1 << 15  # bytes below which NumPy's own allocator is as good
ALIGNMENT = 64  # bytes: a cache line, and the widest vector
SHELF_LIMIT = max(1 << 29, _of_the_machine() // 8)  # bytes on the shelf and in arenas; what is needed beyond is given back
MANY = 256  # shapes of workspaces to remember

Block = tuple[np.ndarray, int]  # memory, and where in it the first cache line begins

_shelf: dict[int, list[Block]] = {}  # by capacity
_lock = threading.Lock()  # batches are made in a background thread
_arenas: weakref.WeakSet[Arena] = weakref.WeakSet()  # all there are


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Like `np.empty`: contiguous, contents undefined; in memory that may have been used before."""
    dtype = np.dtype(dtype)
    if local.arena is not None:
        return local.arena.empty(shape, dtype)
    capacity = _capacity(shape, dtype.itemsize)
    if capacity <= SMALL:
        return np.empty(shape, dtype)
    # Two threads cannot take the same block: each sees the other's hold on it in the count.
    for memory, first in _shelf.get(capacity, ()):
        if getrefcount(memory) == UNUSED:
            return np.ndarray(shape, dtype, memory, first)
    memory, first = _put_up(capacity)
    return np.ndarray(shape, dtype, memory, first)


def aligned(array: np.ndarray, dtype: Any) -> np.ndarray:
    """A copy that begins with a cache line: vectors of rows that do not would each lie in two of them."""
    memory, first = _new(array.size * np.dtype(dtype).itemsize)
    copy = np.ndarray(array.shape, dtype, memory, first)
    copy[...] = array
    return copy


def workspace(purpose: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Like `empty`, for what a kernel needs only until it returns: the next call for this purpose gets the same memory.

    Each Python thread has its own.
    """
    if local.arena is not None:
        return local.arena.empty(shape, dtype)
    array = local.arrays.get((purpose, shape, dtype))
    return _workspace(purpose, shape, dtype) if array is None else array


def whole_lines(count: int) -> int:
    """A count of numbers, rounded up so that rows of so many begin with a cache line."""
    return -(-count // ALIGNMENT) * ALIGNMENT


class Arena:
    """Memory for those who keep addresses of it: while a thread's `local.arena` is one, all that it asks for comes from there.

    Blocks into which no array looks any more are used again, by the arena alone. Attributes: `size`, in bytes.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []  # the smallest first
        self.size = 0
        with _lock:
            _arenas.add(self)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """A contiguous array, contents undefined."""
        capacity = _capacity(shape, dtype.itemsize)
        for memory, first in self.blocks:
            if len(memory) >= capacity + ALIGNMENT and getrefcount(memory) == UNUSED:
                return np.ndarray(shape, dtype, memory, first)
        block = _off_the_shelf(capacity)
        self.blocks.append(block)
        self.blocks.sort(key=lambda block: len(block[0]))
        self.size += capacity
        return np.ndarray(shape, dtype, *block)

    def owns(self, array: np.ndarray) -> bool:
        """Whether an array looks into one of the blocks."""
        base = _base(array)
        return any(memory is base for memory, _ in self.blocks)

    def put_on_the_shelf(self) -> None:
        """Let others use the blocks."""
        blocks, self.blocks, self.size = self.blocks, [], 0
        for block in blocks:
            _shelve(block, len(block[0]) - ALIGNMENT)

    def give_back(self, array: np.ndarray) -> None:
        """Forget the block that an array looks into."""
        base = _base(array)
        self.blocks = [(memory, first) for memory, first in self.blocks if memory is not base]
        self.size = sum(len(memory) - ALIGNMENT for memory, _ in self.blocks)


class Watch:
    """The blocks into which some arrays look, and how many look into each now."""

    def __init__(self, arrays: Iterable[np.ndarray]):
        self.blocks = list({id(base): base for base in map(_base, arrays)}.values())
        self.counts = self._counts()

    def sees_more(self) -> bool:
        """Whether more arrays look into one of them by now."""
        return any(now > before for now, before in zip(self._counts(), self.counts, strict=True))

    def _counts(self) -> list[int]:
        return [getrefcount(block) for block in self.blocks]


def _base(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class _Local(threading.local):
    """A thread's workspaces: a block for each purpose, and the arrays made of it; and its arena, if it has one."""

    def __init__(self) -> None:
        self.blocks: dict[str, Block] = {}
        self.arrays: dict[tuple, np.ndarray] = {}
        self.arena: Any = None  # an Arena, which may note launches too (`recording`)


local = _Local()


def _workspace(purpose: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    capacity = _capacity(shape, dtype.itemsize)
    block = local.blocks.get(purpose)
    if block is None or len(block[0]) < capacity + ALIGNMENT:
        block = local.blocks[purpose] = _new(capacity)
        local.arrays.clear()  # or they would keep the smaller block
    if len(local.arrays) > MANY:
        local.arrays.clear()
    array = local.arrays[purpose, shape, dtype] = np.ndarray(shape, dtype, *block)
    return array


def _put_up(capacity: int) -> Block:
    """A new block, on the shelf if there is room for it, or can be made by giving back what is unused."""
    block = _new(capacity)
    with _lock:
        if _held() + capacity > SHELF_LIMIT:
            for of_size in _shelf.values():
                of_size[:] = [(memory, first) for memory, first in of_size if getrefcount(memory) > UNUSED]
    _shelve(block, capacity)
    return block


def _shelve(block: Block, capacity: int) -> None:
    with _lock:
        if _held() + capacity <= SHELF_LIMIT:
            _shelf.setdefault(capacity, []).append(block)


def _off_the_shelf(capacity: int) -> Block:
    """A block that is the caller's alone: one that was on the shelf, if one of this size is unused."""
    with _lock:
        of_size = _shelf.get(capacity, [])
        for number, (memory, first) in enumerate(of_size):
            if getrefcount(memory) == UNUSED:
                del of_size[number]
                return memory, first
    return _new(capacity)


def _held() -> int:
    """Bytes on the shelf, and in arenas: together they have one limit."""
    return sum(capacity * len(blocks) for capacity, blocks in _shelf.items()) + sum(arena.size for arena in _arenas)


def _new(capacity: int) -> Block:
    memory = np.empty(capacity + ALIGNMENT, np.uint8)
    return memory, -memory.__array_interface__["data"][0] % ALIGNMENT


@functools.lru_cache(maxsize=4096)
def _capacity(shape: tuple[int, ...], itemsize: int) -> int:
    """Bytes for an array: up to the next of eight steps between powers of two, so that nearly equal sizes share blocks."""
    size = itemsize * math.prod(shape)
    step = 1 << max(12, size.bit_length() - 4)
    return -(-size // step) * step


def _count_unused() -> int:
    """The references to a block that is on the shelf and nowhere else, as a loop over the shelf counts them."""
    for memory, _first in [_new(1)]:
        count = getrefcount(memory)
    return count


UNUSED = _count_unused()
