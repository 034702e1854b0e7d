"""How to fine-tune: each strategy is a short function that reads like the recipe in its paper.

A strategy gets a `Task` and runs one phase of training after another on it. `fine_tune` makes the task and picks the strategy:

    model, history = fine_tune(replace_head(base, 10), (x, y), strategy="lp-ft", epochs=20)
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.batches import ArrayBatches, is_array, rows
from minitl.callbacks import Callback
from minitl.errors import unknown
from minitl.history import History
from minitl.layers.normalization import BatchNormalization
from minitl.models import Model
from minitl.preprocessing.record import Preprocessing
from minitl.random import new_generator
from minitl.schedules import SlantedTriangular
from minitl.training import take_validation
from minitl.transfer.features import extract_features
from minitl.transfer.freezing import freeze, frozen, select, weighted
from minitl.transfer.head import top_dense
from minitl.transfer.surgery import split
from minitl.transfer.task import Task, is_one_hot

COUNTS = {"epochs", "head_epochs", "layers"}  # settings of strategies that are whole numbers


def fine_tune(
    model: Model,
    data: Any,
    strategy: str = "lp-ft",
    *,
    batch_size: int = 32,
    head: int = 1,
    classes: int | None = None,
    validation_data: Any = None,
    validation_split: float = 0.0,
    callbacks: Any = None,
    verbose: Any = "auto",
    preprocessing: Preprocessing | None = None,
    **settings: Any,
) -> tuple[Model, History]:
    """Fit a model with a new head to a target, by one of the strategies in STRATEGIES; returns it with the history of all phases.

    `data` is (x, y), x a list or a dictionary where the model has several inputs, or an iterable of batches. `validation_data`,
    `validation_split`, `callbacks` and `verbose` mean in every phase what they mean in `fit`. `head` is how many of the top
    layers with weights are new. `settings` go to the strategy: most have `epochs` and `rate`. Layers that are frozen when it
    begins stay frozen in every phase, and flags are afterwards what they were. `preprocessing` says what x went through, to be
    compared with what the base was trained with (its numbers and size are checked anyway; the order of the channels cannot be
    seen in them).
    Errors: ValueError for an unknown strategy or setting, a head of another number of classes than the labels have (`classes`,
    by default the largest label and those below it), or inputs that were not prepared as the base was trained.
    """
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    known = [name for name in inspect.signature(STRATEGIES[strategy]).parameters if name != "task"]
    for name in settings:
        if name not in known:
            raise unknown(f"setting of {strategy!r}", name, known)
    for name in COUNTS & settings.keys():
        value = settings[name]
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0):
            raise ValueError(f"fine_tune: {name} must be a whole number of at least 0, got {value!r}")
    x, y = data if _is_pair(data, len(model.inputs)) else (data, None)
    if is_array(x, len(model.inputs)):
        _check_data(model, x, y, classes, preprocessing)
    if validation_split:
        x, y, _, validation_data = take_validation(x, y, None, validation_split, validation_data)
    task = Task(model, x, y, batch_size, head, validation_data, callbacks, verbose)
    with frozen(model, task.held):
        STRATEGIES[strategy](task, **settings)
    model.history = task.history
    return model, task.history


def linear_probe(task: Task, epochs: int = 10, rate: float = 1e-2, cached: bool = False) -> None:
    """Only the head learns, on what the base already sees.

    `cached` computes the base's features once; the head becomes bitwise the same (numba backend). Without augmentation only.
    Source: G. Alain and Y. Bengio, Understanding intermediate layers using linear classifier probes, arXiv 1610.01644.
    """
    freeze(task.model, task.base)
    task.unfreeze(task.head)
    if not cached:
        task.phase("head", epochs, rate)
        return
    if not task.has_arrays:
        raise ValueError("fine_tune: cached=True computes features once, of arrays (x, y); leave it out for batches")
    base, small = split(task.model, task.head)
    features = extract_features(base, task.x, at=-1)
    small.loss, small.metrics = task.model.loss, task.model.metrics
    inner = copy.copy(task)
    inner.model, inner.x, inner.validation_data = small, features, None
    inner.phase("head", epochs, rate)
    task.model.loss, task.model.metrics, task.model.optimizer = small.loss, small.metrics, small.optimizer


def full(task: Task, epochs: int = 10, rate: float = 2e-4) -> None:
    """Everything learns from the first step, gently.

    Source: J. Yosinski et al., How transferable are features in deep neural networks?, arXiv 1411.1792.
    """
    task.phase("all", epochs, rate)


def lp_ft(
    task: Task,
    epochs: int = 10,
    rate: float = 2e-4,
    head_epochs: int | None = None,
    head_rate: float = 1e-2,
    cached: bool = False,
) -> None:
    """First the head alone, then everything: a random head would pull the base's features apart before it knows anything.

    Source: A. Kumar et al., Fine-tuning can distort pretrained features and underperform out-of-distribution, arXiv 2202.10054.
    """
    head_epochs = epochs // 2 if head_epochs is None else head_epochs
    linear_probe(task, head_epochs, head_rate, cached)
    task.unfreeze()
    task.phase("all", epochs - head_epochs, rate)


def gradual(task: Task, epochs: int = 10, rate: float = 1e-3, decay: float = 2.6) -> None:
    """From the top down: every phase unfreezes one more layer, and lower layers learn more slowly (discriminative rates).

    Formula: the rate of a layer is that of the one above it over `decay`; in every phase it rises quickly and falls slowly.
    Source: J. Howard and S. Ruder, Universal language model fine-tuning, arXiv 1801.06146.
    """
    rates = falling(task.model, decay)
    names = list(rates)
    freeze(task.model)
    task.unfreeze(task.head)
    stages = [name for name in names[: len(names) - _weighted_in(task, task.head) + 1] if name not in task.held]
    for stage, name in enumerate(reversed(stages)):
        task.unfreeze([name])
        share = epochs // len(names) + (stage < epochs % len(names))
        task.phase(f"from {name}", share, rate, rates, schedule=SlantedTriangular)


def discriminative(task: Task, epochs: int = 10, rate: float = 1e-3, decay: float = 2.6) -> None:
    """Everything at once, the lower a layer the smaller its rate.

    Source: J. Howard and S. Ruder, arXiv 1801.06146, section 3.2.
    """
    task.unfreeze()
    task.phase("all", epochs, rate, falling(task.model, decay), schedule=SlantedTriangular)


def l2_sp(task: Task, epochs: int = 10, rate: float = 2e-4, strength: float = 10.0) -> None:
    """Everything learns, and the base is pulled back to where it started.

    Formula: after every update w += (w0 - w) s / (1 + s), s = rate strength: the exact step of the penalty strength/2 |w - w0|^2,
    stable for any strength; an infinite one leaves the base where it was.
    Source: X. Li, Y. Grandvalet and F. Davoine, Explicit inductive bias for transfer learning, arXiv 1802.01483.
    """
    task.unfreeze()
    task.phase("all", epochs, rate, callbacks=[_PullBack(task.model, task.base, strength)])


def surgical(task: Task, epochs: int = 10, rate: float = 1e-3, block: Any = "conv2d") -> None:
    """One block of the base learns, together with the head: the first for another look of images, the last for other classes.

    Source: Y. Lee et al., Surgical fine-tuning improves adaptation to distribution shifts, arXiv 2210.11466.
    """
    freeze(task.model)
    task.unfreeze(task.head)
    chosen = task.unfreeze(block)
    task.phase(f"{', '.join(chosen)} and head", epochs, rate)


def reinitialize(task: Task, epochs: int = 10, rate: float = 1e-3, layers: int = 1, freeze_rest: bool = True) -> None:
    """The top layers of the base start anew, on what is under them: they were the most specialised.

    Source: J. Yosinski et al., arXiv 1411.1792; T. Zhang et al., Revisiting few-sample BERT fine-tuning, arXiv 2006.05987.
    """
    names = [path for path, _ in weighted(task.model) if path in task.base]
    if not 1 <= layers <= len(names):
        raise ValueError(f"reinitialize: layers={layers} of {len(names)} in the base: {', '.join(names)}")
    chosen = task.unfreeze(names[-layers:])
    draw_again(task.model, chosen)
    if freeze_rest and len(chosen) < len(names):
        freeze(task.model, names[:-layers])
    task.phase(f"new {', '.join(chosen)}", epochs, rate)


STRATEGIES: dict[str, Callable[..., None]] = {
    "linear probe": linear_probe,
    "full": full,
    "lp-ft": lp_ft,
    "gradual": gradual,
    "discriminative": discriminative,
    "l2-sp": l2_sp,
    "surgical": surgical,
    "reinitialize": reinitialize,
}


def falling(model: Model, decay: float) -> dict[str, float]:
    """Multipliers of the rate, bottom first: 1 for the top layer with weights, over `decay` for each layer further down."""
    if not decay > 0:
        raise ValueError(f"fine_tune: decay must be above 0, got {decay}")
    names = [path for path, _ in weighted(model)]
    return {name: decay ** -float(len(names) - 1 - i) for i, name in enumerate(names)}


def draw_again(model: Model, names: Any) -> list[str]:
    """Give layers new initial weights, from their own initializers; the arrays stay the same.

    Errors: ValueError for names that match no layer.
    """
    layers = dict(model.named_layers())
    chosen = select(model, names)
    for name in chosen:
        layer = layers[name]
        twin = type(layer).from_config(layer.get_config())
        twin.ensure_built(layer.input_shape)
        layer.set_weights(twin.get_weights())
    return chosen


def batch_norm(model: Model, mode: str, x: Any = None, batch_size: int = 64, passes: int = 1) -> list[str]:
    """What batch normalisation does in a new task: "frozen", "statistics" (moved to x, gamma and beta stay), or "trained".

    Statistics alone adapt a network to images of another look without a single label.
    Shapes: x (N, ...), for "statistics"; of several inputs a list or a dictionary.
    Errors: ValueError for another mode, or a model without batch normalisation.
    Source: Y. Li et al., Revisiting batch normalization for practical domain adaptation, arXiv 1603.04779.
    """
    found = [(path, layer) for path, layer in model.named_layers() if isinstance(layer, BatchNormalization)]
    if not found:
        raise ValueError("batch_norm: the model has no BatchNormalization layer")
    if mode not in ("frozen", "statistics", "trained"):
        raise unknown("batch normalisation mode", mode, ("frozen", "statistics", "trained"))
    for _, layer in found:
        layer.trainable = mode != "frozen"
    if mode == "statistics":
        if x is None:
            raise ValueError('batch_norm: "statistics" needs pictures x to take them from')
        generator = new_generator()
        data = ArrayBatches(x)
        for _ in range(passes):
            order = generator.permutation(data.samples)
            for start in range(0, max(1, data.samples - batch_size + 1), batch_size):  # whole batches, or a single smaller one
                model(rows(data.x, order[start : start + batch_size]), training=True)
        for _, layer in found:
            layer.trainable = False
    return [path for path, _ in found]


class _PullBack(Callback):
    """The second half of an L2-SP step."""

    def __init__(self, model: Model, names: list[str], strength: float):
        if not strength >= 0:
            raise ValueError(f"l2-sp: strength must not be negative, got {strength}")
        self.strength = strength
        self.start = [(w, w.copy()) for path, layer in model.named_layers() if path in names for w in layer.parameters.values()]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Pull the base towards its start."""
        s = self.model.optimizer.current_learning_rate * self.strength if self.strength < float("inf") else float("inf")
        for w, start in self.start:
            if s == float("inf"):
                w[...] = start
            else:
                w += (start - w) * w.dtype.type(s / (1 + s))


def _weighted_in(task: Task, names: list[str]) -> int:
    return sum(path in names for path, _ in weighted(task.model))


def _is_pair(data: Any, inputs: int) -> bool:
    """Whether data are arrays x and y, and not two batches."""
    return isinstance(data, (tuple, list)) and len(data) == 2 and is_array(data[0], inputs) and not isinstance(data[1], tuple)


def _check_data(model: Model, x: Any, y: Any, classes: int | None, done: Preprocessing | None) -> None:
    if model.preprocessing is not None and len(model.inputs) == 1:
        model.preprocessing.check(model.by_input(x)[0], "fine_tune", done)
    last = top_dense(model) if len(model.outputs) == 1 else None
    if y is None or last is None or model.output_activation != "softmax":
        return
    labels = np.asarray(y)
    if labels.dtype.kind not in "biuf":
        raise ValueError(
            f"fine_tune: labels must be numbers, got {labels.dtype}; np.unique(y, return_inverse=True)[1] counts them"
        )
    if labels.size and labels.min() < 0:
        raise ValueError(f"fine_tune: classes count from 0 on, the labels have {labels.min()}")
    found = classes or (labels.shape[-1] if is_one_hot(model, y) else int(labels.max(initial=0)) + 1)
    if found != last.units:
        advice = f"use replace_head(model, {found})"
        if not classes:
            advice += f", or say classes={last.units} when some of them have no sample here"
        raise ValueError(f"fine_tune: the head {last.name!r} has {last.units} classes, the labels have {found}; {advice}")
