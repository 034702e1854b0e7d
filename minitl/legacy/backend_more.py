"""The functions of `keras.backend` that older layers of one's own call: phases, edges, variables, and small changes of arrays."""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minitl.graph.steps import under_way
from minitl.legacy import backend, loops
from minitl.legacy.keras_random import truncated_normal  # noqa: F401 (part of it)
from minitl.legacy.operations import pad, slice  # noqa: F401 (part of it)
from minitl.legacy.windows import check_channels_last, of_values
from minitl.random import new_generator
from minitl.rare_activations import softsign  # noqa: F401 (part of it)


def in_train_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """x in training, alt otherwise: arrays, or functions that make them; inside a call `training` is known."""
    chosen = x if (under_way.training if training is None else training) else alt
    return chosen() if callable(chosen) else chosen


def in_test_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """alt in training, x otherwise."""
    return in_train_phase(alt, x, training)


@of_values
def dropout(x: Any, level: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """x with a share of zeros, and what is left larger by as much."""
    generator = new_generator() if seed is None else np.random.default_rng(seed)
    kept = generator.random(np.shape(x) if noise_shape is None else noise_shape) >= level
    return x * (kept / (1 - level)).astype(backend.floatx())


@of_values
def temporal_padding(x: Any, padding: Any = (1, 1)) -> Any:
    """Sequences with so many steps of zeros in front and behind."""
    return pad(x, ((0, 0), tuple(padding), (0, 0)))


@of_values
def spatial_2d_padding(x: Any, padding: Any = ((1, 1), (1, 1)), data_format: Any = None) -> Any:
    """Images with a border of zeros."""
    check_channels_last(data_format)
    return pad(x, ((0, 0), *map(tuple, padding), (0, 0)))


@of_values
def resize_images(x: Any, height_factor: int, width_factor: int, data_format: Any = None, interpolation: str = "nearest") -> Any:
    """Every pixel several times.

    Errors: ValueError for another interpolation.
    """
    check_channels_last(data_format)
    if interpolation != "nearest":
        raise ValueError(f"resize_images: repeats pixels, got {interpolation!r}; UpSampling2D and Resizing know more")
    return np.repeat(np.repeat(x, height_factor, axis=1), width_factor, axis=2)


def batch_normalization(
    x: Any, mean: Any, var: Any, beta: Any = None, gamma: Any = None, axis: int = -1, epsilon: float = 1e-3
) -> Any:
    """(x - mean) / sqrt(var + epsilon) gamma + beta; rows of numbers lie along an axis."""

    def along(part: Any) -> Any:
        return np.reshape(part, [-1 if k == axis % np.ndim(x) else 1 for k in range(np.ndim(x))]) if np.ndim(part) == 1 else part

    y = (x - along(mean)) / np.sqrt(along(var) + epsilon)
    y = y if gamma is None else y * along(gamma)
    return y if beta is None else y + along(beta)


def map_fn(fn: Callable[[Any], Any], elems: Any, name: Any = None, dtype: Any = None) -> Any:
    """What a function makes of each entry, one behind another."""
    return loops.map(fn, elems)


def reverse(x: Any, axes: Any) -> Any:
    """x from behind, along one axis or several."""
    axes = axes if isinstance(axes, (list, tuple)) else [axes]
    turned = {axis % np.ndim(x) for axis in axes}
    return x[tuple(builtins.slice(None, None, -1 if axis in turned else None) for axis in range(np.ndim(x)))]


def identity(x: Any, name: Any = None) -> Any:
    """x."""
    return x


def count_params(x: Any) -> int:
    """How many numbers there are."""
    return int(np.prod(np.shape(x)))


def print_tensor(x: Any, message: str = "", summarize: int = 3) -> Any:
    """x, which is printed."""
    print(message, x)
    return x


def batch_get_value(tensors: Iterable[Any]) -> list[Any]:
    """The values of all."""
    return [backend.get_value(x) for x in tensors]


def batch_set_value(tuples: Iterable[tuple[Any, Any]]) -> None:
    """Overwrite several arrays."""
    for x, value in tuples:
        backend.set_value(x, value)


def update(x: Any, new_x: Any) -> Any:
    """Overwrite x."""
    backend.set_value(x, new_x)
    return x


def update_add(x: Any, increment: Any) -> Any:
    """Add to x in its place."""
    return update(x, x + increment)


def update_sub(x: Any, decrement: Any) -> Any:
    """Subtract from x in its place."""
    return update(x, x - decrement)


def moving_average_update(x: Any, value: Any, momentum: float) -> Any:
    """x becomes momentum x + (1 - momentum) value."""
    return update(x, x * momentum + value * (1 - momentum))


def name_scope(name: str) -> contextlib.AbstractContextManager[None]:
    """Nothing: names have no scopes."""
    return contextlib.nullcontext()


def is_sparse(tensor: Any) -> bool:
    """False: arrays are dense."""
    return False


def to_dense(tensor: Any) -> Any:
    """The array."""
    return tensor
