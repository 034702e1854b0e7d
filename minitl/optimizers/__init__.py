"""Optimizers: what to do with a gradient.

base      what all share
rules     SGD, Adam, AdamW, RMSprop, each with a compiled twin
adaptive  Adagrad, Adadelta, Adamax, Nadam, Lion
"""

from __future__ import annotations

from typing import Any

from minitl import schedules
from minitl.legacy import warn_once
from minitl.optimizers.adaptive import Adadelta, Adagrad, Adamax, Lion, Nadam
from minitl.optimizers.base import Optimizer
from minitl.optimizers.rules import SGD, Adam, AdamW, RMSprop
from minitl.serialization import lookup

NAMED: dict[str, type[Optimizer]] = {
    cls.__name__.lower(): cls for cls in (SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta, Adamax, Nadam, Lion)
}

__all__ = [
    "NAMED", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "Nadam", "Optimizer", "RMSprop", "get",
    "schedules",
]  # fmt: skip


def get(identifier: Any) -> Optimizer:
    """The optimizer of a name ("adam"), or the object itself."""
    optimizer = lookup("optimizer", identifier, NAMED)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"an optimizer must be a name or a minitl.optimizers.Optimizer, got {optimizer!r}")
    return optimizer


def __getattr__(name: str) -> Any:  # optimizers.adam(...), as older programs write it
    if name in NAMED:
        warn_once(f"optimizers.{name}", f"optimizers.{NAMED[name].__name__}")
        return NAMED[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
