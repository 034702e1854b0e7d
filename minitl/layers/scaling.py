"""Numbers on another scale: a factor and an offset, or mean 0 and variance 1 of each channel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minitl.backend import write
from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.kernels.memory import empty
from minitl.layers.base import Layer

Result = tuple[np.ndarray | None, dict[str, np.ndarray]]


class Rescaling(Layer):
    """y = x scale + offset. Shapes: any; scale and offset one number, or one per channel."""

    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale, self.offset = _listed(self, scale), _listed(self, offset)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x scale + offset."""
        scale, offset = np.asarray(self.scale, x.dtype), np.asarray(self.offset, x.dtype)
        y = empty(np.broadcast_shapes(x.shape, scale.shape, offset.shape), x.dtype)
        write(np.multiply, x, scale, y)
        write(np.add, y, offset, y)
        return y, None

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Result:
        """dx = dy scale."""
        return dy * np.asarray(self.scale, dy.dtype), {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


class Normalization(Layer):
    """Every channel with mean 0 and variance 1, by numbers that are given or taken from data with `adapt`.

    What is given is a setting; what is taken from data is a state, and saved as weights are.

    Formula: y = (x - mean) / sqrt(variance).
    Parameters: `axis` -1 for numbers per entry of the last axis, None for one of all, or several axes for numbers per entry of
    these, which must be of known length; what is given has their shape, or that of x with ones in the other places.
    Shapes: any, y as x.
    Errors: ValueError for one of the two alone, for the batch as an axis, or an axis that is not there.
    """

    supports_masking = True

    def __init__(self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        if (mean is None) != (variance is None):
            raise ValueError("Normalization: give mean and variance, or neither, and call adapt(data)")
        if isinstance(axis, (list, tuple)) and len(axis) == 1:
            axis = axis[0]
        if axis is not None and not all(isinstance(one, (int, np.integer)) for one in self._axes(axis)):
            raise ValueError(f"Normalization: axis must be a whole number, several of them, or None (one for all), got {axis!r}")
        self.axis, self.invert = axis, invert
        self.mean, self.variance = (None if n is None else _listed(self, n) for n in (mean, variance))

    def build(self, input_shape: Shape) -> None:
        """Create the two state arrays, if there is something to take from data."""
        axes = len(input_shape)
        if not all(-axes < axis < axes and axis % axes for axis in self._axes(self.axis)):
            raise ValueError(f"axis must be among 1 .. {axes - 1}, or counted from the end, got {self.axis}")
        shape = self._shape(input_shape)
        if None in shape:
            raise ValueError(f"needs inputs of a known {'last axis' if self.axis == -1 else 'length'}, got {input_shape}")
        if self.mean is None:
            self.add_weight("mean", shape, "zeros", trainable=False)
            self.add_weight("variance", shape, "ones", trainable=False)
        else:
            self._given(shape)  # they must fit

    @property
    def statistics(self) -> dict[str, np.ndarray]:
        """Mean and variance, given or taken from data, with as many axes as x where they need them."""
        found = self.state if self.mean is None else self._given(self._shape(self.input_shape))
        shape = self._among(len(self.input_shape))
        return found if shape is None else {name: array.reshape(shape) for name, array in found.items()}

    @property
    def former_weights(self) -> dict[str, np.ndarray]:
        """What is given: older files have it among the weights."""
        return {} if self.mean is None else self.statistics

    def adapt(self, data: Any) -> None:
        """Take mean and variance from data (N, ...).

        Errors: ValueError where they were given.
        """
        if self.mean is not None:
            raise ValueError(f"{self.label}: has its mean and variance; leave them out to adapt it")
        data = np.asarray(data)
        self.ensure_built((None, *data.shape[1:]))
        kept = {axis % data.ndim for axis in self._axes(self.axis)}
        axes = tuple(axis for axis in range(data.ndim) if axis not in kept)
        self.state["mean"][...] = data.mean(axis=axes, dtype=np.float64)
        self.state["variance"][...] = data.var(axis=axes, dtype=np.float64)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """(x - mean) / sqrt(variance), or back again with `invert`."""
        mean, deviation, y = self.statistics["mean"], self.deviation(), empty(x.shape, x.dtype)
        if self.invert:
            write(np.multiply, x, deviation, y)
            write(np.add, y, mean, y)
            return y, deviation
        write(np.subtract, x, mean, y)
        write(np.divide, y, deviation, y)
        return y, 1 / deviation

    def deviation(self) -> np.ndarray:
        """sqrt(variance), at least 1e-7."""
        variance = self.statistics["variance"]
        deviation = empty(variance.shape, self.dtype)
        write(_write_deviation, variance, deviation)
        return deviation

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Result:
        """dx = dy / sqrt(variance)."""
        return dy * cache, {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape

    @staticmethod
    def _axes(axis: Any) -> tuple[int, ...]:
        return () if axis is None else tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)

    def _shape(self, input_shape: Any) -> tuple[Any, ...]:
        return tuple(input_shape[axis] for axis in sorted(axis % len(input_shape) for axis in self._axes(self.axis)))

    def _among(self, axes: int) -> tuple[int, ...] | None:
        """The shape of the statistics among that of x; None where they stand at its end."""
        kept = sorted(axis % axes for axis in self._axes(self.axis))
        if kept in ([], [axes - 1]):
            return None
        return tuple(self.input_shape[axis] if axis in kept else 1 for axis in range(axes))

    def _given(self, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        given = {"mean": np.asarray(self.mean, self.dtype), "variance": np.asarray(self.variance, self.dtype)}
        fitting = {name: array.reshape(shape) if array.size == math.prod(shape) else array for name, array in given.items()}
        return {name: np.array(np.broadcast_to(array, shape)) for name, array in fitting.items()}


def _write_deviation(variance: np.ndarray, deviation: np.ndarray) -> None:
    np.maximum(np.sqrt(variance), 1e-7, out=deviation)


def _listed(owner: Layer, value: Any) -> Any:
    array = np.asarray(value, float)
    if not np.isfinite(array).all():
        raise ValueError(f"{type(owner).__name__}: its numbers must be finite, got {value!r}")
    return float(array) if array.ndim == 0 else array.tolist()
