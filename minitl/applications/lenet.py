"""LeNet-5, as it is taught: two convolutions with average-pooling, three dense layers, tanh.

Source: Y. LeCun et al., Gradient-based learning applied to document recognition, 1998.
"""

from __future__ import annotations

from typing import Any

from minitl.applications.network import finish, image_input, pooled
from minitl.layers import AveragePooling2D, Conv2D, Dense, Flatten
from minitl.models import Model


def LeNet5(
    include_top: bool = True, weights: Any = None, input_tensor: Any = None, input_shape: Any = (32, 32, 1),
    pooling: str | None = None, classes: int = 10, classifier_activation: Any = "softmax", name: str = "lenet5",
) -> Model:  # fmt: skip
    """The network for characters of 32x32 pixels; there are no published weights, `weights` is None or a file."""
    inputs = image_input(input_shape, 32, include_top, weights, 28, input_tensor)
    x = AveragePooling2D(2, name="pool1")(Conv2D(6, 5, activation="tanh", name="conv1")(inputs))
    x = AveragePooling2D(2, name="pool2")(Conv2D(16, 5, activation="tanh", name="conv2")(x))
    if include_top:
        x = Dense(120, activation="tanh", name="fc1")(Flatten(name="flatten")(x))
        x = Dense(84, activation="tanh", name="fc2")(x)
        x = Dense(classes, activation=classifier_activation, name="predictions")(x)
    else:
        x = pooled(x, pooling)
    return finish(inputs, x, name, weights, {}, None, include_top, classes)
