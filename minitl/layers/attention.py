"""Attention: every place of a sequence takes from all places of another one what it asks for.

    scores[n, t, s] = q[n, t] . k[n, s] / sqrt(K)     how well the key at s answers the query at t
    p = softmax over s of scores                      places that are masked have p = 0
    y[n, t] = sum_s p[n, t, s] v[n, s]

The layers here are formulas in NumPy's functions; their backward is found by recording them (`minitl.autodiff`).
Source: A. Vaswani et al., Attention is all you need, arXiv 1706.03762; M. Luong et al., arXiv 1508.04025.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, ClassVar

import numpy as np

from minitl import activations, initializers, regularizers
from minitl.autodiff import plain
from minitl.errors import check_numbers, positive, unknown, wrong_shape
from minitl.graph.value import Shape, Value, values_in
from minitl.layers.base import Layer
from minitl.layers.masking import leaves_out_steps, left_out, without_steps
from minitl.random import new_generator


class Attends(Layer):
    """What these layers share: shares of a softmax, masks, and dropout.

    Places behind an `Embedding(mask_zero=True)` or a `Masking` whose steps are left out, and are zeros, take and give nothing.
    """

    takes_several = supports_masking = True
    dropout: float
    use_causal_mask: bool
    return_attention_scores: bool
    marked_inputs: tuple[bool, ...] = ()  # which inputs have steps that are left out

    def ask(
        self, x: Any, training: bool | None, use_causal_mask: bool | None, scores: bool | None, marked: tuple[bool, ...] = (),
    ) -> Any:  # fmt: skip
        """The answers to x, or with scores [answers, shares]; in a network both settings stay as they are once said.

        Parameters: `marked` says which arrays have steps of zeros that are left out; a network's values know it.
        Errors: ValueError for a layer that is used with its shares in one place of a network, and without them in another.
        """
        if use_causal_mask is not None:
            self.use_causal_mask = use_causal_mask
        before, connects = (self.return_attention_scores, self.marked_inputs), values_in(x) is not None
        if scores is None:
            scores = before[0]
        elif connects and before[0] != scores and any(known() for known in self._nodes):
            raise ValueError(f"{self.label}: gives its scores in one place and not in another; ask for them everywhere")
        self.return_attention_scores, self.marked_inputs = scores, marked or self.marked_inputs
        try:
            return super().__call__(x, training)
        finally:
            if not connects:
                self.return_attention_scores, self.marked_inputs = before

    def leave_out(self, values: list[Value]) -> list[Value]:
        """All of them with zeros at the steps that are left out."""
        return [left_out(value) for value in values]

    def notice_marks(self, values: list[Value]) -> None:
        """Learn which inputs have steps that are left out."""
        self.marked_inputs = tuple(leaves_out_steps(value) for value in values)

    def admit(self, x: np.ndarray, expected: Shape | None) -> np.ndarray:
        """x in the layer's dtype; sequences may be of any length."""
        return x if x.dtype == self.dtype else self.as_array(x)

    def build(self, input_shape: Any) -> None:
        """Take a generator."""
        if len(input_shape) > 2 and None not in (lengths := {input_shape[1][1], input_shape[2][1]}) and len(lengths) > 1:
            raise wrong_shape(self.label, f"keys (N, {input_shape[1][1]}, ...)", input_shape[2], "one for each value")
        self.generator = new_generator()

    def shares(self, scores: Any, masks: list[Any], training: bool) -> Any:
        """The softmax over the last axis, with nothing where a mask is false."""
        if self.use_causal_mask:
            masks = [*masks, np.tri(*scores.shape[-2:], dtype=bool)]
        if masks:
            counts = functools.reduce(np.logical_and, masks)
            p = activations.masked_softmax(activations.softmax, scores, counts).astype(self.dtype)
        else:
            p = activations.softmax(scores)
        if training and self.dropout:
            stays = self.generator.random(p.shape) >= self.dropout
            p = p * (stays / (1 - self.dropout)).astype(self.dtype)
        return p

    def answers(self, y: Any, shares: Any) -> Any:
        """y, with the shares that it was made with if they are asked for."""
        return [y, shares] if self.return_attention_scores else y

    def of_steps(self, query: Any, value: Any, key: Any = None) -> list[np.ndarray]:
        """The masks (N, T, S) of inputs whose steps of zeros are left out."""
        masks = []
        for place, x in enumerate((query, value, key)):
            if x is not None and place < len(self.marked_inputs) and self.marked_inputs[place]:
                there = np.any(plain(x), axis=-1)
                masks.append(there[:, :, None] if place == 0 else there[:, None, :])
        return masks


class Attention(Attends):
    """Each query's mean of the values, weighted by how well their keys answer it.

    Formula: y = softmax(score(q, k)) v, with score = scale q . k ("dot"), or w sum tanh(scale (q + k)) ("concat").
    Parameters: `use_scale` learns the scale, which is 1 otherwise; `dropout` leaves out shares while training.
    Called with [query, value] or [query, value, key]; `use_causal_mask=True` lets t take from s <= t only;
    `return_attention_scores=True` gives [y, p], p the shares of the softmax.
    Shapes: query (N, T, D), value (N, S, V), key (N, S, D), by default the value; y (N, T, V), p (N, T, S).
    Errors: ValueError for another score_mode, a number of inputs that is not 2 or 3, masks that are no such list, or keys that
    do not fit queries and values.
    Source: M. Luong et al., arXiv 1508.04025.
    """

    def __init__(
        self, use_scale: bool = False, score_mode: str = "dot", dropout: float = 0.0, use_causal_mask: bool = False,
        return_attention_scores: bool = False, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.return_attention_scores = return_attention_scores
        check_numbers(self, "[0, 1)", dropout=dropout)
        if score_mode not in ("dot", "concat"):
            raise unknown("score_mode", score_mode, ("dot", "concat"))
        self.use_scale, self.score_mode, self.dropout, self.use_causal_mask = use_scale, score_mode, dropout, use_causal_mask

    def __call__(
        self, x: Any, training: bool | None = None, use_causal_mask: bool | None = None,
        return_attention_scores: bool | None = None, mask: Any = None,
    ) -> Any:  # fmt: skip
        """On a list; steps where a mask of `mask`, [of the query, of the value], is false are left out."""
        marked: tuple[bool, ...] = ()
        if mask is not None:
            if not isinstance(mask, (list, tuple)) or len(mask) not in (2, 3):
                came = type(mask).__name__ if not isinstance(mask, (list, tuple)) else f"{len(mask)} masks"
                raise ValueError(f"{self.label}: mask must be [query_mask, value_mask], of which one may be None; got {came}")
            marked = tuple(each is not None for each in mask[:2])
            x = [part if each is None else without_steps(part, each) for part, each in itertools.zip_longest(x, mask[:2])]
        return self.ask(x, training, use_causal_mask, return_attention_scores, marked)

    def build(self, input_shape: Any) -> None:
        """Create what is learnt."""
        if len(input_shape) not in (2, 3):
            raise ValueError(f"takes [query, value] or [query, value, key], got {len(input_shape)} inputs")
        super().build(input_shape)
        self.need_alike(input_shape)
        if self.use_scale:
            self.scale = self.add_weight("scale", (), "ones")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight("concat_score_weight", (), "ones")

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Shares times values."""
        query, value, key = (*inputs, inputs[1])[:3]
        p = self.shares(self.scores(query, key), self.of_steps(*inputs), training)
        return self.answers(p @ value, p)

    def need_alike(self, input_shape: Any) -> None:
        """Raise ValueError unless queries and keys have as many entries."""
        query, key = input_shape[0], (input_shape[2:] or input_shape[1:])[0]
        if query[-1] != key[-1]:
            raise wrong_shape(
                self.label, f"keys (N, S, {query[-1]})", key, "as many entries as a query; or use MultiHeadAttention"
            )

    def scores(self, query: Any, key: Any) -> Any:
        """How well each key answers each query, (N, T, S)."""
        if self.score_mode == "dot":
            scores = query @ np.swapaxes(key, -2, -1)
            return scores * self.scale if self.use_scale else scores
        sums = np.expand_dims(query, 2) + np.expand_dims(key, 1)
        return np.sum(np.tanh(sums * self.scale if self.use_scale else sums), axis=-1) * self.concat_score_weight

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """(N, T, V), and (N, T, S)."""
        y = (*input_shape[0][:-1], input_shape[1][-1])
        return self.answers(y, (*input_shape[0][:-1], input_shape[1][1]))


class AdditiveAttention(Attention):
    """Attention whose score is a small network's.

    Formula: y = softmax(sum_d scale_d tanh(q_d + k_d)) v.
    Parameters, shapes and errors as `Attention`; `use_scale` learns one scale per entry.
    Source: D. Bahdanau et al., arXiv 1409.0473.
    """

    def __init__(
        self, use_scale: bool = True, dropout: float = 0.0, use_causal_mask: bool = False,
        return_attention_scores: bool = False, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(use_scale, "dot", dropout, use_causal_mask, return_attention_scores, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Create the scales."""
        Attends.build(self, input_shape)
        self.need_alike(input_shape)
        if self.use_scale:
            self.scale = self.add_weight("scale", (input_shape[0][-1],), "glorot_uniform")

    def scores(self, query: Any, key: Any) -> Any:
        """How well each key answers each query, (N, T, S)."""
        sums = np.tanh(np.expand_dims(query, 2) + np.expand_dims(key, 1))
        return np.sum(sums * self.scale if self.use_scale else sums, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name: value for name, value in super().get_config().items() if name != "score_mode"}


class MultiHeadAttention(Attends):
    """Several attentions side by side, each between projections of its own.

    Formula: head_h = softmax(q_h k_h^T / sqrt(key_dim)) v_h with q_h = query Q_h + b, and so on; y = sum_h head_h O_h + b.
    Parameters: `num_heads` heads; `key_dim` entries of a query and a key, `value_dim` of a value (by default as many), in each;
    `output_shape` entries of y, by default the query's; `dropout` leaves out shares while training.
    Called with query and value, and perhaps key and attention_mask: `layer(x, x, use_causal_mask=True)`;
    `return_attention_scores=True` gives [y, p], p (N, H, T, S) the shares of every head.
    Shapes: query (N, T, D), value (N, S, E), key (N, S, F), by default the value, attention_mask (N, T, S) or (N, 1, S) of
    numbers that are true where t may take from s; y (N, T, D).
    Errors: ValueError for sizes below 1, or another number of keys than values.
    Source: A. Vaswani et al., arXiv 1706.03762.
    """

    constrained: ClassVar[dict[str, str]] = {"kernel": "kernel", "bias": "bias"}  # of all projections

    def __init__(
        self, num_heads: int, key_dim: int, value_dim: int | None = None, dropout: float = 0.0, use_bias: bool = True,
        output_shape: Any = None, kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None, bias_regularizer: Any = None, use_causal_mask: bool = False,
        return_attention_scores: bool = False, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.return_attention_scores = return_attention_scores
        check_numbers(self, "[0, 1)", dropout=dropout)
        self.num_heads, self.key_dim = positive("num_heads", num_heads), positive("key_dim", key_dim)
        self.value_dim = self.key_dim if value_dim is None else positive("value_dim", value_dim)
        self.dropout, self.use_bias, self.use_causal_mask = dropout, use_bias, use_causal_mask
        if np.size(output_shape) > 1:
            raise ValueError(f"{type(self).__name__}: output_shape must be one number, the entries of y, got {output_shape!r}")
        self.units = None if output_shape is None else positive("output_shape", np.ravel(output_shape)[0])
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def __call__(  # type: ignore[override]
        self, query: Any, value: Any = None, key: Any = None, attention_mask: Any = None, training: bool | None = None,
        use_causal_mask: bool | None = None, return_attention_scores: bool | None = None,
    ) -> Any:  # fmt: skip
        """On query and value."""
        parts = [query, value, value if key is None and attention_mask is not None else key, attention_mask]
        if value is None and isinstance(query, (list, tuple)):
            parts = list(query)
        return self.ask([part for part in parts if part is not None], training, use_causal_mask, return_attention_scores)

    def build(self, input_shape: Any) -> None:
        """Create the projections."""
        super().build(input_shape)
        for name, shape in zip(("query", "value", "key"), input_shape, strict=False):
            if len(shape) != 3:
                raise ValueError(f"{name}: needs sequences (N, T, C), got {shape}")
        query, value = input_shape[0][-1], input_shape[1][-1]
        key = input_shape[2][-1] if len(input_shape) > 2 else value
        heads, units = self.num_heads, self.units or query
        shapes = {
            "query": (query, heads, self.key_dim), "key": (key, heads, self.key_dim), "value": (value, heads, self.value_dim),
            "attention_output": (heads, self.value_dim, units),
        }  # fmt: skip
        for name, shape in shapes.items():
            self.add_weight(
                f"{name}_kernel", shape, self.kernel_initializer, self.kernel_regularizer, constraint=self.kernel_constraint
            )
            if self.use_bias:
                of_bias = (units,) if name == "attention_output" else shape[1:]
                self.add_weight(
                    f"{name}_bias", of_bias, self.bias_initializer, self.bias_regularizer, constraint=self.bias_constraint
                )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """All heads' answers, put together."""
        query, value = inputs[:2]
        key, mask = inputs[2] if len(inputs) > 2 else value, inputs[3:]
        q, k, v = (self.projected(name, x) for name, x in (("query", query), ("key", key), ("value", value)))
        masks = [each[:, None] for each in [*self.of_steps(*inputs[:3]), *(_three_axes(plain(m)) > 0.5 for m in mask)]]
        q = q * self.dtype.type(1 / math.sqrt(self.key_dim))
        p = self.shares(q @ np.swapaxes(k, -2, -1), masks, training)
        heads = np.transpose(p @ v, (0, 2, 1, 3))  # (N, T, H, V)
        rows = np.reshape(heads, (*heads.shape[:2], -1))
        y = rows @ np.reshape(self.attention_output_kernel, (rows.shape[-1], -1))
        return self.answers(y + self.attention_output_bias if self.use_bias else y, p)

    def projected(self, name: str, x: Any) -> Any:
        """x as queries, keys or values of every head, (N, H, T, K)."""
        kernel = getattr(self, f"{name}_kernel")
        made = np.reshape(x @ np.reshape(kernel, (kernel.shape[0], -1)), (*x.shape[:2], *kernel.shape[1:]))
        return np.transpose(made + getattr(self, f"{name}_bias") if self.use_bias else made, (0, 2, 1, 3))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """(N, T, D), and (N, H, T, S)."""
        query, value = input_shape[:2]
        return self.answers((*query[:-1], self.units or query[-1]), (query[0], self.num_heads, query[1], value[1]))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = (
            "num_heads", "key_dim", "value_dim", "dropout", "use_bias", "kernel_initializer", "bias_initializer",
            "kernel_regularizer", "bias_regularizer", "use_causal_mask", "return_attention_scores", "name", "trainable", "dtype",
        )  # fmt: skip
        return {**{name: getattr(self, name) for name in names}, "output_shape": self.units, **self.constraint_arguments}


def _three_axes(mask: np.ndarray) -> np.ndarray:
    return mask[:, None, :] if mask.ndim == 2 else mask
