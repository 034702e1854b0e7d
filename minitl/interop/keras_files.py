"""Keras's files: `.weights.h5` (Keras 3), `.h5` (Keras 1 to 3) and `.keras` (Keras 3), read and written without Keras.

`.weights.h5` has a group per layer, named by its class and its place among the layers of that class (layers/conv2d_1/vars/0).
`.h5` has a group per layer name, and the architecture as JSON if a whole model was saved. `.keras` is a zip archive of the
architecture and a `.weights.h5`. Links out of a file are not followed, and nothing larger than the file is read.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from minitl import channels
from minitl.interop.keras_architecture import MODELS, rebuilt
from minitl.interop.keras_compile import compile_as_described, compile_settings
from minitl.interop.keras_description import described
from minitl.interop.keras_groups import groups_of, keras_places, numbered, parts
from minitl.interop.keras_hdf5 import Entries, Group, Opened, arrays_by_layer, arrays_inside, by_group, inner_groups
from minitl.interop.keras_lists import COUNT, listed, paired, weight_name
from minitl.interop.keras_masks import refuse_masks
from minitl.interop.keras_operations import name_of
from minitl.interop.needs import need
from minitl.interop.pairing import Pairs, filled_normalizations, write_pairs
from minitl.layers import Normalization
from minitl.layers.reserve import limited_weights
from minitl.models import TimeDistributedModel

VERSION = "3.0.0"


def load_keras_weights(model: Any, filepath: str | os.PathLike, by_name: bool = False, unexpected_ok: bool = False) -> Pairs:
    """Load the weights of a `.weights.h5`, `.h5` or `.keras` file.

    Layers are found by their names where the file has all of ours; else in order, as Keras does. `by_name` takes the layers
    that the file has, and leaves the others.
    Errors: FileNotFoundError; ValueError for a damaged file, or with the report when something has no partner or another
    shape; the model is unchanged then.
    """
    model._need_built("load weights")
    with Opened(filepath) as (_, file):
        return _load_file(model, file, filepath, by_name, unexpected_ok)


def load_keras(filepath: str | os.PathLike, custom_objects: dict[str, Any] | None = None, compile: bool = True) -> Any:
    """The model of a `.keras` file, or of an `.h5` file that has an architecture; compiled as the file says.

    Your own layers and functions go into custom_objects, by name. The optimizer begins anew. What the file says of it and cannot
    be had here is warned about, and the model is then not compiled.
    Errors: FileNotFoundError; ValueError for a damaged file, weights alone, or a layer that does not exist here.
    """
    with Opened(filepath) as (config, file):
        if config is None:
            raise ValueError(f"{filepath} holds weights only; build the model and call load_weights")
        try:
            with channels.inside(), limited_weights(os.path.getsize(filepath)):  # a number has at least a byte
                model = rebuilt(config, custom_objects)
        except Exception as error:  # whatever a damaged description makes constructors raise
            what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise ValueError(f"{filepath}: the architecture in it cannot be rebuilt: {what}") from error
        if by_group(file) and "layers" in config["config"]:
            write_pairs(model, dict(_in_described_order(model, config, file)), Pairs(), str(filepath))
        else:
            _load_file(model, file, filepath, False, False)
        refuse_masks(model)
        if compile:
            compile_as_described(model, config.get("compile_config"), str(filepath), custom_objects)
    return model


def save_keras_weights(model: Any, filepath: str | os.PathLike) -> None:
    """Write a `.weights.h5` file that Keras 3 loads into the same architecture; all or nothing.

    Errors: ValueError for a model without weights; OSError from the file system.
    """
    from minitl.weights import atomic_file, check_target

    model._need_built("save")
    check_target(filepath)
    with atomic_file(filepath) as file:
        file.write(_weights_bytes(model, as_described=False))


def save_keras(model: Any, filepath: str | os.PathLike) -> None:
    """Write a whole model as Keras 3 does: `.keras`, or its older `.h5`; without the optimizer's memory.

    Errors: ValueError for a layer that Keras does not have; OSError from the file system.
    """
    from minitl.weights import atomic_file, check_target

    model._need_built("save")
    check_target(filepath)
    config, compiled = described(model), compile_settings(model)
    if str(filepath).endswith((".h5", ".hdf5")):
        buffer = io.BytesIO()
        with need("h5py").File(buffer, "w") as file:
            file.attrs["model_config"] = json.dumps(config)
            file.attrs["keras_version"] = VERSION
            if compiled is not None:
                compiled["optimizer_config"] = compiled.pop("optimizer")  # its name in this format
                file.attrs["training_config"] = json.dumps(compiled)
            group = file.create_group("model_weights")
            names = []
            for layer in model.layers:
                name = model._names[layer]
                own = dict(listed(layer, name))
                keys = [f"{name}/{key.split('/', 1)[1]}" for key in own]
                inside = group.create_group(name)
                inside.attrs["weight_names"] = np.array([key.encode() for key in keys]) if keys else np.zeros(0)
                for key, weight in zip(keys, own.values(), strict=True):
                    inside[key] = weight
                names.append(name.encode())
            group.attrs["layer_names"] = np.array(names)
            group.attrs["keras_version"] = VERSION
        data = buffer.getvalue()
    else:
        if compiled is not None:
            config["compile_config"] = compiled
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            for name, content in (
                ("metadata.json", json.dumps({"keras_version": VERSION, "date_saved": "1980-01-01@00:00:00"}).encode()),
                ("config.json", json.dumps(config).encode()),
                ("model.weights.h5", _weights_bytes(model, as_described=True)),
            ):
                archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content)
        data = packed.getvalue()
    with atomic_file(filepath) as file:
        file.write(data)


def _load_file(model: Any, file: Group, filepath: Any, by_name: bool, unexpected_ok: bool) -> Pairs:
    """Load what a file has for a model, whose classes with a call it keeps by attribute, or as graphs, like a description."""
    found: list[tuple[int, Entries, dict[str, str]]] = []
    for as_described in (False, True):
        places = keras_places(model, as_described)
        entries = arrays_by_layer(file, filepath, set(places.values()))
        named = {name: arrays for name, arrays in entries.items() if arrays}
        missing = len(set(places.values()) - set(named))
        found.append((missing, named, places))
        if not missing:
            break
    _, named, places = min(found, key=lambda reading: reading[0])
    return _load_entries(model, named, places, str(filepath), by_name, unexpected_ok)


def _load_entries(model: Any, named: Entries, places: dict[str, str], where: str, by_name: bool, unexpected_ok: bool) -> Pairs:
    found: dict[str, tuple[str, np.ndarray]] = {}
    layers = {path: layer for path, layer in model.named_layers() if path in places}
    if any("/" in path for path in layers) and not set(places.values()) <= set(named):
        return _load_nested(model, named, where, unexpected_ok)
    folded = {f"{name}/bias": a for name, arrays in named.items() for n, a in arrays if n.split("/")[-1].startswith("bias")}
    used = set()
    for path, source in _sources(layers, named, places, by_name).items():
        used.add(source)
        layer = layers[path]
        weights = [*layer.parameters, *layer.state]
        for name, (label, array) in zip(weights, _in_our_order(layer, named[source]), strict=False):
            found[f"{path}/{name}"] = label, array
    report = Pairs(unexpected=[f"{name} ({len(arrays)} arrays)" for name, arrays in named.items() if name not in used])
    found.update({key: ("folded", a) for key, a in filled_normalizations(model, set(found), folded).items()})
    if by_name:
        from minitl.weights import named_weights

        found = {**{key: ("kept", w.copy()) for key, w in named_weights(model).items()}, **found}
    return write_pairs(model, found, report, where, unexpected_ok or by_name)


def _sources(layers: dict[str, Any], named: Entries, places: dict[str, str], by_name: bool) -> dict[str, str]:
    """Each layer's entry in the file.

    Keras 3's `.weights.h5` numbers its groups by class. Elsewhere names that a program gave count; those that Keras gave may
    have been given in another order, so that what the file has in the layers' own order goes before them, as in Keras.
    """
    if set(places.values()) == set(named) and not set(layers) <= set(named):
        return {path: places[path] for path in layers}
    explicit = all(path in named for path, layer in layers.items() if not layer.named_by_model)
    in_order = dict(zip(layers, named, strict=False))
    if not by_name and len(named) == len(layers) and any(layer.named_by_model for layer in layers.values()):
        fit = all(_fits(layers[path], named[source]) for path, source in in_order.items())
        if fit and (explicit or not set(layers) <= set(named)):
            return in_order
    by_file_name = {arrays[0][0].rsplit("/", 1)[0]: name for name, arrays in named.items()}
    found: dict[str, str] = {}
    for path in layers:
        candidates = (path, by_file_name.get(path), places.get(path))
        source = next((n for n in candidates if n is not None and n in named), None)
        if source is None and not by_name and len(named) == len(layers):
            source = in_order[path]
        if source is not None:
            found[path] = source
    return found


def _fits(layer: Any, arrays: list[tuple[str, np.ndarray]]) -> bool:
    """Whether an entry has the shapes of a layer's weights."""
    weights = [*layer.parameters.values(), *layer.state.values()]
    return [w.shape for w in weights] == [array.shape for _, array in _in_our_order(layer, arrays)]


def _load_nested(model: Any, named: Entries, where: str, unexpected_ok: bool) -> Pairs:
    """Models inside models in the older format: all their weights in one list."""
    found: dict[str, tuple[str, np.ndarray]] = {}
    used = set()
    for layer in model.layers:
        name = model._names[layer]
        if layer.weights and name in named:
            used.add(name)
            found.update(paired(layer, name, named[name]))
    report = Pairs(unexpected=[name for name in named if name not in used])
    return write_pairs(model, found, report, where, unexpected_ok)


def _in_our_order(layer: Any, arrays: list[tuple[str, np.ndarray]]) -> list[tuple[str, np.ndarray]]:
    """The arrays of a layer in the order of its weights, by their names' ends where these tell."""
    ends = {weight_name(name): (name, array) for name, array in arrays}
    wanted = [weight_name(name) for name in (*layer.parameters, *layer.state)]
    return [ends[name] for name in wanted] if all(name in ends for name in wanted) else arrays


def _in_described_order(
    model: Any, config: dict[str, Any], file: Group, prefix: str = ""
) -> Iterator[tuple[str, tuple[str, np.ndarray]]]:
    """Weights by their keys, from groups that are numbered in the order of an architecture's layers."""
    kind, inner = config["class_name"], config["config"]
    if isinstance(model, TimeDistributedModel):
        described_parts = [(inner["layer"], "layer")]
    else:
        entries = [entry for entry in inner["layers"] if not (kind == "Sequential" and entry["class_name"] == "InputLayer")]
        groups = [f"layers/{group}" for group in numbered([entry["class_name"] for entry in entries])]
        described_parts = list(zip(entries, groups, strict=True))
    for entry, place in described_parts:
        name = name_of(entry)
        layer = next((l for l in model.layers if model._names[l] == name), None)
        if layer is None or place not in file:
            continue
        as_described = entry["class_name"] in (*MODELS, "TimeDistributed")
        if layer.is_container and as_described:
            yield from _in_described_order(layer, entry, file[place], f"{prefix}{name}/")
            continue
        leaves = list(groups_of(layer, place, as_described=False))
        named = layer.named_layers(f"{prefix}{name}/") if layer.is_container else layer.named_layers(prefix, name)
        paths = {id(leaf): path for path, leaf in reversed(list(named))}  # the first one counts
        inside = arrays_inside(file[place], place, {group for group, _ in leaves})
        for group, leaf in leaves:
            for key, labelled in zip([*leaf.parameters, *leaf.state], inside.get(group, []), strict=False):
                yield f"{paths[id(leaf)]}/{key}", labelled


def _weights_bytes(model: Any, as_described: bool) -> bytes:
    buffer = io.BytesIO()
    with need("h5py").File(buffer, "w") as file:
        _write_layer(file, model, model.name or "model", as_described)
    return buffer.getvalue()


def _write_layer(own: Any, layer: Any, name: str, as_described: bool) -> None:
    variables = own.create_group("vars")
    variables.attrs["name"] = name
    if not layer.is_container:
        _write_arrays(own, variables, layer)
    for place, inner in parts(layer, as_described):
        name = layer._names[inner] if layer.is_container else inner.name or place
        _write_layer(own.create_group(place), inner, name, as_described and layer.is_container)


def _write_arrays(own: Any, variables: Any, layer: Any) -> None:
    weights, places = [*layer.parameters.values(), *layer.state.values()], inner_groups(layer)
    for number, part in enumerate(places):
        share = weights[number * len(weights) // len(places) : (number + 1) * len(weights) // len(places)]
        target = own.create_group(f"{part}/vars") if part else variables
        share += [COUNT] if isinstance(layer, Normalization) and layer.state else []
        for place_in_part, weight in enumerate(share):
            target[str(place_in_part)] = weight
