"""EfficientNet-Lite0: MobileNetV2's blocks with 3x3 and 5x5 windows, found by search; ImageNet 75.1 %, 4.65 million weights.

Source: M. Tan and Q. Le, arXiv 1905.11946; the Lite variant (ReLU6, no squeeze-and-excitation) is Google's, 2020.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minitl.applications import imagenet
from minitl.applications.network import finish, image_input, top
from minitl.graph.value import Value
from minitl.layers import Add, BatchNormalization, Conv2D, DepthwiseConv2D, ReLU
from minitl.models import Model

# Filters, window, stride of the first block, expansion, and how many blocks.
STAGES = (
    (16, 3, 1, 1, 1), (24, 3, 2, 6, 2), (40, 5, 2, 6, 2), (80, 3, 2, 6, 3), (112, 5, 1, 6, 3), (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
)  # fmt: skip


def EfficientNetLite0(
    include_top: bool = True, weights: Any = "imagenet", input_tensor: Any = None, input_shape: Any = None,
    pooling: str | None = None, classes: int = 1000, classifier_activation: Any = "softmax", name: str = "efficientnetlite0",
) -> Model:  # fmt: skip
    """The network with 16 inverted residual blocks; arguments as other networks have them.

    weights="imagenet" come with the package (float16). Inputs: `preprocess_input(x)`.
    """
    inputs = image_input(input_shape, 224, include_top, weights, input_tensor=input_tensor)
    x = Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(inputs)
    x = ReLU(6.0, name="stem_relu")(_normalised(x, "stem_bn"))
    number = 0
    for filters, window, stride, expansion, count in STAGES:
        for place in range(count):
            x = _block(x, filters, window, stride if place == 0 else 1, expansion, number)
            number += 1
    x = Conv2D(1280, 1, use_bias=False, name="head_conv")(x)
    x = ReLU(6.0, name="head_relu")(_normalised(x, "head_bn"))
    x = top(x, include_top, pooling, classes, classifier_activation, dropout=0.2, pool_name="avg_pool")
    if isinstance(weights, str) and weights == "imagenet":
        if include_top and classes != 1000:
            raise ValueError(f"{name}: weights='imagenet' has 1000 classes, got classes={classes}")
        weights = Path(__file__).parent / "efficientnet_lite0.npz"
    model = finish(inputs, x, name, weights, {}, torch_name, include_top, classes)
    if weights is not None:
        model.preprocessing = imagenet.preprocessing("lite")
    return model


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as this network wants them: (x - 127) / 128."""
    return imagenet.preprocess_input(x, data_format, "lite")


decode_predictions = imagenet.decode_predictions


def torch_name(path: str) -> str | None:
    """The name of a layer in the published PyTorch file: block3_depthwise is _blocks.3._depthwise_conv."""
    first = {
        "stem_conv": "_conv_stem", "stem_bn": "_bn0", "head_conv": "_conv_head", "head_bn": "_bn1", "predictions": "_fc",
    }  # fmt: skip
    inside = {
        "expand": "_expand_conv", "expand_bn": "_bn0", "depthwise": "_depthwise_conv", "depthwise_bn": "_bn1",
        "project": "_project_conv", "project_bn": "_bn2",
    }  # fmt: skip
    if path in first or not path.startswith("block"):
        return first.get(path)
    block, part = path.split("_", 1)
    return f"_blocks.{block[5:]}.{inside[part]}" if part in inside else None


def _normalised(x: Value, name: str) -> Value:
    return BatchNormalization(epsilon=1e-3, momentum=0.99, name=name)(x)


def _block(x: Value, filters: int, window: int, stride: int, expansion: int, number: int) -> Value:
    channels: int = x.shape[-1]  # type: ignore[assignment]
    name, y = f"block{number}", x
    if expansion > 1:
        y = Conv2D(expansion * channels, 1, use_bias=False, name=f"{name}_expand")(y)
        y = ReLU(6.0, name=f"{name}_expand_relu")(_normalised(y, f"{name}_expand_bn"))
    y = DepthwiseConv2D(window, stride, "same", use_bias=False, name=f"{name}_depthwise")(y)
    y = ReLU(6.0, name=f"{name}_depthwise_relu")(_normalised(y, f"{name}_depthwise_bn"))
    y = _normalised(Conv2D(filters, 1, use_bias=False, name=f"{name}_project")(y), f"{name}_project_bn")
    return Add(name=f"{name}_add")([x, y]) if channels == filters and stride == 1 else y
