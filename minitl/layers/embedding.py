"""Embedding: word numbers become vectors."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minitl import initializers, regularizers
from minitl.backend import op
from minitl.errors import positive
from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.base import Layer


class Embedding(Layer):
    """Every word number has a row of a table.

    Formula: y[n, t] = table[x[n, t]]. With `mask_zero` the steps of number 0 are left out behind it; 0 has a row as others have,
    which layers see that leave no steps out. `weights` is a table to begin with, such as published word vectors.
    Shapes: x (N, ...) whole numbers, embeddings (input_dim, output_dim), y (N, ..., output_dim).
    Errors: ValueError for a number outside the table, or a table of another shape.
    Source: `minitl.ops.embedding`.
    """

    keeps_integers = True
    constrained: ClassVar[dict[str, str]] = {"embeddings": "embeddings"}

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        input_length: int | None = None,
        **kwargs: Any,
    ):
        if input_length is not None:
            kwargs.setdefault("input_shape", (input_length,))
        super().__init__(**kwargs)
        self.input_dim, self.output_dim = positive("input_dim", input_dim), positive("output_dim", output_dim)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.mask_zero = mask_zero
        self._start = None if weights is None else np.asarray(weights[0] if isinstance(weights, list) else weights)
        if self._start is not None and self._start.shape != (input_dim, output_dim):
            raise ValueError(f"Embedding: weights must have shape {(input_dim, output_dim)}, got {self._start.shape}")

    @property
    def input_dtype(self) -> Any:
        """Whole numbers."""
        return np.dtype(np.int32)

    def build(self, input_shape: Shape) -> None:
        """Create the table."""
        shape = self.input_dim, self.output_dim
        table = self.add_weight("embeddings", shape, self.embeddings_initializer, self.embeddings_regularizer)
        if self._start is not None:
            table[...] = self._start
            self._start = None

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The rows of the table."""
        return op("embedding").forward(self.parameters["embeddings"], x.astype(np.int64))

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """The gradient of the table; numbers have none."""
        if not need.parameters:
            return None, {}
        return None, {"embeddings": op("embedding").backward(dy, cache)}

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Where there is a word, if 0 is none."""
        return np.not_equal(inputs, 0) if self.mask_zero else None

    def output_dtype(self, dtypes: list[np.dtype]) -> np.dtype:
        """The table's."""
        return self.dtype

    def _may_take(self, shape: Shape) -> bool:
        return True  # numbers of any shape

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, ..., output_dim)."""
        return (*input_shape, self.output_dim)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer; the table is a weight."""
        names = ("input_dim", "output_dim", "embeddings_initializer", "embeddings_regularizer", "mask_zero", "name", "trainable")
        return {**{n: getattr(self, n) for n in names}, "dtype": self.dtype, **self.constraint_arguments}
