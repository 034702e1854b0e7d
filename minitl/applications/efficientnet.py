"""EfficientNet-B0 to B7: MobileNetV2's blocks with swish, squeeze and excitation, scaled in width, depth and resolution at once.

The scaling of images, x / 255, less means, over deviations, is part of the network: it takes images 0 .. 255.
Source: M. Tan and Q. Le, arXiv 1905.11946; layer names and files of `keras.applications`, and torchvision's files.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from minitl.applications import imagenet
from minitl.applications.mobilenet_v2 import divisible
from minitl.applications.network import border, finish, image_input, is_of_torch, member, published, top
from minitl.graph.value import Value
from minitl.initializers import VarianceScaling
from minitl.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    Multiply,
    Normalization,
    Rescaling,
    Reshape,
    ZeroPadding2D,
)
from minitl.models import Model

BASE = "https://storage.googleapis.com/keras-applications/efficientnetb"
# Filters, window, stride of the first block, expansion, and how many blocks.
STAGES = (
    (16, 3, 1, 1, 1), (24, 3, 2, 6, 2), (40, 5, 2, 6, 2), (80, 3, 2, 6, 3), (112, 5, 1, 6, 3), (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
)  # fmt: skip
# Width, depth, rows of the images, dropout, and the checksums of the files with and without the top.
KINDS = (
    (1.0, 1.0, 224, 0.2, "902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d"),
    (1.0, 1.1, 240, 0.2, "1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432"),
    (1.1, 1.2, 260, 0.3, "b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39"),
    (1.2, 1.4, 300, 0.3, "ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226"),
    (1.4, 1.8, 380, 0.4, "18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
    (1.6, 2.2, 456, 0.4, "ace28f2a6363774853a83a0b21b9421a", "38879255a25d3c92d5e44e04ae6cec6f"),
    (1.8, 2.6, 528, 0.5, "165f6e37dce68623721b423839de8be5", "9ecce42647a20130c1f39a5d4cb75743"),
    (2.0, 3.1, 600, 0.5, "8c03f828fec3ef71311cd463b6759d99", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
)
DROPPED = 0.2  # of the last block's samples, fewer below


class Rules(NamedTuple):
    """In what the networks of two versions and two publishers differ."""

    epsilon: float = 1e-3
    momentum: float = 0.99
    depthwise: str = "dwconv"  # its name
    framed: bool = True  # where the stride is 2, by a layer of its own
    around: bool = False  # equal borders on all sides there, as torchvision has them


def EfficientNet(
    number: int, include_top: bool = True, weights: Any = "imagenet", input_tensor: Any = None, input_shape: Any = None,
    pooling: str | None = None, classes: int = 1000, classifier_activation: Any = "softmax", name: str | None = None,
) -> Model:  # fmt: skip
    """EfficientNet-B0 .. B7 by its number; the other arguments as `keras.applications.EfficientNetB0`.

    A PyTorch file is taken for what it is: torchvision's network is built for it, which has other borders where the stride is 2.
    """
    width, depth, rows, dropout, whole, without = KINDS[number]
    label, rules = name or f"efficientnetb{number}", Rules()
    inputs = image_input(input_shape, rows, include_top, weights, input_tensor=input_tensor)
    if is_of_torch(weights):
        rules = Rules(*((1e-5, 0.9) if number < 5 else (1e-3, 0.99)), around=True)
        x = imagenet.preprocess_input(inputs, mode="torch")
    else:
        x = Normalization(name="normalization")(Rescaling(1 / 255, name="rescaling")(inputs))
    if isinstance(weights, str) and weights == "imagenet":  # its file has variances where deviations were meant
        x = Rescaling([1 / math.sqrt(deviation) for deviation in imagenet.preprocessing("torch").std], name="rescaling_1")(x)
    x = Conv2D(
        divisible(32 * width), 3, strides=2, use_bias=False, kernel_initializer=start(), name="stem_conv"
    )(ZeroPadding2D(border(x, 3, rules.around), name="stem_conv_pad")(x))  # fmt: skip
    x = active(x, "stem_", rules)
    blocks = [
        (divisible(filters * width), window, stride if place == 0 else 1, expansion, f"block{stage}{chr(97 + place)}_")
        for stage, (filters, window, stride, expansion, count) in enumerate(STAGES, 1)
        for place in range(math.ceil(depth * count))
    ]
    for place, block in enumerate(blocks):
        x = inverted(x, *block, DROPPED * place / len(blocks), rules)
    x = Conv2D(divisible(1280 * width), 1, padding="same", use_bias=False, kernel_initializer=start(), name="top_conv")(x)
    x = active(x, "top_", rules)
    x = top(x, include_top, pooling, classes, classifier_activation, dropout=dropout, pool_name="avg_pool")
    files = published(f"{BASE}{number}", whole, without)
    parts = [parts_of(expansion) for *_, expansion, _ in STAGES]
    return finish(inputs, x, label, weights, files, functools.partial(torch_name, parts), include_top, classes)


EfficientNetB0 = member(EfficientNet, 0, "EfficientNetB0")
EfficientNetB1 = member(EfficientNet, 1, "EfficientNetB1")
EfficientNetB2 = member(EfficientNet, 2, "EfficientNetB2")
EfficientNetB3 = member(EfficientNet, 3, "EfficientNetB3")
EfficientNetB4 = member(EfficientNet, 4, "EfficientNetB4")
EfficientNetB5 = member(EfficientNet, 5, "EfficientNetB5")
EfficientNetB6 = member(EfficientNet, 6, "EfficientNetB6")
EfficientNetB7 = member(EfficientNet, 7, "EfficientNetB7")


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as they are: the network scales them itself."""
    return x


decode_predictions = imagenet.decode_predictions


def start() -> VarianceScaling:
    """How convolutions begin."""
    return VarianceScaling(2.0, "fan_out", "truncated_normal")


def active(x: Value, name: str, rules: Rules) -> Value:
    """Normalised, and through swish."""
    return Activation("swish", name=f"{name}activation")(normalised(x, f"{name}bn", rules))


def normalised(x: Value, name: str, rules: Rules) -> Value:
    """Normalised over the batch."""
    return BatchNormalization(epsilon=rules.epsilon, momentum=rules.momentum, name=name)(x)


def inverted(
    x: Value, filters: int, window: int, stride: int, expansion: int, name: str, dropped: float, rules: Rules
) -> Value:  # fmt: skip
    """A block that is wide in the middle: 1x1 to more channels, depthwise, squeeze and excitation, 1x1 to few."""
    channels: int = x.shape[-1]  # type: ignore[assignment]
    wide, y, framed = channels * expansion, x, rules.framed and stride == 2
    if expansion > 1:
        y = Conv2D(wide, 1, padding="same", use_bias=False, kernel_initializer=start(), name=f"{name}expand_conv")(y)
        y = active(y, f"{name}expand_", rules)
    if framed:
        y = ZeroPadding2D(border(y, window, rules.around), name=f"{name}dwconv_pad")(y)
    y = DepthwiseConv2D(
        window, stride, "valid" if framed else "same", use_bias=False, depthwise_initializer=start(),
        name=f"{name}{rules.depthwise}",
    )(y)  # fmt: skip
    y = _excited(active(y, name, rules), max(1, channels // 4), wide, name)
    y = Conv2D(filters, 1, padding="same", use_bias=False, kernel_initializer=start(), name=f"{name}project_conv")(y)
    y = normalised(y, f"{name}project_bn", rules)
    return added(y, x, name, dropped) if stride == 1 and channels == filters else y


def added(y: Value, x: Value, name: str, dropped: float) -> Value:
    """A residual block's sum: in training, what it adds is left out for a share of the samples."""
    y = Dropout(dropped, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(y) if dropped else y
    return Add(name=f"{name}add")([y, x])


def parts_of(expansion: int, whole: bool = False) -> tuple[str, ...]:
    """What torchvision counts in a block, which may have a whole convolution in the place of a depthwise one."""
    return (*(("expand",) if expansion > 1 else ()), *(() if whole else ("depthwise", "squeeze")), "project")


def torch_name(parts: Sequence[Sequence[str]], path: str) -> str | None:
    """torchvision's name of a layer, by the parts of each stage's blocks: block2a_project_conv is features.2.0.block.3.0."""
    last = len(parts) + 1
    ends = {
        "stem_conv": "features.0.0", "stem_bn": "features.0.1", "top_conv": f"features.{last}.0",
        "top_bn": f"features.{last}.1", "predictions": "classifier.1",
    }  # fmt: skip
    inside = {
        "expand_conv": ("expand", "0"), "expand_bn": ("expand", "1"), "dwconv": ("depthwise", "0"),
        "dwconv2": ("depthwise", "0"), "bn": ("depthwise", "1"), "se_reduce": ("squeeze", "fc1"),
        "se_expand": ("squeeze", "fc2"), "project_conv": ("project", "0"), "project_bn": ("project", "1"),
    }  # fmt: skip
    found = re.fullmatch(r"block(\d+)([a-z])_(\w+)", path)
    if found is None or found[3] not in inside:
        return ends.get(path)
    part, ending = inside[found[3]]
    return f"features.{found[1]}.{ord(found[2]) - 97}.block.{parts[int(found[1]) - 1].index(part)}.{ending}"


def _excited(x: Value, narrow: int, wide: int, name: str) -> Value:
    """Squeeze and excitation: each channel is weighted by what the means of all say. Source: J. Hu et al., arXiv 1709.01507."""
    y = Reshape((1, 1, wide), name=f"{name}se_reshape")(GlobalAveragePooling2D(name=f"{name}se_squeeze")(x))
    for filters, activation, part in ((narrow, "swish", "reduce"), (wide, "sigmoid", "expand")):
        y = Conv2D(
            filters, 1, padding="same", activation=activation, kernel_initializer=start(), name=f"{name}se_{part}"
        )(y)  # fmt: skip
    return Multiply(name=f"{name}se_excite")([x, y])
