"""Callbacks that programs name: stopping at NaN, event files for TensorBoard, and those that have nothing to do here."""

from __future__ import annotations

import importlib
import math
import os
import warnings
from typing import Any

from minitl.callbacks.base import Callback, Logs


class TerminateOnNaN(Callback):
    """Ends the run when the loss is not finite. `fit` itself stops then, with the first culprit: this one never has to.

    Parameters: `raise_error` is Keras's, which ends the run in silence without it; here `fit` raises in any case.
    """

    def __init__(self, raise_error: bool = False):
        self.raise_error = raise_error

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """End the run."""
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            self.model.stop_training = True


class ProgbarLogger(Callback):
    """Nothing: `fit(verbose=...)` shows the progress."""

    def __init__(self, *_: Any, **__: Any):
        pass


class TensorBoard(Callback):
    """Writes losses and metrics of every epoch as event files, with the package tensorboardX or the one that comes with PyTorch.

    Where neither is installed one warning says so, and the run goes on. Histograms, graphs and profiles are not written.
    """

    def __init__(self, log_dir: str | os.PathLike = "logs", **settings: Any):
        self.log_dir, self.settings, self.writer = os.fspath(log_dir), settings, None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the file."""
        for module in ("tensorboardX", "torch.utils.tensorboard"):
            try:
                self.writer = importlib.import_module(module).SummaryWriter(self.log_dir)
                return
            except ImportError:
                continue
        warnings.warn(
            "TensorBoard: nothing is written, since tensorboardX is not installed (pip install tensorboardX)", stacklevel=2
        )

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the epoch."""
        for name, value in (logs or {}).items():
            if self.writer is not None:
                self.writer.add_scalar(f"epoch_{name}", value, epoch)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the file."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None


class RemoteMonitor(Callback):
    """Refused: nothing here sends data over a network."""

    def __init__(self, *_: Any, **__: Any):
        raise ValueError("RemoteMonitor: minitl sends nothing over a network; use CSVLogger, or a LambdaCallback of your own")
