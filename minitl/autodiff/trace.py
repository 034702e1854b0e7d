"""Traced arrays, and the way back through their record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from minitl.autodiff.derivatives import DERIVATIVES, PLAIN, no_derivative

Pullback = Callable[[Any], Sequence[Any]]
FUNCTIONS: dict[str, Callable[..., Any]] = {}  # those that are no ufuncs; `minitl.autodiff.functions` has them


class Traced(NDArrayOperatorsMixin):
    """An array whose uses are recorded.

    Attributes: `value` is the array; `sources` are the traced arrays that it was made from, and `pullback(dy)` gives the gradient
    of each of them (None where there is none).
    Errors: TypeError when it would become a plain array, and for functions without a derivative here.
    """

    def __init__(self, value: Any, sources: Sequence[Traced] = (), pullback: Pullback | None = None):
        self.value, self.sources, self.pullback = np.asarray(value), tuple(sources), pullback

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    T = property(lambda self: np.transpose(self))

    def __len__(self) -> int:
        return len(self.value)

    def __repr__(self) -> str:
        return f"Traced({self.value!r})"

    def __bool__(self) -> bool:
        return bool(self.value)

    def __getitem__(self, key: Any) -> Traced:
        key = plain(key)

        def pullback(dy: Any) -> list[Any]:
            dx = np.zeros_like(self.value)
            if _once(key):
                dx[key] = dy
            else:
                np.add.at(dx, key, dy)
            return [dx]

        return Traced(self.value[key], [self], pullback)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("a traced array cannot become a plain one: its gradient would be lost; use NumPy's functions on it")

    __float__ = __int__ = __array__

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        name, out = ufunc.__name__, settings.pop("out", None)
        if out is not None and out[0] is not inputs[0]:  # but x += y gives a new x
            raise TypeError("a traced array cannot be written into a plain one, its gradient would be lost")
        if settings.get("where", True) is not True:
            raise TypeError(no_derivative(f"{name} with where"))
        values = [plain(item) for item in inputs]
        if method != "__call__" or (name not in DERIVATIVES and name not in PLAIN and name != "matmul"):
            raise TypeError(no_derivative(name if method == "__call__" else f"{name}.{method}"))
        if name == "matmul":
            return _product(inputs, values)
        y = ufunc(*values, **settings)
        if name in PLAIN:
            return y
        return of_all(inputs, y, lambda dy: [dy * d for d in DERIVATIVES[name](y, *values)])

    def __array_function__(self, function: Any, types: Any, arguments: Any, settings: Any) -> Any:
        name = function.__name__
        if name in PLAIN:
            return function(*plain(arguments), **plain(settings))
        if name not in FUNCTIONS:
            raise TypeError(no_derivative(name))
        try:
            return FUNCTIONS[name](*arguments, **settings)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error) and "positional argument" not in str(error):
                raise
            what = str(error).split("() ", 1)[-1]
            raise TypeError(f"numpy.{name} of a traced array has no derivative here as it is called: {what}") from error

    # What arrays can do by themselves.

    def astype(self, dtype: Any, **_: Any) -> Any:
        """In another dtype; the gradient comes back in this one. Whole numbers have none: they are a plain array."""
        if np.dtype(dtype).kind != "f":
            return self.value.astype(dtype)
        return Traced(self.value.astype(dtype), [self], lambda dy: [np.asarray(dy).astype(self.dtype)])

    def reshape(self, *shape: Any) -> Any:
        """In another shape."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        """With its axes in another order."""
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) if axes else None)

    def sum(self, axis: Any = None, *, keepdims: bool = False) -> Any:
        """Added up."""
        return np.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, *, keepdims: bool = False) -> Any:
        """The mean."""
        return np.mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, *, keepdims: bool = False) -> Any:
        """The largest."""
        return np.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, *, keepdims: bool = False) -> Any:
        """The smallest."""
        return np.min(self, axis=axis, keepdims=keepdims)

    def ravel(self) -> Traced:
        """In one row."""
        return self.reshape(-1)

    flatten = ravel

    def clip(self, min: Any = None, max: Any = None) -> Any:
        """Cut off at both ends."""
        return np.clip(self, min, max)


def gradients(y: Traced, sources: Sequence[Traced], dy: Any = None) -> list[np.ndarray]:
    """The gradients of y with respect to traced arrays: zeros for one that y does not depend on.

    Parameters: `dy`, in y's shape, is the gradient of what comes after y; 1 for a single number.
    Errors: TypeError when y was not recorded; ValueError for a y of several numbers without dy.
    """
    if not isinstance(y, Traced):
        raise TypeError(f"gradients: expected what was computed from traced arrays, got {type(y).__name__}")
    if dy is None and y.size != 1:
        raise ValueError(f"gradients: y has shape {y.shape}; give dy, or make one number of it")
    found: dict[int, Any] = {id(y): np.ones_like(y.value) if dy is None else np.asarray(dy, y.dtype).reshape(y.shape)}
    for array in reversed(_in_order(y)):
        arrived = found.get(id(array))
        if arrived is None or array.pullback is None:
            continue
        for source, gradient in zip(array.sources, array.pullback(arrived), strict=True):
            if gradient is not None:
                before = found.get(id(source))
                found[id(source)] = gradient if before is None else before + gradient
    return [np.asarray(found.get(id(s), np.zeros_like(s.value)), s.dtype).reshape(s.shape) for s in sources]


def _in_order(y: Traced) -> list[Traced]:
    """All that y was made from, each after its sources."""
    order, seen, stack = [], set(), [(y, False)]
    while stack:
        array, done = stack.pop()
        if done:
            order.append(array)
        elif id(array) not in seen:
            seen.add(id(array))
            stack.append((array, True))
            stack += [(source, False) for source in array.sources]
    return order


def plain(x: Any) -> Any:
    """x without a record, also inside lists and dictionaries."""
    if isinstance(x, Traced):
        return x.value
    if isinstance(x, (list, tuple)):
        return type(x)(plain(item) for item in x)
    return {key: plain(item) for key, item in x.items()} if isinstance(x, dict) else x


def _once(key: Any) -> bool:
    """Whether an index takes no element twice: as slices and single places do, and lists of places may not."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or part is Ellipsis or isinstance(part, (slice, int, np.integer)) for part in parts)


def of_all(inputs: Sequence[Any], y: Any, pullback: Pullback) -> Traced:
    """A traced y of some inputs, with a pullback for all; along axes on which an input was repeated, gradients add up."""
    places = [i for i, item in enumerate(inputs) if isinstance(item, Traced)]
    traced = [inputs[i] for i in places]

    def summed(dy: Any) -> list[Any]:
        parts = pullback(dy)
        return [_unbroadcast(np.broadcast_to(parts[i], y.shape), inputs[i].shape) for i in places]

    return Traced(y, traced, summed)


def _unbroadcast(dy: Any, shape: tuple[int, ...]) -> Any:
    if dy.shape == shape:
        return dy  # a sum over no axes would be a copy
    dy = dy.sum(axis=tuple(range(dy.ndim - len(shape))))
    return dy.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1 and dy.shape[i] != 1), keepdims=True)


def _product(inputs: Sequence[Any], values: Sequence[Any]) -> Traced:
    """y = a b: da = dy b^T, db = a^T dy, for a batch of matrices; a vector is a matrix with one row, or with one column."""
    a, b = values
    if a.ndim == 1:
        return np.matmul(inputs[0][None], inputs[1])[(..., 0) if b.ndim == 1 else (..., 0, slice(None))]
    if b.ndim == 1:
        return np.matmul(inputs[0], inputs[1][:, None])[..., 0]
    if a.ndim > b.ndim == 2:  # all rows by one matrix
        rows = np.matmul(np.reshape(inputs[0], (-1, a.shape[-1])), inputs[1])
        return rows.reshape(*a.shape[:-1], b.shape[-1])
    parts = {0: lambda dy: dy @ np.swapaxes(b, -1, -2), 1: lambda dy: np.swapaxes(a, -1, -2) @ dy}
    places = [i for i in (0, 1) if isinstance(inputs[i], Traced)]
    y, traced = np.matmul(a, b), [inputs[i] for i in places]
    return Traced(y, traced, lambda dy: [_unbroadcast(parts[i](dy), values[i].shape) for i in places])
