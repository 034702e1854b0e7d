"""Functions of Keras 3's `keras.ops` that `keras.backend` has not, or has with other arguments or defaults."""

from __future__ import annotations

import builtins
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import activations
from minitl.autodiff import Traced, plain
from minitl.graph.value import Value
from minitl.legacy import backend


def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Where the largest number is."""
    return np.argmax(x, axis=axis, keepdims=keepdims)


def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Where the smallest number is."""
    return np.argmin(x, axis=axis, keepdims=keepdims)


def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """x cut off at both ends."""
    return np.clip(x, x_min, x_max)


def concatenate(xs: Any, axis: int = 0) -> Any:
    """Arrays one behind the other."""
    return np.concatenate(xs, axis)


def cumsum(x: Any, axis: Any = None, dtype: Any = None) -> Any:
    """Running sums; of all numbers in one row without an axis."""
    return np.cumsum(x if dtype is None else backend.cast(x, dtype), axis=axis)


def divide_no_nan(x1: Any, x2: Any) -> Any:
    """x1 / x2, and 0 where x2 is 0."""
    nothing = np.equal(x2, 0)
    return np.where(nothing, 0.0, x1 / np.where(nothing, 1.0, x2))


def erf(x: Any) -> Any:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return _normal_integral(math.erf, 1, x)


def erfc(x: Any) -> Any:
    """1 - erf(x), also where so little is left that a subtraction would lose it."""
    return _normal_integral(math.erfc, -1, x)


def expand_dims(x: Any, axis: Any) -> Any:
    """x with axes of length 1 more."""
    return np.expand_dims(x, axis)


def gelu(x: Any, approximate: bool = True) -> Any:
    """x times the probability that a normal number is below it; by tanh, unless told otherwise, as in Keras's function."""
    return activations.gelu(x, approximate)


def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether each target is among the k largest predictions."""
    return backend.in_top_k(predictions, targets, k)


def is_tensor(x: Any) -> bool:
    """Whether it is an array, a traced one, or a value."""
    return isinstance(x, (np.ndarray, Traced, Value))


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log sum exp(x), without overflow."""
    return backend.logsumexp(x, axis, keepdims)


def mod(x1: Any, x2: Any) -> Any:
    """What is left of x1 when x2 was taken out of it as often as it goes."""
    return x1 - x2 * np.floor_divide(x1, x2)


def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> tuple[Any, Any]:
    """Mean and variance."""
    return backend.mean(x, axes, keepdims), backend.var(x, axes, keepdims)


def multi_hot(inputs: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """For each row of class numbers, a one for each class that is in it."""
    return np.max(one_hot(inputs, num_classes, axis, dtype), axis=-2 if axis == -1 else axis + 1)


def normalize(x: Any, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Any:
    """x over its length along an axis, by the norm of an order."""
    epsilon = backend.epsilon() if epsilon is None else epsilon
    length = np.sum(np.abs(x) ** order, axis=axis, keepdims=True) ** (1 / order)
    return x / np.maximum(length, epsilon)


def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """Class numbers as zeros and a one, along a new axis."""
    rows = np.eye(num_classes, dtype=dtype or backend.floatx())[np.asarray(plain(x)).astype(int)]
    return np.moveaxis(rows, -1, axis)


def outer(x1: Any, x2: Any) -> Any:
    """The products of all numbers with all others."""
    return np.reshape(x1, (-1, 1)) * np.reshape(x2, (1, -1))


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """x with so many zeros, or other numbers, in front and behind along each axis; of values and traced arrays, but the first.

    Errors: ValueError for another mode there, or a batch that would grow.
    """
    if isinstance(x, np.ndarray):
        settings: Any = {"mode": mode} if constant_values is None else {"mode": mode, "constant_values": constant_values}
        return np.pad(x, pad_width, **settings)
    pairs = pad_width if np.ndim(pad_width) else [pad_width] * np.ndim(x)
    around = [tuple(pair) if np.ndim(pair) else (pair, pair) for pair in pairs]
    if mode != "constant" or around[0] != (0, 0) or len(around) != np.ndim(x):
        raise ValueError(f"pad: adds one number around, along all axes but the first, got {mode!r} and {pad_width}")
    for axis, (before, behind) in enumerate(around):
        for count, in_front in ((before, True), (behind, False)):
            if count:
                edge = np.zeros_like(np.repeat(np.take(x, [0], axis=axis), count, axis=axis)) + (constant_values or 0)
                x = np.concatenate([edge, x] if in_front else [x, edge], axis=axis)
    return x


def repeat(x: Any, repeats: Any, axis: Any = None) -> Any:
    """Every number several times."""
    return np.repeat(x, repeats, axis=axis)


def reshape(x: Any, newshape: Any) -> Any:
    """The same numbers in another shape."""
    return np.reshape(x, newshape)


def rsqrt(x: Any) -> Any:
    """1 / sqrt(x)."""
    return 1 / np.sqrt(x)


def slice(inputs: Any, start_indices: Any, shape: Any) -> Any:
    """A block of a shape, from a place on."""
    return inputs[tuple(builtins.slice(int(at), int(at) + int(n)) for at, n in zip(start_indices, shape, strict=True))]


def sort(x: Any, axis: int = -1) -> Any:
    """The numbers along an axis, the smallest first."""
    return np.take_along_axis(x, np.argsort(x, axis=axis), axis=axis)


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """The parts of x along an axis: so many, or cut at some places.

    Errors: ValueError for a number of parts that are not alike.
    """
    length = np.shape(x)[axis]
    if isinstance(indices_or_sections, int):
        if length % indices_or_sections:
            raise ValueError(f"split: an axis of {length} has no {indices_or_sections} parts of one size")
        size = length // indices_or_sections
        indices_or_sections = range(size, length, size)
    cuts = [0, *indices_or_sections, length]
    before = [builtins.slice(None)] * (axis % np.ndim(x))
    places = [(*before, builtins.slice(a, b)) for a, b in itertools.pairwise(cuts)]
    return [x[place] for place in places]


def top_k(x: Any, k: int, sorted: bool = True) -> tuple[Any, Any]:
    """The k largest numbers of each row, the largest first, and their places."""
    places = np.argsort(-x, axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(x, places, axis=-1), places


def tril(x: Any, k: int = 0) -> Any:
    """x with zeros above a diagonal."""
    rows, columns = np.shape(x)[-2:]
    return x * np.tri(rows, columns, k).astype(getattr(x, "dtype", backend.floatx()))


def triu(x: Any, k: int = 0) -> Any:
    """x with zeros below a diagonal."""
    return x - tril(x, k - 1)


def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Any]:
    """The entries along an axis, one by one."""
    return [np.take(x, i, axis=axis) for i in range(np.shape(x)[axis])]


def _normal_integral(function: Callable[[float], float], sign: int, x: Any) -> Any:
    """A function of every number whose derivative is 2 / sqrt(pi) exp(-x^2), or minus that."""
    y = np.vectorize(function, otypes=[float])(plain(x)).astype(getattr(x, "dtype", backend.floatx()))
    slope = sign * 2 / math.sqrt(math.pi)
    return Traced(y, [x], lambda dy: [dy * slope * np.exp(-np.square(x.value))]) if isinstance(x, Traced) else y
