"""The steps of a sequence as samples of a batch, and back: how a whole network is applied to every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.base import Layer


class StepsAsSamples(Layer):
    """Every step of every sequence becomes a sample of its own.

    Formula: y[n T + t] = x[n, t].
    Shapes: x (N, T, ...), y (N T, ...).
    """

    keeps_integers = True

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x, with its first two axes in one."""
        return x.reshape(-1, *x.shape[2:]), x.shape

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dy in x's shape."""
        return dy.reshape(cache), {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N T, ...)."""
        return (None, *input_shape[2:])


class SamplesAsSteps(Layer):
    """The samples become the steps of sequences again.

    Formula: y[n, t] = x[n T + t].
    Shapes: a list of x (N T, ...) and the sequences (N, T, ...) whose steps they were; y (N, T, ...), the rest as x's.
    """

    supports_masking = keeps_integers = takes_several = True
    steps_of = 1

    def compute(self, x: list[np.ndarray], training: bool) -> tuple[np.ndarray, Any]:
        """The first x, with its first axis in two."""
        samples, sequences = x
        return samples.reshape(*sequences.shape[:2], *samples.shape[1:]), samples.shape

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[list[np.ndarray | None], dict[str, np.ndarray]]:
        """dy in the samples' shape; the sequences give their number of steps alone."""
        return [dy.reshape(cache), None], {}

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """(N, T, ...)."""
        samples, sequences = input_shape
        return (*sequences[:2], *samples[1:])
