"""Activations by name as operators of ONNX: one where the standard has it, several where it has not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

ONE: dict[str, tuple[str, dict[str, float]]] = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "elu": ("Elu", {}),
    "selu": ("Selu", {}),
    "softplus": ("Softplus", {}),
    "exponential": ("Exp", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "keras2_hard_sigmoid": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "sparse_sigmoid": ("HardSigmoid", {"alpha": 0.5, "beta": 0.5}),
    "hard_silu": ("HardSwish", {}),
    "softsign": ("Softsign", {}),
    "celu": ("Celu", {}),
    "hard_shrink": ("Shrink", {"lambd": 0.5}),
    "soft_shrink": ("Shrink", {"lambd": 0.5, "bias": 0.5}),
}


def write_activation(w: Any, name: str, x: str, channels: int) -> str:
    """Add the operators of an activation to a graph; `channels` is the axis of a softmax. Returns the name of the result.

    Errors: ValueError for an activation that no operators make.
    """
    if name in ("softmax", "log_softmax"):
        return w.node("Softmax" if name == "softmax" else "LogSoftmax", [x], axis=channels)
    if name in ONE:
        kind, settings = ONE[name]
        return w.node(kind, [x], **settings)
    if name not in SEVERAL:
        raise ValueError(f"activation {name}: there is no operator for it here; use another one, or cut the model below it")
    return SEVERAL[name](w, x)


def _gelu(w: Any, x: str) -> str:
    erf = w.node("Erf", [_times(w, x, np.sqrt(0.5))])
    return w.node("Mul", [_times(w, x, 0.5), _plus(w, erf, 1.0)])


def _log_sigmoid(w: Any, x: str) -> str:
    return w.node("Neg", [w.node("Softplus", [w.node("Neg", [x])])])


def _mish(w: Any, x: str) -> str:
    return w.node("Mul", [x, w.node("Tanh", [w.node("Softplus", [x])])])


def _sparse_plus(w: Any, x: str) -> str:
    inside = _plus(w, _clip(w, x, -1.0, 1.0), 1.0)
    return w.node("Add", [_times(w, w.node("Mul", [inside, inside]), 0.25), w.node("Relu", [_plus(w, x, -1.0)])])


def _squareplus(w: Any, x: str) -> str:
    root = w.node("Sqrt", [_plus(w, w.node("Mul", [x, x]), 4.0)])
    return _times(w, w.node("Add", [x, root]), 0.5)


def _plus(w: Any, x: str, number: float) -> str:
    return w.node("Add", [x, w.constant(number)])


def _times(w: Any, x: str, number: float) -> str:
    return w.node("Mul", [x, w.constant(number)])


def _clip(w: Any, x: str, low: float, high: float) -> str:
    return w.node("Clip", [x, w.constant(low), w.constant(high)])


SEVERAL: dict[str, Callable[[Any, str], str]] = {
    "gelu": _gelu,
    "silu": lambda w, x: w.node("Mul", [x, w.node("Sigmoid", [x])]),
    "relu6": lambda w, x: _clip(w, x, 0.0, 6.0),
    "hard_tanh": lambda w, x: _clip(w, x, -1.0, 1.0),
    "log_sigmoid": _log_sigmoid,
    "mish": _mish,
    "sparse_plus": _sparse_plus,
    "squareplus": _squareplus,
    "tanh_shrink": lambda w, x: w.node("Sub", [x, w.node("Tanh", [x])]),
}
