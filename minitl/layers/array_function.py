"""Expressions of values, as programs write them between layers: `x + 1`, `np.mean(x, axis=1)`, `x[:, ::2]`."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minitl import activations
from minitl.activations import OPERATION
from minitl.autodiff import DERIVATIVES, FUNCTIONS, PLAIN, Traced, gradients, plain
from minitl.errors import positive, unknown
from minitl.graph.plan import Need
from minitl.graph.value import Shape, Value
from minitl.layers.base import Layer
from minitl.layers.masking import marks_of
from minitl.layers.merging import Add, Multiply, Subtract
from minitl.layers.output_shape import of_two_batches

OPERATIONS = {OPERATION + operation for operation, _ in activations.NAMED.values() if operation}
KNOWN = {*DERIVATIVES, *FUNCTIONS, *PLAIN, *OPERATIONS, "matmul", "getitem"}
REPEATING = ("tile", "repeat", "broadcast_to")  # can make much of little
MOST = 1 << 27  # numbers that a trial may take; a file may claim anything
SHORT = {"add": Add, "subtract": Subtract, "multiply": Multiply}  # what has a layer of its own, for values alike


class ArrayFunction(Layer):
    """A function of NumPy as a layer; a value in an expression makes one.

    Formula: y = numpy.function(*arguments, **settings); dx by automatic differentiation.
    Parameters: `function` is its name ("mean", "exp"; "getitem" for x[...], "activation.relu"). `arguments` are its
    arguments, with {"value": i} where the layer's i-th input stands; slices are {"slice": [start, stop, step]}, tuples
    {"tuple": [...]}. `batch` is the one number of samples that it takes, None for any.
    Shapes: any. What loses the batch, such as a mean over all, can be computed and differentiated, but is no output of `predict`.
    Errors: ValueError for a function that has no derivative here, and for another number of samples than `batch`.
    Source: `minitl.autodiff`.
    """

    any_shape = False

    def __init__(
        self,
        function: str,
        arguments: Any = ({"value": 0},),
        settings: dict[str, Any] | None = None,
        batch: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.batch = None if batch is None else positive("ArrayFunction: batch", batch)
        if function not in KNOWN:
            raise unknown("ArrayFunction: function", function, sorted(KNOWN))
        self.function, self.arguments, self.settings = function, list(arguments), settings or {}
        self.takes_several = _count([self.arguments, self.settings]) > 1

    def compute(self, x: Any, training: bool) -> tuple[np.ndarray, Any]:
        """y, and its record."""
        if self.batch is not None:
            self._check_batch(x)
        parts = [Traced(part) for part in (x if self.takes_several else [x])]
        y = self._applied(parts)
        return np.asarray(plain(y)).astype(self.dtype, copy=False), (parts, y)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[Any, dict[str, np.ndarray]]:
        """dx by the record; zeros from what does not change with x, such as a comparison."""
        parts, y = cache
        found = gradients(y, parts, dy) if isinstance(y, Traced) else [np.zeros_like(part.value) for part in parts]
        return (found if self.takes_several else found[0]), {}

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Found out by two trials, with open axes of two lengths; of a batch that a reshape can divide, or that has the sample
        which is asked for, if need be.
        """
        try:
            return self._tried_shape(input_shape, 1)
        except (ValueError, IndexError):
            if self.function == "reshape":
                wanted, row = _product(self.arguments[1:]), math.prod(n for n in input_shape if n)
                return self._tried_shape(input_shape, wanted // math.gcd(wanted, row))
            if self.function == "getitem":
                return self._tried_shape(input_shape, _samples_before(self.arguments[1]) + 1)
            raise

    def _tried_shape(self, input_shape: Any, times_batch: int) -> Shape:
        batches = (2 * times_batch, 3 * times_batch) if self.batch is None else (self.batch, self.batch)
        return of_two_batches(list(input_shape) if self.takes_several else [input_shape], self._tried, batches)

    def _tried(self, sizes: list[list[int]]) -> tuple[int, ...]:
        times = _product([self.arguments, self.settings]) if self.function in REPEATING else 1
        if times * sum(map(math.prod, sizes)) > MOST:
            raise ValueError(f"{self.label}: {self.function} of {sizes} would make more than {MOST} numbers for a few samples")
        return self.shape_of(sizes)

    def shape_of(self, sizes: Sequence[Sequence[int]]) -> tuple[int, ...]:
        """The shape that comes of arrays of some shapes, found out by a trial."""
        ones = [np.ones(size, self.dtype) for size in sizes]
        with np.errstate(all="ignore"):
            return self.compute(ones if self.takes_several else ones[0], False)[0].shape

    def _check_batch(self, x: Any) -> None:
        inputs = zip(x, self.input_shape, strict=True) if self.takes_several else [(x, self.input_shape)]
        for part, shape in inputs:
            if shape[:1] == (None,) and len(part) != self.batch:
                raise ValueError(
                    f"{self.label}: {self.function} takes {self.batch} samples at a time, got {len(part)}; "
                    "it was made for that batch alone"
                )

    def _applied(self, parts: list[Traced]) -> Any:
        arguments = filled(self.arguments, parts)
        if self.function == "getitem":
            return arguments[0][arguments[1]]
        if self.function in OPERATIONS:
            return activations.run(self.function.removeprefix(OPERATION), arguments[0], **filled(self.settings, parts))
        function = np.linalg.norm if self.function == "norm" else getattr(np, self.function)
        return function(*arguments, **filled(self.settings, parts))


@contextlib.contextmanager
def only_batch(samples: int) -> Iterator[None]:
    """Inside the block, functions of values need not hold for any batch, but for one of so many samples."""
    before, _made_for.batch = _made_for.batch, samples
    try:
        yield
    finally:
        _made_for.batch = before


class _MadeFor(threading.local):
    batch: int | None = None


_made_for = _MadeFor()


def expression(name: str, arguments: Any, settings: dict[str, Any]) -> Value:
    """The value of a function of NumPy whose arguments hold values.

    Errors: TypeError for a function that has no derivative here.
    """
    values: list[Value] = []
    if name in ("shape", "ndim"):
        return getattr(arguments[0], name)
    if name not in KNOWN:
        raise TypeError(f"numpy.{name} is not known of values, which hold no numbers yet; use a layer (or Lambda) here")
    short = SHORT.get(name)
    if (
        short
        and len(arguments) == 2
        and all(isinstance(a, Value) for a in arguments)
        and arguments[0].shape == arguments[1].shape != ()  # a layer has a batch
        and not any(map(marks_of, arguments))  # masks are handed on by layers, as in Keras, and not by functions
    ):
        return short(dtype=_dtype(arguments))(list(arguments))
    described = _emptied(list(arguments), values), _emptied(settings, values)
    layer = ArrayFunction(name, *described, batch=_made_for.batch, dtype=_dtype(values))
    return layer(values if layer.takes_several else values[0])


def _dtype(values: Any) -> np.dtype:
    """What a function of values computes in."""
    kinds = [value.dtype for value in values if value.dtype.kind == "f"]
    return np.result_type(*kinds) if kinds else np.dtype(np.float32)


def _product(item: Any) -> int:
    """All whole numbers in an argument, multiplied."""
    return abs(item) if isinstance(item, int) and item else math.prod(map(_product, _parts(item)))


def _samples_before(key: Any) -> int:
    """How many samples stand before the one that an index asks for."""
    first = key["tuple"][0] if isinstance(key, dict) and key.get("tuple") else key
    return abs(first) if isinstance(first, int) else 0


def _count(item: Any) -> int:
    """How many values stand in an argument."""
    return 1 if isinstance(item, dict) and set(item) == {"value"} else sum(map(_count, _parts(item)))


def _parts(item: Any) -> Any:
    return item.values() if isinstance(item, dict) else item if isinstance(item, (list, tuple)) else ()


def _emptied(item: Any, values: list[Value]) -> Any:
    """An argument without its values, which are put into the list."""
    if isinstance(item, Value):
        values.append(item)
        return {"value": len(values) - 1}
    if isinstance(item, slice):
        return {"slice": [item.start, item.stop, item.step]}
    if item is Ellipsis:
        return {"slice": "..."}
    if isinstance(item, np.ndarray):
        return {"array": item.tolist(), "dtype": item.dtype.name}
    if isinstance(item, tuple):
        return {"tuple": [_emptied(part, values) for part in item]}
    if isinstance(item, list):
        return [_emptied(part, values) for part in item]
    return {key: _emptied(part, values) for key, part in item.items()} if isinstance(item, dict) else item


def filled(item: Any, parts: Sequence[Any]) -> Any:
    """An argument with arrays, or what else there is for them, in the places of its values."""
    if isinstance(item, list):
        return [filled(part, parts) for part in item]
    if not isinstance(item, dict):
        return item
    if set(item) == {"value"}:
        return parts[item["value"]]
    if set(item) == {"slice"}:
        return Ellipsis if item["slice"] == "..." else slice(*item["slice"])
    if set(item) == {"array", "dtype"}:
        return np.array(item["array"], item["dtype"])
    if set(item) == {"tuple"}:
        return tuple(filled(part, parts) for part in item["tuple"])
    return {key: filled(part, parts) for key, part in item.items()}


Value.expression = staticmethod(expression)
