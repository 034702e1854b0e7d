"""What programs do to a data set before `fit`: map, take, skip, batch, shuffle. Names and meanings are those of tf.data.

Every method gives another data set, and nothing is computed until batches are asked for. Batches are arrays that also have
`.numpy()`, which is what they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minitl.random import new_generator


class TensorLike(np.ndarray):
    """An array with the method that tensors of other programs have."""

    def numpy(self) -> np.ndarray:
        """The array."""
        return np.asarray(self)


class Dataset:
    """What data sets can be asked for; iterating gives one pass."""

    class_names: Any
    class_indices: Any

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError

    def map(self, function: Callable[..., Any], num_parallel_calls: Any = None, **_: Any) -> Dataset:
        """Each batch through a function: of x and y where it is a pair."""
        return self._then(lambda batches: (_called(function, batch) for batch in batches))

    def filter(self, function: Callable[..., Any]) -> Dataset:
        """The batches for which a function is true."""
        return self._then(lambda batches: (batch for batch in batches if _called(function, batch)), None)

    def take(self, count: int) -> Dataset:
        """The first batches; -1 is all of them."""
        stop = None if count < 0 else count
        return self._then(lambda batches: itertools.islice(batches, stop), lambda n: n if stop is None else min(n, stop))

    def skip(self, count: int) -> Dataset:
        """The batches behind the first ones."""
        return self._then(lambda batches: itertools.islice(batches, count, None), lambda n: max(n - count, 0))

    def cache(self, filename: Any = None) -> Dataset:
        """The batches of the first whole pass, kept in memory for later ones."""
        return Cached(self)

    def prefetch(self, buffer_size: Any = None) -> Dataset:
        """The same: files are read ahead anyway."""
        return self

    def shuffle(self, buffer_size: int = 1, seed: int | None = None, reshuffle_each_iteration: bool = True) -> Dataset:
        """The batches in random order, drawn from a buffer."""
        generator = new_generator() if seed is None else np.random.default_rng(seed)

        def shuffled(batches: Iterable[Any]) -> Iterator[Any]:
            buffer: list[Any] = []
            for batch in batches:
                buffer.append(batch)
                if len(buffer) >= buffer_size:
                    yield buffer.pop(int(generator.integers(len(buffer))))
            while buffer:
                yield buffer.pop(int(generator.integers(len(buffer))))

        return self._then(shuffled)

    def repeat(self, count: int | None = None) -> Dataset:
        """The passes one after another, for ever without a count."""
        turns = itertools.count() if count is None or count < 0 else range(count)
        length = (lambda n: n * count) if count is not None and count > 0 else None
        source = self
        return self._then(lambda _: (batch for _ in turns for batch in source), length)

    def unbatch(self) -> Dataset:
        """Single samples."""
        return self._then(lambda batches: (sample for batch in batches for sample in _samples(batch)), None)

    def batch(self, batch_size: int, drop_remainder: bool = False, **_: Any) -> Dataset:
        """What it gives, put together in batches."""

        def batched(samples: Iterable[Any]) -> Iterator[Any]:
            samples = iter(samples)
            while part := list(itertools.islice(samples, batch_size)):
                if len(part) == batch_size or not drop_remainder:
                    yield _stacked(part)

        return self._then(batched, lambda n: n // batch_size if drop_remainder else -(-n // batch_size))

    def enumerate(self, start: int = 0) -> Iterator[Any]:
        """Pairs of a number and a batch."""
        return enumerate(self, start)

    def as_numpy_iterator(self) -> Iterator[Any]:
        """The batches, as arrays."""
        return iter(self)

    def cardinality(self) -> Any:
        """How many batches a pass has, as an array with `.numpy()`."""
        return np.asarray(len(self)).view(TensorLike)  # type: ignore[arg-type]

    def _then(self, change: Callable[[Iterable[Any]], Iterable[Any]], length: Any = lambda n: n) -> Dataset:
        return Changed(self, change, length)


class Changed(Dataset):
    """A data set that another becomes by a change of its batches."""

    def __init__(self, source: Any, change: Callable[[Iterable[Any]], Iterable[Any]], length: Any):
        self.source, self.change, self.length = source, change, length
        for name in ("class_names", "class_indices", "file_paths"):
            if hasattr(source, name):
                setattr(self, name, getattr(source, name))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.change(iter(self.source)))

    def __len__(self) -> int:
        if self.length is None or not hasattr(self.source, "__len__"):
            raise TypeError("this data set does not know how many batches it has")
        return int(self.length(len(self.source)))


class Cached(Changed):
    """A data set whose batches are kept."""

    def __init__(self, source: Any):
        super().__init__(source, iter, lambda n: n)
        self.kept: list[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        if self.kept is None:
            kept = []
            for batch in self.source:
                kept.append(batch)
                yield batch
            self.kept = kept
        else:
            yield from self.kept


def tensors(batch: Any) -> Any:
    """A batch whose arrays have `.numpy()`."""
    if isinstance(batch, tuple):
        return tuple(tensors(part) for part in batch)
    return batch.view(TensorLike) if isinstance(batch, np.ndarray) else batch


def _called(function: Callable[..., Any], batch: Any) -> Any:
    return tensors(function(*batch) if isinstance(batch, tuple) else function(batch))


def _samples(batch: Any) -> Iterator[Any]:
    return zip(*batch, strict=True) if isinstance(batch, tuple) else iter(batch)


def _stacked(part: list[Any]) -> Any:
    if isinstance(part[0], tuple):
        return tuple(np.stack(column).view(TensorLike) for column in zip(*part, strict=True))
    return np.stack(part).view(TensorLike)
