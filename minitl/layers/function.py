"""Lambda: a function as a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.base import Layer
from minitl.serialization import decode


class Lambda(Layer):
    """A function of arrays as a layer, with the gradient that you give: `Lambda(np.square, gradient=lambda x, dy: 2 * x * dy)`.

    Without a gradient it can stand where nothing below it learns (at the input), or in a model that only predicts.
    Formula: y = function(x), dx = gradient(x, dy).
    Shapes: any; `output_shape` is one sample's, by default found out by a call on zeros.
    Errors: TypeError for what is no function; ValueError in a backward pass through a Lambda without a gradient.
    """

    any_shape = False

    def __init__(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        output_shape: Any = None,
        gradient: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not callable(function) or not (gradient is None or callable(gradient)):
            raise TypeError(f"Lambda: expected functions, got {function!r} and {gradient!r}")
        self.function, self.gradient = function, gradient
        self.declared_output = None if output_shape is None else (None, *output_shape)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """y = function(x)."""
        y = np.asarray(self.function(x))
        if y.ndim == 0 or len(y) != len(x):
            raise ValueError(f"{self.label}: the function made shape {y.shape} of {x.shape}; the batch must stay its first axis")
        return y.astype(self.dtype, copy=False), x

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx = gradient(x, dy)."""
        if not need.dx:
            return None, {}
        if self.gradient is None:
            raise ValueError(
                f"{self.label}: something below it learns, but the Lambda has no gradient; give gradient=lambda x, dy: ..., "
                "or write a Layer with a backward"
            )
        dx = np.asarray(self.gradient(cache, dy), dy.dtype)
        if dx.shape != cache.shape:
            raise ValueError(f"{self.label}: gradient(x, dy) has shape {dx.shape}; it must have x's, {cache.shape}")
        return dx, {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """As declared, or found out."""
        if self.declared_output is not None:
            return self.declared_output
        return super().compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer: the functions by name."""
        shape = None if self.declared_output is None else list(self.declared_output[1:])
        config = {"function": self.function, "output_shape": shape, "gradient": self.gradient}
        return {**config, "name": self.name, "trainable": self.trainable, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The layer that `get_config` described; its functions are found among the custom objects."""
        functions = {name: decode("Lambda", config[name], {}) for name in ("function", "gradient")}
        return cls(**{**config, **functions})
