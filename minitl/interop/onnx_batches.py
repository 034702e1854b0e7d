"""Where a graph joins the batch with other axes, such as windows of images: how many rows then belong to a sample.

An open batch is -1 in a shape that the graph computes, and -4 where four rows of a tensor belong to every sample, so that
products of it stay what they are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minitl.graph.value import Value
from minitl.interop.onnx_tensors import Tensor
from minitl.layers import InputLayer
from minitl.layers.array_function import ArrayFunction

ANY_LENGTH = 24  # of an open axis that is not the batch's
REPEATED = ("ConstantOfShape", "Expand", "Tile")  # operators that can make much of little, by their last input
SHAPED = (*REPEATED, "Reshape")


def rows_per_sample(x: Value, counts: dict[Value, int]) -> int:
    """How many entries of the open axis belong to a sample, 1 unless functions on the way have joined it with others; `counts`
    has what is known already, and gets the rest.
    """
    waiting = [x]
    while waiting:  # a graph may be deeper than Python's stack
        missing = [v for v in _decisive(waiting[-1]) if v not in counts]
        if not missing and (value := waiting.pop()) not in counts:
            counts[value] = _rows(value, counts)
        waiting += missing
    return counts[x]


def with_batch_apart(reader: Any, tensor: Tensor, wanted: list[int]) -> list[int]:
    """The shape itself; or, where it asks for the batch joined with others, or apart from them again, beside an axis that follows
    from the rest, the shape with -1 for the batch alone. The number of samples that the graph declares is the batch there, too.
    """
    joined = rows_per_sample(tensor.value, reader.rows) > 1
    declared = set(reader.batch.values()) if reader.only_batch is None and -1 in wanted[1:] else set()
    if len(declared) == 1:
        batch = declared.pop()
        if wanted[0] > 0 and wanted[0] % batch == 0 and (joined or wanted[0] != batch):
            wanted = [-(wanted[0] // batch), *wanted[1:]]
    if min(wanted, default=0) < -1 or (joined and wanted.count(-1) == 2):
        return _with_one_open_axis(reader.plain(tensor), wanted, reader.rows)
    return wanted


def for_one_sample(operator: str, sizes: np.ndarray) -> np.ndarray:
    """A shape of constants, which are the same in every sample, so that one stands for all."""
    if operator in REPEATED:
        return np.abs(sizes)
    if np.count_nonzero(sizes < 0) < 2:
        return sizes
    batch = int(np.argmin(sizes))
    return np.where(np.arange(sizes.size).reshape(sizes.shape) == batch, -sizes, sizes)


def _with_one_open_axis(x: Value, wanted: list[int], counts: dict[Value, int]) -> list[int]:
    """A shape in which the batch's size is below 0, and perhaps one more, which follows from the others: with -1 for the batch
    alone.

    Errors: ValueError where the sizes do not divide what x has per sample.
    """
    batch = wanted.index(min(wanted))
    rest = [n for place, n in enumerate(wanted) if place != batch and n != -1]
    if min(rest, default=1) < 1 or len(rest) < len(wanted) - 2 or x.shape.count(None) != 1:
        raise ValueError(f"to {wanted} from {tuple(x.shape)}: several open axes are not known")
    numbers = rows_per_sample(x, counts) * math.prod(n for n in x.shape if n is not None)
    size, remainder = divmod(numbers, -wanted[batch] * math.prod(rest))
    if remainder or (len(rest) == len(wanted) - 1 and size != 1):
        raise ValueError(f"to {wanted} from {tuple(x.shape)}, which has {numbers} numbers per sample")
    return [-1 if place == batch else size if n == -1 else n for place, n in enumerate(wanted)]


def _decisive(value: Value) -> list[Value]:
    """The inputs that decide how many rows a value has: all that a function has, otherwise the first."""
    inputs = [] if isinstance(value.node.layer, InputLayer) else list(value.node.inputs)
    return inputs if isinstance(value.node.layer, ArrayFunction) else inputs[:1]


def _rows(value: Value, counts: dict[Value, int]) -> int:
    layer, inputs = value.node.layer, _decisive(value)
    if not inputs or None not in value.shape:
        return 1
    if not isinstance(layer, ArrayFunction):
        return counts[inputs[0]]
    if len(inputs) == 1 and inputs[0].shape == value.shape and layer.function != "reshape":
        return counts[inputs[0]]
    return layer.shape_of([_sizes(v, counts[v]) for v in inputs])[value.shape.index(None)]


def _sizes(value: Value, rows: int) -> list[int]:
    """The shape of a value for one sample."""
    batch = value.shape.index(None) if None in value.shape else -1
    return [rows if place == batch else ANY_LENGTH if n is None else n for place, n in enumerate(value.shape)]
