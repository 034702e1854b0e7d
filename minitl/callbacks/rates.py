"""Callbacks that change the learning rate: by a schedule, or when nothing gets better."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

from minitl.callbacks.base import Callback, Logs
from minitl.callbacks.monitor import Monitor
from minitl.errors import check_numbers


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch: `schedule(epoch, rate)` or `schedule(epoch)`, epochs counted from 0."""

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
        if not callable(schedule):
            raise TypeError(f"LearningRateScheduler: schedule must be a function of the epoch, got {schedule!r}")
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Ask the schedule."""
        optimizer = self.model.optimizer
        takes_rate = len(inspect.signature(self.schedule).parameters) > 1
        rate = self.schedule(epoch, optimizer.current_learning_rate) if takes_rate else self.schedule(epoch)
        optimizer.learning_rate = float(rate)
        if self.verbose:
            print(f"epoch {epoch + 1}: learning rate {optimizer.learning_rate:g}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Note the rate in the history."""
        if logs is not None:
            logs["learning_rate"] = self.model.optimizer.current_learning_rate


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by `factor` when the watched number has not improved for `patience` epochs."""

    remembers = ("best", "wait", "cooling")

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        super().__init__(monitor, mode, min_delta)
        check_numbers(self, "(0, 1)", factor=factor)
        check_numbers(self, "[0, inf)", patience=patience, cooldown=cooldown, min_lr=min_lr)
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin anew."""
        self.wait = self.cooling = 0
        self.best = -math.inf

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Count the epochs without progress, and lower the rate."""
        optimizer = self.model.optimizer
        if callable(optimizer.learning_rate):
            raise TypeError("ReduceLROnPlateau: the optimizer follows a schedule; give it a number as learning_rate")
        if logs is not None:
            logs["learning_rate"] = optimizer.learning_rate
        value = self.watched(logs)
        if value is None:
            return
        improved = self.improved(value)
        if self.cooling:
            self.cooling -= 1
        if improved:
            self.wait = 0
        elif not self.cooling:
            self.wait += 1
            if self.wait >= self.patience and optimizer.learning_rate > self.min_lr:
                optimizer.learning_rate = max(optimizer.learning_rate * self.factor, self.min_lr)
                self.cooling, self.wait = self.cooldown, 0
                if self.verbose:
                    print(f"epoch {epoch + 1}: learning rate {optimizer.learning_rate:g}")
