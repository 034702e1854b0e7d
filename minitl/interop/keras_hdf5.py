"""HDF5 files of Keras, opened with care: no link is followed, and nothing larger than the file is read."""

from __future__ import annotations

import io
import json
import mmap
import os
import zipfile
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import numpy as np

from minitl.interop.hdf5_texts import check_heaps
from minitl.interop.keras_versions import in_terms_of_keras_3
from minitl.interop.needs import need

MOST_CONFIG = 64 << 20  # bytes of an architecture
PROJECTIONS = ("query", "key", "value", "output")  # of a MultiHeadAttention, in the order of its weights
WRAPPED = ("forward_layer", "backward_layer", "layer", "cell", *(f"{part}_dense" for part in PROJECTIONS))
INSIDE = ("vars", "layers", *WRAPPED)  # the groups inside a layer's that are no attributes of a layer of the user's
Entries = dict[str, list[tuple[str, np.ndarray]]]  # by layer: names and arrays


class Opened:
    """A file's architecture, or None, and its HDF5 part."""

    def __init__(self, filepath: str | os.PathLike):
        self.path = Path(filepath)
        self.file: Any = None

    def __enter__(self) -> tuple[Any, Any]:
        h5py = need("h5py")
        if not self.path.is_file():
            raise FileNotFoundError(f"no file at {self.path}")
        try:
            if zipfile.is_zipfile(self.path):
                return self._archive(h5py)
            with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                check_heaps(data, self.path)
            self.file = h5py.File(self.path, "r")
            group = Group(self.file, self.path.stat().st_size, self.path)
            text = group.attribute("model_config")
            config, training = None if text is None else json.loads(text), group.attribute("training_config")
            if config is not None and training is not None:
                config["compile_config"] = json.loads(training)
            return in_terms_of_keras_3(config, str(group.attribute("keras_version") or "1")), group
        except Exception as error:  # damaged bytes make HDF5, zip and JSON raise almost anything
            if self.file is not None:
                self.file.close()
            if str(error).startswith(f"{self.path}:"):
                raise
            what = f"{type(error).__name__}: {error}"
            raise ValueError(f"{self.path} is damaged or no file of Keras ({what}); save it again") from error

    def _archive(self, h5py: Any) -> tuple[Any, Any]:
        with zipfile.ZipFile(self.path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if "config.json" not in members or "model.weights.h5" not in members:
                raise ValueError(f"{self.path}: no config.json and model.weights.h5 in the archive; is it a file of Keras 3?")
            limit = 4 * self.path.stat().st_size + (1 << 20)
            if sum(member.file_size for member in members.values()) > limit or members["config.json"].file_size > MOST_CONFIG:
                raise ValueError(f"{self.path}: the members claim far more bytes than the file has")
            data = archive.read("model.weights.h5")
            check_heaps(data, self.path)
            self.file = h5py.File(io.BytesIO(data), "r")
            written = json.loads(archive.read("metadata.json")) if "metadata.json" in members else {}
            config = in_terms_of_keras_3(json.loads(archive.read("config.json")), str(written.get("keras_version", "3")))
            return config, Group(self.file, len(data), self.path)

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        self.file.close()
        if isinstance(error, Exception) and not isinstance(error, ValueError):  # what HDF5 makes of damaged addresses
            raise ValueError(f"{self.path} is damaged or no file of Keras ({type(error).__name__}: {error})") from error


class Group:
    """A group of an HDF5 file that follows no link and reads nothing larger than the file."""

    def __init__(self, group: Any, size: int, path: Path):
        self.group, self.size, self.path = group, size, path

    def __contains__(self, name: str) -> bool:
        first, _, rest = name.partition("/")
        if not self.group.id.links.exists(first.encode()):  # `in` would follow it
            return False
        inside = self[first] if rest else None
        return not rest or (isinstance(inside, Group) and rest in inside)

    def __getitem__(self, name: str) -> Any:
        h5py, found = need("h5py"), self.group
        for part in name.split("/"):
            links, key = found.id.links, part.encode()  # which are not followed, as `in` and `get` would
            if not (links.exists(key) and links.get_info(key).type == h5py.h5l.TYPE_HARD):
                raise ValueError(f"{self.path}: {name!r} is a link to somewhere else, which is not followed")
            found = found[part]
        if isinstance(found, h5py.Dataset):
            return self._numbers(name, found)
        return Group(found, self.size, self.path)

    def names(self, attribute: str) -> list[str]:
        """The entries of an attribute that lists names."""
        listed = self.attribute(attribute)
        names: Any = [] if listed is None else np.asarray(listed).reshape(-1)
        return [n.decode("utf-8") if isinstance(n, bytes) else str(n) for n in names]

    def attribute(self, name: str) -> Any:
        """An attribute, or None."""
        if name not in self.group.attrs:
            return None
        found = self.group.attrs.get_id(name)
        if found.dtype.kind not in "fiubSU" and need("h5py").check_string_dtype(found.dtype) is None:
            raise ValueError(f"{self.path}: the attribute {name!r} holds {found.dtype}, not a text or numbers")
        if int(np.prod(found.shape or (), dtype=object)) * found.dtype.itemsize > self.size:
            raise ValueError(f"{self.path}: the attribute {name!r} claims shape {found.shape}, more than the file has")
        return self.group.attrs[name]

    def array(self, name: str) -> np.ndarray:
        """Numbers."""
        found = self[name]
        if not isinstance(found, np.ndarray):
            raise ValueError(f"{self.path}: {name!r} is a group, and numbers are expected there")
        return found

    def _numbers(self, name: str, found: Any) -> np.ndarray:
        if found.external or found.is_virtual:
            raise ValueError(f"{self.path}: {name!r} keeps its numbers in another file, which is not read")
        if found.dtype.kind not in "fiub":
            raise ValueError(f"{self.path}: {name!r} holds {found.dtype}, not numbers")
        if found.size * found.dtype.itemsize > self.size:
            raise ValueError(f"{self.path}: {name!r} claims shape {found.shape}, more than the file has")
        return np.asarray(found[()])


def arrays_by_layer(file: Group, path: Any, places: Set[str]) -> Entries:
    """Each layer's arrays, in their order, by the layer's name in the file, or its group's path; `places` are those of ours."""
    if "model_weights" in file or file.names("layer_names"):
        group = file["model_weights"] if "model_weights" in file else file  # noqa: SIM401 (a group, no dictionary)
        return {
            layer: [(name, group[layer].array(name)) for name in group[layer].names("weight_names")]
            for layer in group.names("layer_names")
        }
    if by_group(file):
        return arrays_inside(file, "", places)
    raise ValueError(f"{path}: no layers in it; is it a file of Keras?")


def by_group(file: Group) -> bool:
    """Whether a file keeps weights as Keras 3 does."""
    return "model_weights" not in file and ("layers" in file or "vars" in file)


def inner_groups(layer: Any) -> list[str]:
    """The groups inside a layer's own in which Keras 3 keeps its weights, an equal part of them in each."""
    kind = type(layer).__name__
    if kind == "Bidirectional":
        return ["forward_layer/cell", "backward_layer/cell"]
    if kind == "TimeDistributed":
        return ["/".join(["layer", *filter(None, inner_groups(layer.layer))])]
    if kind == "MultiHeadAttention":
        return [f"{part}_dense" for part in PROJECTIONS]
    return ["cell"] if kind in ("LSTM", "GRU", "SimpleRNN") else [""]


def arrays_inside(group: Group, place: str, places: Set[str]) -> Entries:
    """The arrays of the group of a model or a layer, and of those of the layers in it, each by its group's path.

    `places` are the paths of layers here: where one is called as the parts of Keras's own layers are, it is none.
    """
    found: Entries = {}
    _walk(group, place, "", places, found)
    return found


def _walk(group: Group, place: str, above: str, places: Set[str], found: Entries) -> None:
    """A layer's own arrays, labelled by the names of layers, and those of the layers in it."""
    label = above
    if place:
        given = group["vars"].names("name") if "vars" in group else []
        label = "/".join([*filter(None, [above]), *(given[:1] or [place.rpartition("/")[2]])])
        arrays = [(f"{label}/{key}", array) for key, array in _arrays_of(group, place, places)]
        if len(arrays) == 1 and arrays[0][1].dtype.kind == "u" and arrays[0][1].shape == (2,):
            return  # the state of a generator, as some of Keras's backends write it
        if "vars" in group:
            found[place] = arrays
    for path, inner in _layers_in(group, f"{place}/" if place else "", places):
        _walk(inner, path, label, places, found)


def _arrays_of(group: Group, place: str, places: Set[str]) -> list[tuple[str, np.ndarray]]:
    """The arrays in a layer's group, its own before those of the layers that it wraps."""
    found = []
    if "vars" in group:
        variables = group["vars"]
        found = [(n, variables.array(n)) for n in sorted((n for n in variables.group if n.isdecimal()), key=int)]
    for part in WRAPPED:
        if part in group and f"{place}/{part}" not in places:
            found += [(f"{part}/{name}", array) for name, array in _arrays_of(group[part], f"{place}/{part}", places)]
    return found


def _layers_in(group: Group, prefix: str, places: Set[str]) -> Iterator[tuple[str, Group]]:
    """The groups of the layers in a model, in what a TimeDistributed wraps, or in an object of the user's, with their paths."""
    for part in group.group:
        path = f"{prefix}{part}"
        if path in places or part not in INSIDE:
            inner = None if part == "optimizer" and not prefix else group[part]
            if isinstance(inner, Group):
                yield path, inner
        elif part in ("layers", "layer"):
            yield from _layers_in(group[part], f"{path}/", places)
