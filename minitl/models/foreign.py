"""Files of other programs, told by their names' endings: who reads and writes them, imported when one is met.

The readers are in `minitl.interop`, which knows models; so they stand here by name.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

# Ending -> reader of a model, its writer, reader of weights, their writer; None where there is none.
FORMATS: dict[str, tuple[str | None, str | None, str | None, str | None]] = {
    ".keras": ("load_keras", "save_keras", "load_keras_weights", None),
    ".h5": ("load_keras", "save_keras", "load_keras_weights", "save_keras_weights"),
    ".hdf5": ("load_keras", "save_keras", "load_keras_weights", "save_keras_weights"),
    ".onnx": ("import_onnx", "export_onnx", None, None),
    ".safetensors": (None, None, "load_safetensors", "save_safetensors"),
    ".pt": (None, None, "load_torch", "save_torch"),
    ".pth": (None, None, "load_torch", "save_torch"),
    ".th": (None, None, "load_torch", "save_torch"),
    ".tflite": (None, None, None, None),
}
READ, WRITE, READ_WEIGHTS, WRITE_WEIGHTS = range(4)


def foreign(filepath: str | os.PathLike) -> bool:
    """Whether a file's name promises another program's format. One of our own under such a name is still ours."""
    return _ending(filepath) in FORMATS and not _is_ours(filepath)


def load_foreign(filepath: str | os.PathLike, custom_objects: dict[str, Any] | None, compile: bool) -> Any:
    """The model of another program's file.

    Errors: ValueError for a format that has no models.
    """
    reader = _function(filepath, READ, "holds weights only: build the model and call load_weights")
    return reader(filepath, custom_objects, compile) if reader.__name__ == "load_keras" else reader(filepath)


def save_foreign(model: Any, filepath: str | os.PathLike, weights_only: bool) -> None:
    """Write a model, or its weights, as another program's file.

    Errors: ValueError for a format that is not written.
    """
    kind = "weights" if weights_only else "whole models"
    _function(filepath, WRITE_WEIGHTS if weights_only else WRITE, f"is no format in which {kind} are written")(model, filepath)


def foreign_weights(model: Any, filepath: str | os.PathLike, loose: bool) -> Any:
    """Load the weights of another program's file; returns the report of its pairs.

    Errors: ValueError for a format without weights, or a file that does not fit.
    """
    reader = _function(filepath, READ_WEIGHTS, "is no format from which weights are read")
    if loose:
        return (
            reader(model, filepath, by_name=True)
            if reader.__name__ == "load_keras_weights"
            else reader(model, filepath, strict=False)
        )
    return reader(model, filepath)


def _ending(filepath: str | os.PathLike) -> str:
    return os.path.splitext(os.fspath(filepath))[1].lower()


def _function(filepath: str | os.PathLike, which: int, otherwise: str) -> Any:
    name = FORMATS[_ending(filepath)][which]
    if name is None:
        raise ValueError(f"{filepath}: {_ending(filepath)} {otherwise}; our own files end in .npz")
    return getattr(importlib.import_module("minitl.interop"), name)


def _is_ours(filepath: str | os.PathLike) -> bool:
    """Whether a file that is there is one that an earlier version wrote under such a name."""
    import zipfile

    if not os.path.isfile(filepath) or not zipfile.is_zipfile(filepath):
        return False
    try:
        with zipfile.ZipFile(filepath) as archive:
            names = archive.namelist()
    except Exception:  # damaged: its reader will say so
        return False
    return "config.json" not in names and bool(names) and all(n.endswith(".npy") or n == "model.json" for n in names)
