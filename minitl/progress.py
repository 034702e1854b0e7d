"""Progress for people who wait: a bar on a terminal, a line that is written over in a notebook, a line per epoch elsewhere."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np


class Progress:
    """How a run shows itself, on standard output.

    verbose "auto" or 1: a bar on a terminal, in a notebook a line per epoch that is written over as it goes on, else a line per
    epoch; 0: nothing; 2: a line per epoch.
    Errors: ValueError for another value.
    """

    def __init__(self, verbose: Any):
        if verbose not in ("auto", 0, 1, 2):
            raise ValueError(f"verbose must be 'auto', 0, 1 or 2, got {verbose!r}")
        moving = verbose in ("auto", 1)
        self.cell = _Cell() if moving and in_notebook() else None
        self.bar = moving and self.cell is None and sys.stdout.isatty()
        self.lines = bool(verbose) and not self.bar and self.cell is None

    def batches(self, batches: Iterable[Any], total: int | None, title: str) -> Iterator[Any]:
        """The same batches, with a bar that goes away."""
        if self.cell is not None:
            yield from self.cell.over(batches, total, title, lambda: "")
            self.cell.show("")
        else:
            yield from self._bar(batches, total, title, False) if self.bar else batches

    def epoch(self, batches: Iterable[Any], total: int | None, epoch: int, epochs: int, means: Any) -> Iterator[Any]:
        """The same batches, with a bar that shows the epoch's means."""
        if self.cell is not None:
            self.cell = _Cell()  # a line of its own
            yield from self.cell.over(batches, total, f"epoch {epoch + 1}/{epochs}", lambda: _text(means.results()))
            return
        if not self.bar:
            yield from batches
            return
        bar = self._bar(batches, total, f"epoch {epoch + 1}/{epochs}", True)
        for batch in bar:
            yield batch
            bar.set_postfix_str(_text(means.results()), refresh=False)

    def end_epoch(self, epoch: int, epochs: int, logs: dict[str, float]) -> None:
        """The epoch's results, validation included, as a line."""
        if self.cell is not None:
            self.cell.show(f"epoch {epoch + 1}/{epochs}  {_text(logs)}")
        elif self.lines or (self.bar and any(name.startswith("val_") for name in logs)):
            print(f"epoch {epoch + 1}/{epochs}  {_text(logs)}", flush=True)

    def phase(self, text: str) -> None:
        """What begins now, where a run has several parts."""
        if self.bar or self.lines or self.cell is not None:
            print(text, flush=True)

    def _bar(self, batches: Iterable[Any], total: int | None, title: str, leave: bool) -> Any:
        from tqdm import tqdm

        return tqdm(batches, total=total, desc=title, leave=leave, dynamic_ncols=True, file=sys.stdout)


class _Cell:
    """A line of a notebook's output that is written over."""

    def __init__(self) -> None:
        self.handle: Any = None
        self.next = 0.0

    def over(self, batches: Iterable[Any], total: int | None, title: str, results: Callable[[], str]) -> Iterator[Any]:
        """The same batches; after half a second, how far they have come, a few times per second."""
        self.next = time.perf_counter() + 0.5
        for done, batch in enumerate(batches, 1):
            yield batch
            if time.perf_counter() >= self.next:
                self.next = time.perf_counter() + 0.2
                self.show(f"{title}: {done} of {total or 'unknown'} batches  {results()}".rstrip())

    def show(self, text: str) -> None:
        """Show a text in the place of what stood there; a line that is not there need not be emptied."""
        if self.handle is not None:
            self.handle.update({"text/plain": text}, raw=True)
        elif text:
            from IPython.display import display

            self.handle = display({"text/plain": text}, raw=True, display_id=True)


def preformatted(text: str) -> str:
    """HTML for a text with columns, in which every character is as wide as another."""
    return f'<pre style="font-family: monospace">{html.escape(text)}</pre>'


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
