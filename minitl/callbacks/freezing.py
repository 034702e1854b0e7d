"""A callback that freezes layers one after another, from the input on, since the first layers settle first."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

from minitl.callbacks.base import Callback, Logs
from minitl.errors import check_numbers
from minitl.layers.base import Layer


class FreezeOut(Callback):
    """Layers are frozen while training goes on, so that the backward pass becomes shorter.

    Formula: of L layers with weights, the one in place l (from 0) is frozen after the share
    `first` + (1 - first) (l / (L - 1))^`power` of all steps. Rates are left to the optimizer's schedule.
    `layers` says it by name instead: `FreezeOut(layers={"whitening": 3})` freezes what the name or pattern fits after 3 epochs.
    The layers stay frozen after the run.
    Errors: ValueError for a share outside (0, 1].
    Source: A. Brock et al., FreezeOut, arXiv 1706.04983.
    """

    def __init__(self, first: float = 0.5, power: float = 1.0, layers: Mapping[str, float] | None = None):
        check_numbers(self, "(0, 1]", first=first)
        check_numbers(self, "(0, inf)", power=power)
        self.first, self.power, self.layers = first, power, dict(layers) if layers is not None else None

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Freeze the layers whose time has come."""
        run, steps = self.model.training_run, self.params["steps"]
        epochs = run.epoch + (batch / steps if steps else 0)
        for layer, limit in self.times():
            if layer.trainable and epochs >= limit:
                layer.trainable = False

    def times(self) -> list[tuple[Layer, float]]:
        """Each layer that will be frozen, and after how many epochs."""
        learning = [layer for layer in self.model.layers if layer.parameters]
        if self.layers is not None:
            return [
                (layer, at) for name, at in self.layers.items() for layer in learning if fnmatch.fnmatchcase(layer.name, name)
            ]
        last = max(1, len(learning) - 1)
        shares = [self.first + (1 - self.first) * (k / last) ** self.power for k in range(len(learning))]
        return [(layer, share * self.params["epochs"]) for layer, share in zip(learning, shares, strict=True)]
