"""Pretrained networks that come with the package, small enough to read the whole story: `load("letters")`, `load("cifar100")`.

Each was made by `python -m minitl pretrain NAME` and has a model card beside it: recipe, log, accuracy.
"""

from __future__ import annotations

from pathlib import Path

from minitl.errors import unknown
from minitl.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from minitl.models import Sequential, load_model

NAMES = ("letters", "cifar100")


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
    """A pretrained classic network, with what its inputs went through in `model.preprocessing`.

    Errors: ValueError for another name.
    """
    if name not in NAMES:
        raise unknown("pretrained network", name, NAMES)
    return load_model(Path(__file__).parent / f"{name}.npz")


def card(name: str) -> str:
    """The model card of a pretrained network.

    Errors: ValueError for another name.
    """
    if name not in NAMES:
        raise unknown("pretrained network", name, NAMES)
    return (Path(__file__).parent / f"{name}.md").read_text()
