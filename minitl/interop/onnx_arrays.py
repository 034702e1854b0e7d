"""ONNX's operators where no layer has what they do, such as those that move the batch's axis: as functions of arrays.

A function of a value is a node like any other, and has a gradient (`minitl.layers.ArrayFunction`); it is slower than a layer.
What loses the batch can be computed, `model(x)`, but is no output of `predict`.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from minitl.interop.onnx_tensors import Attributes, as_plain, either

ARITHMETIC = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power, "Max": np.maximum,
    "Min": np.minimum, "Sum": np.add, "MatMul": np.matmul,
}  # fmt: skip
MOST_NUMBERS = 1 << 22  # of a constant that is made here


def arithmetic(reader: Any, node: Any, a: Attributes) -> Any:
    """Tensors and constants of any shapes, one after another, as NumPy broadcasts them."""
    if node.op_type not in ARITHMETIC:
        raise ValueError("is not known with these inputs")
    return as_plain(functools.reduce(ARITHMETIC[node.op_type], (either(reader, name) for name in node.input)))


def affine(x: Any, kernel: np.ndarray, bias: np.ndarray | None) -> Any:
    """x kernel + bias, which may differ from row to row."""
    y = np.matmul(x, kernel.astype(np.float32))
    return y if bias is None else np.add(y, bias.astype(np.float32))


def mean(reader: Any, node: Any, a: Attributes, places: list[int]) -> Any:
    """ReduceMean over any axes."""
    x, keep = reader.plain(reader.tensors[node.input[0]]), bool(a.get("keepdims", 1))
    return as_plain(np.mean(x, axis=tuple(places), keepdims=keep))


def reshape(reader: Any, tensor: Any, wanted: list[int]) -> Any:
    """A shape whose first axis need not be the batch; of several axes the first is the one that grows with the batch."""
    if -1 not in wanted and reader.only_batch is None:
        wanted = [-1, *wanted[1:]]
    return np.reshape(reader.plain(tensor), tuple(wanted))


def reshape_around(x: Any, wanted: list[Any]) -> Any:
    """A shape that keeps an open axis, None, wherever it stands."""
    if None in wanted and -1 in wanted and x.shape.count(None) == 1:
        given = math.prod(n for n in wanted if n not in (None, -1))
        wanted = [math.prod(n for n in x.shape if n is not None) // given if n == -1 else n for n in wanted]
    if wanted.count(None) + wanted.count(-1) > 1:
        raise ValueError(f"to {wanted} from {tuple(x.shape)}: several open axes are not known")
    return np.reshape(x, tuple(-1 if n is None else n for n in wanted))


def flatten(x: Any, axis: int) -> Any:
    """A matrix: the axes in front of `axis` are its rows."""
    behind = x.shape[axis:]
    if axis and None in behind:
        raise ValueError(f"axis {axis} needs a known shape behind it")
    return np.reshape(x, (-1, math.prod(behind)) if axis else (1, -1))


def moved_statistics(x: Any, mean: np.ndarray, variance: np.ndarray, momentum: float) -> list[Any]:
    """What the moving statistics of a normalisation become with those of this batch; channels stand last."""
    axes = tuple(range(len(x.shape) - 1))
    pairs = (mean, np.mean(x, axis=axes)), (variance, np.var(x, axis=axes))
    return [np.add(np.multiply(now, 1 - momentum), (momentum * old).astype(np.float32)) for old, now in pairs]


def along(x: Any, axis: int, matrix: np.ndarray) -> Any:
    """y[..., i, ...] = sum_n matrix[i, n] x[..., n, ...] along one axis."""
    return np.moveaxis(np.matmul(np.moveaxis(x, axis, -1), matrix.T.astype(np.float32)), -1, axis)


def padded_with_its_own(x: Any, borders: list[tuple[int, int]], mode: str) -> Any:
    """A border of entries of x itself: its edges, its mirror image, or what is at the other end."""
    if mode not in ("edge", "reflect", "wrap"):
        raise ValueError(f"mode {mode!r}; known: constant, edge, reflect, wrap")
    for axis, border in enumerate(borders):
        if any(border):
            if x.shape[axis] is None:
                raise ValueError(f"mode {mode!r} along an axis whose size is open")
            x = np.take(x, np.pad(np.arange(x.shape[axis]), border, mode), axis=axis)  # type: ignore[call-overload]
    return x


def ones_like(x: Any) -> Any:
    """The mask of a Dropout that drops nothing."""
    return np.greater_equal(np.multiply(x, 0.0), 0.0)


def allow(numbers: int) -> None:
    """Raise ValueError for a constant of too many numbers."""
    if numbers > MOST_NUMBERS:
        raise ValueError(f"asks for a constant of {numbers} numbers, more than {MOST_NUMBERS}")
