"""What a callback is: methods that are called between batches and epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minitl.errors import unknown
from minitl.history import History

Logs = dict[str, float]


class Callback:
    """Methods that do nothing; override those that you need. `self.model` is the model, `logs` the numbers so far.

    Set `self.model.stop_training = True` to end the run after the epoch.
    """

    model: Any = None
    params: dict[str, Any] = {}  # noqa: RUF012 (replaced, never changed)
    remembers: tuple[str, ...] = ()  # the attributes that a run which goes on needs: numbers, lists, dictionaries, arrays
    validation_data: Any = None  # of fit, if these are arrays: [x, y, weights], as older callbacks read it
    saves = False  # whether it saves the model: then it is told last, when the others have decided

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before an epoch."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After an epoch, validation included."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """`on_train_batch_begin` under the name that older programs use."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """`on_train_batch_end` under the name that older programs use."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before an evaluation, that of validation data in fit included."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After it."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of it."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of it."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Before predictions."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """After them."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of them."""

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch of them; `logs` has its `outputs`."""

    def set_model(self, model: Any) -> None:
        """Called by fit, evaluate and predict."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Called by fit, with `epochs`, `steps` and `initial_epoch`."""
        self.params = params

    def get_state(self) -> dict[str, Any]:
        """What it remembers, kept in the model's file for a run that goes on."""
        return {name: getattr(self, name) for name in self.remembers if hasattr(self, name)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on with it; called after `on_train_begin`."""
        vars(self).update({name: value for name, value in state.items() if name in self.remembers})


class LambdaCallback(Callback):
    """Functions in the place of methods: `LambdaCallback(on_epoch_end=lambda epoch, logs: ...)`."""

    def __init__(self, **functions: Callable[..., Any]):
        for name, function in functions.items():
            if not (name.startswith("on_") and hasattr(Callback, name)):
                raise unknown("callback method", name, [n for n in dir(Callback) if n.startswith("on_")])
            setattr(self, name, function)


class Record(Callback):
    """The callback that Keras calls History: `history` maps names to lists, `epoch` lists the epochs."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin anew."""
        self.record = History()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Add the epoch."""
        self.record.append(epoch, dict(logs or {}))

    @property
    def history(self) -> dict[str, list[float]]:
        """The numbers by name."""
        return self.record.history

    @property
    def epoch(self) -> list[int]:
        """The epochs."""
        return self.record.epoch


class HistoryCallback(Callback):
    """Fills the History that fit returns."""

    def __init__(self, history: History):
        self.history = history

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Add the epoch."""
        self.history.append(epoch, dict(logs or {}))
