"""Functions of `keras.ops` that bring numbers to places which other numbers name: sums over segments, updates of a part.

    ops.segment_sum(messages, receivers, num_segments=nodes)      # what arrives at each node of a network of nodes

They take arrays, and traced ones in a layer's call; an update also a value of a network, whose batch it must leave as it is.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.autodiff import Traced, plain
from minitl.legacy.windows import of_values


def segment_sum(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Any:
    """The sums of the rows that have the same number; row i of `data` belongs to segment `segment_ids[i]`."""
    places, length = _segments(segment_ids, num_segments)
    return _added(data, (places,), (length, *np.shape(data)[1:]))


def segment_max(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Any:
    """The largest of the rows that have the same number, number by number; -inf where there is none."""
    return _extreme(np.maximum, -np.inf, data, segment_ids, num_segments)


def segment_min(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Any:
    """The smallest of the rows that have the same number, number by number; inf where there is none."""
    return _extreme(np.minimum, np.inf, data, segment_ids, num_segments)


def scatter(indices: Any, values: Any, shape: Any) -> Any:
    """Zeros of a shape, to which each of `values` is added at its place; the last axis of `indices` is a place."""
    return _added(values, _key(indices), tuple(int(n) for n in shape))


@of_values
def scatter_update(inputs: Any, indices: Any, updates: Any) -> Any:
    """`inputs`, with each of `updates` at its place; the last axis of `indices` is a place."""
    return _replaced(inputs, _key(indices), updates)


@of_values
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Any:
    """`inputs`, with `updates` in place of the block that begins at `start_indices`."""
    starts = [int(plain(start)) for start in start_indices]
    key = tuple(builtins.slice(at, at + n) for at, n in zip(starts, np.shape(updates), strict=True))
    return _replaced(inputs, key, updates)


def _segments(segment_ids: Any, num_segments: int | None) -> tuple[np.ndarray, int]:
    places = np.asarray(plain(segment_ids)).astype(np.intp)
    return places, int(places.max(initial=-1)) + 1 if num_segments is None else int(num_segments)


def _key(indices: Any) -> tuple[np.ndarray, ...]:
    return tuple(np.moveaxis(np.asarray(plain(indices)).astype(np.intp), -1, 0))


def _added(parts: Any, key: Any, shape: tuple[int, ...]) -> Any:
    """Zeros with parts added at places; each part's gradient is dy at its place."""
    y = np.zeros(shape, parts.dtype)
    np.add.at(y, key, plain(parts))
    return Traced(y, [parts], lambda dy: [dy[key]]) if isinstance(parts, Traced) else y


def _extreme(function: np.ufunc, nothing: float, data: Any, segment_ids: Any, num_segments: int | None) -> Any:
    """The extreme number of every segment; those that reach it share its gradient, as at any tie."""
    places, length = _segments(segment_ids, num_segments)
    numbers = np.asarray(plain(data))
    y = np.full((length, *numbers.shape[1:]), nothing, numbers.dtype)
    function.at(y, places, numbers)
    if not isinstance(data, Traced):
        return y

    def pullback(dy: Any) -> list[Any]:
        reaches = (numbers == y[places]).astype(numbers.dtype)
        return [reaches * dy[places] / _added(reaches, (places,), y.shape)[places]]

    return Traced(y, [data], pullback)


def _replaced(inputs: Any, key: Any, updates: Any) -> Any:
    """A copy with other numbers at some places: the gradient of what was there is zero, that of the new is dy there."""
    y = np.array(plain(inputs))
    y[key] = plain(updates)

    def kept(dy: Any) -> Any:
        dx = np.array(dy)
        dx[key] = 0
        return dx

    pullbacks: list[tuple[Any, Callable[[Any], Any]]] = [(inputs, kept), (updates, lambda dy: dy[key])]
    traced = [(part, pullback) for part, pullback in pullbacks if isinstance(part, Traced)]
    if not traced:
        return y
    return Traced(y, [part for part, _ in traced], lambda dy: [pullback(dy) for _, pullback in traced])
