"""Progress for people who wait: a bar on a terminal, a line an epoch elsewhere when asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any


class Progress:
    """How a run shows itself.

    verbose "auto": a bar on a terminal, else nothing; 0: nothing; 1: a bar on a terminal, else a line an epoch;
    2: a line an epoch.
    Errors: ValueError for another value.
    """

    def __init__(self, verbose: Any):
        if verbose not in ("auto", 0, 1, 2):
            raise ValueError(f"verbose must be 'auto', 0, 1 or 2, got {verbose!r}")
        terminal = sys.stderr.isatty()
        self.bar = terminal and verbose in ("auto", 1)
        self.lines = verbose == 2 or (verbose == 1 and not terminal)

    def batches(self, batches: Iterable[Any], total: int | None, title: str) -> Iterator[Any]:
        """The same batches, with a bar that goes away."""
        yield from self._bar(batches, total, title, False) if self.bar else batches

    def epoch(self, batches: Iterable[Any], total: int | None, epoch: int, epochs: int, means: Any) -> Iterator[Any]:
        """The same batches, with a bar that shows the epoch's means."""
        if not self.bar:
            yield from batches
            return
        bar = self._bar(batches, total, f"epoch {epoch + 1}/{epochs}", True)
        for batch in bar:
            yield batch
            bar.set_postfix_str(_text(means.results()), refresh=False)

    def end_epoch(self, epoch: int, epochs: int, logs: dict[str, float]) -> None:
        """The epoch's results, validation included, as a line."""
        if self.lines or (self.bar and any(name.startswith("val_") for name in logs)):
            print(f"epoch {epoch + 1}/{epochs}  {_text(logs)}", file=sys.stderr)

    def _bar(self, batches: Iterable[Any], total: int | None, title: str, leave: bool) -> Any:
        from tqdm import tqdm

        return tqdm(batches, total=total, desc=title, leave=leave, dynamic_ncols=True)


def _text(logs: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
