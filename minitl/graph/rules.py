"""Which nodes run together: the rules by which a model saves passes over memory.

    convolution or dense + ReLU                        one kernel, which takes a 2x2 max-pooling behind it along
    batch normalisation [+ sum with a skip] + ReLU     one pass; the ReLU may have a ceiling
    batch normalisation + GELU                         one pass
    convolution + batch normalisation [+ ReLU [+ pooling]]    at inference: one convolution, with other weights; depthwise too
    convolution [+ batch normalisation] + sum with a skip [+ ReLU]    at inference: the end of a residual block
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
from minitl.errors import wrong_shape
from minitl.graph.graph import Graph
from minitl.graph.plan import Gradients, Need, Step
from minitl.graph.steps import RegularizedStep
from minitl.graph.value import Node, Value
from minitl.layers.activations import Activation, ReLU
from minitl.layers.conv import Conv2D
from minitl.layers.core import Dense
from minitl.layers.depthwise import DepthwiseConv2D
from minitl.layers.linear import named
from minitl.layers.merging import Add
from minitl.layers.normalization import BatchNormalization
from minitl.layers.pooling import MaxPooling2D

SETTINGS = {  # what the rules read of a layer, beside its type
    Conv2D: attrgetter("activation", "dilation_rate", "groups"),
    Dense: attrgetter("activation"),
    Activation: attrgetter("activation"),
    ReLU: attrgetter("activation", "max_value", "negative_slope", "threshold"),
    DepthwiseConv2D: attrgetter("activation"),
    MaxPooling2D: attrgetter("pool_size", "strides", "padding"),
}


def steps(graph: Graph, fuse: bool, fold: bool, joint: Collection[Value] = (), added_losses: bool = False) -> list[Step]:
    """The steps in which to run a graph; `fold` is for inference, when no backward pass will follow; `added_losses` counts
    the penalties on activities, and what was added to the loss.

    A step of several nodes stands where the last of them stood.
    """
    at: dict[Node, Step] = {}
    taken: set[Node] = set()
    nodes = graph.nodes if added_losses else graph.of_outputs
    for node in nodes:
        if node in taken:
            continue
        found = _fused(graph, node, fold, joint) if fuse else None
        if found is not None and (
            taken.intersection(found.nodes)  # the other branch of a sum has it already
            or any(layer.activity_regularizer for layer in found.layers)  # what it gives has a penalty, and is needed by itself
        ):
            found = None
        step = found or node.layer.step(node, any(value in joint for value in node.outputs))
        if added_losses:
            for _, held in node.layer.sublayers():
                node.layer.refuse_activity_regularizer_of(held)
            if node.layer.activity_regularizer is not None:
                step = RegularizedStep(step)
        taken.update(step.nodes)
        at[step.nodes[-1]] = step
    return [at[node] for node in nodes if node in at]


def joint(graph: Graph, position: int, activation: str | None) -> bool:
    """Whether an output's last activation is the one that its loss knows, and nothing else needs that output."""
    value = graph.outputs[position]
    alone = graph.outputs.count(value) == 1 and not graph.consumers[value] and value not in graph.inputs
    layer = value.node.layer
    return activation is not None and alone and layer.output_activation == activation and layer.activity_regularizer is None


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
    """A batch normalisation and the ReLU behind it, with the sum of a residual block between them or not."""

    def __init__(self, nodes: list[Node]):
        super().__init__(nodes)
        self.layer, self.shape, self.ceiling = nodes[0].layer, nodes[0].inputs[0].shape, ceiling_of(nodes[-1]) or 0
        if len(nodes) > 2:
            self.takes = (nodes[0].inputs[0], other_input(nodes[1], nodes[0].outputs[0]))

    def forward(self, x: Any, training: bool) -> tuple[np.ndarray, Any]:
        """The ReLU's y."""
        x, skip = x if isinstance(x, list) else (x, None)
        x = self.layer.admit(x, self.shape)
        if skip is not None and skip.shape != x.shape:  # both were open
            raise wrong_shape(self.nodes[1].layer.label, x.shape, skip.shape, "make them alike")
        constants = self.layer.constants(x, training)
        y, cache = engine("batch_norm").normalise(x, *constants, relu=True, ceiling=self.ceiling, skip=skip)
        return y, (cache, y)

    def backward(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[Any, Gradients]:
        """The normalisation's dx and gradients, and the skip's gradient if there is one."""
        batch_norm, (kept, y) = engine("batch_norm"), cache
        parameters, single = need.parameters and bool(self.layer.parameters), not isinstance(need.dx, tuple)
        if single:
            dx, named_gradients = self.layer.named(*batch_norm.gradients(dy, kept, y, need.dx, parameters, self.ceiling))
            return dx, {self.layer: named_gradients}
        dz = batch_norm.behind_relu(dy, y, self.ceiling)
        dx, named_gradients = self.layer.named(*batch_norm.gradients(dz, kept, None, need.dx[0], parameters))
        return (dx, dz), {self.layer: named_gradients}


class GeluNormalization(Step):
    """A batch normalisation and the GELU behind it; what lies between is made again when the gradient comes back."""

    def __init__(self, nodes: list[Node]):
        super().__init__(nodes)
        self.layer, self.shape = nodes[0].layer, nodes[0].inputs[0].shape

    def forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The GELU's y."""
        x = self.layer.admit(x, self.shape)
        return engine("batch_norm").normalise_gelu(x, *self.layer.constants(x, training))

    def backward(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, Gradients]:
        """The normalisation's dx and gradients."""
        batch_norm, parameters = engine("batch_norm"), need.parameters and bool(self.layer.parameters)
        dz = batch_norm.behind_gelu(dy, cache)
        dx, gradients = self.layer.named(*batch_norm.backward(dz, cache[0], need.dx, parameters))
        return dx, {self.layer: gradients}


class Folded(Step):
    """A convolution and the batch normalisation behind it, with fixed statistics, as one convolution; only forward.

    Formula: with s = gamma / sqrt(variance + epsilon), kernel' = kernel s and bias' = (bias - mean) s + beta.
    What stands behind them comes along: a ReLU, and a 2x2 pooling behind that; or the sum of a residual block and perhaps its
    ReLU; there the normalisation may be missing.
    """

    def __init__(self, nodes: list[Node], norm: Node | None, skip: Value | None = None):
        super().__init__(nodes)
        self.layer, self.norm, self.shape = nodes[0].layer, norm.layer if norm else None, nodes[0].inputs[0].shape
        self.ceiling = next((c for c in map(ceiling_of, nodes) if c is not None), None)
        self.pooled = type(nodes[-1].layer) is MaxPooling2D
        self.skips, self.depthwise = skip is not None, isinstance(self.layer, DepthwiseConv2D)
        self.pointwise = not self.depthwise and not self.pooled and self.layer.kernel_size == (1, 1)
        if skip is not None:
            self.takes = (nodes[0].inputs[0], skip)

    def weights(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """The kernel, the normalisation's factors for it, and the bias with the normalisation in it."""
        parameters = self.layer.parameters
        kernel, bias = parameters["depthwise_kernel" if self.depthwise else "kernel"], parameters.get("bias")
        if self.norm is None:
            return kernel, None, bias
        gamma, beta, mean, variance, epsilon, _ = self.norm.constants(None, False)
        scale = gamma / np.sqrt(variance + epsilon)
        return kernel, scale, ((0 if bias is None else bias) - mean) * scale + beta

    def forward(self, x: Any, training: bool) -> tuple[np.ndarray, Any]:
        """The last of the layers' y."""
        x, skip = x if self.skips else (x, None)
        layer, relu = self.layer, self.ceiling is not None and not self.skips
        x = layer.admit(x, self.shape)
        kernel, scale, bias = self.weights()
        if self.depthwise:
            kernel = kernel if scale is None else kernel * scale.reshape(kernel.shape[2:])
            limits = (0.0 if relu else -np.inf, self.ceiling or np.inf)
            convolve = engine("depthwise_conv2d").convolve
            return convolve(x, kernel, bias, layer.strides, layer.padding, layer.dilation_rate, *limits), None
        if self.pointwise:
            seen, behind = x[:, :: layer.strides[0], :: layer.strides[1]], (self.ceiling is not None, scale, self.ceiling or 0)
            self.check_skip(skip, (*seen.shape[:3], kernel.shape[3]))
            return engine("convolution").pointwise(seen, kernel, bias, *behind, skip), None
        if relu:
            y = engine("fused").forward(x, kernel, bias, layer.strides, layer.padding, self.pooled, keep=False, scale=scale)[0]
            return engine("batch_norm").cut_off(y, self.ceiling) if self.ceiling else y, None
        y = engine("convolution").convolve(x, kernel, bias, layer.strides, layer.padding, relu=False, scale=scale)
        if not self.skips:
            return y, None
        self.check_skip(skip, y.shape)
        return engine("add").forward(y, skip)[0] if self.ceiling is None else engine("add").add_relu(y, skip), None

    def check_skip(self, skip: np.ndarray | None, shape: tuple[int, ...]) -> None:
        """Raise ValueError for a skip of another shape than the convolution's result, where both were open."""
        if skip is not None and skip.shape != shape:
            total = next(node.layer for node in self.nodes if type(node.layer) is Add)
            raise wrong_shape(total.label, shape, skip.shape, "make them alike")


def _fused(graph: Graph, node: Node, fold: bool, joint: Collection[Value]) -> Step | None:
    """The step that begins with a node, if a rule fits."""
    layer = node.layer
    if type(layer) is Conv2D and not layer.is_plain:
        return None
    if type(layer) in (Conv2D, Dense) and layer.activation == "relu":
        pool = _next(graph, node) if type(layer) is Conv2D else None
        return Fused([node, pool] if _is_plain_pool(pool) else [node])  # type: ignore[list-item]
    if fold and type(layer) in (Conv2D, DepthwiseConv2D) and layer.activation == "linear":
        return _folded(graph, node)
    if type(layer) is BatchNormalization:
        behind = _next(graph, node)
        if behind is not None and ceiling_of(behind) is not None:
            return FusedNormalization([node, behind])
        if behind is not None and type(behind.layer) is Activation and behind.layer.activation == "gelu":
            return GeluNormalization([node, behind])
        total, relu = _end_of_block(graph, node)
        if total is not None and relu is not None:
            return FusedNormalization([node, total, relu])
    return None


def _folded(graph: Graph, node: Node) -> Step | None:
    norm = _next(graph, node)
    if norm is None or type(norm.layer) is not BatchNormalization or norm.training:
        norm = None
    nodes = [node, norm] if norm is not None else [node]
    total, relu = _end_of_block(graph, nodes[-1])
    if total is not None and type(node.layer) is Conv2D and (relu is None or ceiling_of(relu) == 0):
        return Folded([*nodes, total, relu] if relu else [*nodes, total], norm, other_input(total, nodes[-1].outputs[0]))
    if norm is None:
        return None
    relu = _next(graph, norm)
    if relu is None or ceiling_of(relu) is None:
        return Folded(nodes, norm)
    pool = _next(graph, relu)
    poolable = type(node.layer) is Conv2D and ceiling_of(relu) == 0 and _is_plain_pool(pool)
    return Folded([*nodes, relu, pool] if poolable else [*nodes, relu], norm)  # type: ignore[list-item]


def _end_of_block(graph: Graph, node: Node) -> tuple[Node | None, Node | None]:
    """The sum of two values of one shape behind a node, and the ReLU behind that; None for what is not there."""
    total = _next(graph, node)
    if total is None or type(total.layer) is not Add or len(total.inputs) != 2 or total.inputs[0] is total.inputs[1]:
        return None, None
    if total.inputs[0].shape != total.inputs[1].shape:
        return None, None
    relu = _next(graph, total)
    return total, relu if relu is not None and ceiling_of(relu) is not None else None


def other_input(total: Node, value: Value) -> Value:
    """The input of a sum of two that is not this value."""
    return total.inputs[1] if total.inputs[0] is value else total.inputs[0]


def _next(graph: Graph, node: Node | None) -> Node | None:
    """The node that alone needs what a node makes."""
    if node is None or len(node.outputs) != 1 or node.outputs[0] in graph.outputs:
        return None
    consumers = graph.consumers[node.outputs[0]]
    return consumers[0] if len(consumers) == 1 else None


def ceiling_of(node: Node) -> int | None:
    """The ceiling of a ReLU, 0 if it has none; None for anything else than a ReLU with a whole ceiling."""
    layer = node.layer
    if type(layer) in (ReLU, Activation) and layer.activation == "relu":
        return 0
    if type(layer) is Activation and layer.activation == "relu6":
        return 6
    if type(layer) is ReLU and layer.max_value and layer.negative_slope == layer.threshold == 0:
        return int(layer.max_value) if float(layer.max_value).is_integer() else None
    return None


def _is_plain_pool(node: Node | None) -> bool:
    if node is None or type(node.layer) is not MaxPooling2D:
        return False
    pool = node.layer
    return bool(pool.pool_size == pool.strides == (2, 2) and pool.padding == "valid")
