"""Batch, layer and group normalisation as ONNX's nodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import layers


def _batch_norm(w: Any, layer: Any, x: Any) -> tuple[str, bool]:
    gamma, beta = layer.gamma_and_beta(x.shape[-1], layer.dtype)
    parts = [gamma, beta, layer.state["moving_mean"], layer.state["moving_variance"]]
    return w.node("BatchNormalization", [w.first(x), *map(w.constant, parts)], epsilon=float(layer.epsilon)), True


def _layer_norm(w: Any, layer: Any, x: Any) -> tuple[str, bool]:
    axes = layer.together or [x.axes - 1]
    if axes != list(range(axes[0], x.axes)):
        raise ValueError(f"{layer.label}: ONNX normalises the last axes, got axis={layer.axis}; put a Permute in front of it")
    lengths = [n for n in x.shape[axes[0] :] if n is not None]  # known, or it would not have been built
    gamma, beta = (a.reshape(lengths) for a in layer.gamma_and_beta(math.prod(lengths), layer.dtype))
    given = [w.last(x), w.constant(gamma), w.constant(beta)]
    return w.node("LayerNormalization", given, axis=axes[0], epsilon=float(layer.epsilon)), False


def _group_norm(w: Any, layer: Any, x: Any) -> tuple[str, bool]:
    channels = x.shape[-1]
    groups = channels if layer.groups == -1 else layer.groups
    name = w.first(x)
    shape = w.node("Shape", [name])
    apart = w.node("Reshape", [name, w.whole([0, groups, -1])])
    ones, zeros = w.constant(np.ones(groups)), w.constant(np.zeros(groups))
    even = w.node("InstanceNormalization", [apart, ones, zeros], epsilon=float(layer.epsilon))
    back = w.node("Reshape", [even, shape])
    gamma, beta = layer.gamma_and_beta(channels, layer.dtype)
    ends = (-1, *[1] * (x.axes - 2))
    return w.node("Add", [w.node("Mul", [back, w.constant(gamma.reshape(ends))]), w.constant(beta.reshape(ends))]), True


def _rms_norm(w: Any, layer: Any, x: Any) -> tuple[str, bool]:
    name = w.last(x)
    mean = w.reduced("ReduceMean", w.node("Mul", [name, name]), keepdims=1)
    length = w.node("Sqrt", [w.node("Add", [mean, w.constant(layer.epsilon)])])
    return w.node("Mul", [w.node("Div", [name, length]), w.constant(layer.scale)]), False


def _layer_scale(w: Any, layer: Any, x: Any) -> tuple[str, bool]:
    return w.node("Mul", [w.last(x), w.constant(layer.gamma)]), False


WRITERS: dict[type, Callable[..., tuple[str, bool]]] = {
    layers.BatchNormalization: _batch_norm,
    layers.LayerNormalization: _layer_norm,
    layers.GroupNormalization: _group_norm,
    layers.RMSNormalization: _rms_norm,
    layers.LayerScale: _layer_scale,
}
