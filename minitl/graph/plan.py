"""How a graph will be run: its steps, which of them keep a cache, and which gradients are asked for.

All of it is derived from the graph and from what learns now. A step keeps a cache if it learns, or lies above something that
does; it is asked for the gradient of an input if what makes that input learns, or lies above something that does. So frozen
layers below the lowest one that learns cost nothing backward, on every branch.

A step is one layer, or several that run together (`rules`). It has

    forward(x, training)         y and a cache; x is a list where the step takes several values
    backward(dy, cache, need)    dx, and the gradients of parameters as {layer: {name: gradient}}
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from minitl.graph.graph import Graph
from minitl.graph.value import Node, Value

Gradients = dict[Any, dict[str, np.ndarray]]


class Need(NamedTuple):
    """What is asked of a backward pass: dx (for several inputs, of which), and the gradients of the layer's parameters."""

    dx: Any = True
    parameters: bool = True


class Step:
    """What steps share: the nodes that they run, and from what and to what."""

    adds_loss = False  # whether it adds to the loss
    adds_up = False  # whether its dy may be a pair, which it adds up itself

    def __init__(self, nodes: list[Node]):
        self.nodes = nodes
        self.takes, self.gives = nodes[0].inputs, nodes[-1].outputs
        self.training = nodes[0].training
        self.keep, self.need = True, Need()  # set by the plan

    @property
    def layers(self) -> list[Any]:
        """The layers that it runs."""
        return [node.layer for node in self.nodes]

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        """y, and what backward needs."""
        raise NotImplementedError

    def backward(self, dy: Any, cache: Any, need: Need) -> tuple[Any, Gradients]:
        """dx, and the gradients of parameters."""
        raise NotImplementedError

    def added_loss(self, cache: Any) -> float:
        """What a forward pass added to the loss, if anything."""
        return 0.0


class Plan:
    """The steps of a graph for one kind of pass.

    Attributes: `program` has each step with the slots that it takes, those that it gives, those that nobody needs after it, and
    whether it takes and gives a single value. Steps say themselves whether their cache is kept, and what their backward pass is
    asked for. `replays` has the passes that can be run again launch by launch, where that is possible.
    """

    replays: Any = None

    def __init__(self, graph: Graph, steps: Iterable[Step], keep: bool, need_dx: Iterable[bool]):
        self.steps = list(steps)
        slots: dict[Value, int] = {value: slot for slot, value in enumerate(graph.inputs)}
        for step in self.steps:
            for value in step.gives:
                slots[value] = len(slots)
        self.size = len(slots)
        self.inputs, self.outputs = range(len(graph.inputs)), [slots[value] for value in graph.outputs]
        last_use = {slots[value]: number for number, step in enumerate(self.steps) for value in step.takes}
        last_use.update({slot: len(self.steps) for slot in self.outputs})
        self.adding = {slots[value] for step in self.steps if step.adds_up for value in step.gives}
        self.program = []
        for number, step in enumerate(self.steps):
            takes = [slots[value] for value in step.takes]
            gives = [slots[value] for value in step.gives]
            frees = {slot for slot in takes if last_use[slot] == number} | {slot for slot in gives if slot not in last_use}
            self.program.append((step, takes, gives, tuple(frees), len(takes) == 1, len(gives) == 1))
        self._derive_needs(keep, list(need_dx))

    def _derive_needs(self, keep: bool, need_dx: list[bool]) -> None:
        above = [False] * self.size  # whether a slot's value comes from something that learns
        above[: len(need_dx)] = need_dx
        for step, takes, gives, _, single, _ in self.program:
            dx = [above[slot] for slot in takes]
            learns = any(layer.learns for layer in step.layers)
            for slot in gives:
                above[slot] = keep and (learns or any(dx))
            step.keep, step.need = keep and (learns or any(dx)), Need(dx[0] if single else tuple(dx), learns)
        self.need_dx = need_dx
