"""Prediction from several views of an image: mirrored, and shifted by a pixel. The mean of their outputs is more often right."""

from __future__ import annotations

from typing import Any

import numpy as np


def predict_views(model: Any, x: np.ndarray, mirror: bool = True, shift: int = 0, batch_size: int = 500) -> np.ndarray:
    """The mean of a model's outputs over views of each image; labels of a classifier stay what they are.

    Formula: the image and, with `mirror`, its mirror image; with `shift`, half of the weight goes to both when they are moved by
    so many pixels, up and left, and down and right, edges reflected.
    Shapes: x (N, H, W, C); the model's outputs, (N, ...).
    Errors: ValueError for a negative shift.
    Source: K. Jordan, arXiv 2404.00498, section 3.5.
    """
    if shift < 0:
        raise ValueError(f"predict_views: shift must not be negative, got {shift}")
    outputs = _mirrored(model, x, mirror, batch_size)
    if not shift:
        return outputs
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="reflect")
    corners = (padded[:, :height, :width], padded[:, 2 * shift :, 2 * shift :])
    return (outputs + sum(_mirrored(model, corner, mirror, batch_size) for corner in corners) / 2) / 2


def _mirrored(model: Any, x: np.ndarray, mirror: bool, batch_size: int) -> np.ndarray:
    outputs = model.predict(np.ascontiguousarray(x), batch_size=batch_size, verbose=0)
    if not mirror:
        return outputs
    return (outputs + model.predict(np.ascontiguousarray(x[:, :, ::-1]), batch_size=batch_size, verbose=0)) / 2
