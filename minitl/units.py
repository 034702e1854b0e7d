"""What the parts of a network answer to: feature maps, the images that a unit answers most, an image made for it, neighbours.

    maps = feature_maps(model, x, "conv2d_1")                   (N, H, W, filters)
    best = strongest(model, x, "conv2d_1", unit=7)              rows of x, and their answers
    image = preferred_input(model, "conv2d_1", unit=7)          by gradient ascent on the pixels
    rows, cosines = nearest(features, queries)                  images that the network sees alike

`plot.images` draws what they give.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.models import Model
from minitl.models.parts import between, opened, value_of


def feature_maps(model: Model, x: np.ndarray, layer: str, batch_size: int = 32) -> np.ndarray:
    """The outputs of a layer, by its name; that of a layer of a model inside is `model/layer`.

    Shapes: x (N, H, W, C), the result (N, h, w, filters), or (N, units).
    Errors: ValueError for a layer that is not there.
    """
    return _upto(model, layer).predict(x, batch_size=batch_size, verbose=0)


def strongest(
    model: Model, x: np.ndarray, layer: str, unit: int, count: int = 9, batch_size: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """The images to which a unit answers most, and its answers; a filter's answer is the largest in its map.

    Shapes: rows of x (count,), from the strongest on, and answers (count,).
    Errors: ValueError for a layer or a unit that is not there.
    Source: M. Zeiler and R. Fergus, arXiv 1311.2901.
    """
    cut = _upto(model, layer)
    _check_unit(cut, unit)
    answers = []
    for first in range(0, len(x), batch_size):
        maps = cut.predict_on_batch(x[first : first + batch_size])
        answers.append(maps.reshape(len(maps), -1, maps.shape[-1])[:, :, unit].max(axis=1))
    answer = np.concatenate(answers)
    rows = np.argsort(-answer, kind="stable")[:count]
    return rows, answer[rows]


def preferred_input(
    model: Model, layer: str, unit: int, steps: int = 100, rate: float = 0.1, shift: int = 2, decay: float = 0.01,
    start: Any = None, seed: int = 0,
) -> np.ndarray:  # fmt: skip
    """An image that makes a unit answer strongly: gradient ascent on the pixels, moved a little before every step.

    Formula: x += rate g / |g|_rms - decay x, where g is d mean(max(a, 0)) / d x, a the unit's map (where nothing is positive, of
    its largest place), computed for x rolled by up to `shift` pixels and rolled back, so that no fine pattern is rewarded.
    It begins with noise of deviation 0.1, or `start`. The answer is not bounded above, so that only the look of the image
    means something, not the number.
    Shapes: the image (H, W, C), in what the model takes, not in bytes.
    Errors: ValueError for a layer or unit that is not there, or a model whose image size is open.
    Source: D. Erhan et al. 2009; the small moves A. Mordvintsev, C. Olah and M. Tyka 2015.
    """
    shape = model.input_shape[1:]
    if len(shape) != 3 or None in shape:
        raise ValueError(f"preferred_input: needs a model of images of one size, got input shape {model.input_shape}")
    cut, random = _upto(model, layer), np.random.default_rng(seed)
    _check_unit(cut, unit)
    x = random.normal(0, 0.1, (1, *shape)) if start is None else np.array(start, float).reshape(1, *shape)
    for _ in range(steps):
        moved = tuple(random.integers(-shift, shift + 1, 2))
        run = cut.new_run(keep=True, need_dx=True)
        y = run.forward(cut.prepare(np.roll(x, moved, axis=(1, 2)).astype(np.float32)))[0]
        dy = np.zeros_like(y)
        answer = y[..., unit]
        dy[..., unit] = answer > min(0, answer.max() - 1e-6)
        slope = np.roll(np.asarray(run.backward([dy])[0]), (-moved[0], -moved[1]), axis=(1, 2))
        x += rate * slope / (np.sqrt(np.mean(slope**2)) + 1e-12) - decay * x
    return x[0].astype(np.float32)


def nearest(features: np.ndarray, queries: np.ndarray, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """The rows of `features` whose direction is most like each query's, with the cosines.

    Formula: cos = f q / (|f| |q|), features less their mean, so that what all images share does not count.
    Shapes: features (N, F), queries (M, F), rows and cosines (M, count).
    Errors: ValueError for features of another width.
    """
    if features.ndim != 2 or queries.ndim != 2 or features.shape[1] != queries.shape[1]:
        raise ValueError(f"nearest: expected (N, F) and (M, F), got {features.shape} and {queries.shape}")
    middle = features.mean(axis=0)
    a, b = (z - middle for z in (features, queries))
    a, b = (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12) for z in (a, b))
    cosines = b @ a.T
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return rows, np.take_along_axis(cosines, rows, axis=1)


def _upto(model: Model, layer: str) -> Model:
    flat = opened(model)
    return between(flat.inputs, value_of(model, layer, flat))


def _check_unit(cut: Model, unit: int) -> None:
    units = cut.output_shape[-1]
    if not 0 <= unit < units:
        raise ValueError(f"layer {cut.layers[-1].name!r} has units 0 to {units - 1}, got {unit}")
