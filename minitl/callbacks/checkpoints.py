"""Callbacks that save: the model after epochs, or a backup from which an interrupted run goes on."""

from __future__ import annotations

import os
from typing import Any

from minitl.callbacks.base import Callback, Logs
from minitl.callbacks.monitor import Monitor
from minitl.errors import check_numbers
from minitl.history import Curves


class ModelCheckpoint(Monitor):
    """Saves the model, or its weights, after epochs or every `save_freq` batches; always whole files.

    `filepath` may hold names: "weights-{epoch:02d}-{val_loss:.2f}.npz", epochs and batches (`{batch}`) counted from 1.
    A saved model can go on: after `load_model`, `fit(..., initial_epoch=epochs so far)` gives the bits of a run that was never
    interrupted. The best number so far stays with the model, in its file too: training that goes on with the same `filepath` does
    not replace the best file by a worse model. `initial_value_threshold` is a number to be beaten by the first file.
    Errors: ValueError for a `save_freq` that is neither "epoch" nor a number of batches.
    """

    remembers = ("best", "batches")
    saves = True

    def __init__(
        self,
        filepath: str,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        initial_value_threshold: float | None = None,
        save_freq: Any = "epoch",
        period: int = 1,
    ):
        super().__init__(monitor, mode)
        check_numbers(self, "[1, inf)", period=period)
        check_numbers(self, "(-inf, inf) or None", initial_value_threshold=initial_value_threshold)
        self.period = period  # of older programs: every so many epochs
        self.filepath, self.verbose, self.save_freq = str(filepath), verbose, _checked_freq("ModelCheckpoint", save_freq)
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self.batches = 0
        if initial_value_threshold is not None:
            self.best = self.sign * initial_value_threshold

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Go on from the best that this model has had."""
        self.batches = 0
        known = self.model.checkpoint or {}
        if known.get("filepath") == self.filepath and known.get("monitor") == self.monitor and os.path.exists(known["saved"]):
            self.best = max(self.best, self.sign * known["best"])

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save, if this batch is to be saved."""
        self.batches += 1
        if self.save_freq != "epoch" and self.batches % self.save_freq == 0:
            self._save(self.model.training_run.epoch, batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save, if this epoch is to be saved."""
        if self.save_freq == "epoch" and (epoch + 1) % self.period == 0:
            self._save(epoch, 0, logs)

    def _save(self, epoch: int, batch: int, logs: Logs | None) -> None:
        if self.save_best_only:
            value = self.watched(logs)
            if value is None or not self.improved(value):
                return
        try:
            path = self.filepath.format(epoch=epoch + 1, batch=batch + 1, **Curves(logs or {}).all())
        except KeyError as error:
            raise ValueError(f"ModelCheckpoint: no {error} in this run, only {', '.join(sorted(logs or {}))}") from error
        if self.save_best_only:
            best = self.sign * self.best
            self.model.checkpoint = {"filepath": self.filepath, "monitor": self.monitor, "best": best, "saved": path}
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.verbose:
            print(f"epoch {epoch + 1}: saved {path}")


class BackupAndRestore(Callback):
    """Keeps a backup of the run in a folder, from which the same `fit`, started again, goes on bit for bit.

    Saved are weights, optimizer, epoch and batch, the order of samples, random numbers, the callbacks' counters and the history,
    at the end of each epoch or every `save_freq` batches. When the run has ended well the backup is removed, unless
    `delete_checkpoint` is false. Data from a generator of your own are drawn again up to where the run stood.
    Errors: ValueError for a `save_freq` that is neither "epoch" nor a number of batches, or, in `fit`, a backup of another
    network or of other data.
    """

    remembers = ("batches",)
    saves = True

    def __init__(self, backup_dir: str | os.PathLike, save_freq: Any = "epoch", delete_checkpoint: bool = True):
        self.backup_dir, self.save_freq = os.fspath(backup_dir), _checked_freq("BackupAndRestore", save_freq)
        self.delete_checkpoint = delete_checkpoint
        self.batches = 0

    @property
    def path(self) -> str:
        """The file in the folder."""
        return os.path.join(self.backup_dir, "backup.npz")

    def restore(self) -> bool:
        """Bring the model to where the backup stands, if there is one: called by fit before anything else."""
        os.makedirs(self.backup_dir, exist_ok=True)
        if not os.path.exists(self.path):
            return False
        self.model.restore_backup(self.path)
        return True

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin to count."""
        self.batches, self.ended = 0, False

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save, if this batch is to be saved."""
        self.batches += 1
        if self.save_freq != "epoch" and self.batches % self.save_freq == 0:
            self.model.save_backup(self.path)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save."""
        self.model.save_backup(self.path)
        self.ended = epoch + 1 >= self.params["epochs"] or self.model.stop_training

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Remove the backup of a run that has ended; one that failed keeps it."""
        if self.ended and self.delete_checkpoint and os.path.exists(self.path):
            os.remove(self.path)


def _checked_freq(name: str, save_freq: Any) -> Any:
    if save_freq != "epoch" and not (isinstance(save_freq, int) and save_freq >= 1):
        raise ValueError(f'{name}: save_freq must be "epoch" or a number of batches, got {save_freq!r}')
    return save_freq
