"""Convolutions that take channels apart: depthwise, and depthwise with a 1x1 convolution behind it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minitl import initializers, regularizers
from minitl.backend import op
from minitl.errors import positive
from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.activations import Activated, chosen
from minitl.layers.conv import check_dilation, image_channels, padding_name, pair, windows_shape
from minitl.layers.linear import named
from minitl.ops.window import Pair, reach


class DepthwiseConv2D(Activated):
    """Every channel has kernels of its own, and channels do not mix.

    Formula: y[n, i, j, c M + m] = activation(sum_{a, b} x[n, s_h i + a, s_w j + b, c] kernel[a, b, c, m] + bias[c M + m]).
    Shapes: x (N, H, W, C), depthwise_kernel (K_h, K_w, C, depth_multiplier), bias (C M,), y (N, H_out, W_out, C M).
    Errors: ValueError as `Conv2D`.
    Source: `minitl.ops.depthwise_conv2d`.
    """

    constrained: ClassVar[dict[str, str]] = {"depthwise": "depthwise_kernel", "bias": "bias"}

    def __init__(
        self,
        kernel_size: int | Pair,
        strides: int | Pair = (1, 1),
        padding: str = "valid",
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        dilation_rate: int | Pair = (1, 1),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.kernel_size, self.strides = pair("kernel_size", kernel_size), pair("strides", strides)
        self.dilation_rate, self.padding = pair("dilation_rate", dilation_rate), padding_name(padding)
        self.depth_multiplier, self.use_bias = positive("depth_multiplier", depth_multiplier), use_bias
        self.activation = chosen(activation)
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        check_dilation(self)

    def build(self, input_shape: Shape) -> None:
        """Create kernel and bias."""
        channels = image_channels(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.add_weight("depthwise_kernel", shape, self.depthwise_initializer, self.depthwise_regularizer)
        if self.use_bias:
            self.add_weight("bias", (channels * self.depth_multiplier,), self.bias_initializer, self.bias_regularizer)

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """The convolution and its bias."""
        kernel, bias = self.kernel_of("depthwise_kernel"), self.parameters.get("bias")
        return op("depthwise_conv2d").forward(x, kernel, bias, self.strides, self.padding, self.dilation_rate)

    def linear_backward(self, dz: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of kernel and bias."""
        dx, dkernel, dbias = op("depthwise_conv2d").backward(dz, cache, *need)
        return dx, named(depthwise_kernel=dkernel, bias=dbias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, H_out, W_out, C M)."""
        window, channels = reach(self.kernel_size, self.dilation_rate), image_channels(input_shape)
        return windows_shape(input_shape, window, self.strides, self.padding, channels * self.depth_multiplier)


class SeparableConv2D(Activated):
    """A depthwise convolution, and a 1x1 convolution that mixes its channels.

    Formula: y = activation(conv_1x1(depthwise(x)) + bias).
    Shapes: x (N, H, W, C), depthwise_kernel (K_h, K_w, C, M), pointwise_kernel (1, 1, C M, filters), y (N, H_out, W_out,
    filters).
    Errors: ValueError as `Conv2D`.
    Source: `minitl.ops.depthwise_conv2d`, `minitl.ops.conv2d`; F. Chollet, Xception, arXiv 1610.02357.
    """

    constrained: ClassVar[dict[str, str]] = {"depthwise": "depthwise_kernel", "pointwise": "pointwise_kernel", "bias": "bias"}

    def __init__(
        self,
        filters: int,
        kernel_size: int | Pair,
        strides: int | Pair = (1, 1),
        padding: str = "valid",
        dilation_rate: int | Pair = (1, 1),
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters, self.depth_multiplier = positive("filters", filters), positive("depth_multiplier", depth_multiplier)
        self.kernel_size, self.strides = pair("kernel_size", kernel_size), pair("strides", strides)
        self.dilation_rate, self.padding = pair("dilation_rate", dilation_rate), padding_name(padding)
        self.activation, self.use_bias = chosen(activation), use_bias
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.pointwise_initializer = initializers.get(pointwise_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.pointwise_regularizer = regularizers.get(pointwise_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        check_dilation(self)

    def build(self, input_shape: Shape) -> None:
        """Create the two kernels, and the bias."""
        channels = image_channels(input_shape)
        middle = channels * self.depth_multiplier
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.add_weight("depthwise_kernel", shape, self.depthwise_initializer, self.depthwise_regularizer)
        shape = (1, 1, middle, self.filters)
        self.add_weight("pointwise_kernel", shape, self.pointwise_initializer, self.pointwise_regularizer)
        if self.use_bias:
            self.add_weight("bias", (self.filters,), self.bias_initializer, self.bias_regularizer)

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """The two convolutions and the bias."""
        depthwise, pointwise = self.kernel_of("depthwise_kernel"), self.kernel_of("pointwise_kernel")
        middle, first = op("depthwise_conv2d").forward(x, depthwise, None, self.strides, self.padding, self.dilation_rate)
        z, second = op("conv2d").forward(middle, pointwise, self.parameters.get("bias"))
        return z, (first, second)

    def linear_backward(self, dz: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """Back through the 1x1 convolution, then through the depthwise one."""
        d_middle, d_pointwise, dbias = op("conv2d").backward(dz, cache[1], True, need.parameters)
        dx, d_depthwise, _ = op("depthwise_conv2d").backward(d_middle, cache[0], *need)
        return dx, named(depthwise_kernel=d_depthwise, pointwise_kernel=d_pointwise, bias=dbias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, H_out, W_out, filters)."""
        window = reach(self.kernel_size, self.dilation_rate)
        return windows_shape(input_shape, window, self.strides, self.padding, self.filters)
