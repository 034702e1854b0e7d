"""Xception: depthwise separable convolutions all the way, with a skip around every two or three of them.

Source: F. Chollet, arXiv 1610.02357; layer names and files of `keras.applications`.
"""

from __future__ import annotations

from typing import Any

from minitl.applications import imagenet
from minitl.applications.network import finish, image_input, published, top
from minitl.graph.value import Value
from minitl.layers import Activation, Add, BatchNormalization, Conv2D, MaxPooling2D, SeparableConv2D
from minitl.models import Model

BASE = "https://storage.googleapis.com/tensorflow/keras-applications/xception/xception_weights_tf_dim_ordering_tf_kernels"
FILES = published(BASE, "0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97")


def Xception(
    include_top: bool = True, weights: Any = "imagenet", input_tensor: Any = None, input_shape: Any = None,
    pooling: str | None = None, classes: int = 1000, classifier_activation: Any = "softmax", name: str = "xception",
) -> Model:  # fmt: skip
    """The network with 14 blocks, for images of 299 x 299; arguments as `keras.applications.Xception`."""
    inputs = image_input(input_shape, 299, include_top, weights, smallest=71, input_tensor=input_tensor)
    x = inputs
    for number, (filters, stride) in enumerate(((32, 2), (64, 1)), 1):
        x = Conv2D(filters, 3, strides=stride, use_bias=False, name=f"block1_conv{number}")(x)
        x = BatchNormalization(name=f"block1_conv{number}_bn")(x)
        x = Activation("relu", name=f"block1_conv{number}_act")(x)
    for block, filters in ((2, 128), (3, 256), (4, 728)):
        x = _shrinking(x, f"block{block}", filters, filters, first=block == 2)
    for block in range(5, 13):
        y = x
        for number in (1, 2, 3):
            y = _separable(y, 728, f"block{block}_sepconv{number}")
        x = Add()([y, x])
    x = _shrinking(x, "block13", 728, 1024)
    for number, filters in ((1, 1536), (2, 2048)):
        x = _separable(x, filters, f"block14_sepconv{number}", before=False)
        x = Activation("relu", name=f"block14_sepconv{number}_act")(x)
    x = top(x, include_top, pooling, classes, classifier_activation, pool_name="avg_pool")
    return finish(inputs, x, name, weights, FILES, None, include_top, classes)


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as this network wants them: x / 127.5 - 1."""
    return imagenet.preprocess_input(x, data_format, "tf")


decode_predictions = imagenet.decode_predictions


def _separable(x: Value, filters: int, name: str, before: bool = True) -> Value:
    """ReLU before the convolution, and normalisation behind it."""
    if before:
        x = Activation("relu", name=f"{name}_act")(x)
    x = SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    return BatchNormalization(name=f"{name}_bn")(x)


def _shrinking(x: Value, name: str, middle: int, filters: int, first: bool = False) -> Value:
    """Two convolutions and a pooling, beside a 1x1 convolution that takes every other pixel."""
    skip = BatchNormalization()(Conv2D(filters, 1, strides=2, padding="same", use_bias=False)(x))
    y = _separable(x, middle, f"{name}_sepconv1", before=not first)
    y = _separable(y, filters, f"{name}_sepconv2")
    y = MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(y)
    return Add()([y, skip])
