"""Which neighbours can run as one: the rule by which a model saves passes over memory.

A convolution or dense layer with ReLU runs as one kernel, and takes a 2x2 max-pooling behind it along. So does a batch
normalisation with the ReLU layer behind it, and at inference it becomes part of the convolution in front of it. The layers stay
what they are, with the same weights, gradients and results; they are only run together. `Sequential.fuse = False`
switches it off. Only the layers of this package are fused, not subclasses of them, and only in the numba backend.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.backend import engine, get_backend
from minitl.layers.activations import Activation, ReLU
from minitl.layers.base import Layer
from minitl.layers.conv import Conv2D
from minitl.layers.core import Dense, store_gradients
from minitl.layers.normalization import BatchNormalization
from minitl.layers.pooling import MaxPooling2D


class Fused:
    """A convolution or dense layer with ReLU, and perhaps the pooling behind it, as one step.

    It has of a layer what a container needs to run it.
    """

    def __init__(self, layer: Any, pool: MaxPooling2D | None):
        self.layer, self.pooled, self.convolves = layer, pool is not None, isinstance(layer, Conv2D)
        self.cache: tuple | None = None

    def __call__(self, x: np.ndarray, training: bool) -> np.ndarray:
        """The last of the layers' y."""
        fused, layer = engine("fused"), self.layer
        x = layer._admit(x)
        kernel, bias = layer.parameters["kernel"], layer.parameters.get("bias")
        if self.convolves:
            y, cache = fused.forward(x, kernel, bias, layer.strides, layer.padding, self.pooled, layer.keep_cache)
        else:
            y, cache = fused.forward_dense(x, kernel, bias)
        self.cache = cache if layer.keep_cache else None
        return y

    def pull(self, dy: np.ndarray, need_dx: bool) -> np.ndarray | None:
        """The first layer's dx, and its gradients."""
        fused, layer = engine("fused"), self.layer
        layer.gradients.clear()
        backward = fused.backward if self.convolves else fused.backward_dense
        dx, dkernel, dbias = backward(dy, self.cache, need_dx, layer.trainable)
        store_gradients(layer, kernel=dkernel, bias=dbias)
        return dx


class FusedNormalization:
    """A batch normalisation and the ReLU behind it, as one step."""

    def __init__(self, layer: BatchNormalization):
        self.layer = layer
        self.cache: tuple | None = None

    def __call__(self, x: np.ndarray, training: bool) -> np.ndarray:
        """The ReLU's y."""
        batch_norm, layer = engine("batch_norm"), self.layer
        x = layer._admit(x)
        y, cache = batch_norm.normalise(x, *layer.constants(x, training), 0.0)
        self.cache = (cache, y) if layer.keep_cache else None
        return y

    def pull(self, dy: np.ndarray, need_dx: bool) -> np.ndarray | None:
        """The normalisation's dx, and its gradients."""
        batch_norm, layer = engine("batch_norm"), self.layer
        layer.gradients.clear()
        cache, y = self.cache  # type: ignore[misc]
        return layer.store(*batch_norm.gradients(dy, cache, y, need_dx, layer.has_gradients))


class Folded:
    """A convolution and the batch normalisation behind it, with fixed statistics, as one convolution; only forward.

    Formula: with s = gamma / sqrt(variance + epsilon), kernel' = kernel s and bias' = (bias - mean) s + beta.
    A ReLU behind them, and a 2x2 pooling behind that, come along.
    """

    def __init__(self, layer: Any, norm: BatchNormalization, relu: bool, pool: bool):
        self.layer, self.norm, self.relu, self.pool = layer, norm, relu, pool

    def __call__(self, x: np.ndarray, training: bool) -> np.ndarray:
        """The last of the layers' y."""
        layer = self.layer
        x = layer._admit(x)
        gamma, beta, mean, variance, epsilon, _ = self.norm.constants(x, False)
        scale = gamma / np.sqrt(variance + epsilon)
        kernel = layer.parameters["kernel"] * scale
        bias = (layer.parameters.get("bias", 0) - mean) * scale + beta
        if self.relu:
            return engine("fused").forward(x, kernel, bias, layer.strides, layer.padding, self.pool, keep=False)[0]
        return engine("conv2d").forward(x, kernel, bias, layer.strides, layer.padding)[0]


Step = tuple[Any, int, int]  # a layer or Fused, and the positions of its first and last layer


def plan(layers: list[Layer], fuse: bool, fold: bool) -> list[Step]:
    """The steps in which to run some layers; `fold` is for inference, when no backward pass will follow."""
    steps: list[Step] = []
    fuse = fuse and get_backend() == "numba"
    position = 0
    while position < len(layers):
        step, taken = _step(layers[position : position + 4], fold) if fuse else (layers[position], 1)
        steps.append((step, position, position + taken - 1))
        position += taken
    return steps


def _step(ahead: list[Layer], fold: bool) -> tuple[Any, int]:
    """The next step, and how many of the layers ahead it takes."""
    layer: Any = ahead[0]
    second, third, fourth = (*ahead[1:], None, None, None)[:3]
    if type(layer) in (Conv2D, Dense) and layer.activation == "relu":
        pool = type(layer) is Conv2D and _is_plain_pool(second)
        return Fused(layer, second if pool else None), 1 + pool  # type: ignore[arg-type]
    if fold and type(layer) is Conv2D and layer.activation == "linear" and type(second) is BatchNormalization:
        relu = _is_relu(third)
        pool = relu and _is_plain_pool(fourth)
        return Folded(layer, second, relu, pool), 2 + relu + pool
    if type(layer) is BatchNormalization and _is_relu(second):
        return FusedNormalization(layer), 2
    return layer, 1


def _is_relu(layer: Layer | None) -> bool:
    return type(layer) in (ReLU, Activation) and layer.activation == "relu"  # type: ignore[union-attr]


def _is_plain_pool(layer: Layer | None) -> bool:
    return type(layer) is MaxPooling2D and layer.pool_size == layer.strides == (2, 2) and (layer.padding == "valid")
