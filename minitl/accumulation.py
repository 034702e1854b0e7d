"""One update from several parts of a batch: what fits no memory at once, or is shared out among processes.

The batch of N samples is cut into k neighbouring parts. Each goes forward and backward by itself, with n_i / N of the loss:

    g = sum_i (n_i / N) g_i, the parts added in their order; then one update

Batch normalisation takes each part's own statistics; the moving ones become the mean of what the parts would have made of them,
in the same shares. Each part draws its own random numbers. So it does not matter who computes a part: `minitl.distributed`
gives each process one, and the bits are those of one process that computes them all, one after another. Where padded steps do
not count (`minitl.masks`), the loss of a part is the mean over its own steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minitl.batches import rows
from minitl.objective import Means, forward_loss, layer_updates, trained_layers, updates
from minitl.resume import layer_generators


class Measured(NamedTuple):
    """What metrics need of a part."""

    total: float
    of_outputs: list[float | None]
    predictions: list[np.ndarray]
    targets: list[Any]
    weights: list[Any]
    masks: list[Any]


class Part(NamedTuple):
    """What one part of a batch leaves: its share, measurements, gradients by path, and the state of its layers."""

    share: float
    measured: Measured
    paths: list[str]
    gradients: list[np.ndarray]
    states: list[np.ndarray]


def accumulated_step(
    model: Any,
    x: Any,
    y: Any,
    weights: Any,
    count: int,
    explain: Callable[..., str],
    own: int | None = None,
    exchange: Any = None,
) -> list[Measured]:
    """One update from `count` parts of a batch; with `own`, only that part is computed here, and an exchange brings the others.

    Errors: ValueError for a loss that is not finite, before any update.
    """
    if not model.built:
        model.prepare(x)
    trained = trained_layers(model)
    if not any(layer.parameters for _, layer in trained):
        raise ValueError("nothing to train: all layers with parameters are frozen; set layer.trainable = True on some")
    generators = [generator for _, generator in layer_generators(model)]
    seeds = [int(generator.integers(1 << 62)) for generator in generators]
    after = [generator.bit_generator.state for generator in generators]
    states = [array for _, layer in model.named_layers() for array in layer.state.values()]
    before = [array.copy() for array in states]
    parts = []
    for number, (part, share) in enumerate(_cut(x, y, weights, count)):
        if own is not None and number != own:
            continue
        for generator, seed in zip(generators, seeds, strict=True):
            generator.bit_generator.state = np.random.default_rng([seed, number]).bit_generator.state
        found = forward_loss(model, trained, *part, training=True, keep=True)
        if not math.isfinite(found.total) and exchange is None:
            raise ValueError(explain(model, part[0], part[1], found.total))
        sent = exchange is not None and exchange.together(math.isfinite(found.total))
        if sent:  # gradients go on their way as soon as they are there
            found.run.tell = _sender(exchange, trained, share)
        found.run.backward(found.output_gradients())
        made = [] if sent else updates(trained, found.run)
        measured = Measured(found.total, found.of_outputs, found.predictions, found.targets, found.weights, found.masks)
        scaled = [_scaled(gradient, share) for _, _, gradient in made]
        parts.append(Part(share, measured, [path for path, _, _ in made], scaled, [array.copy() for array in states]))
        for array, value in zip(states, before, strict=True):
            array[...] = value
    for generator, state in zip(generators, after, strict=True):
        generator.bit_generator.state = state
    if exchange is not None:
        if not parts:
            exchange.together(None)
        parts = exchange.parts(parts)
    _update(model, trained, parts, states)
    return [part.measured for part in parts]


def add_to(means: Means, parts: list[Measured]) -> None:
    """Take what was measured of all parts into the running means."""
    for part in parts:
        means.add(part, part.targets, part.weights)  # type: ignore[arg-type]


def _sender(exchange: Any, trained: list[tuple[str, Any]], share: float) -> Callable[[Any, dict[str, np.ndarray]], None]:
    """What a run tells when the gradients of a layer are complete."""
    paths = {layer: path for path, layer in trained}

    def tell(layer: Any, gradients: dict[str, np.ndarray]) -> None:
        if layer in paths:
            for path, _, gradient in layer_updates(paths[layer], layer, gradients):
                exchange.take(path, _scaled(gradient, share))

    return tell


def _scaled(gradient: np.ndarray, share: float) -> np.ndarray:
    return gradient * gradient.dtype.type(share)


def _update(model: Any, trained: list[tuple[str, Any]], parts: list[Part], states: list[np.ndarray]) -> None:
    total: dict[str, np.ndarray] = {}
    for part in parts:
        for path, gradient in zip(part.paths, part.gradients, strict=True):
            total[path] = total[path] + gradient if path in total else gradient
    for number, array in enumerate(states):
        array[...] = sum(part.share * part.states[number].astype(np.float64) for part in parts)
    places = [(f"{path}/{name}", w) for path, layer in trained for name, w in layer.parameters.items()]
    model.optimizer.apply([(path, w, total[path]) for path, w in places if path in total])
    for _, layer in trained:
        for name, constraint in layer.constraints.items():
            layer.parameters[name][...] = constraint(layer.parameters[name])


def _cut(x: Any, y: Any, weights: Any, count: int) -> Iterator[tuple[tuple[Any, Any, Any], float]]:
    """The parts of a batch with their shares of it; none is empty."""
    one = x[0] if isinstance(x, (list, tuple)) else next(iter(x.values())) if isinstance(x, dict) else x
    samples = len(one)
    ends = [samples * k // count for k in range(count + 1)]
    for first, last in itertools.pairwise(ends):
        if last > first:
            which = slice(first, last)
            yield tuple(rows(list(p) if isinstance(p, tuple) else p, which) for p in (x, y, weights)), (last - first) / samples
