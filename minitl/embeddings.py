"""Word vectors that somebody published: GloVe and word2vec, from their files.

    vectors = load_vectors("glove.6B.100d.txt.gz", words=tokenizer.word_index)
    table = vectors.table(tokenizer.word_index)
    Embedding(*table.shape, weights=table, trainable=False)

GloVe: nlp.stanford.edu/projects/glove. word2vec: code.google.com/archive/p/word2vec.
"""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

LONGEST_WORD = 1000  # bytes; a longer one means that the file is no list of vectors


class Vectors:
    """Words and a row of numbers for each.

    Attributes: `words`, `matrix` (words, units) in float32, `index` the row of each word.
    Errors: ValueError for another number of rows than words.
    """

    def __init__(self, words: list[str], matrix: np.ndarray):
        if len(words) != len(matrix):
            raise ValueError(f"Vectors: {len(words)} words and {len(matrix)} rows")
        self.words, self.matrix = words, np.asarray(matrix, np.float32)
        self.index = {word: row for row, word in enumerate(words)}

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.index

    def __getitem__(self, word: str) -> np.ndarray:
        return self.matrix[self.index[word]]

    def __repr__(self) -> str:
        return f"<Vectors: {len(self):,} words, {self.matrix.shape[1]} numbers each>"

    def coverage(self, counts: Mapping[str, int]) -> dict[str, Any]:
        """How much of a text it knows: the shares of different words and of all tokens, and the most frequent words missing."""
        missing = sorted((word for word in counts if word not in self), key=lambda word: -counts[word])
        tokens = sum(counts.values())
        return {
            "words": 1 - len(missing) / max(1, len(counts)),
            "tokens": 1 - sum(counts[word] for word in missing) / max(1, tokens),
            "missing": missing[:20],
        }

    def table(self, word_index: Mapping[str, int], seed: int = 0, rows: int | None = None) -> np.ndarray:
        """A table for `Embedding`: each word's vector at its number.

        Formula: words without a vector get a uniform one of the same variance per column, number 0 zeros.
        Shapes: (largest number + 1, units), or `rows`.
        """
        size = rows or max(word_index.values(), default=0) + 1
        spread = np.sqrt(3 * self.matrix.var(axis=0)) if len(self) else 1.0
        table = np.random.default_rng(seed).uniform(-1, 1, (size, self.matrix.shape[1])) * spread
        table[0] = 0
        for word, number in word_index.items():
            if number < size and word in self.index:
                table[number] = self[word]
        return table.astype(np.float32)

    def nearest(self, word: str | np.ndarray, count: int = 10, without: Collection[str] = ()) -> list[tuple[str, float]]:
        """The words whose vectors point in the most similar direction, with the cosines.

        Errors: ValueError for a word without a vector.
        """
        if isinstance(word, str) and word not in self:
            raise ValueError(f"no vector for {word!r}")
        target = self[word] if isinstance(word, str) else word
        lengths = np.linalg.norm(self.matrix, axis=1) * np.linalg.norm(target)
        cosines = self.matrix @ target / np.maximum(lengths, 1e-12)
        left_out = {word, *without} if isinstance(word, str) else set(without)
        order = (int(row) for row in np.argsort(-cosines))
        return [(self.words[row], float(cosines[row])) for row in order if self.words[row] not in left_out][:count]

    def analogy(self, a: str, b: str, c: str, count: int = 1) -> list[tuple[str, float]]:
        """What is to c as b is to a: the nearest to b - a + c, the three left out.

        Source: T. Mikolov et al., arXiv 1301.3781.
        """
        missing = [word for word in (a, b, c) if word not in self]
        if missing:
            raise ValueError(f"no vector for {', '.join(map(repr, missing))}")
        return self.nearest(self[b] - self[a] + self[c], count, without=(a, b, c))

    def save(self, path: str | Path) -> None:
        """Keep the words and half-precision vectors in a small .npz file, which `load_vectors` reads."""
        from minitl.weights import atomic_file

        with atomic_file(Path(path)) as file:
            words = np.frombuffer("\n".join(self.words).encode(), np.uint8)
            np.savez_compressed(file, words=words, vectors=self.matrix.astype(np.float16))


def load_vectors(path: str | Path, words: Collection[str] | None = None, limit: int | None = None) -> Vectors:
    """Word vectors from a file: GloVe's text, word2vec's text or binary (.bin), each also as .gz, or an .npz of `Vectors.save`.

    `words` keeps those alone, so that a large file takes little memory; `limit` stops after so many lines.
    Errors: ValueError with the file and line for a vector of another width, or what is no number; OSError for no file.
    """
    path = Path(path)
    wanted = None if words is None else set(words)
    if path.suffix == ".npz":
        found = _from_npz(path)
    elif ".bin" in path.suffixes:
        found = _from_binary(path, limit)
    else:
        found = _from_text(path, limit)
    names, rows = [], []
    seen: set[str] = set()
    for word, row in found:
        if word not in seen and (wanted is None or word in wanted):
            seen.add(word)
            names.append(word)
            rows.append(row)
    width = len(rows[0]) if rows else 0
    return Vectors(names, np.array(rows, np.float32).reshape(len(rows), width))


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _from_text(path: Path, limit: int | None) -> Iterator[tuple[str, np.ndarray]]:
    width = None
    with _open(path) as file:
        for number, raw in enumerate(file, 1):
            if limit is not None and number > limit:
                return
            try:
                line = raw.decode("utf-8").rstrip("\r\n ")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}, line {number}: not UTF-8 ({error.reason}); word2vec's binary files end in .bin"
                ) from error
            parts = line.split(" ")
            if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
                width = int(parts[1])  # word2vec's first line: how many, and how wide
                continue
            if width is None:
                width = len(parts) - 1
            # A few of GloVe's words have spaces in them.
            word, numbers = " ".join(parts[: len(parts) - width]), parts[len(parts) - width :]
            if len(parts) <= width or not word:
                raise ValueError(f"{path}, line {number}: expected a word and {width} numbers, got {len(parts) - 1}")
            try:
                yield word, np.array(numbers, np.float32)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: expected {width} numbers behind {word!r} ({error})") from error


def _from_binary(path: Path, limit: int | None) -> Iterator[tuple[str, np.ndarray]]:
    with _open(path) as file:
        head = file.readline(100).split()
        if len(head) != 2 or not all(part.isdigit() for part in head):
            raise ValueError(f"{path}: no word2vec file; its first line should have two numbers")
        count, width = map(int, head)
        for number in range(count if limit is None else min(limit, count)):
            word = bytearray()
            while (letter := file.read(1)) not in (b" ", b"") and len(word) < LONGEST_WORD:
                if letter != b"\n":
                    word += letter
            numbers = file.read(4 * width)
            if len(numbers) != 4 * width:
                raise ValueError(f"{path}: ends in the middle of vector {number + 1} of {count}")
            yield word.decode("utf-8", "replace"), np.frombuffer(numbers, "<f4")


def _from_npz(path: Path) -> Iterable[tuple[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as file:
        if not {"words", "vectors"} <= set(file.files):
            raise ValueError(f"{path}: expected arrays words and vectors, got {', '.join(file.files)}")
        vectors = file["vectors"].astype(np.float32) * (file["scale"] if "scale" in file.files else np.float32(1))
        words = file["words"].tobytes().rstrip(b"\0").decode().split("\n")
    if len(words) != len(vectors):
        raise ValueError(f"{path}: {len(words)} words and {len(vectors)} vectors")
    return zip(words, vectors, strict=True)
