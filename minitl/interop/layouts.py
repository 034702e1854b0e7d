"""Why the axes differ: how minitl, Keras and TensorFlow lay weights out, and how PyTorch, ONNX and Caffe do.

minitl keeps images as (N, H, W, C), channels last: the channels of a pixel lie side by side, and a convolution is, for each
offset of its window, a product of (pixels, C_in) with (C_in, C_out), so a kernel is (K_h, K_w, C_in, C_out), "HWIO". PyTorch
keeps images as (N, C, H, W) and kernels as "OIHW": the filters of one output channel lie together. It is the same
numbers with the axes in another order, but for five cases where the order is hidden in a shape:

- a depthwise kernel is (K_h, K_w, C, M) here; there it is a grouped convolution (C M, 1, K_h, K_w), output c M + m of channel c;
- a dense layer behind a Flatten: here its inputs run over (H, W, C), there over (C, H, W), so the rows of its matrix
  change places (and a dense matrix is (in, out) here, (out, in) there);
- a layer normalisation of whole images: its weights are images, (H, W, C) here, (C, H, W) there;
- a projection of attention is (in, heads, size) here, the last one (heads, size, out); there a matrix, (out, in), in which the
  heads lie one after another;
- names: gamma, beta, moving_mean, moving_variance are weight, bias, running_mean, running_var there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minitl.layers import (
    GRU,
    LSTM,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Embedding,
    Flatten,
    GroupNormalization,
    LayerScale,
    MultiHeadAttention,
    PReLU,
    RMSNormalization,
    SimpleRNN,
)

Turn = Callable[[np.ndarray], np.ndarray]


class Tensor(NamedTuple):
    """One weight on both sides: its name here, its name there, and how to turn it there and back."""

    ours: str
    theirs: str
    out: Turn
    back: Turn


def tensors(layer: Any, flattened: tuple[int, int, int] | None = None) -> Iterator[Tensor]:
    """The weights of a layer as PyTorch keeps them; `flattened` is the (H, W, C) that a Flatten before a Dense took apart.

    Errors: ValueError for a layer that PyTorch has no single module for.
    """
    weights = {**layer.parameters, **layer.state}
    if isinstance(layer, DepthwiseConv2D):  # or of sequences, whose window has one axis
        *window, channels, multiplier = weights["depthwise_kernel"].shape
        yield Tensor(
            "depthwise_kernel", "weight",
            lambda w: np.moveaxis(w, (-2, -1), (0, 1)).reshape(channels * multiplier, 1, *window),
            lambda w: np.moveaxis(w.reshape(channels, multiplier, *window), (0, 1), (-2, -1)),
        )  # fmt: skip
    elif isinstance(layer, (Conv1D, Conv1DTranspose)):  # transposed: (K, out, in) here, (in, out, K) there
        yield Tensor("kernel", "weight", lambda w: w.transpose(2, 1, 0), lambda w: w.transpose(2, 1, 0))
    elif isinstance(layer, (Conv2D, Conv2DTranspose)):  # transposed: (K_h, K_w, out, in) here, (in, out, K_h, K_w) there
        yield Tensor("kernel", "weight", lambda w: w.transpose(3, 2, 0, 1), lambda w: w.transpose(2, 3, 1, 0))
    elif isinstance(layer, Dense):
        yield Tensor("kernel", "weight", *_dense(flattened))
    elif isinstance(layer, (BatchNormalization, GroupNormalization)):
        for ours, theirs in _NORM.items():
            if ours in weights:
                yield Tensor(ours, theirs, *((_channels_first, _channels_last) if weights[ours].ndim == 3 else (_same, _same)))
        return
    elif isinstance(layer, RMSNormalization):
        yield Tensor("scale", "weight", _same, _same)
        return
    elif isinstance(layer, LayerScale):
        yield Tensor("gamma", "gamma", _same, _same)
        return
    elif isinstance(layer, MultiHeadAttention):
        yield from _attention(weights)
        return
    elif isinstance(layer, Embedding):
        yield Tensor("embeddings", "weight", _same, _same)
        return
    elif isinstance(layer, (LSTM, GRU, SimpleRNN)):
        yield from _recurrent(layer, "", "", weights)
        return
    elif isinstance(layer, Bidirectional) and layer.merge_mode == "concat" and not layer.layer.go_backwards:
        yield from _recurrent(layer.layer, "forward_", "", weights)
        yield from _recurrent(layer.layer, "backward_", "_reverse", weights)
        return
    elif isinstance(layer, PReLU) and weights["alpha"].size == weights["alpha"].shape[-1]:
        yield Tensor("alpha", "weight", np.ravel, _shaped(weights["alpha"].shape))
        return
    else:
        raise _without_module(layer)
    if "bias" in weights:
        yield Tensor("bias", "bias", _same, _same)


def _without_module(layer: Any) -> ValueError:
    return ValueError(f"{layer.label}: PyTorch has no module with its weights; give a mapping by name")


def _recurrent(layer: Any, prefix: str, ending: str, weights: dict[str, np.ndarray]) -> Iterator[Tensor]:
    """A recurrent layer's arrays; a GRU's gates are update, reset, candidate here, and reset, update, candidate there."""
    if not layer.is_operation:
        known, got = " or ".join(layer.known_activations), f"{layer.activation!r} and {layer.recurrent_activation!r}"
        advice = "exchange the model as .npz, .keras or ONNX"
        raise ValueError(f"{layer.label}: PyTorch's module computes {known} (and sigmoid, reset_after=True), got {got}; {advice}")
    order = [1, 0, 2] if isinstance(layer, GRU) else range(layer.gates)

    def turned(array: np.ndarray) -> np.ndarray:
        parts = np.split(array, len(order), axis=-1)
        return np.concatenate([parts[place] for place in order], axis=-1)

    for ours, theirs in (("kernel", "weight_ih"), ("recurrent_kernel", "weight_hh")):
        yield Tensor(prefix + ours, theirs + ending, lambda w: turned(w).T, lambda w: turned(w.T))
    if prefix + "bias" in weights:
        yield Tensor(prefix + "bias", f"bias{ending}", turned, turned)


def _attention(weights: dict[str, np.ndarray]) -> Iterator[Tensor]:
    """The projections of attention: a head has an axis of its own here; there the heads lie one after another."""
    for ours, theirs in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("attention_output", "out_proj")):
        kernel = weights[f"{ours}_kernel"]
        rows = kernel.shape[0] if ours != "attention_output" else kernel.shape[0] * kernel.shape[1]
        yield Tensor(f"{ours}_kernel", f"{theirs}_weight", *_as_matrix(kernel.shape, rows))
        if f"{ours}_bias" in weights:
            yield Tensor(f"{ours}_bias", f"{theirs}_bias", np.ravel, _shaped(weights[f"{ours}_bias"].shape))


def _as_matrix(shape: tuple[int, ...], rows: int) -> tuple[Turn, Turn]:
    return lambda w: w.reshape(rows, -1).T, lambda w: w.T.reshape(shape)


def _shaped(shape: tuple[int, ...]) -> Turn:
    return lambda w: w.reshape(shape)


def flattened_before(model: Any) -> dict[Any, tuple[int, int, int]]:
    """For every Dense that stands behind a Flatten of images: their (H, W, C)."""
    found: dict[Any, tuple[int, int, int]] = {}
    for node in model.graph.nodes:
        source = node.inputs[0].node if node.inputs else None
        while source is not None and source.inputs and not source.layer.weights and not isinstance(source.layer, Flatten):
            source = source.inputs[0].node  # dropout and activations in between
        if isinstance(node.layer, Dense) and source is not None and isinstance(source.layer, Flatten):
            shape = source.inputs[0].shape[1:]
            if len(shape) == 3 and None not in shape:
                found[node.layer] = shape
    return found


def contiguous(array: np.ndarray) -> np.ndarray:
    """The array with its numbers in the order of its axes; one without axes stays so, which NumPy's function does not do."""
    return np.asarray(array, order="C")


_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _channels_first(array: np.ndarray) -> np.ndarray:
    return array.transpose(2, 0, 1)


def _channels_last(array: np.ndarray) -> np.ndarray:
    return array.transpose(1, 2, 0)


def _dense(flattened: tuple[int, int, int] | None) -> tuple[Turn, Turn]:
    if flattened is None:
        return np.transpose, np.transpose
    h, w, c = flattened
    return (
        lambda k: k.reshape(h, w, c, -1).transpose(3, 2, 0, 1).reshape(-1, h * w * c),
        lambda k: k.reshape(-1, c, h, w).transpose(2, 3, 1, 0).reshape(h * w * c, -1),
    )
