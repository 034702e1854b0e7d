"""`Progbar`, for loops that programs write themselves."""

from __future__ import annotations

import sys
from typing import Any


class Progbar:
    """A line of numbers that is written anew at each update.

    Parameters: `target` is the number of steps, None when it is not known; `stateful_metrics` are shown as they are, others as
    means.
    """

    def __init__(
        self, target: int | None, width: int = 30, verbose: int = 1, interval: float = 0.05, stateful_metrics: Any = None,
        unit_name: str = "step",
    ):  # fmt: skip
        self.target, self.verbose = target, verbose
        self.stateful_metrics, self.steps = set(stateful_metrics or ()), 0
        self.sums: dict[str, tuple[float, int]] = {}

    def update(self, current: int, values: Any = None, finalize: bool | None = None, **_: Any) -> None:
        """Tell the state after `current` steps, with pairs of names and numbers."""
        new = max(current - self.steps, 1)
        for name, number in values or ():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = (float(number), 1) if name in self.stateful_metrics else (total + float(number) * new, count + new)
        self.steps = current
        if self.verbose:
            told = " - ".join(f"{name}: {total / count:.4f}" for name, (total, count) in self.sums.items())
            done = finalize or (finalize is None and self.target is not None and current >= self.target)
            sys.stdout.write(f"\r{current}/{self.target or '?'} - {told}" + ("\n" if done else ""))
            sys.stdout.flush()

    def add(self, n: int, values: Any = None) -> None:
        """Tell the state after n more steps."""
        self.update(self.steps + n, values)
