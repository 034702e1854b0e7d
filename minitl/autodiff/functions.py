"""NumPy's functions other than ufuncs, on traced arrays: sums, extremes, and what brings numbers to other places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.autodiff.derivatives import no_derivative
from minitl.autodiff.products import einsum, tensordot
from minitl.autodiff.trace import FUNCTIONS, Traced, of_all, plain


def _sum(x: Any, axis: Any = None, *, keepdims: bool = False) -> Traced:
    y = np.sum(x.value, axis=axis, keepdims=keepdims)
    return Traced(y, [x], lambda dy: [np.broadcast_to(_with_axes(dy, x.ndim, axis, keepdims), x.shape)])


def _mean(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    y = _sum(x, axis, keepdims=keepdims)
    return y / np.asarray(x.size / max(y.size, 1), x.dtype)


def _average(x: Any, axis: Any = None, weights: Any = None, *, keepdims: bool = False) -> Any:
    if weights is None:
        return _mean(x, axis, keepdims=keepdims)
    if np.ndim(weights) != np.ndim(x):  # one weight for each place along the axis
        weights = np.reshape(weights, [np.shape(x)[a] if a == axis % np.ndim(x) else 1 for a in range(np.ndim(x))])
    weights = weights * np.ones(np.shape(x), x.dtype)
    return np.sum(x * weights, axis=axis, keepdims=keepdims) / np.sum(weights, axis=axis, keepdims=keepdims)


def _variance(x: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    squares = _sum(np.square(x - _mean(x, axis, keepdims=True)), axis, keepdims=keepdims)
    return squares / np.asarray(x.size / max(squares.size, 1) - ddof, x.dtype)


def _extreme(function: Any) -> Callable[..., Traced]:
    def found(x: Any, axis: Any = None, *, keepdims: bool = False) -> Traced:
        y = function(x.value, axis=axis, keepdims=keepdims)

        def pullback(dy: Any) -> list[Any]:
            best = x.value == _with_axes(y, x.ndim, axis, keepdims)
            shared = best / np.sum(best, axis=axis, keepdims=True)  # at a tie all get their share
            return [shared * _with_axes(dy, x.ndim, axis, keepdims)]

        return Traced(y, [x], pullback)

    return found


def _prod(x: Any, axis: Any = None, *, keepdims: bool = False) -> Traced:
    """The derivative by a factor is the product of the others, which may be zeros."""
    value = plain(x)
    if isinstance(axis, tuple):
        raise TypeError(no_derivative("prod along several axes"))
    rows = value.reshape(1, -1) if axis is None else np.moveaxis(value, axis, -1)
    ones = np.ones_like(rows[..., :1])
    before = np.cumprod(np.concatenate([ones, rows[..., :-1]], axis=-1), axis=-1)
    behind = np.cumprod(np.concatenate([ones, rows[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    others = (before * behind).reshape(value.shape) if axis is None else np.moveaxis(before * behind, -1, axis)

    def pullback(dy: Any) -> list[Any]:
        return [others * _with_axes(dy, value.ndim, axis, keepdims)]

    return Traced(np.asarray(np.prod(value, axis=axis, keepdims=keepdims)), [x], pullback)


def _with_axes(y: Any, ndim: int, axis: Any, keepdims: bool) -> Any:
    """y with the axes of length 1 that a reduction took away."""
    if keepdims or axis is None:
        return np.reshape(y, np.shape(y) if keepdims else (1,) * ndim)
    return np.expand_dims(y, tuple(a % ndim for a in (axis if isinstance(axis, (tuple, list)) else (axis,))))


def _reordering(function: Any) -> Callable[..., Traced]:
    """Functions that only bring numbers to other places: the gradient goes back by the same way."""

    def moved(x: Any, *arguments: Any, **settings: Any) -> Traced:
        y = function(x.value, *arguments, **settings)

        def pullback(dy: Any) -> list[Any]:
            dx = np.zeros(x.shape, x.dtype)
            view = function(dx, *arguments, **settings)
            if np.may_share_memory(view, dx) and view.flags.writeable:  # other axes or a part: each number has one place
                view[...] = dy
                return [dx]
            places = function(np.arange(x.size).reshape(x.shape), *arguments, **settings)
            np.add.at(dx.reshape(-1), places.reshape(-1), np.reshape(dy, -1))
            return [dx]

        return Traced(y, [x], pullback)

    return moved


def _choosing(function: Any) -> Callable[..., Any]:
    """Functions that look up places, which have no gradient, and may come as floats, as all that a layer gives."""
    moved = _reordering(function)

    def chosen(x: Any, indices: Any, *arguments: Any, **settings: Any) -> Any:
        places = np.asarray(plain(indices)).astype(np.intp)
        return (moved if isinstance(x, Traced) else function)(x, places, *arguments, **settings)

    return chosen


def _reshape(x: Any, *shape: Any, **settings: Any) -> Traced:
    return Traced(np.reshape(x.value, *shape, **settings), [x], lambda dy: [np.reshape(dy, x.shape)])


def _joining(function: Any) -> Callable[..., Traced]:
    """Concatenate and stack: each part gets its piece of dy."""

    def joined(parts: Any, axis: int = 0) -> Traced:
        values = [plain(part) for part in parts]

        def pullback(dy: Any) -> list[Any]:
            numbers = np.cumsum([0, *(np.size(v) for v in values)])
            pieces = list(zip(parts, numbers[:-1], numbers[1:], strict=True))
            places = function([np.arange(a, b).reshape(np.shape(part)) for part, a, b in pieces], axis=axis)
            flat = np.reshape(dy, -1)[np.argsort(places.reshape(-1))]  # where each number of each part went
            return [flat[a:b].reshape(part.shape) for part, a, b in pieces if isinstance(part, Traced)]

        return Traced(function(values, axis=axis), [part for part in parts if isinstance(part, Traced)], pullback)

    return joined


def _where(condition: Any, a: Any, b: Any) -> Traced:
    chosen = np.asarray(plain(condition), bool)
    return of_all([a, b], np.where(chosen, plain(a), plain(b)), lambda dy: [np.where(chosen, dy, 0), np.where(chosen, 0, dy)])


def _clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = a_min if min is None else min, a_max if max is None else max
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _cumsum(x: Any, axis: Any = None) -> Traced:
    """Each number is in its own sum and all later ones: dy is summed from behind."""
    flat = x if axis is not None else _reshape(x, -1)
    along = 0 if axis is None else axis

    def pullback(dy: Any) -> list[Any]:
        return [np.flip(np.cumsum(np.flip(dy, along), along), along)]

    return Traced(np.cumsum(flat.value, along), [flat], pullback)


def _dot(a: Any, b: Any) -> Any:
    """The last axis of a with the first axis of a vector or a matrix b."""
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return a * b
    if np.ndim(b) > 2:
        raise TypeError("np.dot of a traced array takes vectors and matrices behind it; use np.matmul")
    x, w = np.reshape(a, (-1, np.shape(a)[-1])), np.reshape(b, (np.shape(b)[0], -1))
    return np.reshape(x @ w, (*np.shape(a)[:-1], *np.shape(b)[1:]))


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord not in (None, 2) or (ord == 2 and axis is None and x.ndim > 1):  # which is a matrix's largest singular value
        raise TypeError(no_derivative(f"linalg.norm with ord={ord!r}"))
    return np.sqrt(_sum(np.square(x), axis, keepdims=keepdims))


FUNCTIONS.update({
    "sum": _sum, "mean": _mean, "average": _average, "var": _variance,
    "std": lambda *a, **k: np.sqrt(_variance(*a, **k)),
    "max": _extreme(np.max), "amax": _extreme(np.max), "min": _extreme(np.min), "amin": _extreme(np.min),
    "reshape": _reshape, "ravel": lambda x: _reshape(x, -1), "concatenate": _joining(np.concatenate), "stack": _joining(np.stack),
    "where": _where, "clip": _clip, "dot": _dot, "norm": _norm, "cumsum": _cumsum, "prod": _prod,
    "einsum": einsum, "tensordot": tensordot,
    **{f.__name__: _reordering(f) for f in (
        np.transpose, np.swapaxes, np.moveaxis, np.expand_dims, np.squeeze, np.repeat, np.tile, np.flip, np.roll,
        np.broadcast_to,
    )},
    "take": _choosing(np.take), "take_along_axis": _choosing(np.take_along_axis),
})  # fmt: skip
