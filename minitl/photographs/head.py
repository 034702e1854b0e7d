"""A classifier on features: softmax regression, its regularization chosen by cross-validation on the training data.

Formula: minimise mean_i w_i (-log softmax(x_i W + b)[y_i]) + strength / 2 |W|^2 over standardized features, convex, so that
it has one solution: found by Nesterov's accelerated gradient steps of the length that the largest eigenvalue allows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

STRENGTHS = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
FOLDS = 5
STEPS = 300


def fit(x: np.ndarray, y: np.ndarray, strength: float, classes: int, balanced: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of the classifier, for features as they are.

    `balanced` weights samples so that classes count alike.
    Shapes: x (N, F), y (N,) class numbers; kernel (F, classes), bias (classes,), float32.
    """
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-3
    z = ((x - mean) / spread).astype(np.float64)
    target = np.eye(classes)[y]
    share = (len(y) / classes / np.maximum(np.bincount(y, minlength=classes), 1))[y] if balanced else np.ones(len(y))
    # Where there are fewer samples than features, W = z^T a: the work is done in N dimensions.
    kernel, bias = np.zeros((z.shape[1], classes)), np.zeros(classes)
    largest = np.linalg.eigvalsh(z @ z.T if len(z) <= z.shape[1] else z.T @ z)[-1] / len(z)
    length = 1 / (0.5 * largest * share.max() + strength)
    ahead, ahead_bias, momentum = kernel, bias, 1.0
    for _ in range(STEPS):
        logits = z @ ahead + ahead_bias
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        slope = (p / p.sum(axis=1, keepdims=True) - target) * (share / len(z))[:, None]
        new, new_bias = ahead - length * (z.T @ slope + strength * ahead), ahead_bias - 0.5 * slope.sum(axis=0)
        faster = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead, ahead_bias = (b + (momentum - 1) / faster * (b - a) for a, b in ((kernel, new), (bias, new_bias)))
        kernel, bias, momentum = new, new_bias, faster
    kernel = kernel / spread[:, None]
    return kernel.astype(np.float32), (bias - mean @ kernel).astype(np.float32)


def chosen(x: np.ndarray, y: np.ndarray, classes: int, seed: int, groups: Any = None) -> tuple[float, dict[float, float]]:
    """The strength whose classifier is best on parts of the training data that it has not seen, and all accuracies, per cent.

    `groups` keeps samples of one photograph (and its mirror image) in one part.
    """
    groups = np.arange(len(x)) if groups is None else np.asarray(groups)
    parts = np.random.default_rng(seed).permutation(groups.max() + 1) % FOLDS
    right = dict.fromkeys(STRENGTHS, 0.0)
    for fold in range(FOLDS):
        held = parts[groups] == fold
        if not held.any() or len(np.unique(y[~held])) < classes:
            continue
        for strength in STRENGTHS:
            kernel, bias = fit(x[~held], y[~held], strength, classes)
            right[strength] += float(((x[held] @ kernel + bias).argmax(axis=1) == y[held]).sum())
    found = {strength: 100 * count / len(x) for strength, count in right.items()}
    return max(found, key=lambda s: (found[s], s)), found


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, per cent."""
    z, share = 1.96, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count**2)) / (1 + z * z / count)
    return 100 * (middle - half), 100 * (middle + half)
