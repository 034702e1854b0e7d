"""TextVectorization: texts become numbers, by a vocabulary that is given or counted."""

from __future__ import annotations

import collections
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minitl.errors import positive, unknown
from minitl.graph.value import values_in
from minitl.layers.base import Layer
from minitl.layers.variable import as_result
from minitl.layers.vocabulary import given_entries, most_frequent

PUNCTUATION = re.compile(r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']""")
STANDARDS: dict[Any, Callable[[str], str]] = {
    None: lambda text: text,
    "lower": str.lower,
    "strip_punctuation": lambda text: PUNCTUATION.sub("", text),
    "lower_and_strip_punctuation": lambda text: PUNCTUATION.sub("", text.lower()),
}
SPLITS: dict[Any, Callable[[str], list[str]]] = {None: lambda text: [text], "whitespace": str.split, "character": list}
MODES = ("int", "multi_hot", "count", "tf_idf")


class TextVectorization(Layer):
    """Every text becomes a row: the numbers of its words, or one entry per word of the vocabulary.

    Formula: tf_idf is (how often the word is in the text) log(1 + texts / (1 + texts with the word)), counted by `adapt`.
    The vocabulary is `vocabulary` (a list, or a file with a word per line) or comes from `adapt(texts)`, the most frequent
    words first. In the mode "int", 0 is padding and 1 any other word; in the others, entry 0 is any other word.
    Parameters: `max_tokens` entries of the vocabulary at most, with the special ones; `standardize` None, "lower",
    "strip_punctuation", "lower_and_strip_punctuation" or a function of a text; `split` None, "whitespace", "character" or a
    function that gives a list; `ngrams` n, or a tuple of them, for groups of words; `output_sequence_length` for rows of one
    length; `pad_to_max_tokens` for `max_tokens` entries always.
    Shapes: x (N,) or (N, 1) of strings, y (N, length) int64 for "int", else (N, entries) float32; with split=None each text is
    one word, and y for "int" has the shape of x.
    It is applied to texts, not inside a model: `model.fit(vectorize(texts), y)`.
    Errors: ValueError for an unknown mode, a call before `adapt`, or use inside a model.
    """

    def __init__(
        self, max_tokens: int | None = None, standardize: Any = "lower_and_strip_punctuation", split: Any = "whitespace",
        ngrams: Any = None, output_mode: str = "int", output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False, vocabulary: Any = None, idf_weights: Any = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        output_mode = {"binary": "multi_hot", "tf-idf": "tf_idf"}.get(output_mode, output_mode)
        if output_mode not in MODES:
            raise unknown("output_mode", output_mode, MODES)
        for given, known in ((standardize, STANDARDS), (split, SPLITS)):
            if not callable(given) and given not in known:
                raise unknown("way to treat a text", given, [str(one) for one in known])
        if output_sequence_length is not None and output_mode != "int":
            raise ValueError(f"TextVectorization: output_sequence_length is for output_mode='int', got {output_mode!r}")
        for name, count in (("max_tokens", max_tokens), ("output_sequence_length", output_sequence_length)):
            if count is not None:
                positive(f"TextVectorization: {name}", count)
        self.max_tokens, self.standardize, self.split, self.ngrams = max_tokens, standardize, split, ngrams
        self.output_mode, self.output_sequence_length = output_mode, output_sequence_length
        self.pad_to_max_tokens = pad_to_max_tokens
        self.vocabulary: list[str] | None = None
        self.idf_weights: np.ndarray | None = None
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)

    def adapt(self, data: Any) -> None:
        """Count the words of texts: a list, an array, or an iterable of batches."""
        counts: collections.Counter[str] = collections.Counter()
        documents: collections.Counter[str] = collections.Counter()
        total = 0
        for text in _texts(data):
            words: list[str] = self.words(text)
            counts.update(words)
            documents.update(set(words))
            total += 1
        known = most_frequent(counts, self.max_tokens, self._special)
        weights = np.log(1 + total / (1 + np.array([documents[word] for word in known], float)))
        self.set_vocabulary(known, weights if self.output_mode == "tf_idf" else None)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """The words in the order of their numbers, with or without the special entries at the front."""
        front = ["", "[UNK]"][-self._special :]
        words = given_entries(self.label, vocabulary, front, self.max_tokens, lambda given: [str(word) for word in given])
        if self.output_mode == "tf_idf":
            if idf_weights is None or len(idf_weights) != len(words):
                raise ValueError("TextVectorization: output_mode='tf_idf' needs idf_weights, one per word of the vocabulary")
            idf_weights = np.asarray(idf_weights, np.float32)
        elif idf_weights is not None:
            raise ValueError(f"TextVectorization: idf_weights belong to output_mode='tf_idf', got {self.output_mode!r}")
        self.vocabulary, self.idf_weights = words, idf_weights
        self._numbers = {word: number for number, word in enumerate(words, self._special)}

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """The words in the order of their numbers."""
        words = list(self.vocabulary or [])
        return ["", "[UNK]"][-self._special :] + words if include_special_tokens else words

    def vocabulary_size(self) -> int:
        """How many entries there are, with the special ones."""
        return len(self.get_vocabulary())

    def words(self, text: str) -> list[str]:
        """The words, or groups of words, of one text."""
        text = self.standardize(text) if callable(self.standardize) else STANDARDS[self.standardize](text)
        parts = list(self.split(text)) if callable(self.split) else SPLITS[self.split](text)
        if self.ngrams is None:
            return parts
        sizes = range(1, self.ngrams + 1) if isinstance(self.ngrams, int) else self.ngrams
        return [" ".join(parts[k : k + size]) for size in sizes for k in range(len(parts) - size + 1)]

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """The rows of some texts; one text gives one row."""
        if values_in(x) is not None:
            raise ValueError(f"{self.label}: applies to texts, not inside a model; call it first: model.fit(vectorize(texts), y)")
        if self.vocabulary is None:
            raise ValueError(f"{self.label}: has no vocabulary yet; call adapt(texts), or give vocabulary=")
        one = isinstance(x, (str, bytes)) or np.ndim(x) == 0
        rows = self._rows([self.words(text) for text in _texts([x] if one else x)])
        if self.output_mode == "int" and self.split is None and self.ngrams is None and self.output_sequence_length is None:
            return as_result(rows.reshape(np.shape(x)))
        return as_result(rows[0] if one else rows)

    @property
    def _special(self) -> int:
        """How many entries stand before the words."""
        return 2 if self.output_mode == "int" else 1

    def _rows(self, texts: list[list[str]]) -> np.ndarray:
        """Numbers, or entries."""
        numbers = [[self._numbers.get(word, self._special - 1) for word in words] for words in texts]
        if self.output_mode == "int":
            length = self.output_sequence_length or max(map(len, numbers), default=0)
            padded = np.zeros((len(texts), length), np.int64)
            for k, found in enumerate(numbers):
                padded[k, : len(found)] = found[:length]
            return padded
        width = self.max_tokens if self.pad_to_max_tokens and self.max_tokens else self.vocabulary_size()
        entries = np.zeros((len(texts), width), np.float32)
        for row, found in zip(entries, numbers, strict=True):
            np.add.at(row, found, 1)
        if self.output_mode == "multi_hot":
            return np.minimum(entries, 1)
        if self.idf_weights is not None:  # any other word has the mean of the weights
            entries[:, 0] *= self.idf_weights.mean() if len(self.idf_weights) else 0
            entries[:, 1 : 1 + len(self.idf_weights)] *= self.idf_weights
        return entries


def _texts(data: Any) -> Iterable[str]:
    """Single texts out of a list, an array (N,) or (N, 1), or batches of these; bytes are UTF-8."""
    for item in data:
        item = item.numpy() if hasattr(item, "numpy") else item
        if isinstance(item, bytes):
            yield item.decode("utf-8")
        elif isinstance(item, str):
            yield str(item)
        elif np.ndim(item):
            yield from _texts(item)
        else:
            raise ValueError(f"TextVectorization: expected texts, got {type(item).__name__}")
