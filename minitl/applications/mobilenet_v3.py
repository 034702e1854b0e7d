"""MobileNetV3, small and large: MobileNetV2's blocks with squeeze and excitation, hard swish, and 5x5 windows, found by a search.

The scaling of images is part of the network: it takes images 0 .. 255.
Source: A. Howard et al., arXiv 1905.02244; layer names and files of `keras.applications`.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from minitl.applications import imagenet
from minitl.applications.mobilenet_v2 import divisible
from minitl.applications.network import border, finish, image_input, is_of_torch, member, pooled, published
from minitl.graph.value import Value
from minitl.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Multiply,
    ReLU,
    ZeroPadding2D,
)
from minitl.models import Model

BASE = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3"


class Block(NamedTuple):
    """Channels in the middle per channel of the input, filters, window, stride, and whether channels are weighted and swished."""

    expansion: float
    filters: int
    window: int
    stride: int
    squeeze: bool
    swish: bool


BLOCKS = {
    "small": (
        Block(1, 16, 3, 2, True, False), Block(72 / 16, 24, 3, 2, False, False), Block(88 / 24, 24, 3, 1, False, False),
        Block(4, 40, 5, 2, True, True), Block(6, 40, 5, 1, True, True), Block(6, 40, 5, 1, True, True),
        Block(3, 48, 5, 1, True, True), Block(3, 48, 5, 1, True, True), Block(6, 96, 5, 2, True, True),
        Block(6, 96, 5, 1, True, True), Block(6, 96, 5, 1, True, True),
    ),
    "large": (
        Block(1, 16, 3, 1, False, False), Block(4, 24, 3, 2, False, False), Block(3, 24, 3, 1, False, False),
        Block(3, 40, 5, 2, True, False), Block(3, 40, 5, 1, True, False), Block(3, 40, 5, 1, True, False),
        Block(6, 80, 3, 2, False, True), Block(2.5, 80, 3, 1, False, True), Block(2.3, 80, 3, 1, False, True),
        Block(2.3, 80, 3, 1, False, True), Block(6, 112, 3, 1, True, True), Block(6, 112, 3, 1, True, True),
        Block(6, 160, 5, 2, True, True), Block(6, 160, 5, 1, True, True), Block(6, 160, 5, 1, True, True),
    ),
}  # fmt: skip
HEADS = {"small": 1024, "large": 1280}  # channels behind the mean
# The published widths, with the checksums of the files with and without the top.
FILES = {
    "small_224_0.75": ("cb65d4e5be93758266aa0a7f2c6708b7", "ebdb5cc8e0b497cd13a7c275d475c819"),
    "small_224_1.0": ("8768d4c2e7dee89b9d02b2d03d65d862", "d3e8ec802a04aa4fc771ee12a9a9b836"),
    "small_minimalistic_224_1.0": ("99cd97fb2fcdad2bf028eb838de69e37", "cde8136e733e811080d9fcd8a252f7e4"),
    "large_224_0.75": ("765b44a33ad4005b3ac83185abf1d0eb", "40af19a13ebea4e2ee0c676887f69a2e"),
    "large_224_1.0": ("59e551e166be033d707958cf9e29a6a7", "07fb09a5933dd0c8eaafa16978110389"),
    "large_minimalistic_224_1.0": ("675e7b876c45c57e9e63e6d90a36599c", "ec5221f64a2f6d1ef965a614bdae7973"),
}


def MobileNetV3(
    kind: str, input_shape: Any = None, alpha: float = 1.0, minimalistic: bool = False, include_top: bool = True,
    weights: Any = "imagenet", input_tensor: Any = None, classes: int = 1000, pooling: str | None = None,
    dropout_rate: float = 0.2, classifier_activation: Any = "softmax", include_preprocessing: bool = True,
    name: str | None = None,
) -> Model:  # fmt: skip
    """The "small" or the "large" network, `alpha` times as wide; arguments as `keras.applications.MobileNetV3Small`.

    `minimalistic` has 3x3 windows and ReLU alone. Where the stride is 2, Keras's network puts zeros behind the image,
    torchvision's around it, and they scale images differently. A PyTorch file is taken for what it is: torchvision's network is
    built for it.
    """
    label = name or f"MobileNetV3{kind.title()}"
    inputs, torch = image_input(input_shape, 224, False, weights, input_tensor=input_tensor), is_of_torch(weights)
    x = imagenet.preprocess_input(inputs, mode="torch" if torch else "tf") if include_preprocessing else inputs
    x = ZeroPadding2D(1, name="conv_pad")(x) if torch else x
    x = _active(_convolved(x, 16, "conv", "conv_bn", 3, 2, "valid" if torch else "same"), not minimalistic)
    for number, block in enumerate(BLOCKS[kind]):
        if minimalistic:
            block = block._replace(window=3, squeeze=False, swish=False)
        x = _block(x, block, divisible(block.filters * alpha), number, torch)
    x = _convolved(x, divisible(6 * x.shape[-1]), "conv_1", "conv_1_bn")  # type: ignore[operator]
    x = _active(x, not minimalistic)
    if include_top:
        head = divisible(HEADS[kind] * alpha) if alpha > 1 else HEADS[kind]
        x = _classified(x, head, not minimalistic, dropout_rate, classes, classifier_activation, torch)
    else:
        x = pooled(x, pooling)
    version = f"{kind}{'_minimalistic' if minimalistic else ''}_224_{float(alpha)}"
    files = published(f"{BASE}_{version}_float", *FILES[version], ending="_no_top_v2") if version in FILES else {}
    return finish(inputs, x, label, weights, files, functools.partial(_torch_name, kind), include_top, classes)


MobileNetV3Small = member(MobileNetV3, "small", "MobileNetV3Small")
MobileNetV3Large = member(MobileNetV3, "large", "MobileNetV3Large")


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as they are: the network scales them itself."""
    return x


decode_predictions = imagenet.decode_predictions


def _convolved(
    x: Value, filters: int, name: str, normalisation: str, window: int = 1, stride: int = 1, padding: str = "same"
) -> Value:
    x = Conv2D(filters, window, stride, padding, use_bias=False, name=name)(x)
    return BatchNormalization(epsilon=1e-3, momentum=0.999, name=normalisation)(x)


def _active(x: Value, swish: bool) -> Value:
    return Activation("hard_swish")(x) if swish else ReLU()(x)


def _block(x: Value, block: Block, filters: int, number: int, torch: bool) -> Value:
    channels: int = x.shape[-1]  # type: ignore[assignment]
    name, y, wide = f"expanded_conv_{number}_" if number else "expanded_conv_", x, divisible(channels * block.expansion)
    if number:
        y = _active(_convolved(y, wide, f"{name}expand", f"{name}expand_bn"), block.swish)
    if block.stride == 2:
        y = ZeroPadding2D(border(y, block.window, torch), name=f"{name}depthwise_pad")(y)
    padding = "valid" if block.stride == 2 else "same"
    y = DepthwiseConv2D(block.window, block.stride, padding, use_bias=False, name=f"{name}depthwise")(y)
    y = _active(BatchNormalization(epsilon=1e-3, momentum=0.999, name=f"{name}depthwise_bn")(y), block.swish)
    if block.squeeze:
        y = _excited(y, wide, f"{name}squeeze_excite_")
    y = _convolved(y, filters, f"{name}project", f"{name}project_bn")
    return Add(name=f"{name}add")([x, y]) if block.stride == 1 and channels == filters else y


def _excited(x: Value, wide: int, name: str) -> Value:
    """Squeeze and excitation: each channel is weighted by what the means of all say. Source: J. Hu et al., arXiv 1709.01507."""
    y = GlobalAveragePooling2D(keepdims=True, name=f"{name}avg_pool")(x)
    y = ReLU(name=f"{name}relu")(Conv2D(divisible(wide / 4), 1, padding="same", name=f"{name}conv")(y))
    y = Activation("hard_sigmoid")(Conv2D(wide, 1, padding="same", name=f"{name}conv_1")(y))
    return Multiply(name=f"{name}mul")([x, y])


def _classified(x: Value, head: int, swish: bool, dropout: float, classes: int, activation: Any, torch: bool) -> Value:
    """The top: Keras's has convolutions of one pixel, torchvision's has dense layers."""
    x = GlobalAveragePooling2D(keepdims=not torch)(x)
    x = _active(Dense(head, name="conv_2")(x) if torch else Conv2D(head, 1, padding="same", name="conv_2")(x), swish)
    x = Dropout(dropout)(x) if dropout > 0 else x
    x = Dense(classes, name="logits")(x) if torch else Flatten()(Conv2D(classes, 1, padding="same", name="logits")(x))
    return Activation(activation, name="predictions")(x)


def _torch_name(kind: str, path: str) -> str | None:
    """torchvision's name of a layer: expanded_conv_3_project is features.4.block.3.0."""
    last = len(BLOCKS[kind]) + 1
    first = {
        "conv": "features.0.0", "conv_bn": "features.0.1", "conv_1": f"features.{last}.0", "conv_1_bn": f"features.{last}.1",
        "conv_2": "classifier.0", "logits": "classifier.3",
    }  # fmt: skip
    if path in first or not path.startswith("expanded_conv_"):
        return first.get(path)
    number, _, part = path.removeprefix("expanded_conv_").partition("_")
    if not number.isdigit():
        number, part = "0", path.removeprefix("expanded_conv_")
    depthwise = 1 if int(number) else 0
    project = depthwise + (2 if BLOCKS[kind][int(number)].squeeze else 1)
    inside = {
        "expand": "0.0", "expand_bn": "0.1", "depthwise": f"{depthwise}.0", "depthwise_bn": f"{depthwise}.1",
        "squeeze_excite_conv": f"{depthwise + 1}.fc1", "squeeze_excite_conv_1": f"{depthwise + 1}.fc2",
        "project": f"{project}.0", "project_bn": f"{project}.1",
    }  # fmt: skip
    return f"features.{int(number) + 1}.block.{inside[part]}" if part in inside else None
