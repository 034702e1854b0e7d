"""minitl: convolutional networks in NumPy and Numba, to read, to train on a CPU, and to transfer."""

from __future__ import annotations

import importlib
from typing import Any

from minitl import (
    activations,
    backend,
    callbacks,
    constraints,
    distributed,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    schedules,
    utils,
)
from minitl.backend import get_backend, set_backend, use_backend
from minitl.layers import Input, Layer
from minitl.legacy.arguments import accept
from minitl.legacy.keras_ops import answer
from minitl.legacy.modules import PLACES as OLD_MODULES
from minitl.legacy.modules import install
from minitl.legacy.serialized import offer
from minitl.models import Model, Sequential
from minitl.random import set_random_seed
from minitl.version import __version__

# Older programs import from modules that are called otherwise today, and call arguments otherwise.
install()
answer()
offer((activations, constraints, initializers, layers, losses, metrics, optimizers, regularizers, schedules))
distributed.begin()
accept([*initializers.NAMED.values(), *optimizers.NAMED.values(), *schedules.CLASSES.values()])

# These bring libraries that most programs do not need at once.
LATER = ("applications", "datasets", "explain", "gradcheck", "interop", "photographs", "plot", "preprocessing", "transfer")

__all__ = [
    "Input",
    "Layer",
    "Model",
    "Sequential",
    "__version__",
    "activations",
    "backend",
    "callbacks",
    "constraints",
    "get_backend",
    "gradcheck",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "regularizers",
    "schedules",
    "set_backend",
    "set_random_seed",
    "transfer",
    "use_backend",
    "utils",
]
# Base classes that Keras has at the top, too.
BASES = {name: f"{name.lower()}s" for name in ("Initializer", "Metric", "Optimizer", "Regularizer")} | {"Loss": "losses"}


def __getattr__(name: str) -> Any:
    if name in BASES:
        return getattr(importlib.import_module(f"minitl.{BASES[name]}"), name)
    if name in LATER:
        return importlib.import_module(f"minitl.{name}")
    if name in OLD_MODULES:
        return importlib.import_module(f"minitl.{name}")
    raise AttributeError(f"module 'minitl' has no attribute {name!r}")
