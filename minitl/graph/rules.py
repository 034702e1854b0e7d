"""Which nodes run together: the rules by which a model saves passes over memory.

    convolution or dense + ReLU                        one kernel, which takes a 2x2 max-pooling behind it along
    batch normalisation + ReLU                         one pass
    convolution + batch normalisation [+ ReLU [+ pooling]]    at inference: one convolution, with other weights
    last softmax or sigmoid + its cross-entropy        the activation's part of the gradient cancels (`joint`)

A rule takes nodes whose inner values have one consumer and are no outputs. The layers stay what they are, with the same weights,
gradients and results; they are only run together. `Model.fuse = False` switches it off. Only the layers of this package are
fused, not subclasses of them, and only in the numba backend.
"""

from __future__ import annotations

from collections.abc import Collection
from operator import attrgetter
from typing import Any

import numpy as np

from minitl.backend import engine
from minitl.graph.graph import Graph
from minitl.graph.plan import Gradients, Need, Step
from minitl.graph.value import Node, Value
from minitl.layers.activations import Activation, ReLU
from minitl.layers.conv import Conv2D
from minitl.layers.core import Dense, named
from minitl.layers.normalization import BatchNormalization
from minitl.layers.pooling import MaxPooling2D

SETTINGS = {  # what the rules read of a layer, beside its type
    Conv2D: attrgetter("activation", "dilation_rate", "groups"),
    Dense: attrgetter("activation"),
    Activation: attrgetter("activation"),
    ReLU: attrgetter("activation"),
    MaxPooling2D: attrgetter("pool_size", "strides", "padding"),
}


def steps(graph: Graph, fuse: bool, fold: bool, joint: Collection[Value] = ()) -> list[Step]:
    """The steps in which to run a graph; `fold` is for inference, when no backward pass will follow.

    A step of several nodes stands where the last of them stood.
    """
    at: dict[Node, Step] = {}
    taken: set[Node] = set()
    for node in graph.nodes:
        if node in taken:
            continue
        found = _fused(graph, node, fold, joint) if fuse else None
        step = found or node.layer.step(node, any(value in joint for value in node.outputs))
        taken.update(step.nodes)
        at[step.nodes[-1]] = step
    return [at[node] for node in graph.nodes if node in at]


def joint(graph: Graph, position: int, activation: str | None) -> bool:
    """Whether an output's last activation is the one that its loss knows, and nothing else needs that output."""
    value = graph.outputs[position]
    alone = graph.outputs.count(value) == 1 and not graph.consumers[value] and value not in graph.inputs
    return activation is not None and alone and value.node.layer.output_activation == activation


def settings(graph: Graph) -> list[Any]:
    """What steps depend on beside the graph itself: settings of its layers that a user may change between two runs."""
    return [SETTINGS[type(node.layer)](node.layer) for node in graph.nodes if type(node.layer) in SETTINGS]


class Fused(Step):
    """A convolution or dense layer with ReLU, and perhaps the pooling behind it."""

    def __init__(self, nodes: list[Node]):
        super().__init__(nodes)
        self.layer, self.pooled, self.shape = nodes[0].layer, len(nodes) > 1, nodes[0].inputs[0].shape
        self.convolves = isinstance(self.layer, Conv2D)

    def forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The last of the layers' y."""
        fused, layer = engine("fused"), self.layer
        x = layer.admit(x, self.shape)
        kernel, bias = layer.parameters["kernel"], layer.parameters.get("bias")
        if self.convolves:
            return fused.forward(x, kernel, bias, layer.strides, layer.padding, self.pooled, self.keep)
        return fused.forward_dense(x, kernel, bias)

    def backward(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, Gradients]:
        """The first layer's dx, and its gradients."""
        fused = engine("fused")
        backward = fused.backward if self.convolves else fused.backward_dense
        dx, dkernel, dbias = backward(dy, cache, *need)
        return dx, {self.layer: named(kernel=dkernel, bias=dbias)}


class FusedNormalization(Step):
    """A batch normalisation and the ReLU behind it."""

    def __init__(self, nodes: list[Node]):
        super().__init__(nodes)
        self.layer, self.shape = nodes[0].layer, nodes[0].inputs[0].shape

    def forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The ReLU's y."""
        x = self.layer.admit(x, self.shape)
        y, cache = engine("batch_norm").normalise(x, *self.layer.constants(x, training), 0.0)
        return y, (cache, y)

    def backward(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, Gradients]:
        """The normalisation's dx, and its gradients."""
        kept, y = cache
        parameters = need.parameters and bool(self.layer.parameters)
        dx, gradients = self.layer.named(*engine("batch_norm").gradients(dy, kept, y, need.dx, parameters))
        return dx, {self.layer: gradients}


class Folded(Step):
    """A convolution and the batch normalisation behind it, with fixed statistics, as one convolution; only forward.

    Formula: with s = gamma / sqrt(variance + epsilon), kernel' = kernel s and bias' = (bias - mean) s + beta.
    A ReLU behind them, and a 2x2 pooling behind that, come along.
    """

    def __init__(self, nodes: list[Node]):
        super().__init__(nodes)
        self.layer, self.norm = nodes[0].layer, nodes[1].layer
        self.relu, self.pooled, self.shape = len(nodes) > 2, len(nodes) > 3, nodes[0].inputs[0].shape

    def forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The last of the layers' y."""
        layer = self.layer
        x = layer.admit(x, self.shape)
        gamma, beta, mean, variance, epsilon, _ = self.norm.constants(x, False)
        scale = gamma / np.sqrt(variance + epsilon)
        kernel = layer.parameters["kernel"] * scale
        bias = (layer.parameters.get("bias", 0) - mean) * scale + beta
        if self.relu:
            return engine("fused").forward(x, kernel, bias, layer.strides, layer.padding, self.pooled, keep=False)[0], None
        return engine("conv2d").forward(x, kernel, bias, layer.strides, layer.padding)[0], None


def _fused(graph: Graph, node: Node, fold: bool, joint: Collection[Value]) -> Step | None:
    """The step that begins with a node, if a rule fits."""
    layer = node.layer
    if type(layer) is Conv2D and not layer.is_plain:
        return None
    if type(layer) in (Conv2D, Dense) and layer.activation == "relu":
        pool = _next(graph, node) if type(layer) is Conv2D else None
        return Fused([node, pool] if _is_plain_pool(pool) else [node])  # type: ignore[list-item]
    if fold and type(layer) is Conv2D and layer.activation == "linear":
        norm = _next(graph, node)
        if norm is not None and type(norm.layer) is BatchNormalization and not norm.training:
            relu = _next(graph, norm)
            pool = _next(graph, relu) if _is_relu(relu) else None
            behind = [n for n, fits in ((relu, _is_relu(relu)), (pool, _is_plain_pool(pool))) if fits]
            return Folded([node, norm, *behind])  # type: ignore[list-item]
    if type(layer) is BatchNormalization:
        relu = _next(graph, node)
        if _is_relu(relu):
            return FusedNormalization([node, relu])  # type: ignore[list-item]
    return None


def _next(graph: Graph, node: Node | None) -> Node | None:
    """The node that alone needs what a node makes."""
    if node is None or len(node.outputs) != 1 or node.outputs[0] in graph.outputs:
        return None
    consumers = graph.consumers[node.outputs[0]]
    return consumers[0] if len(consumers) == 1 else None


def _is_relu(node: Node | None) -> bool:
    return node is not None and type(node.layer) in (ReLU, Activation) and node.layer.activation == "relu"


def _is_plain_pool(node: Node | None) -> bool:
    if node is None or type(node.layer) is not MaxPooling2D:
        return False
    pool = node.layer
    return bool(pool.pool_size == pool.strides == (2, 2) and pool.padding == "valid")
