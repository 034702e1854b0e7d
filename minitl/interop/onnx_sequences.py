"""Convolutions of sequences as nodes of ONNX, which has them for any number of axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minitl import layers
from minitl.interop.onnx_layers import Tensor, Written, conv_transpose, of_axes, window


def _depthwise(w: Any, layer: Any, x: Tensor) -> Written:
    return _of_channels(w, layer, x, layer.parameters.get("bias")), True


def _separable(w: Any, layer: Any, x: Tensor) -> Written:
    inputs = [_of_channels(w, layer, x, None), w.constant(layer.parameters["pointwise_kernel"].transpose(2, 1, 0))]
    bias = layer.parameters.get("bias")
    return w.node("Conv", inputs + ([] if bias is None else [w.constant(bias)]), kernel_shape=[1]), True


def _of_channels(w: Any, layer: Any, x: Tensor, bias: Any) -> str:
    kernel = layer.parameters["depthwise_kernel"]  # (K, C, M)
    turned = kernel.transpose(1, 2, 0).reshape(-1, 1, kernel.shape[0])
    strides, dilations = of_axes(layer.strides, x), of_axes(layer.dilation_rate, x)
    return window(w, x, turned, bias, strides, dilations, layer.padding, kernel.shape[1])


WRITERS_OF_SEQUENCES: dict[type, Callable[[Any, Any, Any], Written]] = {
    layers.DepthwiseConv1D: _depthwise,
    layers.SeparableConv1D: _separable,
    layers.Conv1DTranspose: conv_transpose,
}
