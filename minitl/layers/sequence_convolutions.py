"""Other convolutions of sequences (N, L, C): those of images, on one row."""

from __future__ import annotations

from typing import Any

from minitl.layers.conv_transpose import Conv2DTranspose
from minitl.layers.depthwise import DepthwiseConv2D, SeparableConv2D
from minitl.layers.sequences import OfOneRow, single


class Conv1DTranspose(OfOneRow, Conv2DTranspose):
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
        output_padding: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            filters, (1, single(kernel_size)), (1, single(strides)), padding, activation, use_bias, kernel_initializer,
            bias_initializer, kernel_regularizer, bias_regularizer,
            None if output_padding is None else (0, single(output_padding)), **kwargs,
        )  # fmt: skip


class DepthwiseConv1D(OfOneRow, DepthwiseConv2D):
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
        super().__init__(
            (1, single(kernel_size)), (1, single(strides)), padding, depth_multiplier, activation, use_bias,
            depthwise_initializer, bias_initializer, depthwise_regularizer, bias_regularizer, (1, single(dilation_rate)),
            **kwargs,
        )  # fmt: skip


class SeparableConv1D(OfOneRow, SeparableConv2D):
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
        super().__init__(
            filters, (1, single(kernel_size)), (1, single(strides)), padding, (1, single(dilation_rate)), depth_multiplier,
            activation, use_bias, depthwise_initializer, pointwise_initializer, bias_initializer, depthwise_regularizer,
            pointwise_regularizer, bias_regularizer, **kwargs,
        )  # fmt: skip
