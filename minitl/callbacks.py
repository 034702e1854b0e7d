"""Callbacks: what should happen between batches and epochs of a training run. Names and arguments are Keras's."""

from __future__ import annotations

import csv
import inspect
import math
import os
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from minitl.errors import unknown
from minitl.history import History

Logs = dict[str, float]


class Callback:
    """Methods that do nothing; override those that you need. `self.model` is the model, `logs` the numbers so far.

    Set `self.model.stop_training = True` to end the run after the epoch.
    """

    model: Any = None
    params: dict[str, Any] = {}  # noqa: RUF012 (replaced, never changed)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before an epoch."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After an epoch, validation included."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch."""

    def set_model(self, model: Any) -> None:
        """Called by fit."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Called by fit, with `epochs`, `steps` and `initial_epoch`."""
        self.params = params


class LambdaCallback(Callback):
    """Functions in the place of methods: `LambdaCallback(on_epoch_end=lambda epoch, logs: ...)`."""

    def __init__(self, **functions: Callable[..., Any]):
        for name, function in functions.items():
            if not (name.startswith("on_") and hasattr(Callback, name)):
                raise unknown("callback method", name, [n for n in dir(Callback) if n.startswith("on_")])
            setattr(self, name, function)


class HistoryCallback(Callback):
    """Fills the History that fit returns."""

    def __init__(self, history: History):
        self.history = history

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Add the epoch."""
        self.history.append(epoch, dict(logs or {}))


class Monitor(Callback):
    """What callbacks that watch a number share: which one, and what better means.

    `mode` is "min", "max" or "auto": up for accuracies, down for the rest.
    Errors: ValueError for an unknown mode, or a number that the run does not produce.
    """

    def __init__(self, monitor: str = "val_loss", mode: str = "auto", min_delta: float = 0.0):
        if mode not in ("auto", "min", "max"):
            raise unknown("mode", mode, ("auto", "min", "max"))
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        rising = mode == "max" or (mode == "auto" and ("acc" in monitor or "auc" in monitor))
        self.sign = 1.0 if rising else -1.0
        self.best = -math.inf

    def watched(self, logs: Logs | None) -> float:
        """The watched number, so that larger is better."""
        if self.monitor not in (logs or {}):
            raise ValueError(
                f"{type(self).__name__}: no {self.monitor!r} in this run, only {', '.join(sorted(logs or {}))}; "
                "give validation data, or watch another number"
            )
        return self.sign * (logs or {})[self.monitor]

    def improved(self, value: float) -> bool:
        """Whether the value beats the best so far, which it then becomes."""
        if value - self.min_delta > self.best:
            self.best = value
            return True
        return False


class EarlyStopping(Monitor):
    """Ends the run when the watched number has not improved for `patience` epochs.

    With `restore_best_weights` the model ends with the weights of its best epoch, however the run ended.
    """

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
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin anew."""
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best_weights: list[np.ndarray] | None = None
        self.best = -math.inf if self.baseline is None else self.sign * self.baseline

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Count the epochs without progress."""
        value = self.watched(logs)
        if epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.improved(value):
            self.wait, self.best_epoch = 0, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
        elif self.wait >= self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Bring the best weights back."""
        if self.best_weights is not None:
            self.model.set_weights(self.best_weights)
            if self.verbose:
                print(f"restored the weights of epoch {self.best_epoch + 1}")


class ModelCheckpoint(Monitor):
    """Saves the model, or its weights, after epochs; always whole files.

    `filepath` may hold names: "weights-{epoch:02d}-{val_loss:.2f}.npz", epochs counted from 1.
    The best number so far stays with the model, in its file too: training that goes on with the same `filepath` does not
    replace the best file by a worse model. `initial_value_threshold` is a number to be beaten by the first file.
    """

    def __init__(
        self,
        filepath: str,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        initial_value_threshold: float | None = None,
    ):
        super().__init__(monitor, mode)
        self.filepath, self.verbose = str(filepath), verbose
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        if initial_value_threshold is not None:
            self.best = self.sign * initial_value_threshold

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Go on from the best that this model has had."""
        known = self.model.checkpoint or {}
        if known.get("filepath") == self.filepath and known.get("monitor") == self.monitor and os.path.exists(known["saved"]):
            self.best = max(self.best, self.sign * known["best"])

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save, if this epoch is to be saved."""
        if self.save_best_only and not self.improved(self.watched(logs)):
            return
        try:
            path = self.filepath.format(epoch=epoch + 1, **(logs or {}))
        except KeyError as error:
            raise ValueError(f"ModelCheckpoint: no {error} in this run, only {', '.join(sorted(logs or {}))}") from error
        if self.save_best_only:
            best = self.sign * self.best
            self.model.checkpoint = {"filepath": self.filepath, "monitor": self.monitor, "best": best, "saved": path}
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.verbose:
            print(f"epoch {epoch + 1}: saved {path}")


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch: `schedule(epoch, rate)` or `schedule(epoch)`, epochs counted from 0."""

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
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
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be in (0, 1), got {factor}")
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
        improved = self.improved(self.watched(logs))
        if self.cooling:
            self.cooling -= 1
            self.wait = 0
        if improved:
            self.wait = 0
        elif not self.cooling:
            self.wait += 1
            if self.wait >= self.patience and optimizer.learning_rate > self.min_lr:
                optimizer.learning_rate = max(optimizer.learning_rate * self.factor, self.min_lr)
                self.cooling, self.wait = self.cooldown, 0
                if self.verbose:
                    print(f"epoch {epoch + 1}: learning rate {optimizer.learning_rate:g}")


class CSVLogger(Callback):
    """Writes a line an epoch to a file; every line is whole and on disk when the epoch ends."""

    def __init__(self, filename: str, separator: str = ",", append: bool = False):
        self.filename, self.separator, self.append = filename, separator, append

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the file; a file that is appended to keeps its columns."""
        mode = "a+" if self.append else "w"
        self.file: IO[str] = open(self.filename, mode, newline="")  # noqa: SIM115 (on_train_end closes it)
        self.file.seek(0)
        first = next(csv.reader(self.file, delimiter=self.separator), None) if self.append else None
        self.columns = first
        self.file.seek(0, 2)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the epoch's line."""
        row = {"epoch": epoch, **(logs or {})}
        writer: Any = csv.DictWriter(
            self.file, self.columns or list(row), restval="", extrasaction="ignore", delimiter=self.separator
        )
        if self.columns is None:
            self.columns = list(row)
            writer.writeheader()
        writer.writerow(row)
        self.file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the file."""
        self.file.close()
