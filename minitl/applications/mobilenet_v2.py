"""MobileNetV2: inverted residual blocks, wide inside (1x1 to six times the channels, depthwise 3x3, 1x1 back), narrow outside.

Source: M. Sandler et al., arXiv 1801.04381; layer names and files of `keras.applications`.
"""

from __future__ import annotations

from typing import Any

from minitl.applications import imagenet
from minitl.applications.network import Published, border, finish, image_input, is_of_torch, published_size, top
from minitl.graph.value import Value
from minitl.layers import Add, BatchNormalization, Conv2D, DepthwiseConv2D, ReLU, ZeroPadding2D
from minitl.models import Model

BASE = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels"
# Filters and stride of the first block of a stage, and how many blocks it has.
STAGES = ((16, 1, 1), (24, 2, 2), (32, 2, 3), (64, 2, 4), (96, 1, 3), (160, 2, 3), (320, 1, 1))
SIZES = (96, 128, 160, 192, 224)


def MobileNetV2(
    input_shape: Any = None, alpha: float = 1.0, include_top: bool = True, weights: Any = "imagenet", input_tensor: Any = None,
    pooling: str | None = None, classes: int = 1000, classifier_activation: Any = "softmax", name: str | None = None,
) -> Model:  # fmt: skip
    """The network with 17 inverted residual blocks, `alpha` times as wide; arguments as `keras.applications.MobileNetV2`.

    Where the stride is 2, Keras's network puts zeros behind the image, torchvision's around it, and the epsilon of their
    normalisations differs. A PyTorch file is taken for what it is: torchvision's network is built for it.
    """
    inputs, torch = image_input(input_shape, 224, include_top, weights, input_tensor=input_tensor), is_of_torch(weights)
    x = ZeroPadding2D(1, name="Conv1_pad")(inputs) if torch else inputs
    x = Conv2D(divisible(32 * alpha), 3, 2, "valid" if torch else "same", use_bias=False, name="Conv1")(x)
    x = ReLU(6.0, name="Conv1_relu")(_normalised(x, "bn_Conv1", torch))
    number = 0
    for filters, stride, count in STAGES:
        for place in range(count):
            x = _block(x, divisible(int(filters * alpha)), stride if place == 0 else 1, number, torch)
            number += 1
    x = Conv2D(divisible(1280 * alpha) if alpha > 1 else 1280, 1, use_bias=False, name="Conv_1")(x)
    x = ReLU(6.0, name="out_relu")(_normalised(x, "Conv_1_bn", torch))
    x = top(x, include_top, pooling, classes, classifier_activation)
    rows = published_size(inputs, SIZES)
    files = {
        "imagenet": Published(f"{BASE}_{float(alpha)}_{rows}.h5"),
        "imagenet without top": Published(f"{BASE}_{float(alpha)}_{rows}_no_top.h5"),
    }
    known = alpha in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
    return finish(
        inputs, x, name or f"mobilenetv2_{alpha:0.2f}_{rows}", weights, files if known else {}, torch_name, include_top, classes
    )


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as this network wants them: x / 127.5 - 1."""
    return imagenet.preprocess_input(x, data_format, "tf")


decode_predictions = imagenet.decode_predictions


def divisible(filters: float, by: int = 8) -> int:
    """The nearest multiple of 8, but never a tenth less."""
    found = nearest_multiple(filters, by)
    return found + by if found < 0.9 * filters else found


def nearest_multiple(filters: float, by: int = 8) -> int:
    """The nearest multiple of 8, and at least that."""
    return max(by, int(filters + by / 2) // by * by)


def torch_name(path: str) -> str | None:
    """torchvision's name of a layer: block_2_expand is features.3.conv.0.0."""
    first = {
        "Conv1": "features.0.0", "bn_Conv1": "features.0.1", "Conv_1": "features.18.0", "Conv_1_bn": "features.18.1",
        "predictions": "classifier.1", "expanded_conv_depthwise": "features.1.conv.0.0",
        "expanded_conv_depthwise_BN": "features.1.conv.0.1", "expanded_conv_project": "features.1.conv.1",
        "expanded_conv_project_BN": "features.1.conv.2",
    }  # fmt: skip
    inside = {
        "expand": "0.0", "expand_BN": "0.1", "depthwise": "1.0", "depthwise_BN": "1.1", "project": "2", "project_BN": "3",
    }  # fmt: skip
    if path in first or not path.startswith("block_"):
        return first.get(path)
    _, number, part = path.split("_", 2)
    return f"features.{int(number) + 1}.conv.{inside[part]}" if part in inside else None


def _normalised(x: Value, name: str, torch: bool) -> Value:
    return BatchNormalization(epsilon=1e-5 if torch else 1e-3, momentum=0.9 if torch else 0.999, name=name)(x)


def _block(x: Value, filters: int, stride: int, number: int, torch: bool) -> Value:
    channels: int = x.shape[-1]  # type: ignore[assignment]
    name, y = f"block_{number}_" if number else "expanded_conv_", x
    if number:
        y = Conv2D(6 * channels, 1, padding="same", use_bias=False, name=f"{name}expand")(y)
        y = ReLU(6.0, name=f"{name}expand_relu")(_normalised(y, f"{name}expand_BN", torch))
    if stride == 2:
        y = ZeroPadding2D(border(y, 3, torch), name=f"{name}pad")(y)
    y = DepthwiseConv2D(3, stride, "same" if stride == 1 else "valid", use_bias=False, name=f"{name}depthwise")(y)
    y = ReLU(6.0, name=f"{name}depthwise_relu")(_normalised(y, f"{name}depthwise_BN", torch))
    y = Conv2D(filters, 1, padding="same", use_bias=False, name=f"{name}project")(y)
    y = _normalised(y, f"{name}project_BN", torch)
    return Add(name=f"{name}add")([x, y]) if channels == filters and stride == 1 else y
