"""What happened in a training run: a number of each kind an epoch."""

from __future__ import annotations

from typing import Any


class History:
    """The record that `fit` returns.

    Attributes: `history` maps a name ("loss", "val_accuracy") to a list, one entry an epoch; `epoch` lists the epochs.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def append(self, epoch: int, logs: dict[str, float]) -> None:
        """Add an epoch."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def plot(self, path: Any = None) -> Any:
        """Draw the curves, training against validation; saved to `path` when one is given. Returns the figure."""
        from minitl.plot import history

        return history(self, path)
