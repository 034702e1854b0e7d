"""A classifier on features: softmax regression, its regularization chosen by cross-validation on the training data.

Formula: minimise L(W, b) = sum_i a_i (-log softmax(z_i W + b)[y_i]) + strength / 2 |W|^2, z the standardized features, a_i the
weight of a sample, sum a = 1. L is convex and has one minimum. Its second derivative is nowhere larger than
H = 1/2 z^T diag(a) z + strength (for every class; a column of ones in z stands for b), so that W -= H^-1 dL/dW never goes up:
H is inverted once, and Nesterov's momentum, begun anew where it leads uphill, makes the steps fewer.
Source: D. Boehning, Multinomial logistic regression algorithm, Ann. Inst. Statist. Math. 44, 1992; B. O'Donoghue and
E. Candes, Adaptive restart for accelerated gradient schemes, Found. Comput. Math. 15, 2015.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from minitl.ops import softmax

STRENGTHS = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
FOLDS = 5
STEPS, TOLERANCE = 100, 3e-5  # at most so many, or until dL/dW has shrunk to that share of its first size


def fit(x: Any, y: np.ndarray, strength: float, classes: int, balanced: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of the classifier, for features as they are.

    `x` is an array, or anything that gives it block by block, again and again. `balanced` weights samples so that classes
    count alike.
    Shapes: x (N, F), y (N,) class numbers; kernel (F, classes), bias (classes,), float32.
    """
    return Regression(x, y, classes, balanced).solved(strength)


class Regression:
    """Samples that a classifier is fitted to, with all that does not depend on the strength."""

    def __init__(self, x: Any, y: np.ndarray, classes: int, balanced: bool = True):
        counts = np.maximum(np.bincount(y, minlength=classes), 1)
        self.y, self.classes = y, classes
        self.weights = (len(y) / classes / counts if balanced else np.ones(classes))[y] / len(y)
        self.weights /= self.weights.sum()
        self.standard, self.turned, self.blocks = isinstance(x, np.ndarray), None, x
        self.mean, self.spread = _moments([x] if self.standard else x)
        size = len(self.mean) + 1
        if self.standard:
            z = self._standardized(x)
            if len(z) < size - 1:  # W is a sum of samples, so that a few samples need as few coordinates: z = U S V^T, W = V w
                u, s, v = np.linalg.svd(z[:, :-1].astype(np.float64), full_matrices=False)
                self.turned, z, size = v.T, np.concatenate([u * s, z[:, -1:]], axis=1).astype(np.float32), len(s) + 1
            self.blocks = [z]
        self.bound = np.zeros((size, size))
        for rows, z in self._parts():
            self.bound += z.T @ (z * (0.5 * self.weights[rows, None]).astype(z.dtype))

    def solved(self, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias for one strength."""
        penalty = np.full((len(self.bound), 1), float(strength))
        penalty[-1] = 0  # the bias is free
        inverse = np.linalg.inv(self.bound + np.diag(penalty[:, 0]))
        old = ahead = np.zeros((len(self.bound), self.classes))
        momentum, least = 1.0, 0.0
        for _ in range(STEPS):
            slope = self._slope(ahead) + penalty * ahead
            least = least or TOLERANCE * np.abs(slope).max()
            if np.abs(slope).max() <= least:
                break
            new = ahead - inverse @ slope
            if np.vdot(new - old, slope) > 0:
                momentum = 1.0
            faster = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            ahead, old, momentum = new + (momentum - 1) / faster * (new - old), new, faster
        kernel = (ahead[:-1] if self.turned is None else self.turned @ ahead[:-1]) / self.spread[:, None]
        return kernel.astype(np.float32), (ahead[-1] - self.mean @ kernel).astype(np.float32)

    def _slope(self, w: np.ndarray) -> np.ndarray:
        """dL/dW without the penalty: sum_i a_i z_i (p_i - target_i)."""
        slope = np.zeros_like(w)
        for rows, z in self._parts():
            p, _ = softmax.forward((z @ w.astype(z.dtype)).astype(np.float64))
            p[np.arange(len(p)), self.y[rows]] -= 1
            slope += z.T @ (p * self.weights[rows, None]).astype(z.dtype)
        return slope

    def _parts(self) -> Iterator[tuple[slice, np.ndarray]]:
        first = 0
        for block in self.blocks:
            z = block if self.standard else self._standardized(block)
            yield slice(first, first + len(z)), z
            first += len(z)

    def _standardized(self, block: np.ndarray) -> np.ndarray:
        ones = np.ones((len(block), 1), np.float32)
        return np.concatenate([((block - self.mean) / self.spread).astype(np.float32), ones], axis=1)


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
        known = Regression(x[~held], y[~held], classes)
        for strength in STRENGTHS:
            kernel, bias = known.solved(strength)
            right[strength] += float(((x[held] @ kernel + bias).argmax(axis=1) == y[held]).sum())
    found = {strength: 100 * count / len(x) for strength, count in right.items()}
    return max(found, key=lambda s: (found[s], s)), found


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, per cent."""
    z, share = 1.96, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count**2)) / (1 + z * z / count)
    return 100 * (middle - half), 100 * (middle + half)


def _moments(blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every feature; the deviation a little larger, for those that never change."""
    count, total, squares = 0, 0.0, 0.0
    for block in blocks:
        exact = block.astype(np.float64)
        count, total, squares = count + len(exact), total + exact.sum(axis=0), squares + (exact * exact).sum(axis=0)
    mean = np.asarray(total) / count
    return mean, np.sqrt(np.maximum(np.asarray(squares) / count - mean * mean, 0)) + 1e-3
