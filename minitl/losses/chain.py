"""The loss of a whole sequence of labels."""

from __future__ import annotations

import numpy as np

from minitl.backend import op
from minitl.errors import wrong_shape
from minitl.losses.base import Loss


class ChainCrossentropy(Loss):
    """Minus the logarithm of the probability of the right sequence of labels, among all sequences.

    Formula: mean over sequences of log Z - score.
    Shapes: y_true (N, T) whole numbers, -1 behind a sequence's end; y_pred (N, T, K, K) potentials, as `layers.Transitions`
    makes.
    Errors: ValueError for labels that do not fit.
    Source: `minitl.ops.crf`.
    """

    operation = "crf"

    def prepare(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Labels as whole numbers."""
        if y_true.shape != y_pred.shape[:2]:
            raise wrong_shape(
                f"loss {self.name}: targets", y_pred.shape[:2], y_true.shape, "one label per step, -1 behind the end"
            )
        return y_true.astype(np.int64)

    def of_rows(self, targets: np.ndarray, y_pred: np.ndarray, from_logits: bool) -> np.ndarray:
        """The loss of every sequence."""
        losses = [op(self.operation).forward(p[None], t[None], None)[0] for p, t in zip(y_pred, targets, strict=True)]
        return np.array(losses, y_pred.dtype)

    def losses_shape(self, y_pred: np.ndarray) -> tuple[int, ...]:
        """One loss per sequence."""
        return y_pred.shape[:1]
