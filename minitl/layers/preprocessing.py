"""Preparing images inside the network: resizing always, random changes while training only.

So a saved model takes images as they come from files. The random layers call `minitl.preprocessing.image`; they stand at the
input, below everything that learns, and have no gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import check_numbers, positive, unknown
from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.base import Layer
from minitl.layers.conv import image_channels
from minitl.layers.resampling import both_sides, resizing_matrix
from minitl.random import new_generator

Result = tuple[np.ndarray | None, dict[str, np.ndarray]]


class Resizing(Layer):
    """Images of another size: every target pixel is a weighted mean of the source pixels around its place.

    Formula: y = A x B^T, with a row of A and of B for every row and column of the target, centres on centres.
    Parameters: `crop_to_aspect_ratio` first cuts off, in equal parts, what is too long for the target's proportions;
    `pad_to_aspect_ratio` adds rows or columns of `fill_value` instead.
    Shapes: x (N, H, W, C), y (N, height, width, C).
    Errors: ValueError for another interpolation than bilinear and nearest, or for both ways to keep proportions.
    """

    def __init__(
        self, height: int, width: int, interpolation: str = "bilinear", crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False, fill_mode: str = "constant", fill_value: float = 0.0, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.height, self.width = positive("Resizing: height", height), positive("Resizing: width", width)
        if interpolation not in ("bilinear", "nearest"):
            raise unknown("interpolation", interpolation, ("bilinear", "nearest"))
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError("Resizing: crop_to_aspect_ratio and pad_to_aspect_ratio exclude one another; choose one")
        if fill_mode != "constant":
            raise unknown("fill_mode", fill_mode, ("constant",))
        check_numbers(self, "(-inf, inf)", fill_value=fill_value)
        self.interpolation, self.fill_mode, self.fill_value = interpolation, fill_mode, fill_value
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = bool(crop_to_aspect_ratio), bool(pad_to_aspect_ratio)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """A x B^T, of the part of x that is taken, or with what is added around."""
        margins = self._margins(*x.shape[1:3])
        x = _without(x, margins, self.fill_value)
        rows = resizing_matrix(x.shape[1], self.height, self.interpolation).astype(x.dtype)
        columns = resizing_matrix(x.shape[2], self.width, self.interpolation).astype(x.dtype)
        return both_sides(rows, x, columns), (rows, columns, margins)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Result:
        """A^T dy B; nothing for what was cut off."""
        rows, columns, margins = cache
        return _without(both_sides(rows.T, dy, columns.T), [-n for n in margins], 0.0), {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, height, width, C)."""
        return (input_shape[0], self.height, self.width, image_channels(input_shape))

    def _margins(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Rows and columns to cut off above, below, left and right; fewer than none are to be added."""
        if not (self.crop_to_aspect_ratio or self.pad_to_aspect_ratio):
            return 0, 0, 0, 0
        tall, broad = int(width * self.height / self.width), int(height * self.width / self.height)
        if self.pad_to_aspect_ratio:  # as many on either side
            above, left = -(max(tall - height, 0) // 2), -(max(broad - width, 0) // 2)
            return above, above, left, left
        tall, broad = max(min(height, tall), 1), max(min(width, broad), 1)
        above, left = (height - tall) // 2, (width - broad) // 2
        return above, height - tall - above, left, width - broad - left


class CenterCrop(Layer):
    """The middle of images. Shapes: x (N, H, W, C), y (N, height, width, C). Errors: ValueError for images that are smaller."""

    def __init__(self, height: int, width: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.height, self.width = positive("CenterCrop: height", height), positive("CenterCrop: width", width)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The middle of x."""
        top, left = (x.shape[1] - self.height) // 2, (x.shape[2] - self.width) // 2
        if min(top, left) < 0:
            raise ValueError(f"{self.label}: images of {x.shape[1:3]} are smaller than {(self.height, self.width)}")
        return np.ascontiguousarray(x[:, top : top + self.height, left : left + self.width]), (x.shape, top, left)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Result:
        """dy in the middle of zeros."""
        shape, top, left = cache
        dx = np.zeros(shape, dy.dtype)
        dx[:, top : top + self.height, left : left + self.width] = dy
        return dx, {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, height, width, C)."""
        return (input_shape[0], self.height, self.width, image_channels(input_shape))


class RandomImage(Layer):
    """What random layers share: a generator, nothing at inference, no gradient.

    Shapes: x and y (N, H, W, C).
    Errors: ValueError in a backward pass when something below learns.
    """

    draws = True

    def __init__(self, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if seed is not None and not isinstance(seed, (int, np.integer)):
            raise ValueError(f"{type(self).__name__}: seed must be a whole number or None, got {seed!r}")
        self.seed = seed

    def build(self, input_shape: Shape) -> None:
        """Take a generator."""
        image_channels(input_shape)
        self.generator = new_generator() if self.seed is None else np.random.default_rng(self.seed)

    def change(self, x: np.ndarray) -> np.ndarray:
        """The images, changed at random."""
        raise NotImplementedError

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x, changed at random while training."""
        return (self.change(x) if training else x), training

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Result:
        """dy at inference; while training there is none."""
        if need.dx and cache:
            raise ValueError(f"{self.label}: something below it learns, but it has no gradient; put it at the input")
        return dy if need.dx else None, {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


class RandomWarp(RandomImage):
    """What random layers share that move pixels: one affine matrix per image. Source: `minitl.preprocessing.image.transforms`."""

    fill_mode: str
    fill_value: float
    interpolation: str

    def __init__(
        self, fill_mode: str = "reflect", interpolation: str = "bilinear", seed: int | None = None, fill_value: float = 0.0,
        **kwargs: Any,
    ):  # fmt: skip
        super().__init__(seed, **kwargs)
        if interpolation not in ("bilinear", "nearest"):
            raise unknown("interpolation", interpolation, ("bilinear", "nearest"))
        if fill_mode not in ("constant", "nearest", "reflect", "wrap"):
            raise unknown("fill_mode", fill_mode, ("constant", "nearest", "reflect", "wrap"))
        self.fill_mode, self.interpolation, self.fill_value = fill_mode, interpolation, fill_value

    def parameters_of(self, count: int, height: int, width: int) -> dict[str, np.ndarray]:
        """What `transforms.matrices` takes, one number per image."""
        raise NotImplementedError

    def change(self, x: np.ndarray) -> np.ndarray:
        """Every image through its own matrix."""
        from minitl.preprocessing.image import transforms

        count, height, width = x.shape[:3]
        m = transforms.matrices(height, width, count, **self.parameters_of(count, height, width))
        order = 1 if self.interpolation == "bilinear" else 0
        return transforms.warp(x, np.arange(count), m, self.fill_mode, self.fill_value, order, 1.0, x.dtype)


class RandomFlip(RandomImage):
    """Mirror images, half of the time: "horizontal", "vertical" or both.

    Errors: ValueError for another mode.
    """

    def __init__(self, mode: str = "horizontal_and_vertical", seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        if mode not in ("horizontal", "vertical", "horizontal_and_vertical"):
            raise unknown("mode", mode, ("horizontal", "vertical", "horizontal_and_vertical"))
        self.mode = mode

    def change(self, x: np.ndarray) -> np.ndarray:
        """Every image, or its mirror image."""
        for name, axis in (("horizontal", 2), ("vertical", 1)):
            if name in self.mode:
                turned = self.generator.random(len(x)) < 0.5
                x = np.where(turned[:, None, None, None], np.flip(x, axis), x)
        return x


class RandomRotation(RandomWarp):
    """Turned by a share of a full turn, drawn from [-factor, factor] or [low, high]."""

    def __init__(self, factor: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.factor = factor
        self._range = limits("RandomRotation: factor", factor)

    def parameters_of(self, count: int, height: int, width: int) -> dict[str, np.ndarray]:
        """Angles in degrees."""
        return {"theta": 360 * self.generator.uniform(*self._range, count)}


class RandomZoom(RandomWarp):
    """Larger or smaller: a factor of 0.2 shows up to 20 % more (smaller), -0.2 that much less; width as height by default."""

    def __init__(self, height_factor: Any, width_factor: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._rows = limits("RandomZoom: height_factor", height_factor)
        self._columns = None if width_factor is None else limits("RandomZoom: width_factor", width_factor)

    def parameters_of(self, count: int, height: int, width: int) -> dict[str, np.ndarray]:
        """Zoom along both axes."""
        rows = 1 + self.generator.uniform(*self._rows, count)
        return {"zx": rows, "zy": rows if self._columns is None else 1 + self.generator.uniform(*self._columns, count)}


class RandomTranslation(RandomWarp):
    """Moved by shares of the height and width, drawn from [-factor, factor] or [low, high]."""

    def __init__(self, height_factor: Any, width_factor: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._rows = limits("RandomTranslation: height_factor", height_factor)
        self._columns = limits("RandomTranslation: width_factor", width_factor)

    def parameters_of(self, count: int, height: int, width: int) -> dict[str, np.ndarray]:
        """Shifts in pixels."""
        down, right = self.generator.uniform(*self._rows, count), self.generator.uniform(*self._columns, count)
        return {"tx": -width * right, "ty": -height * down}


class RandomContrast(RandomImage):
    """More or less contrast: the distance to each channel's mean, times a factor from [1 - factor, 1 + factor]."""

    def __init__(self, factor: Any, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.factor = factor
        self._range = limits("RandomContrast: factor", factor)

    def change(self, x: np.ndarray) -> np.ndarray:
        """Every image around its own means."""
        mean = x.mean(axis=(1, 2), keepdims=True)
        factor = 1 + self.generator.uniform(*self._range, len(x))[:, None, None, None]
        return ((x - mean) * factor + mean).astype(x.dtype)


def limits(name: str, factor: Any) -> tuple[float, float]:
    """The range of a factor: [-factor, factor] for one number, or the two that are given.

    Errors: ValueError for a negative number alone, or limits in the wrong order.
    """
    low, high = (-factor, factor) if np.ndim(factor) == 0 else factor
    if not low <= high or not low >= -1:
        raise ValueError(f"{name} must be a number of 0 .. 1, or two, the smaller first, of at least -1; got {factor!r}")
    return float(low), float(high)


def __getattr__(name: str) -> Any:  # other layers, which older programs import from here
    from minitl.legacy.modules import elsewhere

    return elsewhere("layers", name)


def _without(x: np.ndarray, margins: Any, value: float) -> np.ndarray:
    """Images without so many rows and columns above, below, left and right; fewer than none are added, of one value."""
    if not any(margins):
        return x
    cut, added = ([max(sign * n, 0) for n in margins] for sign in (1, -1))
    x = x[:, cut[0] : x.shape[1] - cut[1], cut[2] : x.shape[2] - cut[3]]
    return np.pad(x, ((0, 0), (added[0], added[1]), (added[2], added[3]), (0, 0)), constant_values=value)
