"""Loops and branches as functions, as `keras.ops` has them, and functions that bring their own gradient.

Here they are Python's: what they do with traced arrays is recorded step by step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.autodiff import Traced, plain
from minitl.legacy.windows import of_values


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """What `true_fn()` gives if `pred` is true, and `false_fn()` otherwise."""
    return true_fn() if bool(plain(pred)) else false_fn()


def while_loop(cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, maximum_iterations: int | None = None) -> Any:
    """`body` of its own results, as long as `cond` of them is true."""
    several, done = isinstance(loop_vars, (list, tuple)), 0
    while bool(cond(*loop_vars) if several else cond(loop_vars)) and done != maximum_iterations:
        loop_vars = body(*loop_vars) if several else body(loop_vars)
        done += 1
    return loop_vars


def fori_loop(lower: int, upper: int, body_fun: Callable[[int, Any], Any], init_val: Any) -> Any:
    """`body_fun(i, value)` for i from lower to upper - 1, each of the last one's value."""
    for i in range(int(lower), int(upper)):
        init_val = body_fun(i, init_val)
    return init_val


def scan(
    f: Callable[[Any, Any], Any], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False, unroll: Any = 1
) -> tuple[Any, Any]:
    """`carry, y = f(carry, x)` for each x along the first axis; the last carry, and all y, stacked."""
    steps = range(len(_first(xs)) if length is None else length)
    made: list[Any] = []
    for i in reversed(steps) if reverse else steps:
        init, y = f(init, _at(xs, i))
        made.append(y)
    made = made[::-1] if reverse else made
    return init, None if not made or made[0] is None else _stacked(made)


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """What `f` makes of each entry along the first axis, stacked."""
    return _stacked([f(_at(xs, i)) for i in range(len(_first(xs)))])


def vectorized_map(function: Callable[[Any], Any], elements: Any) -> Any:
    """The same."""
    return map(function, elements)


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function that returns y and `grad`; `grad(dy)` gives the gradients of its arguments."""

    @of_values
    @functools.wraps(f)
    def called(*arguments: Any) -> Any:
        y, grad = f(*plain(arguments))
        traced = [part for part in arguments if isinstance(part, Traced)]

        def pullback(dy: Any) -> list[Any]:
            found = grad(dy)
            found = found if isinstance(found, (list, tuple)) else [found]
            return [dx for dx, part in zip(found, arguments, strict=True) if isinstance(part, Traced)]

        return Traced(y, traced, pullback) if traced else y

    return called


def _first(xs: Any) -> Any:
    return xs[0] if isinstance(xs, (list, tuple)) else xs


def _at(xs: Any, i: int) -> Any:
    if xs is None:
        return None
    return type(xs)(x[i] for x in xs) if isinstance(xs, (list, tuple)) else xs[i]


def _stacked(made: list[Any]) -> Any:
    """The results of all steps along a new axis; one array for each where a step gives several."""
    if isinstance(made[0], (list, tuple)):
        return type(made[0])(np.stack(part) for part in zip(*made, strict=True))
    return np.stack(made)
