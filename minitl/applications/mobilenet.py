"""MobileNet: every convolution is a depthwise one and a 1x1 one, which together need an eighth of the multiplications.

Source: A. Howard et al., arXiv 1704.04861; layer names and files of `keras.applications`.
"""

from __future__ import annotations

from typing import Any

from minitl.applications import imagenet
from minitl.applications.network import Published, finish, image_input, pooled, published_size
from minitl.graph.value import Value
from minitl.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    ReLU,
    Reshape,
    ZeroPadding2D,
)
from minitl.models import Model

BASE = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet"
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


def MobileNet(
    input_shape: Any = None, alpha: float = 1.0, depth_multiplier: int = 1, dropout: float = 1e-3, include_top: bool = True,
    weights: Any = "imagenet", input_tensor: Any = None, pooling: str | None = None, classes: int = 1000,
    classifier_activation: Any = "softmax", name: str | None = None,
) -> Model:  # fmt: skip
    """The network with 13 depthwise blocks, `alpha` times as wide; arguments as `keras.applications.MobileNet`."""
    inputs = image_input(input_shape, 224, include_top, weights, input_tensor=input_tensor)
    x = Conv2D(int(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="conv1")(inputs)
    x = ReLU(6.0, name="conv1_relu")(BatchNormalization(name="conv1_bn")(x))
    for number, (filters, stride) in enumerate(BLOCKS, 1):
        x = _block(x, int(filters * alpha), stride, depth_multiplier, number)
    if include_top:
        x = GlobalAveragePooling2D(keepdims=True)(x)
        x = Dropout(dropout, name="dropout")(x)
        x = Conv2D(classes, 1, padding="same", name="conv_preds")(x)
        x = Reshape((classes,), name="reshape_2")(x)
        x = Activation(classifier_activation or "linear", name="predictions")(x)
    else:
        x = pooled(x, pooling)
    rows = published_size(inputs, (128, 160, 192, 224))
    text = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}.get(alpha)
    files = {
        "imagenet": Published(f"{BASE}/mobilenet_{text}_{rows}_tf.h5"),
        "imagenet without top": Published(f"{BASE}/mobilenet_{text}_{rows}_tf_no_top.h5"),
    }
    name = name or f"mobilenet_{alpha:0.2f}_{rows}"
    return finish(inputs, x, name, weights, files if text else {}, None, include_top, classes)


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images 0 .. 255 as this network wants them: x / 127.5 - 1."""
    return imagenet.preprocess_input(x, data_format, "tf")


decode_predictions = imagenet.decode_predictions


def _block(x: Value, filters: int, stride: int, multiplier: int, number: int) -> Value:
    if stride == 2:
        x = ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{number}")(x)
    padding = "same" if stride == 1 else "valid"
    x = DepthwiseConv2D(3, stride, padding, multiplier, use_bias=False, name=f"conv_dw_{number}")(x)
    x = ReLU(6.0, name=f"conv_dw_{number}_relu")(BatchNormalization(name=f"conv_dw_{number}_bn")(x))
    x = Conv2D(filters, 1, padding="same", use_bias=False, name=f"conv_pw_{number}")(x)
    return ReLU(6.0, name=f"conv_pw_{number}_relu")(BatchNormalization(name=f"conv_pw_{number}_bn")(x))
