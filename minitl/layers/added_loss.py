"""A value of the network that joins the loss, as `add_loss` of a model or of a layer asks for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.graph.plan import Need, Step
from minitl.graph.steps import AddedLossStep
from minitl.graph.value import Node, Shape
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

    def step(self, node: Node, joint: bool = False) -> Step:
        """The step that counts it."""
        return AddedLossStep(node)
