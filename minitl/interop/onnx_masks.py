"""Steps that are left out, as nodes of ONNX: who counts is computed from the numbers, as here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import layers
from minitl.layers.masking import CountAsOne, LeaveOut, LeaveOutMasked


def counting(w: Any, x: str, mask_value: float = 0.0) -> str:
    """Which steps (N, T) of rows have another entry than `mask_value`."""
    other = w.node("Not", [w.node("Equal", [x, w.constant(mask_value)])])
    any_other = w.reduced("ReduceMax", w.node("Cast", [other], to=w.onnx.TensorProto.FLOAT), keepdims=0)
    return w.node("Cast", [any_other], to=w.onnx.TensorProto.BOOL)


def _masking(w: Any, layer: Any, x: Any) -> tuple[str, bool]:
    counts = wide(w, counting(w, w.last(x), layer.mask_value))
    return w.node("Where", [counts, w.last(x), w.constant(0.0)]), False


def _leave_out(w: Any, layer: Any, x: list[Any]) -> tuple[str, bool]:
    values, counts = x[0], _counting_for(w, layer, x)
    kept = w.node("Where", [wide(w, counts), w.last(values), w.constant(0.0)])
    silent = w.node("And", [counts, w.node("Not", [counting(w, kept)])])
    tiny = np.zeros(values.shape[-1], np.float32)
    tiny[0] = np.finfo(np.float32).tiny
    return w.node("Where", [wide(w, silent), w.constant(tiny), kept]), False


def _count_as_one(w: Any, layer: Any, x: list[Any]) -> tuple[str, bool]:
    return w.node("Where", [wide(w, _counting_for(w, layer, x)), w.last(x[0]), w.constant(1.0)]), False


def _counting_for(w: Any, layer: Any, x: list[Any]) -> str:
    """Which steps count for one of the sources."""
    values, *sources = x
    if values.axes != 3:
        raise ValueError(f"{layer.label}: steps of images that are left out are not exported; cut the model below it")
    counts, *others = [_counting_of(w, part, value, values.axes) for part, value in zip(sources, layer.mask_values, strict=True)]
    for other in others:
        counts = w.node("Or", [counts, other])
    return counts


def _counting_of(w: Any, source: Any, mask_value: float, axes: int) -> str:
    if source.axes == axes:
        return counting(w, w.last(source), mask_value)
    numbers = w.node("Cast", [w.last(source)], to=w.onnx.TensorProto.FLOAT)  # of words
    return w.node("Not", [w.node("Equal", [numbers, w.constant(mask_value)])])


def _mean(w: Any, layer: Any, x: Any) -> tuple[str, bool]:
    """The mean over the steps that count, at least one; what is left out is zeros."""
    counts = w.node("Cast", [wide(w, counting(w, w.last(x)))], to=w.onnx.TensorProto.FLOAT)
    number = w.node("Max", [w.node("ReduceSum", [counts, w.whole([1])], keepdims=int(layer.keepdims)), w.constant(1.0)])
    return w.node("Div", [w.node("ReduceSum", [w.last(x), w.whole([1])], keepdims=int(layer.keepdims)), number]), False


def wide(w: Any, counts: str) -> str:
    """A mask (N, T) as (N, T, 1)."""
    return w.node("Unsqueeze", [counts, w.whole([-1])])


def mean_or(plain: Callable[..., tuple[str, bool]]) -> Callable[..., tuple[str, bool]]:
    """The writer of a mean over steps: `plain` where none are left out."""
    return lambda w, layer, x: _mean(w, layer, x) if layer.masked else plain(w, layer, x)


WRITERS: dict[type, Callable[..., tuple[str, bool]]] = {
    layers.Masking: _masking, LeaveOut: _leave_out, LeaveOutMasked: _leave_out, CountAsOne: _count_as_one,
}  # fmt: skip
