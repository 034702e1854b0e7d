"""Lambda: a function as a layer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.autodiff import Traced, gradients, plain
from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.base import Layer
from minitl.serialization import decode


class Lambda(Layer):
    """A function of arrays as a layer: `Lambda(lambda x: x / 255)`, `Lambda(lambda ab: np.abs(ab[0] - ab[1]))([a, b])`.

    Formula: y = function(x, **arguments); dx = gradient(x, dy) where you give it, otherwise by automatic differentiation.
    Parameters: `function` takes an array, or a list of them when the layer is called on a list; to be differentiated it must be
    made of NumPy's functions or `minitl.backend`'s. `arguments` are settings for it.
    Shapes: any; `output_shape` is one sample's, or a function of the input's, by default found out by a call on zeros.
    Errors: TypeError for what is no function, and in a backward pass through what has no derivative; ValueError when the
    function loses the batch.
    Source: `minitl.autodiff`.
    """

    any_shape = False

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        gradient: Callable[[Any, np.ndarray], Any] | None = None,
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not callable(function) or not (gradient is None or callable(gradient)):
            raise TypeError(f"Lambda: expected functions, got {function!r} and {gradient!r}")
        self.function, self.gradient, self.arguments = function, gradient, arguments or {}
        self.declared_output = output_shape

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """On a list, the function gets a list."""
        several = isinstance(x, (list, tuple))
        if self.built and several != self.takes_several:
            raise ValueError(f"{self.label}: was called on {'one value' if several else 'a list'} before; make a second Lambda")
        self.takes_several = several
        return super().__call__(x, training)

    def compute(self, x: Any, training: bool) -> tuple[np.ndarray, Any]:
        """y = function(x), recorded if it can be and must."""
        parts = list(x) if self.takes_several else [x]
        record: Any = None
        if self.gradient is None:
            traced = [Traced(part) for part in parts]
            try:
                y = self.function(traced if self.takes_several else traced[0], **self.arguments)
                record = traced, y
            except Exception as error:  # of the function itself, or because it cannot be recorded
                record = None, error
        if record is None or not isinstance(record[1], Traced):
            y = self.function(x, **self.arguments)
        y = np.asarray(plain(y))
        if y.ndim == 0 or len(y) != len(parts[0]):
            shape = parts[0].shape
            raise ValueError(f"{self.label}: the function made shape {y.shape} of {shape}; the batch must stay its first axis")
        return y.astype(self.dtype, copy=False), (x, record)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[Any, dict[str, np.ndarray]]:
        """dx = gradient(x, dy), or what the record of the function gives."""
        if not (any(need.dx) if isinstance(need.dx, tuple) else need.dx):
            return None, {}
        x, record = cache
        if record is not None and not isinstance(record[1], Traced):
            reason = record[1] if isinstance(record[1], Exception) else "its result left the record"
            raise ValueError(
                f"{self.label}: something below it learns, but the function cannot be differentiated: {reason}; give "
                "gradient=lambda x, dy: ..., or write a Layer with a backward"
            ) from (record[1] if isinstance(record[1], Exception) else None)
        given = list(x) if self.takes_several else [x]
        if record is not None:
            found = gradients(record[1], record[0], dy)
        else:
            dx = self.gradient(x, dy)  # type: ignore[misc]
            found = [np.asarray(part, dy.dtype) for part in (dx if self.takes_several else [dx])]
        for part, own in zip(found, given, strict=True):
            if part.shape != own.shape:
                raise ValueError(f"{self.label}: gradient(x, dy) has shape {part.shape}; it must have x's, {own.shape}")
        return (found if self.takes_several else found[0]), {}

    @property
    def function_of_values(self) -> Callable[..., Any]:
        """The function with its settings, for where it reaches values around it (`minitl.layers.followed`)."""
        return functools.partial(self.function, **self.arguments)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """As declared, or found out."""
        declared = self.declared_output
        if callable(declared):
            return (None, *tuple(declared(input_shape))[1:])
        return super().compute_output_shape(input_shape) if declared is None else (None, *declared)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer: the functions by name."""
        shape = (
            self.declared_output if self.declared_output is None or callable(self.declared_output) else [*self.declared_output]
        )
        config = {"function": self.function, "output_shape": shape, "gradient": self.gradient, "arguments": self.arguments}
        return {**config, "name": self.name, "trainable": self.trainable, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The layer that `get_config` described; its functions are found among the custom objects."""
        functions = {name: decode("Lambda", config[name], {}) for name in ("function", "gradient", "output_shape")}
        return cls(**{**config, **functions})
