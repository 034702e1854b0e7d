"""Residual networks of the second kind: normalisation and ReLU come before the convolutions, and the skip stays clear.

Source: K. He et al., Identity mappings in deep residual networks, arXiv 1603.05027; layer names and files of
`keras.applications`, where a stage halves the size in its last block.
"""

from __future__ import annotations

from typing import Any

from minitl.applications import imagenet
from minitl.applications.network import finish, image_input, member, published, top
from minitl.applications.resnet import BLOCKS, KERAS, WIDTHS
from minitl.graph.value import Value
from minitl.layers import Activation, Add, BatchNormalization, Conv2D, MaxPooling2D, ZeroPadding2D
from minitl.models import Model

# The checksums of the files with and without the top.
KINDS = {
    50: ("3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917"),
    101: ("6343647c601c52e1368623803854d971", "c0ed64b8031c3730f411d2eb4eea35b5"),
    152: ("a49b44d1979771252814e80f8ec446f9", "ed17cf2e0169df9d443503ef94b23b33"),
}


def ResNetV2(
    depth: int, include_top: bool = True, weights: Any = "imagenet", input_tensor: Any = None, input_shape: Any = None,
    pooling: str | None = None, classes: int = 1000, classifier_activation: Any = "softmax", name: str | None = None,
) -> Model:  # fmt: skip
    """A network by its depth: 50, 101 or 152 layers; the other arguments as `keras.applications.ResNet50V2`."""
    whole, without = KINDS[depth]
    inputs = image_input(input_shape, 224, include_top, weights, input_tensor=input_tensor)
    x = Conv2D(64, 7, strides=2, name="conv1_conv")(ZeroPadding2D(3, name="conv1_pad")(inputs))
    x = MaxPooling2D(3, strides=2, name="pool1_pool")(ZeroPadding2D(1, name="pool1_pad")(x))
    for stage, (count, width) in enumerate(zip(BLOCKS[depth], WIDTHS, strict=True), 2):
        for number in range(1, count + 1):
            stride = 2 if number == count and stage < 5 else 1
            x = _block(x, width, stride, number == 1, f"conv{stage}_block{number}")
    x = Activation("relu", name="post_relu")(_normalised(x, "post_bn"))
    x = top(x, include_top, pooling, classes, classifier_activation, pool_name="avg_pool")
    files = published(f"{KERAS}/resnet{depth}v2_weights_tf_dim_ordering_tf_kernels", whole, without)
    return finish(inputs, x, name or f"resnet{depth}v2", weights, files, None, include_top, classes)


ResNet50V2 = member(ResNetV2, 50, "ResNet50V2")
ResNet101V2 = member(ResNetV2, 101, "ResNet101V2")
ResNet152V2 = member(ResNetV2, 152, "ResNet152V2")


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as these networks want them: x / 127.5 - 1."""
    return imagenet.preprocess_input(x, data_format, "tf")


decode_predictions = imagenet.decode_predictions


def _normalised(x: Value, name: str) -> Value:
    return BatchNormalization(epsilon=1.001e-5, name=name)(x)


def _block(x: Value, width: int, stride: int, first: bool, name: str) -> Value:
    before = Activation("relu", name=f"{name}_preact_relu")(_normalised(x, f"{name}_preact_bn"))
    skip = x
    if first:
        skip = Conv2D(4 * width, 1, strides=stride, name=f"{name}_0_conv")(before)
    elif stride > 1:
        skip = MaxPooling2D(1, strides=stride)(x)
    y = Conv2D(width, 1, use_bias=False, name=f"{name}_1_conv")(before)
    y = Activation("relu", name=f"{name}_1_relu")(_normalised(y, f"{name}_1_bn"))
    y = Conv2D(width, 3, strides=stride, use_bias=False, name=f"{name}_2_conv")(ZeroPadding2D(1, name=f"{name}_2_pad")(y))
    y = Activation("relu", name=f"{name}_2_relu")(_normalised(y, f"{name}_2_bn"))
    y = Conv2D(4 * width, 1, name=f"{name}_3_conv")(y)
    return Add(name=f"{name}_out")([skip, y])
