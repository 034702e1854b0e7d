"""Transposed convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.backend import op
from minitl.errors import positive
from minitl.graph.value import Shape
from minitl.layers.conv import image_channels, padding_name, pair
from minitl.layers.linear import Linear
from minitl.ops.conv2d_transpose import beyond, placed
from minitl.ops.window import Pair


class Conv2DTranspose(Linear):
    """Every pixel paints its kernel onto a larger image: a convolution's backward pass as a layer.

    Formula: y_pad[n, s_h i + a, s_w j + b, f] += sum_c x[n, i, j, c] kernel[a, b, f, c], then bias and activation.
    Shapes: x (N, H, W, C), kernel (K_h, K_w, filters, C), bias (filters,); y (N, s_h H, s_w W, filters) for `same`, for `valid`
    larger by K - s where that is positive. With `output_padding`, one number or two below the strides, s (H - 1) + K pixels and
    as many more, less K // 2 at both ends for `same`.
    Errors: ValueError for sizes below 1, an unknown padding, or an output_padding that is not below the stride.
    Source: `minitl.ops.conv2d_transpose`.
    """

    operation = "conv2d_transpose"

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
        output_padding: int | Pair | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, **kwargs
        )
        self.filters, self.kernel_size = positive("filters", filters), pair("kernel_size", kernel_size)
        self.strides, self.padding = pair("strides", strides), padding_name(padding)
        self.output_padding = self._pixels_more(output_padding)

    def _pixels_more(self, given: Any) -> Pair | None:
        if given is None:
            return None
        both = tuple(given) if isinstance(given, (tuple, list)) else (given, given)
        if len(both) != 2 or not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in both):
            raise ValueError(f"output_padding must be None, one whole number or two, got {given!r}")
        for size, stride, pixels in zip(self.kernel_size, self.strides, both, strict=True):
            beyond(size, stride, pixels, self.padding)
        return int(both[0]), int(both[1])

    def build(self, input_shape: Shape) -> None:
        """Create kernel and bias."""
        self.add_kernel_and_bias((*self.kernel_size, self.filters, image_channels(input_shape)), self.filters)

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """The transposed convolution and its bias."""
        kernel, bias = self.kernel_of("kernel"), self.parameters.get("bias")
        return op("conv2d_transpose").forward(x, kernel, bias, self.strides, self.padding, self.output_padding)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, s_h H, s_w W, filters), or larger."""
        kernel, sizes = (*self.kernel_size, self.filters, image_channels(input_shape)), input_shape[1:3]
        closed = (1, *(n or max(self.kernel_size) for n in sizes), kernel[3])
        shape, _ = placed(closed, kernel, None, self.strides, self.padding, self.output_padding)
        return (input_shape[0], *(n and out for n, out in zip(sizes, shape[1:3], strict=True)), self.filters)
