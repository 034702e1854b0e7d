"""Reuters: 11,228 newswires of 1987 on 46 topics, as lists of word numbers.

Source: D. Lewis, Reuters-21578; the file and the numbers are Keras's.
"""

from __future__ import annotations

import numpy as np

from minitl.datasets import word_lists

TOPICS = (
    "cocoa", "grain", "veg-oil", "earn", "acq", "wheat", "copper", "housing", "money-supply", "coffee", "sugar", "trade",
    "reserves", "ship", "cotton", "carcass", "crude", "nat-gas", "cpi", "money-fx", "interest", "gnp", "meal-feed", "alum",
    "oilseed", "gold", "tin", "strategic-metal", "livestock", "retail", "ipi", "iron-steel", "rubber", "heat", "jobs", "lei",
    "bop", "zinc", "orange", "pet-chem", "dlr", "gas", "silver", "wpi", "hog", "lead",
)  # fmt: skip


def load_data(
    path: str = "reuters.npz", num_words: int | None = None, skip_top: int = 0, maxlen: int | None = None,
    test_split: float = 0.2, seed: int = 113, start_char: int | None = 1, oov_char: int | None = 2, index_from: int = 3,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """((x, y), (x_test, y_test)), as in Keras; the last `test_split` of the drawn order is for testing.

    Parameters, shapes, errors: as `imdb.load_data`; y is a topic, 0 .. 45.
    """
    arrays = word_lists.read(path, "sha256:d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916")
    order = np.random.RandomState(seed).permutation(len(arrays["x"]))
    texts = word_lists.marked(arrays["x"][order], start_char, index_from)
    texts, labels = word_lists.shorter(texts, arrays["y"][order], maxlen)
    x = word_lists.limited(texts, num_words, skip_top, oov_char)
    first = int(len(x) * (1 - test_split))
    return (x[:first], labels[:first]), (x[first:], labels[first:])


def get_word_index(path: str = "reuters_word_index.json") -> dict[str, int]:
    """{word: number}; the texts of `load_data` have these numbers + `index_from`."""
    return word_lists.word_index(path, "md5:4d44cc38712099c9e383dc6e5f11a921")


def get_label_names() -> tuple[str, ...]:
    """The 46 topics, in the order of the labels."""
    return TOPICS
