"""Inception v3: in each block several windows look at the same image side by side; 7x7 is made of 1x7 and 7x1.

Source: C. Szegedy et al., arXiv 1512.00567; the order and files of `keras.applications`.
"""

from __future__ import annotations

from typing import Any

from minitl.applications import imagenet
from minitl.applications.network import finish, image_input, published, top
from minitl.graph.value import Value
from minitl.layers import Activation, AveragePooling2D, BatchNormalization, Concatenate, Conv2D, MaxPooling2D
from minitl.models import Model

BASE = "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels"
FILES = published(BASE, "9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63")
# A branch is a list of convolutions: filters, rows and columns of the window.
Branch = list[tuple[int, int, int]]


def InceptionV3(
    include_top: bool = True, weights: Any = "imagenet", input_tensor: Any = None, input_shape: Any = None,
    pooling: str | None = None, classes: int = 1000, classifier_activation: Any = "softmax", name: str = "inception_v3",
) -> Model:  # fmt: skip
    """The network with 11 blocks, for images of 299 x 299; arguments as `keras.applications.InceptionV3`."""
    inputs = image_input(input_shape, 299, include_top, weights, smallest=75, input_tensor=input_tensor)
    x = convolution(inputs, 32, 3, 3, 2, "valid")
    x = convolution(convolution(x, 32, 3, 3, padding="valid"), 64, 3, 3)
    x = MaxPooling2D(3, strides=2)(x)
    x = convolution(convolution(x, 80, 1, 1, padding="valid"), 192, 3, 3, padding="valid")
    x = MaxPooling2D(3, strides=2)(x)
    for number, pooled in enumerate((32, 64, 64)):
        branches = [[(64, 1, 1)], [(48, 1, 1), (64, 5, 5)], [(64, 1, 1), (96, 3, 3), (96, 3, 3)]]
        x = mixed(x, branches, pooled, f"mixed{number}")
    x = shrunk(x, [[(384, 3, 3)], [(64, 1, 1), (96, 3, 3), (96, 3, 3)]], "mixed3")
    for number, k in enumerate((128, 160, 160, 192), 4):
        once = [(k, 1, 1), (k, 1, 7), (192, 7, 1)]
        twice = [(k, 1, 1), (k, 7, 1), (k, 1, 7), (k, 7, 1), (192, 1, 7)]
        x = mixed(x, [[(192, 1, 1)], once, twice], 192, f"mixed{number}")
    x = shrunk(x, [[(192, 1, 1), (320, 3, 3)], [(192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3)]], "mixed8")
    for number in range(2):
        x = _widest(x, number)
    x = top(x, include_top, pooling, classes, classifier_activation, pool_name="avg_pool")
    return finish(inputs, x, name, weights, FILES, None, include_top, classes)


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as this network wants them: x / 127.5 - 1."""
    return imagenet.preprocess_input(x, data_format, "tf")


decode_predictions = imagenet.decode_predictions


def convolution(
    x: Value, filters: int, rows: int, columns: int, stride: int = 1, padding: str = "same", name: str | None = None
) -> Value:
    """A convolution, normalised, and a ReLU."""
    x = Conv2D(filters, (rows, columns), strides=stride, padding=padding, use_bias=False, name=name)(x)
    x = BatchNormalization(scale=False, name=name and f"{name}_bn")(x)
    return Activation("relu", name=name and f"{name}_ac")(x)


def branch_of(x: Value, convolutions: Branch) -> Value:
    """Convolutions one behind the other."""
    for filters, rows, columns in convolutions:
        x = convolution(x, filters, rows, columns)
    return x


def mixed(x: Value, branches: list[Branch], pooled: int, name: str) -> Value:
    """Branches of the same size, and one that looks at means."""
    ends = [branch_of(x, branch) for branch in branches]
    ends.append(convolution(AveragePooling2D(3, strides=1, padding="same")(x), pooled, 1, 1))
    return Concatenate(name=name)(ends)


def shrunk(x: Value, branches: list[Branch], name: str) -> Value:
    """Branches whose last convolution takes every other pixel, and one of maxima."""
    ends = []
    for *before, last in branches:
        ends.append(convolution(branch_of(x, before), *last, stride=2, padding="valid"))
    return Concatenate(name=name)([*ends, MaxPooling2D(3, strides=2)(x)])


def _widest(x: Value, number: int) -> Value:
    """The last blocks, in which 3x3 is 1x3 and 3x1 side by side."""
    one = convolution(x, 320, 1, 1)
    y = convolution(x, 384, 1, 1)
    three = Concatenate(name=f"mixed9_{number}")([convolution(y, 384, 1, 3), convolution(y, 384, 3, 1)])
    y = branch_of(x, [(448, 1, 1), (384, 3, 3)])
    double = Concatenate()([convolution(y, 384, 1, 3), convolution(y, 384, 3, 1)])
    pooled = convolution(AveragePooling2D(3, strides=1, padding="same")(x), 192, 1, 1)
    return Concatenate(name=f"mixed{9 + number}")([one, three, double, pooled])
