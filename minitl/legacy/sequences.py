"""`keras.preprocessing.sequence` of older programs: windows over series, and pairs of words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from minitl.errors import positive
from minitl.random import new_generator

EULER = 0.577  # as Keras has it


class TimeseriesGenerator:
    """Batches of windows over a series, each with the target of the step behind it.

    Formula: sample i is data[r - length : r : sampling_rate], target targets[r], for every `stride`-th r from
    start_index + length to end_index; `shuffle` draws r, `reverse` turns the windows round.
    Shapes: data (T, ...), targets (T, ...); batches (N, length / sampling_rate, ...) and (N, ...).
    Errors: ValueError for data and targets of different lengths, or a series that is too short.
    """

    def __init__(
        self, data: Any, targets: Any, length: int, sampling_rate: int = 1, stride: int = 1, start_index: int = 0,
        end_index: int | None = None, shuffle: bool = False, reverse: bool = False, batch_size: int = 128,
    ):  # fmt: skip
        if len(data) != len(targets):
            raise ValueError(f"TimeseriesGenerator: {len(data)} steps and {len(targets)} targets; give one target for each step")
        for name, value in {"length": length, "sampling_rate": sampling_rate, "stride": stride, "batch_size": batch_size}.items():
            positive(f"TimeseriesGenerator: {name}", value)
        self.data, self.targets, self.length, self.sampling_rate = np.asarray(data), np.asarray(targets), length, sampling_rate
        self.stride, self.batch_size, self.reverse = stride, batch_size, reverse
        self.start_index, self.end_index = start_index + length, len(data) - 1 if end_index is None else end_index
        self.generator = new_generator() if shuffle else None
        if self.start_index > self.end_index:
            raise ValueError(f"TimeseriesGenerator: a window of {length} steps leaves no target up to step {self.end_index}")

    def __len__(self) -> int:
        return -(-(self.end_index - self.start_index + 1) // (self.batch_size * self.stride))

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        first = self.start_index + self.batch_size * self.stride * index
        last = min(first + self.batch_size * self.stride, self.end_index + 1)
        rows = np.arange(first, last, self.stride)
        if self.generator is not None:
            rows = self.generator.integers(self.start_index, self.end_index + 1, self.batch_size)
        windows = self.data[rows[:, None] + np.arange(-self.length, 0, self.sampling_rate)]
        return (windows[:, ::-1] if self.reverse else windows), self.targets[rows]


def make_sampling_table(size: int, sampling_factor: float = 1e-5) -> np.ndarray:
    """With which probability `skipgrams` keeps each word, the most frequent words first: frequent ones seldom.

    Formula: min(1, sqrt(sampling_factor / frequency)), 1 / frequency = r (log r + gamma) + 1/2 - 1 / (12 r) of rank r, by Zipf.
    Source: T. Mikolov et al., arXiv 1310.4546.
    """
    rank = np.maximum(np.arange(size), 1).astype(float)
    rarity = rank * (np.log(rank) + EULER) + 0.5 - 1 / (12 * rank)
    return np.minimum(1.0, np.sqrt(sampling_factor * rarity))


def skipgrams(
    sequence: Sequence[int], vocabulary_size: int, window_size: int = 4, negative_samples: float = 1.0, shuffle: bool = True,
    categorical: bool = False, sampling_table: Any = None, seed: int | None = None,
) -> tuple[list[list[int]], list[Any]]:  # fmt: skip
    """Pairs of words: neighbours within a window, labelled 1, and `negative_samples` times as many with a drawn word, labelled 0.

    Word 0 is padding and left out; `categorical` gives labels [0, 1] and [1, 0]; a `seed` fixes what is drawn.
    """
    drawn = random.Random(seed if seed is not None else int(new_generator().integers(1 << 31)))
    couples: list[list[int]] = []
    for place, word in enumerate(sequence):
        if not word or (sampling_table is not None and sampling_table[word] < drawn.random()):
            continue
        around = range(max(place - window_size, 0), min(place + window_size + 1, len(sequence)))
        couples += [[word, sequence[other]] for other in around if other != place and sequence[other]]
    labels: list[Any] = [[0, 1] if categorical else 1] * len(couples)
    words = [word for word, _ in couples]
    drawn.shuffle(words)
    negative = int(len(couples) * negative_samples)
    couples += [[words[k % len(words)], drawn.randint(1, vocabulary_size - 1)] for k in range(negative)]
    labels += [[1, 0] if categorical else 0] * negative
    if shuffle:
        order = drawn.sample(range(len(couples)), len(couples))
        couples, labels = [couples[k] for k in order], [labels[k] for k in order]
    return couples, labels
