"""Random changes of images inside the network, while training only.

The layers call `minitl.preprocessing.image`; they stand at the input, below everything that learns, and have no gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import positive, unknown
from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.conv import image_channels
from minitl.layers.preprocessing import OnImages, Resizing
from minitl.random import new_generator

Result = tuple[np.ndarray | None, dict[str, np.ndarray]]


class RandomImage(OnImages):
    """What random layers share: a generator, nothing at inference, no gradient.

    Shapes: x and y (N, H, W, C), or one image without the batch.
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
    """What random layers share that move pixels: one affine matrix per image.

    With `fill_mode="wrap"` the first and the last pixel of an axis count as one, as in `ImageDataGenerator`, and not in Keras.
    Source: `minitl.preprocessing.image.transforms`.
    """

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
        columns = rows if self._columns is None else 1 + self.generator.uniform(*self._columns, count)
        return {"zx": columns, "zy": rows}


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


class RandomCrop(RandomImage):
    """A part of images at a random place while training, one place per batch; at inference the middle, resized.

    Formula: rows top .. top + height, columns left .. left + width. At inference, and for images that are not larger, the largest
    part of the target's proportions in the middle, resized to it.
    Shapes: x (N, H, W, C), y (N, height, width, C).
    """

    def __init__(self, height: int, width: int, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.height, self.width = positive("RandomCrop: height", height), positive("RandomCrop: width", width)
        self._middle = Resizing(self.height, self.width, crop_to_aspect_ratio=True)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """A part of x."""
        rows, columns = x.shape[1] - self.height, x.shape[2] - self.width
        if not (training and rows > 0 and columns > 0):
            y, cache = self._middle.compute(x, training)
            return y, None if training else cache
        top, left = self.generator.integers(rows + 1), self.generator.integers(columns + 1)
        return np.ascontiguousarray(x[:, top : top + self.height, left : left + self.width]), None

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Result:
        """That of resizing at inference; while training there is none."""
        if need.dx and cache is not None:
            return self._middle.backpropagate(dy, cache, need)
        return super().backpropagate(dy, cache is None, need)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, height, width, C)."""
        return (input_shape[0], self.height, self.width, image_channels(input_shape))


class RandomBrightness(RandomImage):
    """Lighter or darker: a share of the range, drawn from [-factor, factor] or [low, high], is added, and the sum cut to it."""

    def __init__(self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.factor, self.value_range = factor, tuple(sorted(value_range))
        if len(self.value_range) != 2:
            raise ValueError(f"RandomBrightness: value_range must be two numbers, got {value_range!r}")
        self._range = limits("RandomBrightness: factor", factor)

    def change(self, x: np.ndarray) -> np.ndarray:
        """Every image, all of its pixels by one number."""
        low, high = self.value_range
        added = (high - low) * self.generator.uniform(*self._range, len(x))[:, None, None, None]
        return np.clip(x + added, low, high).astype(x.dtype)


def limits(name: str, factor: Any) -> tuple[float, float]:
    """The range of a factor: [-factor, factor] for one number, or the two that are given.

    Errors: ValueError for a negative number alone, or limits in the wrong order.
    """
    low, high = (-factor, factor) if np.ndim(factor) == 0 else factor
    if not low <= high or not low >= -1:
        raise ValueError(f"{name} must be a number of 0 .. 1, or two, the smaller first, of at least -1; got {factor!r}")
    return float(low), float(high)
