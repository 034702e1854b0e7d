"""Which nodes run together: the rules by which a model saves passes over memory.

    convolution or dense + ReLU                        one kernel, which takes a 2x2 max-pooling behind it along
    batch normalisation [+ sum with a skip] + ReLU     one pass; the ReLU may have a ceiling
    batch normalisation + GELU                         one pass
    convolution + batch normalisation [+ ReLU [+ pooling]]    at inference: one convolution, with other weights; depthwise too
    convolution [+ batch normalisation] + sum with a skip [+ ReLU]    at inference: the end of a residual block
    zero padding + depthwise convolution               the zeros are never written
    zero padding + max-pooling of what a ReLU made     at inference: the same
    depthwise + 1x1 convolution [+ global average-pooling]    at inference, each with what is folded into it
    concatenation of what convolutions made    at inference: they write their parts of it
    last softmax or sigmoid + its cross-entropy        the activation's part of the gradient cancels (`joint`)

A rule takes nodes whose inner values have one consumer and are no outputs. The layers stay what they are, with the same weights,
gradients and results; they are only run together. `Model.fuse = False` switches it off. Only the layers of this package are
fused, not subclasses of them, and only in the numba backend.
"""

from __future__ import annotations

from collections.abc import Collection
from operator import attrgetter
from typing import Any

from minitl.graph.graph import Graph
from minitl.graph.plan import Step
from minitl.graph.steps import AddedLossStep, LayerStep, RegularizedStep
from minitl.graph.together import (
    Folded,
    Fused,
    FusedNormalization,
    GeluNormalization,
    Joined,
    PaddedDepthwise,
    PaddedPooling,
    Separable,
    ceiling_of,
    other_input,
)
from minitl.graph.value import Node, Value
from minitl.layers.activations import Activation, ReLU
from minitl.layers.added_loss import AddedLoss
from minitl.layers.conv import Conv2D
from minitl.layers.conv_transpose import Conv2DTranspose
from minitl.layers.core import Dense, Dropout
from minitl.layers.depthwise import DepthwiseConv2D, SeparableConv2D
from minitl.layers.merging import Add, Concatenate
from minitl.layers.normalization import BatchNormalization
from minitl.layers.pooling import AveragePooling2D, GlobalAveragePooling2D, GlobalMaxPooling2D, MaxPooling2D
from minitl.layers.regularization import SpatialDropout1D, SpatialDropout2D
from minitl.layers.reshaping import ChannelPadding, Reshape, UpSampling2D, ZeroPadding2D
from minitl.layers.scaling import Normalization, Rescaling
from minitl.ops.window import Pair, reach

WINDOW = "pool_size", "strides", "padding"
DROPPED = attrgetter("rate", "noise_shape", "generator")
SETTINGS = {  # what the rules, and passes that are recorded, read of a layer beside its type and its weights
    Conv2D: attrgetter("activation", "strides", "padding", "dilation_rate", "groups"),
    Dense: attrgetter("activation"),
    Activation: attrgetter("activation"),
    ReLU: attrgetter("activation", "max_value", "negative_slope", "threshold"),
    DepthwiseConv2D: attrgetter("activation", "strides", "padding", "dilation_rate"),
    SeparableConv2D: attrgetter("activation", "strides", "padding", "dilation_rate"),
    Reshape: attrgetter("target_shape", "channels_first"),
    Rescaling: attrgetter("scale", "offset"),
    Normalization: attrgetter("invert"),
    BatchNormalization: attrgetter("epsilon", "momentum"),
    Dropout: DROPPED,
    SpatialDropout1D: DROPPED,
    SpatialDropout2D: DROPPED,
    Conv2DTranspose: attrgetter("activation", "strides", "padding", "output_padding"),
    UpSampling2D: attrgetter("size", "interpolation"),
    Concatenate: attrgetter("axis"),
    MaxPooling2D: attrgetter(*WINDOW),
    AveragePooling2D: attrgetter(*WINDOW),
    GlobalAveragePooling2D: attrgetter("keepdims"),
    GlobalMaxPooling2D: attrgetter("keepdims"),
    ChannelPadding: attrgetter("padding"),
    ZeroPadding2D: attrgetter("border"),
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
        found = _fused(graph, node, fold, joint, taken) if fuse else None
        if found is not None and any(layer.activity_regularizer for layer in found.layers):
            found = None  # what it gives has a penalty, and is needed by itself
        step = found or node.layer.step(node, any(value in joint for value in node.outputs))
        if added_losses:
            for _, held in node.layer.sublayers():
                node.layer.refuse_activity_regularizer_of(held)
            if node.layer.activity_regularizer is not None:
                step = RegularizedStep(step)
            if isinstance(node.layer, AddedLoss):
                step = AddedLossStep(node)
        taken.update(step.nodes)
        at[step.nodes[-1]] = step
    if fuse and fold:
        for node in nodes:
            if type(node.layer) is Concatenate and node in at:
                _join_parts(graph, node, at)
            elif node in at:
                _join_depthwise(graph, at, at[node])
    return [at[node] for node in nodes if node in at]


def joint(graph: Graph, position: int, activation: str | None) -> bool:
    """Whether an output's last activation is the one that its loss knows, and nothing else needs that output."""
    value = graph.outputs[position]
    alone = graph.outputs.count(value) == 1 and not graph.consumers[value] and value not in graph.inputs
    layer = value.node.layer
    return activation is not None and alone and layer.output_activation == activation and layer.activity_regularizer is None


def settings(graph: Graph) -> list[Any]:
    """What steps depend on beside the graph itself: settings of its layers that a user may change between two runs."""
    if graph.settings is None:
        graph.settings = [(SETTINGS[type(node.layer)], node.layer) for node in graph.nodes if type(node.layer) in SETTINGS]
    return [read(layer) for read, layer in graph.settings]


def is_not_negative(value: Value) -> bool:
    """Whether none of its numbers can be below zero: an activation made it, or it was chosen or put together of such numbers."""
    layer = value.node.layer
    if type(layer) in (MaxPooling2D, Concatenate):
        return all(map(is_not_negative, value.node.inputs))
    if type(layer) is ReLU:
        return bool(layer.negative_slope == 0)
    return type(layer) in (Conv2D, Dense, Activation) and layer.activation in ("relu", "relu6", "sigmoid", "softmax")


def _join_parts(graph: Graph, node: Node, at: dict[Node, Step]) -> None:
    """Let convolutions whose result only a concatenation along the channels needs write it there."""
    parts = [_writer(graph, node, value, at) for value in node.inputs]
    if type(at[node]) is LayerStep and node.layer.axis in (-1, 3) and len(node.inputs[0].shape) == 4 and any(parts):
        for part in parts:
            if part is not None:
                del at[part.nodes[-1]]
        at[node] = Joined(node, parts)


def _writer(graph: Graph, node: Node, value: Value, at: dict[Node, Step]) -> Step | None:
    step = at.get(value.node)
    alone = graph.consumers[value] == [node] and value not in graph.outputs
    if type(step) is Fused:
        return step if alone and step.convolves and not step.pooled else None
    if type(step) is Folded:
        plain = not (step.depthwise or step.pooled or step.skips or step.ceiling)
        return step if alone and plain else None
    return None


def _join_depthwise(graph: Graph, at: dict[Node, Step], step: Step) -> None:
    """Let a 1x1 convolution take the depthwise one in front of it along, if it alone needs that."""
    before = step.takes[0].node
    first = at.get(before)
    if type(step) is not Folded or type(first) is not Folded or _next(graph, before) is not step.nodes[0]:
        return
    if step.pointwise and step.layer.strides == (1, 1) and first.depthwise:
        mean = _next(graph, step.nodes[-1])
        if mean is not None and (type(mean.layer) is not GlobalAveragePooling2D or type(at[mean]) is not LayerStep):
            mean = None
        del at[before], at[step.nodes[-1]]
        joined = Separable(first, step, mean)
        at[joined.nodes[-1]] = joined


def _without_zeros(graph: Graph, node: Node, fold: bool, taken: Collection[Node]) -> Step | None:
    """A zero padding and the layer behind it, if that can do without the zeros being there."""
    behind = _next(graph, node)
    if behind is not None and _sees_zeros(node, behind):
        folded = _folded(graph, behind, taken) if fold else None
        if folded is None:
            return PaddedDepthwise([node, behind])
        folded.take_zeros(node)
        return folded
    return PaddedPooling([node, behind]) if fold and behind is not None and _ignores_zeros(node, behind) else None


def _sees_zeros(padding: Node, node: Node) -> bool:
    """Whether a node is a plain depthwise convolution, and none of its windows lies in the padding altogether."""
    layer = node.layer
    if type(layer) is not DepthwiseConv2D or layer.activation != "linear" or layer.padding != "valid":
        return False
    return _within(padding, reach(layer.kernel_size, layer.dilation_rate))


def _ignores_zeros(padding: Node, node: Node) -> bool:
    """Whether a node is a max-pooling in which padding never wins: nothing is below zero, and every window has something else."""
    if type(node.layer) is not MaxPooling2D or node.layer.padding != "valid":
        return False
    return _within(padding, node.layer.pool_size) and is_not_negative(padding.inputs[0])


def _within(padding: Node, window: Pair) -> bool:
    return all(zeros < size for border, size in zip(padding.layer.border, window, strict=True) for zeros in border)


def _fused(graph: Graph, node: Node, fold: bool, joint: Collection[Value], taken: Collection[Node]) -> Step | None:
    """The step that begins with a node, if a rule fits; what is taken belongs to another step, of the sum's other branch."""
    layer = node.layer
    if type(layer) is Conv2D and not layer.is_plain:
        return None
    if type(layer) in (Conv2D, Dense) and layer.activation == "relu":
        pool = _next(graph, node) if type(layer) is Conv2D else None
        return Fused([node, pool] if _is_plain_pool(pool) else [node])  # type: ignore[list-item]
    if type(layer) is ZeroPadding2D:
        return _without_zeros(graph, node, fold, taken)
    if fold and type(layer) in (Conv2D, DepthwiseConv2D) and layer.activation == "linear":
        return _folded(graph, node, taken)
    if type(layer) is BatchNormalization:
        behind = _next(graph, node)
        if behind is not None and ceiling_of(behind) is not None:
            return FusedNormalization([node, behind])
        if behind is not None and type(behind.layer) is Activation and behind.layer.activation == "gelu":
            return GeluNormalization([node, behind])
        total, relu = _end_of_block(graph, node, taken)
        if total is not None and relu is not None:
            return FusedNormalization([node, total, relu])
    return None


def _folded(graph: Graph, node: Node, taken: Collection[Node]) -> Folded | None:
    norm = _next(graph, node)
    if norm is None or type(norm.layer) is not BatchNormalization or norm.training:
        norm = None
    nodes = [node, norm] if norm is not None else [node]
    total, relu = _end_of_block(graph, nodes[-1], taken)
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


def _end_of_block(graph: Graph, node: Node, taken: Collection[Node]) -> tuple[Node | None, Node | None]:
    """The sum of two values of one shape behind a node, and the ReLU behind that; None for what is not there, or taken."""
    total = _next(graph, node)
    if (
        total is None
        or total in taken
        or type(total.layer) is not Add
        or len(total.inputs) != 2
        or total.inputs[0] is total.inputs[1]
    ):
        return None, None
    if total.inputs[0].shape != total.inputs[1].shape:
        return None, None
    relu = _next(graph, total)
    return total, relu if relu is not None and ceiling_of(relu) is not None else None


def _next(graph: Graph, node: Node | None) -> Node | None:
    """The node that alone needs what a node makes."""
    if node is None or len(node.outputs) != 1 or node.outputs[0] in graph.outputs:
        return None
    consumers = graph.consumers[node.outputs[0]]
    return consumers[0] if len(consumers) == 1 else None


def _is_plain_pool(node: Node | None) -> bool:
    if node is None or type(node.layer) is not MaxPooling2D:
        return False
    pool = node.layer
    return bool(pool.pool_size == pool.strides == (2, 2) and pool.padding == "valid")
