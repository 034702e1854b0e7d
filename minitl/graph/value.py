"""Values and nodes: what layers are connected by before any number is computed.

`Input((32, 32, 3))` gives a value, and a layer called on a value gives another one. A value knows its shape, its dtype, and
the node that makes it; a node is one use of a layer on some values.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

Shape = tuple[int | None, ...]
NUMBERS = (int, float, np.generic, np.ndarray)


class Sizes(tuple[int | None, ...]):
    """A shape, which older programs turn into a list by `as_list()`."""

    def as_list(self) -> list[int | None]:
        """The sizes, the batch first."""
        return list(self)


class NoNumbersYetError(TypeError):
    """A value stood where numbers are needed."""


class Value:
    """What a layer will give: a shape, with None for the batch, a dtype, and the node that makes it.

    Values stand in expressions, with each other and with numbers, and in functions of NumPy: that makes layers
    (`minitl.layers.array_function`, which gives `expression`).
    """

    __slots__ = ("__weakref__", "dtype", "index", "node", "shape")
    __iter__ = None  # x[0], x[1], ... would never end
    expression: Any

    def __init__(self, shape: Shape, dtype: Any, node: Node, index: int = 0):
        self.shape, self.dtype, self.node, self.index = Sizes(shape), np.dtype(dtype), node, index

    @property
    def name(self) -> str:
        """The name of the layer that makes it."""
        return str(self.node.layer.name)

    _keras_shape = property(lambda self: self.shape)  # its name in Keras 1 and 2

    def get_shape(self) -> Shape:
        """The shape, as TensorFlow's programs ask for it."""
        return self.shape

    @property
    def ndim(self) -> int:
        """The number of axes, the batch included."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<Value {self.shape} {self.dtype} of {self.node.layer.label}>"

    def __bool__(self) -> bool:
        raise NoNumbersYetError(f"{self!r} holds no numbers yet: it describes what a layer will give; build a Model and call it")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **settings: Any) -> Value:
        if out is not None and out[0] is not inputs[0]:  # but `total += value` gives a new total
            raise NoNumbersYetError(f"{self!r} holds no numbers yet, and cannot be written into an array; leave `out` out")
        return self.expression(ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}", inputs, settings)

    def __array_function__(self, function: Any, types: Any, arguments: Any, settings: Any) -> Value:
        return self.expression(function.__name__, arguments, settings)

    # With numbers, number by number; values themselves are equal when they are the same one, since graphs look them up.

    def __eq__(self, other: Any) -> Any:
        return self.expression("equal", (self, other), {}) if isinstance(other, NUMBERS) else NotImplemented

    def __ne__(self, other: Any) -> Any:
        return self.expression("not_equal", (self, other), {}) if isinstance(other, NUMBERS) else NotImplemented

    __hash__ = object.__hash__

    def __mod__(self, other: Any) -> Any:
        return self - other * np.floor_divide(self, other)

    def __rmod__(self, other: Any) -> Any:
        return other - self * np.floor_divide(other, self)

    def __getitem__(self, key: Any) -> Value:
        return self.expression("getitem", (self, key), {})

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise NoNumbersYetError(f"{self!r} holds no numbers yet; NumPy functions take arrays, use a layer (or Lambda) here")


def _operator(name: str, turned: bool = False) -> Callable[[Value, Any], Value]:
    def operate(self: Value, other: Any) -> Value:
        return self.expression(name, (other, self) if turned else (self, other), {})

    return operate


for _symbol, _name in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power", "matmul": "matmul",
    "floordiv": "floor_divide", "and": "logical_and", "or": "logical_or",
}.items():  # fmt: skip
    setattr(Value, f"__{_symbol}__", _operator(_name))
    setattr(Value, f"__r{_symbol}__", _operator(_name, turned=True))
for _symbol, _name in {"gt": "greater", "ge": "greater_equal", "lt": "less", "le": "less_equal"}.items():
    setattr(Value, f"__{_symbol}__", _operator(_name))
for _symbol, _name in {"neg": "negative", "abs": "absolute", "invert": "logical_not"}.items():
    setattr(Value, f"__{_symbol}__", functools.partialmethod(lambda self, name: self.expression(name, (self,), {}), _name))


class Node:
    """One use of a layer: the values that go in, the values that come out, and `training` if the call fixed it."""

    __slots__ = ("__weakref__", "inputs", "layer", "marks", "outputs", "training")

    def __init__(self, layer: Any, inputs: Iterable[Value], shapes: list[Shape], dtypes: list[Any], training: bool | None):
        self.layer, self.inputs, self.training = layer, tuple(inputs), training
        self.marks: Any = None  # who marks steps of the first output as not there, once `layers.masking` looked
        self.outputs = tuple(Value(s, d, self, i) for i, (s, d) in enumerate(zip(shapes, dtypes, strict=True)))


class Undecided:
    """`training` while a model's call is followed: true, so that its branches for training are taken; layers decide later."""

    def __bool__(self) -> bool:
        return True


UNDECIDED = Undecided()


def values_in(x: Any) -> list[Value] | None:
    """The values of a call's argument, one or a list of them; None when it holds no value.

    Errors: TypeError for a mixture of values and arrays.
    """
    if isinstance(x, Value):
        return [x]
    if not isinstance(x, (list, tuple)) or not any(isinstance(item, Value) for item in x):
        return None
    if not all(isinstance(item, Value) for item in x):
        raise TypeError("a layer takes values or arrays, not a mixture of both; wrap arrays in a model's Input")
    return list(x)


def use(layer: Any, values: list[Value], training: bool | None) -> list[Value]:
    """A layer's outputs for the inputs of a node."""
    made = layer(values if layer.takes_several or len(values) > 1 else values[0], training)
    return made if isinstance(made, list) else [made]


@functools.lru_cache(maxsize=1024)
def fits(expected: Shape, shape: tuple[int, ...]) -> bool:
    """Whether an array of a shape is what a value describes."""
    return len(expected) == len(shape) and all(e is None or e == n for e, n in zip(expected, shape, strict=True))


def shape_of(y: Any, label: str) -> Any:
    """The shape of what a forward pass gave, the batch left open; for a list of arrays, a list.

    Errors: TypeError for what is no array.
    """
    if isinstance(y, list):
        return [shape_of(part, label) for part in y]
    if not isinstance(y, np.ndarray):
        raise TypeError(f"{label}: forward() must return an array, got {type(y).__name__}")
    return (None, *y.shape[1:])
