"""Whether probabilities can be believed: a reliability table, and the temperature that mends them.

    table = reliability(probabilities, labels)
    heat = temperature(validation_probabilities, validation_labels)
    probabilities = tempered(probabilities, heat)

The temperature is found on data that training has not seen, and is measured on others.
Source: C. Guo et al., On calibration of modern neural networks, arXiv 1706.04599.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SMALLEST = 1e-12  # of a probability whose logarithm is taken


class Reliability(NamedTuple):
    """What was said and what came true, by how sure the model was.

    Attributes: per bin `counts`, mean `confidence` and `accuracy` (NaN where a bin is empty); `error`, the expected calibration
    error sum_b count_b / N |accuracy_b - confidence_b|, between 0 and 1.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> Reliability:
    """Accuracy by confidence, in bins of one width; the confidence is the largest probability.

    Shapes: probabilities (N, classes), labels (N,).
    Errors: ValueError for probabilities that do not add up to 1, or labels that do not fit.
    """
    labels = _checked(probabilities, labels)
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((sure * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, sure, bins) / count
        accuracy = np.bincount(place, right, bins) / count
    error = float(np.nansum(count * np.abs(accuracy - confidence)) / len(labels))
    return Reliability(count, confidence, accuracy, error)


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities made less sure by a temperature above 1, surer by one below; their order stays.

    Formula: softmax(log p / temperature).
    Errors: ValueError for a temperature that is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"tempered: the temperature must be positive, got {temperature}")
    logits = np.log(np.maximum(probabilities, SMALLEST)) / temperature
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the smallest cross-entropy.

    Formula: with b = 1 / temperature, the mean of -log softmax(b log p)[label] is convex in b; its derivative,
    mean(sum_c q_c log p_c - log p_label), q = softmax(b log p), rises through 0 at the minimum, which halving finds.
    Shapes: as `reliability`.
    Returns: a number between 0.01 and 100.
    """
    labels = _checked(probabilities, labels)
    logs = np.log(np.maximum(probabilities, SMALLEST))
    chosen = logs[np.arange(len(logs)), labels]
    low, high = 0.01, 100.0
    for _ in range(60):
        middle = np.sqrt(low * high)
        slope = np.mean((tempered(probabilities, 1 / middle) * logs).sum(axis=1) - chosen)
        low, high = (middle, high) if slope < 0 else (low, middle)
    return float(1 / np.sqrt(low * high))


def _checked(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels).reshape(-1).astype(int)
    if probabilities.ndim != 2 or len(labels) != len(probabilities) or not len(labels):
        raise ValueError(
            f"calibration: expected probabilities (N, classes) and N labels, got {probabilities.shape} and {len(labels)}"
        )
    if np.abs(probabilities.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError("calibration: the rows do not add up to 1; give a softmax's outputs, not logits")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(f"calibration: labels must be 0 to {probabilities.shape[1] - 1}, got {labels.min()} to {labels.max()}")
    return labels
