"""Launches that are written down, and run again without Python between them.

For one small image, what Python does between two launches takes as long as the launches. It decides the same things every time:
which kernel, for how many tasks, on which memory. So a pass is recorded once,

    recording = Recording()
    with recording:
        y = ...                    launches, and `also` for what else is computed
    recording.play()               the same, on the same memory: y has new contents where x or weights have

All memory that is asked for meanwhile comes from the recording, which is an arena; what comes from elsewhere is held, so that its
address stays good. What neither a launch nor `also` computes is not played: who records must know that there is no such thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels import pool as pools
from minitl.kernels.jit import jit
from minitl.kernels.launch import Packed, alone
from minitl.kernels.processor import THREADS
from minitl.kernels.simd.addresses import address_of
from minitl.kernels.simd.atomics import call_entry
from minitl.kernels.simd.entries import INDICES, SLOTS


class Place(NamedTuple):
    """Where a launch has an address of an array: in which words, and how many bytes from the array's beginning."""

    words: np.ndarray
    row: int
    column: int
    offset: int


class Recording(memory.Arena):
    """What was launched while this was entered, once or several times, in its order. Attributes: `size` of its memory, in bytes;
    `parts`, a new one of which begins with every entrance.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Any] = []  # rows of words, one per launch; or what else is to be called, and with what
        self.held: list[Any] = []

    def __enter__(self) -> Recording:
        memory.local.arena = self
        return self

    def __exit__(self, *_: object) -> None:
        memory.local.arena = None
        self.parts = [np.array(part, np.int64) if isinstance(part, list) else part for part in self.parts]

    def note(self, entry: int, tasks: int, slots: list[np.ndarray], plan: Packed, scratch: np.ndarray) -> None:
        """Write a launch down."""
        first = plan.words.ctypes.data
        addresses = [*(array.ctypes.data for array in slots), *plan.words[: len(INDICES)], first + 8 * len(INDICES)]
        if not self.parts or not isinstance(self.parts[-1], list):
            self.parts.append([])
        self.parts[-1].append([entry, tasks, *addresses, scratch.ctypes.data, scratch.shape[1] * scratch.itemsize])
        self.held += [plan, *(array for array in (*slots, scratch) if not self.owns(array))]

    def places_of(self, array: np.ndarray) -> list[Place] | None:
        """Where launches read an array of the recording: `point` makes them read another one.

        None if something else than launches reads it.
        """
        calls = [part for part in self.parts if not isinstance(part, np.ndarray)]
        if any(np.may_share_memory(array, given) for _, arguments in calls for given in _arrays(arguments)):
            return None
        begin, found = array.ctypes.data, []
        for part in (part for part in self.parts if isinstance(part, np.ndarray)):
            slots = part[:, 2 : 2 + SLOTS]
            found += [
                Place(part, row, 2 + slot, int(slots[row, slot]) - begin)
                for row, slot in np.argwhere((slots >= begin) & (slots < begin + array.nbytes))
            ]
        return found

    def point(self, places: Iterable[Place], array: np.ndarray) -> None:
        """Let launches read an array of the same shape and dtype, contiguous, in the place of one of the recording's."""
        begin = array.__array_interface__["data"][0]
        for words, row, column, offset in places:
            words[row, column] = begin + offset

    def play(self, first: int = 0, last: int | None = None) -> None:
        """Launch all of it again, or some of its parts. Only one thread at a time may do so."""
        _on_threads(self._play_parts, self.parts[first:last])

    def rows_of(self, places: Iterable[Place]) -> np.ndarray | None:
        """Places as `play_for` takes them; None if something else than launches is played."""
        if len(self.parts) != 1 or not isinstance(self.parts[0], np.ndarray):
            return None
        return np.array([place[1:] for place in places], np.int64).reshape(-1, 3)

    def play_for(self, rows: np.ndarray, x: np.ndarray, made: np.ndarray, y: np.ndarray) -> bool:
        """`point` at some places, `play`, and copy what was made into y, all in one: whether that is finite.

        Shapes: x contiguous, y and made of one shape and dtype.
        """
        return bool(_on_threads(_play_for, self.parts[0], rows, x.reshape(-1), made.reshape(-1), y.reshape(-1)))

    @staticmethod
    def _play_parts(state: np.ndarray, threads: int, parts: Iterable[Any]) -> None:
        for part in parts:
            if isinstance(part, np.ndarray):
                _play(state, threads, part)
            else:
                part[0](*part[1])


def also(function: Callable[..., Any], *arguments: Any) -> None:
    """Call what is no launch, such as np.copyto on arrays that are there; if a recording is under way, it has it too."""
    function(*arguments)
    if memory.local.arena is not None:
        memory.local.arena.parts.append((function, arguments))


def _on_threads(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call what launches: with the pool, or alone while that is in use."""
    pool = pools.pool
    if not pool.take():  # type: ignore[union-attr]
        return function(alone(), 1, *arguments)
    try:
        return function(pool.state, THREADS, *arguments)  # type: ignore[union-attr]
    finally:
        pool.lock.release()  # type: ignore[union-attr]


def _arrays(arguments: Any) -> list[np.ndarray]:
    """All arrays among arguments, and in lists and tuples of them."""
    if isinstance(arguments, np.ndarray):
        return [arguments]
    return [array for part in arguments for array in _arrays(part)] if isinstance(arguments, list | tuple) else []


@jit()
def _play_for(state, threads, rows, places, x, made, y):
    pools.wake(state, threads)  # there may be single tasks in front of the first one that they share
    begin = address_of(x)
    for k in range(len(places)):
        rows[places[k, 0], places[k, 1]] = begin + places[k, 2]
    _play(state, threads, rows)
    finite = True
    for k in range(len(y)):
        y[k] = made[k]
        finite &= y[k] - y[k] == 0
    return finite


@jit()
def _play(state, threads, rows):
    for k in range(len(rows)):
        row = rows[k]
        state[pools.ENTRY] = row[0]
        for slot in range(SLOTS):
            state[pools.ADDRESSES + slot] = row[2 + slot]
        state[pools.SCRATCH], state[pools.STRIDE] = row[2 + SLOTS], row[3 + SLOTS]
        if row[1] > 1:
            pools.share_out(state, row[1], threads)
        elif row[1] == 1:
            call_entry(row[0], 0, state, pools.ADDRESSES, row[2 + SLOTS])
