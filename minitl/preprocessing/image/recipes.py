"""The recipes of the CIFAR records: small functions of a batch and a generator, to be composed.

    augment = compose(pad_and_crop(4), alternating_flip(), cutout(8))
    model.fit(augmented(x, y, augment, batch_size=128, seed=0), epochs=10)

Each is made with its settings and then called with a batch: `x, y = step(x, y, rows, epoch, random)`, rows the samples' numbers.
Sources: K. He et al., arXiv 1512.03385 (pad and crop); T. DeVries and G. Taylor, arXiv 1708.04552 (cutout); K. Jordan,
arXiv 2404.00498 (alternating flip); H. Zhang et al., arXiv 1710.09412 (mixup); C. Szegedy et al., arXiv 1512.00567 (label
smoothing).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.preprocessing.image.iterators import Iterator

Step = Callable[[np.ndarray, Any, np.ndarray, int, np.random.Generator], tuple[np.ndarray, Any]]


def pad_and_crop(pixels: int = 4, mode: str = "reflect") -> Step:
    """A frame of some pixels around each image, and a piece of the old size cut out at random.

    Errors: ValueError when the frame is wider than reflection allows.
    """

    def step(x: np.ndarray, y: Any, rows: np.ndarray, epoch: int, random: np.random.Generator) -> tuple[np.ndarray, Any]:
        n, height, width = x.shape[:3]
        padded = np.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode=mode)  # type: ignore[call-overload]
        top, left = random.integers(0, 2 * pixels + 1, (2, n))
        out = np.empty_like(x)
        for i in range(n):
            out[i] = padded[i, top[i] : top[i] + height, left[i] : left[i] + width]
        return out, y

    return step


def alternating_flip(seed: int = 0) -> Step:
    """Left and right exchanged in every other epoch: half of the images begin, and each is seen both ways in two epochs."""

    def step(x: np.ndarray, y: Any, rows: np.ndarray, epoch: int, random: np.random.Generator) -> tuple[np.ndarray, Any]:
        # A hash of the sample's number deals the images out once and for all.
        first = ((rows.astype(np.uint64) + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)) & np.uint64(1)
        turned = (first + np.uint64(epoch)) % 2 == 1
        return np.where(turned[:, None, None, None], x[:, :, ::-1], x), y

    return step


def cutout(size: int = 8, value: float = 0.0) -> Step:
    """A square of `size` pixels, its centre anywhere in the image, is filled with a value."""

    def step(x: np.ndarray, y: Any, rows: np.ndarray, epoch: int, random: np.random.Generator) -> tuple[np.ndarray, Any]:
        n, height, width = x.shape[:3]
        centre_i, centre_j = random.integers(0, height, n), random.integers(0, width, n)
        i, j = np.arange(height)[None, :, None], np.arange(width)[None, None, :]
        top, left = (centre_i - size // 2)[:, None, None], (centre_j - size // 2)[:, None, None]
        inside = (i >= top) & (i < top + size) & (j >= left) & (j < left + size)
        return np.where(inside[..., None], x.dtype.type(value), x), y

    return step


def mixup(alpha: float = 0.2) -> Step:
    """Each image and its target is mixed with another of the batch, by a share from Beta(alpha, alpha); one-hot targets.

    Errors: ValueError for class numbers as targets.
    """

    def step(x: np.ndarray, y: Any, rows: np.ndarray, epoch: int, random: np.random.Generator) -> tuple[np.ndarray, Any]:
        _need_one_hot("mixup", y)
        share = random.beta(alpha, alpha, len(x)).astype(x.dtype)
        other = random.permutation(len(x))
        of_x, of_y = share[:, None, None, None], share[:, None].astype(y.dtype)
        return of_x * x + (1 - of_x) * x[other], of_y * y + (1 - of_y) * y[other]

    return step


def label_smoothing(amount: float = 0.1) -> Step:
    """One-hot targets, moved towards all classes alike: (1 - amount) y + amount / classes.

    Errors: ValueError for class numbers as targets.
    """

    def step(x: np.ndarray, y: Any, rows: np.ndarray, epoch: int, random: np.random.Generator) -> tuple[np.ndarray, Any]:
        _need_one_hot("label_smoothing", y)
        return x, y * y.dtype.type(1 - amount) + y.dtype.type(amount / y.shape[1])

    return step


def compose(*steps: Step) -> Step:
    """One step after another."""

    def step(x: np.ndarray, y: Any, rows: np.ndarray, epoch: int, random: np.random.Generator) -> tuple[np.ndarray, Any]:
        for each in steps:
            x, y = each(x, y, rows, epoch, random)
        return x, y

    return step


class augmented(Iterator):  # noqa: N801 - it is used like a function
    """Batches from arrays through a recipe, made ahead in the background; evaluation and prediction leave the recipe out.

    Shapes: x (N, H, W, C), y (N, ...).
    Errors: ValueError for lengths that differ.
    """

    def __init__(self, x: Any, y: Any, recipe: Step, batch_size: int = 32, shuffle: bool = True, seed: int | None = None):
        self.x, self.y, self.recipe = np.asarray(x), np.asarray(y), recipe
        if len(self.x) != len(self.y):
            raise ValueError(f"augmented: x has {len(self.x)} pictures, y {len(self.y)}")
        super().__init__(len(self.x), batch_size, shuffle, seed, None)

    def _batch(self, index: int) -> Any:
        rows = self._picked(index)
        x, y = self.x[rows], self.y[rows]
        if not self.augment:
            return x, y
        return self.recipe(x, y, rows, self.passes, np.random.default_rng([self.seed, self.passes, 1, index]))


def _need_one_hot(recipe: str, y: Any) -> None:
    if y is None or np.ndim(y) != 2 or np.shape(y)[1] < 2:
        raise ValueError(f"{recipe}: targets must be one-hot rows (utils.to_categorical), class numbers cannot be mixed")
