"""Transposed convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.backend import op
from minitl.errors import positive
from minitl.graph.value import Shape
from minitl.layers.conv import image_channels, padding_name, pair
from minitl.layers.linear import Linear
from minitl.ops.conv2d_transpose import output_shape
from minitl.ops.window import Pair


class Conv2DTranspose(Linear):
    """Every pixel paints its kernel onto a larger image: a convolution's backward pass as a layer.

    Formula: y_pad[n, s_h i + a, s_w j + b, f] += sum_c x[n, i, j, c] kernel[a, b, f, c], then bias and activation.
    Shapes: x (N, H, W, C), kernel (K_h, K_w, filters, C), bias (filters,); y (N, s_h H, s_w W, filters) for `same`, for `valid`
    larger by K - s where that is positive.
    Errors: ValueError for sizes below 1 or an unknown padding.
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
        **kwargs: Any,
    ):
        super().__init__(
            activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, **kwargs
        )
        self.filters, self.kernel_size = positive("filters", filters), pair("kernel_size", kernel_size)
        self.strides, self.padding = pair("strides", strides), padding_name(padding)

    def build(self, input_shape: Shape) -> None:
        """Create kernel and bias."""
        self.add_kernel_and_bias((*self.kernel_size, self.filters, image_channels(input_shape)), self.filters)

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """The transposed convolution and its bias."""
        kernel, bias = self.kernel_of("kernel"), self.parameters.get("bias")
        return op("conv2d_transpose").forward(x, kernel, bias, self.strides, self.padding)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, s_h H, s_w W, filters), or larger."""
        kernel, sizes = (*self.kernel_size, self.filters, image_channels(input_shape)), input_shape[1:3]
        closed = output_shape((1, *(n or 1 for n in sizes), kernel[3]), kernel, None, self.strides, self.padding)
        return (input_shape[0], *(n and out for n, out in zip(sizes, closed[1:3], strict=True)), self.filters)
