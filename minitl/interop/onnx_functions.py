"""ONNX's operators that are functions of NumPy: of each number, over axes, comparisons, and what cuts and joins tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import activations, layers
from minitl.interop.onnx_arrays import MOST_NUMBERS, allow
from minitl.interop.onnx_tensors import Attributes, as_image, as_plain, either, length, tensor_of, with_weights


def _of_each(function: Callable[..., Any], *settings: tuple[str, float]) -> Callable[[Any, Any, Attributes], Any]:
    """A function of each number, whose settings are attributes."""

    def read(reader: Any, node: Any, a: Attributes) -> Any:
        tensor = reader.tensors[node.input[0]]
        return tensor_of(function(tensor.value, *(a.get(name, default) for name, default in settings)), tensor.order)

    return read


def _erf(x: Any) -> Any:
    """2 gelu(v) / v - 1 with v = sqrt(2) x, since gelu(v) = v (1 + erf(v / sqrt 2)) / 2."""
    v = np.multiply(x, math.sqrt(2))
    v = np.add(v, np.multiply(np.equal(v, 0.0), 1e-20))
    return np.subtract(np.divide(np.multiply(activations.gelu(v), 2.0), v), 1.0)


def gelu_of(reader: Any, node: Any) -> Any:
    """The tensor x when a product is x (1 + erf(x / sqrt 2)) / 2, in any order of its factors; else None."""
    names = [name for given in node.input for name in _factors(reader, given, 2)]
    numbers = [name for name in names if name in reader.constants]
    rest = [name for name in names if name not in reader.constants]
    if len(numbers) != 1 or len(rest) != 2 or not np.array_equal(reader.constants[numbers[0]].reshape(-1), [0.5]):
        return None
    for x, gate in (rest, rest[::-1]):
        erf = _beside(reader, gate, "Add", 1.0)
        if erf in reader.makers and reader.makers[erf].op_type == "Erf":
            inner = reader.makers[erf].input[0]
            if x in (_beside(reader, inner, "Mul", math.sqrt(0.5)), _beside(reader, inner, "Div", math.sqrt(2))):
                return reader.tensors[x]
    return None


def _factors(reader: Any, name: str, depth: int) -> list[str]:
    """What a product is a product of."""
    node = reader.makers.get(name)
    if depth == 0 or node is None or node.op_type != "Mul":
        return [name]
    return [factor for given in node.input for factor in _factors(reader, given, depth - 1)]


def _beside(reader: Any, name: str, kind: str, number: float) -> str | None:
    """The other input of the node that made a tensor, when that is of a kind and has a certain number for one input."""
    node = reader.makers.get(name)
    if node is None or node.op_type != kind:
        return None
    pairs = [tuple(node.input)] if kind == "Div" else [tuple(node.input), tuple(node.input)[::-1]]
    for x, constant in pairs:
        given = reader.constants.get(constant)
        if given is not None and given.size == 1 and math.isclose(float(given.reshape(())), number, rel_tol=1e-4):
            return x
    return None


def _shrink(x: Any, bias: float, limit: float) -> Any:
    above, below = np.greater(x, limit), np.less(x, -limit)
    return np.add(np.multiply(below, np.add(x, bias)), np.multiply(above, np.subtract(x, bias)))


def _log_softmax(reader: Any, node: Any, a: Attributes) -> Any:
    x, axis = reader.plain(reader.tensors[node.input[0]]), a.get("axis", -1 if reader.opset >= 13 else 1)
    if reader.opset < 13 and axis % x.ndim != x.ndim - 1:
        raise ValueError(f"axis {axis} of a tensor with {x.ndim} axes: several axes at once are not known")
    shifted = np.subtract(x, np.max(x, axis=axis, keepdims=True))
    return as_plain(np.subtract(shifted, np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))))


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min, "ReduceProd": np.prod,
    "ReduceL1": lambda x, **k: np.sum(np.absolute(x), **k), "ReduceL2": lambda x, **k: np.sqrt(np.sum(np.square(x), **k)),
    "ReduceSumSquare": lambda x, **k: np.sum(np.square(x), **k), "ReduceLogSum": lambda x, **k: np.log(np.sum(x, **k)),
    "ReduceLogSumExp": lambda x, **k: _log_sum_exp(x, **k),
}  # fmt: skip


def _reduce(reader: Any, node: Any, a: Attributes) -> Any:
    tensor, given = reader.tensors[node.input[0]], a.get("axes") if "axes" in a else reader.known(node, 1)
    x = reader.plain(tensor)
    axes = tuple(int(n) % x.ndim for n in np.asarray(given).reshape(-1)) if given is not None and len(given) else None
    if axes is None and a.get("noop_with_empty_axes", 0):
        return tensor
    keep = bool(a.get("keepdims", 1))
    axes = tuple(range(x.ndim)) if axes is None else axes
    if node.op_type == "ReduceProd":  # one axis at a time
        for axis in sorted(axes, reverse=True):
            x = np.prod(x, axis=axis, keepdims=keep)
        return as_plain(x)
    return as_plain(REDUCTIONS[node.op_type](x, axis=axes, keepdims=keep))


def _log_sum_exp(x: Any, axis: Any, keepdims: bool) -> Any:
    top = np.max(x, axis=axis, keepdims=True)
    total = np.add(np.log(np.sum(np.exp(np.subtract(x, top)), axis=axis, keepdims=True)), top)
    return total if keepdims else np.squeeze(total, axis)


COMPARISONS: dict[str, Callable[..., Any]] = {
    "Greater": np.greater, "GreaterOrEqual": np.greater_equal, "Less": np.less, "LessOrEqual": np.less_equal,
    "Equal": np.equal, "And": np.logical_and, "Or": np.logical_or,
}  # fmt: skip


def _compare(reader: Any, node: Any, a: Attributes) -> Any:
    return as_plain(COMPARISONS[node.op_type](*(either(reader, name) for name in node.input)))


def _where(reader: Any, node: Any, a: Attributes) -> Any:
    condition, first, second = (either(reader, name) for name in node.input)
    if isinstance(condition, np.ndarray):
        return as_plain(np.where(condition, first, second))
    return as_plain(np.where(np.not_equal(condition, 0.0), first, second))


def _cast(reader: Any, node: Any, a: Attributes) -> Any:
    """Numbers stay what they are; whole ones are cut off, truths are 0 and 1."""
    tensor, kind = reader.tensors[node.input[0]], reader.onnx.helper.tensor_dtype_to_np_dtype(a["to"]).kind
    if kind == "f" or (kind in "iu" and tensor.value.dtype.kind in "iub"):
        return tensor
    if kind not in "iub":
        raise ValueError("to this kind of number is not known")
    return tensor_of(np.not_equal(tensor.value, 0.0) if kind == "b" else np.trunc(tensor.value), tensor.order)


def _slice(reader: Any, node: Any, a: Attributes) -> Any:
    tensor = reader.tensors[node.input[0]]
    starts, ends, axes, steps = (a.get(name) if name in a else reader.known(node, place)
                                 for place, name in enumerate(("starts", "ends", "axes", "steps"), 1))  # fmt: skip
    if starts is None or ends is None:
        raise ValueError("needs starts and ends that are constants")
    rank = len(tensor.order)
    axes = range(len(starts)) if axes is None else [int(n) % rank for n in axes]
    steps = [1] * len(starts) if steps is None else steps
    cuts = [slice(None)] * rank
    for axis, start, end, step in zip(axes, map(int, starts), map(int, ends), map(int, steps), strict=True):
        size = tensor.shape[axis]
        if axis == 0 and (start, step) == (0, 1) and end >= MOST_NUMBERS:
            continue  # all samples
        if step < 0 and size is not None and end < -size:
            end_of: int | None = None
        else:
            end_of = end
        cuts[axis] = slice(start, end_of, step)
    return tensor_of(tensor.value[tuple(cuts[axis] for axis in tensor.order)], tensor.order)


def _split(reader: Any, node: Any, a: Attributes) -> Any:
    tensor = reader.tensors[node.input[0]]
    axis, sizes = int(a.get("axis", 0)) % len(tensor.order), a.get("split") if "split" in a else reader.known(node, 1)
    whole = length(reader, tensor.shape, axis)
    if sizes is None:
        each = -(-whole // len(node.output))
        sizes = [min(each, whole - each * k) for k in range(len(node.output))]
    ends = np.cumsum([int(n) for n in sizes])
    place = tensor.order.index(axis)
    before = (slice(None),) * place
    pieces = [(*before, slice(int(end - size), int(end))) for end, size in zip(ends, sizes, strict=True)]
    return [tensor_of(tensor.value[piece], tensor.order) for piece in pieces]


def _expand(reader: Any, node: Any, a: Attributes) -> Any:
    x, shape = reader.plain(reader.tensors[node.input[0]]), [int(n) for n in _shape_of(reader, node)]
    if len(shape) == x.ndim and (shape[0] < 0 or shape[0] == reader.only_batch):
        shape[0] = 1
    allow(math.prod(map(abs, shape)))
    return as_plain(np.add(x, np.zeros(shape, np.float32)))


def _tile(reader: Any, node: Any, a: Attributes) -> Any:
    x, repeats = reader.plain(reader.tensors[node.input[0]]), [int(n) for n in _shape_of(reader, node)]
    return as_plain(np.tile(x, tuple(repeats)))


def _shape_of(reader: Any, node: Any) -> Any:
    shape = reader.known(node, 1)
    if shape is None:
        raise ValueError("needs a shape that is a constant")
    return shape


def _depth_and_space(reader: Any, node: Any, a: Attributes) -> Any:
    """DepthToSpace and SpaceToDepth: channels become the pixels of a block, or the other way round."""
    x, size = reader.image(reader.tensors[node.input[0]]), int(a["blocksize"])
    if x.ndim != 4 or None in x.shape[1:]:
        raise ValueError("needs images of a known size")
    height, width, channels = x.shape[1:]
    channels_first = a.get("mode", "DCR") == "CRD"  # whether a block's pixels of one channel stand side by side
    if node.op_type == "SpaceToDepth":
        height, width = height // size, width // size
        parts = layers.Reshape((height, size, width, size, channels))(x)
        made = layers.Permute((1, 3, 5, 2, 4) if channels_first else (1, 3, 2, 4, 5))(parts)
    else:
        deep = channels // size**2
        parts = layers.Reshape((height, width, *((deep, size, size) if channels_first else (size, size, deep))))(x)
        made = layers.Permute((1, 4, 2, 5, 3) if channels_first else (1, 3, 2, 4, 5))(parts)
        height, width = height * size, width * size
    return as_image(layers.Reshape((height, width, -1))(made))


def _normalize(reader: Any, node: Any, a: Attributes) -> Any:
    """LayerNormalization: a layer over the last axis, functions over several."""
    tensor = reader.tensors[node.input[0]]
    rank, scale, shift = len(tensor.order), reader.known(node, 1), reader.known(node, 2)
    axis, epsilon = int(a.get("axis", -1)) % rank, a.get("epsilon", 1e-5)
    told = reader.takes_more(node)
    if axis == rank - 1 and not told and scale.ndim == 1:
        order = (*(n for n in range(rank) if n != axis), axis)
        shift = np.zeros_like(scale) if shift is None else shift
        layer = layers.LayerNormalization(epsilon=epsilon)
        return tensor_of(with_weights(layer, reader.ordered(tensor, order), scale, shift), order)
    x, axes = reader.plain(tensor), tuple(range(axis, rank))
    mean = np.mean(x, axis=axes, keepdims=True)
    apart = np.subtract(x, mean)
    inverse = np.reciprocal(np.sqrt(np.add(np.mean(np.square(apart), axis=axes, keepdims=True), epsilon)))
    y = np.multiply(np.multiply(apart, inverse), scale)
    return [as_plain(part) for part in (y if shift is None else np.add(y, shift), mean, inverse)]


def _normalize_groups(reader: Any, node: Any, a: Attributes) -> Any:
    """GroupNormalization, and InstanceNormalization, in which every channel is a group."""
    tensor, scale, shift = reader.tensors[node.input[0]], reader.known(node, 1), reader.known(node, 2)
    x = reader.image(tensor)
    groups = int(a.get("num_groups", x.shape[-1]))
    if len(scale) == groups != x.shape[-1]:  # once a scale belonged to a group
        scale, shift = (np.repeat(weight, x.shape[-1] // groups) for weight in (scale, shift))
    return as_image(with_weights(layers.GroupNormalization(groups, epsilon=a.get("epsilon", 1e-5)), x, scale, shift))


def _normalize_mean_variance(reader: Any, node: Any, a: Attributes) -> Any:
    x, axes = reader.plain(reader.tensors[node.input[0]]), tuple(a.get("axes", (0, 2, 3)))
    apart = np.subtract(x, np.mean(x, axis=axes, keepdims=True))
    return as_plain(np.divide(apart, np.add(np.sqrt(np.mean(np.square(apart), axis=axes, keepdims=True)), 1e-9)))


def _normalize_length(reader: Any, node: Any, a: Attributes) -> Any:
    x, axis = reader.plain(reader.tensors[node.input[0]]), int(a.get("axis", -1))
    power = np.absolute(x) if a.get("p", 2) == 1 else np.square(x)
    length = np.sum(power, axis=axis, keepdims=True)
    length = length if a.get("p", 2) == 1 else np.sqrt(length)
    return as_plain(np.divide(x, np.add(length, np.equal(length, 0.0))))  # what is 0 stays 0


def _einsum(reader: Any, node: Any, a: Attributes) -> Any:
    return as_plain(np.einsum(a["equation"].replace(" ", ""), *(either(reader, name) for name in node.input)))


def _running_sum(reader: Any, node: Any, a: Attributes) -> Any:
    axis = int(np.asarray(_shape_of(reader, node)).reshape(()))
    x = reader.plain(reader.tensors[node.input[0]])
    turned = np.flip(x, axis) if a.get("reverse", 0) else x
    y = np.cumsum(turned, axis)
    y = np.subtract(y, turned) if a.get("exclusive", 0) else y
    return as_plain(np.flip(y, axis) if a.get("reverse", 0) else y)


OF_EACH: dict[str, tuple[Any, ...]] = {
    "Abs": (np.absolute,), "Ceil": (np.ceil,), "Cos": (np.cos,), "Cosh": (np.cosh,), "Acos": (np.arccos,), "Asin": (np.arcsin,),
    "Acosh": (np.arccosh,), "Asinh": (np.arcsinh,), "Atanh": (np.arctanh,), "IsNaN": (np.isnan,),
    "Atan": (np.arctan,), "Erf": (_erf,), "Floor": (np.floor,), "Log": (np.log,), "Reciprocal": (np.reciprocal,),
    "Round": (np.rint,), "Sign": (np.sign,), "Sin": (np.sin,), "Sinh": (np.sinh,), "Tan": (np.tan,), "Not": (np.logical_not,),
    "Mish": (lambda x: np.multiply(x, np.tanh(activations.softplus(x))),),
    "Softsign": (lambda x: np.divide(x, np.add(np.absolute(x), 1.0)),),
    "Shrink": (_shrink, ("bias", 0.0), ("lambd", 0.5)),
    "Swish": (lambda x, alpha: np.multiply(x, activations.sigmoid(np.multiply(x, alpha))), ("alpha", 1.0)),
}  # fmt: skip
READERS: dict[str, Callable[[Any, Any, Attributes], Any]] = {
    **{name: _of_each(*how) for name, how in OF_EACH.items()},
    **dict.fromkeys(REDUCTIONS, _reduce), **dict.fromkeys(COMPARISONS, _compare),
    "Cast": _cast, "CumSum": _running_sum,
    "DepthToSpace": _depth_and_space, "Einsum": _einsum, "Expand": _expand,
    "GroupNormalization": _normalize_groups, "InstanceNormalization": _normalize_groups, "LayerNormalization": _normalize,
    "LogSoftmax": _log_softmax, "LpNormalization": _normalize_length, "MeanVarianceNormalization": _normalize_mean_variance,
    "Slice": _slice, "SpaceToDepth": _depth_and_space, "Split": _split, "Tile": _tile, "Where": _where,
}  # fmt: skip
