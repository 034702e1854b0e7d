"""Layers: objects that own parameters and call operations."""

from minitl.layers.activations import Activation, ReLU, Softmax
from minitl.layers.base import Layer
from minitl.layers.conv import Conv2D
from minitl.layers.core import Dense, Dropout, Flatten, Input, InputLayer
from minitl.layers.normalization import BatchNormalization
from minitl.layers.pooling import (
    AveragePooling2D,
    AvgPool2D,
    GlobalAveragePooling2D,
    GlobalAvgPool2D,
    MaxPool2D,
    MaxPooling2D,
)

__all__ = [
    "Activation",
    "AveragePooling2D",
    "AvgPool2D",
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalAvgPool2D",
    "Input",
    "InputLayer",
    "Layer",
    "MaxPool2D",
    "MaxPooling2D",
    "ReLU",
    "Softmax",
]
