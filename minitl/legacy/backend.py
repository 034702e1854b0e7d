"""The functions of `keras.backend` and `keras.ops` that programs use: settings, and NumPy under other names.

They work on arrays. In a loss, a Lambda or a layer's call they get traced ones, and are differentiated (`minitl.autodiff`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import activations, channels
from minitl.autodiff import Traced, plain
from minitl.errors import unknown
from minitl.graph.value import Value
from minitl.layers.array_function import ArrayFunction
from minitl.legacy.backend_values import cast_value, function, get_session, gradients, placeholder, set_session  # noqa: F401 (part of it)
from minitl.legacy.keras_random import normal, uniform

_settings: dict[str, Any] = {"floatx": "float32", "epsilon": 1e-7}


def backend() -> str:
    """What computes."""
    return "numpy"


def image_data_format() -> str:
    """Where the channels of the program's images stand."""
    return "channels_first" if channels.are_first() else "channels_last"


def set_image_data_format(data_format: str) -> None:
    """Say where the channels of the program's images stand: see `minitl.channels`.

    Errors: ValueError for another name.
    """
    if data_format not in ("channels_last", "tf", "channels_first", "th"):
        raise unknown("set_image_data_format: data format", data_format, ("channels_last", "channels_first"))
    channels.set_first(data_format in ("channels_first", "th"))


def image_dim_ordering() -> str:
    """The same in Keras 1's words: "tf" for channels last, "th" for first."""
    return "th" if channels.are_first() else "tf"


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


def shape(x: Any) -> Any:
    """The shape; of a value with an open axis, such as the batch, a value that will hold it."""
    return ArrayFunction("shape")(x) if isinstance(x, Value) and None in x.shape else np.shape(x)


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


def cast(x: Any, dtype: Any) -> Any:
    """x in another dtype."""
    if isinstance(x, Value):  # what follows computes in its dtype
        return cast_value(x, np.dtype(dtype))
    return (x if hasattr(x, "astype") else np.asarray(x)).astype(dtype)


def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None) -> Any:
    """x as an array; what is traced, or a value, is one."""
    if not isinstance(x, (Traced, Value)):
        return np.asarray(x, dtype)
    return x if dtype is None else cast(x, dtype)


def cast_to_floatx(x: Any) -> np.ndarray:
    """x in the noted dtype."""
    return np.asarray(x, floatx())


def flatten(x: Any) -> np.ndarray:
    """All numbers in one row."""
    return np.reshape(x, -1)


def batch_flatten(x: Any) -> np.ndarray:
    """One row per sample."""
    samples, *rest = x.shape
    return np.reshape(x, (-1, math.prod(rest)) if samples is None else (samples, -1))


def concatenate(tensors: Any, axis: int = -1) -> np.ndarray:
    """Arrays one behind the other."""
    return np.concatenate(tensors, axis)


def permute_dimensions(x: Any, pattern: Any) -> np.ndarray:
    """The axes in another order."""
    return np.transpose(x, pattern)


def expand_dims(x: Any, axis: int = -1) -> Any:
    """x with an axis of length 1 more."""
    return np.expand_dims(x, axis)


def clip(x: Any, min_value: Any, max_value: Any) -> np.ndarray:
    """x cut off at both ends."""
    return np.clip(x, min_value, max_value)


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-(t log p + (1 - t) log(1 - p)), number by number."""
    p = np.clip(activations.sigmoid(output) if from_logits else output, epsilon(), 1 - epsilon())
    return -(target * np.log(p) + (1 - target) * np.log(1 - p))


def categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """-sum t log p along an axis, of p that are brought to a sum of 1."""
    p = activations.softmax(output, axis) if from_logits else output / np.sum(output, axis=axis, keepdims=True)
    return -np.sum(target * np.log(np.clip(p, epsilon(), 1 - epsilon())), axis=axis)


def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """-log p of each target's class."""
    return categorical_crossentropy(one_hot(np.reshape(target, np.shape(output)[:-1]), np.shape(output)[-1]), output, from_logits)


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12) -> Any:
    """x over its length along an axis."""
    return x / np.sqrt(np.maximum(np.sum(np.square(x), axis=axis, keepdims=True), epsilon))


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log sum exp(x), without overflow."""
    top = np.max(x, axis=axis, keepdims=True)
    found = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return found if keepdims else np.squeeze(found, axis)


def one_hot(indices: Any, num_classes: int, **_: Any) -> np.ndarray:
    """Class numbers as rows of zeros and a one."""
    return np.eye(num_classes, dtype=floatx())[np.asarray(indices).astype(int)]


def argmax(x: Any, axis: int = -1) -> Any:
    """Where the largest number along an axis is."""
    return np.argmax(x, axis=axis)


def argmin(x: Any, axis: int = -1) -> Any:
    """Where the smallest number along an axis is."""
    return np.argmin(x, axis=axis)


def repeat(x: Any, n: int) -> Any:
    """Every row n times: (N, C) becomes (N, n, C)."""
    return np.repeat(np.expand_dims(x, 1), n, axis=1)


def cumsum(x: Any, axis: int = 0) -> Any:
    """Running sums along an axis."""
    return np.cumsum(x, axis=axis)


def zeros(shape: Any, dtype: Any = None) -> np.ndarray:
    """An array of zeros, of the noted dtype."""
    return np.zeros(shape, dtype or floatx())


def ones(shape: Any, dtype: Any = None) -> np.ndarray:
    """An array of ones, of the noted dtype."""
    return np.ones(shape, dtype or floatx())


def eye(size: Any, dtype: Any = None) -> np.ndarray:
    """The matrix that changes nothing."""
    rows, columns = size if isinstance(size, (list, tuple)) else (size, size)
    return np.eye(rows, columns).astype(dtype or floatx())


def constant(value: Any, dtype: Any = None, shape: Any = None, name: Any = None) -> np.ndarray:
    """An array of the noted dtype."""
    made = np.asarray(value, dtype or floatx())
    return made if shape is None else np.broadcast_to(made, shape).copy()


def batch_dot(x: Any, y: Any, axes: Any = None) -> Any:
    """The products of the matrices (or vectors) of two batches, along an axis of each."""
    if np.ndim(x) == np.ndim(y) == 2:
        return np.sum(x * y, axis=1, keepdims=True)
    first, second = (np.ndim(x) - 1, np.ndim(y) - 2) if axes is None else (axes, axes) if isinstance(axes, int) else axes
    a, b = np.moveaxis(x, first, -1), np.moveaxis(y, second, 1)
    return np.matmul(a if np.ndim(a) > 2 else a[:, None], b if np.ndim(b) > 2 else b[:, :, None])


def bias_add(x: Any, bias: Any, data_format: Any = None) -> Any:
    """x + bias, along the last axis."""
    return x + bias


def repeat_elements(x: Any, rep: int, axis: int) -> Any:
    """Every element several times."""
    return np.repeat(x, rep, axis=axis)


def gather(reference: Any, indices: Any) -> Any:
    """Some rows."""
    return reference[np.asarray(indices).astype(int)]


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """One or the other, number by number."""
    values = [e() if callable(e) else e for e in (then_expression, else_expression)]
    return np.where(condition, *values)


def stop_gradient(x: Any) -> Any:
    """x as a constant."""
    return plain(x)


def random_normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None, std: float | None = None
) -> np.ndarray:
    """Normal numbers, from minitl's seed; `std` was the deviation's name in Keras 1."""
    return normal(shape, mean, stddev if std is None else std, dtype or floatx(), seed)


random_uniform = uniform
random_normal_variable, random_uniform_variable = random_normal, random_uniform


def is_keras_tensor(x: Any) -> bool:
    """Whether x is a value."""
    return isinstance(x, Value)


def convert_to_numpy(x: Any) -> np.ndarray:
    """An array."""
    return np.asarray(plain(x))


def in_top_k(predictions: Any, targets: Any, k: int) -> np.ndarray:
    """Whether each target is among the k largest predictions."""
    p = np.asarray(predictions)
    return (p > np.take_along_axis(p, np.asarray(targets)[:, None].astype(int), 1)).sum(axis=1) < k


def dtype(x: Any) -> str:
    """The name of the dtype."""
    return str(np.dtype(x.dtype))


def _reducing(reduction: Callable[..., Any]) -> Callable[..., Any]:
    def reduced(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return reduction(x, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)

    reduced.__name__, reduced.__doc__ = reduction.__name__, f"numpy.{reduction.__name__}."
    return reduced


mean, sum, max, min, prod, std, var, any, all = (
    _reducing(f) for f in (np.mean, np.sum, np.max, np.min, np.prod, np.std, np.var, np.any, np.all)
)
abs, square, sqrt, exp, log, round, sign, pow = np.abs, np.square, np.sqrt, np.exp, np.log, np.round, np.sign, np.power
equal, not_equal, greater, greater_equal, less, less_equal = (
    np.equal, np.not_equal, np.greater, np.greater_equal, np.less, np.less_equal,
)  # fmt: skip
maximum, minimum, dot, reshape, stack, squeeze, transpose = (
    np.maximum, np.minimum, np.dot, np.reshape, np.stack, np.squeeze, np.transpose,
)  # fmt: skip
zeros_like, ones_like, arange, tile = np.zeros_like, np.ones_like, np.arange, np.tile
add, subtract, multiply, divide, matmul, where, norm, cos, sin, arccos, floor, ceil, absolute, isnan, logical_and = (
    np.add, np.subtract, np.multiply, np.divide, np.matmul, np.where, np.linalg.norm, np.cos, np.sin, np.arccos,
    np.floor, np.ceil, np.absolute, np.isnan, np.logical_and,
)  # fmt: skip
take, take_along_axis, broadcast_to, ravel, linspace, moveaxis, amax, log1p, full = (
    np.take, np.take_along_axis, np.broadcast_to, np.ravel, np.linspace, np.moveaxis, np.amax, np.log1p, np.full,
)  # fmt: skip
variable = eval = np.asarray
array = convert_to_tensor
relu, sigmoid, tanh, softmax, elu, softplus, hard_sigmoid = (
    activations.relu, activations.sigmoid, activations.tanh, activations.softmax, activations.elu, activations.softplus,
    activations.hard_sigmoid,
)  # fmt: skip
