"""Other people's networks: weights and architectures in the formats of other programs, in and out.

layouts       why the axes differ, and how arrays are turned
pairing       which array belongs to which weight, and a report of it
pytorch       state dictionaries, read without PyTorch (torch_files: an unpickler that builds tensors
              and nothing else; torch_recurrent: modules whose arrays are parted otherwise)
safe_tensors  safetensors
keras_files   .weights.h5, .h5 and .keras (keras_architecture, keras_operations: layers from descriptions;
              keras_description: back; keras_hdf5: the container; hdf5_texts: what it may say of texts)
onnx_export   a Model as an ONNX graph (onnx_layers); onnx_import: an ONNX graph as a Model (onnx_operators says what reads what)

Needs the extra `interop` (pip install "minitl[interop]"): safetensors, h5py, onnx, each imported when it is used.
"""

from __future__ import annotations

import os
from typing import Any

from minitl.errors import unknown
from minitl.interop.keras_files import load_keras, load_keras_weights, save_keras, save_keras_weights
from minitl.interop.onnx_export import export_onnx
from minitl.interop.onnx_import import import_onnx
from minitl.interop.pairing import Pairs
from minitl.interop.pytorch import load_torch, save_torch
from minitl.interop.safe_tensors import load_safetensors, save_safetensors
from minitl.interop.torch_files import read_torch

__all__ = [
    "Pairs",
    "export_onnx",
    "import_onnx",
    "load_any",
    "load_keras",
    "load_keras_weights",
    "load_safetensors",
    "load_torch",
    "read_torch",
    "save_keras",
    "save_keras_weights",
    "save_safetensors",
    "save_torch",
]
READERS: dict[str, Any] = {
    ".safetensors": load_safetensors,
    ".pt": load_torch,
    ".pth": load_torch,
    ".th": load_torch,
    ".h5": load_keras_weights,
    ".hdf5": load_keras_weights,
    ".keras": load_keras_weights,
}


def load_any(model: Any, filepath: str | os.PathLike, top_missing_ok: bool = False) -> Any:
    """Load weights from a file of any known format, told by its name's ending; returns the report.

    `top_missing_ok` lets the file have weights beyond the model's, such as a classifier that the model leaves out.
    Errors: FileNotFoundError; ValueError for an unknown ending or a file that does not fit; the model is unchanged then.
    """
    ending = os.path.splitext(os.fspath(filepath))[1].lower()
    if ending == ".npz":
        from minitl import weights

        arrays, _ = weights.read(filepath)
        extra = (weights.OPTIMIZER, weights.TRAINING)
        own = {key: array for key, array in arrays.items() if not key.startswith(extra)}
        if top_missing_ok:
            known = weights.named_weights(model)
            own = {key: array for key, array in own.items() if key in known}
        return weights.load_into(model, own, str(filepath), missing_ok=False, shapes_ok=False)
    if ending not in READERS:
        raise unknown("ending of a weight file", ending, [".npz", *READERS])
    return READERS[ending](model, filepath, unexpected_ok=top_missing_ok)
