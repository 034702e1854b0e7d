"""The wording of errors that several modules raise."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np


def unknown(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """A ValueError for a name that does not exist, with the names near to it, and all of them where that is a short list."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    hints = [f"did you mean {' or '.join(map(repr, near))}?"] if near else []
    if not near or len(names) <= 12:
        hints.append(f"known: {', '.join(names) or 'none'}")
    return ValueError(f"unknown {kind} {name!r}; {' '.join(hints)}")


def wrong_shape(where: str, expected: object, got: object, advice: str) -> ValueError:
    """A ValueError for a shape: where, what was expected, what came, what to do."""
    return ValueError(f"{where}: expected shape {expected}, got {got}; {advice}")


@contextlib.contextmanager
def about_arrays(arrays: Iterable[np.ndarray]) -> Iterator[list[Any]]:
    """The shapes to build for, with any batch; errors of the build name those of the arrays that came, instead."""
    shapes = [(None, *array.shape[1:]) for array in arrays]
    try:
        yield shapes
    except (ValueError, TypeError) as error:
        text = str(error)
        for shape, array in zip(shapes, arrays, strict=True):
            text = text.replace(str(shape), str(array.shape))
        raise type(error)(text) from error


def no_loss() -> ValueError:
    """A ValueError for a model that is to be judged and has nothing to be judged by."""
    return ValueError("the model has no loss yet; call compile(optimizer=..., loss=...) first")


def no_targets(where: str = "") -> ValueError:
    """A ValueError for a loss whose data have no targets."""
    return ValueError(f"{where}the data have no targets; give y, or batches (x, y)")


def as_array(data: Any) -> np.ndarray:
    """An array of what a user gave; a ValueError for rows of different lengths says what makes them equally long."""
    try:
        return np.asarray(data)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ValueError("expected rows of one length, got several lengths; make them equally long with pad_sequences") from None


def positive(name: str, value: Any) -> int:
    """Check a count: a whole number of at least 1, and less than 2**31.

    Errors: ValueError for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if value >= 1 << 31:
        raise ValueError(f"{name} must be less than 2**31, got {value!r}")
    return int(value)


def sizes(name: str, shape: Any) -> tuple[int | None, ...]:
    """Check the shape of one sample: whole numbers of at least 1, and None for an axis that is open.

    Errors: ValueError for what is no shape, or another entry.
    """
    if not isinstance(shape, (list, tuple, np.ndarray)):
        raise ValueError(f"{name} must be a tuple, one sample's without the batch, got {shape!r}; (784,) for rows of 784")
    return tuple(None if size is None else positive(f"{name}: an entry", size) for size in shape)


def numeric(owner: object, dtype: Any) -> np.dtype:
    """The dtype of numbers that a name or an object stands for.

    Errors: ValueError for what is none.
    """
    with contextlib.suppress(TypeError, ValueError):
        if np.dtype(dtype).kind in "biuf":
            return np.dtype(dtype)
    raise ValueError(f'{type(owner).__name__}: dtype must be one of numbers, such as "float32", got {dtype!r}')


def check_numbers(owner: object, interval: str, **settings: object) -> None:
    """Check that settings are numbers of an interval, such as "[0, 1)" or "(0, inf) or None".

    `owner` is the object that they are for, or a name.
    Errors: ValueError with it and the name of the setting for text, lists, NaN, and numbers outside the interval.
    """
    low, high, optional = _bounds(interval)
    where = owner if isinstance(owner, str) else type(owner).__name__
    for name, value in settings.items():
        if optional and value is None:
            continue
        scalar = isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "biuf"
        number = float(value) if scalar or isinstance(value, Real) else math.nan  # type: ignore[arg-type]
        left = number >= low if interval[0] == "[" else number > low
        right = number < high if ")" in interval else number <= high
        if not (left and right):
            raise ValueError(f"{where}: {name} must be a number in {interval}, got {value!r}")


@lru_cache
def _bounds(interval: str) -> tuple[float, float, bool]:
    low, high = interval.strip("[(").split("]")[0].split(")")[0].split(",")
    return float(low), float(high), interval.endswith("None")
