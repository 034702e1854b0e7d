"""What a compiled step of an optimizer needs, made once for the parameters that it updates."""

from __future__ import annotations

from operator import is_
from typing import Any, NamedTuple

import numpy as np


class Prepared(NamedTuple):
    """What a compiled step needs, and for which parameters; without a table where kernels cannot take them."""

    paths: list[str]
    weights: list[np.ndarray]
    remembered: tuple[str, ...]
    memories: list[dict[str, np.ndarray]]
    table: Any

    def fits(self, updates: list[tuple[str, np.ndarray, np.ndarray]], remembered: tuple[str, ...]) -> bool:
        """Whether it was made for these parameters."""
        paths, weights = [path for path, _, _ in updates], [w for _, w, _ in updates]
        return self.paths == paths and all(map(is_, self.weights, weights)) and self.remembered == remembered


def alike(weights: list[np.ndarray]) -> bool:
    """Whether all weights are what a kernel takes: contiguous, and of one dtype."""
    dtype = weights[0].dtype
    return dtype in (np.float32, np.float64) and all(w.dtype == dtype and w.flags.c_contiguous for w in weights)
