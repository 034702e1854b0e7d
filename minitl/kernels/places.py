"""Where rows of a product begin: index arrays for the register tile, shared by all plans that need the same one."""

from __future__ import annotations

import functools

import numpy as np

from minitl.ops.window import Pair


@functools.lru_cache(maxsize=256)
def steps(count: int, step: int) -> np.ndarray:
    """0, step, 2 step, ...: `count` of them."""
    return np.arange(count) * step


@functools.lru_cache(maxsize=64)
def window_places(out: Pair, strides: Pair, width: int, channels: int) -> np.ndarray:
    """Where the windows of all output pixels of an image begin, as offsets in it."""
    rows = np.arange(out[0])[:, None] * strides[0] * width
    return ((rows + np.arange(out[1]) * strides[1]) * channels).reshape(-1)


@functools.lru_cache(maxsize=256)
def entry_places(kernel: tuple[int, ...], dilation: Pair, width: int, channels: int) -> np.ndarray:
    """Where the pixel lies that an entry (a, b, c) of the kernel sees, as an offset in the window."""
    rows = np.arange(kernel[0])[:, None] * dilation[0] * width + np.arange(kernel[1]) * dilation[1]
    return (rows[:, :, None] * channels + np.arange(channels)).reshape(-1)
