"""Lookups: words or numbers become their places in a vocabulary, and back."""

from __future__ import annotations

import collections
import math
import zlib
from typing import Any

import numpy as np

from minitl.errors import positive
from minitl.graph.value import values_in
from minitl.layers.categories import MODES, Encoding, dense_only, encoded, known_mode
from minitl.layers.vocabulary import given_entries, most_frequent


class Lookup(Encoding):
    """What lookups share: a vocabulary that is given, read from a file, or counted by `adapt`.

    Formula: the number of an entry of the vocabulary, behind that of the mask (if there is one) and those of what is unknown;
    tf_idf is (how often the entry is in the row) idf, with idf = log(1 + rows / (1 + rows with the entry)), or as given.
    Parameters: `max_tokens` entries at most, with the special ones, the most frequent first; `num_oov_indices` 0 to refuse
    what is unknown, or so many numbers for it, of which each unknown entry has one: the rest of a whole number's division, of
    words that of a checksum (CRC-32); `idf_weights` come with a vocabulary in the mode "tf_idf"; `mask_token` is 0 for "int" and
    left out in the other modes; `invert` gives entries for numbers; `output_mode` "int", "one_hot", "multi_hot", "count" or
    "tf_idf".
    Shapes: as of `Encoding`; "tf_idf" as "count".
    Errors: ValueError for an entry that is there twice, for what is unknown with num_oov_indices=0, or before `adapt`.
    """

    def __init__(
        self, max_tokens: int | None, num_oov_indices: int, mask_token: Any, oov_token: Any, vocabulary: Any, invert: bool,
        output_mode: str, pad_to_max_tokens: bool, sparse: bool, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        if not isinstance(num_oov_indices, (int, np.integer)) or num_oov_indices < 0:
            raise ValueError(f"{type(self).__name__}: num_oov_indices must be 0 or more, got {num_oov_indices}")
        self.output_mode, self.sparse = known_mode(output_mode, ("int", *MODES, "tf_idf")), dense_only(self, sparse)
        if invert and self.output_mode != "int":
            raise ValueError(f"{type(self).__name__}: invert=True is for output_mode='int', got {output_mode!r}")
        if pad_to_max_tokens and max_tokens is None:
            raise ValueError(f"{type(self).__name__}: pad_to_max_tokens=True needs max_tokens")
        self.max_tokens = None if max_tokens is None else positive(f"{type(self).__name__}: max_tokens", max_tokens)
        self.num_oov_indices, self.mask_token, self.oov_token = num_oov_indices, mask_token, oov_token
        self.invert, self.pad_to_max_tokens = invert, pad_to_max_tokens
        self.vocabulary: list[Any] | None = None
        self.idf_weights: list[float] | None = None
        entries, idf_weights = vocabulary
        if entries is not None:
            self.set_vocabulary(entries, idf_weights)

    def adapt(self, data: Any) -> None:
        """Count the entries of a list, an array, or an iterable of batches."""
        counts: collections.Counter[Any] = collections.Counter()
        rows_with: collections.Counter[Any] = collections.Counter()
        rows = 0
        for item in data:
            found = self.entries(item)
            counts.update(found.ravel().tolist())
            for row in found.reshape(-1, found.shape[-1] if found.ndim > 1 else found.size).tolist():
                rows_with.update(set(row))
                rows += 1
        counts.pop(self.mask_token, None)
        known = most_frequent(counts, self.max_tokens, self._special)
        weights = [math.log(1 + rows / (1 + rows_with[entry])) for entry in known]
        self.set_vocabulary(known, weights if self.output_mode == "tf_idf" else None)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """The entries in the order of their numbers, with or without the special ones at the front; for "tf_idf" their weights.

        Errors: ValueError for an entry that is there twice, or weights that are missing, too many, or for another mode.
        """
        entries = given_entries(
            self.label, vocabulary, self._front(), self.max_tokens, lambda given: self.entries(given).ravel().tolist()
        )
        if (self.output_mode == "tf_idf") != (idf_weights is not None) or (
            idf_weights is not None and len(idf_weights) != len(entries)
        ):
            raise ValueError(f"{self.label}: output_mode='tf_idf' needs idf_weights, one per entry, and no other mode takes them")
        self.vocabulary = entries
        self.idf_weights = None if idf_weights is None else [float(weight) for weight in idf_weights]
        self._numbers = {entry: number for number, entry in enumerate(entries, self._special)}
        if self.mask_token is not None:  # where numbers are encoded, it leaves zeros
            self._numbers[self.mask_token] = 0 if self.output_mode == "int" else -1

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The entries in the order of their numbers."""
        entries = list(self.vocabulary or [])
        return self._front() + entries if include_special_tokens else entries

    def vocabulary_size(self) -> int:
        """How many numbers there are, with the special ones."""
        return len(self.get_vocabulary())

    @property
    def depth(self) -> int:
        """The numbers, or max_tokens if rows are padded to them."""
        return self.max_tokens if self.pad_to_max_tokens and self.max_tokens else self.vocabulary_size()

    def entries(self, x: Any) -> np.ndarray:
        """What is looked up, as the vocabulary has it."""
        raise NotImplementedError

    def number_of(self, x: np.ndarray) -> np.ndarray:
        """The number of every entry."""
        if self.vocabulary is None:
            raise ValueError(f"{self.label}: has no vocabulary yet; call adapt(data), or give vocabulary=")
        entries = self.entries(x)
        found = [self._numbers.get(entry, self._of_unknown(entry)) for entry in entries.ravel().tolist()]
        if None in found:
            entry = entries.ravel()[found.index(None)]
            raise ValueError(f"{self.label}: {entry!r} is not in the vocabulary; leave num_oov_indices=0 out to allow it")
        return np.array(found, np.int64).reshape(entries.shape)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The numbers, encoded."""
        if self.output_mode != "tf_idf":
            return super().compute(x, training)
        counts = encoded(self.number_of(x), "count", self.depth, self.dtype)
        weights = self.idf_weights or [0.0]
        front = [sum(weights) / len(weights)] * self.num_oov_indices  # what is unknown weighs as much as the mean
        known = np.array([*front, *weights], self.dtype)[: self.depth]
        return counts * np.pad(known, (0, self.depth - len(known))), x

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """The numbers, or their encoding; with `invert` the entries."""
        if not self.invert:
            return super().__call__(x, training)
        if values_in(x) is not None:
            raise ValueError(f"{self.label}: invert=True applies to numbers, not inside a model; call it on what predict gave")
        known = np.array(self.get_vocabulary())
        numbers = np.asarray(x)
        inside = (numbers >= 0) & (numbers < len(known))
        return np.where(inside, known[np.where(inside, numbers, 0)], self.oov_token)

    def _of_unknown(self, entry: Any) -> int | None:
        """The number of an entry that is not in the vocabulary."""
        if self.num_oov_indices < 2:
            return self._special - 1 if self.num_oov_indices else None
        place = entry if isinstance(entry, int) else zlib.crc32(entry.encode())
        return self._special - self.num_oov_indices + place % self.num_oov_indices

    @property
    def _special(self) -> int:
        """How many numbers stand before those of the vocabulary."""
        return len(self._front())

    def _front(self) -> list[Any]:
        """The mask and what is unknown, as far as they have numbers."""
        mask = [self.mask_token] if self.mask_token is not None and self.output_mode == "int" else []
        return mask + [self.oov_token] * self.num_oov_indices


class IntegerLookup(Lookup):
    """Whole numbers as places in a vocabulary of whole numbers; unknown ones are 0 by default.

    Parameters, shapes, errors: as of `Lookup`; `mask_token` is a number, `oov_token` what `invert` gives for unknown ones.
    """

    def __init__(
        self, max_tokens: int | None = None, num_oov_indices: int = 1, mask_token: int | None = None, oov_token: int = -1,
        vocabulary: Any = None, invert: bool = False, output_mode: str = "int", pad_to_max_tokens: bool = False,
        sparse: bool = False, idf_weights: Any = None, **kwargs: Any,
    ):  # fmt: skip
        for name, number in (("mask_token", mask_token), ("oov_token", oov_token)):
            if number is not None and not isinstance(number, (int, np.integer)):
                raise ValueError(f"IntegerLookup: {name} must be a whole number, got {number!r}; StringLookup is for words")
        special = num_oov_indices, mask_token, oov_token
        given = vocabulary, idf_weights
        super().__init__(max_tokens, *special, given, invert, output_mode, pad_to_max_tokens, sparse, **kwargs)

    @property
    def input_dtype(self) -> Any:
        """Whole numbers."""
        return np.dtype(np.int64)

    def entries(self, x: Any) -> np.ndarray:
        """Whole numbers."""
        return np.asarray(x).astype(np.int64)


class StringLookup(Lookup):
    """Words as places in a vocabulary; unknown ones are 0 by default.

    Parameters, shapes, errors: as of `Lookup`; `mask_token` and `oov_token` are words; `encoding` of bytes.
    It is applied to words, not inside a model: `model.fit(lookup(words), y)`.
    """

    def __init__(
        self, max_tokens: int | None = None, num_oov_indices: int = 1, mask_token: str | None = None, oov_token: str = "[UNK]",
        vocabulary: Any = None, invert: bool = False, output_mode: str = "int", pad_to_max_tokens: bool = False,
        sparse: bool = False, encoding: str = "utf-8", idf_weights: Any = None, **kwargs: Any,
    ):  # fmt: skip
        self.encoding = encoding
        special = num_oov_indices, mask_token, oov_token
        given = vocabulary, idf_weights
        super().__init__(max_tokens, *special, given, invert, output_mode, pad_to_max_tokens, sparse, **kwargs)

    def entries(self, x: Any) -> np.ndarray:
        """Words; bytes are decoded."""
        words = np.asarray(x)
        if words.dtype.kind not in "USO":
            raise ValueError(f"{self.label}: expected words, got {words.dtype}; IntegerLookup is for whole numbers")
        plain = [word.decode(self.encoding) if isinstance(word, bytes) else str(word) for word in words.ravel().tolist()]
        return np.array(plain, object).reshape(words.shape)

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """The numbers, or their encoding; with `invert` the words."""
        if values_in(x) is not None:
            raise ValueError(f"{self.label}: applies to words, not inside a model; call it first: model.fit(lookup(words), y)")
        if self.invert:
            return super().__call__(x)
        return self.compute(x, False)[0]
