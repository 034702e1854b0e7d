"""Layers around a layer: a recurrent one in both directions, and any one applied to every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import unknown
from minitl.graph.plan import Need
from minitl.graph.value import Shape, Value
from minitl.layers.base import Layer
from minitl.layers.known import layer_classes
from minitl.layers.masking import leaving_out, without_steps
from minitl.layers.recurrent import Recurrent
from minitl.serialization import decode


class Bidirectional(Layer):
    """Two copies of a recurrent layer, one of which reads from the end.

    Formula: y = the two outputs, put side by side ("concat"), added ("sum"), multiplied ("mul") or averaged ("ave").
    Shapes: x (N, T, C); y as the layer's, twice as many units for "concat"; with `return_state` behind it the state of the
    one that reads forward, then the other's.
    Errors: TypeError for another layer, ValueError for an unknown way to merge.
    Source: M. Schuster and K. Paliwal 1997.
    """

    def __init__(self, layer: Any, merge_mode: str = "concat", **kwargs: Any):
        super().__init__(**kwargs)
        layer = decode("layer", layer, layer_classes())
        if not isinstance(layer, Recurrent):
            raise TypeError(f"Bidirectional: takes an LSTM or GRU, got {layer!r}")
        self.refuse_activity_regularizer_of(layer)
        if merge_mode not in ("concat", "sum", "mul", "ave"):
            raise unknown("merge_mode", merge_mode, ("concat", "sum", "mul", "ave"))
        self.layer, self.merge_mode = layer, merge_mode
        config = {**layer.get_config(), "zero_output_for_mask": bool(layer.return_sequences)}
        self.both = [type(layer)(**{**config, "go_backwards": bool(config["go_backwards"]) != back}) for back in (False, True)]
        if layer.declared_shape is not None and self.declared_shape is None:
            self.declared_shape = layer.declared_shape

    @property
    def draws(self) -> bool:
        """As the layer does."""
        return bool(self.layer.draws)

    @property
    def passes_mask(self) -> bool:
        """As the layer does."""
        return bool(self.both[0].passes_mask)

    def __call__(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """y, or the list of y and the states; steps where `mask` (N, T) is false are left out."""
        if mask is None:
            return super().__call__(x, training)
        with leaving_out(self.both, x):
            return super().__call__(without_steps(x, mask), training)

    def build(self, input_shape: Shape) -> None:
        """Create the weights of both."""
        for prefix, layer in zip(("forward_", "backward_"), self.both, strict=True):
            layer.build(input_shape, prefix, self)

    def compute(self, x: np.ndarray, training: bool) -> tuple[Any, Any]:
        """Both, merged, and their states."""
        (a, of_a), (b, of_b) = (
            layer.run(x, self._weights(prefix), training)
            for prefix, layer in zip(("forward_", "backward_"), self.both, strict=True)
        )
        states: list[np.ndarray] = []
        kept: Any
        if self.layer.return_state:
            (a, *states), (b, *others) = a, b
            states += others
        if b.ndim == 3:
            b = b[:, ::-1]
        if self.merge_mode == "concat":
            y, kept = np.concatenate([a, b], axis=-1), (of_a, of_b, a.shape[-1])
        elif self.merge_mode == "mul":
            y, kept = a * b, (of_a, of_b, a, b)
        else:
            y, kept = (a + b) / (2 if self.merge_mode == "ave" else 1), (of_a, of_b)
        return ([y, *states] if states else y), kept

    def backpropagate(self, dy: Any, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """The sum of both dx, and the gradients of both."""
        dy, *dstates = dy if self.layer.return_state else [dy]
        parts: list[Any]
        if dy is None:
            parts = [None, None]
        elif self.merge_mode == "concat":
            parts = [dy[..., : cache[2]], dy[..., cache[2] :]]
        elif self.merge_mode == "mul":
            parts = [dy * cache[3], dy * cache[2]]
        else:
            parts = [dy / (2 if self.merge_mode == "ave" else 1)] * 2
        if dy is not None and dy.ndim == 3:
            parts[1] = parts[1][:, ::-1]
        parts = [None if part is None else np.ascontiguousarray(part) for part in parts]
        if dstates:
            half = len(dstates) // 2
            parts = [[parts[0], *dstates[:half]], [parts[1], *dstates[half:]]]
        gradients: dict[str, np.ndarray] = {}
        total = None
        for prefix, layer, part, kept in zip(("forward_", "backward_"), self.both, parts, cache[:2], strict=True):
            dx, found = layer.back(part, kept, need)
            gradients.update({prefix + name: g for name, g in found.items() if g is not None})
            total = dx if total is None else total + dx
        return total, gradients

    def reset_states(self) -> None:
        """Let the next batch begin with zeros, if the layer is stateful."""
        for layer in self.both:
            layer.reset_states()

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """The layer's, with twice as many units for "concat"."""
        shapes: Any = self.layer.compute_output_shape(input_shape)
        shape, *states = shapes if self.layer.return_state else [shapes]
        shape = (*shape[:-1], 2 * self.layer.units) if self.merge_mode == "concat" else shape
        return [shape, *states, *states] if states else shape

    def _weights(self, prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): w for name, w in self.parameters.items() if name.startswith(prefix)}

    @property
    def supports_masking(self) -> bool:  # type: ignore[override]
        """As the layer."""
        return self.layer.supports_masking

    def leave_out(self, values: list[Value]) -> list[Value]:
        """As the layer."""
        return self.layer.leave_out(values)

    def notice_marks(self, values: list[Value]) -> None:
        """Leave out what is left out of the first value, both ways."""
        for layer in self.both:
            layer.notice_marks(values)


class TimeDistributed(Layer):
    """The same layer, or the same network, for every step.

    Formula: y[n, t] = layer(x[n, t]); BatchNormalization sees the steps of all sequences of a batch together.
    Parameters: `layer` is a layer or a model; of a model, or of a layer of your own, it makes a model
    (`minitl.models.time_distributed`).
    Shapes: x (N, T, ...), y (N, T, ...).
    Errors: TypeError for what is no layer, or one that takes or gives several values.
    """

    supports_masking = True

    def __new__(cls, layer: Any = None, **kwargs: Any) -> Any:  # noqa: D102
        opens = cls is TimeDistributed and isinstance(layer, Layer) and (layer.is_container or layer.is_users)
        return super().__new__(layer_classes()["TimeDistributedModel"] if opens else cls)

    def __init__(self, layer: Any, **kwargs: Any):
        super().__init__(**kwargs)
        layer = decode("layer", layer, layer_classes())
        if not isinstance(layer, Layer) or layer.takes_several or getattr(layer, "return_state", False):
            raise TypeError(f"TimeDistributed: takes a layer of one input and one output, or a model, got {layer!r}")
        if layer.is_container or layer.is_users:
            raise TypeError(f"{type(self).__name__}: a subclass of TimeDistributed or a description takes minitl's layers alone")
        self.refuse_activity_regularizer_of(layer)
        self.layer = layer
        self.parameters, self.state = layer.parameters, layer.state  # they are the layer's
        self.regularizers = layer.regularizers

    @property
    def draws(self) -> bool:
        """As the layer does."""
        return bool(self.layer.draws)

    def build(self, input_shape: Shape) -> None:
        """Build the layer for one step."""
        if len(input_shape) < 3:
            raise ValueError(f"needs inputs (N, T, ...), got {input_shape}")
        self.layer.dtype = self.dtype
        self.layer.ensure_built((None, *input_shape[2:]))
        self.constraints = self.layer.constraints

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The steps as samples."""
        y, cache = self.layer.compute(x.reshape(-1, *x.shape[2:]), training and self.trainable)
        return y.reshape(*x.shape[:2], *y.shape[1:]), (x.shape, cache)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the layer's gradients."""
        shape, kept = cache
        dx, gradients = self.layer.backpropagate(np.ascontiguousarray(dy).reshape(-1, *dy.shape[2:]), kept, need)
        return None if dx is None else dx.reshape(shape), gradients

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, T, the layer's)."""
        return (*input_shape[:2], *self.layer.compute_output_shape((None, *input_shape[2:]))[1:])
