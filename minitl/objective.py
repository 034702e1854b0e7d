"""What a batch is judged by: the losses of all outputs, their gradients, and the metrics; and what is then updated."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minitl import channels, losses, metrics
from minitl.errors import no_targets, unknown, wrong_shape
from minitl.graph import rules
from minitl.graph.run import Run
from minitl.layers.base import Layer
from minitl.layers.names import free_name
from minitl.masks import masks_of

Trained = list[tuple[str, Layer]]


class Losses:
    """The losses of one forward pass, and how to go back from them.

    Attributes: `total` is their weighted sum with the regularization, `of_outputs` each output's own; `predictions`, `targets`,
    `weights` and `masks` (the steps that count, or None) are lists, one entry per output.
    """

    def __init__(
        self,
        model: Any,
        run: Run,
        predictions: list[Any],
        targets: list[Any],
        weights: list[Any],
        joint: tuple[int, ...],
        masks: list[Any],
    ):
        fits = [mask is None or mask.shape == p.shape[: mask.ndim] for mask, p in zip(masks, predictions, strict=True)]
        self.masks = [mask if fit else None for mask, fit in zip(masks, fits, strict=True)]
        self.run, self.predictions, self.targets, self.weights = run, predictions, targets, weights
        if channels.are_first():
            pairs = zip(targets, predictions, strict=True)
            self.targets = targets = [t if t is None else channels.inner_images(np.asarray(t), p.shape) for t, p in pairs]
        self.losses = listed(model.loss)
        self.shares = listed(model.loss_weights) if model.loss_weights is not None else [None] * len(self.losses)
        self.caches: list[Any] = [None] * len(self.losses)
        self.of_outputs: list[float | None] = [None] * len(self.losses)
        self.total = 0.0
        for i, loss in enumerate(self.losses):
            if loss is None:
                continue
            if targets[i] is None:
                raise no_targets()
            own = None if weights[i] is None else np.asarray(weights[i], predictions[i].dtype)
            seen = run.logits[i] if i in joint else predictions[i]
            mask = self.masks[i]
            if mask is not None and not mask.any():  # the batch holds nothing but padding
                self.of_outputs[i] = 0.0
                continue
            target, seen, own = at_steps(mask, np.asarray(targets[i]), seen, own)
            value, self.caches[i] = losses.compute(loss, target, seen, own, i in joint or loss.from_logits)
            self.of_outputs[i] = float(value)
            share = self.shares[i]
            self.total += value if share is None else share * value

    def output_gradients(self) -> list[np.ndarray | None]:
        """The gradient with respect to every output, or its logits."""
        gradients: list[np.ndarray | None] = []
        for i, (loss, mask) in enumerate(zip(self.losses, self.masks, strict=True)):
            cache, share = self.caches[i], self.shares[i]
            if loss is None:
                gradient = None
            elif mask is None:
                gradient = losses.backpropagate(loss, cache)
            else:
                gradient = np.zeros_like(self.predictions[i])
                if mask.any():
                    gradient[mask] = losses.backpropagate(loss, cache)
            gradients.append(gradient if gradient is None or share is None else gradient * gradient.dtype.type(share))
        return gradients


def forward_loss(
    model: Any, trained: Trained, x: Any, y: Any, weights: Any, training: bool, keep: bool, need_dx: bool = False
) -> Losses:
    """Run a model on a batch, and compute its losses with their regularization.

    Errors: ValueError for sample weights beside a loss that uses values of the network.
    """
    arrays, targets, judged = model.prepare(x), targets_of(model, y, "y"), model
    if model.with_target is not None:
        if weights is not None:
            raise ValueError(f"loss {model.loss.name!r}: uses values of the network, and takes no sample weights")
        judged = model.with_target
        arrays = judged.prepare([*arrays, *targets])
    elif model.has_own_loss:
        own = targets_of(model, weights, "sample_weight")
        judged, places = model.judged_by_its_own(targets, own)
        arrays = judged.prepare([*arrays, *((*targets, *own)[place] for place in places)])
    joint = tuple(
        i
        for i, loss in enumerate(listed(judged.loss))
        if loss is not None and not loss.from_logits and loss.row_axis == -1 and rules.joint(judged.graph, i, loss.activation)
    )
    run = judged.new_run(keep, need_dx, joint, training, added_losses=True)
    predictions = run.forward(arrays, training)
    masks = masks_of(judged.graph, arrays)
    found = Losses(judged, run, predictions, targets, targets_of(model, weights, "sample_weight"), joint, masks)
    found.total += run.added_loss
    for _, layer in trained:
        for name, penalty in layer.regularizers.items():
            found.total += penalty(layer.parameters[name])
    found.total = float(found.total)
    return found


def at_steps(mask: np.ndarray | None, y_true: Any, y_pred: np.ndarray, weights: Any) -> tuple[Any, np.ndarray, Any]:
    """Targets, predictions and weights of the steps that count, each as a sample of its own; without a mask all as they are.

    Shapes: mask (N, T), y_true and y_pred (N, T, ...), weights (N,) or (N, T); of the results the first axis is that of steps.
    Errors: ValueError for targets that have no such steps.
    """
    if mask is None:
        return y_true, y_pred, weights
    y_true = np.asarray(y_true)
    if y_true.shape[: mask.ndim] != mask.shape:
        raise wrong_shape("targets of steps", mask.shape, y_true.shape, "give one target for every step, padded ones too")
    if weights is not None:
        weights = np.broadcast_to(np.reshape(weights, (len(weights), -1)), mask.shape)[mask]
    return y_true[mask], y_pred[mask], weights


class Means:
    """Running means of the losses and the metrics over the samples of an epoch."""

    def __init__(self, model: Any):
        several = isinstance(model.loss, list)
        self.metrics = model.metrics if several else [model.metrics]
        self.names = model.output_names if several else [""]
        self.apart = len(self.names) > 1 and not model.has_own_loss  # whether each output has a loss
        self.total, self.samples = 0.0, 0
        self.of_outputs = [0.0] * len(self.names)
        for group in self.metrics:
            for metric in group:
                metric.reset_state()

    def add(self, found: Losses, targets: list[Any], weights: list[Any]) -> None:
        """Take a batch in."""
        samples = len(found.predictions[0])
        self.total += found.total * samples
        self.samples += samples
        for i, group in enumerate(self.metrics):
            self.of_outputs[i] += (found.of_outputs[i] or 0.0) * samples
            if not group:
                continue
            y_true, y_pred, own = at_steps(found.masks[i], targets[i], found.predictions[i], weights[i])
            for metric in group:
                metric.update_state(y_true, y_pred, own if metric.weighted else None)

    def get_state(self) -> dict[str, Any]:
        """What was taken in so far."""
        measured = [[metric.get_state() for metric in group] for group in self.metrics]
        return {"total": self.total, "samples": self.samples, "of_outputs": self.of_outputs, "metrics": measured}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.total, self.samples, self.of_outputs = state["total"], state["samples"], list(state["of_outputs"])
        for group, states in zip(self.metrics, state["metrics"], strict=True):
            for metric, measured in zip(group, states, strict=True):
                metric.set_state(measured)

    def results(self) -> dict[str, float]:
        """The means by name, the loss first."""
        count = self.samples or 1
        logs = {"loss": self.total / count}
        if self.apart:
            logs.update({f"{name}_loss": total / count for name, total in zip(self.names, self.of_outputs, strict=True)})
        for name, group in zip(self.names, self.metrics, strict=True):
            logs.update({f"{name}_{metric.name}" if name else metric.name: _number(metric.result()) for metric in group})
        return logs


def _number(result: Any) -> Any:
    """What a metric gives, as it is now: a plain number, unless it has several."""
    return float(result) if isinstance(result, float) or np.size(result) == 1 else np.asarray(result).tolist()


def trained_layers(model: Any) -> Trained:
    """Path and layer of all that may be trained now."""
    return [(path, layer) for path, layer in model.named_layers() if layer.trainable]


@contextlib.contextmanager
def as_compiled(model: Any) -> Iterator[None]:
    """Let a model that was frozen as a part of another, after it was compiled, train as it was compiled.

    So programs train the two halves of a GAN: the discriminator is compiled, then frozen, and the generator is compiled with it.
    Elsewhere freezing is read at every step, and a model that is frozen as a whole is refused.
    """
    inside_another = any(known() is not None for known in model._nodes)
    held = [layer for layer in model.learnt_when_compiled if not layer.trainable] if inside_another else []
    if not held or any(layer.parameters for _, layer in trained_layers(model)):
        yield
        return
    for layer in held:
        layer.trainable = True
    try:
        yield
    finally:
        for layer in held:
            layer.trainable = False


def listed(given: Any) -> list[Any]:
    """One entry per output."""
    return given if isinstance(given, list) else [given]


def per_output(model: Any, what: str, given: Any, get: Callable[[Any], Any], one_for_all: bool) -> Any:
    """What was given to compile for the outputs: for a single output one object, for several a list.

    Errors: ValueError for an output that is not there, or another number of entries than outputs.
    """
    names = model.output_names if model.built else ["output"]
    make = lambda item: None if item is None else get(item)  # noqa: E731
    if isinstance(given, dict) and "class_name" not in given:
        found = [make(item) for item in (_by_name(given, names, what) if model.built else given.values())]
    elif isinstance(given, (list, tuple)):
        if len(given) != len(names):
            outputs = f"{len(names)} outputs ({', '.join(names)})"
            raise ValueError(f"compile: {len(given)} entries in {what} for {outputs}; give one for each")
        found = [make(item) for item in given]
    elif given is None or one_for_all or len(names) == 1:
        if given is None and what == "loss_weights":
            return None
        found = [make(given) for _ in names]
    else:
        raise ValueError(f"compile: {what} must have one entry for each of the outputs {', '.join(names)}, got {given!r}")
    return found[0] if len(names) == 1 and what == "loss" else found


def metrics_of(model: Any, plain: Any, weighted: Any) -> Any:
    """The metrics of compile: a list for a single output, a list of lists for several. Each has a name of its own at its output.

    Errors: ValueError for an output that is not there, or an unknown metric.
    """
    names = model.output_names if model.built else ["output"]
    groups: list[list[Any]] = [[] for _ in names]
    for given, counts in ((plain, False), (weighted, True)):
        for group, wanted in zip(groups, _by_output(given, names), strict=True):
            for item in wanted:
                metric = metrics.get(item)
                if any(metric is other for known in groups for other in known):
                    metric = copy.deepcopy(metric)  # one object has one mean
                taken = [other.name for other in group]
                name = f"weighted_{metric.name}" if counts and metric.name in taken else metric.name
                metric.weighted, metric.name = counts, free_name(name, taken)
                group.append(metric)
    return groups if len(names) > 1 else groups[0]


def _by_name(given: dict[str, Any], names: list[str], what: str) -> list[Any]:
    """What a dictionary has for each output, None where it has nothing.

    Errors: ValueError for an output that is not there.
    """
    for name in given:
        if name not in names:
            raise unknown(f"output in {what}", name, names)
    return [given.get(name) for name in names]


def _by_output(given: Any, names: list[str]) -> list[list[Any]]:
    def several(item: Any) -> list[Any]:
        return [] if item is None else list(item) if isinstance(item, (list, tuple)) else [item]

    if isinstance(given, dict) and "class_name" not in given:
        return [several(item) for item in _by_name(given, names, "metrics")]
    items = several(given)
    if len(names) > 1 and any(isinstance(item, (list, tuple)) or item is None for item in items):
        if len(items) != len(names):
            raise ValueError(f"compile: {len(items)} lists of metrics for {len(names)} outputs ({', '.join(names)})")
        return [several(item) for item in items]
    if len(names) == 1 and len(items) == 1 and isinstance(items[0], (list, tuple)):
        items = several(items[0])
    return [items for _ in names]


def targets_of(model: Any, y: Any, what: str) -> list[Any]:
    """Targets or sample weights, one entry per output.

    Errors: ValueError for an output that is not there, or another number of entries than outputs.
    """
    count = len(model.graph.outputs)
    if isinstance(y, dict):
        return _by_name(y, model.output_names, what)
    if count == 1:
        return [y[0]] if isinstance(y, (list, tuple)) and len(y) == 1 and np.ndim(y[0]) > 0 else [y]
    if y is None or (what == "sample_weight" and isinstance(y, np.ndarray)):
        return [y] * count
    losses = listed(model.loss)
    if isinstance(y, np.ndarray) and len(losses) == count and sum(loss is not None for loss in losses) == 1:
        return [None if loss is None else y for loss in losses]  # the only output that is judged
    if not isinstance(y, (list, tuple)) or len(y) != count:
        got = f"{len(y)} arrays" if isinstance(y, (list, tuple)) else "one array"
        raise ValueError(
            f"{what}: expected one array for each of the {count} outputs ({', '.join(model.output_names)}), got {got}"
        )
    return list(y)


def updates(trained: Trained, run: Run) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Path, parameter and gradient of all parameters of some layers that a backward pass reached."""
    reached = [(path, layer, run.gradients[layer]) for path, layer in trained if layer in run.gradients]
    return [update for path, layer, gradients in reached for update in layer_updates(path, layer, gradients)]


def layer_updates(path: str, layer: Any, gradients: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The same of one layer; regularizers add their gradients."""
    found, penalties = [], layer.regularizers
    for name, w in layer.parameters.items():
        gradient = gradients.get(name)
        if gradient is None:
            continue
        if name in penalties:
            gradient = gradient + penalties[name].gradient(w)
        found.append((f"{path}/{name}", w, gradient))
    return found
