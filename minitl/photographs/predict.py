"""What a trained model says of photographs, and how good it is on a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minitl.calibration import reliability
from minitl.metrics import confusion_matrix
from minitl.models import load_model
from minitl.photographs.head import interval
from minitl.photographs.images import batches
from minitl.preprocessing.image.files import EXTENSIONS
from minitl.preprocessing.image.folders import find_pictures


class Prediction(NamedTuple):
    """A file, the most probable class, and the probabilities of all classes by name; None for a file that cannot be read."""

    file: str
    label: str | None
    probabilities: dict[str, float] | None


def opened(model: Any) -> Any:
    """A model of photographs, from its file or as it is.

    Errors: ValueError for a model of another kind.
    """
    model = load_model(model) if isinstance(model, (str, os.PathLike)) else model
    if model.class_names is None or model.preprocessing is None or not model.built or len(model.graph.inputs[0].shape) != 4:
        raise ValueError("this model was not made by `minitl train`: it has no class names and no record of its images")
    return model


def predict(model: Any, sources: Iterable[str | os.PathLike], batch_size: int = 32) -> Iterable[Prediction]:
    """Classes of photographs: files, and all images in folders, in order; one after another, so that memory stays small.

    Errors: FileNotFoundError for a source that is not there; ValueError for a model of another kind.
    """
    model = opened(model)
    names, size = model.class_names, model.input_shape[1]
    paths = [path for source in sources for path in _files(source)]
    expected = 0
    for x, places in batches(paths, size, batch_size):
        made = model.predict_on_batch(model.preprocessing(x))
        for place, p in zip(places, made, strict=True):
            for missing in paths[expected:place]:
                yield Prediction(missing, None, None)
            expected = place + 1
            yield Prediction(paths[place], names[int(p.argmax())], {name: float(v) for name, v in zip(names, p, strict=True)})
    for missing in paths[expected:]:
        yield Prediction(missing, None, None)


def evaluate(model: Any, folder: str | os.PathLike) -> dict[str, Any]:
    """Accuracy with its interval, precision and recall of each class, the confusion, calibration, and the worst mistakes.

    Shapes: `confusion` (classes, classes), rows are the truth.
    Errors: ValueError for a folder whose classes the model does not know.
    """
    model = opened(model)
    names = model.class_names
    found = {name: files for name, files in find_pictures(folder).items() if files}
    unknown = sorted(set(found) - set(names))
    if unknown or not found:
        raise ValueError(f"{folder}: the model knows {', '.join(names)}; the folder has {', '.join(unknown or ['none of them'])}")
    truth = {os.path.join(folder, file): name for name, files in found.items() for file in files}
    made = list(predict(model, truth))
    read = [p for p in made if p.label is not None]
    true, said = ([names.index(label) for label in labels] for labels in ((truth[p.file] for p in read), (p.label for p in read)))
    matrix = confusion_matrix(np.array(true), np.array(said), len(names))
    right = int(np.trace(matrix))
    wrong = sorted((p for p in read if p.label != truth[p.file]), key=lambda p: -max((p.probabilities or {}).values()))
    probabilities = np.array([[(p.probabilities or {})[name] for name in names] for p in read])
    return {
        "calibration": reliability(probabilities, np.array(true)).error,
        "accuracy": 100 * right / len(read),
        "interval": interval(right, len(read)),
        "photographs": len(read),
        "unreadable": [p.file for p in made if p.label is None],
        "precision": {n: _share(matrix[i, i], matrix[:, i].sum()) for i, n in enumerate(names)},
        "recall": {n: _share(matrix[i, i], matrix[i].sum()) for i, n in enumerate(names)},
        "confusion": matrix,
        "mistakes": [(p.file, truth[p.file], p.label, max((p.probabilities or {}).values())) for p in wrong],
    }


def _files(source: str | os.PathLike) -> list[str]:
    path = Path(source)
    if path.is_dir():
        return sorted(str(file) for file in path.rglob("*") if file.suffix.lower() in EXTENSIONS and "__MACOSX" not in file.parts)
    if not path.exists():
        raise FileNotFoundError(f"no file or folder {source}")
    return [str(path)]


def _share(part: int, whole: int) -> float:
    return 100 * float(part / whole) if whole else 0.0
