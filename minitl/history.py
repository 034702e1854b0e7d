"""What happened in a training run: a number of each kind per epoch."""

from __future__ import annotations

from typing import Any

from minitl.progress import short

# The same numbers have had two names: "acc" was "accuracy" before Keras 2.3, "mae" "mean_absolute_error", and programs ask for
# either.
SHORT = {"acc": "accuracy", "mae": "mean_absolute_error", "mse": "mean_squared_error", "mape": "mean_absolute_percentage_error"}
OTHER_NAMES = {"lr": "learning_rate"}
for _short, _long in SHORT.items():
    for _set in ("", "val_"):
        OTHER_NAMES |= {_set + _short: _set + _long, _set + _long: _set + _short}


def known_as(name: str, logs: Any) -> str | None:
    """The name under which a number is there, or None."""
    return name if name in logs else OTHER_NAMES[name] if OTHER_NAMES.get(name) in logs else None


class Curves(dict[str, Any]):
    """Numbers by name; what has had another name is found under it, too."""

    def __missing__(self, name: str) -> Any:
        found = known_as(name, self)
        if found is None:
            raise KeyError(name)
        return self[found]

    def all(self) -> dict[str, Any]:
        """Every number under every name."""
        return {**{other: self[name] for other, name in OTHER_NAMES.items() if name in self}, **self}


class History:
    """The record that `fit` returns.

    Attributes: `history` maps a name ("loss", "val_accuracy") to a list, one entry per epoch; `epoch` lists the epochs.
    `phases` names the parts of a longer procedure, each with the position of its first epoch; the plot marks them.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = Curves()
        self.epoch: list[int] = []
        self.phases: list[tuple[str, int]] = []

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {short(values[-1])}" for name, values in self.history.items() if values)
        return f"History of {len(self.epoch)} epochs: {last or 'nothing'}"

    def _repr_html_(self) -> str:
        names = list(self.history)
        rows = []
        for i, epoch in enumerate(self.epoch):
            from_end = len(self.epoch) - i  # validation may have begun late
            cells = [values[-from_end] if len(values) >= from_end else None for values in self.history.values()]
            rows.append([str(epoch + 1), *("" if value is None else short(value) for value in cells)])
        lines = ["".join(f"<th>{name}</th>" for name in ("epoch", *names))]
        lines += ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
        return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"

    def append(self, epoch: int, logs: dict[str, float]) -> None:
        """Add an epoch."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def get_state(self) -> dict[str, Any]:
        """The record as plain data."""
        return {
            "history": {
                name: [value if isinstance(value, list) else float(value) for value in values]
                for name, values in self.history.items()
            },
            "epoch": list(self.epoch),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Begin with the epochs of an earlier run."""
        self.history = Curves({name: list(values) for name, values in state["history"].items()})
        self.epoch = list(state["epoch"])

    def extend(self, other: History, phase: str) -> None:
        """Add another run's epochs behind these, as a phase of its own."""
        done = len(self.epoch)
        self.phases.append((phase, done))
        self.epoch += range(done, done + len(other.epoch))
        for name, values in other.history.items():
            self.history.setdefault(name, []).extend(values)

    def plot(self, path: Any = None) -> Any:
        """Draw the curves, training against validation; saved to `path` when one is given. Returns the figure."""
        from minitl.plot import history

        return history(self, path)
