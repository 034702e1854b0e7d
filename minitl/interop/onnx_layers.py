"""What each kind of layer is in ONNX: a function that adds its nodes, and says their last output's name and order of axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import layers
from minitl.interop.onnx_masks import WRITERS as WRITERS_OF_MASKS
from minitl.interop.onnx_masks import mean_or
from minitl.interop.onnx_normalization import WRITERS as WRITERS_OF_NORMALIZATION
from minitl.interop.onnx_recurrent import WRITERS as WRITERS_OF_RECURRENT
from minitl.layers.normalization import ScaledNormalization
from minitl.layers.random_images import RandomImage
from minitl.layers.steps import SamplesAsSteps, StepsAsSamples
from minitl.ops.conv2d_transpose import beyond
from minitl.preprocessing.resampling import resizing_matrix

Written = tuple[str, bool]  # a name, and whether its channels stand first; what has several outputs gives a list of them


class Tensor:
    """A tensor of the graph: its name, its shape here, and whether its channels stand first there."""

    def __init__(self, name: str, shape: Any, first: bool):
        self.name, self.shape, self.first = name, tuple(shape), first

    @property
    def axes(self) -> int:
        """How many axes it has."""
        return len(self.shape)


def _conv(w: Any, layer: Any, x: Tensor) -> Written:
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    kernel = layer.parameters["depthwise_kernel" if depthwise else "kernel"]
    groups = kernel.shape[2] if depthwise else layer.groups
    turned = kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2]) if depthwise else kernel.transpose(3, 2, 0, 1)
    return window(w, x, turned, layer.parameters.get("bias"), layer.strides, layer.dilation_rate, layer.padding, groups), True


def window(
    w: Any, x: Tensor, kernel: np.ndarray, bias: Any, strides: Any, dilations: Any, padding: str, groups: int, before: int = 0
) -> str:
    """A convolution: kernel as ONNX has it, (F, C / groups, ...); `before` zeros stand in front of a sequence alone."""
    inputs = [w.first(x), w.constant(kernel)] + ([] if bias is None else [w.constant(bias)])
    spans = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], dilations, strict=True)]
    border = {"pads": [before, 0]} if before else w.pads(x, spans, strides, padding)
    settings = {"kernel_shape": list(kernel.shape[2:]), "strides": list(strides), "dilations": list(dilations), "group": groups}
    return w.node("Conv", inputs, **settings, **border)


def _conv1d(w: Any, layer: Any, x: Tensor) -> Written:
    kernel, bias = layer.parameters["kernel"].transpose(2, 1, 0), layer.parameters.get("bias")
    strides, dilations = of_axes(layer.strides, x), of_axes(layer.dilation_rate, x)
    before = (kernel.shape[2] - 1) * dilations[0] if layer.causal else 0
    return window(w, x, kernel, bias, strides, dilations, layer.padding, layer.groups, before), True


def of_axes(pair: Any, x: Tensor) -> list[int]:
    """The numbers that belong to the axes of x between batch and channels; sequences are images of one row here."""
    return [int(n) for n in pair[2 - (x.axes - 2) :]]


def place_of(axis: int, axes: int, first: bool) -> int:
    """Where one of so many axes stands there, with the channels first or last."""
    axis %= axes
    return (1 if axis == axes - 1 else axis + 1) if first else axis


def _separable(w: Any, layer: Any, x: Tensor) -> Written:
    p = layer.parameters
    kernel = p["depthwise_kernel"]
    turned = kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])
    middle = window(w, x, turned, None, layer.strides, layer.dilation_rate, layer.padding, kernel.shape[2])
    inputs = [middle, w.constant(p["pointwise_kernel"].transpose(3, 2, 0, 1))]
    return w.node("Conv", inputs + ([w.constant(p["bias"])] if "bias" in p else []), kernel_shape=[1, 1]), True


def conv_transpose(w: Any, layer: Any, x: Tensor) -> Written:
    """A transposed convolution of images or of sequences, whose layers have the one row's settings in front."""
    kernel = layer.parameters["kernel"]  # (..., filters, C)
    axes = kernel.ndim - 2
    sizes, strides, more = kernel.shape[:axes], layer.strides[-axes:], (layer.output_padding or (None, None))[-axes:]
    inputs = [w.first(x), w.constant(kernel.transpose(axes + 1, axes, *range(axes)))]
    inputs += [w.constant(layer.parameters["bias"])] if "bias" in layer.parameters else []
    ends = [beyond(*axis, layer.padding) for axis in zip(sizes, strides, more, strict=True)]
    pads = [before for before, _ in ends] + [max(after, 0) for _, after in ends]
    border = {"pads": pads, "output_padding": [max(-after, 0) for _, after in ends]}
    return w.node("ConvTranspose", inputs, strides=list(strides), kernel_shape=list(sizes), **border), True


def _dense(w: Any, layer: Any, x: Tensor) -> Written:
    kernel, bias = w.constant(layer.parameters["kernel"]), layer.parameters.get("bias")
    if x.axes == 2:
        return w.node("Gemm", [x.name, kernel] + ([] if bias is None else [w.constant(bias)])), False
    product = w.node("MatMul", [w.last(x), kernel])
    return product if bias is None else w.node("Add", [product, w.constant(bias)]), False


def _pool(w: Any, layer: Any, x: Tensor) -> Written:
    kind = "MaxPool" if "Max" in type(layer).__name__ else "AveragePool"
    size, strides = of_axes(layer.pool_size, x), of_axes(layer.strides, x)
    border = w.pads(x, size, strides, layer.padding)
    return w.node(kind, [w.first(x)], kernel_shape=size, strides=strides, **border), True


def _global_pool(w: Any, layer: Any, x: Tensor) -> Written:
    kind = "GlobalMaxPool" if "Max" in type(layer).__name__ else "GlobalAveragePool"
    name = w.node(kind, [w.first(x)])
    return (name, True) if getattr(layer, "keepdims", False) else (w.node("Flatten", [name], axis=1), False)


def _relu(w: Any, layer: Any, x: Tensor) -> Written:
    if layer.threshold:
        below = w.node("Mul", [w.node("Sub", [x.name, w.constant(layer.threshold)]), w.constant(layer.negative_slope)])
        above = w.node("Greater", [x.name, w.constant(layer.threshold)])
        name = w.node("Where", [above, x.name, below])
        return name if layer.max_value is None else w.node("Min", [name, w.constant(layer.max_value)]), x.first
    name = w.node("LeakyRelu", [x.name], alpha=float(layer.negative_slope)) if layer.negative_slope else w.node("Relu", [x.name])
    return name if layer.max_value is None else w.node("Min", [name, w.constant(layer.max_value)]), x.first


def _prelu(w: Any, layer: Any, x: Tensor) -> Written:
    return w.node("PRelu", [w.last(x), w.constant(layer.parameters["alpha"])]), False


def _merge(w: Any, layer: Any, x: list[Tensor]) -> Written:
    kind = {"Add": "Sum", "Multiply": "Mul", "Average": "Mean", "Maximum": "Max", "Minimum": "Min", "Subtract": "Sub"}[
        type(layer).__name__
    ]
    first = all(t.first for t in x)
    names = [t.name if first else w.last(t) for t in x]
    if kind == "Sum":
        kind = "Add"  # which runtimes make part of a convolution, and Sum they do not
    if kind in ("Add", "Mul"):
        name = names[0]
        for other in names[1:]:
            name = w.node(kind, [name, other])
        return name, first
    return w.node(kind, names), first


def _concatenate(w: Any, layer: Any, x: list[Tensor]) -> Written:
    axes = x[0].axes
    first = all(t.first for t in x) and axes > 2
    place = place_of(layer.axis, axes, first)
    return w.node("Concat", [t.name if first else w.last(t) for t in x], axis=place), first


def _pad(w: Any, layer: Any, x: Tensor) -> Written:
    border = [(0, 0), *layer.border, (0, 0)]
    if x.first:
        border = [border[0], border[-1], *border[1:-1]]
    if layer.sign > 0:
        value = [w.constant(layer.value)] if isinstance(layer, layers.ValuePadding2D) else []
        return w.node("Pad", [x.name, w.whole([a for a, _ in border] + [b for _, b in border]), *value]), x.first
    axes = [i for i, (a, b) in enumerate(border) if a or b]
    starts, ends = [border[i][0] for i in axes], [-border[i][1] if border[i][1] else 2**31 for i in axes]
    return w.node("Slice", [x.name, w.whole(starts), w.whole(ends), w.whole(axes)]), x.first


def _channel_padding(w: Any, layer: Any, x: Tensor) -> Written:
    border = [(0, 0)] * x.axes
    border[1 if x.first else -1] = layer.padding
    return w.node("Pad", [x.name, w.whole([a for a, _ in border] + [b for _, b in border])]), x.first


def _upsampling(w: Any, layer: Any, x: Tensor) -> Written:
    scales = w.constant([1.0, 1.0, *of_axes(layer.size, x)])
    if layer.interpolation == "bilinear":
        return w.node("Resize", [w.first(x), "", scales], mode="linear", coordinate_transformation_mode="half_pixel"), True
    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return w.node("Resize", [w.first(x), "", scales], mode="nearest", **modes), True


def _reshape(w: Any, layer: Any, x: Tensor) -> Written:
    return w.node("Reshape", [w.last(x), w.whole([0, *layer.target_shape])]), False


def _constant_operation(w: Any, layer: Any, x: Tensor) -> Written:
    kind = {
        "add": "Add",
        "subtract": "Sub",
        "multiply": "Mul",
        "divide": "Div",
        "power": "Pow",
        "maximum": "Max",
        "minimum": "Min",
    }
    turned = {"subtract from": "Sub", "divide into": "Div"}
    names = [w.last(x), w.constant(layer.state["constant"])]
    if layer.operation in turned:
        return w.node(turned[layer.operation], names[::-1]), False
    return w.node(kind[layer.operation], names), False


def _normalization(w: Any, layer: Any, x: Tensor) -> Written:
    mean = layer.statistics["mean"]
    ends = (-1, *[1] * (x.axes - 2)) if x.first and layer.axis is not None else mean.shape
    mean, deviation = (w.constant(n.reshape(ends)) for n in (mean, layer.deviation()))
    if layer.invert:
        return w.node("Add", [w.node("Mul", [x.name, deviation]), mean]), x.first
    return w.node("Div", [w.node("Sub", [x.name, mean]), deviation]), x.first


def _need_size(layer: Any, x: Tensor) -> None:
    if None in x.shape[1:3]:
        raise ValueError(f"{layer.label}: is exported for images of a known size alone")


def _resizing(w: Any, layer: Any, x: Tensor) -> Written:
    _need_size(layer, x)
    if layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio:
        raise ValueError(f"{layer.label}: keeping proportions is not written to ONNX; resize before the model")
    rows = resizing_matrix(x.shape[1], layer.height, layer.interpolation, layer.antialias)
    columns = resizing_matrix(x.shape[2], layer.width, layer.interpolation, layer.antialias)
    return w.node("MatMul", [w.constant(rows), w.node("MatMul", [w.first(x), w.constant(columns.T)])]), True


def _center_crop(w: Any, layer: Any, x: Tensor) -> Written:
    _need_size(layer, x)
    if x.shape[1] < layer.height or x.shape[2] < layer.width:
        raise ValueError(f"{layer.label}: making images larger is not written to ONNX; resize before the model")
    starts = [(n - size) // 2 for n, size in zip(x.shape[1:3], (layer.height, layer.width), strict=True)]
    ends = [start + size for start, size in zip(starts, (layer.height, layer.width), strict=True)]
    return w.node("Slice", [x.name, w.whole(starts), w.whole(ends), w.whole([2, 3] if x.first else [1, 2])]), x.first


def _einsum(w: Any, layer: Any, x: Tensor) -> Written:
    of_x, of_kernel, out = layer.letters(x.axes)
    y = w.node("Einsum", [w.last(x), w.constant(layer.kernel)], equation=f"{of_x},{of_kernel}->{out}")
    return (w.node("Add", [y, w.constant(layer.bias)]) if layer.bias_axes else y), False


def _time_distributed(w: Any, layer: Any, x: Tensor) -> Written:
    inner = layer.layer.compute_output_shape((None, *x.shape[2:]))
    (made,) = w.layer(layer.layer, [Tensor(_steps_as_samples(w, layer, x)[0], (None, *x.shape[2:]), False)], [inner])
    return _samples_as_steps(w, layer, [made, x])


def _steps_as_samples(w: Any, layer: Any, x: Tensor) -> Written:
    return w.node("Reshape", [w.last(x), w.whole([-1, *_known(layer, x)[2:]])]), False


def _samples_as_steps(w: Any, layer: Any, x: list[Tensor]) -> Written:
    samples, sequences = x
    return w.node("Reshape", [w.last(samples), w.whole([-1, _known(layer, sequences)[1], *samples.shape[1:]])]), False


def _known(layer: Any, x: Tensor) -> Any:
    if None in x.shape[1:]:
        raise ValueError(f"{layer.label}: is exported for sequences of a known length alone")
    return x.shape


def _rescaling(w: Any, layer: Any, x: Tensor) -> Written:
    return w.node("Add", [w.node("Mul", [x.name, w.constant(layer.scale)]), w.constant(layer.offset)]), x.first


def _embedding(w: Any, layer: Any, x: Tensor) -> Written:
    return w.node("Gather", [w.constant(layer.parameters["embeddings"]), w.node("Cast", [x.name], to=7)], axis=0), False


def _softmax(w: Any, layer: Any, x: Tensor) -> Written:
    return w.node("Softmax", [x.name], axis=place_of(layer.axis, x.axes, x.first)), x.first


def _same(w: Any, layer: Any, x: Tensor) -> Written:
    return x.name, x.first


WRITERS: dict[type, Callable[..., Written]] = {
    layers.Conv2D: _conv,
    layers.DepthwiseConv2D: _conv,
    layers.Conv1D: _conv1d,
    layers.SeparableConv2D: _separable,
    layers.Conv2DTranspose: conv_transpose,
    layers.Dense: _dense,
    layers.MaxPooling2D: _pool,
    layers.AveragePooling2D: _pool,
    layers.MaxPooling1D: _pool,
    layers.AveragePooling1D: _pool,
    layers.GlobalAveragePooling2D: _global_pool,
    layers.GlobalMaxPooling2D: _global_pool,
    layers.GlobalAveragePooling1D: mean_or(_global_pool),
    layers.GlobalMaxPooling1D: _global_pool,
    layers.ReLU: _relu,
    layers.PReLU: _prelu,
    layers.Activation: _same,
    layers.Softmax: _softmax,
    layers.EinsumDense: _einsum,
    layers.LeakyReLU: lambda w, layer, x: (w.node("LeakyRelu", [x.name], alpha=float(layer.negative_slope)), x.first),
    layers.ELU: lambda w, layer, x: (w.node("Elu", [x.name], alpha=float(layer.alpha)), x.first),
    layers.Add: _merge,
    layers.Subtract: _merge,
    layers.Multiply: _merge,
    layers.Average: _merge,
    layers.Maximum: _merge,
    layers.Minimum: _merge,
    layers.Concatenate: _concatenate,
    layers.ZeroPadding1D: _pad,
    layers.ZeroPadding2D: _pad,
    layers.Cropping1D: _pad,
    layers.Cropping2D: _pad,
    layers.ChannelPadding: _channel_padding,
    layers.UpSampling2D: _upsampling,
    layers.UpSampling1D: _upsampling,
    layers.Reshape: _reshape,
    layers.Flatten: lambda w, layer, x: (w.node("Flatten", [w.last(x)], axis=1), False),
    layers.Permute: lambda w, layer, x: (w.node("Transpose", [w.last(x)], perm=[0, *layer.dims]), False),
    layers.RepeatVector: lambda w, layer, x: (
        w.node("Tile", [w.node("Unsqueeze", [x.name, w.whole([1])]), w.whole([1, layer.n, 1])]),
        False,
    ),
    layers.Rescaling: _rescaling,
    layers.Embedding: _embedding,
    layers.ConstantOperation: _constant_operation,
    layers.Normalization: _normalization,
    layers.Resizing: _resizing,
    layers.CenterCrop: _center_crop,
    layers.TimeDistributed: _time_distributed,
    StepsAsSamples: _steps_as_samples,
    SamplesAsSteps: _samples_as_steps,
    RandomImage: _same,
    **dict.fromkeys(
        (layers.Dropout, layers.Identity, layers.GaussianNoise, layers.GaussianDropout, layers.ActivityRegularization), _same
    ),
    **WRITERS_OF_MASKS,
    **WRITERS_OF_NORMALIZATION,
    **WRITERS_OF_RECURRENT,
}
ACTIVATIONS_OF_THEIR_OWN = (
    layers.Softmax, layers.ReLU, layers.LeakyReLU, layers.ELU, ScaledNormalization, layers.LSTM, layers.GRU, layers.SimpleRNN,
)  # fmt: skip
