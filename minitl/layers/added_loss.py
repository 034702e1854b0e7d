"""A value of the network that joins the loss, as `add_loss` of a model or of a layer asks for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.base import Layer


class AddedLoss(Layer):
    """The mean of what comes in joins the loss that is trained; `Model.add_loss` makes one.

    Formula: y = x; loss += mean(x), so that dx = dy + 1 / size of x.
    Shapes: any, a single number included.
    """

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x itself."""
        return x, x.shape

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dy itself; the step that runs the layer has added the mean's gradient."""
        return dy, {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


class LossBeside(Layer):
    """The first of two values, unchanged; the second, an `AddedLoss`, is part of a network because the first is.

    Formula: y = x.
    Shapes: any; two inputs, x and what was added to the loss.
    """

    takes_several = True

    def compute(self, x: Any, training: bool) -> tuple[np.ndarray, Any]:
        """x itself."""
        return x[0], x[1]

    def backpropagate(self, dy: Any, cache: Any, need: Need) -> tuple[Any, dict[str, np.ndarray]]:
        """dy itself for x, and nothing for what was added: its own step has that gradient."""
        return [dy, np.zeros_like(cache)], {}

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """That of x."""
        return input_shape[0]
