"""Activations, as layers and as the second half of layers that have an `activation=`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.backend import op
from minitl.errors import unknown
from minitl.layers.base import Layer, Shape

NAMES = ("linear", "relu", "sigmoid", "tanh", "softmax")


class Activated(Layer):
    """A linear part, followed by an activation.

    Formula: y = activation(linear(x)).
    The two can be asked for apart, since a loss that knows the last activation wants what comes before it (the
    logits): their joint gradient is simpler and more exact than the product of the two.
    """

    activation: str

    def linear(self, x: np.ndarray) -> np.ndarray:
        """The part before the activation."""
        raise NotImplementedError

    def linear_backward(self, dz: np.ndarray, need_dx: bool) -> np.ndarray | None:
        """From the gradient of linear's result: fill `gradients`, return dx."""
        raise NotImplementedError

    @property
    def output_activation(self) -> str | None:  # type: ignore[override]
        """The activation's name, unless a subclass goes another way."""
        return self.activation if type(self).forward is Activated.forward else None

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """y = activation(linear(x))."""
        return self.forward_logits(x, training)[1]

    def forward_logits(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, np.ndarray]:
        """What comes before the activation, and y."""
        z = self.linear(x)
        if self.activation == "linear":
            return z, z
        y, cache = op(self.activation).forward(z)
        self._activation_cache = cache if self.keep_cache else None
        return z, y

    def backward(self, dy: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """Back through the activation, then through the linear part."""
        if self.activation != "linear":
            dy = op(self.activation).backward(dy, self._activation_cache)
        return self.linear_backward(dy, need_dx)

    def backward_logits(self, dz: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """Back from the logits, past the activation."""
        return self.linear_backward(dz, need_dx)


class ActivationOnly(Activated):
    """An activation with nothing in front of it: its linear part is the identity."""

    def linear(self, x: np.ndarray) -> np.ndarray:
        """x itself."""
        return x

    def linear_backward(self, dz: np.ndarray, need_dx: bool) -> np.ndarray | None:
        """dz itself."""
        return dz

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


class Activation(ActivationOnly):
    """An activation by name: linear, relu, sigmoid, tanh or softmax.

    Formula: y = activation(x).
    Shapes: any; x and y alike. Softmax runs over the last axis.
    Errors: ValueError for another name.
    """

    def __init__(self, activation: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = activation_name(activation)


class ReLU(ActivationOnly):
    """y = max(x, 0). Shapes: any."""

    activation = "relu"


class Softmax(ActivationOnly):
    """y = exp(x) / sum exp(x) over the last axis. Shapes: any."""

    activation = "softmax"


def activation_name(activation: str | None) -> str:
    """Check an activation's name; None is linear.

    Errors: ValueError for a name that does not exist, TypeError for something else than a name.
    """
    if activation is None:
        return "linear"
    if not isinstance(activation, str):
        raise TypeError(f"activation must be a name or None, got {activation!r}; write a Layer for your own activation")
    if activation.lower() not in NAMES:
        raise unknown("activation", activation, NAMES)
    return activation.lower()
