"""Activations as names and as functions: `activation="relu"`, `activation=minitl.activations.relu`, `relu(x)` of an array.

Each name stands for an operation of `minitl.ops` and its settings.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import rare_activations
from minitl.autodiff import Traced
from minitl.backend import op
from minitl.errors import unknown
from minitl.functions import is_known

Settings = dict[str, Any]
OPERATION = "activation."  # how an operation is called in an expression of values
NOTHING = -1e9  # what a softmax is given where there is a mask
SELU = {"alpha": 1.6732632423543772, "scale": 1.0507009873554805}
NAMED: dict[str, tuple[str, Settings]] = {
    "relu": ("relu", {}),
    "relu6": ("leaky_relu", {"ceiling": 6.0}),
    "leaky_relu": ("leaky_relu", {"slope": 0.2}),
    "sigmoid": ("sigmoid", {}),
    "tanh": ("tanh", {}),
    "softmax": ("softmax", {}),
    "elu": ("elu", {}),
    "selu": ("elu", SELU),
    "gelu": ("gated", {"gate": "normal"}),
    "silu": ("gated", {"gate": "sigmoid"}),
    "hard_sigmoid": ("hard_sigmoid", {}),
    "hard_silu": ("gated", {"gate": "hard_sigmoid"}),
    "softplus": ("softplus", {}),
    "exponential": ("exponential", {}),
}
ALIASES = {"swish": "silu", "hard_swish": "hard_silu", "none": "linear"}


def operation(name: str) -> tuple[str, Settings]:
    """The operation behind a name, and its settings."""
    return NAMED[name]


def name_of(activation: Any) -> str:
    """An activation's name, from a name or a function of this module; None is linear.

    Errors: ValueError for a name that does not exist, TypeError for something else.
    """
    if activation is None:
        return "linear"
    if callable(activation) and globals().get(getattr(activation, "__name__", "")) is activation:
        activation = getattr(activation, "__name__")  # noqa: B009 (mypy)
    if is_known(activation):  # tf.nn.relu, where TensorFlow is installed; its softmax is called softmax_v2
        activation = getattr(activation, "__name__", activation).removesuffix("_v2")
    if not isinstance(activation, str):
        raise TypeError(
            f"activation must be a name, a function of minitl.activations or your own, or None, got {activation!r}; put a layer "
            "that has weights behind this one"
        )
    name = ALIASES.get(activation.lower(), activation.lower())
    if name != "linear" and name not in NAMED and name not in rare_activations.NAMED:
        raise unknown("activation", activation, [*NAMED, *ALIASES, *rare_activations.NAMED, "linear"])
    return name


def get(identifier: Any) -> Any:
    """The function of a name, or the function itself."""
    return globals()[name_of(identifier)] if isinstance(identifier, str) or identifier is None else identifier


def linear(x: Any) -> np.ndarray:
    """x itself."""
    return _real(x)


def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> np.ndarray:
    """max(x, 0), or with a slope below the threshold and a ceiling. Source: `minitl.ops.relu`, `leaky_relu`."""
    if negative_slope == 0 and max_value is None and threshold == 0:
        return _apply("relu", x)
    ceiling = np.inf if max_value is None else max_value
    return run("leaky_relu", x, slope=negative_slope, threshold=threshold, ceiling=ceiling)


def relu6(x: Any) -> np.ndarray:
    """min(max(x, 0), 6)."""
    return _apply("relu6", x)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> np.ndarray:
    """x, or negative_slope x where x is negative."""
    return run("leaky_relu", x, slope=negative_slope)


def sigmoid(x: Any) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    return _apply("sigmoid", x)


def tanh(x: Any) -> np.ndarray:
    """The hyperbolic tangent."""
    return _apply("tanh", x)


def softmax(x: Any, axis: Any = -1) -> np.ndarray:
    """exp(x) / sum exp(x), along an axis, or along several together."""
    if isinstance(axis, (list, tuple)):
        places = range(-len(axis), 0)
        moved = np.moveaxis(_real(x), list(axis), list(places))
        together = np.reshape(moved, (*np.shape(moved)[: -len(axis)], -1))
        return np.moveaxis(np.reshape(_apply("softmax", together), np.shape(moved)), list(places), list(axis))
    if axis in (-1, np.ndim(x) - 1):
        return _apply("softmax", x)
    return np.moveaxis(_apply("softmax", np.moveaxis(_real(x), axis, -1)), -1, axis)


def masked_softmax(softmax: Callable[[Any], Any], x: Any, mask: Any) -> Any:
    """The shares of a softmax among those where `mask` is true; 0 where it is false."""
    return np.where(mask, softmax(np.where(mask, x, NOTHING)), 0.0)


def elu(x: Any, alpha: float = 1.0) -> np.ndarray:
    """x, or alpha (exp(x) - 1) where x is negative."""
    return run("elu", x, alpha=alpha)


def selu(x: Any) -> np.ndarray:
    """ELU with the constants that keep mean 0 and variance 1."""
    return _apply("selu", x)


def gelu(x: Any, approximate: bool = False) -> np.ndarray:
    """x times the probability that a normal number is below it."""
    return run("gated", x, gate="normal_tanh" if approximate else "normal")


def silu(x: Any) -> np.ndarray:
    """x sigmoid(x), also called swish."""
    return _apply("silu", x)


def hard_sigmoid(x: Any) -> np.ndarray:
    """x / 6 + 1/2, cut off at 0 and 1."""
    return _apply("hard_sigmoid", x)


def hard_silu(x: Any) -> np.ndarray:
    """x hard_sigmoid(x), also called hard swish."""
    return _apply("hard_silu", x)


def softplus(x: Any) -> np.ndarray:
    """log(1 + exp(x))."""
    return _apply("softplus", x)


def exponential(x: Any) -> np.ndarray:
    """exp(x)."""
    return _apply("exponential", x)


swish, hard_swish = silu, hard_silu


globals().update(rare_activations.NAMED)


def __getattr__(name: str) -> Any:
    if name in ("glu", "threshold"):  # of other lengths, or with a setting that has no default
        return getattr(importlib.import_module("minitl.legacy.nn_functions"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _apply(name: str, x: Any) -> np.ndarray:
    operation, settings = NAMED[name]
    return run(operation, x, **settings)


def run(operation: str, x: Any, **settings: Any) -> Any:
    """An operation on an array; on a traced one, with its backward; on a value, as a part of the network."""
    x = _real(x)
    if hasattr(x, "expression"):
        return x.expression(OPERATION + operation, (x,), settings)
    if not isinstance(x, Traced):
        return op(operation).forward(np.ascontiguousarray(x), **settings)[0]
    y, cache = op(operation).forward(np.ascontiguousarray(x.value), **settings)
    return Traced(y, [x], lambda dy: [op(operation).backward(np.ascontiguousarray(dy), cache)])


def _real(x: Any) -> Any:
    if hasattr(x, "expression"):  # a value
        return x
    x = x if isinstance(x, Traced) else np.asarray(x)
    return x if x.dtype.kind == "f" else x.astype(np.float32)
