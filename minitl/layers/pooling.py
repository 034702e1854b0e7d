"""Pooling: windows of an image, or the whole of it, become one number per channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.backend import op
from minitl.graph.plan import Need
from minitl.layers.base import Layer, Shape
from minitl.layers.conv import image_channels, padding_name, pair, windows_shape
from minitl.ops.window import Pair


class Pooling2D(Layer):
    """What max- and average-pooling share. `strides=None` means windows side by side.

    Shapes: x (N, H, W, C), y (N, H_out, W_out, C).
    Errors: ValueError for sizes below 1, an unknown padding, or a window larger than a `valid` image.
    """

    operation: str

    def __init__(self, pool_size: int | Pair = (2, 2), strides: int | Pair | None = None, padding: str = "valid", **kwargs: Any):
        super().__init__(**kwargs)
        self.pool_size = pair("pool_size", pool_size)
        self.strides = self.pool_size if strides is None else pair("strides", strides)
        self.padding = padding_name(padding)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """Every window's maximum or mean."""
        return op(self.operation).forward(x, self.pool_size, self.strides, self.padding)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, to the winners or in equal shares."""
        return op(self.operation).backward(dy, cache), {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, H_out, W_out, C)."""
        return windows_shape(input_shape, self.pool_size, self.strides, self.padding, image_channels(input_shape))


class MaxPooling2D(Pooling2D):
    """Every window hands on its largest element. Source: `minitl.ops.max_pool2d`."""

    operation = "max_pool2d"


class AveragePooling2D(Pooling2D):
    """Every window hands on its mean, padding left out. Source: `minitl.ops.average_pool2d`."""

    operation = "average_pool2d"


class GlobalPooling2D(Layer):
    """What global pooling shares. Shapes: x (N, H, W, C), y (N, C), or (N, 1, 1, C) with `keepdims`."""

    def __init__(self, keepdims: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.keepdims = keepdims

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, C), or (N, 1, 1, C)."""
        channels = image_channels(input_shape)
        return (input_shape[0], 1, 1, channels) if self.keepdims else (input_shape[0], channels)


class GlobalAveragePooling2D(GlobalPooling2D):
    """The mean of every channel. Source: `minitl.ops.global_average_pool2d`."""

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """y = the mean over height and width."""
        y, cache = op("global_average_pool2d").forward(x)
        return y[:, None, None] if self.keepdims else y, cache

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx = dy / (H W)."""
        return op("global_average_pool2d").backward(dy.reshape(len(dy), dy.shape[-1]), cache), {}


class GlobalMaxPooling2D(GlobalPooling2D):
    """The largest entry of every channel. Source: `minitl.ops.max_pool2d`."""

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The maximum over height and width: one window, as large as the image."""
        window = x.shape[1], x.shape[2]
        y, cache = op("max_pool2d").forward(x, window, window, "valid")
        return y if self.keepdims else y[:, 0, 0], cache

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, to the winners."""
        return op("max_pool2d").backward(dy.reshape(len(dy), 1, 1, dy.shape[-1]), cache), {}


MaxPool2D = MaxPooling2D
AvgPool2D = AveragePooling2D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalMaxPool2D = GlobalMaxPooling2D


def __getattr__(name: str) -> Any:  # other layers, which older programs import from here
    from minitl.legacy.modules import elsewhere

    return elsewhere("layers", name)
