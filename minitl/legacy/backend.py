"""The functions of `keras.backend` that programs use: settings, and NumPy under other names.

They work on arrays. A Lambda or a metric may use them; nothing is differentiated through them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import activations

_settings: dict[str, Any] = {"floatx": "float32", "epsilon": 1e-7}


def backend() -> str:
    """What computes."""
    return "numpy"


def image_data_format() -> str:
    """Where the channels stand: last, always."""
    return "channels_last"


def set_image_data_format(data_format: str) -> None:
    """Nothing for channels last.

    Errors: ValueError for channels first.
    """
    if data_format not in ("channels_last", "tf"):
        raise ValueError(f"set_image_data_format: images are (N, H, W, C) here, got {data_format!r}; transpose the data")


def image_dim_ordering() -> str:
    """ "tf": channels last."""
    return "tf"


set_image_dim_ordering = set_image_data_format


def floatx() -> str:
    """The name of the dtype of weights and images."""
    return str(_settings["floatx"])


def set_floatx(value: str) -> None:
    """Note a dtype.

    Errors: ValueError for anything but float32 and float64.
    """
    if value not in ("float32", "float64"):
        raise ValueError(f"set_floatx: expected 'float32' or 'float64', got {value!r}; model.astype converts a model")
    _settings["floatx"] = value


def epsilon() -> float:
    """A small number."""
    return float(_settings["epsilon"])


def set_epsilon(value: float) -> None:
    """Note a small number."""
    _settings["epsilon"] = float(value)


def clear_session(free_memory: bool = True) -> None:
    """Nothing: models are forgotten when nobody holds them."""


def set_learning_phase(value: Any) -> None:
    """Nothing: `fit` trains, `predict` does not."""


def learning_phase() -> int:
    """0: layers are told by their calls."""
    return 0


def int_shape(x: Any) -> tuple[Any, ...]:
    """The shape."""
    return tuple(x.shape)


def get_value(x: Any) -> Any:
    """The value itself."""
    return float(x) if isinstance(x, float) else x() if callable(x) else x


def set_value(x: Any, value: Any) -> None:
    """Overwrite an array.

    Errors: TypeError for a number, which cannot be overwritten.
    """
    if hasattr(x, "assign"):  # an optimizer's learning rate
        x.assign(value)
        return
    if not isinstance(x, np.ndarray):
        raise TypeError("set_value: numbers are plain numbers here; assign the attribute that has it")
    x[...] = value


def ndim(x: Any) -> int:
    """The number of axes."""
    return len(x.shape)


def cast(x: Any, dtype: Any) -> np.ndarray:
    """x in another dtype."""
    return np.asarray(x).astype(dtype)


def cast_to_floatx(x: Any) -> np.ndarray:
    """x in the noted dtype."""
    return np.asarray(x, floatx())


def flatten(x: Any) -> np.ndarray:
    """All numbers in one row."""
    return np.reshape(x, -1)


def batch_flatten(x: Any) -> np.ndarray:
    """One row per sample."""
    return np.reshape(x, (len(x), -1))


def concatenate(tensors: Any, axis: int = -1) -> np.ndarray:
    """Arrays one behind the other."""
    return np.concatenate(tensors, axis)


def permute_dimensions(x: Any, pattern: Any) -> np.ndarray:
    """The axes in another order."""
    return np.transpose(x, pattern)


def clip(x: Any, min_value: Any, max_value: Any) -> np.ndarray:
    """x cut off at both ends."""
    return np.clip(x, min_value, max_value)


def in_top_k(predictions: Any, targets: Any, k: int) -> np.ndarray:
    """Whether each target is among the k largest predictions."""
    p = np.asarray(predictions)
    return (p > np.take_along_axis(p, np.asarray(targets)[:, None].astype(int), 1)).sum(axis=1) < k


def _reducing(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduced(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return function(x, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)

    reduced.__name__, reduced.__doc__ = function.__name__, f"numpy.{function.__name__}."
    return reduced


mean, sum, max, min, prod, std, var, any, all = (
    _reducing(f) for f in (np.mean, np.sum, np.max, np.min, np.prod, np.std, np.var, np.any, np.all)
)
abs, square, sqrt, exp, log, round, sign, pow = np.abs, np.square, np.sqrt, np.exp, np.log, np.round, np.sign, np.power
equal, not_equal, greater, greater_equal, less, less_equal = (
    np.equal, np.not_equal, np.greater, np.greater_equal, np.less, np.less_equal,
)  # fmt: skip
argmax, argmin, maximum, minimum, dot, reshape, stack, expand_dims, squeeze, transpose = (
    np.argmax, np.argmin, np.maximum, np.minimum, np.dot, np.reshape, np.stack, np.expand_dims, np.squeeze, np.transpose,
)  # fmt: skip
zeros, ones, zeros_like, ones_like, eye, arange, repeat, tile = (
    np.zeros, np.ones, np.zeros_like, np.ones_like, np.eye, np.arange, np.repeat, np.tile,
)  # fmt: skip
variable = constant = eval = np.asarray
shape = np.shape
relu, sigmoid, tanh, softmax, elu, softplus, hard_sigmoid = (
    activations.relu, activations.sigmoid, activations.tanh, activations.softmax, activations.elu, activations.softplus,
    activations.hard_sigmoid,
)  # fmt: skip
