"""What reading a node needs: tensors from values, layers with their weights, and the border of a window."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl import layers
from minitl.graph.value import Value

Attributes = dict[str, Any]


class Tensor:
    """A tensor of the graph: a value here, and for each of its axes the place that it has there."""

    def __init__(self, value: Value, order: tuple[int, ...]):
        self.value, self.order = value, order

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Its shape there."""
        there: list[int | None] = [None] * len(self.order)
        for n, axis in zip(self.value.shape, self.order, strict=True):
            there[axis] = n
        return tuple(there)


def image_order(axes: int) -> tuple[int, ...]:
    """Where the axes of a value (N, ..., C) stand in a tensor (N, C, ...)."""
    return (0, *range(2, axes), 1)


def tensor_of(value: Any, order: tuple[int, ...]) -> Any:
    """A value as a tensor."""
    return Tensor(value, order)


def as_image(value: Value) -> Any:
    """An image as a tensor with channels first there."""
    return tensor_of(value, image_order(len(value.shape)))


def as_plain(value: Any) -> Any:
    """A value as a tensor with the same order of axes there."""
    return tensor_of(value, tuple(range(len(value.shape))))


def either(reader: Any, name: str) -> Any:
    """An input that may be a tensor or a constant."""
    return reader.constants[name] if name in reader.constants else reader.plain(reader.tensors[name])


def length(reader: Any, shape: Any, axis: int) -> int:
    """The length of an axis, the batch's where the graph is read for one."""
    found = reader.only_batch if axis == 0 and shape[0] is None else shape[axis]
    if found is None:
        raise ValueError(f"along axis {axis}, whose size is open")
    return int(found)


def with_weights(layer: Any, value: Any, *weights: Any, **call: Any) -> Any:
    """A layer on a value, with its weights."""
    made = layer(value, **call)
    layer.set_weights([np.asarray(w) for w in weights if w is not None])
    return made


def with_constant(value: Value, operation: str, constant: Any) -> Value:
    """A value with a constant."""
    constant = np.asarray(constant)
    return layers.ConstantOperation(operation, constant)(value)


def evaluated(reader: Any, node: Any, arrays: dict[str, np.ndarray]) -> list[Any]:
    """What the standard's own definition of a node gives for arrays by name."""
    from onnx.reference import ReferenceEvaluator

    helper = reader.onnx.helper
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in arrays.items()]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "node", infos, outputs)
    made: Any = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", reader.opset)]))
    return list(made.run(None, arrays))


def borders_of(reader: Any, node: Any, a: Attributes, sizes: Any, spans: Any, strides: Any) -> list[tuple[int, int]]:
    """The padding of a sliding window along each axis, (before, after)."""
    auto = a.get("auto_pad", "NOTSET")
    count = len(spans)
    if auto == "VALID":
        return [(0, 0)] * count
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        if None in sizes:
            raise ValueError(f"auto_pad={auto} needs images of a known size")
        totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(sizes, spans, strides, strict=True)]
        return [(t // 2, t - t // 2) if auto == "SAME_UPPER" else (t - t // 2, t // 2) for t in totals]
    pads = a.get("pads", [0] * (2 * count))
    if min(pads) < 0:
        raise ValueError(f"negative pads {pads}")
    return [(int(pads[i]), int(pads[i + count])) for i in range(count)]


def windows(size: int, span: int, stride: int, border: tuple[int, int], ceil: int) -> int:
    """How many windows stand along an axis with its border; with `ceil` the last may reach beyond, if it begins inside."""
    room = size + sum(border) - span
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - ((count - 1) * stride >= size + border[0])


def padded(value: Value, borders: list[tuple[int, int]]) -> Value:
    """A value with zeros around it."""
    if not any(map(any, borders)):
        return value
    return layers.ZeroPadding2D(borders)(value) if len(borders) == 2 else layers.ZeroPadding1D(borders[0])(value)


def is_same(sizes: Any, spans: Any, strides: Any, borders: list[tuple[int, int]]) -> bool:
    """Whether a border is what `padding="same"` gives."""
    if None in sizes:
        return all(
            s == 1 and b == ((k - 1) // 2, (k - 1) - (k - 1) // 2) for k, s, b in zip(spans, strides, borders, strict=True)
        )
    totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(sizes, spans, strides, strict=True)]
    return borders == [(t // 2, t - t // 2) for t in totals]
