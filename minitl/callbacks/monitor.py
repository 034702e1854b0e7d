"""Callbacks that watch a number and decide: what they share, and stopping early."""

from __future__ import annotations

import math
import warnings

import numpy as np

from minitl.callbacks.base import Callback, Logs
from minitl.errors import check_numbers, unknown
from minitl.history import known_as

RISING = (  # of what more is better, by a part of its name
    "acc", "auc", "precision", "recall", "f1", "fmeasure", "fbeta", "iou", "io_u", "r2_score", "cosine_similarity", "top_k",
    "true_positives", "true_negatives",
)  # fmt: skip


class Monitor(Callback):
    """What callbacks that watch a number share: which one, and what better means.

    `mode` is "min", "max" or "auto": up for accuracies and other shares of what is right, down for the rest.
    Errors: ValueError for an unknown mode.
    """

    remembers: tuple[str, ...] = ("best",)

    def __init__(self, monitor: str = "val_loss", mode: str = "auto", min_delta: float = 0.0):
        if mode not in ("auto", "min", "max"):
            raise unknown("mode", mode, ("auto", "min", "max"))
        check_numbers(self, "(-inf, inf)", min_delta=min_delta)
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        rising = mode == "max" or (mode == "auto" and any(word in monitor for word in RISING))
        self.sign = 1.0 if rising else -1.0
        self.best = -math.inf
        self._said = False

    def watched(self, logs: Logs | None) -> float | None:
        """The watched number, so that larger is better; None, and one warning, when the run does not produce it."""
        found = known_as(self.monitor, logs or {})
        if found is None:
            if not self._said:
                self._said = True
                warnings.warn(
                    f"{type(self).__name__}: no {self.monitor!r} in this run, only {', '.join(sorted(logs or {}))}; it does "
                    "nothing. Give validation data, or watch another number",
                    stacklevel=2,
                )
            return None
        return self.sign * (logs or {})[found]

    def improved(self, value: float) -> bool:
        """Whether the value beats the best so far, which it then becomes."""
        if self.beats(value, self.best):
            self.best = value
            return True
        return False

    def beats(self, value: float, other: float) -> bool:
        """Whether a value is larger than another by more than `min_delta`."""
        return value - self.min_delta > other


class EarlyStopping(Monitor):
    """Ends the run when the watched number has not improved for `patience` epochs.

    With `restore_best_weights` the model ends with the weights of its best epoch, however the run ended.
    """

    remembers = ("best", "wait", "stopped_epoch", "best_epoch", "best_weights")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta)
        check_numbers(self, "[0, inf)", patience=patience, start_from_epoch=start_from_epoch)
        check_numbers(self, "(-inf, inf) or None", baseline=baseline)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin anew."""
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best_weights: list[np.ndarray] | None = None
        self.best = -math.inf

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Count the epochs without progress."""
        value = self.watched(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.improved(value):
            self.best_epoch = epoch
            if self.baseline is None or self.beats(value, self.sign * self.baseline):
                self.wait = 0
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Bring the best weights back."""
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
            self.best_weights = None
            if self.verbose:
                print(f"restored the weights of epoch {self.best_epoch + 1}")
