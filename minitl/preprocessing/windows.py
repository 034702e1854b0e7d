"""Windows over a series: each is a sample, what comes after it may be its target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minitl.errors import positive
from minitl.preprocessing.image.pipeline import Dataset, tensors


class Windows(Dataset):
    """Batches of windows, as `timeseries_dataset_from_array` gives them; iterating gives one pass.

    Parameters: `starts` are the places at which windows begin, each of `length` steps that are `rate` apart.
    """

    def __init__(
        self, data: np.ndarray, targets: np.ndarray | None, starts: np.ndarray, length: int, rate: int, batch_size: int | None,
        generator: np.random.Generator | None,
    ):  # fmt: skip
        self.data, self.targets, self.starts = data, targets, starts
        self.steps, self.batch_size, self.generator = np.arange(length) * rate, batch_size, generator

    def __len__(self) -> int:
        return -(-len(self.starts) // (self.batch_size or 1))

    def __iter__(self) -> Iterator[Any]:
        starts = self.starts if self.generator is None else self.generator.permutation(self.starts)
        if self.batch_size is None:
            places: Any = starts
        else:
            places = [starts[k : k + self.batch_size] for k in range(0, len(starts), self.batch_size)]
        for place in places:
            windows = self.data[np.asarray(place)[..., None] + self.steps]
            yield tensors(windows if self.targets is None else (windows, np.asarray(self.targets[place])))


def windows(
    data: Any, targets: Any, sequence_length: int, sequence_stride: int, sampling_rate: int, batch_size: int | None,
    shuffle: bool, seed: int | None, start_index: int | None, end_index: int | None,
) -> Windows:  # fmt: skip
    """See `minitl.utils.timeseries_dataset_from_array`."""
    where = "timeseries_dataset_from_array"
    for name, value in {
        "sequence_length": sequence_length, "sequence_stride": sequence_stride, "sampling_rate": sampling_rate,
    }.items():  # fmt: skip
        positive(f"{where}: {name}", value)
    array = np.asarray(data)
    first, last = start_index or 0, len(array) if end_index is None else end_index
    if not 0 <= first < last <= len(array):
        raise ValueError(f"{where}: start_index={start_index} and end_index={end_index} leave nothing of {len(array)} steps")
    array = array[first:last]
    count = len(array) - (sequence_length - 1) * sampling_rate
    if targets is not None:
        targets = np.asarray(targets)[first:last]
        count = min(count, len(targets))
    if count < 1:
        raise ValueError(f"{where}: {sequence_length} steps, {sampling_rate} apart, are more than the series of {len(array)} has")
    generator = np.random.default_rng(seed) if shuffle else None
    return Windows(array, targets, np.arange(0, count, sequence_stride), sequence_length, sampling_rate, batch_size, generator)
