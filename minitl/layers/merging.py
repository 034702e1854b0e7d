"""Where branches of a network meet: layers that take several values, and the functions of the same names."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.backend import op
from minitl.channels import inner_axis
from minitl.errors import wrong_shape
from minitl.graph.plan import Need
from minitl.graph.value import Shape, Value
from minitl.layers.base import Layer
from minitl.layers.masking import factors
from minitl.layers.reshaping import Reshape

Gradients = tuple[tuple[Any, ...], dict[str, np.ndarray]]


class Merge(Layer):
    """What merging layers share: several inputs whose shapes broadcast, one output.

    Shapes: x a list of arrays (N, ...), y as they broadcast; one of fewer axes gets axes of 1 behind the batch, as in Keras.
    Errors: ValueError for a single input, or shapes that do not fit together.
    """

    takes_several = True
    steps_of = None
    operation: str
    by_entry = True  # whether entries meet entries, so that axes may be added

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """y, of inputs with as many axes each."""
        return super().__call__(_alike(x) if self.by_entry else x, training)

    def settings(self, count: int) -> dict[str, Any]:
        """What the operation gets beside the inputs."""
        return {}

    def compute(self, x: list[np.ndarray], training: bool) -> tuple[np.ndarray, Any]:
        """y of all inputs."""
        settings = self.settings(len(x))
        try:
            return op(self.operation).forward(*x, **settings)
        except ValueError as error:
            shapes = [part.shape for part in x[1:]]
            raise wrong_shape(self.label, f"one that merges with {x[0].shape}", shapes, "make them alike") from error

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Gradients:
        """dx of every input."""
        return op(self.operation).backward(dy, cache), {}

    def build(self, input_shape: Any) -> None:
        """Check that there is something to merge."""
        if len(input_shape) < 2:
            raise ValueError(f"{self.label}: merges at least two values, got {len(input_shape)}")

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """What the shapes broadcast to."""
        longest = max(len(shape) for shape in input_shape)
        out: list[int | None] = []
        for axis in range(1, longest):
            found = {shape[axis] for shape in input_shape if len(shape) == longest} - {1}
            if len(found - {None}) > 1 or any(len(shape) != longest for shape in input_shape):
                raise wrong_shape(self.label, f"one that merges with {input_shape[0]}", list(input_shape[1:]), "make them alike")
            out.append(next(iter(found - {None}), None if None in found else 1))
        return (None, *out)


class Add(Merge):
    """y = x_1 + x_2 + ... Source: `minitl.ops.add`."""

    supports_masking = True
    operation = "add"


class Subtract(Merge):
    """y = x_1 - x_2, of exactly two. Source: `minitl.ops.add`."""

    supports_masking = True
    operation = "add"

    def settings(self, count: int) -> dict[str, Any]:
        """The second counts negatively."""
        if count != 2:
            raise ValueError(f"{self.label}: takes two values, got {count}")
        return {"factors": (1.0, -1.0)}

    def build(self, input_shape: Any) -> None:
        """Check that there are two."""
        self.settings(len(input_shape))


class Average(Merge):
    """y = (x_1 + ... + x_n) / n. Source: `minitl.ops.add`."""

    supports_masking = True
    operation = "add"

    def settings(self, count: int) -> dict[str, Any]:
        """Each counts 1 / n."""
        return {"factors": (1.0 / count,) * count}


class Multiply(Merge):
    """y = x_1 x_2 ..., entry by entry; a step that does not count in one of them counts as 1. Source: `minitl.ops.multiply`."""

    supports_masking = True
    operation = "multiply"

    def leave_out(self, values: list[Value]) -> list[Value]:
        """The values with ones at the steps that are left out; with zeros, if these are the same steps in all."""
        return factors(values)


class Maximum(Merge):
    """y = the largest, entry by entry. Source: `minitl.ops.maximum`."""

    supports_masking = True
    operation = "maximum"


class Minimum(Merge):
    """y = the smallest, entry by entry. Source: `minitl.ops.maximum`."""

    supports_masking = True
    operation = "maximum"

    def settings(self, count: int) -> dict[str, Any]:
        """The other way round."""
        return {"sign": -1}


class Concatenate(Merge):
    """The inputs side by side, along one axis.

    Shapes: alike but for `axis`, which counts the batch as 0.
    Source: `minitl.ops.concatenate`.
    """

    operation = "concatenate"
    by_entry = False
    keeps_integers = True

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = inner_axis(axis)

    @property
    def supports_masking(self) -> bool:  # type: ignore[override]
        """If the steps of y are those of the inputs, side by side, and not one behind the other."""
        return self.axis not in (1, -2)

    def settings(self, count: int) -> dict[str, Any]:
        """Along which axis."""
        return {"axis": self.axis}

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The sum along the axis."""
        first = input_shape[0]
        if not -len(first) < self.axis < len(first) or self.axis % len(first) == 0:
            raise ValueError(f"{self.label}: axis {self.axis} is not one of the axes 1 .. {len(first) - 1}")
        axis = self.axis % len(first)
        for shape in input_shape[1:]:
            alike = len(shape) == len(first)
            if not alike or any(
                None not in (a, b) and a != b for i, (a, b) in enumerate(zip(shape, first, strict=True)) if i not in (0, axis)
            ):
                raise wrong_shape(self.label, f"{first} but for axis {axis}", shape, "make the other axes alike")
        sizes = [shape[axis] for shape in input_shape]
        return (None, *first[1:axis], None if None in sizes else sum(sizes), *first[axis + 1 :])


class Dot(Merge):
    """Inner products along an axis of each of two inputs; with `normalize`, the cosine of their angle.

    Formula: y[n, i, j] = sum_k a[n, i, k] b[n, j, k], the axes of k chosen by `axes`.
    Shapes: two arrays (N, K) give (N, 1); (N, I, K) and (N, J, K) give (N, I, J).
    Errors: ValueError for axes of different lengths, or inputs of more than three axes.
    Source: `minitl.ops.dot`.
    """

    operation = "dot"
    by_entry = False

    def __init__(self, axes: Any, normalize: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.axes, self.normalize = axes, normalize

    def _axes(self, dimensions: list[int]) -> list[int]:
        axes = list(self.axes) if isinstance(self.axes, (list, tuple)) else [self.axes] * 2
        return [axis % n for axis, n in zip(axes, dimensions, strict=True)]

    def compute(self, x: list[np.ndarray], training: bool) -> tuple[np.ndarray, Any]:
        """y of the two inputs."""
        axes = self._axes([part.ndim for part in x])
        rows = [np.moveaxis(part, axis, -1) for part, axis in zip(x, axes, strict=True)]
        lengths = [np.sqrt(np.maximum((r * r).sum(axis=-1, keepdims=True), 1e-12)) for r in rows]
        unit = [r / length for r, length in zip(rows, lengths, strict=True)] if self.normalize else rows
        flat = [u[:, None] if u.ndim == 2 else u for u in unit]
        y, cache = op("dot").forward(*flat)
        shape = (len(y), *(r.shape[1] for r in rows if r.ndim == 3))
        return y.reshape(shape if len(shape) > 1 else (len(y), 1)), (cache, axes, unit, lengths)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Gradients:
        """Back through the products, the lengths, and the order of the axes."""
        kept, axes, unit, lengths = cache
        flat = op("dot").backward(dy.reshape(len(dy), kept[0].shape[1], kept[1].shape[1]), kept)
        gradients = []
        for g, u, length, axis in zip(flat, unit, lengths, axes, strict=True):
            g = g.reshape(u.shape)
            if self.normalize:  # only what turns the vector counts, not what makes it longer
                g = (g - u * (g * u).sum(axis=-1, keepdims=True)) / length
            gradients.append(np.moveaxis(g, -1, axis))
        return tuple(gradients), {}

    def build(self, input_shape: Any) -> None:
        """Check the axes."""
        if len(input_shape) != 2 or any(len(shape) not in (2, 3) for shape in input_shape):
            raise ValueError(f"{self.label}: takes two values of two or three axes, got {list(input_shape)}")
        a, b = self._axes([len(shape) for shape in input_shape])
        if 0 in (a, b) or input_shape[0][a] != input_shape[1][b]:
            raise wrong_shape(
                self.label, f"axes of one length, {input_shape[0][a]}", input_shape[1][b], "choose others with axes="
            )

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """(N, I, J), as far as there are such axes."""
        axes = self._axes([len(shape) for shape in input_shape])
        rest = [n for shape, axis in zip(input_shape, axes, strict=True) for i, n in enumerate(shape) if i not in (0, axis)]
        return (None, *(rest or [1]))


def _alike(inputs: Any) -> Any:
    """Inputs with axes of 1 behind the batch, so that all have as many as the longest."""
    if not isinstance(inputs, (list, tuple)):
        return inputs
    shapes = [part.shape if hasattr(part, "shape") else np.shape(part) for part in inputs]
    longest = max(map(len, shapes), default=0)
    return [_stretched(part, shape, longest) for part, shape in zip(inputs, shapes, strict=True)]


def _stretched(part: Any, shape: Shape, axes: int) -> Any:
    if len(shape) in (0, axes):
        return part
    return Reshape([1] * (axes - len(shape)) + [-1 if n is None else n for n in shape[1:]])(part)


def add(inputs: Any, **kwargs: Any) -> Any:
    """`Add()` of some values."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Any) -> Any:
    """`Subtract()` of two values."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Any) -> Any:
    """`Multiply()` of some values."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Any) -> Any:
    """`Average()` of some values."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Any) -> Any:
    """`Maximum()` of some values."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Any) -> Any:
    """`Minimum()` of some values."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate()` of some values."""
    return Concatenate(axis, **kwargs)(inputs)


def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """`Dot()` of two values."""
    return Dot(axes, **kwargs)(inputs)
