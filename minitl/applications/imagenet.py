"""ImageNet's classes, and what its networks want their images to look like."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from minitl.errors import unknown
from minitl.graph.value import Value
from minitl.preprocessing.record import Preprocessing

# Each a Preprocessing: y = (x scale - mean) / std, of images 0 .. 255.
MODES = {
    "tf": {"scale": 1 / 127.5, "mean": 1.0},
    "caffe": {"scale": 1.0, "mean": [103.939, 116.779, 123.68], "channels": "bgr"},
    "torch": {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "lite": {"scale": 1 / 128, "mean": 127 / 128},
    "none": {"scale": 1.0},
    "squeezenet": {"scale": 1.0, "mean": [123.0, 117.0, 104.0]},
}


def preprocessing(mode: str, size: tuple[int, int] | None = None) -> Preprocessing:
    """What a kind of network was trained on, as a record that stays with a model.

    Errors: ValueError for an unknown mode.
    """
    if mode not in MODES:
        raise unknown("preprocessing mode", mode, MODES)
    return Preprocessing(size=size, **MODES[mode])  # type: ignore[arg-type]


def preprocess_input(x: Any, data_format: str | None = None, mode: str = "caffe") -> Any:
    """Images 0 .. 255, RGB, as a network of some kind wants them; for a value, the value of layers that make them so.

    Formula: "tf": x / 127.5 - 1; "caffe": BGR, less the channels' means; "torch": x / 255, less means, over deviations.
    Shapes: x (N, H, W, 3) or (H, W, 3); the result float32.
    Errors: ValueError for an unknown mode, or channels first.
    Source: `keras.applications`.
    """
    from minitl.preprocessing.image.files import check_data_format

    check_data_format(data_format)
    record = preprocessing(mode)
    return _prepared(x, record) if isinstance(x, Value) else record(x)


def decode_predictions(predictions: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """The most probable classes of each image: (WordNet id, name, probability), the best first.

    Shapes: predictions (N, 1000).
    Errors: ValueError for another shape.
    """
    p = np.asarray(predictions)
    if p.ndim != 2 or p.shape[1] != 1000:
        raise ValueError(f"decode_predictions: expected predictions (N, 1000), got shape {p.shape}")
    names = classes()
    best = np.argsort(-p, axis=1, kind="stable")[:, :top]
    return [[(*names[c], float(row[c])) for c in order] for row, order in zip(p, best, strict=True)]


@functools.cache
def classes() -> list[tuple[str, str]]:
    """WordNet id and name of the 1,000 classes, in the order of the outputs."""
    lines = (Path(__file__).parent / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return [(line.split(" ")[0], line.split(" ")[1]) for line in lines]


def _prepared(x: Value, record: Preprocessing) -> Value:
    """The same by layers, of a value such as a model's input."""
    from minitl.layers import Rescaling

    turned, std = x[..., ::-1] if record.channels == "bgr" else x, np.asarray(record.std)
    return Rescaling((record.scale / std).tolist(), (-np.asarray(record.mean) / std).tolist())(turned)
