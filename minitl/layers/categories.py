"""Categories: whole numbers become rows of zeros and ones, and numbers the intervals in which they lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import positive, unknown, wrong_shape
from minitl.graph.plan import Need
from minitl.graph.value import Shape, values_in
from minitl.layers.base import Layer

MODES = ("one_hot", "multi_hot", "count")


class Encoding(Layer):
    """What layers share that give every entry a number, `number_of`, and encode these numbers.

    Shapes: x (N, ...); y alike for "int"; (N, ..., depth) for "one_hot", a last axis of 1 being left out; for "multi_hot" and
    "count" the last axis of x, the categories of one sample, becomes that of depth. Numbers outside the depth leave zeros.
    The gradient of a step is 0: what stands below does not learn.
    """

    keeps_integers = True
    output_mode: str

    @property
    def depth(self) -> int:
        """How many categories there are."""
        raise NotImplementedError

    def number_of(self, x: np.ndarray) -> np.ndarray:
        """The number of every entry."""
        raise NotImplementedError

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The numbers, encoded."""
        return encoded(self.number_of(x), self.output_mode, self.depth, self.dtype), x

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """0, for whole numbers none."""
        return np.zeros_like(cache) if need.dx and cache.dtype.kind == "f" else None, {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's, with the axis of depth."""
        return encoded_shape(input_shape, self.output_mode, self.depth)

    def output_dtype(self, dtypes: list[np.dtype]) -> np.dtype:
        """Whole numbers for "int", else the layer's."""
        return np.dtype(np.int64) if self.output_mode == "int" else self.dtype

    def _may_take(self, shape: Shape) -> bool:
        return True  # categories of any shape


class CategoryEncoding(Encoding):
    """Whole numbers 0 .. num_tokens - 1 as zeros and ones, or as counts.

    Parameters: `output_mode` is "one_hot" (every number has a row), "multi_hot" (ones for all numbers of a sample) or "count".
    Called with `count_weights` on an array, in the mode "count", each number counts as much as its weight.
    Shapes: as of `Encoding`; count_weights as x.
    Errors: ValueError for a number that is no category, or count_weights in another mode or inside a model.
    """

    def __init__(self, num_tokens: int, output_mode: str = "multi_hot", sparse: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_tokens, self.output_mode = positive("CategoryEncoding: num_tokens", num_tokens), known_mode(output_mode, MODES)
        self.sparse = dense_only(self, sparse)

    def __call__(self, x: Any, training: bool | None = None, count_weights: Any = None) -> Any:
        """The encoding of some numbers."""
        if count_weights is None:
            return super().__call__(x, training)
        if self.output_mode != "count" or values_in(x) is not None:
            raise ValueError(f"{self.label}: count_weights belong to output_mode='count', and to arrays outside a model")
        numbers, weights = self.number_of(np.asarray(x)), np.asarray(count_weights, self.dtype)
        if weights.shape != numbers.shape:
            raise wrong_shape(f"{self.label}: count_weights", numbers.shape, weights.shape, "give one weight for each number")
        return encoded(numbers, "count", self.depth, self.dtype, weights)

    @property
    def input_dtype(self) -> Any:
        """Whole numbers."""
        return np.dtype(np.int32)

    @property
    def depth(self) -> int:
        """num_tokens."""
        return self.num_tokens

    def number_of(self, x: np.ndarray) -> np.ndarray:
        """x, if it has categories."""
        outside = x[(x < 0) | (x >= self.num_tokens) | (x != np.floor(x))]
        if outside.size:
            raise ValueError(f"{self.label}: {outside[0]} is none of the {self.num_tokens} categories 0 .. {self.num_tokens - 1}")
        return x.astype(np.int64)


class Discretization(Encoding):
    """The number of the interval in which a number lies.

    Formula: how many of the boundaries are at most x.
    Parameters: `bin_boundaries`, in ascending order; or `num_bins`, for as many intervals with as many numbers of `adapt`'s data
    in each; `output_mode` "int", "one_hot", "multi_hot" or "count". `epsilon` is taken and not needed: quantiles are exact.
    Shapes: as of `Encoding`.
    Errors: ValueError for both or neither of the two, boundaries that do not ascend, or a call before `adapt`.
    """

    def __init__(
        self, bin_boundaries: Any = None, num_bins: int | None = None, epsilon: float = 0.01, output_mode: str = "int",
        sparse: bool = False, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        if (bin_boundaries is None) == (num_bins is None):
            raise ValueError("Discretization: give bin_boundaries, or num_bins and call adapt(data)")
        self.num_bins = None if num_bins is None else positive("Discretization: num_bins", num_bins)
        self.bin_boundaries = None if bin_boundaries is None else [float(one) for one in bin_boundaries]
        if self.bin_boundaries is not None and not (np.diff(self.bin_boundaries) > 0).all():
            raise ValueError(f"Discretization: bin_boundaries must ascend, got {bin_boundaries}")
        self.epsilon, self.output_mode, self.sparse = epsilon, known_mode(output_mode, ("int", *MODES)), dense_only(self, sparse)

    def adapt(self, data: Any) -> None:
        """Take the boundaries from numbers, so that every interval has as many of them.

        Errors: ValueError where boundaries were given.
        """
        if self.num_bins is None:
            raise ValueError(f"{self.label}: has its bin_boundaries; leave them out and give num_bins, to adapt it")
        numbers = np.concatenate([np.ravel(batch) for batch in ([data] if isinstance(data, np.ndarray) else data)])
        self.bin_boundaries = np.unique(np.quantile(numbers, np.arange(1, self.num_bins) / self.num_bins)).tolist()

    @property
    def depth(self) -> int:
        """One interval more than boundaries."""
        return self.num_bins or 1 if self.bin_boundaries is None else len(self.bin_boundaries) + 1

    def number_of(self, x: np.ndarray) -> np.ndarray:
        """How many boundaries are at most x."""
        if self.bin_boundaries is None:
            raise ValueError(f"{self.label}: has no boundaries yet; call adapt(data), or give bin_boundaries=")
        return np.searchsorted(self.bin_boundaries, x, side="right")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; of one that was adapted, its boundaries."""
        config = super().get_config()
        return config if self.bin_boundaries is None else {**config, "num_bins": None}


def known_mode(output_mode: str, modes: tuple[str, ...]) -> str:
    """The way to encode.

    Errors: ValueError for one that is not there.
    """
    found = {"binary": "multi_hot"}.get(output_mode, output_mode)
    if found not in modes:
        raise unknown("output_mode", output_mode, modes)
    return found


def dense_only(layer: Layer, sparse: bool) -> bool:
    """Errors: ValueError for sparse arrays, which are not there."""
    if sparse:
        raise ValueError(f"{layer.label}: gives dense arrays; leave sparse=True out")
    return False


def encoded(numbers: np.ndarray, mode: str, depth: int, dtype: Any, weights: np.ndarray | None = None) -> np.ndarray:
    """Numbers as they are, or as zeros and ones, or as counts; what is outside 0 .. depth - 1 leaves zeros.

    Shapes: with `weights`, as numbers, each counts as much as its own.
    """
    if mode == "int":
        return numbers.astype(np.int64)
    if mode == "one_hot" and numbers.ndim > 1 and numbers.shape[-1] == 1:
        numbers = numbers[..., 0]
    inside = (numbers >= 0) & (numbers < depth)
    y = np.zeros((*(numbers.shape if mode == "one_hot" else numbers.shape[:-1]), depth), dtype)
    places = np.nonzero(inside)
    np.add.at(y, (*(places if mode == "one_hot" else places[:-1]), numbers[inside]), 1 if weights is None else weights[inside])
    return np.minimum(y, 1) if mode == "multi_hot" else y


def encoded_shape(shape: Shape, mode: str, depth: int) -> Shape:
    """The shape of `encoded`."""
    if mode == "int":
        return shape
    return (*(shape if mode == "one_hot" and (len(shape) == 1 or shape[-1] != 1) else shape[:-1]), depth)
