"""How a layer runs at a node: minitl's, with a cache that is handed over, and a user's, which keeps in self what it needs."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.errors import wrong_shape
from minitl.graph.plan import Gradients, Need, Step
from minitl.graph.value import Node, fits


class LayerStep(Step):
    """One layer of minitl's."""

    def __init__(self, node: Node):
        super().__init__([node])
        self.layer = node.layer
        self.shapes = [value.shape for value in node.inputs]

    def admitted(self, x: Any) -> Any:
        """x as the layer takes it."""
        if self.layer.takes_several:
            return [self.layer.admit(part, shape) for part, shape in zip(x, self.shapes, strict=True)]
        return self.layer.admit(x, self.shapes[0])

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        """The layer's y."""
        return self.layer.compute(self.admitted(x), training)

    def backward(self, dy: Any, cache: Any, need: Need) -> tuple[Any, Gradients]:
        """The layer's dx and gradients."""
        if self.layer.takes_several and not isinstance(need.dx, tuple):
            need = need._replace(dx=(need.dx,))
        dx, gradients = self.layer.backpropagate(dy, cache, need)
        if self.layer.takes_several and len(self.shapes) == 1:
            dx = dx[0]
        return dx, {self.layer: gradients} if gradients else {}


class JointStep(LayerStep):
    """A last layer whose activation belongs to the loss: it gives logits and y, and its dy is the logits' gradient."""

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        """The pair (logits, y)."""
        return self.layer.compute_logits(self.admitted(x), training)

    def backward(self, dy: Any, cache: Any, need: Need) -> tuple[Any, Gradients]:
        """Back from the logits, past the activation."""
        dx, gradients = self.layer.backpropagate_logits(dy, cache, need)
        return dx, {self.layer: gradients} if gradients else {}


class UserStep(LayerStep):
    """A user's layer, which keeps in self what it needs; what its backward did is checked."""

    def __init__(self, node: Node):
        super().__init__(node)
        self.calls = [leaf for _, leaf in self.layer.named_layers() if leaf.has_call]
        self.adds_loss = bool(self.calls)  # perhaps

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        """The layer's y."""
        y = self.layer._run_forward(self.admitted(x), training)
        return y, sum(float(np.mean(loss.value)) for leaf in self.calls for loss in leaf.added_losses)

    def added_loss(self, cache: Any) -> float:
        """What its call, and calls inside, added to the loss."""
        return cache

    def backward(self, dy: Any, cache: Any, need: Need) -> tuple[Any, Gradients]:
        """The layer's dx, and its gradients: every parameter has one, and dx has x's shape."""
        layer = self.layer
        if dy is None and not layer.added_losses:
            for leaf in self.calls:
                if leaf.added_losses:
                    advice = f"compile with a loss on the output, or let {layer.label} add it"
                    raise ValueError(
                        f"{leaf.label}: what it adds to the loss inside another layer is not learnt by itself; {advice}"
                    )
            return (None,) * len(self.shapes) if len(self.shapes) > 1 else None, {}
        layer.gradients.clear()
        wanted = any(need.dx) if isinstance(need.dx, tuple) else need.dx
        dx = run_backward(layer, dy, wanted)
        gradients: Gradients = {layer: dict(layer.gradients)} if layer.trainable else {}
        if layer.trainable:
            for name, weight in layer.parameters.items():
                gradient = layer.gradients.get(name)
                if gradient is None:
                    raise ValueError(f"{layer.label}: backward() left no gradient; set self.gradients[{name!r}] in it")
                if np.shape(gradient) != weight.shape:
                    advice = "sum over the axes along which the parameter was shared"
                    raise wrong_shape(f"{layer.label}: gradient of {name!r}", weight.shape, np.shape(gradient), advice)
        gradients.update(gradients_inside(layer))
        if wanted:
            parts = dx if layer.takes_several else [dx]
            for part, shape in zip(parts, self.shapes, strict=True):
                if not isinstance(part, np.ndarray):
                    advice = "it must return dx, the gradient with respect to forward's x"
                    raise TypeError(f"{layer.label}: backward() returned {type(part).__name__}; {advice}")
                if not fits(shape, part.shape):
                    raise wrong_shape(f"{layer.label}: dx", shape, part.shape, "return dx in the shape of x")
        return dx, gradients


class AddedLossStep(LayerStep):
    """A value whose mean joins the loss, whether or not anything else needs it."""

    adds_loss = True

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        """x itself; it is kept."""
        y = self.admitted(x)
        return y, y

    def added_loss(self, cache: Any) -> float:
        """The mean."""
        return float(np.mean(cache))

    def backward(self, dy: Any, cache: Any, need: Need) -> tuple[Any, Gradients]:
        """The mean's gradient, and dy where there is one."""
        gradient = np.full_like(cache, 1 / max(1, cache.size))
        return gradient if dy is None else gradient + dy, {}


class RegularizedStep(Step):
    """A layer with an activity regularizer: the penalty of what it gives joins the loss.

    Formula: penalty = regularizer(y) / N for N samples, and its gradient is added to dy.
    """

    adds_loss = True

    def __init__(self, step: Step):
        super().__init__(step.nodes)
        self.step, self.regularizer = step, step.nodes[-1].layer.activity_regularizer

    def forward(self, x: Any, training: bool) -> tuple[Any, Any]:
        """The layer's y; it is kept, and its penalty."""
        y, cache = self.step.forward(x, training)
        return y, (cache, y, float(self.regularizer(y)) / max(1, len(y)))

    def backward(self, dy: Any, cache: Any, need: Need) -> tuple[Any, Gradients]:
        """The layer's dx and gradients, for dy with the penalty's gradient."""
        kept, y, _ = cache
        gradient = self.regularizer.gradient(y) / y.dtype.type(max(1, len(y)))
        return self.step.backward(gradient if dy is None else dy + gradient, kept, need)

    def added_loss(self, cache: Any) -> float:
        """The penalty of one pass."""
        return cache[2]


def run_backward(layer: Any, dy: Any, need_dx: bool = True) -> Any:
    """A layer's backward by hand; one that does not know `need_dx` always gives dx."""
    return layer.backward(dy, need_dx=need_dx) if _takes_need_dx(type(layer).backward) else layer.backward(dy)


def gradients_inside(layer: Any) -> Gradients:
    """What the backward pass of a user's layer left in the layers that it holds.

    Errors: ValueError for one that learns and was not reached.
    """
    found: Gradients = {}
    for _, held in layer.sublayers():
        for _, leaf in held.named_layers():
            if leaf.trainable and leaf.parameters:
                if leaf.parameters.keys() - leaf.gradients.keys():
                    advice = "call backward(dy) of every layer that forward called, or freeze it"
                    raise ValueError(f"{layer.label}: its backward() did not reach {leaf.label} inside it; {advice}")
                found[leaf] = leaf.gradients
                leaf.gradients = {}
    return found


class _UnderWay(threading.local):
    """Whether a user's forward is running, so that the layers it calls remember what their `backward` needs; and, inside a
    user's `call`, whether it is for training.
    """

    by_hand = False
    recording = False  # whether a `call` is being recorded
    training = False


under_way = _UnderWay()


def by_hand(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A user's forward, inside which layers remember."""

    @functools.wraps(forward)
    def watched(*args: Any, **kwargs: Any) -> Any:
        before = under_way.by_hand, under_way.recording
        under_way.by_hand, under_way.recording = True, False
        try:
            return forward(*args, **kwargs)
        finally:
            under_way.by_hand, under_way.recording = before

    return watched


@functools.cache
def takes_training(forward: Callable[..., Any]) -> bool:
    """Whether a user's forward wants to know if it is training."""
    return "training" in inspect.signature(forward).parameters


@functools.cache
def _takes_need_dx(backward: Callable[..., Any]) -> bool:
    return "need_dx" in inspect.signature(backward).parameters
