"""Networks that somebody trained: published ones, by the names that Keras gives them, and small ones with their whole story.

    MobileNetV2(weights="imagenet", include_top=False, pooling="avg")    its official file, or one of your own, in any format
    EfficientNetLite0()                                                  comes with the package
    load("letters"), load("cifar100"), load("cifar100_small")            made by `minitl pretrain NAME`, each with its card

Published networks are read when they are asked for.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from minitl.errors import unknown
from minitl.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from minitl.models import Sequential, load_model

NAMES = ("letters", "cifar100_small", "cifar10", "cifar100")
NETWORKS = {
    "DenseNet121": "densenet",
    "DenseNet169": "densenet",
    "DenseNet201": "densenet",
    **{f"EfficientNetB{number}": "efficientnet" for number in range(8)},
    "EfficientNetLite0": "efficientnet_lite",
    **{f"EfficientNetV2{kind}": "efficientnet_v2" for kind in ("B0", "B1", "B2", "B3", "S", "M", "L")},
    "InceptionResNetV2": "inception_resnet_v2",
    "InceptionV3": "inception_v3",
    "LeNet5": "lenet",
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Large": "mobilenet_v3",
    "MobileNetV3Small": "mobilenet_v3",
    "ResNet18": "resnet",
    "ResNet20": "resnet_cifar",
    "ResNet32": "resnet_cifar",
    "ResNet34": "resnet",
    "ResNet44": "resnet_cifar",
    "ResNet50": "resnet",
    "ResNet56": "resnet_cifar",
    "ResNet101": "resnet",
    "ResNet152": "resnet",
    "ResNet50V2": "resnet_v2",
    "ResNet101V2": "resnet_v2",
    "ResNet152V2": "resnet_v2",
    "SqueezeNet": "squeezenet",
    "VGG16": "vgg",
    "VGG19": "vgg",
    "Xception": "xception",
}
MODULES = {*NETWORKS.values(), "imagenet", "resnet50", "vgg16", "vgg19"}


def __getattr__(name: str) -> Any:
    if name in NETWORKS:
        return getattr(importlib.import_module(f"{__name__}.{NETWORKS[name]}"), name)
    if name in MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def classic(classes: int, input_shape: tuple[int, int, int] = (32, 32, 3)) -> Sequential:
    """The network of the tutorials: Conv32-Pool-Conv64-Pool-Conv128-Pool-Dense128-Dense, 3x3, valid, ReLU, He's initial weights.

    Errors: ValueError for an input that is too small for it.
    """
    model = Sequential([Input(input_shape)])
    for filters in (32, 64, 128):
        model.add(Conv2D(filters, 3, activation="relu", kernel_initializer="he_normal"))
        model.add(MaxPooling2D())
    model.add(Flatten())
    model.add(Dense(128, activation="relu", kernel_initializer="he_normal"))
    model.add(Dense(classes, activation="softmax", kernel_initializer="zeros"))
    return model


def load(name: str) -> Sequential:
    """A pretrained network for images of 32x32, with what its inputs went through in `model.preprocessing`.

    "letters" and "cifar100_small" are classic networks, "cifar10" and "cifar100" have learnt by the recipe of `fast_cifar`.
    Errors: ValueError for another name; OSError for one that does not come with the package and has not been made.
    """
    return load_model(_file_of(name, ".npz"))


def card(name: str) -> str:
    """The model card of a pretrained network.

    Errors: as `load`.
    """
    return _file_of(name, ".md").read_text()


def _file_of(name: str, ending: str) -> Path:
    """In the package, or where `minitl pretrain` puts it."""
    from minitl.datasets.download import data_folder

    if name not in NAMES:
        raise unknown("pretrained network", name, NAMES)
    places = [folder / f"{name}{ending}" for folder in (Path(__file__).parent, data_folder())]
    for place in places:
        if place.exists():
            return place
    raise FileNotFoundError(
        f"{places[-1]} is not there; make it with one command: python -m minitl pretrain {name} --output {places[-1].parent}"
    )
