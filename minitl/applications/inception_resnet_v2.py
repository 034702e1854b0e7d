"""Inception-ResNet v2: what the branches of a block find is scaled down and added to what came in.

Source: C. Szegedy et al., arXiv 1602.07261; the order and files of `keras.applications`.
"""

from __future__ import annotations

from typing import Any

from minitl.applications import imagenet
from minitl.applications.inception_v3 import Branch, branch_of, convolution, mixed, shrunk
from minitl.applications.network import finish, image_input, published, top
from minitl.graph.value import Value
from minitl.layers import Activation, Add, Concatenate, Conv2D, MaxPooling2D, Rescaling
from minitl.models import Model

BASE = "https://storage.googleapis.com/tensorflow/keras-applications/inception_resnet_v2/"
FILES = published(
    f"{BASE}inception_resnet_v2_weights_tf_dim_ordering_tf_kernels",
    "e693bd0210a403b3192acc6073ad2e96",
    "d19885ff4a710c122648d3b5c3b684e4",
)
# The branches of each kind of block, and how much of what they find is added.
BLOCKS: dict[str, tuple[list[Branch], float]] = {
    "block35": ([[(32, 1, 1)], [(32, 1, 1), (32, 3, 3)], [(32, 1, 1), (48, 3, 3), (64, 3, 3)]], 0.17),
    "block17": ([[(192, 1, 1)], [(128, 1, 1), (160, 1, 7), (192, 7, 1)]], 0.1),
    "block8": ([[(192, 1, 1)], [(192, 1, 1), (224, 1, 3), (256, 3, 1)]], 0.2),
}


def InceptionResNetV2(
    include_top: bool = True, weights: Any = "imagenet", input_tensor: Any = None, input_shape: Any = None,
    pooling: str | None = None, classes: int = 1000, classifier_activation: Any = "softmax", name: str = "inception_resnet_v2",
) -> Model:  # fmt: skip
    """The network with 43 blocks, for images of 299 x 299; arguments as `keras.applications.InceptionResNetV2`."""
    inputs = image_input(input_shape, 299, include_top, weights, smallest=75, input_tensor=input_tensor)
    x = convolution(inputs, 32, 3, 3, 2, "valid")
    x = convolution(convolution(x, 32, 3, 3, padding="valid"), 64, 3, 3)
    x = MaxPooling2D(3, strides=2)(x)
    x = convolution(convolution(x, 80, 1, 1, padding="valid"), 192, 3, 3, padding="valid")
    x = MaxPooling2D(3, strides=2)(x)
    x = mixed(x, [[(96, 1, 1)], [(48, 1, 1), (64, 5, 5)], [(64, 1, 1), (96, 3, 3), (96, 3, 3)]], 64, "mixed_5b")
    x = _blocks(x, "block35", 10)
    x = shrunk(x, [[(384, 3, 3)], [(256, 1, 1), (256, 3, 3), (384, 3, 3)]], "mixed_6a")
    x = _blocks(x, "block17", 20)
    branches = [[(256, 1, 1), (384, 3, 3)], [(256, 1, 1), (288, 3, 3)], [(256, 1, 1), (288, 3, 3), (320, 3, 3)]]
    x = shrunk(x, branches, "mixed_7a")
    x = _block(_blocks(x, "block8", 9), "block8", 10, scale=1.0, activation=None)
    x = convolution(x, 1536, 1, 1, name="conv_7b")
    x = top(x, include_top, pooling, classes, classifier_activation, pool_name="avg_pool")
    return finish(inputs, x, name, weights, FILES, None, include_top, classes)


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as this network wants them: x / 127.5 - 1."""
    return imagenet.preprocess_input(x, data_format, "tf")


decode_predictions = imagenet.decode_predictions


def _blocks(x: Value, kind: str, count: int) -> Value:
    for number in range(1, count + 1):
        x = _block(x, kind, number, BLOCKS[kind][1])
    return x


def _block(x: Value, kind: str, number: int, scale: float, activation: str | None = "relu") -> Value:
    """x + scale (what the branches find, in as many channels as x)."""
    name = f"{kind}_{number}"
    found = Concatenate(name=f"{name}_mixed")([branch_of(x, branch) for branch in BLOCKS[kind][0]])
    channels = x.shape[-1]
    assert channels is not None  # of every image
    found = Conv2D(channels, 1, name=f"{name}_conv")(found)
    x = Add(name=name)([x, Rescaling(scale)(found)])
    return Activation(activation, name=f"{name}_ac")(x) if activation else x
