"""Weights and results as programs for Keras take them: arrays that can be assigned, or asked for their `numpy()`."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from minitl.autodiff import plain
from minitl.errors import wrong_shape


class Result(np.ndarray):
    """What a call or a prediction gives. What is computed from it is a plain array."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **settings: Any) -> Any:
        if out is None:
            return getattr(ufunc, method)(*map(_array, inputs), **settings)
        getattr(ufunc, method)(*map(_array, inputs), out=tuple(map(_array, out)), **settings)
        return out[0] if len(out) == 1 else out

    def __reduce__(self) -> Any:
        return self.view(np.ndarray).__reduce__()

    def numpy(self) -> np.ndarray:
        """The same as a plain array."""
        return self.view(np.ndarray)


class Number(float):
    """What a loss or a metric gives."""

    def numpy(self) -> np.float32:
        """The same as a number of NumPy's."""
        return np.float32(self)


def as_result(found: Any) -> Any:
    """Arrays and numbers, alone or in lists, tuples and dictionaries, as results; anything else as it is."""
    if type(found) is np.ndarray:
        return found.view(Result)
    if type(found) is float:
        return Number(found)
    if type(found) in (list, tuple):
        return type(found)(map(as_result, found))
    return {name: as_result(part) for name, part in found.items()} if type(found) is dict else found


class Variable(Result):
    """A view of a layer's weight, so that `layer.kernel.assign(...)` and `layer.kernel[...] = ...` change the weight itself.

    Attributes: `array` is the layer's own array; `name` is its name in the layer, `path` that of the layer before it, as in
    Keras 3 ("dense/kernel"); `trainable` tells whether the layer learns it now. What is computed from a variable is an array.
    """

    array: Any
    name: str | None
    path: str | None
    trainable: bool

    @classmethod
    def of(cls, array: np.ndarray, name: str, path: str = "", trainable: bool = True) -> Variable:
        """The variable of an array."""
        variable = array.view(cls)
        variable.array, variable.name, variable.path = array, name, f"{path}/{name}" if path else name
        variable.trainable = trainable
        return variable

    def __array_finalize__(self, source: Any) -> None:
        self.array, self.name, self.path, self.trainable = None, None, None, False

    def __reduce__(self) -> Any:
        array = self.value if self.array is None else self.array  # where a layer is copied, its copy's own
        return Variable.of, (array, self.name or "", (self.path or "").rpartition("/")[0], self.trainable)

    def __deepcopy__(self, memo: dict[int, Any] | None, /) -> Any:
        made, (array, *settings) = self.__reduce__()
        return made(copy.deepcopy(array, memo), *settings)

    @property
    def value(self) -> np.ndarray:
        """The array."""
        return self.view(np.ndarray)

    def numpy(self) -> np.ndarray:
        """A copy as a plain array."""
        return np.array(self)

    def assign(self, value: Any) -> Variable:
        """Take new numbers.

        Errors: ValueError for another shape.
        """
        array = np.asarray(plain(value))
        if array.shape != self.shape:
            raise wrong_shape(f"weight {self.path!r}", self.shape, array.shape, "assign numbers of the weight's shape")
        self.value[...] = array
        return self

    def assign_add(self, value: Any) -> Variable:
        """Add to it."""
        return self.assign(self.value + plain(value))

    def assign_sub(self, value: Any) -> Variable:
        """Subtract from it."""
        return self.assign(self.value - plain(value))


def array_of(x: Any) -> Any:
    """The layer's own array behind a variable; anything else as it is."""
    return x.array if isinstance(x, Variable) and x.array is not None else x


def _array(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, Result) else x


def in_order(
    label: str, first: tuple[Any, ...], settings: dict[str, Any], order: tuple[str, ...], of_keras_3: tuple[str, ...]
) -> dict[str, Any]:
    """The settings of `add_weight` by name: those that came without theirs are in our order, or, where the first is a shape, in
    that of Keras 3.

    Errors: TypeError for more than there are.
    """
    names = of_keras_3 if first and first[0] is not None and not isinstance(first[0], str) else order
    if len(first) > len(names):
        raise TypeError(f"{label}: add_weight takes {', '.join(names)}, got {first}")
    return {**dict(zip(names, first, strict=False)), **settings}
