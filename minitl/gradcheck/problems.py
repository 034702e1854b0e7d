"""What a target looks like to the checker: arrays to move, a forward pass, and the gradients that it claims."""

from __future__ import annotations

import contextlib
import copy
import itertools
import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from minitl import objective
from minitl.autodiff import plain
from minitl.graph.plan import Need
from minitl.graph.steps import gradients_inside, run_backward
from minitl.layers.base import Layer
from minitl.layers.variable import array_of
from minitl.losses import Loss

SMALL = 4096  # arrays of the target's own, up to this size, are wound back after every run


@dataclass
class Problem:
    """A target, ready to be measured.

    `values()` is y for the arrays as they stand now. `gradients(dy, between)` runs forward, then `between()`, then backward,
    and gives one gradient for every array. `scalar` says that y is a loss with a backward that takes no dy, `mode` whether
    forward trains.
    """

    title: str
    names: list[str]
    arrays: list[np.ndarray]
    values: Callable[[], Any]
    gradients: Callable[..., list[Any]]
    layer: Layer | None = None
    scalar: bool = False
    mode: bool = True
    x: Any = None  # the layer's whole input: an array, or a list of arrays


class Pass:
    """One forward pass of a layer or model, and backward passes that follow it: nothing is checked, missing gradients are None.

    Several outputs are one row of numbers here, one behind another; and what a `call` adds to the loss is one more output.
    """

    def __init__(self, layer: Layer, x: Any, mode: bool, need_dx: bool = True):
        self.layer, self.need_dx = layer, need_dx
        self.several = isinstance(x, list)
        self.moved = [is_real(part) for part in (x if self.several else [x])]
        if layer.is_container:
            model: Any = layer
            self.cache = model.new_run(keep=True, need_dx=need_dx, training=mode)
            outputs = self.cache.forward(model.prepare(x), mode)
            self.shapes = [y.shape for y in outputs]
            self.y = outputs[0] if len(outputs) == 1 else np.concatenate([y.reshape(-1) for y in outputs])
        elif layer.is_users:
            self.y = layer._run_forward(layer.prepare(x), mode)
        else:
            self.y, self.cache = layer.compute(layer.prepare(x), mode)
        self.added = [(leaf, list(leaf.added_losses)) for _, leaf in layer.named_layers() if leaf.added_losses]
        if self.added:
            total = sum(float(np.mean(plain(loss))) for _, losses in self.added for loss in losses)
            self.shape, self.y = self.y.shape, np.append(self.y, np.asarray(total, self.y.dtype))

    def back(self, dy: np.ndarray) -> list[Any]:
        """dx of every input of real numbers, and the gradients of the parameters."""
        layer = self.layer
        if self.added:
            of_loss, dy = dy[-1], dy[:-1].reshape(self.shape)
            for leaf, losses in self.added:
                leaf.added_losses = [loss * of_loss for loss in losses]
        if layer.is_container:
            ends = np.cumsum([0, *(int(np.prod(shape)) for shape in self.shapes)])
            parts = [dy.reshape(-1)[a:b].reshape(s) for a, b, s in zip(ends, ends[1:], self.shapes, strict=False)]
            dx = self.cache.backward(parts if len(parts) > 1 else [dy])
            gradients = self.cache.gradients
        elif layer.is_users:
            layer.gradients.clear()
            dx = run_backward(layer, dy, self.need_dx)
            gradients = {layer: dict(layer.gradients), **gradients_inside(layer)}
        else:
            need = Need((self.need_dx,) * 99 if layer.takes_several else self.need_dx, layer.trainable)
            dx, named = layer.backpropagate(dy, self.cache, need)
            gradients = {layer: named}
        inputs = list(dx) if self.several or isinstance(dx, list) else [dx]
        inputs = [part for part, moved in itertools.zip_longest(inputs, self.moved, fillvalue=True) if moved]
        leaves = [(leaf, name) for _, leaf in layer.named_layers() if leaf.trainable for name in leaf.parameters]
        return [*inputs, *(gradients.get(leaf, {}).get(name) for leaf, name in leaves)]


def pose(target: Any, x: Any, more: tuple[Any, ...], y: Any, mode: bool, dtype: Any = np.float64) -> Problem:
    """The problem of a layer, a model with its loss, a loss, a pair of functions, or a module with forward and backward.

    Errors: ValueError for a target of another kind, or targets for what has no loss.
    """
    if isinstance(target, Loss):
        return _of_loss(copy.deepcopy(target), x, y, dtype)
    if isinstance(target, type) and issubclass(target, Layer):
        raise ValueError(f"check_gradients: {target.__name__} is a class; check an object of it, {target.__name__}(...)")
    if isinstance(target, Layer):
        if y is not None and not hasattr(target, "need_loss"):
            raise ValueError(f"check_gradients: {target.label} is a layer, which has no targets; leave y out")
        if y is not None:
            target.need_loss()
        layer = in_dtype(target, x, dtype)
        return _of_model(layer, x, y, mode, dtype) if y is not None else _of_layer(layer, x, mode, dtype)
    if isinstance(target, ModuleType) and hasattr(target, "forward") and hasattr(target, "backward"):
        target = (target.forward, target.backward)
    if isinstance(target, Sequence) and len(target) == 2 and all(map(callable, target)):
        return _of_pair(target[0], target[1], (x, *more), dtype)
    raise ValueError(
        f"check_gradients: expected a layer, a model, a loss, a pair (forward, backward) or a module with both, got {target!r}"
    )


def _of_layer(layer: Layer, x: Any, mode: bool, dtype: Any) -> Problem:
    x = _converted(x, dtype, layer)
    inputs = x if isinstance(x, list) else [x]
    names = [f"x[{i}]" for i in range(len(inputs))] if isinstance(x, list) else ["x"]
    moved = [i for i, part in enumerate(inputs) if is_real(part)]  # whole numbers have no gradient
    parameters = _parameters(layer)

    def values() -> Any:
        with replayed(layer):
            return Pass(layer, x, mode).y

    def gradients(dy: np.ndarray, between: Callable[[], Any] = lambda: None) -> list[Any]:
        with replayed(layer):
            run = Pass(layer, x, mode)
            between()
            return run.back(dy)

    arrays = [*(inputs[i] for i in moved), *(w for _, w in parameters)]
    every = [*(names[i] for i in moved), *(name for name, _ in parameters)]
    return Problem(layer.label, every, arrays, values, gradients, layer, mode=mode, x=x)


def _of_model(model: Any, x: Any, y: Any, mode: bool, dtype: Any) -> Problem:
    x = _converted(x, dtype, model)
    inputs = x if isinstance(x, list) else [x]
    names = [f"x[{i}]" for i in range(len(inputs))] if isinstance(x, list) else ["x"]
    moved = [i for i, part in enumerate(inputs) if is_real(part)]
    parameters, trained = _parameters(model), objective.trained_layers(model)

    def run(keep: bool) -> Any:
        return objective.forward_loss(model, trained, x, y, None, mode, keep, need_dx=keep)

    def values() -> Any:
        with replayed(model):
            return np.asarray(run(False).total)

    def gradients(dy: np.ndarray, between: Callable[[], Any] = lambda: None) -> list[Any]:
        with replayed(model):
            found = run(True)
            between()
            dx = found.run.backward(found.output_gradients())
        return [*(dx[i] for i in moved), *(gradient for _, _, gradient in objective.updates(trained, found.run))]

    every = [*(names[i] for i in moved), *(name for name, _ in parameters)]
    arrays = [*(inputs[i] for i in moved), *(w for _, w in parameters)]
    return Problem(model.label, every, arrays, values, gradients, model, scalar=True)


def _of_loss(loss: Loss, x: Any, y: Any, dtype: Any) -> Problem:
    if y is None:
        raise ValueError(
            f"check_gradients: a loss needs its targets: check_gradients({type(loss).__name__}(...), y_pred, y=y_true)"
        )
    x, y = np.array(x, dtype, order="C"), np.asarray(y)

    def values() -> Any:
        return np.asarray(loss.forward(y, x, None, loss.from_logits))

    def gradients(dy: np.ndarray, between: Callable[[], Any] = lambda: None) -> list[Any]:
        loss.forward(y, x, None, loss.from_logits)
        between()
        return [loss.backward()]

    return Problem(f"loss {type(loss).__name__}", ["y_pred"], [x], values, gradients, scalar=True)


def _of_pair(forward: Callable[..., Any], backward: Callable[..., Any], inputs: tuple[Any, ...], dtype: Any) -> Problem:
    given = [np.array(a, dtype, order="C") if i == 0 or is_real(a) else a for i, a in enumerate(inputs)]
    moved = [i for i, a in enumerate(given) if i == 0 or is_real(a)]

    def values() -> Any:
        return _pair_of(forward(*given))[0]

    def gradients(dy: np.ndarray, between: Callable[[], Any] = lambda: None) -> list[Any]:
        cache = _pair_of(forward(*given))[1]
        between()
        result = backward(dy if dy.ndim else float(dy), cache)
        found = list(result) if isinstance(result, (tuple, list)) else [result]
        while len(found) > len(moved) and found[-1] is None:  # of an argument that was not given
            found.pop()
        return found

    title = f"{getattr(forward, '__module__', '')}.{getattr(forward, '__qualname__', 'pair')}".lstrip(".").replace(
        "<locals>.", ""
    )
    return Problem(title, ["x", *(f"input {i}" for i in moved[1:])], [given[i] for i in moved], values, gradients)


def _pair_of(result: Any) -> tuple[Any, Any]:
    if not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError(f"forward must return the pair (y, cache), got {type(result).__name__}")
    return result


def is_real(a: Any) -> bool:
    """Real numbers have a gradient; whole ones (labels, sizes), words and tuples (strides) are handed on as they are."""
    return isinstance(a, (np.ndarray, list)) and np.asarray(a).dtype.kind == "f"


def in_dtype(target: Layer, x: Any, dtype: Any) -> Layer:
    """A built copy of a layer, in a dtype, that keeps all that a backward pass needs."""
    layer = copy.deepcopy(target)
    if not layer.built:
        layer.ensure_built([(None, *np.shape(part)[1:]) for part in x] if layer.takes_several else (None, *np.shape(x)[1:]))
    return layer.astype(dtype)


def _parameters(layer: Layer) -> list[tuple[str, np.ndarray]]:
    return [(f"{path}/{name}", w) for path, leaf in layer.named_layers() if leaf.trainable for name, w in leaf.parameters.items()]


def _converted(x: Any, dtype: Any, layer: Any) -> Any:
    """Copies of the inputs in the dtype of the check; whole numbers stay whole where they are wanted.

    Row by row, whatever the order of what was given: entries are changed through a flat view.
    """
    parts = [np.array(part, order="C") for part in (x if layer.takes_several else [x])]
    wanted = [value.dtype for value in layer.inputs] if layer.is_container else [layer.input_dtype] * len(parts)
    whole = [part.dtype.kind in "iub" and np.dtype(kind).kind in "iub" for part, kind in zip(parts, wanted, strict=True)]
    parts = [part if stays else part.astype(dtype) for part, stays in zip(parts, whole, strict=True)]
    return parts if layer.takes_several else parts[0]


@contextlib.contextmanager
def restored(arrays: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Gives copies of some arrays; after the block, the arrays hold again what they held before it."""
    before = [a.copy() for a in arrays]
    try:
        yield before
    finally:
        for a, b in zip(arrays, before, strict=True):
            a[...] = b


@contextlib.contextmanager
def replayed(layer: Layer) -> Iterator[None]:
    """Whatever the layer draws, counts or moves inside the block, it draws, counts and moves again the next time."""
    leaves = [leaf for _, leaf in layer.every_layer()]
    kept = [_memory(leaf) for leaf in leaves]
    world = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(world[0])
        random.setstate(world[1])
        for leaf, memory in zip(leaves, kept, strict=True):
            for name, (value, content) in memory.items():
                if isinstance(value, np.ndarray):
                    value[...] = content
                    vars(leaf)[name] = value
                else:
                    vars(leaf)[name] = content
            for state, content in memory[""][1]:
                state[...] = content


def _memory(leaf: Layer) -> dict[str, Any]:
    owned = {id(w) for w in leaf.parameters.values()}
    memory: dict[str, Any] = {"": (None, [(state, state.copy()) for state in leaf.state.values()])}
    for name, value in vars(leaf).items():
        if isinstance(value, (np.random.Generator, np.random.RandomState, random.Random)):
            memory[name] = (value, copy.deepcopy(value))
        elif isinstance(value, np.ndarray) and id(array_of(value)) not in owned and value.size <= SMALL and value.flags.writeable:
            memory[name] = (value, value.copy())
        elif isinstance(value, (int, float)):
            memory[name] = (value, value)
    return memory


def explain(error: Exception, what: str) -> str:
    """An exception from a target in one line, with the place in its source unless the message says enough."""
    if isinstance(error, NotImplementedError) or "layer " in str(error)[:40]:
        return str(error)
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if f"{__package__.replace('.', '/')}/" not in frame.filename
    ]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno}: {frames[-1].line})" if frames else ""
    return f"{what} raised {type(error).__name__}: {error}{where}"
