"""Text as numbers: words, their numbers, and rows of one length. Names and meanings are Keras's."""

from __future__ import annotations

import collections
import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

SETTINGS = ("num_words", "filters", "lower", "split", "char_level", "oov_token")
TABLES = ("word_counts", "word_docs", "word_index", "index_word")
FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'


def text_to_word_sequence(text: str, filters: str = FILTERS, lower: bool = True, split: str = " ") -> list[str]:
    """The words of a text, without the characters of `filters`."""
    text = text.lower() if lower else text
    return [word for word in text.translate({ord(c): split for c in filters}).split(split) if word]


def hashing_trick(
    text: str, n: int, hash_function: str | Callable[[str], int] | None = None, filters: str = FILTERS, lower: bool = True,
    split: str = " ", analyzer: Callable[[str], list[str]] | None = None,
) -> list[int]:  # fmt: skip
    """The words of a text as numbers of 1 .. n - 1, by hashing: different words may share one.

    `hash_function` is a function of a word, "md5", or None: MD5 too, where Keras takes Python's own, which differs in every run.
    """

    def md5(word: str) -> int:
        return int(hashlib.md5(word.encode()).hexdigest(), 16)

    number: Callable[[str], int] = hash_function if callable(hash_function) else md5
    words = analyzer(text) if analyzer is not None else text_to_word_sequence(text, filters, lower, split)
    return [number(word) % (n - 1) + 1 for word in words]


def one_hot(text: str, n: int, filters: str = FILTERS, lower: bool = True, split: str = " ") -> list[int]:
    """The words as numbers of 1 .. n - 1: `hashing_trick` by MD5."""
    return hashing_trick(text, n, "md5", filters, lower, split)


class Tokenizer:
    """Numbers for words, the most frequent first, counted from 1.

    `num_words` keeps the num_words - 1 most frequent in sequences and matrices; `oov_token` stands for all others.
    Attributes: `word_index`, `index_word`, `word_counts`, `word_docs`, `document_count`.
    """

    def __init__(
        self, num_words: int | None = None, filters: str = FILTERS, lower: bool = True, split: str = " ",
        char_level: bool = False, oov_token: str | None = None, nb_words: int | None = None,
    ):  # fmt: skip
        self.num_words = num_words if nb_words is None else nb_words
        self.filters, self.lower, self.split, self.char_level, self.oov_token = filters, lower, split, char_level, oov_token
        self.word_counts: collections.OrderedDict[str, int] = collections.OrderedDict()
        self.word_docs: dict[str, int] = collections.defaultdict(int)
        self.word_index: dict[str, int] = {}
        self.index_word: dict[int, str] = {}
        self.document_count = 0

    def fit_on_texts(self, texts: Iterable[Any]) -> None:
        """Count the words of texts, or of lists of words."""
        for text in texts:
            words = self._words(text)
            self.document_count += 1
            for word in words:
                self.word_counts[word] = self.word_counts.get(word, 0) + 1
            for word in set(words):
                self.word_docs[word] += 1
        known = sorted(self.word_counts.items(), key=lambda item: -item[1])
        order = ([] if self.oov_token is None else [self.oov_token]) + [word for word, _ in known]
        self.word_index = {word: number for number, word in enumerate(order, 1)}
        self.index_word = {number: word for word, number in self.word_index.items()}

    def texts_to_sequences(self, texts: Iterable[Any]) -> list[list[int]]:
        """Each text as the numbers of its known words."""
        unknown = None if self.oov_token is None else self.word_index.get(self.oov_token)
        limit = self.num_words or len(self.word_index) + 1
        sequences = []
        for text in texts:
            numbers = [self.word_index.get(word) for word in self._words(text)]
            numbers = [unknown if n is None or n >= limit else n for n in numbers]
            sequences.append([n for n in numbers if n is not None])
        return sequences

    def sequences_to_texts(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """The words of numbers, with spaces between them."""
        return [" ".join(self.index_word[n] for n in row if n in self.index_word) for row in sequences]

    def texts_to_matrix(self, texts: Iterable[Any], mode: str = "binary") -> np.ndarray:
        """See `sequences_to_matrix`."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences: Any, mode: str = "binary") -> np.ndarray:
        """One row per text, one column per word: "binary", "count", "freq" or "tfidf".

        Errors: ValueError for another mode.
        """
        if mode not in ("binary", "count", "freq", "tfidf"):
            raise ValueError(f"sequences_to_matrix: mode must be binary, count, freq or tfidf, got {mode!r}")
        width = self.num_words or len(self.word_index) + 1
        matrix = np.zeros((len(sequences), width))
        for row, sequence in zip(matrix, sequences, strict=True):
            np.add.at(row, [n for n in sequence if n < width], 1)
        if mode == "binary":
            return (matrix > 0).astype(float)
        if mode == "freq":
            return matrix / np.maximum([[len(s)] for s in sequences], 1)
        if mode == "tfidf":
            docs = np.array([self.word_docs.get(self.index_word.get(n, ""), 0) for n in range(width)])
            often = np.where(matrix > 0, 1 + np.log(np.maximum(matrix, 1)), 0)
            return often * np.log(1 + self.document_count / (1 + docs))
        return matrix

    def get_config(self) -> dict[str, Any]:
        """Settings and counts, as Keras writes them: tables are JSON in themselves."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        index_docs = {self.word_index[word]: count for word, count in self.word_docs.items() if word in self.word_index}
        tables = {**{name: getattr(self, name) for name in TABLES}, "index_docs": index_docs}
        return {**settings, "document_count": self.document_count, **{name: json.dumps(found) for name, found in tables.items()}}

    def to_json(self, **settings: Any) -> str:
        """The tokenizer as JSON, for `tokenizer_from_json`, here and in Keras; `settings` go to `json.dumps`."""
        return json.dumps({"class_name": "Tokenizer", "config": self.get_config()}, **settings)

    def _words(self, text: Any) -> list[str]:
        if self.char_level or isinstance(text, (list, tuple)):
            parts = list(text)
            return [part.lower() for part in parts] if self.lower else parts
        return text_to_word_sequence(text, self.filters, self.lower, self.split)


def tokenizer_from_json(json_string: str) -> Tokenizer:
    """The tokenizer that `to_json` described, here or in Keras.

    Errors: ValueError for a text that describes none.
    """
    try:
        config = json.loads(json_string)["config"]
        tokenizer = Tokenizer(**{name: config[name] for name in SETTINGS})
        tokenizer.word_counts = collections.OrderedDict(json.loads(config["word_counts"]))
        tokenizer.word_docs.update(json.loads(config["word_docs"]))
        tokenizer.word_index = {word: int(number) for word, number in json.loads(config["word_index"]).items()}
        tokenizer.index_word = {number: word for word, number in tokenizer.word_index.items()}
        tokenizer.document_count = int(config["document_count"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"tokenizer_from_json: the text describes no Tokenizer ({type(error).__name__}: {error})") from error
    return tokenizer


def pad_sequences(
    sequences: Any,
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: float = 0.0,
) -> np.ndarray:
    """Sequences as rows of one length: cut, or filled with `value`, in front ("pre") or behind ("post").

    Shapes: N sequences of any lengths, of numbers or of arrays (...); the result (N, maxlen, ...).
    Errors: ValueError for another padding or truncating.
    """
    for name, choice in (("padding", padding), ("truncating", truncating)):
        if choice not in ("pre", "post"):
            raise ValueError(f"pad_sequences: {name} must be 'pre' or 'post', got {choice!r}")
    rows = [np.asarray(row) for row in sequences]
    length = max(map(len, rows), default=0) if maxlen is None else maxlen
    inner = next((row.shape[1:] for row in rows if len(row)), ())
    out = np.full((len(rows), length, *inner), value, dtype)
    for place, row in zip(out, rows, strict=True):
        kept = row[max(0, len(row) - length) :] if truncating == "pre" else row[:length]
        if len(kept):
            if padding == "pre":
                place[-len(kept) :] = kept
            else:
                place[: len(kept)] = kept
    return out
