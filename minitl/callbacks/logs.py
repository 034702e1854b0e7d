"""Callbacks that write down what happened."""

from __future__ import annotations

from typing import IO, Any

from minitl.callbacks.base import Callback, Logs


class CSVLogger(Callback):
    """Writes a line per epoch to a file; every line is whole and on disk when the epoch ends."""

    def __init__(self, filename: str, separator: str = ",", append: bool = False):
        self.filename, self.separator, self.append = filename, separator, append

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the file; a file that is appended to keeps its columns."""
        import csv

        mode = "a+" if self.append else "w"
        self.file: IO[str] = open(self.filename, mode, newline="")  # noqa: SIM115 (on_train_end closes it)
        self.file.seek(0)
        first = next(csv.reader(self.file, delimiter=self.separator), None) if self.append else None
        self.columns = first
        self.file.seek(0, 2)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the epoch's line."""
        import csv

        row = {"epoch": epoch, **(logs or {})}
        writer: Any = csv.DictWriter(
            self.file, self.columns or list(row), restval="", extrasaction="ignore", delimiter=self.separator
        )
        if self.columns is None:
            self.columns = list(row)
            writer.writeheader()
        writer.writerow(row)
        self.file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the file."""
        self.file.close()
