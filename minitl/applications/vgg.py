"""VGG-16 and VGG-19: 3x3 convolutions one after another, and three large dense layers.

Source: K. Simonyan and A. Zisserman, arXiv 1409.1556; layer names and files of `keras.applications`.
"""

from __future__ import annotations

from typing import Any

from minitl.applications import imagenet
from minitl.applications.network import Published, finish, image_input, pooled
from minitl.layers import Conv2D, Dense, Flatten, MaxPooling2D
from minitl.models import Model

BASE = "https://storage.googleapis.com/tensorflow/keras-applications"
FILES = {
    name: {
        "imagenet": Published(f"{BASE}/{name}/{name}_weights_tf_dim_ordering_tf_kernels.h5", f"md5:{whole}"),
        "imagenet without top": Published(f"{BASE}/{name}/{name}_weights_tf_dim_ordering_tf_kernels_notop.h5", f"md5:{base}"),
    }
    for name, whole, base in (
        ("vgg16", "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
        ("vgg19", "cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
    )
}
WIDTHS = (64, 128, 256, 512, 512)


def VGG16(
    include_top: bool = True, weights: Any = "imagenet", input_tensor: Any = None, input_shape: Any = None,
    pooling: str | None = None, classes: int = 1000, classifier_activation: Any = "softmax", name: str = "vgg16",
) -> Model:  # fmt: skip
    """The network with 13 convolutions; arguments as `keras.applications.VGG16`."""
    return _vgg(
        "vgg16", (2, 2, 3, 3, 3), include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )


def VGG19(
    include_top: bool = True, weights: Any = "imagenet", input_tensor: Any = None, input_shape: Any = None,
    pooling: str | None = None, classes: int = 1000, classifier_activation: Any = "softmax", name: str = "vgg19",
) -> Model:  # fmt: skip
    """The network with 16 convolutions; arguments as `keras.applications.VGG19`."""
    return _vgg(
        "vgg19", (2, 2, 4, 4, 4), include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as these networks want them: BGR, less the channels' means."""
    return imagenet.preprocess_input(x, data_format, "caffe")


decode_predictions = imagenet.decode_predictions


def _vgg(
    kind: str, counts: tuple[int, ...], include_top: bool, weights: Any, input_tensor: Any, input_shape: Any,
    pooling: str | None, classes: int, activation: Any, name: str,
) -> Model:  # fmt: skip
    inputs = image_input(input_shape, 224, include_top, weights, input_tensor=input_tensor)
    x, theirs, place = inputs, {}, 0
    for block, (count, width) in enumerate(zip(counts, WIDTHS, strict=True), 1):
        for number in range(1, count + 1):
            x = Conv2D(width, 3, padding="same", activation="relu", name=f"block{block}_conv{number}")(x)
            theirs[f"block{block}_conv{number}"] = f"features.{place}"
            place += 2  # each with a ReLU behind it
        x = MaxPooling2D(2, name=f"block{block}_pool")(x)
        place += 1
    if include_top:
        x = Flatten(name="flatten")(x)
        x = Dense(4096, activation="relu", name="fc1")(x)
        x = Dense(4096, activation="relu", name="fc2")(x)
        x = Dense(classes, activation=activation, name="predictions")(x)
        theirs.update(fc1="classifier.0", fc2="classifier.3", predictions="classifier.6")
    else:
        x = pooled(x, pooling)
    return finish(inputs, x, name, weights, FILES[kind], theirs.get, include_top, classes)
