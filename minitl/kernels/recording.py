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

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.kernels import memory
from minitl.kernels import pool as pools
from minitl.kernels.jit import jit
from minitl.kernels.launch import Packed, alone
from minitl.kernels.processor import THREADS
from minitl.kernels.simd.atomics import call_entry
from minitl.kernels.simd.entries import INDICES, SLOTS


class Recording(memory.Arena):
    """What was launched while this was entered, in its order. Attributes: `size` of its memory, in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Any] = []  # rows of words, one per launch; or what else is to be called
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

    def play(self) -> None:
        """Launch all of it again. Only one thread at a time may do so."""
        pool = pools.pool
        taken = pool.take()  # type: ignore[union-attr]
        try:
            state, threads = (pool.state, THREADS) if taken else (alone(), 1)  # type: ignore[union-attr]
            for part in self.parts:
                if isinstance(part, np.ndarray):
                    _play(state, part, threads)
                else:
                    part()
        finally:
            if taken:
                pool.lock.release()  # type: ignore[union-attr]


def also(function: Callable[..., Any], *arguments: Any) -> None:
    """Call what is no launch, such as np.copyto on arrays that are there; if a recording is under way, it has it too."""
    function(*arguments)
    if memory.local.arena is not None:
        memory.local.arena.parts.append(lambda: function(*arguments))


@jit()
def _play(state, rows, threads):
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
