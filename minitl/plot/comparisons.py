"""Methods against each other: means over seeds, with their intervals."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from minitl.plot.style import figure, finish, note

# Student's t, 97.5 %, by the number of values less one.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def interval(values: np.ndarray) -> float:
    """Half the width of the 95 % confidence interval of a mean, from independent runs; NaN for a single one.

    Formula: t s / sqrt(n), with Student's t of n - 1.
    """
    n = len(values)
    return STUDENT.get(n - 1, 2.0) * float(np.std(values, ddof=1)) / np.sqrt(n) if n > 1 else float("nan")


def comparison(
    x: Sequence[float],
    results: dict[str, np.ndarray],
    xlabel: str,
    ylabel: str,
    title: str,
    path: str | os.PathLike | None = None,
) -> Any:
    """Several methods against a number: mean over seeds as a line, each seed as a dot, the mean's 95 % interval as a band.

    Shapes: `results` maps a method's name to (len(x), seeds).
    """
    return panels(x, {"": results}, xlabel, ylabel, title, path, log=True)


def panels(
    x: Sequence[float],
    found: dict[str, dict[str, np.ndarray]],
    xlabel: str,
    ylabel: str,
    title: str,
    path: str | os.PathLike | None = None,
    log: bool = False,
) -> Any:
    """Comparisons side by side, over one y axis: `found` maps a panel's title to its results.

    Shapes: as for `comparison`.
    """
    width = 5.2 * len(found) + 2.4
    made, axes = figure(1, len(found), width, 4.4, title, share_y=True)
    several = [values.shape[1] for results in found.values() for values in results.values() if values.shape[1] > 1]
    for ax, (name, results) in zip(axes, found.items(), strict=True):
        ends = []
        for (method, values), marker in zip(results.items(), itertools.cycle("osD^vP*X"), strict=False):
            mean = values.mean(axis=1)
            half = np.nan_to_num([interval(row) for row in values])
            (line,) = ax.plot(x, mean, marker=marker, ms=5)
            ends.append((float(mean[-1]), method, line.get_color()))
            ax.fill_between(x, mean - half, mean + half, alpha=0.15, color=line.get_color(), lw=0)
            ax.plot(np.repeat(x, values.shape[1]), values.reshape(-1), ".", ms=3, alpha=0.5, color=line.get_color())
        ax.set(xscale="log" if log else "linear", xlabel=xlabel, title=name)
        ax.set_xticks(list(x), [f"{value:g}" for value in x])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        label_ends(ax, ends)
    axes[0].set_ylabel(ylabel)
    if several:
        note(made, f"lines: means of {max(several)} seeds; bands: their 95 % intervals; dots: single seeds")
    return finish(made, path)


def label_ends(ax: Any, ends: list[tuple[float, str, Any]]) -> None:
    """Names beside the ends of lines, in their colours, moved apart where lines meet: (end, name, colour) of each."""
    low, high = ax.get_ylim()
    gap, places = 0.055 * (high - low), sorted(ends)
    heights = [end for end, _, _ in places]
    for k in range(1, len(heights)):
        heights[k] = max(heights[k], heights[k - 1] + gap)
    for k in reversed(range(len(heights))):  # what stands too high pushes down what is in its way
        heights[k] = min(heights[k], high)
        high = heights[k] - gap
    for height, (end, name, colour) in zip(heights, places, strict=True):
        right = ax.get_yaxis_transform()
        ax.plot([1.0, 1.03], [end, height], transform=right, color=colour, lw=0.8, clip_on=False)
        ax.text(1.035, height, name, transform=right, color=colour, va="center", fontsize=9)
