"""Where a network looked: five ways to colour an image by what its class depends on, each a short function with its paper.

Every function takes a model, images as the model takes them, and class numbers (by default the most probable), and gives maps
(N, H, W), float64. Of a model with several inputs, the first is explained. `plot.explanation` draws them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.models import Model
from minitl.models.parts import between, opened, value_of


def gradients(model: Model, x: Any, classes: Any = None, scores: bool = True) -> np.ndarray:
    """The derivative of each image's class score with respect to its pixels.

    Formula: d s_c / d x, s_c the logit of class c where the last activation is a softmax (`scores`), else the output.
    Shapes: x (N, H, W, C), the result alike; of several inputs, a list, the first one's.
    Errors: ValueError for a model with several outputs.
    """
    y, back = _forward(model, x, scores)
    dy = np.zeros_like(y)
    dy[np.arange(len(y)), _classes(y, classes)] = 1
    return back(dy)


def saliency(model: Model, x: Any, classes: Any = None) -> np.ndarray:
    """The largest absolute derivative over the channels.

    Source: K. Simonyan, A. Vedaldi and A. Zisserman, arXiv 1312.6034.
    """
    return np.abs(gradients(model, x, classes)).max(axis=-1).astype(float)


def smooth_grad(model: Model, x: Any, classes: Any = None, samples: int = 16, noise: float = 0.15, seed: int = 0) -> np.ndarray:
    """The mean saliency of noisy copies: what flickers from pixel to pixel averages out.

    `noise` is the deviation as a share of the image's range.
    Source: D. Smilkov et al., arXiv 1706.03825.
    """
    classes = _classes(model.predict_on_batch(x), classes)
    images, given = _images(model, x)
    generator, spread = np.random.default_rng(seed), noise * (images.max() - images.min())
    total = np.zeros(images.shape)
    for _ in range(samples):
        total += gradients(model, given(images + generator.normal(0, spread, images.shape).astype(images.dtype)), classes)
    return np.abs(total / samples).max(axis=-1)


def integrated_gradients(model: Model, x: Any, classes: Any = None, baseline: Any = 0.0, steps: int = 64) -> np.ndarray:
    """How much each pixel adds to the score on the way from a baseline to the image.

    Formula: (x - b) times the mean of d s / d x over b + t (x - b), t in (0, 1), by the midpoint rule; it sums to s(x) - s(b).
    Shapes: the result is (N, H, W, C), signed: sum over the last axis to draw it.
    Source: M. Sundararajan, A. Taly and Q. Yan, arXiv 1703.01365.
    """
    classes = _classes(model.predict_on_batch(x), classes)
    images, given = _images(model, x)
    base = np.broadcast_to(np.asarray(baseline, images.dtype), images.shape)
    total = np.zeros(images.shape)
    for t in (np.arange(steps) + 0.5) / steps:
        total += gradients(model, given((base + t * (images - base)).astype(images.dtype)), classes)
    return (images - base) * total / steps


def grad_cam(model: Model, x: Any, classes: Any = None, layer: str | None = None) -> np.ndarray:
    """Which places of a layer's feature maps speak for the class.

    Formula: max(sum_k a_k A_k, 0), A_k the maps of `layer` (by default the last that is an image; that of a model inside is
    `model/layer`), a_k the mean over places of the score's derivative with respect to A_k; spread over the image by nearest
    neighbours.
    Shapes: (N, H, W); for films (N, T, H, W, C) and a layer that looks at their frames (N, T, H, W).
    Errors: ValueError for a layer that gives no image for each image of x, and for a model with several outputs.
    Source: R. Selvaraju et al., arXiv 1610.02391.
    """
    _check_one_output(model)
    flat = opened(model)
    if layer is None:
        found = (node.outputs[0] for node in reversed(flat.graph.nodes) if len(node.outputs[0].shape) == 4)
        middle = next(found, flat.outputs[0])
    else:
        middle = value_of(model, layer, flat)
    if len(middle.shape) != 4:
        raise ValueError(f"grad_cam: {layer or model.label} gives no image; choose a convolution")
    arrays = dict(zip(flat.inputs, model.by_input(x), strict=True))
    images = arrays[flat.inputs[0]]
    arrays[middle] = maps = _predicted(between(flat.inputs, middle), arrays)
    upper = between([middle, *flat.inputs], flat.outputs[0])  # the class may depend on x by other ways too
    slopes = gradients(upper, [arrays[value] for value in upper.inputs], _classes(_predicted(upper, arrays), classes))
    cam = np.maximum((slopes.mean(axis=(1, 2), keepdims=True) * maps).sum(axis=-1), 0)
    first = _first_of_rows(images)
    many, height, width = images.shape[:first], images.shape[first], images.shape[first + 1]
    if len(cam) != np.prod(many):
        raise ValueError(f"grad_cam: {layer or model.label} gives {len(cam)} images for inputs of shape {images.shape}")
    rows, columns = np.arange(height) * cam.shape[1] // height, np.arange(width) * cam.shape[2] // width
    return cam[:, rows][:, :, columns].reshape(*many, height, width).astype(float)


def occlusion(model: Model, x: Any, classes: Any = None, window: int = 16, stride: int = 8, value: float = 0.0) -> np.ndarray:
    """How much the class's probability falls when a square of the image is covered; of a film, of all frames at once.

    Shapes: (N, H, W).
    Source: M. Zeiler and R. Fergus, arXiv 1311.2901.
    """
    y = model.predict_on_batch(x)
    classes = _classes(y, classes)
    images, given = _images(model, x)
    whole = y[np.arange(len(y)), classes]
    first = _first_of_rows(images)
    height, width = images.shape[first : first + 2]
    total, times = np.zeros((len(images), height, width)), np.zeros((height, width))
    for top in range(0, max(height - window, 0) + 1, stride):
        for left in range(0, max(width - window, 0) + 1, stride):
            covered = images.copy()
            covered[(slice(None),) * first + (slice(top, top + window), slice(left, left + window))] = value
            fall = whole - model.predict_on_batch(given(covered))[np.arange(len(y)), classes]
            total[:, top : top + window, left : left + window] += fall[:, None, None]
            times[top : top + window, left : left + window] += 1
    return total / np.maximum(times, 1)


METHODS = {
    "saliency": saliency,
    "smooth-grad": smooth_grad,
    "integrated-gradients": integrated_gradients,
    "grad-cam": grad_cam,
    "occlusion": occlusion,
}


def _forward(model: Model, x: Any, scores: bool) -> tuple[np.ndarray, Any]:
    """The scores, and the way back to x, or to the first x, from their gradient."""
    _check_one_output(model)
    joint = (0,) if scores and model.output_activation in ("softmax", "sigmoid") else ()
    run = model.new_run(keep=True, need_dx=True, joint=joint)
    y = run.forward(model.prepare(x))[0]
    return (run.logits[0] if joint else y), lambda dy: run.backward([dy])[0]


def _check_one_output(model: Model) -> None:
    if len(model.outputs) != 1:
        raise ValueError(f"{model.label}: has {len(model.outputs)} outputs; explain one: Model(model.input, model.outputs[0])")


def _classes(y: np.ndarray, classes: Any) -> np.ndarray:
    return y.argmax(axis=-1) if classes is None else np.broadcast_to(np.asarray(classes), len(y))


def _predicted(part: Model, arrays: dict[Any, Any]) -> np.ndarray:
    given = [arrays[value] for value in part.inputs]
    return part.predict_on_batch(given if len(given) > 1 else given[0])


def _first_of_rows(images: np.ndarray) -> int:
    """The axis of the images' rows; films have their frames in front of it."""
    return max(1, images.ndim - 3)


def _images(model: Model, x: Any) -> tuple[np.ndarray, Callable[[np.ndarray], Any]]:
    """The images of the first input, and what gives the model others in their place."""
    first, *rest = model.by_input(x)
    return first, lambda images: [images, *rest] if rest else images
