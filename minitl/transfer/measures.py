"""What fine-tuning did to a network: how far weights moved, how alike representations stayed, where gradients are large."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl import objective
from minitl.batches import ArrayBatches, rows
from minitl.finite import layer_outputs
from minitl.layers.base import Layer
from minitl.models import Model


def linear_cka(a: np.ndarray, b: np.ndarray) -> float:
    """How alike two representations of the same samples are: 1 for a rotation or scaling of one another, 0 for nothing shared.

    Formula: |A^T B|^2 / (|A^T A| |B^T B|), Frobenius norms, A and B with the mean of every column taken off.
    Shapes: (N, ...) each, flattened to (N, features).
    Errors: ValueError for different numbers of samples.
    Source: S. Kornblith et al., Similarity of neural network representations revisited, arXiv 1905.00414.
    """
    if len(a) != len(b):
        raise ValueError(f"linear_cka: the same samples are needed on both sides, got {len(a)} and {len(b)}")
    # Through the N x N Gram matrices, which are small whatever the number of features.
    gram_a, gram_b = (_centred_gram(np.asarray(m).reshape(len(m), -1)) for m in (a, b))
    norm = np.sqrt((gram_a**2).sum() * (gram_b**2).sum())
    return float((gram_a * gram_b).sum() / norm) if norm else 0.0


def layer_similarity(before: Model, after: Model, x: Any, batch_size: int = 256) -> dict[str, float]:
    """Linear CKA of every layer's output in two networks, for layers of the same name in both; at most 1000 samples are useful.

    Shapes: x (N, ...), or of several inputs a list or a dictionary.
    Errors: ValueError when the two have no layer name in common.
    """
    outputs = [_outputs(model, x, batch_size) for model in (before, after)]
    common = [name for name in outputs[0] if name in outputs[1]]
    if not common:
        raise ValueError("layer_similarity: the two networks have no layer name in common")
    return {name: linear_cka(outputs[0][name], outputs[1][name]) for name in common}


def weight_distance(before: Model, after: Model) -> dict[str, float]:
    """How far every layer's weights moved, relative to their size: |w - w0| / |w0|, for layers of the same name and shapes.

    Errors: none; layers that the two do not share are left out.
    """
    old = dict(before.named_layers())
    distances = {}
    for path, layer in after.named_layers():
        start = old.get(path)
        if layer.parameters and start is not None and _shapes(start) == _shapes(layer):
            moved = sum(float(((w - start.parameters[n]) ** 2).sum()) for n, w in layer.parameters.items())
            size = sum(float((w**2).sum()) for w in start.parameters.values())
            distances[path] = float(np.sqrt(moved / size)) if size else float(np.sqrt(moved))
    return distances


def gradient_norms(model: Model, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """The effective gradient of every trainable layer: its gradient's norm over its weights' norm, |g| / |w|.

    Shapes: one batch x and y of a compiled model, which is not changed.
    Errors: as training raises them.
    """
    trained = objective.trained_layers(model)
    found = objective.forward_loss(model, trained, x, y, None, training=False, keep=True)
    found.run.backward(found.output_gradients())
    squares: dict[str, list[float]] = {}
    for path, w, g in objective.updates(trained, found.run):
        sums = squares.setdefault(path.rpartition("/")[0], [0.0, 0.0])
        sums[0] += float((g**2).sum())
        sums[1] += float((w**2).sum())
    return {path: float(np.sqrt(g / w)) if w else float("inf") for path, (g, w) in squares.items()}


def _centred_gram(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(axis=0)
    return (rows @ rows.T).astype(np.float64)


def _outputs(model: Model, x: Any, batch_size: int) -> dict[str, np.ndarray]:
    """What every layer gives; side by side where it gives several, or is used several times."""
    data = ArrayBatches(x)
    outputs: list[tuple[str, np.ndarray]] = []
    for start in range(0, data.samples, batch_size):
        batch = rows(data.x, slice(start, start + batch_size))
        for number, (layer, y) in enumerate(layer_outputs(model, model.prepare(batch))):
            if start == 0:
                outputs.append((str(layer.name), np.empty((data.samples, *y.shape[1:]), y.dtype)))
            outputs[number][1][start : start + len(y)] = y
    found: dict[str, list[np.ndarray]] = {}
    for name, array in outputs:
        found.setdefault(name, []).append(array)
    return {
        name: arrays[0] if len(arrays) == 1 else np.hstack([array.reshape(len(array), -1) for array in arrays])
        for name, arrays in found.items()
    }


def _shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    return {name: w.shape for name, w in layer.parameters.items()}
