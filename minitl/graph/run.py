"""One pass through a graph, forward and backward. It owns what was computed on the way: caches, logits, gradients.

    run = Run(plan)
    outputs = run.forward([x], training=True)
    dx = run.backward([dy])
    run.gradients[layer]["kernel"]

Any number of runs of one model may be under way at once, in as many threads: they share the weights and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.backend import op
from minitl.graph.plan import Gradients, Plan


class Run:
    """One forward pass of a plan, and the backward passes that follow it.

    Attributes: `gradients` of the last backward pass, {layer: {name: array}}; `tell(layer, gradients)`, if it is set, is called
    as soon as a layer's gradients are complete, the last layer's first; `logits` of the outputs whose last activation is
    joined to their loss (`rules.joint`), by the outputs' positions; `added_loss` of its steps: penalties on activities, and what
    `add_loss` was given.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.caches: list[Any] | None = None
        self.logits: dict[int, np.ndarray] = {}
        self.added_loss = 0.0
        self.gradients: Gradients = {}
        self.tell: Callable[[Any, dict[str, np.ndarray]], None] | None = None
        self.recorded: Any = None  # the recording that gave the outputs, for the way back
        self.arrays: list[np.ndarray] = []  # what it read

    def forward(self, arrays: list[np.ndarray], training: bool = False) -> list[np.ndarray]:
        """The outputs for some inputs."""
        replays = self.plan.replays
        if replays is None or replays.training != training:
            return self.walk(arrays, training)
        return replays.outputs(self, arrays)

    def walk(self, arrays: list[np.ndarray], training: bool = False) -> list[np.ndarray]:
        """The same, step by step."""
        plan, caches = self.plan, []
        values: list[Any] = [None] * plan.size
        values[: len(arrays)] = arrays
        for step, takes, gives, frees, single, alone in plan.program:
            x = values[takes[0]] if single else [values[slot] for slot in takes]
            y, cache = step.forward(x, training if step.training is None else step.training)
            if step.adds_loss:
                self.added_loss += step.added_loss(cache)
            caches.append(cache if step.keep else None)
            if alone:
                values[gives[0]] = y
            else:
                for slot, part in zip(gives, y, strict=True):
                    values[slot] = part
            for slot in frees:
                values[slot] = None
            x = y = cache = None  # or their memory could not be used again for the next step
        self.caches = caches
        outputs = []
        for position, slot in enumerate(plan.outputs):
            y = values[slot]
            if type(y) is tuple:  # logits and y
                self.logits[position], y = y
            outputs.append(y)
        return outputs

    def backward(self, gradients: list[np.ndarray | None]) -> list[np.ndarray | None]:
        """The gradients of the inputs (None where they were not asked for), from those of the outputs; None is no gradient.

        For an output with joint logits it is the gradient of the logits. What several steps need gets the sum of
        their gradients, the last step's first.
        Errors: ValueError without a forward pass before it.
        """
        if self.caches is None:
            raise ValueError("backward() needs a forward pass before it")
        return self.walk_back(gradients) if self.recorded is None else self.recorded.backward(self, gradients)

    def walk_back(self, gradients: list[np.ndarray | None]) -> list[np.ndarray | None]:
        """The same, step by step."""
        plan, caches = self.plan, self.caches or []
        arrived: list[Any] = [None] * plan.size
        for slot, gradient in zip(plan.outputs, gradients, strict=True):
            self._send(arrived, slot, gradient)
        self.gradients = {}
        tell = self.tell
        uses = Counter(layer for step, *_ in plan.program for layer in step.layers) if tell is not None else Counter()
        for cache, (step, takes, gives, _, single, alone) in zip(reversed(caches), reversed(plan.program), strict=True):
            if not step.keep:
                continue
            dy = arrived[gives[0]] if alone else [arrived[slot] for slot in gives]
            for slot in gives:
                arrived[slot] = None
            if not alone and all(part is None for part in dy):
                dy = None
            if dy is None and not step.adds_loss:
                continue
            need = step.need
            dx, of_layers = step.backward(dy, cache, need)
            for layer, named in of_layers.items():
                self._add_gradients(layer, named)
                if tell is not None and uses[layer] == 1:
                    tell(layer, self.gradients[layer])
            if single:
                if need.dx:
                    self._send(arrived, takes[0], dx)
            else:
                for slot, wanted, part in zip(takes, need.dx, dx, strict=True):
                    if wanted:
                        self._send(arrived, slot, part)
        if tell is not None:  # complete at the end: what is used several times, and what a user's layer holds
            for layer, named in self.gradients.items():
                if uses[layer] != 1:
                    tell(layer, named)
        return [arrived[slot] if wanted else None for slot, wanted in zip(plan.inputs, plan.need_dx, strict=True)]

    def _send(self, arrived: list[Any], slot: int, gradient: Any) -> None:
        """Add a gradient to what has arrived at a value; its step may do that itself, for two of them."""
        before = arrived[slot]
        if gradient is None or before is None:
            arrived[slot] = before if gradient is None else gradient
        elif slot in self.plan.adding and type(before) is not tuple:
            arrived[slot] = before, gradient
        else:
            before = op("add").forward(*before)[0] if type(before) is tuple else before
            arrived[slot] = op("add").forward(before, gradient)[0]

    def _add_gradients(self, layer: Any, named: dict[str, np.ndarray]) -> None:
        known = self.gradients.get(layer)
        if known is None:
            self.gradients[layer] = named
            return
        add = op("add").forward
        self.gradients[layer] = {name: add(known[name], g)[0] if name in known else g for name, g in named.items()}
