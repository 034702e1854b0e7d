"""Features computed once: what a frozen base makes of some images, kept on disk under a key of all that it depends on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from minitl import weights as weight_files
from minitl.models import Model
from minitl.preprocessing.record import Preprocessing
from minitl.serialization import encode
from minitl.transfer.surgery import feature_extractor


def extract_features(
    model: Model,
    x: Any,
    at: str | int | None = None,
    cache: str | os.PathLike | None = None,
    batch_size: int = 256,
    preprocessing: Preprocessing | None = None,
) -> np.ndarray:
    """The outputs of the layer `at` (by default the one under the head) for some images, computed or from a cache.

    `cache` is a folder, which keeps every result under its own key, or one .npz file. The key is a hash of the weights and the
    architecture up to `at`, of the preprocessing, and of the images. A head that is trained on them becomes
    bitwise the head that is trained on top of the frozen base (with the numba backend; BLAS depends on the batch).
    `preprocessing` says what the images went through, to be compared with what the base was trained with.
    Shapes: x (N, ...), of several inputs a list or a dictionary, result (N, ...) as the layer gives it.
    Errors: ValueError for a file that was made with other weights or data, for inputs that were not prepared as the base was
    trained, and when the base draws random numbers while training (dropout, noise, augmentation): features cannot stand for it.
    """
    extractor = feature_extractor(model, at)
    check_deterministic(extractor)
    if model.preprocessing is not None:
        model.preprocessing.check(x, "extract_features", preprocessing)
    if cache is None:
        return extractor.predict(x, batch_size=batch_size, verbose=0)
    key = features_key(extractor, x)
    path = Path(cache)
    if path.suffix != ".npz":
        path.mkdir(parents=True, exist_ok=True)
        path = path / f"features-{key[:32]}.npz"
    if path.exists():
        arrays, config = weight_files.read(path)
        if config is None or config.get("key") != key or "features" not in arrays:
            raise ValueError(f"{path} was made with other weights, data or preprocessing; delete it, or give a folder as cache")
        return arrays["features"]
    features = extractor.predict(x, batch_size=batch_size, verbose=0)
    weight_files.write(path, {"features": features}, {"key": key})
    return features


def features_key(model: Model, x: Any) -> str:
    """A hash of all that features depend on: architecture, weights, preprocessing, and the data."""
    digest = hashlib.sha256(json.dumps([encode(model), encode(model.preprocessing)], sort_keys=True).encode())
    for name, weight in sorted(weight_files.named_weights(model).items()):
        digest.update(f"{name} {weight.dtype} {weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    for part in model.by_input(x):
        array = np.ascontiguousarray(part)
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def check_deterministic(model: Model) -> None:
    """Raise ValueError when a layer draws random numbers while training, so that features cannot be computed once."""
    for path, layer in model.named_layers():
        if layer.draws:
            what = f"{path} ({type(layer).__name__}) draws other random numbers in every step"
            raise ValueError(f"{what}, so that features cannot be computed once; cut below it")
