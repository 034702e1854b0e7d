"""Steps of several nodes: what runs together, forward and backward; `rules` says when.

Each is a `Step` of `plan`, as a single layer's is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.backend import engine
from minitl.errors import wrong_shape
from minitl.graph.plan import Gradients, Need, Step
from minitl.graph.value import Node, Value
from minitl.layers.activations import Activation, ReLU
from minitl.layers.conv import Conv2D
from minitl.layers.depthwise import DepthwiseConv2D
from minitl.layers.linear import named
from minitl.layers.merging import Add
from minitl.layers.pooling import MaxPooling2D


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

    def forward_into(self, x: np.ndarray, y: np.ndarray, first: int) -> None:
        """The layer's y, into channels of images that are there."""
        layer, parameters = self.layer, self.layer.parameters
        x, convolve = layer.admit(x, self.shape), engine("convolution").convolve
        convolve(x, parameters["kernel"], parameters.get("bias"), layer.strides, layer.padding, relu=True, into=(y, first))

    def backward(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, Gradients]:
        """The first layer's dx, and its gradients."""
        fused = engine("fused")
        backward = fused.backward if self.convolves else fused.backward_dense
        dx, dkernel, dbias = backward(dy, cache, *need)
        return dx, {self.layer: named(kernel=dkernel, bias=dbias)}


class PaddedDepthwise(Step):
    """Zeros around images and the depthwise convolution that alone needs them, which then need not be there."""

    def __init__(self, nodes: list[Node]):
        super().__init__(nodes)
        self.padding, self.layer, self.shape = nodes[0].layer, nodes[1].layer, nodes[0].inputs[0].shape

    def forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The convolution's y."""
        x, layer, border = self.padding.admit(x, self.shape), self.layer, self.padding.border
        kernel, bias = layer.parameters["depthwise_kernel"], layer.parameters.get("bias")
        return engine("depthwise_conv2d").forward(x, kernel, bias, layer.strides, border, layer.dilation_rate)

    def backward(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, Gradients]:
        """dx without the zeros, and the convolution's gradients."""
        dx, gradients = self.layer.linear_backward(dy, cache, need)
        return dx, {self.layer: gradients}


class PaddedPooling(Step):
    """Zeros around images, and the max-pooling that alone needs them but would never choose one; only forward."""

    def __init__(self, nodes: list[Node]):
        super().__init__(nodes)
        self.padding, self.pool, self.shape = nodes[0].layer, nodes[1].layer, nodes[0].inputs[0].shape

    def forward(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The pooling's y."""
        x = self.padding.admit(x, self.shape)
        return engine("max_pool2d").forward(x, self.pool.pool_size, self.pool.strides, self.padding.border)[0], None


class FusedNormalization(Step):
    """A batch normalisation and the ReLU behind it, with the sum of a residual block between them or not."""

    def __init__(self, nodes: list[Node]):
        super().__init__(nodes)
        self.layer, self.shape, self.ceiling = nodes[0].layer, nodes[0].inputs[0].shape, ceiling_of(nodes[-1]) or 0
        if len(nodes) > 2:
            self.takes, self.adds_up = (nodes[0].inputs[0], other_input(nodes[1], nodes[0].outputs[0])), True

    def forward(self, x: Any, training: bool) -> tuple[np.ndarray, Any]:
        """The ReLU's y."""
        x, skip = x if isinstance(x, list) else (x, None)
        x = self.layer.admit(x, self.shape)
        _check_skip(self.nodes, skip, x.shape)
        constants = self.layer.constants(x, training)
        y, cache, before = engine("batch_norm").normalise(x, *constants, relu=True, ceiling=self.ceiling, skip=skip)
        return y, (cache, before if skip is None else y)

    def backward(self, dy: Any, cache: Any, need: Need) -> tuple[Any, Gradients]:
        """The normalisation's dx and gradients, and the skip's gradient if there is one."""
        batch_norm, (kept, before) = engine("batch_norm"), cache
        parameters, single = need.parameters and bool(self.layer.parameters), not isinstance(need.dx, tuple)
        if single:
            dx, named_gradients = self.layer.named(*batch_norm.gradients(dy, kept, before, need.dx, parameters, self.ceiling))
            return dx, {self.layer: named_gradients}
        dy, more = dy if isinstance(dy, tuple) else (dy, None)
        dz, sums = batch_norm.behind_skip(dy, more, kept, before, self.ceiling)
        dx, named_gradients = self.layer.named(*batch_norm.gradients(dz, kept, None, need.dx[0], parameters, sums=sums))
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
        self.padding = self.layer.padding
        self.entrance = self.layer  # which says what it expects
        if skip is not None:
            self.takes = (nodes[0].inputs[0], skip)

    def take_zeros(self, node: Node) -> None:
        """Let a depthwise convolution see the zeros that the layer in front puts around images, which then need not be there."""
        self.nodes = [node, *self.nodes]
        self.takes, self.shape = node.inputs, node.inputs[0].shape
        self.padding, self.entrance = node.layer.border, node.layer

    def weights(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """The kernel, the normalisation's factors for it, and the bias with the normalisation in it."""
        parameters = self.layer.parameters
        kernel, bias = parameters["depthwise_kernel" if self.depthwise else "kernel"], parameters.get("bias")
        if self.norm is None:
            return kernel, None, bias
        mean, variance = self.norm.state["moving_mean"], self.norm.state["moving_variance"]
        gamma_and_beta = self.norm.gamma_and_beta(len(mean), mean.dtype)
        return kernel, *engine("folding").factors(*gamma_and_beta, mean, variance, self.norm.epsilon, bias)

    def forward(self, x: Any, training: bool) -> tuple[np.ndarray, Any]:
        """The last of the layers' y."""
        x, skip = x if self.skips else (x, None)
        layer, relu = self.layer, self.ceiling is not None and not self.skips
        x = self.entrance.admit(x, self.shape)
        if self.depthwise:
            return engine("depthwise_conv2d").convolve(x, *self.as_depthwise()), None
        if self.pointwise:
            seen = engine("padding").every(x, layer.strides)
            _check_skip(self.nodes, skip, (*seen.shape[:3], layer.filters))
            return engine("convolution").pointwise(seen, *self.as_pointwise(skip)), None
        kernel, scale, bias = self.weights()
        if relu:
            y = engine("fused").forward(x, kernel, bias, layer.strides, layer.padding, self.pooled, keep=False, scale=scale)[0]
            return engine("batch_norm").cut_off(y, self.ceiling) if self.ceiling else y, None
        if skip is not None and None in self.shape[1:]:  # others were compared when the sum was built
            _check_skip(self.nodes, skip, layer.compute_output_shape(x.shape))
        convolve = engine("convolution").convolve
        return convolve(x, kernel, bias, layer.strides, layer.padding, self.ceiling is not None, scale, skip), None

    def as_depthwise(self) -> tuple:
        """Kernel, bias, strides, padding, dilation, and the limits of a depthwise convolution."""
        kernel, scale, bias = self.weights()
        kernel = kernel if scale is None else engine("folding").scaled(kernel, scale)
        limits = (-np.inf, np.inf) if self.ceiling is None else (0.0, self.ceiling or np.inf)
        return kernel, bias, self.layer.strides, self.padding, self.layer.dilation_rate, *limits

    def as_pointwise(self, skip: np.ndarray | None) -> tuple:
        """Kernel and bias of a 1x1 convolution, whether a ReLU follows, its factors, the ReLU's ceiling, and the skip."""
        kernel, scale, bias = self.weights()
        return kernel, bias, self.ceiling is not None, scale, self.ceiling or 0, skip

    def forward_into(self, x: np.ndarray, y: np.ndarray, first: int) -> None:
        """The last of the layers' y, into channels of images that are there."""
        (kernel, scale, bias), layer, relu = self.weights(), self.layer, self.ceiling is not None
        x, convolve = layer.admit(x, self.shape), engine("convolution").convolve
        convolve(x, kernel, bias, layer.strides, layer.padding, relu, scale, into=(y, first))


class Separable(Step):
    """A depthwise convolution and the 1x1 convolution that alone needs it, each with what is folded into it, and perhaps the
    global average-pooling behind them; only forward.
    """

    def __init__(self, first: Folded, second: Folded, mean: Node | None):
        super().__init__([*first.nodes, *second.nodes, *([mean] if mean else [])])
        self.first, self.second, self.mean = first, second, mean
        self.takes = (*first.takes, *second.takes[1:])  # with the skip, if there is one

    def forward(self, x: Any, training: bool) -> tuple[np.ndarray, Any]:
        """The last of the layers' y."""
        x, skip = x if self.second.skips else (x, None)
        x = self.first.entrance.admit(x, self.first.shape)
        separable = engine("separable")
        first, second = separable.First(*self.first.as_depthwise()), separable.Second(*self.second.as_pointwise(skip))
        y = separable.convolve(x, first, second, mean=self.mean is not None)
        return y[:, None, None] if self.mean is not None and self.mean.layer.keepdims else y, None


class Joined(Step):
    """A concatenation along the channels, some of whose parts are written in place by the convolutions that make them."""

    def __init__(self, node: Node, parts: list[Any]):
        super().__init__([*(inner for part in parts if part is not None for inner in part.nodes), node])
        self.layer, self.parts, self.training = node.layer, parts, node.training
        self.takes = tuple(value if part is None else part.takes[0] for value, part in zip(node.inputs, parts, strict=True))

    def forward(self, x: list[np.ndarray], training: bool) -> tuple[np.ndarray, Any]:
        """The concatenation's y."""
        pairs, shapes, dtypes = list(zip(x, self.parts, strict=True)), [], []
        for array, part in pairs:
            shapes.append(array.shape if part is None else part.layer.compute_output_shape(array.shape))
            dtypes.append(array.dtype if part is None else part.layer.parameters["kernel"].dtype)
        sizes = [shape[3] for shape in shapes]
        if any(shape[1:3] != shapes[0][1:3] for shape in shapes) or len(set(dtypes)) > 1:
            made = [array if part is None else part.forward(array, training)[0] for array, part in pairs]
            return self.layer.compute(made, training)
        y = engine("memory").empty((len(x[0]), *shapes[0][1:3], sum(sizes)), dtypes[0])
        first = 0
        for (array, part), size in zip(pairs, sizes, strict=True):
            if part is None:
                engine("recording").also(np.copyto, y[..., first : first + size], array)
            else:
                part.forward_into(array, y, first)
            first += size
        return y, None


def _check_skip(nodes: list[Node], skip: np.ndarray | None, shape: tuple[int, ...]) -> None:
    """Raise ValueError, by the name of the sum, for a skip of another shape than what it is added to, where both were open."""
    if skip is not None and skip.shape != shape:
        total = next(node.layer for node in nodes if type(node.layer) is Add)
        raise wrong_shape(total.label, shape, skip.shape, "make them alike")


def other_input(total: Node, value: Value) -> Value:
    """The input of a sum of two that is not this value."""
    return total.inputs[1] if total.inputs[0] is value else total.inputs[0]


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
