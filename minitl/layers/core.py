"""Dense, Flatten, Dropout and the input's place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minitl import initializers, regularizers
from minitl.backend import op
from minitl.layers.activations import Activated, activation_name
from minitl.layers.base import Layer, Shape
from minitl.random import new_generator


class InputLayer(Layer):
    """Where the data come in: it gives a Sequential its input shape, and does nothing else.

    Shapes: `shape` is one sample's, without the batch.
    """

    def __init__(self, shape: tuple[int | None, ...], batch_size: int | None = None, **kwargs: Any):
        super().__init__(input_shape=tuple(shape), **kwargs)
        self.shape, self.batch_size = tuple(shape), batch_size


def Input(shape: tuple[int | None, ...], batch_size: int | None = None, name: str | None = None) -> InputLayer:
    """Keras's name for it: `Sequential([Input((32, 32, 3)), ...])`."""
    return InputLayer(shape, batch_size, name=name)


class Dense(Activated):
    """Every output is a weighted sum of every input.

    Formula: y = activation(x kernel + bias).
    Shapes: x (N, ..., in), kernel (in, units), bias (units,), y (N, ..., units).
    Errors: ValueError for units below 1.
    Source: `minitl.ops.dense`.
    """

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = positive("units", units)
        self.activation = activation_name(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def build(self, input_shape: Shape) -> None:
        """Create kernel and bias."""
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(f"needs inputs of a known last axis, got {input_shape}")
        self.add_weight("kernel", (input_shape[-1], self.units), self.kernel_initializer, self.kernel_regularizer)
        if self.use_bias:
            self.add_weight("bias", (self.units,), self.bias_initializer, self.bias_regularizer)

    def linear(self, x: np.ndarray) -> np.ndarray:
        """x kernel + bias."""
        z, cache = op("dense").forward(x, self.parameters["kernel"], self.parameters.get("bias"))
        self.cache = cache if self.keep_cache else None
        return z

    def linear_backward(self, dz: np.ndarray, need_dx: bool) -> np.ndarray | None:
        """Gradients of kernel and bias, and dx."""
        dx, dkernel, dbias = op("dense").backward(dz, self.cache, need_dx, self.trainable)
        store_gradients(self, kernel=dkernel, bias=dbias)
        return dx

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, ..., units)."""
        return (*input_shape[:-1], self.units)


class Flatten(Layer):
    """An image becomes a row. Shapes: x (N, ...), y (N, product of the rest). Source: `minitl.ops.flatten`."""

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """y = x, one row a sample."""
        y, self.cache = op("flatten").forward(x)
        return y

    def backward(self, dy: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """dx = dy in x's shape."""
        return op("flatten").backward(dy, self.cache)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, product of the rest)."""
        rest = input_shape[1:]
        return (input_shape[0], None if None in rest else math.prod(rest))  # type: ignore[arg-type]


class Dropout(Layer):
    """While training, drops each element with probability `rate` and scales up the others.

    Formula: y = x m, m = 1 / (1 - rate) or 0.
    Shapes: any; x and y alike.
    Errors: ValueError for a rate outside [0, 1).
    Source: `minitl.ops.dropout`.
    """

    def __init__(self, rate: float, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout: rate must be in [0, 1), got {rate}")
        self.rate = rate

    def build(self, input_shape: Shape) -> None:
        """Take a generator."""
        self.generator = new_generator()

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """y = x m while training, else x."""
        self.cache = None
        if not training or self.rate == 0:
            return x
        y, mask = op("dropout").forward(x, self.rate, self.generator)
        self.cache = mask if self.keep_cache else None
        return y

    def backward(self, dy: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """dx = dy m."""
        return dy if self.cache is None else op("dropout").backward(dy, self.cache)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


def store_gradients(layer: Layer, **gradients: np.ndarray | None) -> None:
    """Keep what an operation's backward gave for the layer's parameters; None is what was not asked for."""
    layer.gradients.update({name: g for name, g in gradients.items() if g is not None})


def positive(name: str, value: int) -> int:
    """Check a count: a whole number of at least 1.

    Errors: ValueError for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return int(value)
