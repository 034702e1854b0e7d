"""A model inside another: the step that gives it a run of its own."""

from __future__ import annotations

from typing import Any

from minitl.graph.plan import Gradients, Need
from minitl.graph.run import Run
from minitl.graph.value import Node
from minitl.layers.base import LayerStep


class ModelStep(LayerStep):
    """A model inside another: a run of its own."""

    def __init__(self, node: Node, joint: bool):
        super().__init__(node)
        self.joint = (0,) if joint else ()
        self.fuse = True

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        """The model's outputs, and its run."""
        model = self.layer
        arrays = x if len(self.shapes) > 1 else [x]
        run = model.new_run(self.keep, self.need.dx, self.joint, training, self.fuse, self.adds_loss)
        outputs = run.forward(arrays, training)
        if self.joint:
            outputs[0] = (run.logits[0], outputs[0])
        return (outputs[0] if len(outputs) == 1 else outputs), run

    def added_loss(self, cache: Run) -> float:
        """What was added inside."""
        return cache.added_loss

    def backward(self, dy: Any, cache: Run, need: Need) -> tuple[Any, Gradients]:
        """Back through the model's run."""
        dx = cache.backward(dy if isinstance(dy, list) else [dy])
        return (dx[0] if len(dx) == 1 else dx), cache.gradients
