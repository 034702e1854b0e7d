"""Other convolutions of sequences (N, L, C): those of images, on one row."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl import initializers, regularizers
from minitl.backend import op
from minitl.errors import positive
from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.activations import Activated, chosen
from minitl.layers.conv import check_dilation, padding_name, pair, windows_shape
from minitl.layers.linear import Linear, named
from minitl.layers.sequences import as_image, single
from minitl.ops.conv2d_transpose import output_shape
from minitl.ops.window import reach


class Conv1DTranspose(Linear):
    """Every step paints its kernel onto a longer sequence: a convolution's backward pass as a layer.

    Formula: y_pad[n, s i + a, f] += sum_c x[n, i, c] kernel[a, f, c], then bias and activation.
    Shapes: x (N, L, C), kernel (K, filters, C), bias (filters,); y (N, s L, filters) for `same`, longer by K - s where that is
    positive for `valid`.
    Errors: ValueError as `Conv2DTranspose`.
    Source: `minitl.ops.conv2d_transpose`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
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
        self.filters, self.padding = positive("filters", filters), padding_name(padding)
        self.kernel_size, self.strides = pair("kernel_size", (1, single(kernel_size))), pair("strides", (1, single(strides)))

    def build(self, input_shape: Shape) -> None:
        """Create kernel and bias."""
        self.add_kernel_and_bias((self.kernel_size[1], self.filters, as_image(self, input_shape)[3]), self.filters)  # type: ignore[arg-type]

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """The transposed convolution of the one row, and its bias."""
        kernel, bias = self.parameters["kernel"][None], self.parameters.get("bias")
        z, cache = op("conv2d_transpose").forward(x[:, None], kernel, bias, self.strides, self.padding)
        return np.ascontiguousarray(z[:, 0]), cache

    def linear_backward(self, dz: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of kernel and bias."""
        dx, dkernel, dbias = op("conv2d_transpose").backward(np.ascontiguousarray(dz)[:, None], cache, *need)
        return _step(dx, 1), named(kernel=_step(dkernel, 0), bias=dbias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, s L, filters), or longer."""
        length, channels = input_shape[1], as_image(self, input_shape)[3]
        kernel: Any = (*self.kernel_size, self.filters, channels)
        closed = output_shape((1, 1, length or 1, kernel[3]), kernel, None, self.strides, self.padding)
        return (input_shape[0], length and closed[2], self.filters)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer: one number per setting."""
        return _singles(super().get_config())


class DepthwiseConv1D(Activated):
    """Every channel has kernels of its own, and channels do not mix.

    Formula: y[n, i, c M + m] = activation(sum_a x[n, s i + a, c] kernel[a, c, m] + bias[c M + m]).
    Shapes: x (N, L, C), depthwise_kernel (K, C, depth_multiplier), bias (C M,), y (N, L_out, C M).
    Errors: ValueError as `DepthwiseConv2D`.
    Source: `minitl.ops.depthwise_conv2d`.
    """

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        dilation_rate: Any = 1,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        _windows(self, kernel_size, strides, padding, dilation_rate)
        self.depth_multiplier, self.use_bias = positive("depth_multiplier", depth_multiplier), use_bias
        self.activation = chosen(activation)
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def build(self, input_shape: Shape) -> None:
        """Create kernel and bias."""
        channels: Any = as_image(self, input_shape)[3]
        shape = (self.kernel_size[1], channels, self.depth_multiplier)
        self.add_weight("depthwise_kernel", shape, self.depthwise_initializer, self.depthwise_regularizer)
        if self.use_bias:
            self.add_weight("bias", (channels * self.depth_multiplier,), self.bias_initializer, self.bias_regularizer)

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """The convolution of the one row, and its bias."""
        kernel, bias = self.parameters["depthwise_kernel"][None], self.parameters.get("bias")
        z, cache = op("depthwise_conv2d").forward(x[:, None], kernel, bias, self.strides, self.padding, self.dilation_rate)
        return np.ascontiguousarray(z[:, 0]), cache

    def linear_backward(self, dz: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of kernel and bias."""
        dx, dkernel, dbias = op("depthwise_conv2d").backward(np.ascontiguousarray(dz)[:, None], cache, *need)
        return _step(dx, 1), named(depthwise_kernel=_step(dkernel, 0), bias=dbias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, L_out, C M)."""
        channels: Any = input_shape[2]
        return _shape(self, input_shape, channels * self.depth_multiplier)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer: one number per setting."""
        return _singles(super().get_config())


class SeparableConv1D(Activated):
    """A depthwise convolution, and a convolution of width 1 that mixes its channels.

    Formula: y = activation(conv_1(depthwise(x)) + bias).
    Shapes: x (N, L, C), depthwise_kernel (K, C, M), pointwise_kernel (1, C M, filters), y (N, L_out, filters).
    Errors: ValueError as `SeparableConv2D`.
    Source: `minitl.ops.depthwise_conv2d`, `minitl.ops.conv2d`; F. Chollet, Xception, arXiv 1610.02357.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        dilation_rate: Any = 1,
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
        _windows(self, kernel_size, strides, padding, dilation_rate)
        self.filters, self.depth_multiplier = positive("filters", filters), positive("depth_multiplier", depth_multiplier)
        self.activation, self.use_bias = chosen(activation), use_bias
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.pointwise_initializer = initializers.get(pointwise_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.pointwise_regularizer = regularizers.get(pointwise_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def build(self, input_shape: Shape) -> None:
        """Create the two kernels, and the bias."""
        channels: Any = as_image(self, input_shape)[3]
        shape = (self.kernel_size[1], channels, self.depth_multiplier)
        self.add_weight("depthwise_kernel", shape, self.depthwise_initializer, self.depthwise_regularizer)
        shape = (1, channels * self.depth_multiplier, self.filters)
        self.add_weight("pointwise_kernel", shape, self.pointwise_initializer, self.pointwise_regularizer)
        if self.use_bias:
            self.add_weight("bias", (self.filters,), self.bias_initializer, self.bias_regularizer)

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """The two convolutions of the one row, and the bias."""
        depthwise, pointwise = self.parameters["depthwise_kernel"][None], self.parameters["pointwise_kernel"][None]
        middle, first = op("depthwise_conv2d").forward(
            x[:, None], depthwise, None, self.strides, self.padding, self.dilation_rate
        )
        z, second = op("conv2d").forward(middle, pointwise, self.parameters.get("bias"))
        return np.ascontiguousarray(z[:, 0]), (first, second)

    def linear_backward(self, dz: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """Back through the mixing convolution, then through the depthwise one."""
        first, second = cache
        d_middle, d_pointwise, dbias = op("conv2d").backward(np.ascontiguousarray(dz)[:, None], second, True, need.parameters)
        dx, d_depthwise, _ = op("depthwise_conv2d").backward(d_middle, first, *need)
        gradients = named(depthwise_kernel=_step(d_depthwise, 0), pointwise_kernel=_step(d_pointwise, 0), bias=dbias)
        return _step(dx, 1), gradients

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, L_out, filters)."""
        return _shape(self, input_shape, self.filters)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer: one number per setting."""
        return _singles(super().get_config())


def _windows(layer: Any, kernel_size: Any, strides: Any, padding: str, dilation_rate: Any) -> None:
    layer.kernel_size, layer.strides = pair("kernel_size", (1, single(kernel_size))), pair("strides", (1, single(strides)))
    layer.dilation_rate, layer.padding = pair("dilation_rate", (1, single(dilation_rate))), padding_name(padding)
    check_dilation(layer)


def _shape(layer: Any, input_shape: Shape, channels: int) -> Shape:
    window = reach(layer.kernel_size, layer.dilation_rate)
    out = windows_shape(as_image(layer, input_shape), window, layer.strides, layer.padding, channels)
    return (out[0], *out[2:])


def _step(gradient: np.ndarray | None, axis: int) -> np.ndarray | None:
    """A gradient without the axis of the one row."""
    return None if gradient is None else np.take(gradient, 0, axis=axis)


def _singles(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value[1] if key in ("kernel_size", "strides", "dilation_rate") else value for key, value in config.items()}
