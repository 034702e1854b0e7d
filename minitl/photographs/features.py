"""What a pretrained network makes of photographs, computed once: kept by what is in the file, the network and the size."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minitl import weights
from minitl.photographs.images import batches
from minitl.serialization import encode


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
    kept = _Kept(base, size, mirrored, cache)
    marks = [_mark(path) for path in paths]
    missing = [i for i, mark in enumerate(marks) if mark is not None and mark not in kept.rows]
    done = 0
    for x, places in batches([paths[i] for i in missing], size, batch_size):
        made = base.predict_on_batch(base.preprocessing(x[:, :, ::-1] if mirrored else x))
        for place, row in zip(places, made.reshape(len(made), -1), strict=True):
            kept.rows[marks[missing[place]]] = row  # type: ignore[index]
        done += len(x)
        if progress is not None:
            progress(done, len(missing))
        if done % 512 < batch_size:
            kept.write()  # an interrupted run has this already
    if done:
        kept.write()
    found = [i for i, mark in enumerate(marks) if mark in kept.rows]
    if not found:
        raise ValueError(f"none of the {len(paths)} photographs can be read")
    return np.stack([kept.rows[marks[i]] for i in found]), found  # type: ignore[index]


class _Kept:
    """Rows of features by the hash of a file, in one file per network, size and mirroring."""

    def __init__(self, base: Any, size: int, mirrored: bool, cache: str | os.PathLike | None):
        self.rows: dict[str, np.ndarray] = {}
        self.path = None
        if cache is None:
            return
        digest = hashlib.sha256(json.dumps([encode(base), encode(base.preprocessing), size, mirrored], sort_keys=True).encode())
        for name, weight in sorted(weights.named_weights(base).items()):
            digest.update(name.encode() + np.ascontiguousarray(weight).tobytes())
        Path(cache).mkdir(parents=True, exist_ok=True)
        self.path = Path(cache) / f"features-{digest.hexdigest()[:24]}.npz"
        if self.path.exists():
            arrays, config = weights.read(self.path)
            self.rows = dict(zip((config or {}).get("marks", []), arrays.get("rows", []), strict=False))

    def write(self) -> None:
        """Keep what is there so far."""
        if self.path is not None and self.rows:
            weights.write(self.path, {"rows": np.stack(list(self.rows.values()))}, {"marks": list(self.rows)})


def _mark(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _hash(file.read())
    except OSError:
        return None


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
