"""Layers with a `call`, as Keras has them: run on traced arrays, so that their backward need not be written.

    class Scale(Layer):
        def build(self, input_shape):
            self.gamma = self.add_weight("gamma", input_shape[-1:], "ones")

        def call(self, x):
            return x * self.gamma

Such a layer gets the `forward` and `backward` below. Its weights are traced like its inputs. Layers that its call uses keep their
own backward, which becomes a step of the record.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from minitl.autodiff import Traced, gradients, plain
from minitl.graph.plan import Need
from minitl.graph.steps import run_backward, takes_training, under_way
from minitl.graph.value import Value
from minitl.layers.variable import array_of


def forward(self: Any, x: Any, training: bool = False) -> Any:
    """The values that `call` gives, with their record kept for `backward`."""
    inputs = [Traced(part) for part in (x if self.takes_several else [x])]
    twin, weights = twin_of(self)
    settings: dict[str, Any] = {"training": training} if takes_training(type(self).call) else {}
    if self.given_mask is not None:
        settings["mask"] = self.given_mask
    elif self.marked:  # steps of zeros are none
        settings["mask"] = np.any((x[0] if self.takes_several else x) != 0, axis=-1)
    with recording(training):
        y = twin.call(*(inputs if self.spreads else [inputs if self.takes_several else inputs[0]]), **settings)
    self._record = inputs, weights, y
    return [plain(part) for part in y] if isinstance(y, (list, tuple)) else plain(y)


def twin_of(layer: Any) -> tuple[Any, dict[str, Traced]]:
    """A copy that has traced weights where the layer has arrays, and these weights by name; the layers inside begin anew."""
    for _, held in layer.sublayers():
        for _, leaf in held.named_layers():
            leaf.gradients, leaf.added_losses = {}, []
    weights = {name: Traced(array) for name, array in layer.parameters.items()}
    traced = {id(array): weights[name] for name, array in layer.parameters.items()}
    twin = copy.copy(layer)
    layer.added_losses = twin.added_losses = []
    vars(twin).update({name: weight for name, weight in weights.items() if name not in vars(twin)})  # by its own name
    vars(twin).update({name: traced[id(array_of(value))] for name, value in vars(layer).items() if id(array_of(value)) in traced})
    twin.traced_weights = weights
    return twin, weights


def end_of(layer: Any, pairs: Iterable[tuple[Any, Any]]) -> Traced:
    """One end for several outputs with their gradients, and for what the layer's call added to the loss; with no sources where
    nothing of it was recorded.
    """
    losses = [(loss, np.full_like(loss.value, 1 / loss.value.size)) for loss in layer.added_losses]
    ends = [(part, gradient) for part, gradient in (*pairs, *losses) if isinstance(part, Traced) and gradient is not None]
    return Traced(np.zeros(()), [part for part, _ in ends], lambda _: [gradient for _, gradient in ends])


@contextlib.contextmanager
def recording(training: bool) -> Iterator[None]:
    """Inside the block, layers that a call uses are part of the record."""
    before = under_way.training, under_way.recording
    under_way.training, under_way.recording = training, True
    try:
        yield
    finally:
        under_way.training, under_way.recording = before


def backward(self: Any, dy: Any, need_dx: bool = True) -> Any:
    """dx from dy; fills `gradients`, of a frozen layer with nothing.

    Errors: ValueError before a forward pass, or for a call that left the record.
    """
    if not hasattr(self, "_record"):
        raise ValueError(f"{self.label}: backward() needs a forward pass before it")
    inputs, weights, y = self._record
    weights = weights if self.trainable else {}
    several = isinstance(y, (list, tuple))
    if dy is None and several:  # only what it added to the loss leads back
        dy = [None] * len(y)
    end = end_of(self, zip(y if several else [y], dy if several else [dy], strict=True))
    if not end.sources:
        raise ValueError(
            f"{self.label}: what call() returned does not depend on its input and weights, or left the record on its way; it "
            "must be made of layers, and of NumPy's or minitl.backend's functions"
        )
    found = gradients(end, [*weights.values(), *inputs])
    self.gradients = dict(zip(weights, found, strict=False))
    if several and any(part is None for part in dy):  # what leads to these outputs alone has no gradient
        for _, held in self.sublayers():
            for _, leaf in held.named_layers():
                leaf.gradients = {name: np.zeros_like(w) for name, w in leaf.parameters.items()} | leaf.gradients
    dx = found[len(weights) :]
    return dx if self.takes_several else dx[0]


def built_in_call(self: Any, x: Any, training: bool = False) -> Any:
    """What a layer of minitl gives, inside the `call` of a class derived from it: a step of the record, weights included."""
    weights = vars(self).get("traced_weights")
    if weights is None:
        return self.infer(self.prepare(x), training)
    parts = list(x) if isinstance(x, (list, tuple)) else [x]
    wanted = tuple(isinstance(part, Traced) for part in parts)
    y, cache = self.compute([plain(part) for part in parts] if self.takes_several else plain(x), training)

    def pullback(dy: Any) -> list[Any]:
        dx, found = self.backpropagate(np.ascontiguousarray(dy), cache, Need(wanted if self.takes_several else wanted[0], True))
        every = list(dx) if isinstance(dx, (list, tuple)) else [dx]
        return [g for g, needed in zip(every, wanted, strict=True) if needed] + [found.get(name) for name in weights]

    return Traced(y, [part for part in parts if isinstance(part, Traced)] + list(weights.values()), pullback)


def add_loss(self: Any, losses: Any, inputs: Any = None) -> None:
    """Inside `call`: let what was computed from its input and its weights join the loss, each by its mean.

    Parameters: `losses` is one, or a list; `inputs` is what older programs say, and has no meaning here.
    Errors: ValueError outside of `call`.
    """
    if not isinstance(self.added_losses, list):
        raise ValueError(f"{self.label}: add_loss() belongs into call(), which computes what it is given")
    for loss in losses if isinstance(losses, (list, tuple)) else [losses]:
        followed = isinstance(loss, Value) and not under_way.recording
        self.added_losses.append(loss if isinstance(loss, Traced) or followed else Traced(np.asarray(loss, self.dtype)))


def belongs(layer: Any, x: Any) -> bool:
    """Whether a call of a layer is part of a record: of what is traced, or of an array inside a `call`, if the layer learns."""
    if under_way.recording and layer.learns:
        return True
    return isinstance(x, Traced) or (isinstance(x, (list, tuple)) and any(isinstance(part, Traced) for part in x))


def use(layer: Any, x: Any, training: bool | None) -> Any:
    """A layer on traced arrays, as a step of the record; its parameters' gradients add up in `layer.gradients`.

    Errors: ValueError for a layer of your own that is used twice in one call.
    """
    several = isinstance(x, (list, tuple))
    parts = list(x) if several else [x]
    training = under_way.training if training is None else training
    wanted = tuple(isinstance(part, Traced) for part in parts)
    arrays = layer.prepare([plain(part) for part in parts] if several else plain(parts[0]))
    if layer.is_users:
        y, token = layer._run_forward(arrays, training), object()
        layer._last_use = token
    else:
        y, cache = layer.compute(arrays, training)

    def pullback(dy: Any) -> list[Any]:
        if layer.is_users:
            if layer._last_use is not token:
                raise ValueError(f"{layer.label}: is used twice in one call(); make one layer for each use")
            dx = run_backward(layer, dy)
        else:
            dx, found = layer.backpropagate(dy, cache, Need(wanted if several else wanted[0], layer.trainable))
            for leaf, own in found.items() if layer.is_container else [(layer, found)]:
                leaf.gradients = {name: g + leaf.gradients[name] if name in leaf.gradients else g for name, g in own.items()}
        every = list(dx) if isinstance(dx, (list, tuple)) else [dx]
        return [gradient for part, gradient in zip(parts, every, strict=True) if isinstance(part, Traced)]

    sources = [part for part in parts if isinstance(part, Traced)]
    if not isinstance(y, list):
        return Traced(y, sources, pullback)
    arrived: list[Any] = [None] * len(y)  # the outputs' gradients meet here, before the layer's backward

    def meet(place: int, dy: Any) -> list[Any]:
        arrived[place] = dy
        return [np.zeros(())]

    use = Traced(np.zeros(()), sources, lambda _: pullback(list(arrived)))
    return [Traced(part, [use], partial(meet, place)) for place, part in enumerate(y)]
