"""The transformations of an image: which matrix they make, one warp in NumPy (the definition), and those of the colours.

Order and meaning are Keras's: the affine part (rotation, shift, shear, zoom in one matrix), then channel shift, flips,
brightness. Flips only exchange pixels, so that they can go into the matrix as well.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minitl.backend import get_backend
from minitl.errors import unknown

COMPILED = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))  # results are the last two
FILL_MODES = ("constant", "nearest", "reflect", "wrap")


def matrices(height: int, width: int, count: int | None = None, **parameters: Any) -> np.ndarray:
    """From a target pixel (i, j, 1) to where it is taken from: rotation, shift, shear and zoom about the centre, then flips.

    Formula: M = O R(theta) S(tx, ty) H(shear) Z(zx, zy) O^-1, O to the centre (height / 2 - 1/2, width / 2 - 1/2); like Keras
    with its two axes exchanged, P M P, so that tx moves along the columns; F turns the target's rows or columns round: P M P F.
    Shapes: parameters are numbers or arrays (B,), `count` is B where that is known: theta and shear in degrees, tx and ty in
    pixels; the result is (B, 2, 3).
    Source: Keras, `apply_affine_transform`.
    """
    theta, tx, ty, shear, zx, zy, flip_h, flip_v = (parameters.get(name, value) for name, value in DEFAULTS.items())
    count = count or max((np.size(value) for value in parameters.values()), default=1)
    (cos, sin), (along, up) = _cos_sin(theta), _cos_sin(shear)
    up = -up
    # The linear part L = R H Z, and the shift that keeps the centre o: o + R t - L o.
    l00, l01 = cos * zx, (cos * up - sin * along) * zy
    l10, l11 = sin * zx, (sin * up + cos * along) * zy
    o = height / 2 - 0.5, width / 2 - 0.5
    first = cos * tx - sin * ty + (o[0] * (1 - l00) - l01 * o[1])
    second = sin * tx + cos * ty + (o[1] * (1 - l11) - l10 * o[0])
    m = np.empty((count, 2, 3))
    m[:, 0, 0], m[:, 0, 1], m[:, 0, 2] = l11, l10, second  # the axes exchanged
    m[:, 1, 0], m[:, 1, 1], m[:, 1, 2] = l01, l00, first
    for flip, axis, size in ((flip_v, 0, height), (flip_h, 1, width)):
        if np.ndim(flip) or flip:
            turned = np.asarray(flip, float).reshape(-1, 1)
            m[:, :, 2] += (size - 1) * turned * m[:, :, axis]
            m[:, :, axis] *= 1 - 2 * turned
    return m


DEFAULTS = {
    "theta": 0.0, "tx": 0.0, "ty": 0.0, "shear": 0.0, "zx": 1.0, "zy": 1.0, "flip_horizontal": 0.0, "flip_vertical": 0.0,
}  # fmt: skip


def _cos_sin(degrees: Any) -> tuple[Any, Any]:
    if isinstance(degrees, (int, float)):
        return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    radians = np.deg2rad(degrees)
    return np.cos(radians), np.sin(radians)


def warp(
    source: np.ndarray, index: np.ndarray, m: np.ndarray, fill_mode: str, cval: float, order: int, scale: float, dtype: Any
) -> np.ndarray:
    """The images source[index], each through its matrix, times `scale`.

    Shapes: source (N, H, W, C) of any real dtype, index (B,), m (B, 2, 3); result (B, H, W, C) in `dtype`.
    Errors: ValueError for an unknown fill mode, or an order other than 0 and 1.
    Source: `minitl.kernels.warp`, the same compiled.
    """
    if fill_mode not in FILL_MODES:
        raise unknown("fill_mode", fill_mode, FILL_MODES)
    if order not in (0, 1):
        raise ValueError(f"interpolation_order must be 0 (nearest) or 1 (bilinear), got {order!r}; splines are not implemented")
    shape, dtype = (len(index), *source.shape[1:]), np.dtype(dtype)
    if get_backend() == "numba" and source.dtype in COMPILED and dtype in COMPILED[1:]:
        from minitl.kernels import memory
        from minitl.kernels.warp import warp as compiled

        out = memory.empty(shape, dtype)
        number = out.dtype.type
        compiled(
            np.ascontiguousarray(source),
            np.asarray(index, np.int64),
            m,
            FILL_MODES.index(fill_mode),
            number(cval),
            order,
            number(scale),
            out,
        )
        return out
    out = np.empty(shape, dtype)
    for b, n in enumerate(index):
        out[b] = _warp_one(source[n].astype(np.float64), m[b], fill_mode, cval, order) * scale
    return out


def _warp_one(x: np.ndarray, m: np.ndarray, fill_mode: str, cval: float, order: int) -> np.ndarray:
    height, width = x.shape[:2]
    i, j = np.indices((height, width), dtype=float)
    places = [m[axis, 0] * i + m[axis, 1] * j + m[axis, 2] for axis in (0, 1)]
    sizes = (height, width)
    beyond = (places[0] < 0) | (places[0] > height - 1) | (places[1] < 0) | (places[1] > width - 1)
    if fill_mode == "wrap":
        places = [_wrapped(place, size) for place, size in zip(places, sizes, strict=True)]
    if order == 0:
        rows, columns = (_inside(np.floor(p + 0.5), s, fill_mode) for p, s in zip(places, sizes, strict=True))
        y = x[rows, columns]
    else:
        low = [np.floor(place) for place in places]
        share = [place - floor for place, floor in zip(places, low, strict=True)]
        y = np.zeros_like(x)
        for a in (0, 1):
            for b in (0, 1):
                weight = (share[0] if a else 1 - share[0]) * (share[1] if b else 1 - share[1])
                rows, columns = _inside(low[0] + a, height, fill_mode), _inside(low[1] + b, width, fill_mode)
                y += weight[..., None] * x[rows, columns]
    if fill_mode == "constant":
        y[beyond] = cval
    return y


def _inside(k: np.ndarray, size: int, fill_mode: str) -> np.ndarray:
    k = k.astype(np.int64)
    if fill_mode == "reflect":
        k = k % (2 * size)
        return np.where(k < size, k, 2 * size - 1 - k)
    return np.clip(k, 0, size - 1)


def _wrapped(position: np.ndarray, size: int) -> np.ndarray:
    """The positions inside an axis whose ends are one point, the last one."""
    period = max(size - 1, 1)
    inside = position % period
    return np.where((inside == 0) & (position > 0), size - 1, inside)


def channel_shift(x: np.ndarray, intensity: float) -> np.ndarray:
    """All channels brighter or darker by a number, within the image's own smallest and largest value."""
    return np.clip(x + x.dtype.type(intensity), x.min(), x.max())


def brightness(x: np.ndarray, factor: float) -> np.ndarray:
    """Whole numbers 0 .. 255 times a factor, cut to whole numbers again, as Pillow does; other ranges go there and back."""
    low, high = float(x.min()), float(x.max())
    outside = low < 0 or high > 255
    values = (x - low) / max(high - low, 1e-30) * 255 if outside else x
    values = np.clip(np.floor(np.floor(values) * np.float32(factor)), 0, 255).astype(x.dtype)
    return values / 255 * (high - low) + low if outside else values
