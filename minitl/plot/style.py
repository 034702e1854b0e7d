"""How all figures look: colours, frames, and how they are written."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

# Told apart by all kinds of colour vision. Source: M. Okabe and K. Ito, Color universal design, 2008; a grey and a brown added.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C", "#7A4B12")


def figure(
    rows: int, columns: int, width: float, height: float, title: str | None = None, share_y: bool = False
) -> tuple[Any, list[Any]]:
    """A figure with a title over all of its panels, and the panels, row by row; `share_y` gives them one y axis.

    Parameters: `width` and `height` in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that a notebook shows as a cell's last value, whichever backend pyplot has."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, dpi=110, format="png")
            return buffer.getvalue()

    made = Picture(figsize=(max(width, 2.0), max(height, 1.5)), layout="constrained")
    FigureCanvasAgg(made)
    axes = list(np.atleast_1d(made.subplots(rows, columns, sharey=share_y)).reshape(-1))
    for ax in axes:
        ax.set_prop_cycle(color=COLOURS)
    if title is not None:
        made.suptitle(title)
    return made, axes


def note(figure: Any, text: str) -> None:
    """A line under a figure: what its bands and dots are."""
    figure.supxlabel(text, fontsize=8, color="0.35")


def finish(figure: Any, path: str | os.PathLike | None) -> Any:
    """The figure, written to a file when one is given, whole or not at all.

    Errors: OSError from the file system.
    """
    if path is not None:
        from minitl.weights import atomic_file

        with atomic_file(path) as file:
            figure.savefig(file, dpi=130, format=os.path.splitext(path)[1].lstrip(".") or "png")
    return figure
