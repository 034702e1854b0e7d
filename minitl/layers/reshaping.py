"""Layers that move numbers and compute nothing: other shapes, other orders, borders, repetitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minitl import channels
from minitl.backend import engine, get_backend, op, write
from minitl.errors import check_numbers, positive, unknown
from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.kernels.memory import empty
from minitl.layers.base import Layer
from minitl.layers.conv import image_channels, pair
from minitl.ops.window import Pair
from minitl.preprocessing.resampling import both_sides, resizing_matrix

Result = tuple[np.ndarray | None, dict[str, np.ndarray]]


class Reshape(Layer):
    """The same numbers in another shape.

    Parameters: `channels_first` says that a target of three entries is (C, H, W), and y its image with the channels last; by
    default as the program's images are (`minitl.channels`).
    Shapes: x (N, ...), y (N, *target_shape), in which one entry may be -1: what is left.
    Errors: ValueError for another number of entries.
    """

    keeps_integers = True

    def __init__(self, target_shape: Any, channels_first: bool | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.target_shape = tuple(int(n) for n in target_shape)
        first = channels.are_first() if channels_first is None else channels_first
        self.channels_first = first and len(self.target_shape) == 3

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x in its new shape."""
        given = x.reshape(len(x), *self.target_shape)
        if not self.channels_first:
            return given, x.shape
        last = given.transpose(0, 2, 3, 1)
        y = empty(last.shape, x.dtype)
        write(np.copyto, y, last)
        return y, x.shape

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Result:
        """dy in the old one."""
        return (dy.transpose(0, 3, 1, 2) if self.channels_first else dy).reshape(cache), {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, *target_shape), the channels last."""
        _, *found = self._as_given(input_shape)
        return (None, *(found[1:] + found[:1] if self.channels_first else found))

    def _as_given(self, input_shape: Shape) -> Shape:
        if None in input_shape[1:]:
            return (None, *(None if n == -1 else n for n in self.target_shape))
        size, known = math.prod(input_shape[1:]), math.prod(n for n in self.target_shape if n != -1)  # type: ignore[arg-type]
        unknowns = self.target_shape.count(-1)
        if unknowns > 1 or (size != known if not unknowns else known == 0 or size % known):
            raise ValueError(f"{self.label}: {input_shape[1:]} has {size} entries, which do not fit into {self.target_shape}")
        return (None, *(size // known if n == -1 else n for n in self.target_shape))


class Permute(Layer):
    """The axes in another order.

    Shapes: `dims` are the axes of x, counted from 1, in the order of y.
    Errors: ValueError unless every axis is there once.
    """

    keeps_integers = True
    any_shape = False

    def __init__(self, dims: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.dims = tuple(int(n) for n in dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"Permute: dims must be the axes 1 .. {len(self.dims)} in some order, got {self.dims}")

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x with its axes in another order."""
        return np.ascontiguousarray(x.transpose(0, *self.dims)), None

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Result:
        """dy with its axes back in order."""
        return np.ascontiguousarray(dy.transpose(np.argsort((0, *self.dims)))), {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The axes of x, in the new order."""
        if len(input_shape) != len(self.dims) + 1:
            raise ValueError(f"{self.label}: dims {self.dims} are for {len(self.dims) + 1} axes, got {input_shape}")
        return (None, *(input_shape[axis] for axis in self.dims))


class RepeatVector(Layer):
    """A row, n times. Shapes: x (N, C), y (N, n, C)."""

    def __init__(self, n: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.n = positive("RepeatVector: n", n)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """n copies of every row."""
        return x[:, None].repeat(self.n, axis=1), None

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Result:
        """The sum over the copies."""
        return dy.sum(axis=1), {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, n, C)."""
        if len(input_shape) != 2:
            raise ValueError(f"{self.label}: needs rows (N, C), got {input_shape}")
        return (None, self.n, input_shape[1])


class Border(Layer):
    """What padding and cropping share: zeros around images, or their borders taken off; each is the other's gradient.

    Shapes: x (N, H, W, C) or (N, L, C). The border is one number, one per axis, or (before, after) per axis.
    Errors: ValueError for a border that is negative, or leaves nothing of the image.
    """

    keeps_integers = True
    sign: int
    dimensions: int
    border: tuple[Pair, ...]
    value = 0.0

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x with its border, or without."""
        return bordered(x, self.border, self.sign, self.value), None

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Result:
        """dy with the opposite border."""
        return bordered(dy, self.border, -self.sign), {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Larger or smaller by the border."""
        if len(input_shape) != self.dimensions + 2:
            raise ValueError(f"{self.label}: needs inputs of {self.dimensions + 2} axes (N, ..., C), got {input_shape}")
        out = [None if n is None else n + self.sign * sum(b) for n, b in zip(input_shape[1:-1], self.border, strict=True)]
        if any(n is not None and n < 1 for n in out):
            raise ValueError(f"{self.label}: a border of {self.border} leaves nothing of {input_shape}")
        return (None, *out, input_shape[-1])


class ZeroPadding1D(Border):
    """Zeros before and behind a sequence. Shapes: x (N, L, C)."""

    sign, dimensions = 1, 1

    def __init__(self, padding: Any = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.padding = padding
        self.border = borders("padding", padding, 1)


class ZeroPadding2D(Border):
    """Zeros around images. Shapes: x (N, H, W, C); padding n, (rows, columns) or ((top, bottom), (left, right))."""

    sign, dimensions = 1, 2

    def __init__(self, padding: Any = (1, 1), **kwargs: Any):
        super().__init__(**kwargs)
        self.padding = padding
        self.border = borders("padding", padding, 2)


class ValuePadding2D(ZeroPadding2D):
    """Another number than zero around images, such as the lowest one in front of a max-pooling. Shapes: as ZeroPadding2D."""

    def __init__(self, padding: Any = (1, 1), value: float = 0.0, **kwargs: Any):
        super().__init__(padding, **kwargs)
        check_numbers(self, "(-inf, inf)", value=value)
        self.value = float(value)


class ChannelPadding(Layer):
    """Zeros in front of the channels and behind them.

    Shapes: x (N, ..., C), padding (before, after), y (N, ..., before + C + after).
    Errors: ValueError for a negative padding.
    Source: the skips without parameters of K. He et al., arXiv 1512.03385, option A.
    """

    keeps_integers = True

    def __init__(self, padding: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.padding = borders("padding", padding, 1)[0]

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x between zeros."""
        if _engine_moves(x):
            return engine("padding").widened(x, *self.padding), x.shape[-1]
        return np.pad(x, [*[(0, 0)] * (x.ndim - 1), self.padding]), x.shape[-1]

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Result:
        """The part of dy that is x's."""
        before = self.padding[0]
        if _engine_moves(dy):
            return engine("padding").narrowed(dy, before, cache), {}
        return np.ascontiguousarray(dy[..., before : before + cache]), {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """With more channels."""
        if input_shape[-1] is None:
            raise ValueError(f"{self.label}: needs inputs of a known last axis, got {input_shape}")
        return (*input_shape[:-1], sum(self.padding) + input_shape[-1])


class Cropping1D(Border):
    """A sequence without its ends. Shapes: x (N, L, C)."""

    sign, dimensions = -1, 1

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any):
        super().__init__(**kwargs)
        self.cropping = cropping
        self.border = borders("cropping", cropping, 1)


class Cropping2D(Border):
    """Images without their borders. Shapes: x (N, H, W, C); cropping as the padding of ZeroPadding2D."""

    sign, dimensions = -1, 2

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), **kwargs: Any):
        super().__init__(**kwargs)
        self.cropping = cropping
        self.border = borders("cropping", cropping, 2)


class UpSampling2D(Layer):
    """Every pixel becomes a block of pixels: equal ones, or, with `interpolation="bilinear"`, means of the nearest four.

    Formula: y = A x B^T, with a row of A and of B for every row and column of y, centres on centres.
    Shapes: x (N, H, W, C), y (N, s_h H, s_w W, C).
    Errors: ValueError for sizes below 1, or another interpolation than "nearest" and "bilinear".
    Source: `minitl.ops.upsample2d`.
    """

    def __init__(self, size: int | Pair = (2, 2), interpolation: str = "nearest", **kwargs: Any):
        super().__init__(**kwargs)
        self.size, self.interpolation = pair("size", size), interpolation
        if interpolation not in ("nearest", "bilinear"):
            raise unknown("interpolation", interpolation, ("nearest", "bilinear"))

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x, every pixel repeated, or A x B^T."""
        if self.interpolation == "nearest":
            return op("upsample2d").forward(x, self.size)
        lengths = zip(x.shape[1:3], self.size, strict=True)
        rows, columns = (resizing_matrix(n, n * size, "bilinear").astype(x.dtype) for n, size in lengths)
        return both_sides(rows, x, columns), (rows, columns)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Result:
        """The sums over the blocks, or A^T dy B."""
        if self.interpolation == "nearest":
            return op("upsample2d").backward(dy, cache), {}
        return both_sides(cache[0].T, dy, cache[1].T), {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, s_h H, s_w W, C)."""
        channels = image_channels(input_shape)
        out = [None if n is None else n * s for n, s in zip(input_shape[1:3], self.size, strict=True)]
        return (input_shape[0], *out, channels)


def borders(name: str, given: Any, dimensions: int) -> tuple[Pair, ...]:
    """A border as (before, after) for every axis.

    Errors: ValueError for anything but whole numbers of at least 0, one, one per axis, or two per axis.
    """
    several = (list, tuple, np.ndarray)
    per_axis = list(given) if isinstance(given, several) else [given] * dimensions
    if dimensions == 1 and len(per_axis) == 2:
        per_axis = [tuple(per_axis)]
    both = [tuple(n) if isinstance(n, several) else (n, n) for n in per_axis]
    numbers = [n for ends in both for n in ends]
    if (
        len(both) != dimensions
        or any(len(ends) != 2 for ends in both)
        or not all(isinstance(n, (int, np.integer)) for n in numbers)
    ):
        raise ValueError(f"{name} must be a whole number, one per axis, or (before, after) per axis, got {given!r}")
    if min(numbers) < 0:
        raise ValueError(f"{name} must not be negative, got {given!r}")
    return tuple((int(a), int(b)) for a, b in both)


def _engine_moves(x: np.ndarray) -> bool:
    """Whether a kernel may move these numbers."""
    return get_backend() == "numba" and x.dtype.char in "fd"


def bordered(x: np.ndarray, border: tuple[Pair, ...], sign: int, value: float = 0.0) -> np.ndarray:
    """x with a value around it (sign 1), or without its border (sign -1)."""
    by_engine = x.ndim == 4 and value == 0 and _engine_moves(x)
    before, after = zip(*border, strict=True)
    if sign > 0:
        if by_engine:
            return engine("padding").surrounded(x, before, after)
        return np.pad(x, ((0, 0), *border, (0, 0)), constant_values=value)
    if by_engine:
        return engine("padding").inside(x, before, [n - a - b for n, (a, b) in zip(x.shape[1:-1], border, strict=True)])
    inside = [slice(a, n - b) for n, (a, b) in zip(x.shape[1:-1], border, strict=True)]
    places: tuple[slice, ...] = (slice(None), *inside)
    return np.ascontiguousarray(x[places])
