"""Functions that change one image, drawn or as told, as older programs call them.

As in Keras, the functions that draw take channels first unless the axes are said, and the others take them last.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.preprocessing.image import transforms
from minitl.preprocessing.image.files import array_to_img, img_to_array
from minitl.preprocessing.resampling import both_sides, resizing_matrix, too_long
from minitl.random import new_generator


def apply_affine_transform(
    x: np.ndarray, theta: float = 0, tx: float = 0, ty: float = 0, shear: float = 0, zx: float = 1, zy: float = 1,
    row_axis: int = 1, col_axis: int = 2, channel_axis: int = 0, fill_mode: str = "nearest", cval: float = 0.0, order: int = 1,
) -> np.ndarray:  # fmt: skip
    """An image turned, shifted, sheared and zoomed about its centre; degrees and pixels, as `ImageDataGenerator` has them.

    Shapes: x of three axes, which `row_axis`, `col_axis` and `channel_axis` name; y alike.
    """
    image = np.ascontiguousarray(np.moveaxis(x, (row_axis, col_axis, channel_axis), (0, 1, 2)))[None]
    m = transforms.matrices(image.shape[1], image.shape[2], theta=theta, tx=tx, ty=ty, shear=shear, zx=zx, zy=zy)
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
    y = transforms.warp(image, np.zeros(1, np.int64), m, fill_mode, cval, order, 1.0, dtype)[0]
    return np.moveaxis(y, (0, 1, 2), (row_axis, col_axis, channel_axis)).astype(x.dtype, copy=False)


def random_rotation(x: np.ndarray, rg: float, *axes: int, interpolation_order: int = 1, **settings: Any) -> np.ndarray:
    """An image turned by up to `rg` degrees either way."""
    return _changed(x, axes, settings, interpolation_order, theta=_drawn(rg))


def random_shift(x: np.ndarray, wrg: float, hrg: float, *axes: int, interpolation_order: int = 1, **settings: Any) -> np.ndarray:
    """An image shifted by up to the share `wrg` of its width and `hrg` of its height."""
    rows, columns = axes[:2] if axes else (settings.get("row_axis", 1), settings.get("col_axis", 2))
    shift = {"tx": _drawn(hrg) * x.shape[rows], "ty": _drawn(wrg) * x.shape[columns]}
    return _changed(x, axes, settings, interpolation_order, **shift)


def random_shear(x: np.ndarray, intensity: float, *axes: int, interpolation_order: int = 1, **settings: Any) -> np.ndarray:
    """An image sheared by up to `intensity` degrees either way."""
    return _changed(x, axes, settings, interpolation_order, shear=_drawn(intensity))


def random_zoom(x: np.ndarray, zoom_range: Any, *axes: int, interpolation_order: int = 1, **settings: Any) -> np.ndarray:
    """An image zoomed by two factors out of (low, high), for rows and for columns.

    Errors: ValueError for anything but two numbers.
    """
    if np.shape(zoom_range) != (2,):
        raise ValueError(f"random_zoom: zoom_range must be (low, high), got {zoom_range!r}")
    zx, zy = new_generator().uniform(zoom_range[0], zoom_range[1], 2)
    return _changed(x, axes, settings, interpolation_order, zx=zx, zy=zy)


def apply_channel_shift(x: np.ndarray, intensity: float, channel_axis: int = 0) -> np.ndarray:
    """All channels brighter or darker by a number, within the image's own smallest and largest value."""
    return transforms.channel_shift(np.asarray(x), intensity)


def random_channel_shift(x: np.ndarray, intensity_range: float, channel_axis: int = 0) -> np.ndarray:
    """The same, by up to `intensity_range` either way."""
    return apply_channel_shift(x, _drawn(intensity_range), channel_axis)


def apply_brightness_shift(x: np.ndarray, brightness: float, scale: bool = True) -> np.ndarray:
    """An image (H, W, C) times a factor, as Pillow does it; with `scale` it is spread over 0 .. 255 first."""
    from PIL import ImageEnhance

    low, high = float(np.min(x)), float(np.max(x))
    outside = low < 0 or high > 255
    y = img_to_array(ImageEnhance.Brightness(array_to_img(x, scale=scale or outside)).enhance(brightness))
    return y / 255 * (high - low) + low if outside and not scale else y


def random_brightness(x: np.ndarray, brightness_range: Any, scale: bool = True) -> np.ndarray:
    """The same, by a factor out of (low, high).

    Errors: ValueError for anything but two numbers.
    """
    if np.shape(brightness_range) != (2,):
        raise ValueError(f"random_brightness: brightness_range must be (low, high), got {brightness_range!r}")
    return apply_brightness_shift(x, float(new_generator().uniform(*brightness_range)), scale)


def smart_resize(x: Any, size: Any, interpolation: str = "bilinear", data_format: Any = None) -> np.ndarray:
    """Images of another size without distortion: what is too long for the proportions is cut off on both sides.

    Shapes: x (H, W, C) or (N, H, W, C), size (height, width).
    """
    x = np.asarray(x, np.float32)
    images = x if x.ndim == 4 else x[None]
    above, below, left, right = too_long(*images.shape[1:3], *size)
    part = images[:, above : images.shape[1] - below, left : images.shape[2] - right]
    rows, columns = (resizing_matrix(n, m, interpolation).astype(x.dtype) for n, m in zip(part.shape[1:3], size, strict=True))
    y = both_sides(rows, part, columns)
    return y if x.ndim == 4 else y[0]


def flip_axis(x: np.ndarray, axis: int) -> np.ndarray:
    """An image turned round along an axis."""
    return np.flip(x, axis)


def _drawn(bound: float) -> float:
    return float(new_generator().uniform(-bound, bound))


def _changed(x: np.ndarray, axes: tuple[int, ...], settings: dict[str, Any], order: int, **change: float) -> np.ndarray:
    named: dict[str, Any] = dict(zip(("row_axis", "col_axis", "channel_axis", "fill_mode", "cval"), axes, strict=False))
    return apply_affine_transform(x, **{**change, **named, **settings}, order=order)
