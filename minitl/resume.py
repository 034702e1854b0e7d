"""What a training run needs to go on as if it had never stopped, beside weights and optimizer: kept in the model's file.

Where the run stands (epoch, batches of it, running means), where its data stand (order of samples, pass), the state of
every random number generator in a layer, what callbacks remember, and the history so far.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from minitl.history import History
from minitl.objective import Means

State = dict[str, Any]


class TrainingRun:
    """A run of `fit`, seen from what it leaves behind.

    Attributes: `epoch` counts the whole epochs, `step` the batches of the epoch in progress; `means` are its losses and
    metrics so far.
    """

    def __init__(self, model: Any, source: Any, generator: np.random.Generator | None, watchers: list[Any], history: History):
        self.model, self.source, self.generator, self.watchers, self.history = model, source, generator, watchers, history
        self.epoch = self.step = 0
        self.means = Means(model)

    def get_state(self) -> State:
        """Everything as plain data and arrays."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "means": self.means.get_state() if self.step else None,
            "source": self.source.get_state(),
            "shuffling": None if self.generator is None else self.generator.bit_generator.state,
            "frozen": [path for path, layer in self.model.named_layers() if not layer.trainable],
            "layers": {name: generator.bit_generator.state for name, generator in layer_generators(self.model)},
            "carried": {path: layer.carried for path, layer in stateful_layers(self.model) if layer.carried is not None},
            "callbacks": [[type(watcher).__name__, watcher.get_state()] for watcher in self.watchers],
            "history": self.history.get_state(),
        }

    def go_on(self, before: TrainingRun | EndedRun | None, initial_epoch: int, resumed: bool) -> None:
        """Take up an earlier run.

        A second `fit` goes on with the order of samples. Where `initial_epoch` is the epoch at which the run stood, or a backup
        was restored (`resumed`), the data, callbacks of the same kinds and the epoch in progress go on too.
        Errors: ValueError for a backup that is of other data.
        """
        self.epoch = initial_epoch
        if before is None:
            return
        state = before.get_state()
        if self.generator is not None and state["shuffling"] is not None:
            self.generator.bit_generator.state = state["shuffling"]
        if not resumed and (initial_epoch == 0 or initial_epoch != state["epoch"]):
            return
        self.epoch = state["epoch"]
        if self.source.like(state["source"]):
            self.source.set_state(state["source"], before.same_data(self.source))
            if state["step"]:
                self.step = state["step"]
                self.means.set_state(state["means"])
        elif resumed:
            raise ValueError("fit: the backup is of other data, or of another batch size; remove its folder to begin anew")
        if resumed:
            self.history.set_state(state["history"])
        remembered: dict[str, list[State]] = {}
        for name, kept in state["callbacks"]:
            remembered.setdefault(name, []).append(kept)
        for watcher in self.watchers:
            of_kind = remembered.get(type(watcher).__name__)
            if of_kind:
                watcher.set_state(of_kind.pop(0))

    def ended(self) -> EndedRun:
        """What is left of it: nothing that holds data."""
        return EndedRun(self.get_state(), self.source)

    def same_data(self, source: Any) -> bool:
        """Whether this run used the very objects of another source."""
        return self.source.data is source.data


class EndedRun:
    """The state of a run that is over, or comes from a file."""

    def __init__(self, state: State, source: Any = None):
        self._state = state
        self._data = source and _weakly(source.data)

    def get_state(self) -> State:
        """Everything as plain data and arrays."""
        return self._state

    def same_data(self, source: Any) -> bool:
        """Whether that run used the very objects of another source."""
        return self._data is not None and self._data() is source.data


def layer_generators(model: Any) -> Iterator[tuple[str, np.random.Generator]]:
    """The random number generators that a model's layers hold, by layer and attribute."""
    for path, layer in model.every_layer():
        for name, value in vars(layer).items():
            if isinstance(value, np.random.Generator):
                yield f"{path}/{name}", value


def stateful_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """The layers whose batches begin where the one before ended."""
    return ((path, layer) for path, layer in model.every_layer() if getattr(layer, "stateful", False))


def restore_layers(model: Any, state: State) -> None:
    """Put the flags and the generators of a model's layers where a state says, and what stateful ones carry on."""
    for path, layer in model.named_layers():
        if not layer.is_container:
            layer.trainable = path not in state["frozen"]
    for name, generator in layer_generators(model):
        if name in state["layers"]:
            generator.bit_generator.state = state["layers"][name]
    for path, layer in stateful_layers(model):
        carried = state.get("carried", {}).get(path)
        layer.carried = None if carried is None or carried.shape[1:] != (sum(layer.state_sizes),) else carried.copy()


def flatten(state: Any, arrays: dict[str, np.ndarray], key: str) -> Any:
    """A state as JSON can hold it; arrays go into a dictionary, and their keys stand in their places."""
    if isinstance(state, np.ndarray):
        arrays[key] = state
        return {"array": key}
    if isinstance(state, dict):
        return {str(name): flatten(value, arrays, f"{key}/{name}") for name, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [flatten(value, arrays, f"{key}/{i}") for i, value in enumerate(state)]
    return state.item() if isinstance(state, np.generic) else state


def unflatten(data: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The state that `flatten` described.

    Errors: KeyError for an array that is not there.
    """
    if isinstance(data, dict):
        if set(data) == {"array"}:
            return arrays[data["array"]]
        return {name: unflatten(value, arrays) for name, value in data.items()}
    return [unflatten(value, arrays) for value in data] if isinstance(data, list) else data


def checked_state(state: Any) -> State:
    """A state from a file.

    Errors: TypeError or ValueError when it is not what `get_state` gives.
    """
    kinds = {"epoch": int, "step": int, "source": dict, "frozen": list, "layers": dict, "callbacks": list, "history": dict}
    if not isinstance(state, dict) or not all(isinstance(state.get(name), kind) for name, kind in kinds.items()):
        raise TypeError("the state of training is not as fit writes it")
    for described in (state.get("shuffling"), *state["layers"].values()):
        if described is not None:
            np.random.default_rng(0).bit_generator.state = described  # raises for what is no generator's state
    carried = state.get("carried", {})  # older files have none
    if not isinstance(carried, dict) or not all(isinstance(c, np.ndarray) and c.dtype.kind == "f" for c in carried.values()):
        raise TypeError("what stateful layers carry on is not as fit writes it")
    if not isinstance(state["source"].get("taken"), int):
        raise TypeError("the state of the data is not as fit writes it")
    if state["epoch"] < 0 or state["step"] < 0 or (state["step"] and not isinstance(state.get("means"), dict)):
        raise ValueError(f"the state of training stands at epoch {state['epoch']}, batch {state['step']}")
    if not all(isinstance(entry, list) and len(entry) == 2 for entry in state["callbacks"]):
        raise TypeError("the callbacks' state is not as fit writes it")
    return state


def _weakly(data: Any) -> Any:
    try:
        return weakref.ref(data)
    except TypeError:  # lists and tuples: they begin anew anyway
        return None
