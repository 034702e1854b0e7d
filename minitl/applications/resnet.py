"""Residual networks for ImageNet: ResNet-18 and -34 as in torchvision, ResNet-50, -101 and -152 as in Keras.

A block computes y = relu(F(x) + x): its convolutions learn what is to be added. Where the size changes, the skip is a 1x1
convolution. ResNet-50 has bottlenecks: 1x1 to a quarter of the channels, 3x3, 1x1 back.
Source: K. He et al., Deep residual learning for image recognition, arXiv 1512.03385.
"""

from __future__ import annotations

from typing import Any

from minitl.applications import imagenet
from minitl.applications.network import Published, finish, image_input, is_of_torch, member, published, top
from minitl.graph.value import Value
from minitl.layers import Activation, Add, BatchNormalization, Conv2D, MaxPooling2D, ZeroPadding2D
from minitl.models import Model

KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/resnet"
TORCH = "https://download.pytorch.org/models"
FILES = {
    "resnet18": {"imagenet": Published(f"{TORCH}/resnet18-f37072fd.pth", "sha256-prefix:f37072fd")},
    "resnet34": {"imagenet": Published(f"{TORCH}/resnet34-b627a593.pth", "sha256-prefix:b627a593")},
}
for _depth, _whole, _without in (
    (50, "2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    (101, "f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    (152, "100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
):
    FILES[f"resnet{_depth}"] = published(f"{KERAS}/resnet{_depth}_weights_tf_dim_ordering_tf_kernels", _whole, _without)
WIDTHS = (64, 128, 256, 512)
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # per stage


def ResNet(
    depth: int, include_top: bool = True, weights: Any = "imagenet", input_tensor: Any = None, input_shape: Any = None,
    pooling: str | None = None, classes: int = 1000, classifier_activation: Any = "softmax", name: str | None = None,
) -> Model:  # fmt: skip
    """A network by its depth: 18 or 34, of blocks of two 3x3 convolutions, or 50, 101 or 152, of bottlenecks.

    The other arguments are those of `keras.applications.ResNet50`. Inputs: `preprocess_torch(x)` for 18 and 34, else
    `preprocess_input(x)`. Where a stage begins, Keras's network takes every other pixel in its first 1x1 convolution,
    torchvision's in the 3x3 one behind it. A PyTorch file is taken for what it is: torchvision's network is built for it.
    """
    label = f"resnet{depth}"
    block = _basic if depth < 50 else _bottleneck_torch if is_of_torch(weights) else _bottleneck
    inputs = image_input(input_shape, 224, include_top, weights, input_tensor=input_tensor)
    epsilon = 1.001e-5 if block is _bottleneck else 1e-5
    x = ZeroPadding2D(3, name="conv1_pad")(inputs)
    x = Conv2D(64, 7, strides=2, use_bias=block is _bottleneck, name="conv1_conv")(x)
    x = Activation("relu", name="conv1_relu")(BatchNormalization(epsilon=epsilon, name="conv1_bn")(x))
    x = MaxPooling2D(3, strides=2, name="pool1_pool")(ZeroPadding2D(1, name="pool1_pad")(x))
    for stage, (count, width) in enumerate(zip(BLOCKS[depth], WIDTHS, strict=True), 2):
        for number in range(1, count + 1):
            stride = 2 if stage > 2 and number == 1 else 1
            x = block(x, width, stride, number == 1, f"conv{stage}_block{number}", epsilon)
    x = top(x, include_top, pooling, classes, classifier_activation, pool_name="avg_pool")
    return finish(inputs, x, name or label, weights, FILES[label], torch_name, include_top, classes)


ResNet18 = member(ResNet, 18, "ResNet18")
ResNet34 = member(ResNet, 34, "ResNet34")
ResNet50 = member(ResNet, 50, "ResNet50")
ResNet101 = member(ResNet, 101, "ResNet101")
ResNet152 = member(ResNet, 152, "ResNet152")


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as Keras's ResNet-50 wants them: BGR, less the channels' means."""
    return imagenet.preprocess_input(x, data_format, "caffe")


def preprocess_torch(x: Any) -> Any:
    """Images 0 .. 255 as torchvision's networks want them: x / 255, less means, over deviations."""
    return imagenet.preprocess_input(x, None, "torch")


decode_predictions = imagenet.decode_predictions


def _basic(x: Value, width: int, stride: int, first: bool, name: str, epsilon: float) -> Value:
    skip = x
    if stride > 1:
        skip = Conv2D(width, 1, strides=stride, use_bias=False, name=f"{name}_0_conv")(x)
        skip = BatchNormalization(epsilon=epsilon, name=f"{name}_0_bn")(skip)
    y = _convolution(x, width, 3, stride, False, f"{name}_1", epsilon)
    y = _convolution(y, width, 3, 1, False, f"{name}_2", epsilon, activation=False)
    return Activation("relu", name=f"{name}_out")(Add(name=f"{name}_add")([skip, y]))


def _bottleneck(x: Value, width: int, stride: int, first: bool, name: str, epsilon: float, torch: bool = False) -> Value:
    skip, bias = x, not torch
    if first:
        skip = Conv2D(4 * width, 1, strides=stride, use_bias=bias, name=f"{name}_0_conv")(x)
        skip = BatchNormalization(epsilon=epsilon, name=f"{name}_0_bn")(skip)
    y = _convolution(x, width, 1, 1 if torch else stride, bias, f"{name}_1", epsilon)
    y = _convolution(y, width, 3, stride if torch else 1, bias, f"{name}_2", epsilon)
    y = _convolution(y, 4 * width, 1, 1, bias, f"{name}_3", epsilon, activation=False)
    return Activation("relu", name=f"{name}_out")(Add(name=f"{name}_add")([skip, y]))


def _bottleneck_torch(x: Value, width: int, stride: int, first: bool, name: str, epsilon: float) -> Value:
    return _bottleneck(x, width, stride, first, name, epsilon, torch=True)


def _convolution(
    x: Value, width: int, size: int, stride: int, bias: bool, name: str, epsilon: float, activation: bool = True
) -> Value:
    padding = "same"
    if size == 3 and stride == 2:  # one pixel at both ends, as PyTorch pads
        x, padding = ZeroPadding2D(1, name=f"{name}_pad")(x), "valid"
    x = Conv2D(width, size, strides=stride, padding=padding, use_bias=bias, name=f"{name}_conv")(x)
    x = BatchNormalization(epsilon=epsilon, name=f"{name}_bn")(x)
    return Activation("relu", name=f"{name}_relu")(x) if activation else x


def torch_name(path: str) -> str | None:
    """torchvision's name of a layer: conv3_block2_1_bn is layer2.1.bn1."""
    first = {"conv1_conv": "conv1", "conv1_bn": "bn1", "predictions": "fc"}
    if path in first:
        return first[path]
    parts = path.split("_")
    if len(parts) != 4 or parts[3] not in ("conv", "bn"):
        return None
    module = f"layer{int(parts[0][4:]) - 1}.{int(parts[1][5:]) - 1}"
    if parts[2] == "0":
        return f"{module}.downsample.{'0' if parts[3] == 'conv' else '1'}"
    return f"{module}.{parts[3]}{parts[2]}"
