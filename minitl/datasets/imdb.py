"""IMDB: 50,000 film reviews, good or bad, as lists of word numbers.

Source: A. Maas et al., Learning word vectors for sentiment analysis, 2011; the file and the numbers are Keras's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.datasets import word_lists


def load_data(
    path: str = "imdb.npz", num_words: int | None = None, skip_top: int = 0, maxlen: int | None = None, seed: int = 113,
    start_char: int | None = 1, oov_char: int | None = 2, index_from: int = 3,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """((x, y), (x_test, y_test)), as in Keras: 25,000 reviews each, 1 for a good one.

    Parameters: only the `num_words` most frequent words are kept, without the `skip_top` first; the others are `oov_char`, or
    left out for None. Every review begins with `start_char`; words count from `index_from` + 1. Reviews of `maxlen` numbers
    and more are left out. The order is drawn with `seed`.
    Shapes: x (N,) of lists, y (N,) int64.
    Errors: OSError that says which file to put where; ValueError for a damaged file, or a `maxlen` that keeps nothing.
    """
    arrays = word_lists.read(path, "sha256:69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f")
    random = np.random.RandomState(seed)
    parts: list[Any] = []
    for name in ("train", "test"):
        order = random.permutation(len(arrays[f"x_{name}"]))
        texts = word_lists.marked(arrays[f"x_{name}"][order], start_char, index_from)
        parts.append(word_lists.shorter(texts, arrays[f"y_{name}"][order], maxlen))
    (x, y), (x_test, y_test) = parts
    both = word_lists.limited(x + x_test, num_words, skip_top, oov_char)
    return (both[: len(x)], y), (both[len(x) :], y_test)


def get_word_index(path: str = "imdb_word_index.json") -> dict[str, int]:
    """{word: number}; the texts of `load_data` have these numbers + `index_from`."""
    return word_lists.word_index(path, "md5:bfafd718b763782e994055a2d397834f")
