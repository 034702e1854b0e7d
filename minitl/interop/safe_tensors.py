"""safetensors: a header of names, shapes and places, and numbers behind it. Nothing in it can run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from minitl.interop.layouts import contiguous
from minitl.interop.needs import need
from minitl.interop.pairing import Pairs, filled_normalizations, renamed, write_pairs
from minitl.interop.pytorch import match_torch, torch_arrays

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip


def read_safetensors(filepath: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file, and its metadata; bfloat16 becomes float32.

    Errors: FileNotFoundError; ValueError for a damaged file, or a dtype that NumPy does not have.
    """
    path = Path(filepath)
    library = need("safetensors")
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}")
    try:
        entries = library.deserialize(path.read_bytes())
        with library.safe_open(os.fspath(path), "np") as file:
            metadata = file.metadata() or {}
    except Exception as error:  # the library's own kind of error
        raise ValueError(f"{path} is damaged or no safetensors file ({error}); save it again") from error
    arrays: dict[str, np.ndarray] = {}
    for name, entry in entries:
        kind, data = entry["dtype"], bytes(entry["data"])
        if kind == "BF16":
            array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif kind in DTYPES:
            array = np.frombuffer(data, DTYPES[kind])
        else:
            raise ValueError(f"{path}: {name} has dtype {kind}, which NumPy does not have; convert it first")
        arrays[name] = array.reshape(entry["shape"])
    return arrays, metadata


def load_safetensors(
    model: Any, filepath: str | os.PathLike, names: Any = None, unexpected_ok: bool = False, strict: bool = True
) -> Pairs:
    """Load weights; files in PyTorch's names and layouts are turned, files in ours are taken as they are.

    `names` is a dictionary or a function: from our keys ("conv2d/kernel") to the file's, or, for a file in PyTorch's
    layouts, from our layers' paths to its modules. Normalisations that the file has folded into convolutions are filled in.
    `strict=False` loads what has a partner.
    Errors: ValueError with the report when something has no partner or another shape; the model is unchanged then.
    """
    from minitl.weights import named_weights

    model._need_built("load weights")
    arrays, metadata = read_safetensors(filepath)
    own = named_weights(model)
    if metadata.get("format") == "pt" or not any("/" in name for name in arrays):
        return match_torch(model, arrays, names, str(filepath), unexpected_ok, strict)
    found = {}
    for key in own:
        name = renamed(names, key)
        if name not in arrays and key.endswith("/depthwise_kernel"):
            name = name.replace("/depthwise_kernel", "/kernel") if name else name  # what newer versions of Keras call it
        if name is not None and name in arrays:
            found[key] = name, arrays[name]
    filled = filled_normalizations(model, set(found), arrays)
    found.update({key: ("folded", array) for key, array in filled.items()})
    taken = {name for name, _ in found.values()}
    used = {id(array) for array in filled.values()}
    report = Pairs(unexpected=[name for name, array in arrays.items() if name not in taken and id(array) not in used])
    if not strict:
        found = {**{key: ("kept", w.copy()) for key, w in own.items()}, **found}
    return write_pairs(model, found, report, str(filepath), unexpected_ok or not strict)


def save_safetensors(model: Any, filepath: str | os.PathLike, names: Any = None, layout: str = "minitl") -> None:
    """Write all weights; layout "minitl" keeps our keys and axes, "torch" writes PyTorch's, which its programs load.

    `names` is a dictionary or a function, from our keys (layout "torch": our layers' paths) to the file's.
    Errors: ValueError for a model without weights or another layout; OSError from the file system.
    """
    from minitl.errors import unknown
    from minitl.weights import atomic_file, named_weights

    model._need_built("save")
    if layout not in ("minitl", "torch"):
        raise unknown("layout", layout, ("minitl", "torch"))
    if layout == "torch":
        arrays = torch_arrays(model, names)
    else:
        arrays = {renamed(names, key) or key: contiguous(w) for key, w in named_weights(model).items()}
    data = need("safetensors.numpy").save(arrays, metadata={"format": "pt" if layout == "torch" else "minitl"})
    with atomic_file(filepath) as file:
        file.write(data)
