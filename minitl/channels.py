"""Where the channels of images stand: last, in all of minitl; for programs that have them first, images are turned at the border.

After `set_first(True)` (which `backend.set_image_data_format("channels_first")` calls), input shapes that a program gives are
(C, H, W). Arrays (N, C, H, W) that reach a model, as data or as targets, or an image generator, are turned once, and so are
images that `predict` gives. Inside, and in what a generator yields, images are (N, H, W, C); an axis 1 that a program gives for
channels is the last one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

_first = False


def set_first(value: bool) -> None:
    """Whether the program's images have their channels first."""
    global _first
    _first = bool(value)


def are_first() -> bool:
    """Whether the program's images have their channels first."""
    return _first


@contextlib.contextmanager
def inside() -> Iterator[None]:
    """In the block shapes are minitl's own, not the program's: of files, copies, and what was turned before."""
    global _first
    before, _first = _first, False
    try:
        yield
    finally:
        _first = before


def inner_shape(shape: Any) -> tuple[int | None, ...]:
    """One sample's shape as minitl has it."""
    shape = tuple(shape)
    return (*shape[1:], shape[0]) if _first and len(shape) == 3 else shape


def inner_images(x: np.ndarray, expected: Any = None) -> np.ndarray:
    """Images as minitl has them: turned if the program's have their channels first, and these are such.

    Parameters: `expected` is the shape that they should have then, with the batch; without it, few channels in front tell.
    """
    if not _first or x.ndim != 4:
        return x
    turned = x.transpose(0, 2, 3, 1)
    if expected is None:
        return turned if x.shape[1] <= 4 < x.shape[3] else x
    fits = all(e is None or e == n for e, n in zip(expected, turned.shape, strict=False)) and len(expected) == 4
    return np.ascontiguousarray(turned) if fits else x


def outer_images(x: np.ndarray) -> np.ndarray:
    """What a model made, as the program's images are."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if _first and x.ndim == 4 else x


def inner_axis(axis: Any) -> Any:
    """The axis of the channels: the last one, where a program with channels first says 1."""
    return -1 if _first and axis == 1 else axis
