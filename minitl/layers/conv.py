"""Convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.backend import op
from minitl.errors import positive, unknown
from minitl.layers.base import Shape
from minitl.layers.linear import Linear
from minitl.ops.window import Pair, reach, slide


class Conv2D(Linear):
    """The same small dense layer at every place of the image.

    Formula: y[n, i, j, f] = activation(sum_{a, b, c} x[n, s_h i + a, s_w j + b, c] kernel[a, b, c, f] + bias[f]).
    With a dilation rate d its entries see pixels that are d apart; with `groups` each part of the filters sees its part of the
    channels.
    Shapes: x (N, H, W, C), kernel (K_h, K_w, C / groups, filters), bias (filters,), y (N, H_out, W_out, filters).
    Errors: ValueError for sizes below 1, an unknown padding, or a kernel larger than a `valid` image.
    Source: `minitl.ops.conv2d`.
    """

    operation = "conv2d"

    def __init__(
        self,
        filters: int,
        kernel_size: int | Pair,
        strides: int | Pair = (1, 1),
        padding: str = "valid",
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        dilation_rate: int | Pair = (1, 1),
        groups: int = 1,
        **kwargs: Any,
    ):
        super().__init__(
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, **kwargs
        )
        self.dilation_rate, self.groups = pair("dilation_rate", dilation_rate), positive("groups", groups)
        self.filters = positive("filters", filters)
        self.kernel_size = pair("kernel_size", kernel_size)
        self.strides = pair("strides", strides)
        self.padding = padding_name(padding)
        if self.filters % self.groups:
            raise ValueError(f"Conv2D: filters={filters} do not fall into {groups} groups")
        check_dilation(self)

    @property
    def is_plain(self) -> bool:
        """Whether it has neither dilation nor groups."""
        return self.dilation_rate == (1, 1) and self.groups == 1

    def build(self, input_shape: Shape) -> None:
        """Create kernel and bias."""
        channels = image_channels(input_shape)
        if channels % self.groups:
            raise ValueError(f"{channels} channels do not fall into {self.groups} groups")
        self.add_kernel_and_bias((*self.kernel_size, channels // self.groups, self.filters), self.filters)

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """The convolution and its bias."""
        kernel, bias = self.kernel_of("kernel"), self.parameters.get("bias")
        return op("conv2d").forward(x, kernel, bias, self.strides, self.padding, self.dilation_rate, self.groups)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, H_out, W_out, filters)."""
        window = reach(self.kernel_size, self.dilation_rate)
        return windows_shape(input_shape, window, self.strides, self.padding, self.filters)


def check_dilation(layer: Any) -> None:
    """Raise ValueError for a layer with both strides and dilation, as Keras does."""
    if max(layer.strides) > 1 and max(layer.dilation_rate) > 1:
        raise ValueError(
            f"{type(layer).__name__}: strides {layer.strides} and dilation_rate {layer.dilation_rate} exclude each other"
        )


def pair(name: str, value: int | Pair) -> Pair:
    """One number for both axes, or two.

    Errors: ValueError for anything else than one or two whole numbers of at least 1.
    """
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name} must be one whole number or two, got {value!r}")
        return positive(name, value[0]), positive(name, value[1])
    return positive(name, value), positive(name, value)


def padding_name(padding: str) -> str:
    """Check a padding's name.

    Errors: ValueError for anything else than "valid" and "same".
    """
    if not isinstance(padding, str) or padding.lower() not in ("valid", "same"):
        raise unknown("padding", padding, ("valid", "same"))
    return padding.lower()


def image_channels(input_shape: Shape) -> int:
    """The number of channels of a batch of images (None, H, W, C).

    Errors: ValueError for any other shape.
    """
    if len(input_shape) != 4 or input_shape[3] is None:
        raise ValueError(f"needs images (N, H, W, C), got shape {input_shape}; grey images have C = 1")
    return input_shape[3]


def windows_shape(input_shape: Shape, window: Pair, strides: Pair, padding: str, channels: int) -> Shape:
    """The output shape of a sliding window; an open height or width stays open."""
    sizes = zip(input_shape[1:3], window, strides, strict=True)
    out = [None if size is None else slide(size, w, s, padding).out for size, w, s in sizes]
    return (input_shape[0], *out, channels)
