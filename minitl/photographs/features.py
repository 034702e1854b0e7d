"""What a pretrained network makes of photographs, computed once: kept by what is in the file, the network and the size."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minitl import weights
from minitl.photographs.images import batches
from minitl.serialization import encode

BLOCK = 512  # photographs per file of the cache, and per array of `Rows`


def features(
    base: Any,
    paths: Sequence[str],
    size: int,
    cache: str | os.PathLike | None = None,
    mirrored: bool = False,
    batch_size: int = 32,
    progress: Callable[[int, int], Any] | None = None,
) -> tuple[np.ndarray, list[int]]:
    """Features of photographs, and the positions of those that could be read.

    `cache` is a folder: what is in it is not computed again, whatever order or split is asked for. `mirrored` takes the
    mirror images. `progress(done, all)` is told after every batch.
    Shapes: (N, features), float32.
    Errors: OSError when the cache cannot be written; ValueError when no photograph can be read.
    """
    with tempfile.TemporaryDirectory() if cache is None else contextlib.nullcontext(cache) as folder:
        rows, found = stored_features(base, paths, size, folder, mirrored, batch_size, progress)
        return np.concatenate(list(rows)), found


def stored_features(
    base: Any,
    paths: Sequence[str],
    size: int,
    cache: str | os.PathLike,
    mirrored: bool = False,
    batch_size: int = 32,
    progress: Callable[[int, int], Any] | None = None,
) -> tuple[Rows, list[int]]:
    """The same without holding them in memory: they stay in the cache, and are read in blocks."""
    kept = _Kept(base, size, mirrored, cache)
    marks = [_mark(path) for path in paths]
    missing = [i for i, mark in enumerate(marks) if mark is not None and mark not in kept.places]
    done = 0
    try:
        for x, places in batches([paths[i] for i in missing], size, batch_size):
            made = base.predict_on_batch(base.preprocessing(x[:, :, ::-1] if mirrored else x))
            for place, row in zip(places, made.reshape(len(made), -1), strict=True):
                kept.add(marks[missing[place]], row)  # type: ignore[arg-type]
            done += len(x)
            if progress is not None:
                progress(done, len(missing))
    finally:
        kept.write()  # an interrupted run has this already
    found = [i for i, mark in enumerate(marks) if mark in kept.places]
    if not found:
        raise ValueError(f"none of the {len(paths)} photographs can be read")
    return Rows([kept.places[marks[i]] for i in found]), found  # type: ignore[index]


class Rows:
    """Rows of features in files, each by its file and its place there; iterating reads them in order, block by block."""

    def __init__(self, places: list[tuple[Path, int]]):
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[np.ndarray]:
        path, rows = None, np.zeros((0, 0), np.float32)
        for first in range(0, len(self.places), BLOCK):
            block = []
            for where, row in self.places[first : first + BLOCK]:
                if where != path:
                    path, rows = where, weights.read(where)[0]["rows"]
                block.append(rows[row])
            yield np.stack(block)

    def __getitem__(self, rows: Any) -> Rows:
        return Rows([self.places[i] for i in rows])


class _Kept:
    """Where the features of a file lie, by the hash of its bytes: one folder per network, size and mirroring."""

    def __init__(self, base: Any, size: int, mirrored: bool, cache: str | os.PathLike):
        self.places: dict[str, tuple[Path, int]] = {}
        self.new: dict[str, np.ndarray] = {}
        digest = hashlib.sha256(json.dumps([encode(base), encode(base.preprocessing), size, mirrored], sort_keys=True).encode())
        for name, weight in sorted(weights.named_weights(base).items()):
            digest.update(name.encode() + np.ascontiguousarray(weight).tobytes())
        self.folder = Path(cache) / f"features-{digest.hexdigest()[:24]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.glob("*.npz")):
            with contextlib.suppress(weights.WeightFileError):  # a damaged file's photographs are computed again
                arrays, config = weights.read(path)
                marks = (config or {}).get("marks", [])
                if len(arrays.get("rows", ())) == len(marks):
                    self.places.update((mark, (path, row)) for row, mark in enumerate(marks))

    def add(self, mark: str, row: np.ndarray) -> None:
        """Keep a row, and write a file when there are many."""
        self.new[mark] = row
        if len(self.new) == BLOCK:
            self.write()

    def write(self) -> None:
        """Write the rows that are in no file yet into a new one."""
        if self.new:
            path = self.folder / f"{_hash(''.join(self.new).encode())[:24]}.npz"  # another process's file is another one
            weights.write(path, {"rows": np.stack(list(self.new.values()))}, {"marks": list(self.new)})
            self.places.update((mark, (path, row)) for row, mark in enumerate(self.new))
            self.new = {}


def _mark(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _hash(file.read())
    except OSError:
        return None


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
