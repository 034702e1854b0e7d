"""Dense, Flatten, Dropout and the input's place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minitl.backend import op
from minitl.errors import check_numbers, positive, sizes
from minitl.graph.plan import Need
from minitl.graph.value import Node, Value
from minitl.layers.base import Layer, Shape
from minitl.layers.linear import Linear
from minitl.random import new_generator


class InputLayer(Layer):
    """Where the data come in: it has a value, and does nothing else.

    Shapes: `shape` is one sample's, without the batch.
    Errors: ValueError for a shape that holds anything but whole numbers of at least 1 and None.
    """

    keeps_integers = True
    passes_mask = False  # whether the model was called on a value whose steps of zeros are left out

    def __init__(self, shape: Any = None, batch_size: int | None = None, dtype: Any = "float32", **kwargs: Any):
        for older in ("input_shape", "batch_shape", "batch_input_shape"):
            given = kwargs.pop(older, None)
            shape = shape if given is None or shape is not None else tuple(given)[older.startswith("batch") :]
        super().__init__(input_shape=sizes("Input: shape", shape), dtype=dtype, **kwargs)
        self.shape, self.batch_size = self.declared_shape[1:], batch_size  # type: ignore[index]
        self.built, self.input_shape = True, self.declared_shape
        self.output_shape = self.input_shape
        self._make_value()

    def _make_value(self) -> None:
        node = Node(self, (), [self.input_shape], [self.dtype], None)
        self.value = node.outputs[0]
        self.remember(node)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "value"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._make_value()

    @property
    def input(self) -> Value:
        """The value itself."""
        return self.output

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"shape": list(self.shape), "batch_size": self.batch_size, "dtype": self.dtype.name}


def Input(
    shape: Any = None,
    batch_size: int | None = None,
    name: str | None = None,
    dtype: Any = "float32",
    tensor: Value | None = None,
    **kwargs: Any,
) -> Value:
    """A value to begin a network with: `x = Input((32, 32, 3))`, or the first item of a Sequential.

    Shapes: `shape` is one sample's, without the batch; None is an axis of any length. `tensor` is a value to begin with that is
    there already: then that is what it gives.
    Errors: TypeError for a `tensor` that is no value.
    """
    if tensor is not None:
        if not isinstance(tensor, Value):
            raise TypeError(f"Input: tensor must be a value, got {type(tensor).__name__}; arrays go into predict() or fit()")
        return tensor
    return InputLayer(shape, batch_size, dtype, name=name, **kwargs).value


class Dense(Linear):
    """Every output is a weighted sum of every input.

    Formula: y = activation(x kernel + bias).
    Shapes: x (N, ..., in), kernel (in, units), bias (units,), y (N, ..., units).
    Errors: ValueError for units below 1.
    Source: `minitl.ops.dense`.
    """

    supports_masking = True
    operation = "dense"

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, **kwargs
        )
        self.units = positive("units", units)

    def build(self, input_shape: Shape) -> None:
        """Create kernel and bias."""
        if len(input_shape) < 2:
            raise ValueError("needs a batch, (N, ..., C); of one sample, x[None]")
        if input_shape[-1] is None:
            raise ValueError(f"needs inputs of a known last axis, got {input_shape}")
        self.add_kernel_and_bias((input_shape[-1], self.units), self.units)

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """x kernel + bias."""
        return op("dense").forward(x, self.parameters["kernel"], self.parameters.get("bias"))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, ..., units)."""
        return (*input_shape[:-1], self.units)


class Identity(Layer):
    """y = x, of any shape: a place that has a name."""

    keeps_integers = True

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x itself."""
        return x, None

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """dy itself."""
        return dy, {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


class Flatten(Layer):
    """An image becomes a row. Shapes: x (N, ...), y (N, product of the rest). Source: `minitl.ops.flatten`."""

    keeps_integers = True

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """y = x, one row per sample."""
        return op("flatten").forward(x)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx = dy in x's shape."""
        return op("flatten").backward(dy, cache), {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, product of the rest)."""
        rest = input_shape[1:]
        return (input_shape[0], None if None in rest else math.prod(rest))  # type: ignore[arg-type]


class Dropout(Layer):
    """While training, drops each element with probability `rate` and scales up the others.

    Formula: y = x m, m = 1 / (1 - rate) or 0.
    Shapes: any; x and y alike. Along the axes where `noise_shape` has 1, one m is drawn for all: (None, 1, 1, 1) drops whole
    samples; None, or x's size, stands for all of it.
    Errors: ValueError for a rate outside [0, 1), or a noise_shape that does not fit.
    Source: `minitl.ops.dropout`.
    """

    def __init__(self, rate: float, noise_shape: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        check_numbers(self, "[0, 1)", rate=rate)
        self.rate, self.noise_shape = rate, None if noise_shape is None else list(noise_shape)

    @property
    def draws(self) -> bool:
        """Unless it drops nothing."""
        return self.rate > 0

    def build(self, input_shape: Shape) -> None:
        """Take a generator."""
        shape = self.noise_shape
        axes = zip(shape[1:], input_shape[1:], strict=False) if shape else ()
        if shape is not None and (len(shape) != len(input_shape) or any(n not in (None, 1, own) for n, own in axes)):
            advice = f"None, 1 or x's size for each of the {len(input_shape)} axes of {input_shape}"
            raise ValueError(f"noise_shape must have {advice}, got {shape}")
        self.generator = new_generator()

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """y = x m while training, else x."""
        if not training or self.rate == 0:
            return x, None
        if self.noise_shape is None:
            return op("dropout").forward(x, self.rate, self.generator)
        ones = np.ones([own if n is None else n for own, n in zip(x.shape, self.noise_shape, strict=True)], x.dtype)
        mask, _ = op("dropout").forward(ones, self.rate, self.generator)
        return op("multiply").forward(x, mask)[0], mask

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx = dy m."""
        if cache is None:
            return dy, {}
        return (op("dropout").backward(dy, cache) if self.noise_shape is None else op("multiply").forward(dy, cache)[0]), {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


def __getattr__(name: str) -> Any:  # other layers, which older programs import from here
    from minitl.legacy.modules import elsewhere

    return elsewhere("layers", name)
