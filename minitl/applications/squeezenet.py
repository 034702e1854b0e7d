"""SqueezeNet 1.0: fire modules, a 1x1 convolution to few channels and 1x1 and 3x3 ones back, side by side; 1.2 million weights.

Source: F. Iandola et al., arXiv 1602.07360; names as torchvision's.
"""

from __future__ import annotations

from typing import Any

from minitl.applications import imagenet
from minitl.applications.network import finish, image_input, pooled
from minitl.graph.value import Value
from minitl.layers import Activation, Concatenate, Conv2D, Dropout, GlobalAveragePooling2D, MaxPooling2D
from minitl.models import Model

# Place in torchvision's list -> filters of squeeze and of each half of expand; the poolings stand at 2, 6 and 11.
FIRES = {3: (16, 64), 4: (16, 64), 5: (32, 128), 7: (32, 128), 8: (48, 192), 9: (48, 192), 10: (64, 256), 12: (64, 256)}


def SqueezeNet(
    include_top: bool = True, weights: Any = None, input_tensor: Any = None, input_shape: Any = None,
    pooling: str | None = None, classes: int = 1000, classifier_activation: Any = "softmax", name: str = "squeezenet",
) -> Model:  # fmt: skip
    """The network with 8 fire modules. Inputs: `preprocess_input(x)`, or `preprocess_torch(x)` for torchvision's weights."""
    inputs = image_input(input_shape, 224, include_top, weights, input_tensor=input_tensor)
    x = Conv2D(96, 7, strides=2, activation="relu", name="conv1")(inputs)
    for place in range(2, 13):
        x = _fire(x, *FIRES[place], f"fire{place}") if place in FIRES else ceil_pooling(x, f"pool{place}")
    if include_top:
        x = Dropout(0.5, name="dropout")(x)
        x = Conv2D(classes, 1, activation="relu", name="conv10")(x)
        x = GlobalAveragePooling2D(name="avg_pool")(x)
        x = Activation(classifier_activation or "linear", name="predictions")(x)
    else:
        x = pooled(x, pooling)
    return finish(inputs, x, name, weights, {}, torch_name, include_top, classes)


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as the first published weights want them: less the channels' means, RGB."""
    return imagenet.preprocess_input(x, data_format, "squeezenet")


def preprocess_torch(x: Any) -> Any:
    """Images 0 .. 255 as torchvision's weights want them: x / 255, less means, over deviations."""
    return imagenet.preprocess_input(x, None, "torch")


decode_predictions = imagenet.decode_predictions


def torch_name(path: str) -> str | None:
    """torchvision's name of a layer: fire3_expand1x1 is features.3.expand1x1."""
    first = {"conv1": "features.0", "conv10": "classifier.1"}
    if path in first or not path.startswith("fire"):
        return first.get(path)
    fire, part = path.split("_")
    return None if part == "concat" else f"features.{fire[4:]}.{part}"


def _fire(x: Value, squeeze: int, expand: int, name: str) -> Value:
    x = Conv2D(squeeze, 1, activation="relu", name=f"{name}_squeeze")(x)
    small = Conv2D(expand, 1, activation="relu", name=f"{name}_expand1x1")(x)
    large = Conv2D(expand, 3, padding="same", activation="relu", name=f"{name}_expand3x3")(x)
    return Concatenate(name=f"{name}_concat")([small, large])


def ceil_pooling(x: Value, name: str) -> Value:
    """3x3 maxima, stride 2, a last window included that reaches over the edge.

    Behind a ReLU, zeros at the edge change no maximum, so that padding by what is missing is enough.
    """
    from minitl.layers import ZeroPadding2D

    missing = [0 if n is None else (n - 3) % 2 for n in x.shape[1:3]]
    if any(missing):
        x = ZeroPadding2D(((0, missing[0]), (0, missing[1])), name=f"{name}_pad")(x)
    return MaxPooling2D(3, strides=2, name=name)(x)
