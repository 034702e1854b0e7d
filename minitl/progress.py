"""Progress for people who wait: a bar on a terminal or in a notebook, a line per epoch elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np


class Progress:
    """How a run shows itself, on standard output.

    verbose "auto" or 1: a bar on a terminal or in a notebook, else a line per epoch; 0: nothing; 2: a line per epoch.
    Errors: ValueError for another value.
    """

    def __init__(self, verbose: Any):
        if verbose not in ("auto", 0, 1, 2):
            raise ValueError(f"verbose must be 'auto', 0, 1 or 2, got {verbose!r}")
        self.bar = verbose in ("auto", 1) and (sys.stdout.isatty() or in_notebook())
        self.lines = bool(verbose) and not self.bar

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
            print(f"epoch {epoch + 1}/{epochs}  {_text(logs)}", flush=True)

    def phase(self, text: str) -> None:
        """What begins now, where a run has several parts."""
        if self.bar or self.lines:
            print(text, flush=True)

    def _bar(self, batches: Iterable[Any], total: int | None, title: str, leave: bool) -> Any:
        from tqdm import tqdm

        return tqdm(batches, total=total, desc=title, leave=leave, dynamic_ncols=True, file=sys.stdout)


def in_notebook() -> bool:
    """Whether the program runs in a Jupyter kernel."""
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None and hasattr(shell, "get_ipython") else None
    return type(found).__name__ == "ZMQInteractiveShell"


def _text(logs: dict[str, float]) -> str:
    return "  ".join(f"{name} {short(value)}" for name, value in logs.items())


def short(value: Any) -> str:
    """A number, or several of one metric."""
    return f"{value:.4g}" if np.ndim(value) == 0 else "[" + " ".join(f"{part:.4g}" for part in np.ravel(value)) + "]"
