"""What happens to data before a network sees them."""

from __future__ import annotations

import importlib
from typing import Any

from minitl.preprocessing.record import Preprocessing

__all__ = ["Preprocessing"]


def __getattr__(name: str) -> Any:
    # Read when they are asked for: images need Pillow.
    if name in ("image", "text", "sequence", "video"):
        return importlib.import_module(f"minitl.preprocessing.{name}")
    if name in ("image_dataset_from_directory", "text_dataset_from_directory", "timeseries_dataset_from_array"):
        return getattr(importlib.import_module("minitl.utils"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
