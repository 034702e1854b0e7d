"""Measuring engines in one process, in turn, without what one of them leaves behind for the next.

When an engine has returned, its threads may spin for a while in wait for more, on the cores that the next one needs, and the
caches hold its weights. So each turn begins with calls that are not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

SETTLED = 0.05  # seconds


def medians(calls: dict[str, Callable[[], Any]], rounds: int, seconds: float = 0.2) -> dict[str, float]:
    """Median seconds per call of each, over rounds in which everyone has a turn of so many seconds, or of one call."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            _mean(call, SETTLED)
            times[name].append(_mean(call, seconds))
    return {name: statistics.median(values) for name, values in times.items()}


def _mean(call: Callable[[], Any], seconds: float) -> float:
    """Seconds per call, over calls that take so long altogether."""
    repeats, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds or not repeats:
        call()
        repeats += 1
    return passed / repeats
