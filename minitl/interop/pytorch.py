"""Weights from PyTorch and to it: by the names that a network has there, or in order, module by module."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from minitl.interop.layouts import contiguous, flattened_before, tensors
from minitl.interop.pairing import Pairs, renamed, write_pairs
from minitl.interop.torch_attention import packed, unpacked
from minitl.interop.torch_files import read_torch, write_torch
from minitl.interop.torch_recurrent import joined, parted
from minitl.layers import Bidirectional
from minitl.layers.recurrent import Recurrent

COUNTER = "num_batches_tracked"


def load_torch(model: Any, filepath: Any, match: Any = None, unexpected_ok: bool = False, strict: bool = True) -> Pairs:
    """Load the weights of a PyTorch file, or of a dictionary of arrays in PyTorch's names and layouts.

    `match` says which module a layer is: a dictionary or a function from our layer's path to their module's name; "name", the
    same names with dots; or "order", the next module whose arrays have the layer's shapes. By default published
    networks are matched by the names they have there, others in order. `strict=False` loads what has a partner.
    Returns the pairs.
    Errors: ValueError with the report when something has no partner or another shape; the model is unchanged then.
    """
    model._need_built("load weights")
    arrays = dict(filepath) if isinstance(filepath, dict) else read_torch(filepath)
    return match_torch(
        model, arrays, match, "the dictionary" if isinstance(filepath, dict) else str(filepath), unexpected_ok, strict
    )


def match_torch(
    model: Any, arrays: dict[str, np.ndarray], match: Any, where: str, unexpected_ok: bool = False, strict: bool = True
) -> Pairs:
    """Find each layer's module among arrays in PyTorch's names, turn its tensors, and write them.

    Errors: as `load_torch`.
    """
    arrays = unpacked(joined(arrays))
    modules = _modules(arrays)
    if match is None:
        dotted = [path.replace("/", ".") for path, layer in model.named_layers() if layer.parameters or layer.state]
        match = "name" if set(dotted) <= set(modules) else model.torch_names
    if match is None:
        if list(arrays) == sorted(arrays) and len(modules) > 2:
            raise ValueError(
                f"{where}: its names are sorted, so that their order tells nothing; give the names by match= or names="
            )
        match = "order"
    flattened, report = flattened_before(model), Pairs()
    found: dict[str, tuple[str, np.ndarray]] = {}
    left = dict.fromkeys(modules)
    for path, layer in model.named_layers():
        if not (layer.parameters or layer.state):
            continue
        wanted = list(tensors(layer, flattened.get(layer)))
        if match == "order":
            module = _next_module(layer, wanted, modules, left, arrays)
        else:
            module = path.replace("/", ".") if match == "name" else renamed(match, path)
        if module is None or module not in modules:
            report.missing.append(f"{path} (module {module})" if module else path)
            continue
        left.pop(module, None)
        for tensor in wanted:
            name = f"{module}.{tensor.theirs}" if module else tensor.theirs
            array = arrays.get(name)
            if array is None:
                continue
            expected = tensor.out({**layer.parameters, **layer.state}[tensor.ours]).shape
            if array.shape != expected and [n for n in array.shape if n != 1] == [n for n in expected if n != 1]:
                array = array.reshape(expected)  # a 1x1 convolution that stands for a dense layer, or the other way
            if array.shape == expected:
                found[f"{path}/{tensor.ours}"] = name, contiguous(tensor.back(array))
            else:
                hint = "; are its axes turned already?" if sorted(array.shape) == sorted(expected) else ""
                report.shape_differs.append(f"{path}/{tensor.ours} wants {expected}, {name} is {array.shape}{hint}")
        extra = set(modules[module]) - {tensor.theirs for tensor in wanted} - {COUNTER}
        report.unexpected += [f"{module}.{name}" for name in sorted(extra)]
    report.unexpected += [f"{module}.{name}" for module in left for name in modules[module] if name != COUNTER]
    _note_first_layer(model, found, report)
    if not strict:
        from minitl.weights import named_weights

        keep = named_weights(model)
        found = {**{key: ("kept", w.copy()) for key, w in keep.items()}, **found}
        report.missing, report.shape_differs = [], []
    return write_pairs(model, found, report, where, unexpected_ok or not strict)


def save_torch(model: Any, filepath: str | os.PathLike, names: Any = None) -> None:
    """Write a state dictionary that `load_state_dict` takes, in PyTorch's layouts.

    `names` maps our layers' paths to modules, a dictionary or a function; by default the names that a published network has
    there, or our own with dots.
    Errors: ValueError for a model without weights, or a layer that PyTorch has no module for; OSError from the file system.
    """
    model._need_built("save")
    write_torch(filepath, torch_arrays(model, names))


def torch_arrays(model: Any, names: Any = None) -> dict[str, np.ndarray]:
    """A model's weights in PyTorch's names and layouts.

    Errors: ValueError for a layer that PyTorch has no module for.
    """
    if names is None:
        names = model.torch_names
    flattened = flattened_before(model)
    arrays: dict[str, np.ndarray] = {}
    for path, layer in model.named_layers():
        weights = {**layer.parameters, **layer.state}
        if not weights:
            continue
        module = (renamed(names, path) or path).replace("/", ".")
        for tensor in tensors(layer, flattened.get(layer)):
            name, array = f"{module}.{tensor.theirs}", contiguous(tensor.out(weights[tensor.ours]))
            arrays.update(parted(name, array) if isinstance(layer, (Recurrent, Bidirectional)) else {name: array})
        if "moving_mean" in weights:
            arrays[f"{module}.{COUNTER}"] = np.array(0, np.int64)
    return packed(arrays)


def _modules(arrays: dict[str, np.ndarray]) -> dict[str, list[str]]:
    """The modules of a state dictionary, in its order, with the names of their tensors."""
    found: dict[str, list[str]] = {}
    for name in arrays:
        module, _, tensor = name.rpartition(".")
        found.setdefault(module, []).append(tensor)
    return found


def _next_module(
    layer: Any, wanted: list[Any], modules: dict[str, list[str]], left: dict[str, None], arrays: dict[str, np.ndarray]
) -> str | None:
    """The first module that is left and has a layer's tensors, in their shapes; else the first with tensors of these names."""
    weights = {**layer.parameters, **layer.state}
    names = {tensor.theirs for tensor in wanted}
    alike = [m for m in left if names == set(modules[m]) - {COUNTER}]
    for module in alike:
        if all(arrays[f"{module}.{t.theirs}"].shape == t.out(weights[t.ours]).shape for t in wanted):
            return module
    return alike[0] if alike else None


def _note_first_layer(model: Any, found: dict[str, tuple[str, np.ndarray]], report: Pairs) -> None:
    """Say when a square first kernel looks as if its window and its channels had changed places, which no shape tells.

    Neighbouring pixels are alike, so a learnt first kernel varies smoothly over its window, and less so over filters.
    """
    for name, array in found.values():
        if array.ndim == 4 and array.shape[0] == array.shape[1] == array.shape[2] == 3 and min(array.shape) == 3:
            smooth, across = _roughness(array, 0), _roughness(array, 2)
            if smooth > 1.5 * across:
                report.notes.append(
                    f"{name}: looks as if its axes had been turned before (rougher over the window than over channels)"
                )
        return


def _roughness(array: np.ndarray, axis: int) -> float:
    return float(np.abs(np.diff(array, axis=axis)).mean())
