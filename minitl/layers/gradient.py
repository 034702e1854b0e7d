"""The gradient of one value with respect to another, as a value: what `backend.gradients` gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.base import Layer


class Gradient(Layer):
    """Runs a part of a network forward and backward, and gives the gradient of the sum of its output with respect to its input.

    Formula: y = d sum(part(x)) / dx.
    Parameters: `part` is the model between the two values; its layers are shared with the network that it is a part of.
    Shapes: x and y alike, what `part` takes.
    Errors: NotImplementedError in a backward pass, or when it is to be saved.
    """

    any_shape = False

    def __init__(self, part: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.part = part

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """There and back."""
        y, run = self.part.compute(x, training)
        return self.part.backpropagate(np.ones_like(y), run, Need())[0], None

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Refused: there are no second derivatives here."""
        raise NotImplementedError(f"{self.label}: a gradient is not differentiated again; nothing below it may learn")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Refused: the part belongs to a network that the file would not have."""
        raise NotImplementedError(f"{self.label}: cannot be saved; save the network, and ask for its gradients again")
