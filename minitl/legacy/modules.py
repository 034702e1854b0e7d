"""Modules that older programs import from, found when Python does not find them otherwise."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from types import ModuleType
from typing import Any

from minitl.legacy import warn_once

# Where a module's names are today; the first place that has a name counts.
PLACES = {
    "layers.advanced_activations": ("layers",), "layers.convolutional": ("layers",), "layers.embeddings": ("layers",),
    "layers.experimental": ("layers",), "layers.experimental.preprocessing": ("layers",), "layers.local": ("layers",),
    "layers.merge": ("layers",), "layers.noise": ("layers",),

    "utils.np_utils": ("utils",), "utils.generic_utils": ("utils",), "utils.vis_utils": ("utils",),
    "utils.visualize_util": ("utils",),
    "utils.data_utils": ("utils",), "utils.io_utils": ("utils",),
    "utils.layer_utils": ("utils", "legacy.applications"),
    "utils.training_utils": ("utils",), "utils.image_utils": ("utils", "preprocessing.image"),
    "utils.image_dataset": ("utils",),
    "preprocessing.sequence": ("preprocessing.text", "legacy.sequences", "utils"),
    "keras_preprocessing": ("preprocessing",), "keras_preprocessing.image": ("preprocessing.image",),
    "keras_preprocessing.sequence": ("preprocessing.text", "legacy.sequences", "utils"),
    "keras_preprocessing.text": ("preprocessing.text",), "engine": ("layers", "models"),
    "engine.topology": ("layers", "models", "legacy.applications"),
    "engine.training": ("models", "legacy.applications"), "engine.base_layer": ("layers",), "engine.input_layer": ("layers",),
    "engine.sequential": ("models",), "initializations": ("legacy.initializations", "initializers"), "objectives": ("losses",),
    "optimizers.legacy": ("optimizers",), "optimizers.experimental": ("optimizers",), "optimizers.schedules": ("schedules",),
    "callbacks.callbacks": ("callbacks",),
    "wrappers": ("legacy.wrappers",), "wrappers.scikit_learn": ("legacy.wrappers",),
     "saving": ("models", "serialization", "legacy.serialized"), "config": ("backend",), "ops": ("backend",),
    "backend.tensorflow_backend": ("backend",), "losses.losses_utils": ("losses",), "metrics.metrics": ("metrics",),
    "models.sequential": ("models",), "engine.network": ("models",), "engine.saving": ("models",),
    "optimizers.optimizers": ("optimizers",), "optimizer_v2": ("optimizers",),
    "applications.imagenet_utils": ("applications.imagenet", "legacy.applications"),
    "applications.resnet_v1": ("applications.resnet",),
}  # fmt: skip
OURS = {"ops"}  # a folder of ours has the name


class Finder:
    """Finds and makes the modules of the table, as Python's import system asks for it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """A module of the table, when nobody else has found it."""
        short = name.removeprefix("minitl.")
        if not name.startswith("minitl.") or short not in PLACES or short in OURS:
            return None
        loader: Any = self
        return importlib.machinery.ModuleSpec(name, loader, is_package=True)

    def create_module(self, spec: Any) -> ModuleType:
        """An empty module that looks its names up."""
        return Elsewhere(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""


class Elsewhere(ModuleType):
    """A module whose names are in others."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`layers.merge(...)`: Keras 1 had a function where Keras 2 had a module."""
        return getattr(importlib.import_module("minitl.legacy.layers"), self.__name__.rpartition(".")[2])(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        short = self.__name__.removeprefix("minitl.")
        for place in PLACES[short]:
            found = importlib.import_module(f"minitl.{place}")
            if hasattr(found, name):
                warn_once(f"minitl.{short}", f"minitl.{place}")
                return getattr(found, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def elsewhere(package: str, name: str) -> Any:
    """What an older program looks for in a module of ours: the same name in the package above it.

    Errors: AttributeError when it is not there either.
    """
    module = importlib.import_module(f"minitl.{package}")
    if name.startswith("_"):
        raise AttributeError(f"module 'minitl.{package}' has no attribute {name!r}")
    return getattr(module, name)


def install() -> None:
    """Let Python find the modules of the table."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.append(Finder())
