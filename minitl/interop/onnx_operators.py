"""ONNX's operators as layers: one function each, which takes the reader, the node and its attributes and gives a tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import activations, layers
from minitl.graph.value import Value
from minitl.interop import onnx_arrays, onnx_functions, onnx_places, onnx_recurrent
from minitl.interop.onnx_batches import rows_per_sample, with_batch_apart
from minitl.interop.onnx_resize import resize
from minitl.interop.onnx_tensors import Attributes, as_image, as_plain, padded, tensor_of, with_constant, with_weights
from minitl.interop.onnx_windows import batch_norm, conv_transpose, convolution, global_pool, lrn, pooling, reduce_mean


def _gemm(reader: Any, node: Any, a: Attributes) -> Any:
    x = reader.plain(reader.tensors[node.input[0]])
    kernel = reader.known(node, 1)
    kernel = a.get("alpha", 1.0) * (kernel.T if a.get("transB", 0) else kernel)
    bias = reader.known(node, 2)
    if bias is not None:
        bias = a.get("beta", 1.0) * bias
    if a.get("transA", 0) or (bias is not None and bias.ndim > 1 and bias.shape[0] != 1):
        return as_plain(onnx_arrays.affine(np.transpose(x) if a.get("transA", 0) else x, kernel, bias))
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1) if bias.ndim else bias, (kernel.shape[1],))
    layer = layers.Dense(kernel.shape[1], use_bias=bias is not None)
    return as_plain(with_weights(layer, x, kernel, bias))


def _matmul(reader: Any, node: Any, a: Attributes) -> Any:
    kernel, tensor = reader.constant(node.input[1]), reader.tensors.get(node.input[0])
    if tensor is None or kernel is None or kernel.ndim != 2 or len(tensor.order) < 2:
        return onnx_arrays.arithmetic(reader, node, a)
    x = reader.plain(tensor)
    return as_plain(with_weights(layers.Dense(kernel.shape[1], use_bias=False), x, kernel))


def _biased(reader: Any, product: str, bias: np.ndarray) -> Any:
    """A Dense layer where a bias is added to a product with a matrix and nothing else takes the product; else None."""
    node = reader.makers.get(product)
    if node is None or node.op_type != "MatMul" or reader.used[product] != 1 or node.input[0] not in reader.tensors:
        return None
    kernel, tensor = reader.constant(node.input[1]), reader.tensors[node.input[0]]
    if kernel is None or kernel.ndim != 2 or len(tensor.order) < 2 or bias.shape != kernel.shape[1:]:
        return None
    return as_plain(with_weights(layers.Dense(kernel.shape[1]), reader.plain(tensor), kernel, bias))


def _activation(layer: Callable[[Attributes], Any]) -> Callable[[Any, Any, Attributes], Any]:
    def read(reader: Any, node: Any, a: Attributes) -> Any:
        tensor = reader.tensors[node.input[0]]
        made = layer(a)
        value = tensor.value
        for part in made if isinstance(made, list) else [made]:
            value = part(value)
        return tensor_of(value, tensor.order)

    return read


def _celu(a: Attributes) -> list[Any]:
    alpha = a.get("alpha", 1.0)
    return [layers.Rescaling(1 / alpha), layers.ELU(), layers.Rescaling(alpha)]


def _selu(a: Attributes) -> list[Any]:
    return [layers.ELU(a.get("alpha", 1.67326319217681884765625)), layers.Rescaling(a.get("gamma", 1.05070102214813232421875))]


def _gelu(reader: Any, node: Any, a: Attributes) -> Any:
    tensor = reader.tensors[node.input[0]]
    if a.get("approximate", "none") == "tanh":
        return tensor_of(activations.gelu(tensor.value, approximate=True), tensor.order)
    return tensor_of(layers.Activation("gelu")(tensor.value), tensor.order)


def _thresholded(a: Attributes) -> Any:
    return layers.ReLU(threshold=float(a.get("alpha", 1.0)))


def _hard_sigmoid(a: Attributes) -> list[Any]:
    line = layers.Rescaling(a.get("alpha", 0.2), a.get("beta", 0.5))
    return [line, layers.ConstantOperation("maximum", 0.0), layers.ConstantOperation("minimum", 1.0)]


def _clip(reader: Any, node: Any, a: Attributes) -> Any:
    low = a.get("min") if "min" in a else reader.known(node, 1)
    high = a.get("max") if "max" in a else reader.known(node, 2)
    tensor = reader.tensors[node.input[0]]
    low = None if low is None else float(np.asarray(low).reshape(()))
    high = None if high is None else float(np.asarray(high).reshape(()))
    if low == 0 and (high is None or high >= 0):
        return tensor_of(layers.ReLU(high)(tensor.value), tensor.order)
    value = tensor.value
    if low is not None:
        value = with_constant(value, "maximum", low)
    return tensor_of(value if high is None else with_constant(value, "minimum", high), tensor.order)


def _softmax(reader: Any, node: Any, a: Attributes) -> Any:
    tensor = reader.tensors[node.input[0]]
    rank = len(tensor.order)
    old = reader.opset < 13
    axis = a.get("axis", 1 if old else -1) % rank
    if old and axis != rank - 1 and any(n != 1 for n in tensor.shape[axis + 1 :]):
        raise ValueError(f"axis {axis} of a tensor with {rank} axes: several axes at once are not known")
    if axis == 0:
        return as_plain(activations.softmax(reader.plain(tensor), axis))
    order = (*(n for n in range(rank) if n != axis), axis)
    return tensor_of(layers.Softmax()(reader.ordered(tensor, order)), order)


def _prelu(reader: Any, node: Any, a: Attributes) -> Any:
    tensor, slope = reader.tensors[node.input[0]], reader.known(node, 1)
    rank = len(tensor.order)
    if slope.ndim == 1 and rank > 2 and reader.opset < 7:  # once slopes belonged to the channels
        slope = slope.reshape(-1, *[1] * (rank - 2))
    slope = slope.reshape((1,) * (rank - slope.ndim) + slope.shape)
    if slope.shape[0] != 1:
        x = reader.plain(tensor)
        return as_plain(np.add(np.maximum(x, 0.0), np.multiply(np.minimum(x, 0.0), slope)))
    slope = np.broadcast_to(slope, [1, *(n or 1 for n in tensor.shape[1:])]).transpose(tensor.order)[0]
    return tensor_of(with_weights(layers.PReLU(), tensor.value, slope), tensor.order)


ARITHMETIC = {
    "Add": ("add", "add", layers.Add), "Sub": ("subtract", "subtract from", layers.Subtract),
    "Mul": ("multiply", "multiply", layers.Multiply), "Div": ("divide", "divide into", None), "Pow": ("power", None, None),
    "Max": ("maximum", "maximum", layers.Maximum), "Min": ("minimum", "minimum", layers.Minimum),
    "Sum": ("add", "add", layers.Add), "Mean": (None, None, layers.Average),
}  # fmt: skip


def _arithmetic(reader: Any, node: Any, a: Attributes) -> Any:
    normal, turned, merge = ARITHMETIC[node.op_type]
    names = list(node.input)
    if len(names) == 1:
        return reader.tensors[names[0]]
    gelu = onnx_functions.gelu_of(reader, node) if node.op_type == "Mul" else None
    if gelu is not None:
        return tensor_of(layers.Activation("gelu")(gelu.value), gelu.order)
    data = [name for name in names if name not in reader.constants]
    if len(data) == 1 and len(names) == 2:
        operation = normal if data[0] == names[0] else turned
        tensor = reader.tensors[data[0]]
        constant = reader.constants[names[1] if data[0] == names[0] else names[0]]
        rank = len(tensor.order)
        biased = _biased(reader, data[0], constant) if node.op_type == "Add" else None
        if biased is not None:
            return biased
        if operation is None or constant.ndim > rank or (constant.ndim == rank and constant.shape[0] != 1):
            return onnx_arrays.arithmetic(reader, node, a)
        spread = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
        turned_constant = spread.transpose(tensor.order)
        return tensor_of(
            with_constant(tensor.value, operation, turned_constant if turned_constant.size > 1 else spread.reshape(())),
            tensor.order,
        )
    tensors = [reader.tensors[name] for name in data]
    if len(data) != len(names) or merge is None or len({len(t.order) for t in tensors}) > 1 or not tensors[0].value.shape:
        return onnx_arrays.arithmetic(reader, node, a)
    values = [reader.ordered(t, tensors[0].order) for t in tensors]
    return tensor_of(merge()(values), tensors[0].order)


def _concat(reader: Any, node: Any, a: Attributes) -> Any:
    tensors = [reader.tensors[name] for name in node.input if name in reader.tensors]
    rank = len(tensors[0].order)
    axis = a.get("axis", 1) % rank
    if len(tensors) != len(node.input):  # a constant stands in every sample
        one = np.zeros_like(reader.plain(tensors[0])[tuple([slice(None)] + [slice(1)] * (rank - 1))])
        tensors = [reader.tensors.get(n) or as_plain(np.add(one, reader.constants[n].astype(np.float32))) for n in node.input]
    if axis == 0:
        return as_plain(np.concatenate([reader.plain(t) for t in tensors], axis=0))
    order = tensors[0].order
    values = [reader.ordered(t, order) for t in tensors]
    return tensors[0] if len(values) == 1 else tensor_of(layers.Concatenate(axis=order.index(axis))(values), order)


def _transpose(reader: Any, node: Any, a: Attributes) -> Any:
    tensor = reader.tensors[node.input[0]]
    rank = len(tensor.order)
    perm = list(a.get("perm", range(rank)[::-1]))
    if perm[0] != 0:
        return as_plain(np.transpose(reader.plain(tensor), perm))
    return tensor_of(tensor.value, tuple(perm.index(axis) for axis in tensor.order))


def _flatten(reader: Any, node: Any, a: Attributes) -> Any:
    tensor = reader.tensors[node.input[0]]
    axis = a.get("axis", 1)
    if axis % max(len(tensor.order), 1) != 1:
        return as_plain(onnx_arrays.flatten(reader.plain(tensor), axis % len(tensor.order)))
    return as_plain(layers.Flatten()(_for_reshape(reader, tensor)))


def _for_reshape(reader: Any, tensor: Any) -> Value:
    """A tensor in its own order; where all but one axis are 1, any order will do."""
    return tensor.value if sum(n != 1 for n in tensor.shape[1:]) <= 1 else reader.plain(tensor)


def _reshape(reader: Any, node: Any, a: Attributes) -> Any:
    tensor = reader.tensors[node.input[0]]
    given: Any = a.get("shape") if "shape" in a else reader.known(node, 1)
    wanted = [int(n) for n in given]
    known = tensor.shape
    apart = with_batch_apart(reader, tensor, wanted)
    if apart != wanted and apart[0] != -1:
        return as_plain(np.reshape(reader.plain(tensor), tuple(apart)))
    wanted = apart
    first = wanted[0] if wanted else -1
    if not a.get("allowzero", 0) and (
        known[:1] != (None,) or any(n == 0 and known[i] is None for i, n in enumerate(wanted) if i)
    ):
        return as_plain(onnx_arrays.reshape_around(reader.plain(tensor), [n or known[i] for i, n in enumerate(wanted)]))
    rest = [known[i] if n == 0 and not a.get("allowzero", 0) else n for i, n in enumerate(wanted)][1:]
    if first == -1 and None not in known[1:] and -1 not in rest:
        if math.prod(rest) != math.prod(known[1:]):
            return as_plain(onnx_arrays.reshape(reader, tensor, [-1, *rest]))
    elif first not in (0, -1) and (
        first not in reader.batch.values() or (-1 not in rest and math.prod(rest) != math.prod(known[1:]))
    ):
        return as_plain(onnx_arrays.reshape(reader, tensor, [first, *rest]))
    value = _for_reshape(reader, tensor) if len(rest) != len(known) - 1 or rest != list(known[1:]) else reader.plain(tensor)
    return as_plain(layers.Reshape(rest)(value))


def _squeeze(reader: Any, node: Any, a: Attributes) -> Any:
    tensor = reader.tensors[node.input[0]]
    axes: Any = a.get("axes") if "axes" in a else reader.known(node, 1)
    rank = len(tensor.order)
    if node.op_type == "Unsqueeze":
        places = [int(n) % (rank + len(axes)) for n in axes]
        shape: list[Any] = list(tensor.shape)
        for place in sorted(places):
            shape.insert(place, 1)
    else:
        places = [i for i in range(1, rank) if tensor.shape[i] == 1] if axes is None else [int(n) % rank for n in axes]
        shape = [n for i, n in enumerate(tensor.shape) if i not in places]
    if 0 in places or tensor.shape[0] is not None:  # in front of the batch, or the batch stands elsewhere
        if node.op_type == "Squeeze" and 0 in places and (tensor.shape[0] or reader.only_batch) != 1:
            raise ValueError("takes the batch's axis, which is known where the graph declares a batch of 1")
        function = np.squeeze if node.op_type == "Squeeze" else np.expand_dims
        return as_plain(function(reader.plain(tensor), tuple(places)))
    return as_plain(layers.Reshape([-1 if n is None else n for n in shape[1:]])(_for_reshape(reader, tensor)))


def _pad(reader: Any, node: Any, a: Attributes) -> Any:
    tensor = reader.tensors[node.input[0]]
    pads: Any = a.get("pads") if "pads" in a else reader.known(node, 1)
    value = a.get("value", 0.0) if "pads" in a else reader.known(node, 2)
    fill = 0.0 if value is None else float(np.asarray(value).reshape(()))
    rank = len(tensor.order)
    mode = a.get("mode", "constant")
    if mode == "constant" and fill and rank != 4:
        raise ValueError(f"value {value} around {rank} axes; zeros are known, and others around images")
    borders = [(0, 0)] * rank
    axes = reader.known(node, 3) if len(node.input) > 3 else None
    places = range(rank) if axes is None else [int(n) % rank for n in axes]
    count = len(list(places))
    for i, place in enumerate(places):
        borders[place] = int(pads[i]), int(pads[i + count])
    if any(n < 0 for b in borders for n in b) or any(borders[0]):
        raise ValueError(f"pads {list(map(int, pads))}: negative ones, and those of the batch, are not known")
    if mode != "constant":
        return tensor_of(
            onnx_arrays.padded_with_its_own(tensor.value, [borders[axis] for axis in tensor.order], mode), tensor.order
        )
    if rank == 4:
        image = reader.image(tensor)
        if fill and any(borders[1]):
            raise ValueError(f"other channels with value {value}; zeros are known")
        if any(borders[1]):
            image = layers.ChannelPadding(borders[1])(image)
        return as_image(layers.ValuePadding2D(borders[2:], fill)(image) if fill else padded(image, borders[2:]))
    if rank == 3:
        image = reader.image(tensor)
        image = layers.ChannelPadding(borders[1])(image) if any(borders[1]) else image
        return as_image(padded(image, borders[2:]))
    return as_plain(layers.ChannelPadding(borders[1])(reader.plain(tensor)))


def _identity(reader: Any, node: Any, a: Attributes) -> Any:
    tensor, dropout = reader.tensors[node.input[0]], node.op_type == "Dropout"
    masked = reader.takes_more(node)
    if dropout and len(node.input) > 2 and node.input[2] and bool(reader.known(node, 2)) and _ratio(reader, node) > 0:
        drop = layers.Dropout(_ratio(reader, node))
        if not masked:
            return tensor_of(drop(tensor.value, training=True), tensor.order)
        factor = drop(onnx_arrays.ones_like(tensor.value), training=True)
        y, mask = layers.Multiply()([tensor.value, factor]), np.greater(factor, 0.0)
        return [tensor_of(y, tensor.order), tensor_of(mask, tensor.order)]
    if masked:
        return [tensor, tensor_of(onnx_arrays.ones_like(tensor.value), tensor.order)]
    return tensor


def _ratio(reader: Any, node: Any) -> float:
    ratio = reader.known(node, 1)
    return 0.5 if ratio is None else float(ratio)


def _shape(reader: Any, node: Any, a: Attributes) -> Any:
    tensor = reader.tensors[node.input[0]]
    if tensor.shape.count(None) > 1:
        raise ValueError("needs a known shape")
    rows = rows_per_sample(tensor.value, reader.rows) * (reader.only_batch or -1)
    whole = np.array([rows if n is None else n for n in tensor.shape], np.int64)
    return whole[a.get("start", 0) : a.get("end")]


READERS: dict[str, Callable[[Any, Any, Attributes], Any]] = {
    **onnx_functions.READERS, **onnx_places.READERS, **onnx_recurrent.READERS,
    **dict.fromkeys(ARITHMETIC, _arithmetic),
    "AveragePool": pooling, "BatchNormalization": batch_norm, "Celu": _activation(_celu), "Clip": _clip, "Concat": _concat,
    "Conv": convolution, "ConvTranspose": conv_transpose, "Dropout": _identity,
    "Elu": _activation(lambda a: layers.ELU(a.get("alpha", 1.0))), "Exp": _activation(lambda a: layers.Activation("exponential")),
    "Flatten": _flatten, "Gelu": _gelu, "Gemm": _gemm,
    "GlobalAveragePool": global_pool, "GlobalMaxPool": global_pool, "HardSigmoid": _activation(_hard_sigmoid),
    "HardSwish": _activation(lambda a: layers.Activation("hard_silu")), "Identity": _identity, "LRN": lrn,
    "LeakyRelu": _activation(lambda a: layers.LeakyReLU(a.get("alpha", 0.01))), "MatMul": _matmul, "MaxPool": pooling,
    "Neg": _activation(lambda a: layers.Rescaling(-1.0)), "PRelu": _prelu, "Pad": _pad, "ReduceMean": reduce_mean,
    "Relu": _activation(lambda a: layers.ReLU()), "Reshape": _reshape, "Resize": resize, "Selu": _activation(_selu),
    "Shape": _shape, "Sigmoid": _activation(lambda a: layers.Activation("sigmoid")), "Softmax": _softmax,
    "Softplus": _activation(lambda a: layers.Activation("softplus")),
    "Sqrt": _activation(lambda a: layers.ConstantOperation("power", 0.5)), "Squeeze": _squeeze,
    "Tanh": _activation(lambda a: layers.Activation("tanh")),
    "ThresholdedRelu": _activation(_thresholded), "Transpose": _transpose,
    "Unsqueeze": _squeeze, "Upsample": resize,
}  # fmt: skip
