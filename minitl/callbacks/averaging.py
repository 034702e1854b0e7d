"""Callbacks that average weights along the way: a mean of many good solutions is often better than the last of them."""

from __future__ import annotations

import numpy as np

from minitl import weights as weight_files
from minitl.callbacks.base import Callback, Logs
from minitl.errors import check_numbers


class Lookahead(Callback):
    """Slow weights follow the fast ones every few steps, and the fast ones go on from there.

    Formula: every `period` steps  slow += (1 - decay) (fast - slow);  fast = slow, with decay(t) = `decay` (t / steps)^`power`;
    after the last step the model has the slow weights. A power of 0 keeps the decay constant.
    Moving statistics are averaged with the weights. It needs a run whose number of steps is known.
    Errors: ValueError for a decay outside [0, 1), or a period below 1.
    Source: M. Zhang et al., arXiv 1907.08610; with a rising decay K. Jordan, arXiv 2404.00498.
    """

    remembers = ("slow", "steps")

    def __init__(self, period: int = 5, decay: float = 0.95**5, power: float = 3.0):
        check_numbers(self, "[1, inf)", period=period)
        check_numbers(self, "[0, 1)", decay=decay)
        check_numbers(self, "(-inf, inf)", power=power)
        self.period, self.decay, self.power = period, decay, power

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """The slow weights begin as the fast ones."""
        self.steps, self.slow = 0, _copies(self.model)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Every few steps the two meet."""
        self.steps += 1
        if self.steps % self.period:
            return
        total = (self.params["steps"] or 0) * self.params["epochs"]
        decay = self.decay * min(1.0, self.steps / total) ** self.power if total else self.decay
        for name, fast in weight_files.named_weights(self.model).items():
            slow = self.slow.setdefault(name, fast.copy())
            slow += (1 - decay) * (fast - slow)
            fast[...] = slow

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Leave the slow weights in the model."""
        _put(self.model, self.slow)


class WeightAveraging(Callback):
    """A running mean of the weights beside training, which the model gets at the end.

    Formula: with `decay` an exponential mean, mean = decay mean + (1 - decay) w, after every step; without it the plain mean over
    the ends of epochs from `start_epoch` on, counted from 0 (stochastic weight averaging).
    Moving statistics are averaged with the weights.
    Errors: ValueError for a decay outside (0, 1).
    Source: B. Polyak and A. Juditsky 1992; P. Izmailov et al., arXiv 1803.05407.
    """

    remembers = ("mean", "count")

    def __init__(self, decay: float | None = None, start_epoch: int = 0):
        check_numbers(self, "(0, 1) or None", decay=decay)
        check_numbers(self, "[0, inf)", start_epoch=start_epoch)
        self.decay, self.start_epoch = decay, start_epoch

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin anew."""
        self.mean, self.count = _copies(self.model), 0

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """The exponential mean follows every step."""
        if self.decay is not None:
            self._follow(1 - self.decay)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """The plain mean takes the end of each epoch."""
        if self.decay is None and epoch >= self.start_epoch:
            self.count += 1
            self._follow(1 / self.count)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Leave the mean in the model."""
        if self.decay is not None or self.count:
            _put(self.model, self.mean)

    def _follow(self, share: float) -> None:
        for name, weight in weight_files.named_weights(self.model).items():
            mean = self.mean.setdefault(name, weight.copy())
            mean += share * (weight - mean)


def _copies(model: object) -> dict[str, np.ndarray]:
    return {name: weight.copy() for name, weight in weight_files.named_weights(model).items()}


def _put(model: object, values: dict[str, np.ndarray]) -> None:
    for name, weight in weight_files.named_weights(model).items():
        if name in values:
            weight[...] = values[name]
