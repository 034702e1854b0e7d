"""Transposed convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl import initializers, regularizers
from minitl.activations import name_of
from minitl.backend import op
from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.activations import Activated
from minitl.layers.conv import image_channels, padding_name, pair
from minitl.layers.core import named, positive
from minitl.ops.window import Pair


class Conv2DTranspose(Activated):
    """Every pixel paints its kernel onto a larger image: a convolution's backward pass as a layer.

    Formula: y_pad[n, s_h i + a, s_w j + b, f] += sum_c x[n, i, j, c] kernel[a, b, f, c], then bias and activation.
    Shapes: x (N, H, W, C), kernel (K_h, K_w, filters, C), bias (filters,); y (N, s_h H, s_w W, filters) for `same`, for `valid`
    larger by K - s where that is positive.
    Errors: ValueError for sizes below 1 or an unknown padding.
    Source: `minitl.ops.conv2d_transpose`.
    """

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
        super().__init__(**kwargs)
        self.filters, self.kernel_size = positive("filters", filters), pair("kernel_size", kernel_size)
        self.strides, self.padding = pair("strides", strides), padding_name(padding)
        self.activation, self.use_bias = name_of(activation), use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def build(self, input_shape: Shape) -> None:
        """Create kernel and bias."""
        shape = (*self.kernel_size, self.filters, image_channels(input_shape))
        self.add_weight("kernel", shape, self.kernel_initializer, self.kernel_regularizer)
        if self.use_bias:
            self.add_weight("bias", (self.filters,), self.bias_initializer, self.bias_regularizer)

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """The transposed convolution and its bias."""
        kernel, bias = self.parameters["kernel"], self.parameters.get("bias")
        return op("conv2d_transpose").forward(x, kernel, bias, self.strides, self.padding)

    def linear_backward(self, dz: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of kernel and bias."""
        dx, dkernel, dbias = op("conv2d_transpose").backward(dz, cache, *need)
        return dx, named(kernel=dkernel, bias=dbias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, s_h H, s_w W, filters), or larger."""
        sizes = zip(input_shape[1:3], self.kernel_size, self.strides, strict=True)
        more = [0 if self.padding == "same" else max(k - s, 0) for k, s in zip(self.kernel_size, self.strides, strict=True)]
        out = [None if n is None else n * s + extra for (n, _, s), extra in zip(sizes, more, strict=True)]
        return (input_shape[0], *out, self.filters)
