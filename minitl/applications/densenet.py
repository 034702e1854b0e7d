"""DenseNets: every layer sees all maps of its block before it, and adds 32 of its own.

Source: G. Huang et al., arXiv 1608.06993; layer names and files of `keras.applications`.
"""

from __future__ import annotations

from typing import Any

from minitl.applications import imagenet
from minitl.applications.network import finish, image_input, member, published, top
from minitl.graph.value import Value
from minitl.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    MaxPooling2D,
    ZeroPadding2D,
)
from minitl.models import Model

BASE = "https://storage.googleapis.com/tensorflow/keras-applications/densenet/densenet"
GROWTH = 32
# Layers per block, and the checksums of the files with and without the top.
KINDS = {
    121: ((6, 12, 24, 16), "9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"),
    169: ((6, 12, 32, 32), "d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"),
    201: ((6, 12, 48, 32), "1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"),
}


def DenseNet(
    depth: int, include_top: bool = True, weights: Any = "imagenet", input_tensor: Any = None, input_shape: Any = None,
    pooling: str | None = None, classes: int = 1000, classifier_activation: Any = "softmax", name: str | None = None,
) -> Model:  # fmt: skip
    """A network by its depth: 121, 169 or 201 layers; the other arguments as `keras.applications.DenseNet121`."""
    blocks, whole, without = KINDS[depth]
    inputs = image_input(input_shape, 224, include_top, weights, input_tensor=input_tensor)
    x = Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(ZeroPadding2D(3)(inputs))
    x = Activation("relu", name="conv1_relu")(_normalised(x, "conv1_bn"))
    x = MaxPooling2D(3, strides=2, name="pool1")(ZeroPadding2D(1)(x))
    for stage, layers in enumerate(blocks, 2):
        for number in range(1, layers + 1):
            x = _layer(x, f"conv{stage}_block{number}")
        if stage < 5:
            x = _transition(x, f"pool{stage}")
    x = Activation("relu", name="relu")(_normalised(x, "bn"))
    x = top(x, include_top, pooling, classes, classifier_activation, pool_name="avg_pool")
    files = published(f"{BASE}{depth}_weights_tf_dim_ordering_tf_kernels", whole, without)
    return finish(inputs, x, name or f"densenet{depth}", weights, files, None, include_top, classes)


DenseNet121 = member(DenseNet, 121, "DenseNet121")
DenseNet169 = member(DenseNet, 169, "DenseNet169")
DenseNet201 = member(DenseNet, 201, "DenseNet201")


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as these networks want them: x / 255, less means, over deviations."""
    return imagenet.preprocess_input(x, data_format, "torch")


decode_predictions = imagenet.decode_predictions


def _normalised(x: Value, name: str) -> Value:
    return BatchNormalization(epsilon=1.001e-5, name=name)(x)


def _layer(x: Value, name: str) -> Value:
    """A 1x1 convolution to four times the growth, a 3x3 one to 32 new maps, behind those that were there."""
    y = Activation("relu", name=f"{name}_0_relu")(_normalised(x, f"{name}_0_bn"))
    y = Conv2D(4 * GROWTH, 1, use_bias=False, name=f"{name}_1_conv")(y)
    y = Activation("relu", name=f"{name}_1_relu")(_normalised(y, f"{name}_1_bn"))
    y = Conv2D(GROWTH, 3, padding="same", use_bias=False, name=f"{name}_2_conv")(y)
    return Concatenate(name=f"{name}_concat")([x, y])


def _transition(x: Value, name: str) -> Value:
    """Half the channels, and half the size."""
    channels: int = x.shape[-1]  # type: ignore[assignment]
    x = Activation("relu", name=f"{name}_relu")(_normalised(x, f"{name}_bn"))
    x = Conv2D(channels // 2, 1, use_bias=False, name=f"{name}_conv")(x)
    return AveragePooling2D(2, strides=2, name=f"{name}_pool")(x)
