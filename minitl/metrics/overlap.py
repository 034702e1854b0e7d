"""Intersection over union: how far what was found covers what is there, class by class."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.metrics.means import Metric, alike, spread


class IoU(Metric):
    """The overlap of some classes, averaged over them.

    Formula: of a class, hits / (hits + false alarms + misses), over all batches; classes that never occur are left out.
    Parameters: `target_class_ids` are the classes; a number whose target is `ignore_class`, or no class, does not count;
    `sparse_y_true` and `sparse_y_pred` say that class numbers come, else one number per class along `axis`.
    Shapes: y_true and y_pred of any shape, alike; without class numbers (..., num_classes).
    """

    def __init__(
        self, num_classes: int, target_class_ids: Any, name: str = "io_u", dtype: Any = None, ignore_class: int | None = None,
        sparse_y_true: bool = True, sparse_y_pred: bool = True, axis: int = -1,
    ):  # fmt: skip
        self.num_classes, self.target_class_ids, self.ignore_class = num_classes, list(target_class_ids), ignore_class
        self.sparse_y_true, self.sparse_y_pred, self.axis = sparse_y_true, sparse_y_pred, axis
        wrong = [number for number in self.target_class_ids if not 0 <= number < num_classes]
        if wrong:
            raise ValueError(f"{type(self).__name__}: target_class_ids must be below num_classes={num_classes}, got {wrong}")
        super().__init__(name)

    def reset_state(self) -> None:
        """Begin anew."""
        self.matrix = np.zeros((self.num_classes, self.num_classes))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        t, p = self.class_numbers(np.asarray(y_true), np.asarray(y_pred))
        weights = spread(sample_weight, t.shape).reshape(-1)
        t, p = t.reshape(-1).astype(int), p.reshape(-1).astype(int)
        counts = (t >= 0) & (t < self.num_classes) & (p >= 0) & (p < self.num_classes) & (t != self.ignore_class)
        places = t[counts] * self.num_classes + p[counts]
        self.matrix += np.bincount(places, weights[counts], minlength=self.matrix.size).reshape(self.matrix.shape)

    def class_numbers(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Targets and predictions as numbers of classes."""
        t = y_true if self.sparse_y_true else y_true.argmax(axis=self.axis)
        p = y_pred if self.sparse_y_pred else y_pred.argmax(axis=self.axis)
        return alike(t, p), p

    def result(self) -> float:
        """The mean; 0 before the first batch."""
        hits = np.diag(self.matrix)
        union = self.matrix.sum(0) + self.matrix.sum(1) - hits
        chosen = np.zeros(self.num_classes, bool)
        chosen[self.target_class_ids] = True
        there = chosen & (union > 0)
        return float((hits[there] / union[there]).mean()) if there.any() else 0.0


class MeanIoU(IoU):
    """The overlap of all classes; see `IoU`. Predictions with one number per class are recognised by their shape, too."""

    def __init__(
        self, num_classes: int, name: str = "mean_io_u", dtype: Any = None, ignore_class: int | None = None,
        sparse_y_true: bool = True, sparse_y_pred: bool = True, axis: int = -1,
    ):  # fmt: skip
        super().__init__(num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)

    def class_numbers(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Targets and predictions as numbers of classes."""
        if self.sparse_y_pred and y_pred.ndim and y_pred.shape[-1] == self.num_classes and y_pred.size != y_true.size:
            y_pred = y_pred.argmax(axis=-1)
        return super().class_numbers(y_true, y_pred)


class BinaryIoU(IoU):
    """The overlap of no (0) and yes (1), where predictions at or above the threshold are yes; see `IoU`.

    Shapes: y_true 0 or 1 and y_pred in [0, 1], alike.
    """

    def __init__(
        self, target_class_ids: Any = (0, 1), threshold: float = 0.5, name: str = "binary_io_u", dtype: Any = None
    ):  # fmt: skip
        self.threshold = threshold
        super().__init__(2, target_class_ids, name, dtype)

    def class_numbers(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """0 or 1."""
        return alike(y_true, y_pred), y_pred >= self.threshold

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; there are always two classes."""
        return {name: getattr(self, name) for name in ("target_class_ids", "threshold", "name", "dtype")}


class OneHotIoU(IoU):
    """`IoU` of one-hot targets and one number per class."""

    def __init__(
        self, num_classes: int, target_class_ids: Any, name: str = "one_hot_io_u", dtype: Any = None,
        ignore_class: int | None = None, sparse_y_pred: bool = False, axis: int = -1,
    ):  # fmt: skip
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; targets are one-hot."""
        return {key: value for key, value in super().get_config().items() if key != "sparse_y_true"}


class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` of one-hot targets and one number per class."""

    def __init__(
        self, num_classes: int, name: str = "one_hot_mean_io_u", dtype: Any = None, ignore_class: int | None = None,
        sparse_y_pred: bool = False, axis: int = -1,
    ):  # fmt: skip
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)
