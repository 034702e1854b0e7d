"""ONNX's operators that look at an image through a window, and those that look at the whole of it, as layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minitl import layers
from minitl.graph.rules import is_not_negative
from minitl.graph.value import Value
from minitl.interop import onnx_any_axes, onnx_arrays
from minitl.interop.onnx_any_axes import LOWEST
from minitl.interop.onnx_tensors import (
    Attributes,
    as_image,
    as_plain,
    borders_of,
    is_same,
    padded,
    windows,
    with_constant,
    with_weights,
)


def convolution(reader: Any, node: Any, a: Attributes) -> Any:
    """Conv: a convolution over one or two axes, depthwise where every channel is a group."""
    kernel = reader.known(node, 1)
    bias = reader.known(node, 2)
    x = reader.image(reader.tensors[node.input[0]])
    dimensions = kernel.ndim - 2
    if dimensions not in (1, 2):
        raise ValueError(f"convolutions over {dimensions} axes are not known; 1 and 2 are")
    strides, dilations = a.get("strides", [1] * dimensions), a.get("dilations", [1] * dimensions)
    groups = a.get("group", 1)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], dilations, strict=True)]
    sizes = x.shape[1:-1]
    borders = borders_of(reader, node, a, sizes, spans, strides)
    apart = max(strides) > 1 and max(dilations) > 1  # which no layer has at once
    padding = "same" if any(map(any, borders)) and is_same(sizes, spans, strides, borders) and not apart else "valid"
    if padding == "valid":
        x = padded(x, borders)
    settings: dict[str, Any] = {"padding": padding, "use_bias": bias is not None}
    every = (slice(None), *(slice(None, None, s) for s in strides))
    strides = (1,) * dimensions if apart else tuple(strides)
    channels = x.shape[-1]
    if dimensions == 1:
        line = {"dilation_rate": dilations[0], "groups": groups, **settings}
        layer: Any = layers.Conv1D(kernel.shape[0], kernel.shape[2], strides[0], **line)
        turned = kernel.transpose(2, 1, 0)
    elif groups == channels and kernel.shape[1] == 1 and groups > 1:
        multiplier = kernel.shape[0] // groups
        layer = layers.DepthwiseConv2D(
            kernel.shape[2:], strides, depth_multiplier=multiplier, dilation_rate=dilations, **settings
        )  # fmt: skip
        turned = kernel.reshape(groups, multiplier, *kernel.shape[2:]).transpose(2, 3, 0, 1)
    else:
        layer = layers.Conv2D(kernel.shape[0], kernel.shape[2:], strides, dilation_rate=dilations, groups=groups, **settings)
        turned = kernel.transpose(2, 3, 1, 0)
    y = with_weights(layer, x, turned, bias)
    return as_image(y[every] if apart else y)


def conv_transpose(reader: Any, node: Any, a: Attributes) -> Any:
    """ConvTranspose: the valid one, cut or grown to the size that is asked for."""
    kernel, bias = reader.known(node, 1), reader.known(node, 2)
    x = reader.image(reader.tensors[node.input[0]])
    if kernel.ndim == 3:
        return as_image(_over_one_axis(reader, node, a, x, kernel, bias))
    if kernel.ndim != 4:
        return onnx_any_axes.conv_transpose(reader, node, a)
    y = _transposed(a, x, kernel, a.get("strides", [1, 1]))
    return as_image(y if bias is None else with_constant(y, "add", bias))


def _over_one_axis(reader: Any, node: Any, a: Attributes, x: Value, kernel: np.ndarray, bias: np.ndarray | None) -> Value:
    """A transposed convolution of sequences: of images with one row."""
    wide = {**a, "strides": [1, *a.get("strides", [1])], "dilations": [1, *a.get("dilations", [1])]}
    for key, first in (("output_padding", 0), ("output_shape", 1)):
        if key in a:
            wide[key] = [first, *a[key]]
    if "pads" in a:
        wide["pads"] = [0, a["pads"][0], 0, a["pads"][1]]
    y = _transposed(wide, layers.Reshape((1, *x.shape[1:]))(x), kernel[:, :, None], wide["strides"])
    y = layers.Reshape(y.shape[2:])(y)
    return y if bias is None else with_constant(y, "add", bias)


def _transposed(a: Attributes, x: Value, kernel: np.ndarray, strides: Any) -> Value:
    groups = a.get("group", 1)
    kernels = onnx_any_axes.split_transposed(kernel, groups, a.get("dilations", [1, 1]))
    spans = kernels[0].shape[2:]
    extra = a.get("output_padding", [0, 0])
    full = [None if n is None else (n - 1) * s + k for n, s, k in zip(x.shape[1:3], strides, spans, strict=True)]
    wanted = a.get("output_shape")
    auto = a.get("auto_pad", "NOTSET")
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [None if n is None else n * s for n, s in zip(x.shape[1:3], strides, strict=True)]
    parts = [
        with_weights(layers.Conv2DTranspose(k.shape[1], spans, strides, "valid", use_bias=False), part, k.transpose(2, 3, 1, 0))
        for part, k in zip([x] if groups == 1 else onnx_any_axes.channels_of(x, groups), kernels, strict=True)
    ]
    y = parts[0] if groups == 1 else layers.Concatenate()(parts)
    # Our valid output is at least as large as the stride: what it has beyond the windows is zero.
    have = y.shape[1:3]
    if None in have or None in full:
        raise ValueError("transposed convolutions need images of a known size")
    if wanted is not None:
        totals = [f + e - w for f, e, w in zip(full, extra, wanted, strict=True)]
        halves = [t // 2 for t in totals]
        ends = [(h, t - h) if auto == "SAME_UPPER" else (t - h, h) for t, h in zip(totals, halves, strict=True)]
    else:
        pads = a.get("pads", [0, 0, 0, 0])
        ends = [(pads[0], pads[2]), (pads[1], pads[3])]
    crop, grow = [], []
    for h, f, e, (before, after) in zip(have, full, extra, ends, strict=True):
        left = h - (f + e) + after
        crop.append((max(before, 0), max(left, 0)))
        grow.append((max(-before, 0), max(-left, 0)))
    y = padded(y, grow)
    if any(map(any, crop)):
        y = layers.Cropping2D(crop)(y)
    return y


def pooling(reader: Any, node: Any, a: Attributes) -> Any:
    """MaxPool and AveragePool."""
    average = node.op_type == "AveragePool"
    x = reader.image(reader.tensors[node.input[0]])
    size = list(a["kernel_shape"])
    dimensions = len(size)
    if dimensions not in (1, 2) or max(a.get("dilations", [1])) > 1 or reader.takes_more(node):
        return onnx_any_axes.pooling(reader, node, a)
    strides = list(a.get("strides", [1] * dimensions))
    sizes = x.shape[1:-1]
    borders = borders_of(reader, node, a, sizes, size, strides)
    if a.get("ceil_mode", 0):
        if None in sizes:
            raise ValueError("ceil_mode needs images of a known size")
        for i, (n, k, s) in enumerate(zip(sizes, size, strides, strict=True)):
            before, after = borders[i]
            missing = max((windows(n, k, s, borders[i], 1) - 1) * s + k - (n + before + after), 0)
            borders[i] = before, after + missing
            if average and a.get("count_include_pad", 0) and missing:
                raise ValueError("count_include_pad together with ceil_mode is not known")
    padding = "same" if any(map(any, borders)) and is_same(sizes, size, strides, borders) else "valid"
    kinds: dict[tuple[bool, int], Any] = {
        (False, 1): layers.MaxPooling1D, (False, 2): layers.MaxPooling2D,
        (True, 1): layers.AveragePooling1D, (True, 2): layers.AveragePooling2D,
    }  # fmt: skip
    kind = kinds[average, dimensions]
    one = (lambda v: v[0]) if dimensions == 1 else tuple
    if not any(map(any, borders)) or (padding == "same" and not (average and a.get("count_include_pad", 0))):
        return as_image(kind(one(size), one(strides), padding)(x))
    if average:
        y = kind(one(size), one(strides))(padded(x, borders))
        if a.get("count_include_pad", 0):
            return as_image(y)
        # A mean over what is inside: the mean with zeros, times the window's size over what is inside.
        inside = pixels_inside(sizes, size, strides, borders)
        return as_image(with_constant(y, "multiply", (math.prod(size) / inside)[None, ..., None]))
    if dimensions == 2 and not is_not_negative(x):  # zeros around an image may be larger than what is in it
        return as_image(kind(one(size), one(strides))(layers.ValuePadding2D(borders, LOWEST)(x)))
    if dimensions == 1 and not is_not_negative(x):
        raise ValueError("a border around sequences that may be negative is not known")
    return as_image(kind(one(size), one(strides))(padded(x, borders)))


def pixels_inside(sizes: Any, size: Any, strides: Any, borders: list[tuple[int, int]]) -> np.ndarray:
    """How many pixels of each window lie inside the image."""
    if None in sizes:
        raise ValueError("means at the border need images of a known size")
    axes = []
    for n, k, s, (before, after) in zip(sizes, size, strides, borders, strict=True):
        starts = np.arange((n + before + after - k) // s + 1) * s - before
        axes.append(np.minimum(starts + k, n) - np.maximum(starts, 0))
    found = axes[0]
    for axis in axes[1:]:
        found = found[:, None] * axis[None]
    return found.astype(float)


def global_pool(reader: Any, node: Any, a: Attributes) -> Any:
    """GlobalAveragePool and GlobalMaxPool."""
    x = reader.image(reader.tensors[node.input[0]])
    two = len(x.shape) == 4
    if len(x.shape) not in (3, 4):
        raise ValueError(f"global pooling over {len(x.shape) - 2} axes is not known")
    if node.op_type == "GlobalMaxPool":
        pool: Any = layers.GlobalMaxPooling2D(keepdims=True) if two else layers.GlobalMaxPooling1D(keepdims=True)
    else:
        pool = layers.GlobalAveragePooling2D(keepdims=True) if two else layers.GlobalAveragePooling1D(keepdims=True)
    return as_image(pool(x))


def reduce_mean(reader: Any, node: Any, a: Attributes) -> Any:
    """ReduceMean over the image."""
    tensor = reader.tensors[node.input[0]]
    axes = a.get("axes") if "axes" in a else reader.known(node, 1)
    rank = len(tensor.order)
    if (axes is None or not len(axes)) and a.get("noop_with_empty_axes", 0):
        return tensor
    places = sorted(int(n) % rank for n in np.asarray(axes).reshape(-1)) if axes is not None and len(axes) else [*range(rank)]
    if places != list(range(2, rank)) or rank not in (3, 4):
        return onnx_arrays.mean(reader, node, a, places)
    y = global_pool(reader, node, a)
    if a.get("keepdims", 1):
        return y
    return as_plain(layers.Flatten()(y.value))


def lrn(reader: Any, node: Any, a: Attributes) -> Any:
    """x / (bias + alpha / size sum of squares over neighbouring channels)^beta, from layers that have gradients."""
    x = reader.image(reader.tensors[node.input[0]])
    size, channels = int(a["size"]), x.shape[-1]
    low, high = (size - 1) // 2, size - 1 - (size - 1) // 2
    apart = np.arange(channels)[:, None] - np.arange(channels)[None]  # neighbour less channel
    band = ((apart >= -low) & (apart <= high)) * (a.get("alpha", 1e-4) / size)
    mixing = layers.Conv2D(channels, 1, trainable=False)
    total = with_weights(mixing, layers.Multiply()([x, x]), band[None, None], np.full(channels, a.get("bias", 1.0)))
    return as_image(layers.Multiply()([x, layers.ConstantOperation("power", -a.get("beta", 0.75))(total)]))


def batch_norm(reader: Any, node: Any, a: Attributes) -> Any:
    """BatchNormalization; in training mode by the batch's statistics, with what the moving ones become."""
    training, momentum = bool(a.get("training_mode", 0)), a.get("momentum", 0.9)
    tensor = reader.tensors[node.input[0]]
    x = reader.image(tensor) if len(tensor.order) > 2 else reader.plain(tensor)
    weights = [reader.known(node, place) for place in range(1, 5)]
    layer = layers.BatchNormalization(momentum=momentum, epsilon=a.get("epsilon", 1e-5))
    y = with_weights(layer, x, *weights, training=training or None)
    made = as_image(y) if len(tensor.order) > 2 else as_plain(y)
    if not reader.takes_more(node):
        return made
    return [made, *(as_plain(moved) for moved in onnx_arrays.moved_statistics(x, weights[2], weights[3], momentum))]
