"""What all strategies share: a model, its data, which layers are base and head, and how one phase is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.batches import ArrayBatches, is_array
from minitl.callbacks import BackupAndRestore, Callback
from minitl.errors import positive
from minitl.history import History
from minitl.models import Model
from minitl.optimizers import Adam
from minitl.progress import Progress
from minitl.schedules import LinearDecay
from minitl.transfer.freezing import select, unfreeze, weighted


class Task:
    """A model, its data, and the settings that all strategies share.

    Attributes: `base` are the names below the head, `head` those of the top `head` layers that have weights, `held` those that
    were frozen before: that was the user's decision, and no strategy changes it.
    """

    def __init__(
        self, model: Model, x: Any, y: Any, batch_size: int, head: int, validation_data: Any, callbacks: Any, verbose: Any
    ):
        self.model, self.x, self.y, self.batch_size = model, x, y, batch_size
        self.validation_data, self.verbose = validation_data, verbose
        self.callbacks: list[Callback] = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or [])
        if any(isinstance(callback, BackupAndRestore) for callback in self.callbacks):
            raise ValueError(
                "fine_tune: BackupAndRestore keeps one run of fit, a strategy has several; back up a fit of your own"
            )
        self.history = History()
        if not self.has_arrays and not hasattr(x, "__len__"):
            raise ValueError(
                "fine_tune: the rates fall to zero over a known number of batches, and they are gone through several times; "
                f"give arrays, or something with a length, got {type(x).__name__}"
            )
        names = [path for path, _ in weighted(model)]
        if not 1 <= positive("fine_tune: head", head) < len(names):
            raise ValueError(f"fine_tune: head={head} of {len(names)} layers with weights; there must be a base under the head")
        order = [path for path, _ in model.named_layers()]
        cut = order.index(names[-head])
        self.base, self.head = order[:cut], order[cut:]
        self.held = [path for path, layer in model.named_layers() if not layer.trainable]
        if set(self.held) & {path for path in self.head if path in names}:
            raise ValueError(f"fine_tune: the head is frozen ({', '.join(self.head)}); unfreeze it, it is what has to learn")

    @property
    def steps(self) -> int:
        """Updates per epoch."""
        return len(ArrayBatches(self.x, batch_size=self.batch_size)) if self.has_arrays else len(self.x)

    @property
    def has_arrays(self) -> bool:
        """Whether the data are arrays, and not batches."""
        return is_array(self.x, len(self.model.inputs))

    def unfreeze(self, names: Any = "*") -> list[str]:
        """Let layers learn, but for those that the user froze; returns their names.

        Errors: ValueError for names that match no layer, or only layers that the user froze.
        """
        chosen = select(self.model, names)
        free = [name for name in chosen if name not in self.held]
        if not free:
            raise ValueError(f"fine_tune: {', '.join(chosen)}: frozen before; unfreeze(model, ...) it first if it is to learn")
        return unfreeze(self.model, free)

    def phase(
        self,
        name: str,
        epochs: int,
        rate: float,
        multipliers: dict[str, float] | None = None,
        callbacks: list[Callback] | None = None,
        schedule: Callable[[float, int], Any] = LinearDecay,
    ) -> None:
        """Train what is not frozen, with Adam and a rate that falls to zero, and add it to the history."""
        if epochs < 1:
            return
        loss = self.model.loss or self._usual_loss()
        classes = self.model.output_activation in ("softmax", "sigmoid")
        metrics: list[Any] = list(self.model.metrics) or (["accuracy"] if classes else [])
        rates = schedule(rate, epochs * self.steps)
        self.model.compile(Adam(rates, multipliers=multipliers), loss, metrics)
        learning = sum(w.size for w in self.model.trainable_weights)
        Progress(self.verbose).phase(f"{name}: {epochs} epochs, {learning:,} of {self.model.count_params():,} parameters learn")
        done = self.model.fit(
            self.x, self.y, self.batch_size if self.has_arrays else None, epochs, self.verbose,
            [*(callbacks or []), *self.callbacks], validation_data=self.validation_data,
        )  # fmt: skip
        self.history.extend(done, name)

    def _usual_loss(self) -> str:
        """What goes with the head's activation and the labels."""
        if len(self.model.outputs) > 1:
            raise ValueError(f"fine_tune: {self.model.label} has {len(self.model.outputs)} outputs; compile(loss=[...]) it first")
        activation = self.model.output_activation
        if activation == "sigmoid":
            return "binary_crossentropy"
        if activation == "softmax":
            return "categorical_crossentropy" if is_one_hot(self.model, self.y) else "sparse_categorical_crossentropy"
        raise ValueError(
            f"fine_tune: {self.model.label} does not end in a softmax or a sigmoid; say which loss it learns by: "
            'model.compile(loss="mse"), for instance'
        )


def is_one_hot(model: Model, y: Any) -> bool:
    """Whether labels are a share for each class, and not class numbers, of a model with one output."""
    return np.ndim(y) == len(model.outputs[0].shape) and np.shape(y)[-1] > 1
