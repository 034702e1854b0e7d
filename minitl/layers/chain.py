"""The potentials of a linear chain: how well each label fits behind each other one."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl import initializers
from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.base import Layer


class Transitions(Layer):
    """Scores of labels become potentials of pairs of labels; behind it stands the loss "chain_crossentropy".

    Formula: y[n, t, i, j] = x[n, t, j] + transitions[i, j], and y[n, 0, i, j] = x[n, 0, j] + start[j].
    `ops.crf.decode(y, lengths)` finds the best sequence of labels.
    Shapes: x (N, T, K), transitions (K, K), start (K,), y (N, T, K, K).
    Errors: ValueError for inputs that are no sequences.
    Source: `minitl.ops.crf`.
    """

    def __init__(self, transitions_initializer: Any = "zeros", **kwargs: Any):
        super().__init__(**kwargs)
        self.transitions_initializer = initializers.get(transitions_initializer)

    def build(self, input_shape: Shape) -> None:
        """Create the transitions."""
        if len(input_shape) != 3 or input_shape[2] is None:
            raise ValueError(f"needs scores (N, T, K) with known K, got {input_shape}")
        self.add_weight("transitions", (input_shape[2], input_shape[2]), self.transitions_initializer)
        self.add_weight("start", (input_shape[2],), self.transitions_initializer)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The sums."""
        y = x[:, :, None] + self.parameters["transitions"]
        y[:, 0] = (x[:, 0] + self.parameters["start"])[:, None]
        return y, None

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """Each gradient is a sum over what it was added to."""
        dx = dy.sum(axis=2) if need.dx else None
        if not need.parameters:
            return dx, {}
        return dx, {"transitions": dy[:, 1:].sum(axis=(0, 1)), "start": dy[:, 0].sum(axis=(0, 1))}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, T, K, K)."""
        return (*input_shape, input_shape[-1])
