"""Preparing images inside the network: their size. So a saved model takes images as they come from files."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import check_numbers, positive, unknown
from minitl.graph.plan import Need
from minitl.graph.value import Shape, values_in
from minitl.layers.base import Layer
from minitl.layers.conv import image_channels
from minitl.preprocessing.resampling import INTERPOLATIONS, both_sides, resizing_matrix, too_long

Result = tuple[np.ndarray | None, dict[str, np.ndarray]]


class OnImages(Layer):
    """What layers share that change the size of images: on an array, one image may come without a batch."""

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """y, with a batch where x has one."""
        if values_in(x) is None and np.ndim(x) == 3:
            return super().__call__(np.asarray(x)[None], training)[0]
        return super().__call__(x, training)


class Resizing(OnImages):
    """Images of another size: every target pixel is a weighted mean of the source pixels around its place.

    Formula: y = A x B^T, with a row of A and of B for every row and column of the target, centres on centres.
    Parameters: `interpolation` is "bilinear", "nearest", "bicubic", "area", "lanczos3" or "lanczos5" (`resizing_matrix` has the
    formulas); `antialias` widens the windows where images become smaller; `crop_to_aspect_ratio` first cuts off, in equal parts,
    what is too long for the target's proportions; `pad_to_aspect_ratio` adds rows or columns of `fill_value` instead.
    Shapes: x (N, H, W, C), y (N, height, width, C); or one image without the batch.
    Errors: ValueError for another interpolation, or for both ways to keep proportions.
    """

    def __init__(
        self, height: int, width: int, interpolation: str = "bilinear", crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False, fill_mode: str = "constant", fill_value: float = 0.0,
        antialias: bool = False, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.height, self.width = positive("Resizing: height", height), positive("Resizing: width", width)
        if interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", interpolation, INTERPOLATIONS)
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            raise ValueError("Resizing: crop_to_aspect_ratio and pad_to_aspect_ratio exclude one another; choose one")
        if fill_mode != "constant":
            raise unknown("fill_mode", fill_mode, ("constant",))
        check_numbers(self, "(-inf, inf)", fill_value=fill_value)
        self.interpolation, self.antialias = interpolation, bool(antialias)
        self.fill_mode, self.fill_value = fill_mode, fill_value
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = bool(crop_to_aspect_ratio), bool(pad_to_aspect_ratio)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """A x B^T, of the part of x that is taken, or with what is added around."""
        margins = self._margins(*x.shape[1:3])
        x = _without(x, margins, self.fill_value)
        rows = resizing_matrix(x.shape[1], self.height, self.interpolation, self.antialias).astype(x.dtype)
        columns = resizing_matrix(x.shape[2], self.width, self.interpolation, self.antialias).astype(x.dtype)
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
        if self.crop_to_aspect_ratio:
            return too_long(height, width, self.height, self.width)
        tall, broad = int(width * self.height / self.width), int(height * self.width / self.height)
        above, left = -(max(tall - height, 0) // 2), -(max(broad - width, 0) // 2)  # as many on either side
        return above, above, left, left


class CenterCrop(OnImages):
    """The middle of images; where they are smaller, all of what has the right proportions, made larger.

    Shapes: x (N, H, W, C), y (N, height, width, C); or one image without the batch.
    """

    def __init__(self, height: int, width: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.height, self.width = positive("CenterCrop: height", height), positive("CenterCrop: width", width)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The middle of x."""
        top, left = (x.shape[1] - self.height) // 2, (x.shape[2] - self.width) // 2
        if x.shape[1] < self.height or x.shape[2] < self.width:
            return self._larger().compute(x, training)
        return np.ascontiguousarray(x[:, top : top + self.height, left : left + self.width]), (x.shape, top, left)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> Result:
        """dy in the middle of zeros."""
        if isinstance(cache[0], np.ndarray):
            return self._larger().backpropagate(dy, cache, need)
        shape, top, left = cache
        dx = np.zeros(shape, dy.dtype)
        dx[:, top : top + self.height, left : left + self.width] = dy
        return dx, {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, height, width, C)."""
        return (input_shape[0], self.height, self.width, image_channels(input_shape))

    def _larger(self) -> Resizing:
        return Resizing(self.height, self.width, crop_to_aspect_ratio=True, dtype=self.dtype)


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
