"""Running a kernel for many tasks on all threads.

A task kernel is a function of one task's number, a plan, arrays and scratch memory:

    class Plan(NamedTuple):
        rows: int
        columns: int

    @task_kernel
    def double(task: Task, plan: Plan, x: Numbers, y: Numbers, scratch: Scratch): ...

    launch(double, tasks, Plan(rows, columns), x, y)

The annotations say what each parameter is: `Numbers` are float32 or float64, all of one dtype, `Bytes` np.uint8, `Indices`
np.int64; `Constants` are numbers too, in the place of bytes. Arrays come in as pointers, which index like arrays of one axis and
know no length; `scratch` is memory that no other thread uses meanwhile. Which thread runs a task must not matter: a kernel
writes what belongs to its task, and its scratch. No kernel can raise: what could make it is checked before the launch.

Each is compiled as a C function, which the threads of `pool` call by its address. Numba's own parallel code would be compiled
anew for every kernel, and slowly.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numba
import numpy as np
from numba.core import types

from minitl.kernels import memory
from minitl.kernels import pool as pools
from minitl.kernels.jit import compile_c, config, jit
from minitl.kernels.processor import THREADS
from minitl.kernels.simd.addresses import address_of
from minitl.kernels.simd.entries import BYTES, INDICES, NUMBERS, read_plan
from minitl.kernels.simd.names import ready

INTERPRETED: bool = config.DISABLE_JIT
NOTHING = np.empty(0, np.uint8)
NO_SCRATCH = np.empty((THREADS, 0), np.float32)
SLOT_NAMES = (*NUMBERS, *BYTES, *INDICES)
# What parameters of a task kernel are annotated with: in which slots they come, and as what.
KINDS: dict[str, tuple[tuple[str, ...], Any]] = {
    "Numbers": (NUMBERS, None), "Bytes": (BYTES, np.uint8), "ShortCounts": (BYTES, np.uint16), "Counts": (BYTES, np.uint32),
    "Constants": (BYTES, None), "Indices": (INDICES, np.int64),
}  # fmt: skip
Task: TypeAlias = int
Numbers: TypeAlias = Any  # a pointer, in compiled code, as the others are
Bytes: TypeAlias = Any
ShortCounts: TypeAlias = Any
Counts: TypeAlias = Any
Constants: TypeAlias = Any
Indices: TypeAlias = Any
Scratch: TypeAlias = Any


class TaskKernel:
    """A task kernel, compiled at its first launch for a dtype.

    Errors: TypeError for a parameter without a known annotation, or more arrays than there is room for.
    """

    def __init__(self, function: Callable[..., None]):
        self.function = function
        self.ready: dict[np.dtype, tuple[int, list[np.ndarray]]] = {}  # where the machine code begins, and empty slots
        self._compiled: list[Any] = []  # keeps it alive
        parameters = list(inspect.signature(function).parameters.values())
        self.scratch = parameters[-1].annotation == "Scratch"
        self.slots: dict[str, Any] = {}  # and what they hold, None for numbers
        for parameter in parameters[2 : -1 if self.scratch else None]:
            slots, kind = KINDS.get(parameter.annotation, ((), None))
            free = [slot for slot in slots if slot not in self.slots]
            if not free:
                raise TypeError(f"task kernel {function.__name__}: parameter {parameter}: no such kind, or too many of it")
            self.slots[free[0]] = kind
        self.places = [slot for slot in self.slots if slot not in INDICES]
        # Bytes and counts go through the same slot, as bytes.
        self.bytes_at = self.places.index(BYTES[0]) if BYTES[0] in self.places else None

    def compile(self, dtype: np.dtype) -> tuple[int, list[np.ndarray]]:
        """The address of the machine code for a dtype, and slots with nothing in them."""
        ready(dtype)
        unused = {slot: dtype if slot in NUMBERS else np.uint8 for slot in SLOT_NAMES}
        pointers = [*(kind or dtype for kind in {**unused, **self.slots}.values()), np.int64, dtype]
        signature = types.void(types.intp, *(types.CPointer(numba.from_dtype(np.dtype(kind))) for kind in pointers))
        self._compiled.append(compile_c(signature, self.function, self._entry))
        empty: list[np.ndarray] = [*[np.empty(0, dtype)] * len(NUMBERS), *[NOTHING] * len(BYTES)]
        self.ready[dtype] = self._compiled[-1].address, empty
        return self.ready[dtype]

    def _entry(self) -> Callable[..., None]:
        """This kernel, written as the function that all kernels have in common: of every slot, and of a plan in memory."""
        tree = ast.parse(textwrap.dedent(inspect.getsource(self.function)))
        kernel: Any = ast.increment_lineno(tree, self.function.__code__.co_firstlineno - 1).body[0]
        task, plan, *arrays = kernel.args.args
        names = dict(zip(self.slots, arrays, strict=False))  # behind the arrays may be scratch
        slots = [names.get(slot, ast.arg(slot)) for slot in SLOT_NAMES]
        kernel.args.args = [task, *slots, plan, ast.arg("scratch")]
        kernel.body = [*ast.parse(f"{plan.arg} = read_plan({plan.arg}, {plan.annotation.id})").body, *kernel.body]
        kernel.name, kernel.decorator_list = f"{self.function.__name__}_entry", []
        space = {**self.function.__globals__, "read_plan": read_plan}
        exec(compile(ast.fix_missing_locations(tree), self.function.__code__.co_filename, "exec"), space)
        return space[kernel.name]


def task_kernel(function: Callable[..., None]) -> TaskKernel:
    """Decorate a task kernel."""
    return TaskKernel(function)


class Packed:
    """A plan as it lies in memory, behind the addresses of the index arrays that belong to it, which it holds."""

    __slots__ = ("held", "plan", "words")

    def __init__(self, plan: Any, indices: tuple[np.ndarray, ...]):
        self.plan, self.held = plan, indices
        self.words = np.zeros(len(INDICES) + len(plan), np.int64)
        for k, array in enumerate(indices):
            self.words[k] = array.ctypes.data
        self.words[len(INDICES) :] = plan


def packed(plan: NamedTuple, *indices: np.ndarray) -> Packed:
    """A plan ready to be launched, to be kept: with the index arrays of the kernel, contiguous np.int64, in their order."""
    return Packed(plan, indices)


_packed_alone = functools.lru_cache(maxsize=1024, typed=True)(packed)  # small plans without index arrays, by kind and contents


def launch(kernel: TaskKernel, tasks: int, plan: Any, *arrays: np.ndarray, scratch: int = 0) -> None:
    """Run kernel(task, plan, ...) for every task.

    Shapes: `arrays` contiguous, in the order of the kernel's parameters, those of indices left out; the first says the dtype.
    `plan` is a NamedTuple of whole numbers, or `packed` with the kernel's index arrays. `scratch` counts numbers per thread, in
    whole cache lines (`memory.whole_lines`).
    """
    dtype = arrays[0].dtype
    if not isinstance(plan, Packed):
        plan = _packed_alone(plan)
    if INTERPRETED:
        _interpret(kernel, tasks, plan, arrays, scratch)
        return
    entry, slots = kernel.ready.get(dtype) or kernel.compile(dtype)
    if len(arrays) != len(kernel.places):
        raise TypeError(f"task kernel {kernel.function.__name__}: takes {len(kernel.places)} arrays, got {len(arrays)}")
    given = [array if array.ndim == 1 else array.reshape(-1) for array in arrays]
    if kernel.bytes_at is not None:  # they have the last slot
        given.append(given.pop(kernel.bytes_at).view(np.uint8))
    slots = given + slots[len(given) :] if kernel.bytes_at is None else given[:-1] + slots[len(given) - 1 : -1] + given[-1:]
    room = memory.workspace("scratch", (THREADS, scratch), dtype) if scratch else NO_SCRATCH
    if memory.local.arena is not None:
        memory.local.arena.note(entry, tasks, slots, plan, room)
    pool = pools.pool
    if tasks > 1 and pool.take():  # type: ignore[union-attr]
        try:
            _launch(pool.state, entry, tasks, THREADS, *slots, plan.words, room)  # type: ignore[union-attr]
        finally:
            pool.lock.release()  # type: ignore[union-attr]
    else:
        _launch(alone(), entry, tasks, 1, *slots, plan.words, room)


def _interpret(kernel: TaskKernel, tasks: int, plan: Packed, arrays: tuple[np.ndarray, ...], scratch: int) -> None:
    """The same without compiled code."""
    given = [array.reshape(-1) for array in arrays]
    order = [
        given.pop(0) if not slot.startswith("indices") else plan.held[INDICES.index(slot)].reshape(-1) for slot in kernel.slots
    ]
    own = [np.empty(scratch, arrays[0].dtype)] if kernel.scratch else []
    for task in range(tasks):
        kernel.function(task, plan.plan, *order, *own)


def threads() -> int:
    """How many threads share a launch."""
    return THREADS


@jit()
def _launch(state, entry, tasks, threads, f0, f1, f2, f3, f4, f5, f6, b0, words, scratch):
    first = pools.ADDRESSES
    state[pools.ENTRY] = entry
    state[first], state[first + 1], state[first + 2] = address_of(f0), address_of(f1), address_of(f2)
    state[first + 3], state[first + 4], state[first + 5] = address_of(f3), address_of(f4), address_of(f5)
    state[first + 6], state[first + 7] = address_of(f6), address_of(b0)
    state[first + 8], state[first + 9], state[first + 10] = words[0], words[1], words[2]
    state[first + 11] = address_of(words) + 8 * len(INDICES)
    state[pools.SCRATCH], state[pools.STRIDE] = address_of(scratch), scratch.shape[1] * scratch.itemsize
    pools.share_out(state, tasks, threads)


def alone() -> np.ndarray:
    """A state for a launch without the pool, each Python thread's own."""
    try:
        return memory.local.state
    except AttributeError:
        memory.local.state = pools.new_state(1)
        return memory.local.state
