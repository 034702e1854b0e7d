"""ONNX's operators where no layer has what they do, such as those that move the batch's axis: as functions of arrays.

A function of a value is a node like any other, and has a gradient (`minitl.layers.ArrayFunction`); it is slower than a layer.
What loses the batch can be computed, `model(x)`, but is no output of `predict`.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np

from minitl.interop.onnx_tensors import Attributes, as_plain, borders_of, windows

ARITHMETIC = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power, "Max": np.maximum,
    "Min": np.minimum, "Sum": np.add, "MatMul": np.matmul,
}  # fmt: skip
LOWEST = float(np.finfo(np.float32).min)
MOST_NUMBERS = 1 << 22  # of a constant that is made here


def arithmetic(reader: Any, node: Any, a: Attributes) -> Any:
    """Tensors and constants of any shapes, one after another, as NumPy broadcasts them."""
    if node.op_type not in ARITHMETIC:
        raise ValueError("is not known with these inputs")
    parts = [reader.constants[n] if n in reader.constants else reader.plain(reader.tensors[n]) for n in node.input]
    if node.op_type == "MatMul" and isinstance(parts[1], np.ndarray) and parts[1].ndim == 1 and len(parts[0].shape) > 1:
        return as_plain(np.matmul(parts[0], parts[1][:, None])[..., 0])
    return as_plain(functools.reduce(ARITHMETIC[node.op_type], parts))


def affine(x: Any, kernel: np.ndarray, bias: np.ndarray | None) -> Any:
    """x kernel + bias, which may differ from row to row."""
    y = np.matmul(x, kernel.astype(np.float32))
    return y if bias is None else np.add(y, bias.astype(np.float32))


def mean(reader: Any, node: Any, a: Attributes, places: list[int]) -> Any:
    """ReduceMean over any axes."""
    x, keep = reader.plain(reader.tensors[node.input[0]]), bool(a.get("keepdims", 1))
    return as_plain(np.mean(x, axis=tuple(places), keepdims=keep))


def reshape(x: Any, wanted: list[int]) -> Any:
    """A shape whose first axis need not be the batch; of several axes the first is the one that grows with the batch."""
    if -1 not in wanted:
        wanted = [-1, *wanted[1:]]
    return np.reshape(x, tuple(wanted))


def flatten(x: Any, axis: int) -> Any:
    """A matrix: the axes in front of `axis` are its rows."""
    behind = x.shape[axis:]
    if axis and None in behind:
        raise ValueError(f"axis {axis} needs a known shape behind it")
    return np.reshape(x, (-1, math.prod(behind)) if axis else (1, -1))


def pooling(reader: Any, node: Any, a: Attributes) -> Any:
    """MaxPool and AveragePool over any number of axes, with dilations: along one axis after another."""
    if a.get("storage_order", 0) or any(name in reader.used for name in node.output[1:]):
        raise ValueError("places of the maxima and their order are not known")
    x, size = reader.plain(reader.tensors[node.input[0]]), list(a["kernel_shape"])
    axes = range(2, 2 + len(size))
    strides, dilations = a.get("strides", [1] * len(size)), a.get("dilations", [1] * len(size))
    spans, lengths = [(k - 1) * d + 1 for k, d in zip(size, dilations, strict=True)], x.shape[2:]
    if None in lengths:
        raise ValueError("needs images of a known size")
    borders, counts = borders_of(reader, node, a, lengths, spans, strides), []
    for axis, n, k, s, d, span, (before, after) in zip(axes, lengths, size, strides, dilations, spans, borders, strict=True):
        out = windows(n, span, s, (before, after), a.get("ceil_mode", 0))
        seen = np.arange(out)[:, None] * s + np.arange(k) * d - before  # by each window
        inside = (seen >= 0) & (seen < n)
        if node.op_type == "AveragePool":
            _allow(out * n)
            x = along(x, axis, ((seen[:, :, None] == np.arange(n)) & inside[:, :, None]).sum(axis=1))
            counts.append((seen < n + after).sum(axis=1) if a.get("count_include_pad", 0) else inside.sum(axis=1))
            continue
        rest = (1,) * (len(x.shape) - 1 - axis)
        parts = [
            np.where(inside[:, j].reshape(-1, *rest), np.take(x, np.clip(seen[:, j], 0, n - 1), axis=axis), LOWEST)
            for j in range(k)
        ]
        x = functools.reduce(np.maximum, parts)
    if counts:
        x = np.divide(x, functools.reduce(np.multiply.outer, counts).astype(np.float32))
    return as_plain(x)


def resize(reader: Any, node: Any, a: Attributes) -> Any:
    """Resize in any mode: along each axis a product with a matrix, which the standard's definition gives."""
    from onnx.reference import ReferenceEvaluator

    helper, x = reader.onnx.helper, reader.plain(reader.tensors[node.input[0]])
    rank, scales, sizes = len(x.shape), reader.known(node, 2), reader.known(node, 3)
    places = [int(n) % rank for n in a.get("axes", range(rank))]
    if a.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise ValueError("coordinates 'tf_crop_and_resize' are not known")
    if a.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        scales = _one_scale(a["keep_aspect_ratio_policy"], [x.shape[axis] for axis in places], sizes)
    settings = {key: value for key, value in a.items() if key not in ("axes", "keep_aspect_ratio_policy")}
    for k, axis in enumerate(places):
        by_scale = scales is not None and len(scales) > 0
        if (by_scale and scales[k] == 1) or (not by_scale and sizes[k] == (x.shape[axis] or reader.batch.get(node.input[0]))):
            continue
        n = x.shape[axis]
        if axis == 0 or n is None:
            raise ValueError(f"another size along axis {axis}, whose size is open")
        given = np.array([1, scales[k]], np.float32) if by_scale else np.array([n, sizes[k]], np.int64)
        _allow(n * int(n * scales[k] if by_scale else sizes[k]))
        resizing = helper.make_node("Resize", ["x", "", *(["by"] if by_scale else ["", "by"])], ["y"], **settings)
        infos = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in (("x", np.eye(n, dtype=np.float32)), ("by", given))
        ]
        graph = helper.make_graph([resizing], "axis", infos, [helper.make_empty_tensor_value_info("y")])
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", reader.opset)])
        made: Any = ReferenceEvaluator(proto).run(None, {"x": np.eye(n, dtype=np.float32), "by": given})
        x = along(x, axis, made[0].T)
    return as_plain(x)


def _one_scale(policy: str, lengths: list[Any], sizes: Any) -> list[float]:
    """The same scale for all axes, so that nothing is larger than asked for, or nothing smaller."""
    if None in lengths:
        raise ValueError(f"the policy {policy!r} needs known sizes")
    found = [size / n for size, n in zip(sizes, lengths, strict=True)]
    scale = min(found) if policy == "not_larger" else max(found)
    if any(int(scale * n) != int(scale * n + 0.5) for n in lengths):
        raise ValueError(f"the policy {policy!r} with sizes that have to be rounded up is not known")
    return [scale] * len(lengths)


def along(x: Any, axis: int, matrix: np.ndarray) -> Any:
    """y[..., i, ...] = sum_n matrix[i, n] x[..., n, ...] along one axis."""
    return np.moveaxis(np.matmul(np.moveaxis(x, axis, -1), matrix.T.astype(np.float32)), -1, axis)


def ones_like(x: Any) -> Any:
    """The mask of a Dropout that drops nothing."""
    return np.greater_equal(np.multiply(x, 0.0), 0.0)


def split_transposed(kernel: np.ndarray, groups: int, dilations: Any) -> list[np.ndarray]:
    """The kernels of a transposed convolution's groups, with zeros between their entries where they are dilated."""
    if max(dilations) > 1:
        wide = np.zeros((*kernel.shape[:2], *((k - 1) * d + 1 for k, d in zip(kernel.shape[2:], dilations, strict=True))))
        _allow(wide.size)
        wide[tuple(slice(None, None, d) for d in (1, 1, *dilations))] = kernel
        kernel = wide.astype(kernel.dtype)
    return np.split(kernel, groups)


def channels_of(x: Any, groups: int) -> list[Any]:
    """Values of some channels each, the last axis."""
    each = x.shape[-1] // groups
    return [x[..., first : first + each] for first in itertools.islice(itertools.count(0, each), groups)]


def _allow(numbers: int) -> None:
    if numbers > MOST_NUMBERS:
        raise ValueError(f"asks for a constant of {numbers} numbers, more than {MOST_NUMBERS}")
