"""Attention as nodes of ONNX: products, a softmax, and masks where something is not to be taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import layers
from minitl.activations import NOTHING
from minitl.interop.onnx_layers import Tensor, Written
from minitl.interop.onnx_masks import counting


def _of_heads(w: Any, layer: Any, x: list[Tensor]) -> Written:
    sequences = [w.last(one) for one in x[:3]]
    query, value = sequences[:2]
    key = sequences[2] if len(sequences) > 2 else value
    q, k, v = (
        _projected(w, layer, name, one, axes)
        for name, one, axes in (("query", query, [0, 2, 1, 3]), ("key", key, [0, 2, 3, 1]), ("value", value, [0, 2, 1, 3]))
    )
    scores = w.node("Mul", [w.node("MatMul", [q, k]), w.constant(1 / math.sqrt(layer.key_dim))])
    masks = _of_steps(w, layer, sequences)
    if len(x) > 3:
        numbers = w.node("Cast", [w.last(x[3])], to=w.onnx.TensorProto.FLOAT)
        given = w.node("Greater", [numbers, w.constant(0.5)])
        masks.append(given if x[3].axes == 3 else w.node("Unsqueeze", [given, w.whole([1])]))
    masks = [w.node("Unsqueeze", [mask, w.whole([1])]) for mask in masks]  # the same for all heads
    p = _shares(w, layer, scores, masks)
    heads = w.node("Transpose", [w.node("MatMul", [p, v])], perm=[0, 2, 1, 3])
    side_by_side = w.node("Reshape", [heads, w.whole([0, 0, layer.num_heads * layer.value_dim])])
    kernel = layer.attention_output_kernel
    y = w.node("MatMul", [side_by_side, w.constant(kernel.reshape(-1, kernel.shape[-1]))])
    return _answers(layer, w.node("Add", [y, w.constant(layer.attention_output_bias)]) if layer.use_bias else y, p)


def _projected(w: Any, layer: Any, name: str, x: str, axes: list[int]) -> str:
    """Queries, keys or values of every head, their axes (N, T, heads, entries) in another order."""
    kernel = getattr(layer, f"{name}_kernel")
    made = w.node("MatMul", [x, w.constant(kernel.reshape(len(kernel), -1))])
    if layer.use_bias:
        made = w.node("Add", [made, w.constant(getattr(layer, f"{name}_bias").reshape(-1))])
    return w.node("Transpose", [w.node("Reshape", [made, w.whole([0, 0, *kernel.shape[1:]])])], perm=axes)


def _single(w: Any, layer: Any, x: list[Tensor]) -> Written:
    sequences = [w.last(one) for one in x]
    query, value = sequences[:2]
    key = sequences[2] if len(sequences) > 2 else value
    if isinstance(layer, layers.AdditiveAttention) or layer.score_mode == "concat":
        scores = _of_sums(w, layer, query, key)
    else:
        scores = w.node("MatMul", [query, w.node("Transpose", [key], perm=[0, 2, 1])])
        scores = w.node("Mul", [scores, w.constant(layer.scale)]) if layer.use_scale else scores
    p = _shares(w, layer, scores, _of_steps(w, layer, sequences))
    return _answers(layer, w.node("MatMul", [p, value]), p)


def _answers(layer: Any, y: str, shares: str) -> Any:
    return [(y, False), (shares, False)] if layer.return_attention_scores else (y, False)


def _of_sums(w: Any, layer: Any, query: str, key: str) -> str:
    """Scores of a query and a key that are added up."""
    sums = w.node("Add", [w.node("Unsqueeze", [query, w.whole([2])]), w.node("Unsqueeze", [key, w.whole([1])])])
    additive = isinstance(layer, layers.AdditiveAttention)
    if layer.use_scale and not additive:
        sums = w.node("Mul", [sums, w.constant(layer.scale)])
    sums = w.node("Tanh", [sums])
    if layer.use_scale and additive:
        sums = w.node("Mul", [sums, w.constant(layer.scale)])
    scores = w.node("ReduceSum", [sums, w.whole([-1])], keepdims=0)
    return scores if additive else w.node("Mul", [scores, w.constant(layer.concat_score_weight)])


def _of_steps(w: Any, layer: Any, sequences: list[str]) -> list[str]:
    """The masks (N, T, 1) and (N, 1, S) of sequences whose steps of zeros are left out."""
    masks = []
    for place, (x, marked) in enumerate(zip(sequences, layer.marked_inputs, strict=False)):
        if marked:
            masks.append(w.node("Unsqueeze", [counting(w, x), w.whole([2 if place == 0 else 1])]))
    return masks


def _shares(w: Any, layer: Any, scores: str, masks: list[str]) -> str:
    """The softmax over the last axis, with nothing where a mask is false."""
    if layer.use_causal_mask:
        one = w.onnx.numpy_helper.from_array(np.ones(1, np.float32))
        triangle = w.node("Trilu", [w.node("ConstantOfShape", [w.node("Shape", [scores])], value=one)], upper=0)
        masks = [*masks, w.node("Greater", [triangle, w.constant(0.5)])]
    if not masks:
        return w.node("Softmax", [scores], axis=-1)
    counts = masks[0]
    for mask in masks[1:]:
        counts = w.node("And", [counts, mask])
    p = w.node("Softmax", [w.node("Where", [counts, scores, w.constant(NOTHING)])], axis=-1)
    return w.node("Where", [counts, p, w.constant(0.0)])


WRITERS_OF_ATTENTION: dict[type, Callable[[Any, Any, Any], Written]] = {
    layers.MultiHeadAttention: _of_heads,
    layers.Attention: _single,
    layers.AdditiveAttention: _single,
}
