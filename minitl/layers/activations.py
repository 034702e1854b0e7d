"""Activations, as layers and as the second half of layers that have an `activation=`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.backend import op
from minitl.errors import unknown
from minitl.graph.plan import Need
from minitl.layers.base import Layer, Shape

NAMES = ("linear", "relu", "sigmoid", "tanh", "softmax")


class Activated(Layer):
    """A linear part, followed by an activation.

    Formula: y = activation(linear(x)).
    The two can be asked for apart, since a loss that knows the last activation wants what comes before it (the
    logits): their joint gradient is simpler and more exact than the product of the two.
    """

    activation: str

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """The part before the activation, and its cache."""
        raise NotImplementedError

    def linear_backward(self, dz: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx and the gradients of the parameters, from the gradient of linear's result."""
        raise NotImplementedError

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """y = activation(linear(x))."""
        z, cache = self.linear(x)
        if self.activation == "linear":
            return z, (cache, None)
        y, activation_cache = op(self.activation).forward(z)
        return y, (cache, activation_cache)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """Back through the activation, then through the linear part."""
        if self.activation != "linear":
            dy = op(self.activation).backward(dy, cache[1])
        return self.linear_backward(dy, cache[0], need)

    @property
    def output_activation(self) -> str | None:  # type: ignore[override]
        """The activation's name, unless a subclass goes another way."""
        return self.activation if type(self).compute is Activated.compute and not self.is_users else None

    def compute_logits(self, x: np.ndarray, training: bool) -> tuple[tuple[np.ndarray, np.ndarray], Any]:
        """The pair (what comes before the activation, y), and the cache."""
        z, cache = self.linear(x)
        return (z, op(self.activation).forward(z)[0] if self.activation != "linear" else z), cache

    def backpropagate_logits(self, dz: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """Back from the logits, past the activation."""
        return self.linear_backward(dz, cache, need)


class ActivationOnly(Activated):
    """An activation with nothing in front of it: its linear part is the identity."""

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """x itself."""
        return x, None

    def linear_backward(self, dz: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dz itself."""
        return dz, {}

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
