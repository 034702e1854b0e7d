"""EfficientNetV2, B0 to B3, S, M and L: EfficientNet's blocks, and in the first stages 3x3 convolutions in their place.

A depthwise convolution moves more memory than it computes; with few channels on large images the whole convolution is faster.
The scaling of images is part of the network: it takes images 0 .. 255.
Source: M. Tan and Q. Le, arXiv 2104.00298; layer names and files of `keras.applications`, and torchvision's files.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from minitl.applications import efficientnet, imagenet
from minitl.applications.efficientnet import DROPPED, Rules, active, added, inverted, normalised, parts_of, start, torch_name
from minitl.applications.mobilenet_v2 import nearest_multiple
from minitl.applications.network import finish, image_input, is_of_torch, member, published, top
from minitl.graph.value import Value
from minitl.layers import Activation, Conv2D, Normalization, Rescaling, ZeroPadding2D
from minitl.models import Model

BASE = "https://storage.googleapis.com/tensorflow/keras-applications/efficientnet_v2/efficientnetv2-"


class Stage(NamedTuple):
    """Blocks: whole convolutions in the place of depthwise ones, stride of the first, expansion, filters, how many."""

    whole: bool
    stride: int
    expansion: int
    filters: int
    blocks: int


class Kind(NamedTuple):
    """Filters of the first convolution, the stages, width, depth, rows of the images, and the files' checksums."""

    first: int
    stages: tuple[Stage, ...]
    width: float
    depth: float
    rows: int
    checksum: str
    checksum_without_top: str


SCALED = (
    Stage(True, 1, 1, 16, 1), Stage(True, 2, 4, 32, 2), Stage(True, 2, 4, 48, 2), Stage(False, 2, 4, 96, 3),
    Stage(False, 1, 6, 112, 5), Stage(False, 2, 6, 192, 8),
)  # fmt: skip
SMALL = (
    Stage(True, 1, 1, 24, 2), Stage(True, 2, 4, 48, 4), Stage(True, 2, 4, 64, 4), Stage(False, 2, 4, 128, 6),
    Stage(False, 1, 6, 160, 9), Stage(False, 2, 6, 256, 15),
)  # fmt: skip
MEDIUM = (
    Stage(True, 1, 1, 24, 3), Stage(True, 2, 4, 48, 5), Stage(True, 2, 4, 80, 5), Stage(False, 2, 4, 160, 7),
    Stage(False, 1, 6, 176, 14), Stage(False, 2, 6, 304, 18), Stage(False, 1, 6, 512, 5),
)  # fmt: skip
LARGE = (
    Stage(True, 1, 1, 32, 4), Stage(True, 2, 4, 64, 7), Stage(True, 2, 4, 96, 7), Stage(False, 2, 4, 192, 10),
    Stage(False, 1, 6, 224, 19), Stage(False, 2, 6, 384, 25), Stage(False, 1, 6, 640, 7),
)  # fmt: skip
KINDS = {
    "b0": Kind(32, SCALED, 1.0, 1.0, 224, "21ecbf6da12460d5c40bb2f29ceb2188", "893217f2bb855e2983157299931e43ff"),
    "b1": Kind(32, SCALED, 1.0, 1.1, 240, "069f0534ff22adf035c89e2d9547a9dc", "0e80663031ca32d657f9caa404b6ec37"),
    "b2": Kind(32, SCALED, 1.1, 1.2, 260, "424e49f28180edbde1e94797771950a7", "1dfe2e7a5d45b6632553a8961ea609eb"),
    "b3": Kind(32, SCALED, 1.2, 1.4, 300, "1f1fc43bd98a6e4fd8fdfd551e02c7a0", "f6abf7b5849ac99a89b50dd3fd532856"),
    "s": Kind(24, SMALL, 1.0, 1.0, 384, "e1d88a8495beba45748fedd0cecbe016", "af0682fb74e8c54910f2d4393339c070"),
    "m": Kind(24, MEDIUM, 1.0, 1.0, 480, "a3bf6aa3276309f4fc6a34aa114c95cd", "1b8dc055df72dde80d614482840fe342"),
    "l": Kind(32, LARGE, 1.0, 1.0, 480, "27e6d408b53c7ebc868fefa357689935", "b0b66b5c863aef5b46e8608fe1711615"),
}


def EfficientNetV2(
    kind: str, include_top: bool = True, weights: Any = "imagenet", input_tensor: Any = None, input_shape: Any = None,
    pooling: str | None = None, classes: int = 1000, classifier_activation: Any = "softmax",
    include_preprocessing: bool = True, name: str | None = None,
) -> Model:  # fmt: skip
    """EfficientNetV2 "b0" .. "b3", "s", "m" or "l"; the other arguments as `keras.applications.EfficientNetV2B0`.

    A PyTorch file is taken for what it is: torchvision's network is built for it, which has other borders where the stride is 2
    and scales images differently.
    """
    first, stages, width, depth, rows, *checksums = KINDS[kind]
    torch = is_of_torch(weights)
    rules = Rules(momentum=0.9, depthwise="dwconv2", framed=torch, around=torch)
    inputs = image_input(input_shape, rows, include_top, weights, input_tensor=input_tensor)
    x = _scaled(inputs, kind, torch) if include_preprocessing else inputs
    x = active(_convolved(x, nearest_multiple(first * width), 3, 2, "stem_conv", torch), "stem_", rules)
    blocks = [
        (stage._replace(stride=stage.stride if place == 0 else 1), f"block{number}{chr(97 + place)}_")
        for number, stage in enumerate(stages, 1)
        for place in range(math.ceil(depth * stage.blocks))
    ]
    for place, (stage, label) in enumerate(blocks):
        filters, dropped = nearest_multiple(stage.filters * width), DROPPED * place / len(blocks)
        if stage.whole:
            x = _fused(x, filters, stage.stride, stage.expansion, label, dropped, rules)
        else:
            x = inverted(x, filters, 3, stage.stride, stage.expansion, label, dropped, rules)
    x = active(_convolved(x, nearest_multiple(1280 * width), 1, 1, "top_conv", torch), "top_", rules)
    x = top(x, include_top, pooling, classes, classifier_activation, dropout=0.2, pool_name="avg_pool")
    files = published(f"{BASE}{kind}", *checksums)
    parts = [parts_of(stage.expansion, stage.whole) for stage in stages]
    names = functools.partial(torch_name, parts)
    return finish(inputs, x, name or f"efficientnetv2-{kind}", weights, files, names, include_top, classes)


EfficientNetV2B0 = member(EfficientNetV2, "b0", "EfficientNetV2B0")
EfficientNetV2B1 = member(EfficientNetV2, "b1", "EfficientNetV2B1")
EfficientNetV2B2 = member(EfficientNetV2, "b2", "EfficientNetV2B2")
EfficientNetV2B3 = member(EfficientNetV2, "b3", "EfficientNetV2B3")
EfficientNetV2S = member(EfficientNetV2, "s", "EfficientNetV2S")
EfficientNetV2M = member(EfficientNetV2, "m", "EfficientNetV2M")
EfficientNetV2L = member(EfficientNetV2, "l", "EfficientNetV2L")


preprocess_input = efficientnet.preprocess_input
decode_predictions = imagenet.decode_predictions


def _scaled(x: Value, kind: str, torch: bool) -> Value:
    """Images 0 .. 255 as the weights want them."""
    if torch:
        return imagenet.preprocess_input(x, mode="tf" if kind == "l" else "torch")
    if kind.startswith("b") and x.shape[-1] == 3:
        statistics = imagenet.preprocessing("torch")
        variances = [deviation**2 for deviation in statistics.std]
        return Normalization(mean=statistics.mean, variance=variances)(Rescaling(1 / 255)(x))
    return Rescaling(1 / 128, offset=-1)(x)


def _convolved(x: Value, filters: int, window: int, stride: int, name: str, around: bool) -> Value:
    padding = "same"
    if stride == 2 and around:
        x, padding = ZeroPadding2D(window // 2, name=f"{name}_pad")(x), "valid"
    return Conv2D(filters, window, stride, padding, use_bias=False, kernel_initializer=start(), name=name)(x)


def _fused(x: Value, filters: int, stride: int, expansion: int, name: str, dropped: float, rules: Rules) -> Value:
    """A block with one 3x3 convolution to many channels in the place of a 1x1 and a depthwise one."""
    channels: int = x.shape[-1]  # type: ignore[assignment]
    if expansion > 1:
        y = active(_convolved(x, channels * expansion, 3, stride, f"{name}expand_conv", rules.around), f"{name}expand_", rules)
        y = normalised(_convolved(y, filters, 1, 1, f"{name}project_conv", rules.around), f"{name}project_bn", rules)
    else:
        y = normalised(_convolved(x, filters, 3, stride, f"{name}project_conv", rules.around), f"{name}project_bn", rules)
        y = Activation("swish", name=f"{name}project_activation")(y)
    return added(y, x, name, dropped) if stride == 1 and channels == filters else y
