"""The threads that share a launch: a few that wait awake for a moment, and then sleep.

A job is a number of tasks of one kernel. Whoever launches it writes it down, opens it, and takes tasks itself; every thread of
the pool that is awake takes tasks too, one after another, until there are none. Which thread takes which task does not matter
(see `launch`), so that a thread which the system has put aside delays the job by its one task at most.

Why not OpenMP: its threads spin at the end of every loop, which on a machine with other work is time taken from those who have
something to do; its pool does not survive a fork; and one of Numba's other pools aborts when two threads use it at once.
Here a second launch at the same time runs in its own thread alone, and a child process makes a pool of its own.

Each thread has a share of the tasks, neighbours, and takes from the others' when its own is done. So the same thread makes the
same images in one layer after another, and finds them in its own cache.

    written by the launcher    OPEN (odd while a job is open), TASKS, ENTRY, the addresses, SCRATCH, STRIDE
    written by all             ACTIVE, the threads that may read the job; SLEEP + 8 k, whether thread k sleeps; NEXT + 8 k, the
                               next task of its share

A thread counts itself ACTIVE, and looks at OPEN again, before it reads a job; the launcher closes the job, and waits until nobody
is ACTIVE, before it writes the next one.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
from typing import Any

import numpy as np

from minitl.kernels.jit import config, inner, jit
from minitl.kernels.processor import CACHE_LINE, IS_WINDOWS, THREADS
from minitl.kernels.simd.atomics import call_entry, call_lock, exchange, fetch_add, pause, read, write, yield_processor
from minitl.kernels.simd.entries import SLOTS

WORDS = CACHE_LINE // 8  # of a state in a cache line
OPEN, ACTIVE, TASKS = 0, 2 * WORDS, 3 * WORDS
ENTRY, SCRATCH, STRIDE, GRAIN, SHARES, ADDRESSES = TASKS + 1, TASKS + 2, TASKS + 3, TASKS + 4, TASKS + 5, TASKS + 6
QUIT, ACQUIRE, RELEASE, YIELD, PATIENCE = 6 * WORDS, 6 * WORDS + 1, 6 * WORDS + 2, 6 * WORDS + 3, 6 * WORDS + 4
SLEEP, LOCK, NEXT = 7 * WORDS, 7 * WORDS + 1, 7 * WORDS + 2  # of thread 0; thread k's are k lines further
PIECES = 16  # of a share: how finely tasks are taken
AWAKE = 150e-6  # seconds that a thread waits awake; what Python does between two launches seldom takes longer


class Pool:
    """THREADS - 1 threads, started at the first launch that can use them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # of the one job at a time
        self.state = new_state(THREADS)
        self.started = False

    def start(self) -> None:
        """Start the threads, once."""
        self.started = True
        self.state[PATIENCE] = patience()
        for number in range(1, THREADS):
            # Daemons: they never hold up the end of the process, and hold no Python object while they wait.
            threading.Thread(target=_work, args=(self.state, number), daemon=True, name=f"kernels-{number}").start()

    def take(self) -> bool:
        """Whether it is free, and then this thread's until it gives `lock` back; the threads run by then."""
        if THREADS == 1 or not self.lock.acquire(False):
            return False
        try:
            if not self.started:
                self.start()
        except BaseException:
            self.lock.release()
            raise
        return True

    def rouse(self) -> None:
        """Wake the threads, for whom there will be work in a moment; they sleep again if there is none."""
        if self.started:
            wake(self.state, THREADS)

    def stop(self) -> None:
        """Let the threads end."""
        if self.started:
            write_from_python(self.state, QUIT, 1)


def patience() -> int:
    """How many pauses of the processor take as long as a thread waits awake: one takes 10 to 140 cycles."""
    fastest = np.inf
    for _ in range(3):  # the machine may be busy
        begun = time.perf_counter()
        _pauses(1000)
        fastest = min(fastest, time.perf_counter() - begun)
    return int(1000 * AWAKE / fastest)


def new_state(threads: int) -> np.ndarray:
    """The words of a job, and of every thread, each thread's in a cache line of its own."""
    words = np.zeros(SLEEP + WORDS * (threads + 1), np.int64)
    first = -words.ctypes.data % CACHE_LINE // 8
    state = words[first : first + SLEEP + WORDS * threads]
    python = ctypes.pythonapi
    python.PyThread_allocate_lock.restype = ctypes.c_void_p
    python.PyThread_acquire_lock.argtypes = [ctypes.c_void_p, ctypes.c_int]
    for number in range(1, threads):
        lock = python.PyThread_allocate_lock()
        python.PyThread_acquire_lock(lock, 1)
        state[LOCK + WORDS * number] = lock
    state[ACQUIRE], state[RELEASE] = (_address(f) for f in (python.PyThread_acquire_lock, python.PyThread_release_lock))
    state[YIELD] = _address(ctypes.WinDLL("kernel32").SwitchToThread if IS_WINDOWS else ctypes.CDLL(None).sched_yield)  # type: ignore[attr-defined]
    _immortal.append(words)
    return state


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


_immortal: list[np.ndarray] = []  # threads may look at a state until the process has ended


@jit()
def write_from_python(state, index, value):
    """Write a word, and wake whoever sleeps."""
    write(state, index, value)
    wake(state, (len(state) - SLEEP) // WORDS)


@inner()
def share_out(state, tasks, threads):
    """Run the job whose description lies in `state`, with up to so many threads."""
    state[TASKS], state[GRAIN], state[SHARES] = tasks, max(1, tasks // (threads * PIECES)), threads
    for share in range(threads):
        write(state, NEXT + WORDS * share, share * tasks // threads)
    opened = read(state, OPEN) + 1
    write(state, OPEN, opened)
    if threads > 1:
        wake(state, threads)
    _take_tasks(state, 0)
    write(state, OPEN, opened + 1)
    waited = 0
    while read(state, ACTIVE) > 0:
        waited += 1
        if waited > state[PATIENCE]:
            yield_processor(state[YIELD])
        else:
            pause()


@jit()
def _pauses(count):
    for _ in range(count):
        pause()


@jit()
def wake(state, threads):
    """Wake the threads that sleep."""
    for number in range(1, threads):
        if exchange(state, SLEEP + WORDS * number, 0) == 1:
            call_lock(state[RELEASE], state[LOCK + WORDS * number], 0)


@inner()
def _take_tasks(state, number):
    scratch = state[SCRATCH] + number * state[STRIDE]
    tasks, grain, shares = state[TASKS], state[GRAIN], state[SHARES]
    for further in range(shares):
        share = (number + further) % shares
        end = (share + 1) * tasks // shares
        first = fetch_add(state, NEXT + WORDS * share, grain)
        while first < end:
            for task in range(first, min(first + grain, end)):
                call_entry(state[ENTRY], task, state, ADDRESSES, scratch)
            first = fetch_add(state, NEXT + WORDS * share, grain)


@jit()
def _work(state, number):
    """What a thread of the pool does until the process ends."""
    seen, waited = read(state, OPEN), 0
    if seen % 2 == 1:  # it may help at once
        seen -= 1
    while read(state, QUIT) == 0:
        opened = read(state, OPEN)
        if opened == seen or opened % 2 == 0:
            seen = opened
            waited += 1
            # It does not let others run in between: Linux 6.18 charges a thread for that as if it had run, and it comes late
            # to the next job. A thread that has slept runs at once.
            if waited < state[PATIENCE]:
                pause()
            else:
                write(state, SLEEP + WORDS * number, 1)
                # A job that was opened meanwhile, or the end, may not have seen that.
                if (read(state, OPEN) == seen and read(state, QUIT) == 0) or exchange(state, SLEEP + WORDS * number, 0) == 0:
                    call_lock(state[ACQUIRE], state[LOCK + WORDS * number], 1)
                waited = 0
            continue
        seen, waited = opened, 0
        fetch_add(state, ACTIVE, 1)
        if read(state, OPEN) == opened:
            _take_tasks(state, number)
        fetch_add(state, ACTIVE, -1)


assert ADDRESSES + SLOTS <= QUIT


def _new_pool() -> Pool | None:
    return None if config.DISABLE_JIT else Pool()


pool = _new_pool()


def _after_fork() -> None:
    global pool
    pool = _new_pool()  # the parent's threads are not here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _at_exit() -> None:
    if pool is not None:
        pool.stop()
