"""Residual networks for CIFAR-10, 20 to 56 layers deep, with parameter-free skips (option A).

Where the size halves and the channels double, the skip takes every other pixel and puts zeros around the channels.
Source: K. He et al., arXiv 1512.03385, section 4.2; names as in the published PyTorch files of Y. Idelbayev.
"""

from __future__ import annotations

from typing import Any

from minitl.applications import imagenet
from minitl.applications.network import Published, finish, image_input, top
from minitl.graph.value import Value
from minitl.layers import Add, AveragePooling2D, BatchNormalization, ChannelPadding, Conv2D, ReLU, ZeroPadding2D
from minitl.models import Model

BASE = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/d5489e8/pretrained_models"
# The files' names hold the beginnings of their SHA-256 checksums.
FILES = {
    depth: {"cifar10": Published(f"{BASE}/resnet{depth}-{prefix}.th", f"sha256-prefix:{prefix}")}
    for depth, prefix in ((20, "12fca82f"), (32, "d509ac18"), (44, "014dd654"), (56, "4bfd9763"))
}


def ResNet20(weights: Any = None, **settings: Any) -> Model:
    """Three stages of 3 blocks; see `ResNetCIFAR`."""
    return ResNetCIFAR(20, weights, **settings)


def ResNet32(weights: Any = None, **settings: Any) -> Model:
    """Three stages of 5 blocks; see `ResNetCIFAR`."""
    return ResNetCIFAR(32, weights, **settings)


def ResNet44(weights: Any = None, **settings: Any) -> Model:
    """Three stages of 7 blocks; see `ResNetCIFAR`."""
    return ResNetCIFAR(44, weights, **settings)


def ResNet56(weights: Any = None, **settings: Any) -> Model:
    """Three stages of 9 blocks; see `ResNetCIFAR`."""
    return ResNetCIFAR(56, weights, **settings)


def ResNetCIFAR(
    depth: int, weights: Any = None, include_top: bool = True, input_tensor: Any = None, input_shape: Any = (32, 32, 3),
    pooling: str | None = None, classes: int = 10, classifier_activation: Any = "softmax", name: str | None = None,
) -> Model:  # fmt: skip
    """A residual network of 6 n + 2 layers; `weights` is None, "cifar10" or a file. Inputs: `preprocess_input(x)`.

    Errors: ValueError for another depth.
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"ResNetCIFAR: depth must be 6 n + 2, such as 20 or 56, got {depth}")
    inputs = image_input(input_shape, 32, include_top, weights, 8, input_tensor)
    x = _convolution(inputs, 16, 1, "conv1", "bn1")
    x = ReLU(name="relu1")(x)
    for stage, width in enumerate((16, 32, 64), 1):
        for number in range((depth - 2) // 6):
            x = _block(x, width, 2 if stage > 1 and number == 0 else 1, f"layer{stage}_{number}")
    x = top(x, include_top, pooling, classes, classifier_activation, pool_name="avg_pool", name="linear")
    model = finish(
        inputs, x, name or f"resnet{depth}", weights, FILES.get(depth, {}), torch_name, include_top, classes
    )  # fmt: skip
    if weights is not None:
        model.preprocessing = imagenet.preprocessing("torch")
    return model


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as the published weights want them: x / 255, less ImageNet's means, over its deviations."""
    return imagenet.preprocess_input(x, data_format, "torch")


def torch_name(path: str) -> str | None:
    """The name of a layer in the published files: layer2_0_conv1 is layer2.0.conv1."""
    return path.replace("_", ".") if path.split("_")[-1] in ("conv1", "bn1", "conv2", "bn2", "linear") else None


def _convolution(x: Value, width: int, stride: int, name: str, norm: str) -> Value:
    if stride == 2:  # one pixel at both ends, as PyTorch pads
        x = ZeroPadding2D(1, name=f"{name}_pad")(x)
    x = Conv2D(width, 3, strides=stride, padding="valid" if stride == 2 else "same", use_bias=False, name=name)(x)
    return BatchNormalization(epsilon=1e-5, momentum=0.9, name=norm)(x)


def _block(x: Value, width: int, stride: int, name: str) -> Value:
    skip = x
    if stride == 2:
        skip = AveragePooling2D(1, strides=2, name=f"{name}_every_other")(x)  # windows of one pixel
        skip = ChannelPadding((width // 4, width // 4), name=f"{name}_channels")(skip)
    y = ReLU(name=f"{name}_relu1")(_convolution(x, width, stride, f"{name}_conv1", f"{name}_bn1"))
    y = _convolution(y, width, 1, f"{name}_conv2", f"{name}_bn2")
    return ReLU(name=f"{name}_out")(Add(name=f"{name}_add")([skip, y]))
