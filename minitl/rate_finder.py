"""A learning rate for a network that one has not trained before: one short run with a rate that rises at every step.

    found = find_learning_rate(model, x, y)
    print(found.suggestion)
    plot.rates(found)

Source: L. Smith, Cyclical learning rates for training neural networks, arXiv 1506.01186.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minitl.batches import ArrayBatches, rows
from minitl.models import Model, clone_model
from minitl.random import seeded

SMOOTHING = 0.9  # of the losses' running mean
WORSE = 4.0  # the run ends when the smoothed loss is so many times the best one


class Rates(NamedTuple):
    """Losses by rate.

    Attributes: `rates` (steps,), `losses` (steps,) smoothed, `suggestion` the rate at which the loss fell fastest.
    """

    rates: np.ndarray
    losses: np.ndarray
    suggestion: float


def find_learning_rate(
    model: Model, x: Any, y: Any, lowest: float = 1e-6, highest: float = 1.0, steps: int = 100, batch_size: int = 32,
    seed: int = 0,
) -> Rates:  # fmt: skip
    """Losses of a copy of the model while the rate rises from `lowest` to `highest`, by the same factor at every step.

    Formula: m = 0.9 m + 0.1 loss, corrected for its beginning at 0; the suggestion is the rate where d m / d log(rate) is most
    negative. The run ends early when the loss explodes. The model itself, its optimizer and the random generators of the
    session stay as they are.
    Parameters: a compiled model; x and y arrays, or lists or dictionaries of them; samples are drawn in an order of their own,
    with `seed`.
    Errors: ValueError for a model that is not compiled, or rates that do not rise.
    """
    if not 0 < lowest < highest or steps < 5:
        raise ValueError(f"find_learning_rate: needs 0 < lowest < highest and 5 steps, got {lowest}, {highest} and {steps}")
    if model.optimizer is None:
        raise ValueError(f"{model.label}: is not compiled; call compile(optimizer, loss) first")
    with seeded(seed):
        copy = clone_model(model)
    copy.set_weights(model.get_weights())
    optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
    rates = np.geomspace(lowest, highest, steps)
    copy.compile(optimizer, model.loss, loss_weights=model.loss_weights)
    random, data = np.random.default_rng(seed), ArrayBatches(x, y)
    mean = 0.0
    losses: list[float] = []
    for step, rate in enumerate(rates):
        optimizer.learning_rate = float(rate)
        chosen = random.choice(data.samples, min(batch_size, data.samples), replace=False)
        try:
            loss = _loss_of(copy.train_on_batch(rows(data.x, chosen), rows(data.y, chosen)))
        except ValueError:  # not finite any more: the rate is too high
            if not losses:
                raise  # it was not the rate
            break
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        losses.append(mean / (1 - SMOOTHING ** (step + 1)))
        if not np.isfinite(loss) or losses[-1] > WORSE * min(losses):
            break
    if len(losses) < 5:
        raise ValueError(
            f"find_learning_rate: the loss exploded at a rate of {rates[len(losses)]:.1e}; begin lower than {lowest}"
        )
    falls = np.gradient(np.array(losses), np.log(rates[: len(losses)]))
    return Rates(rates[: len(losses)], np.array(losses), float(rates[int(falls.argmin())]))


def _loss_of(result: Any) -> float:
    return float(result[0] if isinstance(result, (list, tuple)) else result)
