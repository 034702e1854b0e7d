"""The loop itself: batches in, updates out; and its two smaller siblings, evaluate and predict."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import numpy as np

from minitl import channels, class_weights, distributed, processes
from minitl.accumulation import accumulated_step, add_to
from minitl.batches import ArrayBatches, as_arrays, check_same_classes, epochs_of, in_order, is_array, rows, unpack
from minitl.callbacks import BackupAndRestore, Callback, HistoryCallback
from minitl.finite import explain, first_culprit
from minitl.graph.value import fits
from minitl.history import History
from minitl.layers.variable import as_result
from minitl.objective import Losses, Means, as_compiled, forward_loss, trained_layers, updates
from minitl.progress import Progress
from minitl.random import new_generator
from minitl.resume import TrainingRun

Step = tuple[Losses, list[Any], list[Any]]  # the losses, the targets and their weights
SEEN = 256  # samples that tell whether data were prepared as the model was trained


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
    accumulate: int = 1,
) -> History:
    """Train a model, and return the History of its losses and metrics, one entry per epoch.

    Formula: for every batch, w = optimizer(w, d mean loss(model(x), y) / dw). The loss in the history is the mean over
    the epoch's batches, each taken before its update.
    A second `fit` goes on with the order of samples, so that two give the bits of one; with `initial_epoch`, the number of epochs
    so far, callbacks of the same kinds go on too, in a model from a file as well. `compile` begins anew.
    `accumulate=k` computes each batch in k parts, and updates once (`minitl.accumulation`); under `mpirun -n k` each process
    takes one (`minitl.distributed`).
    Shapes: x and y arrays of N samples, or x an iterable of batches (x, y) or (x, y, weights).
    Errors: ValueError for data that do not fit or hold NaN, a loss that is not finite, a model that cannot be trained.
    """
    _need_ready(model, loss=True)
    for name, value in {"epochs": epochs, "accumulate": accumulate}.items():
        if value < 1:
            raise ValueError(f"fit: {name} must be at least 1, got {value}")
    together = processes.size()
    if together > 1 and accumulate not in (1, together):
        raise ValueError(f"fit: accumulate={accumulate} in {together} processes; each takes one part, leave accumulate out")
    if validation_split:
        x, y, sample_weight, validation_data = take_validation(x, y, sample_weight, validation_split, validation_data)
    by_class = class_weights.checked(class_weight)
    generator = new_generator() if shuffle else None
    check_same_classes(x, validation_data, "fit")
    source, steps = epochs_of(x, y, sample_weight, batch_size, generator, steps_per_epoch, "steps_per_epoch", _inputs(model))
    check_inputs(model, x, "fit")

    names = getattr(x, "class_indices", None)
    if names:
        model.class_names = list(names)
    history = model.history = History()
    given = _listed(callbacks)
    watchers = [watcher for watcher in given if not watcher.saves]
    watchers += [HistoryCallback(history), *(watcher for watcher in given if watcher.saves)]
    seen = list(validation_data) if isinstance(validation_data, (tuple, list)) else None
    for watcher in watchers:
        watcher.set_model(model)
        watcher.validation_data = seen
    backups = [watcher for watcher in watchers if isinstance(watcher, BackupAndRestore)]
    if backups and not model.built and is_array(x):
        model.prepare(rows(as_arrays(x), slice(1)))
    resumed = any(list(map(BackupAndRestore.restore, backups)))
    before = model.training_run
    run = model.training_run = TrainingRun(model, source, generator, watchers, history)
    for watcher in watchers:
        watcher.set_params({"epochs": epochs, "steps": steps, "initial_epoch": initial_epoch})
    model.stop_training = False
    progress = Progress(verbose)
    begun: list[Callback] = []
    logs: dict[str, float] = {}
    try:
        for watcher in watchers:
            begun.append(watcher)
            watcher.on_train_begin({})
        run.go_on(before, initial_epoch, resumed)
        checked = is_array(x, _inputs(model))
        while run.epoch < epochs:
            epoch, first = run.epoch, run.step
            if not first:
                _tell(watchers, "on_epoch_begin", epoch, {})
                run.means = Means(model)
            means = run.means
            for step, (xb, yb, wb) in enumerate(progress.epoch(source.epoch(first), steps, epoch, epochs, means), first):
                _tell(watchers, "on_train_batch_begin", step, {})
                if not checked:
                    check_inputs(model, xb, "fit")
                    checked = True
                weights = class_weights.weighted(wb, yb, by_class)
                if together > 1 or accumulate > 1:
                    explained = functools.partial(explain, place=(epoch, step))
                    others = (processes.rank(), distributed.Exchange()) if together > 1 else ()
                    add_to(means, accumulated_step(model, xb, yb, weights, max(together, accumulate), explained, *others))
                else:
                    means.add(*train_step(model, xb, yb, weights, (epoch, step)))
                run.step = step + 1
                _tell(watchers, "on_train_batch_end", step, means.results())
            logs = means.results()
            if validation_data is not None and (epoch + 1) % validation_freq == 0:
                logs.update(_validate(model, validation_data, validation_batch_size or batch_size, validation_steps, watchers))
            run.epoch, run.step = epoch + 1, 0
            _tell(watchers, "on_epoch_end", epoch, logs)
            progress.end_epoch(epoch, epochs, logs)
            if model.stop_training or getattr(source, "ended", False):
                break
        trained = trained_layers(model)
        model.optimizer.finalize_variable_values([w for _, layer in trained for w in layer.parameters.values()])
    finally:
        source.close()
        for watcher in begun:
            watcher.on_train_end(logs)
        model.training_run = run.ended()
    return history


def train_step(model: Any, x: Any, y: Any, weights: Any, place: tuple[int, int] | None = None) -> Step:
    """Forward, loss, backward, update: one batch. Returns the losses before the update, the targets, and their weights."""
    if not model.built:
        model.prepare(x)
    with as_compiled(model):
        return _train_step(model, x, y, weights, place)


def _train_step(model: Any, x: Any, y: Any, weights: Any, place: tuple[int, int] | None) -> Step:
    trained = trained_layers(model)
    if not any(layer.parameters for _, layer in trained):
        if any(layer.parameters for _, layer in model.named_layers()):
            raise ValueError(
                "nothing to train: all layers with parameters are frozen; set layer.trainable = True on some (it is read at "
                "every step, not at compile: two models that share layers set it before each other's steps)"
            )
        warnings.warn(f"{model.label}: has no weights to train; its losses are computed, and nothing learns", stacklevel=2)
    found = forward_loss(model, trained, x, y, weights, training=True, keep=True)
    if not math.isfinite(found.total):
        raise ValueError(explain(model, x, y, found.total, place))
    found.run.backward(found.output_gradients())
    model.optimizer.apply(updates(trained, found.run))
    for _, layer in trained:
        for name, constraint in layer.constraints.items():
            layer.parameters[name][...] = constraint(layer.parameters[name])
    return found, found.targets, found.weights


def evaluate(
    model: Any,
    x: Any,
    y: Any = None,
    batch_size: int | None = None,
    verbose: Any = "auto",
    sample_weight: Any = None,
    steps: int | None = None,
    return_dict: bool = False,
    callbacks: Any = None,
) -> Any:
    """The mean loss and the metrics: [loss, metric...], the loss alone without metrics, or a dictionary.

    Nothing is shuffled, dropped out or moved.
    Errors: ValueError for data that do not fit, or a loss that is not finite.
    """
    _need_ready(model, loss=True)
    source, total = epochs_of(in_order(x), y, sample_weight, batch_size, None, steps, "steps", _inputs(model))
    means, watchers = Means(model), _told(model, callbacks)
    _tell(watchers, "on_test_begin", {})
    try:
        for step, (xb, yb, wb) in enumerate(Progress(verbose).batches(source.epoch(), total, "evaluate")):
            if step == 0:
                check_inputs(model, xb, "evaluate")
            _tell(watchers, "on_test_batch_begin", step, {})
            means.add(*measure_step(model, xb, yb, wb, (0, step)))
            if watchers:
                _tell(watchers, "on_test_batch_end", step, means.results())
    finally:
        source.close()
    _tell(watchers, "on_test_end", means.results())
    return _as_keras(means.results(), return_dict)


def measure_step(model: Any, x: Any, y: Any, weights: Any, place: tuple[int, int] | None = None) -> Step:
    """The losses of one batch, the targets, and their weights."""
    found = forward_loss(model, trained_layers(model), x, y, weights, training=False, keep=False)
    if not math.isfinite(found.total):
        raise ValueError(explain(model, x, y, found.total, place))
    return found, found.targets, found.weights


def predict(
    model: Any,
    x: Any,
    batch_size: int | None = None,
    verbose: Any = "auto",
    steps: int | None = None,
    callbacks: Any = None,
) -> Any:
    """The model's outputs, one row per sample, in the order of the data; the arrays belong to the caller.

    Errors: ValueError for data that do not fit, or outputs that are not finite.
    """
    _need_ready(model, loss=False)
    x = _as_batch(model, x)
    source, total = epochs_of(in_order(x), None, None, batch_size, None, steps, "steps", _inputs(model))
    outputs: list[list[np.ndarray]] = []
    watchers = _told(model, callbacks)
    _tell(watchers, "on_predict_begin", {})
    try:
        for step, (xb, _, _) in enumerate(Progress(verbose).batches(source.epoch(), total, "predict")):
            if step == 0:
                check_inputs(model, xb, "predict")
            _tell(watchers, "on_predict_batch_begin", step, {})
            made = predict_batch(model, xb)
            _tell(watchers, "on_predict_batch_end", step, {"outputs": made})
            outputs.append(made if isinstance(made, list) else [made])
    finally:
        source.close()
    _tell(watchers, "on_predict_end", {})
    for value in model.graph.outputs:
        if not value.shape or value.shape[0] is not None:
            raise ValueError(f"predict: {value!r} has no batch to put together; call the model on an array, model(x)")
    joined = [as_result(np.concatenate(parts)) for parts in zip(*outputs, strict=True)]
    return joined[0] if len(joined) == 1 else joined


def predict_batch(model: Any, x: Any) -> Any:
    """The outputs for one batch: arrays of their own."""
    if (y := model.shortcut.output(model, x)) is not None:
        return y
    _need_ready(model, loss=False)
    arrays = model.prepare(x)
    outputs = model.shortcut.walk(model, arrays)
    for y in outputs:
        if not np.isfinite(y).all():
            raise ValueError(f"predict: the outputs are not finite; {first_culprit(model, x)}")
    own = [channels.outer_images(y.copy() if any(np.may_share_memory(y, a) for a in arrays) else y) for y in outputs]
    return own[0] if len(own) == 1 else own


def on_batch(model: Any, x: Any, y: Any, weights: Any, class_weight: Any, return_dict: bool, train: bool) -> Any:
    """One batch, trained on or only measured; results as evaluate gives them."""
    _need_ready(model, loss=True)
    check_inputs(model, x, "train_on_batch" if train else "test_on_batch")
    by_class = class_weights.checked(class_weight)
    x, y, weights = ArrayBatches(x, y, weights).whole()
    step = train_step if train else measure_step
    means = Means(model)
    means.add(*step(model, x, y, class_weights.weighted(weights, y, by_class)))
    return _as_keras(means.results(), return_dict)


def check_inputs(model: Any, x: Any, where: str) -> None:
    """Raise ValueError when data cannot have gone through what the model was trained on (`model.preprocessing`)."""
    if model.preprocessing is not None and isinstance(x, np.ndarray) and x.dtype.kind in "fiu":
        model.preprocessing.check(x[:SEEN], where)


def _as_batch(model: Any, x: Any) -> Any:
    """x, or a batch of one when x is a single sample, which is said."""
    if not (model.built and _inputs(model) == 1 and isinstance(x, np.ndarray)):
        return x
    shape = model.graph.inputs[0].shape
    if fits(shape, x.shape) or not fits(shape, (1, *x.shape)):
        return x
    warnings.warn(f"predict: x is a single sample of shape {x.shape}; taken as a batch of one, x[None]", stacklevel=4)
    return x[None]


def _need_ready(model: Any, loss: bool) -> None:
    model._need_layers()
    if loss:
        model.need_loss()


def take_validation(x: Any, y: Any, weights: Any, share: float, validation_data: Any) -> tuple[Any, Any, Any, Any]:
    """Take the last part of the arrays away for validation, as Keras does, before any shuffling."""
    if not is_array(x, 2):
        raise ValueError("validation_split needs arrays; give validation_data for batches")
    if validation_data is not None:
        raise ValueError("give validation_split or validation_data, not both")
    whole = ArrayBatches(x, y, weights, 1)
    cut = math.floor(len(whole) * (1 - share))
    if not 0 < share < 1 or not 0 < cut < len(whole):
        raise ValueError(f"validation_split={share} of {len(whole)} samples leaves nothing on one side; it must be in (0, 1)")
    ends = slice(0, cut), slice(cut, None)
    parts = [tuple(rows(part, end) for end in ends) for part in (whole.x, whole.y, whole.weights)]
    validation = tuple(part[1] for part in (parts if whole.weights is not None else parts[:2]))
    return parts[0][0], parts[1][0], parts[2][0], validation


def _validate(model: Any, data: Any, batch_size: int | None, steps: int | None, watchers: list[Callback]) -> dict[str, float]:
    arrays = isinstance(data, (tuple, list)) and len(data) in (2, 3) and is_array(data[0], _inputs(model))
    x, y, weights = unpack(data) if arrays else (data, None, None)
    results = evaluate(model, x, y, batch_size if arrays else None, 0, weights, steps, True, watchers)
    return {f"val_{name}": value for name, value in results.items()}


def _listed(callbacks: Any) -> list[Callback]:
    found = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or [])
    for watcher in found:
        if isinstance(watcher, type) or not hasattr(watcher, "on_train_begin"):
            raise TypeError(f"callbacks: expected a Callback, got {watcher!r}; is it a class, without its parentheses?")
    return found


def _told(model: Any, callbacks: Any) -> list[Callback]:
    """Callbacks that know which model is theirs; those of a `fit` know it already."""
    watchers = _listed(callbacks)
    for watcher in watchers:
        if watcher.model is not model:
            watcher.set_model(model)
    return watchers


def _as_keras(results: dict[str, float], return_dict: bool) -> Any:
    if return_dict:
        return results
    values = list(results.values())
    return values if len(values) > 1 else values[0]


def _inputs(model: Any) -> int:
    return len(model.graph.inputs) if model.built else 1 + model.has_own_call  # which may take one for each array of a list


def _tell(watchers: list[Callback], event: str, *arguments: Any) -> None:
    for watcher in watchers:
        getattr(watcher, event)(*arguments)
