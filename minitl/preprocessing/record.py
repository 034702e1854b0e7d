"""What a network's inputs went through before they came in: kept with its weights, and checked when they are used again."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.serialization import Configured

MARGIN = 0.5  # of the range: how far outside inputs may lie (augmentation, interpolation)


class Preprocessing(Configured):
    """From images of 0 .. 255 to what a network was trained on.

    Formula: y = (x scale - mean) / std, in float32, the channels of x turned round first where `channels` is "bgr".
    Shapes: x (N, H, W, C), RGB; mean and std one number, or one per channel in the network's order; `size` is (H, W).
    Errors: ValueError for a std that is not positive.
    """

    def __init__(self, scale: float = 1 / 255, mean: Any = 0.0, std: Any = 1.0, size: Any = None, channels: str = "rgb"):
        self.scale, self.mean, self.std = float(scale), _listed(mean), _listed(std)
        self.size = None if size is None else [int(n) for n in size]
        self.channels = channels
        if not np.all(np.asarray(self.std) > 0):
            raise ValueError(f"Preprocessing: std must be positive, got {std!r}")

    def __call__(self, x: Any) -> Any:
        """The network's inputs for some images."""
        if not isinstance(x, np.lib.mixins.NDArrayOperatorsMixin):  # a traced array stays one
            x = np.asarray(x, np.float32)
        x = x[..., ::-1] if self.channels == "bgr" else x
        return (x * np.float32(self.scale) - np.float32(self.mean)) / np.float32(self.std)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Preprocessing) and self.get_config() == other.get_config()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Preprocessing(" + ", ".join(f"{name}={value!r}" for name, value in self.get_config().items()) + ")"

    def check(self, x: np.ndarray, where: str, done: Preprocessing | None = None) -> None:
        """Raise ValueError unless x can have gone through this: its size, its range of numbers, and `done` if that is told."""
        x = np.asarray(x)
        if done is not None and done != self:
            raise ValueError(f"{where}: the base was trained with {self}, these pictures went through {done}; use the base's")
        if self.size is not None and list(x.shape[1:3]) != self.size:
            raise ValueError(f"{where}: the base was trained on pictures of {self.size}, got {list(x.shape[1:3])}; resize them")
        ends = (np.array([0.0, 255.0])[:, None] * self.scale - np.asarray(self.mean)) / np.asarray(self.std)
        low, high = float(ends.min()), float(ends.max())
        room = MARGIN * (high - low)
        if x.size and not (low - room <= float(x.min()) and float(x.max()) <= high + room):
            raise ValueError(
                f"{where}: the base was trained on numbers of {low:.3g} .. {high:.3g}, got {x.min():.3g} .. {x.max():.3g}; "
                "prepare the pictures as it was trained: model.preprocessing(x)"
            )
        if x.size and float(x.max()) <= low + 0.02 * (high - low) and x.any():
            raise ValueError(f"{where}: the numbers reach {x.max():.3g} only, of {high:.3g}; were they scaled twice?")


def _listed(value: Any) -> Any:
    array = np.asarray(value, float)
    return float(array) if array.ndim == 0 else [float(v) for v in array]
