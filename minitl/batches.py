"""Where batches come from: arrays, a Sequence, or anything else that can be iterated over.

A batch is (x, y) or (x, y, weights), or only x for predictions. Arrays are cut here; a Sequence (`len` and indexing) or a
re-iterable object gives one pass per epoch; a generator is one endless stream, of which an epoch takes
`steps_per_epoch` batches.

Sources know where they stand (`get_state`, `set_state`), so that training can go on in the middle of a pass. Other people's
iterables are brought there by drawing what was used; an object with `get_state` and `set_state` of its own is asked.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from minitl.errors import as_array

Batch = tuple[np.ndarray, Any, Any]


class ArrayBatches:
    """Arrays, cut into batches; shuffled anew each pass when it has a generator. The last batch may be smaller.

    Shapes: x (N, ...), y and weights (N, ...) or None; each may be a list or a dictionary of such arrays.
    Errors: ValueError for lengths that differ, an empty data set, or a batch size below 1.
    """

    def __init__(
        self, x: Any, y: Any = None, weights: Any = None, batch_size: int = 32, generator: np.random.Generator | None = None
    ):
        self.x, self.y, self.weights = (as_arrays(part) for part in (x, y, weights))
        self.batch_size, self.generator = checked_batch_size(batch_size), generator
        self.taken = 0  # batches of the pass in progress
        self.began: Any = None  # the generator's state when it began
        first = next(iter(_each(self.x)), None)
        if first is not None and first.ndim == 0:
            raise ValueError("x is a single number; give a batch of samples")
        if first is None or not len(first):
            raise ValueError("the data set is empty: x has no samples")
        self.samples = len(first)
        for name, part in (("x", self.x), ("y", self.y), ("sample_weight", self.weights)):
            for array in _each(part):
                if array.ndim == 0 or len(array) != self.samples:
                    one = "another x" if name == "x" else name
                    raise ValueError(f"x has {self.samples} samples, {one} has shape {array.shape}; give one entry per sample")

    def whole(self) -> Batch:
        """Everything as one batch."""
        return self.x, self.y, self.weights

    def epoch(self, first: int = 0) -> Iterator[Batch]:
        """One pass, or the rest of one."""
        return iter(self)

    def get_state(self) -> dict[str, Any]:
        """Where the pass in progress stands."""
        order = None if self.generator is None else self.began if self.taken else self.generator.bit_generator.state
        return {"samples": self.samples, "batch_size": self.batch_size, "taken": self.taken, "order": order}

    @property
    def data(self) -> Any:
        """The object that batches come from."""
        return self.x

    def set_state(self, state: dict[str, Any], same: bool) -> None:
        """Go on from there; `same` says whether it was with the same objects."""
        self.taken = int(state["taken"])
        if self.generator is not None and state["order"] is not None:
            self.generator.bit_generator.state = state["order"]

    def like(self, state: dict[str, Any]) -> bool:
        """Whether a state can be one of these data."""
        return state.get("samples") == self.samples and state.get("batch_size") == self.batch_size

    def close(self) -> None:
        """Nothing is held open."""

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = None
        if self.generator is not None:
            self.began = self.generator.bit_generator.state
            order = self.generator.permutation(self.samples)
        for number in range(self.taken, len(self)):
            part: Any = slice(number * self.batch_size, (number + 1) * self.batch_size)
            part = part if order is None else order[part]
            self.taken = number + 1
            yield tuple(rows(a, part) for a in (self.x, self.y, self.weights))
        self.taken = 0


class Stream:
    """Any other source: gives an epoch's batches at each call of `epoch`.

    A source that ends before the promised number of steps is said, and ends the run.
    Errors: ValueError when the source gives no batch.
    """

    def __init__(self, source: Any, steps: int | None, what: str = "steps_per_epoch"):
        if steps is not None and not steps > 0:
            raise ValueError(f"{what} must be at least 1, got {steps}")
        steps = None if steps is None else math.ceil(steps)  # older programs divide numbers of samples
        self.source, self.steps, self.what = source, steps, what
        again = hasattr(source, "one_pass") or not hasattr(source, "__iter__")
        self.once = False if again else iter(source) is source
        self.current: Iterator[Any] | None = None
        self.taken = 0  # batches of the pass in progress
        self.begun = self.ended = False  # whether it gave a batch, and whether it ended before it should

    def epoch(self, first: int = 0) -> Iterator[Batch]:
        """One epoch from its batch `first` on: `steps` batches, going on into the next pass where one ends; or one whole pass."""
        if self.steps is None:
            self.current = self._new_pass()
            for batch in self.current:
                self.taken += 1
                yield unpack(batch)
            self.current = None
            if not self.taken:
                raise ValueError(self._ended(0))
            self.taken = 0
            return
        for step in range(first, self.steps):
            batch = self._next(step)
            if batch is None:
                self.ended = True
                return
            self.begun = True
            yield unpack(batch)

    def get_state(self) -> dict[str, Any]:
        """Where the pass in progress stands."""
        inner = self.source.get_state() if hasattr(self.source, "get_state") else None
        return {"samples": self._length(), "steps": self.steps, "taken": self.taken, "inner": inner}

    @property
    def data(self) -> Any:
        """The object that batches come from."""
        return self.source

    def set_state(self, state: dict[str, Any], same: bool) -> None:
        """Go on from there; `same`: it was with the same object, which stands there already if it is a stream."""
        if hasattr(self.source, "set_state") and state["inner"] is not None:
            self.source.set_state(state["inner"])
        self.taken = int(state["taken"])
        if self.once and same:
            self.current = self.source
        elif self.taken and self.steps is not None:
            self.current = self._new_pass()

    def like(self, state: dict[str, Any]) -> bool:
        """Whether a state can be one of these data."""
        return state.get("samples") == self._length() and state.get("steps") == self.steps

    def _length(self) -> int | None:
        return known_length(self.source)

    def _next(self, step: int) -> Any:
        if self.current is not None:
            for batch in self.current:
                self.taken += 1
                return batch
        if self.current is None or not self.once:
            self.taken = 0
            self.current = self._new_pass()
            for batch in self.current:
                self.taken += 1
                return batch
        if step or self.begun:
            warnings.warn(self._ended(step), stacklevel=2)
            return None
        raise ValueError(self._ended(step))

    def close(self) -> None:
        """End a pass that was not finished, with the threads and files that it uses."""
        if self.current is not None and hasattr(self.current, "close") and not self.once:
            self.current.close()
        self.current = None

    def _new_pass(self) -> Iterator[Any]:
        """A pass from its batch `taken` on."""
        if hasattr(self.source, "one_pass"):
            return self.source.one_pass(self.taken)
        if hasattr(self.source, "__getitem__") and hasattr(self.source, "__len__"):
            return self._indexed(self.taken)
        return iter(self.source) if isinstance(self.source, _Again) else itertools.islice(self.source, self.taken, None)

    def _indexed(self, first: int) -> Iterator[Any]:
        for i in range(first, len(self.source)):
            yield self.source[i]
        if hasattr(self.source, "on_epoch_end"):
            self.source.on_epoch_end()

    def _ended(self, step: int) -> str:
        wanted = f"{self.what}={self.steps} were asked for" if self.steps is not None else "an epoch needs at least one"
        return (
            f"the data ended after {step} batches of this epoch, {wanted}; "
            f"lower {self.what}, or give a generator that does not end (or an object that can be iterated over again)"
        )


def epochs_of(
    x: Any,
    y: Any,
    weights: Any,
    batch_size: int | None,
    generator: np.random.Generator | None,
    steps: int | None,
    what: str,
    inputs: int = 1,
) -> tuple[ArrayBatches | Stream, int | None]:
    """A source of an epoch's batches at each call of `epoch`, to be closed at the end, and their number if it is known.

    `inputs` is how many arrays the model takes.
    Errors: ValueError or TypeError for data that are neither arrays nor batches.
    """  # fmt: skip
    if is_array(x, inputs):
        source: Any = ArrayBatches(x, y, weights, 32 if batch_size is None else batch_size, generator)
        if steps is None:
            return source, len(source)
        again = Stream(_Again(source), steps, what)
        return again, again.steps
    if not (hasattr(x, "__iter__") or hasattr(x, "__getitem__")):
        raise TypeError(f"data must be arrays, or an iterable of batches (x, y), got {type(x).__name__}")
    if y is not None or weights is not None:
        raise ValueError("an iterable of batches brings its own targets and weights; leave y and sample_weight out")
    if batch_size is not None:
        checked_batch_size(batch_size)
    stream = Stream(x, steps, what)
    return stream, known_length(x) if steps is None else stream.steps


def known_length(x: Any) -> int | None:
    """How many batches or samples there are, where that is known."""
    try:
        return len(x) if hasattr(x, "__len__") else None
    except TypeError:  # a data set that does not know
        return None


def in_order(x: Any) -> Any:
    """The same data without shuffling and augmentation, where the source can do that: for evaluation and prediction."""
    return x.in_order() if callable(getattr(x, "in_order", None)) else x  # PyTorch's loaders have a flag of that name


def check_same_classes(first: Any, second: Any, where: str) -> None:
    """Raise ValueError when two sources number their classes differently: their labels would not mean the same."""
    a, b = getattr(first, "class_indices", None), getattr(second, "class_indices", None)
    if a and b and a != b:
        raise ValueError(
            f"{where}: the classes are {list(a)} on one side and {list(b)} on the other; give both the same `classes=`"
        )


def is_array(x: Any, inputs: int = 1) -> bool:
    """Whether x is an array of samples, perhaps alone in a list, or as many as the model has inputs, and no source of batches."""
    if isinstance(x, (np.ndarray, dict)) or hasattr(x, "__array__") or hasattr(x, "to_numpy"):
        return True
    if not isinstance(x, (list, tuple)):
        return False
    if x and isinstance(x[0], np.ndarray):
        return inputs > 1 or len(x) == 1
    return not (x and isinstance(x[0], tuple))


def as_arrays(part: Any) -> Any:
    """An array, a list of arrays or a dictionary of them, from what a user gave.

    Errors: TypeError for masked arrays, whose mask would be lost.
    """
    if part is None:
        return None
    if isinstance(part, dict):
        return {name: as_arrays(array) for name, array in part.items() if array is not None}
    if isinstance(part, (list, tuple)) and part and any(isinstance(array, np.ndarray) for array in part):
        return [as_arrays(array) for array in part]
    if hasattr(part, "to_numpy"):  # a table or a column of pandas
        part = part.to_numpy()
    if isinstance(part, np.ma.MaskedArray):
        raise TypeError("got a masked array; fill it (x.filled(0)), masks are not used")
    return as_array(part)


def rows(part: Any, which: Any) -> Any:
    """Some samples of an array, or of each in a list or dictionary."""
    if isinstance(part, dict):
        return {name: array[which] for name, array in part.items()}
    if isinstance(part, list):
        return [None if array is None else array[which] for array in part]
    return None if part is None else part[which]


def _each(part: Any) -> list[np.ndarray]:
    found = part.values() if isinstance(part, dict) else part if isinstance(part, list) else [part]
    return [array for array in found if array is not None]


def checked_batch_size(batch_size: int) -> int:
    """Check a batch size.

    Errors: ValueError for anything but a whole number of at least 1.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
    return int(batch_size)


def unpack(batch: Any) -> Batch:
    """(x, y, weights) from what a source gave; what it left out is None.

    Errors: ValueError for anything but x, (x,), (x, y) or (x, y, weights).
    """
    if not isinstance(batch, (tuple, list)):
        return as_arrays(batch), None, None
    if not 1 <= len(batch) <= 3:
        raise ValueError(f"a batch must be (x, y) or (x, y, weights), got {len(batch)} parts")
    x, y, weights = (as_arrays(part) for part in (*batch, None, None)[:3])
    first = next(iter(_each(x)), None)
    if first is None or not first.ndim or not len(first):
        raise ValueError("a batch is empty: x has no samples")
    return x, y, weights


class _Again:
    """Arrays as an object that can be iterated over again and again."""

    def __init__(self, batches: ArrayBatches):
        self.batches = batches
        self.get_state = batches.get_state

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.batches.set_state(state, False)

    def __len__(self) -> int:
        return self.batches.samples

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)
