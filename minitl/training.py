"""The loop itself: batches in, updates out; and its two smaller siblings, evaluate and predict."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minitl.batches import ArrayBatches, check_same_classes, epochs_of, in_order, is_array, unpack
from minitl.callbacks import Callback, HistoryCallback
from minitl.history import History
from minitl.layers.base import Layer
from minitl.progress import Progress
from minitl.random import new_generator

Trained = list[tuple[str, Layer]]


def fit(
    model: Any,
    x: Any,
    y: Any = None,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose: Any = "auto",
    callbacks: Any = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool = True,
    class_weight: dict[int, float] | None = None,
    sample_weight: Any = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    validation_batch_size: int | None = None,
    validation_freq: int = 1,
) -> History:
    """Train a model, and return the History of its losses and metrics, one entry an epoch.

    Formula: for every batch, w = optimizer(w, d mean loss(model(x), y) / dw). The loss in the history is the mean over
    the epoch's batches, each taken before its update.
    Shapes: x and y arrays of N samples, or x an iterable of batches (x, y) or (x, y, weights).
    Errors: ValueError for data that do not fit or hold NaN, a loss that is not finite, a model that cannot be trained.
    """
    _need_ready(model, loss=True)
    if epochs < 1:
        raise ValueError(f"fit: epochs must be at least 1, got {epochs}")
    if validation_split:
        x, y, sample_weight, validation_data = _split(x, y, sample_weight, validation_split, validation_data)
    generator = new_generator() if shuffle else None
    check_same_classes(x, validation_data, "fit")
    source, steps = epochs_of(x, y, sample_weight, batch_size, generator, steps_per_epoch, "steps_per_epoch")

    history = model.history = History()
    watchers: list[Callback] = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or [])
    watchers.append(HistoryCallback(history))
    for watcher in watchers:
        watcher.set_model(model)
    model.stop_training = False
    progress = Progress(verbose)

    _tell(watchers, "on_train_begin")
    try:
        for epoch in range(initial_epoch, epochs):
            _tell(watchers, "on_epoch_begin", epoch)
            means = Means(model)
            for step, (xb, yb, wb) in enumerate(progress.epoch(source.epoch(), steps, epoch, epochs, means)):
                _tell(watchers, "on_train_batch_begin", step)
                loss, predictions = train_step(model, xb, yb, _with_class_weight(wb, yb, class_weight), (epoch, step))
                means.add(loss, yb, predictions)
                _tell(watchers, "on_train_batch_end", step, means.results())
            logs = means.results()
            if validation_data is not None and (epoch + 1) % validation_freq == 0:
                logs.update(_validate(model, validation_data, validation_batch_size or batch_size, validation_steps))
            _tell(watchers, "on_epoch_end", epoch, logs)
            progress.end_epoch(epoch, epochs, logs)
            if model.stop_training:
                break
    finally:
        source.close()
        _tell(watchers, "on_train_end")
    return history


def train_step(model: Any, x: np.ndarray, y: Any, weights: Any, place: tuple[int, int] | None = None) -> tuple[float, np.ndarray]:
    """Forward, loss, backward, update: one batch. Returns the loss before the update, and the predictions."""
    trained = trained_layers(model)
    if model.built and not any(layer.parameters for _, layer in trained):
        raise ValueError("nothing to train: all layers with parameters are frozen; set layer.trainable = True on some")
    with model.mode(keep_cache=True, need_dx=False):
        loss, predictions, joint = compute_loss(model, trained, x, y, weights, training=True)
    if not math.isfinite(loss):
        raise ValueError(_explain(model, x, y, loss, place))
    model.pull(model.loss.backward(), need_dx=False, from_logits=joint)
    model.optimizer.apply(updates(trained))
    return loss, predictions


def evaluate(
    model: Any,
    x: Any,
    y: Any = None,
    batch_size: int | None = None,
    verbose: Any = "auto",
    sample_weight: Any = None,
    steps: int | None = None,
    return_dict: bool = False,
) -> Any:
    """The mean loss and the metrics: [loss, metric...], the loss alone without metrics, or a dictionary.

    Nothing is shuffled, dropped out or moved.
    Errors: ValueError for data that do not fit, or a loss that is not finite.
    """
    _need_ready(model, loss=True)
    source, total = epochs_of(in_order(x), y, sample_weight, batch_size, None, steps, "steps")
    means = Means(model)
    try:
        for step, (xb, yb, wb) in enumerate(Progress(verbose).batches(source.epoch(), total, "evaluate")):
            loss, predictions = measure_step(model, xb, yb, wb, (0, step))
            means.add(loss, yb, predictions)
    finally:
        source.close()
    return _as_keras(means.results(), return_dict)


def measure_step(
    model: Any, x: np.ndarray, y: Any, weights: Any, place: tuple[int, int] | None = None
) -> tuple[float, np.ndarray]:
    """The loss of one batch, and the predictions."""
    with model.mode(keep_cache=False, need_dx=False):
        loss, predictions, _ = compute_loss(model, trained_layers(model), x, y, weights, training=False)
    if not math.isfinite(loss):
        raise ValueError(_explain(model, x, y, loss, place))
    return loss, predictions


def predict(model: Any, x: Any, batch_size: int | None = None, verbose: Any = "auto", steps: int | None = None) -> np.ndarray:
    """The model's outputs, one row a sample, in the order of the data; the array belongs to the caller.

    Errors: ValueError for data that do not fit, or outputs that are not finite.
    """
    _need_ready(model, loss=False)
    source, total = epochs_of(in_order(x), None, None, batch_size, None, steps, "steps")
    try:
        outputs = [predict_batch(model, xb) for xb, _, _ in Progress(verbose).batches(source.epoch(), total, "predict")]
    finally:
        source.close()
    return np.concatenate(outputs)


def predict_batch(model: Any, x: np.ndarray) -> np.ndarray:
    """The outputs for one batch."""
    _need_ready(model, loss=False)
    with model.mode(keep_cache=False, need_dx=False):
        y = model(x)
    if not np.isfinite(y).all():
        raise ValueError(f"predict: the outputs are not finite; {_first_culprit(model, x)}")
    return y


def on_batch(model: Any, x: Any, y: Any, weights: Any, class_weight: Any, return_dict: bool, train: bool) -> Any:
    """One batch, trained on or only measured; results as evaluate gives them."""
    _need_ready(model, loss=True)
    x, y, weights = ArrayBatches(x, y, weights).whole()
    step = train_step if train else measure_step
    loss, predictions = step(model, x, y, _with_class_weight(weights, y, class_weight))
    means = Means(model)
    means.add(loss, y, predictions)
    return _as_keras(means.results(), return_dict)


class Means:
    """Running means of the loss and the metrics over the samples of an epoch."""

    def __init__(self, model: Any):
        self.metrics = model.metrics
        self.total, self.samples = 0.0, 0
        for metric in self.metrics:
            metric.reset_state()

    def add(self, loss: float, y: Any, predictions: np.ndarray) -> None:
        """Take a batch in."""
        self.total += loss * len(predictions)
        self.samples += len(predictions)
        for metric in self.metrics:
            metric.update_state(y, predictions)

    def results(self) -> dict[str, float]:
        """The means by name, the loss first."""
        loss = self.total / self.samples if self.samples else 0.0
        return {"loss": loss, **{metric.name: metric.result() for metric in self.metrics}}


def trained_layers(model: Any) -> Trained:
    """Path and layer of all that may be trained now."""
    return [(path, layer) for path, layer in model.walk() if layer.trainable]


def compute_loss(
    model: Any, trained: Trained, x: np.ndarray, y: Any, weights: Any, training: bool
) -> tuple[float, np.ndarray, bool]:
    """The loss with its regularization, the predictions, and whether the loss was joined to the last activation."""
    if y is None:
        raise ValueError("the data have no targets; give y, or batches (x, y)")
    loss = model.loss
    logits, predictions = model.call_logits(x, training)
    joint = loss.activation is not None and not loss.from_logits and model.output_activation == loss.activation
    weights = None if weights is None else np.asarray(weights, predictions.dtype)
    value = loss.forward(np.asarray(y), logits if joint else predictions, weights, joint or loss.from_logits)
    for _, layer in trained:
        for name, price in layer.regularizers.items():
            value += price(layer.parameters[name])
    return float(value), predictions, joint


def updates(trained: Trained) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Path, parameter and gradient of all parameters of some layers."""
    found = []
    for path, layer in trained:
        gradients, prices = layer.gradients, layer.regularizers
        for name, w in layer.parameters.items():
            gradient = gradients[name]
            if name in prices:
                gradient = gradient + prices[name].gradient(w)
            found.append((f"{path}/{name}", w, gradient))
    return found


def _need_ready(model: Any, loss: bool) -> None:
    if not model.layers:
        raise ValueError("the model has no layers; add() some")
    if loss and (model.loss is None or model.optimizer is None):
        raise ValueError("the model has no loss yet; call compile(optimizer=..., loss=...) first")


def _split(x: Any, y: Any, weights: Any, share: float, validation_data: Any) -> tuple[Any, Any, Any, Any]:
    """Take the last part of the arrays away for validation, as Keras does, before any shuffling."""
    if not is_array(x) or y is None:
        raise ValueError("validation_split needs x and y as arrays; give validation_data for batches")
    if validation_data is not None:
        raise ValueError("give validation_split or validation_data, not both")
    whole = ArrayBatches(x, y, weights, 1)
    cut = math.floor(len(whole) * (1 - share))
    if not 0 < share < 1 or not 0 < cut < len(whole):
        raise ValueError(f"validation_split={share} of {len(whole)} samples leaves nothing on one side; it must be in (0, 1)")
    parts = [(None, None) if a is None else (a[:cut], a[cut:]) for a in (whole.x, whole.y, whole.weights)]
    validation = tuple(part[1] for part in parts if part[1] is not None)
    return parts[0][0], parts[1][0], parts[2][0], validation


def _validate(model: Any, data: Any, batch_size: int | None, steps: int | None) -> dict[str, float]:
    arrays = isinstance(data, (tuple, list)) and len(data) in (2, 3) and is_array(data[0])
    x, y, weights = unpack(data) if arrays else (data, None, None)
    results = evaluate(model, x, y, batch_size if arrays else None, 0, weights, steps, return_dict=True)
    return {f"val_{name}": value for name, value in results.items()}


def _with_class_weight(weights: Any, y: Any, class_weight: dict[int, float] | None) -> Any:
    if not class_weight:
        return weights
    labels = np.asarray(y)
    labels = labels.argmax(axis=-1) if labels.ndim > 1 and labels.shape[-1] > 1 else labels.reshape(-1)
    of_class = np.array([class_weight.get(int(label), 1.0) for label in labels])
    return of_class if weights is None else of_class * weights


def _as_keras(results: dict[str, float], return_dict: bool) -> Any:
    if return_dict:
        return results
    values = list(results.values())
    return values if len(values) > 1 else values[0]


def _tell(watchers: list[Callback], event: str, *arguments: Any) -> None:
    for watcher in watchers:
        getattr(watcher, event)(*arguments)


def _explain(model: Any, x: np.ndarray, y: Any, loss: float, place: tuple[int, int] | None) -> str:
    where = f" at epoch {place[0] + 1}, batch {place[1]}" if place else ""
    if np.asarray(y).dtype.kind == "f" and not np.isfinite(np.asarray(y)).all():
        return f"the loss is {loss}{where}: the targets hold NaN or infinity; clean the data"
    return f"the loss is {loss}{where}: {_first_culprit(model, x)}"


def _first_culprit(model: Any, x: np.ndarray) -> str:
    """Which comes first: bad input, bad weights, or a layer whose output is not finite; and what to try."""
    x = np.asarray(x, model.dtype)
    if not np.isfinite(x).all():
        return f"the input holds NaN or infinity in {int((~np.isfinite(x)).sum())} places; clean the data"
    for path, layer in model.walk():
        for name, w in {**layer.parameters, **layer.state}.items():
            if not np.isfinite(w).all():
                return f"the weights {path}/{name} are not finite; lower the learning rate, or clip gradients (clipnorm=1.0)"
    with model.mode(keep_cache=False, need_dx=False), np.errstate(all="ignore"):
        for layer in model.layers:
            x = layer(x)
            if not np.isfinite(x).all():
                return (
                    f"the first output that is not finite comes from {layer.label}; lower the learning rate, or scale the input"
                )
    return "every layer's output is finite, so look at the loss, the targets and the sample weights"
