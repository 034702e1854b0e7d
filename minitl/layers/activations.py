"""Activations, as layers and as the second half of layers that have an `activation=`."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import numpy as np

from minitl import activations, initializers, rare_activations, regularizers
from minitl.backend import op
from minitl.channels import inner_axis
from minitl.errors import check_numbers
from minitl.functions import is_function, is_known
from minitl.graph.plan import Need
from minitl.layers import own_activation
from minitl.layers.base import Layer, Shape
from minitl.serialization import custom_object, decode


class Activated(Layer):
    """A linear part, followed by an activation.

    Formula: y = activation(linear(x)).
    The two can be asked for apart, since a loss that knows the last activation wants what comes before it (the
    logits): their joint gradient is simpler and more exact than the product of the two.
    """

    activation: Any  # a name, a function of the user's, or a layer that is an activation

    def kernel_of(self, name: str) -> np.ndarray:
        """A kernel as the operation takes it."""
        return self.parameters[name]

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
        y, activation_cache = self.activate(z)
        return y, (cache, activation_cache)

    def activate(self, z: np.ndarray) -> tuple[np.ndarray, Any]:
        """The activation of z, and its cache."""
        operation, settings = self._activation()
        return operation.forward(z, **settings)

    def _activation(self) -> tuple[Any, dict[str, Any]]:
        """The activation's forward and backward, and its settings: an operation, or a function that is recorded."""
        own = rare_activations.NAMED.get(self.activation, self.activation)
        if is_function(own):
            return own_activation, {"function": own}
        name, settings = self.activation_operation
        return op(name), settings

    @property
    def activation_operation(self) -> tuple[str, dict[str, Any]]:
        """The operation of the activation, and its settings."""
        if isinstance(self.activation, Layer):
            return self.activation.activation_operation
        return activations.operation(self.activation)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """Back through the activation, then through the linear part."""
        if self.activation != "linear":
            dy = self._activation()[0].backward(dy, cache[1])
        return self.linear_backward(dy, cache[0], need)

    @property
    def output_activation(self) -> str | None:  # type: ignore[override]
        """The activation's name, unless a subclass goes another way."""
        return self.activation if type(self).compute is Activated.compute and not self.is_users else None

    def compute_logits(self, x: np.ndarray, training: bool) -> tuple[tuple[np.ndarray, np.ndarray], Any]:
        """The pair (what comes before the activation, y), and the cache."""
        z, cache = self.linear(x)
        return (z, self.activate(z)[0] if self.activation != "linear" else z), cache

    def backpropagate_logits(self, dz: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """Back from the logits, past the activation."""
        return self.linear_backward(dz, cache, need)


class ActivationOnly(Activated):
    """An activation with nothing in front of it: its linear part is the identity."""

    supports_masking = True

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
    """An activation by name or function, see `minitl.activations`; or a function of your own.

    Formula: y = activation(x).
    Shapes: any; x and y alike. Softmax runs over the last axis.
    Errors: ValueError for another name; for a function of your own as `minitl.layers.own_activation`.
    """

    def __init__(self, activation: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = chosen(activation)


class ReLU(ActivationOnly):
    """y = max(x, 0); or with a slope below the threshold, and a ceiling.

    Formula: y = max_value above it, x above the threshold, negative_slope (x - threshold) below.
    Shapes: any.
    Errors: ValueError for a ceiling or a slope that is negative.
    Source: `minitl.ops.relu`, `minitl.ops.leaky_relu`.
    """

    def __init__(self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        for name, value in (("max_value", max_value), ("negative_slope", negative_slope), ("threshold", threshold)):
            if value is not None and not value >= 0:
                raise ValueError(f"ReLU: {name} must not be negative, got {value!r}")
        self.max_value, self.negative_slope, self.threshold = max_value, negative_slope, threshold
        plain = max_value is None and negative_slope == 0 and threshold == 0
        self.activation = "relu" if plain else "leaky_relu"

    @property
    def activation_operation(self) -> tuple[str, dict[str, Any]]:
        """Plain ReLU, or the one with a slope and a ceiling."""
        if self.activation == "relu":
            return "relu", {}
        ceiling = np.inf if self.max_value is None else self.max_value
        return "leaky_relu", {"slope": self.negative_slope, "threshold": self.threshold, "ceiling": ceiling}


class LeakyReLU(ActivationOnly):
    """y = x, or negative_slope x where x is negative. Shapes: any. Source: `minitl.ops.leaky_relu`."""

    activation = "leaky_relu"

    def __init__(self, negative_slope: float = 0.3, alpha: float | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.negative_slope = negative_slope if alpha is None else alpha
        check_numbers(self, "(-inf, inf)", negative_slope=self.negative_slope)
        self.alpha = None  # Keras's older name

    @property
    def activation_operation(self) -> tuple[str, dict[str, Any]]:
        """With the slope."""
        return "leaky_relu", {"slope": self.negative_slope}


class ELU(ActivationOnly):
    """y = x, or alpha (exp(x) - 1) where x is negative. Shapes: any. Source: `minitl.ops.elu`."""

    activation = "elu"

    def __init__(self, alpha: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_numbers(self, "(-inf, inf)", alpha=alpha)
        self.alpha = alpha

    @property
    def activation_operation(self) -> tuple[str, dict[str, Any]]:
        """With alpha."""
        return "elu", {"alpha": self.alpha}


class Softmax(ActivationOnly):
    """Numbers as shares of one.

    Formula: y = exp(x) / sum exp(x), along an axis.
    Parameters: `axis`, -1 (the last) by default; axis 0 counts the samples, and is not one of them.
    Shapes: any.
    Errors: ValueError for an axis that is not there.
    Source: `minitl.ops.softmax`.
    """

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(axis, (int, np.integer)):
            raise ValueError(f"Softmax: axis must be a whole number, got {axis!r}")
        self.axis = inner_axis(int(axis))
        self.is_over_last = self.axis == -1

    def __call__(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """y; where `mask`, of x's shape, is false, y is 0 and x adds nothing to the sum."""
        if mask is None:
            return super().__call__(x, training)
        return activations.masked_softmax(functools.partial(super().__call__, training=training), x, mask)

    def build(self, input_shape: Shape) -> None:
        """See which axis it is."""
        rank = len(input_shape)
        if self.axis % rank == 0 or not -rank <= self.axis < rank:
            raise ValueError(
                f"axis must be one of 1 to {rank - 1} for inputs {input_shape}, or count from the end; got {self.axis}"
            )
        self.is_over_last = self.axis % rank == rank - 1

    @property
    def activation(self) -> Any:  # type: ignore[override]
        """Its name, or a function for another axis than the last."""
        return "softmax" if self.is_over_last else self._along()

    def _along(self) -> Any:
        axis = self.axis

        def softmax_along(x: Any) -> Any:
            return activations.softmax(x, axis)

        return softmax_along


class PReLU(Layer):
    """A leaky ReLU that learns its slopes.

    Formula: y = x where x > 0, else alpha x.
    Shapes: x (N, ...), alpha the same without the batch, 1 along `shared_axes` (counted from 1).
    Source: `minitl.ops.prelu`.
    """

    supports_masking = True
    any_shape = False
    constrained: ClassVar[dict[str, str]] = {"alpha": "alpha"}

    def __init__(self, alpha_initializer: Any = "zeros", alpha_regularizer: Any = None, shared_axes: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.shared_axes = None if shared_axes is None else list(np.atleast_1d(shared_axes))

    def build(self, input_shape: Shape) -> None:
        """Create alpha."""
        shape = [1 if axis in (self.shared_axes or []) else n for axis, n in enumerate(input_shape)][1:]
        if None in shape:
            raise ValueError(f"{self.label}: needs the lengths of the axes that are not shared, got {input_shape}")
        self.add_weight("alpha", tuple(shape), self.alpha_initializer, self.alpha_regularizer)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x, or alpha x."""
        return op("prelu").forward(x, self.parameters["alpha"])

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradient of alpha."""
        dx, dalpha = op("prelu").backward(dy, cache, *need)
        return dx, {} if dalpha is None else {"alpha": dalpha}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


def chosen(activation: Any) -> Any:
    """What `activation=` means: a name, a function of the user's own, or a layer that is an activation and has settings.

    Errors: ValueError for a name that does not exist; TypeError for something else, or a layer that has weights.
    """
    if isinstance(activation, str) and custom_object(activation) is not None:
        activation = custom_object(activation)
    if isinstance(activation, type):  # without its parentheses
        activation = activation()
    activation = decode("activation", activation, {cls.__name__: cls for cls in (Activation, ReLU, LeakyReLU, ELU, Softmax)})
    if isinstance(activation, Activation):
        return activation.activation
    if isinstance(activation, ActivationOnly) and not activation.is_users:
        return activation
    if is_function(activation) and not isinstance(activation, Layer) and not is_known(activation):
        return activation
    return activations.name_of(activation)
