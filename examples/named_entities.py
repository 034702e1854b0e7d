"""Named entities: a convolutional tagger with a conditional random field, and what word vectors are worth to it.

    python examples/named_entities.py --data FOLDER --vectors FILE     CoNLL-2003; about 30 minutes
    ... --quick                                                        a tenth of the sentences, one seed

FOLDER has the shared task's eng.train, eng.testa and eng.testb (or .gz); FILE holds GloVe or word2vec vectors. Every word is
its vector (of the lower-case word), how it is written (capitals, digits) and its last three letters; two convolutions look at
its neighbours, and a linear chain chooses the labels of a sentence together (R. Collobert et al., JMLR 2011, the sentence
approach). With vectors

    random        that begin at random and are learnt
    static        published and frozen
    fine-tuned    published and learnt along

F1 of whole entities by the rules of the shared task. The epoch is chosen on testa; testb is used for the table alone.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from experiment import add_workers, table

from minitl.callbacks import Callback
from minitl.datasets.sentences import read_columns
from minitl.embeddings import Vectors, load_vectors
from minitl.layers import Concatenate, Conv1D, Dense, Dropout, Embedding, Input, Transitions
from minitl.metrics.spans import span_scores, spans_of
from minitl.models import Model
from minitl.ops import crf
from minitl.optimizers import Adam
from minitl.parallel import each
from minitl.schedules import LinearDecay
from minitl.utils import Sequence, set_random_seed

WAYS = ("random", "static", "fine-tuned")
BATCH = 16
Sentence = list[list[str]]  # rows of columns


def shape_of(word: str) -> int:
    """How a word is written: 0 nothing, then lower case, capital first, all capitals, a capital inside, a digit, other."""
    if any(letter.isdigit() for letter in word):
        return 5
    if word.islower():
        return 1
    if word.isupper():
        return 3 if len(word) > 1 else 2
    if word[:1].isupper() and word[1:].islower():
        return 2
    return 4 if any(letter.isupper() for letter in word) else 6


def iob2(tags: list[str]) -> list[str]:
    """IOB2 tags from any others: the first word of an entity always has a B-."""
    out = ["O"] * len(tags)
    for first, last, kind in spans_of(tags):
        out[first:last] = [f"B-{kind}", *[f"I-{kind}"] * (last - first - 1)]
    return out


class Tagged:
    """Sentences as numbers.

    Attributes: `inputs` per sentence the numbers of words, ways of writing and endings; `labels`, `tags`.
    """

    def __init__(self, sentences: list[Sentence], words: dict[str, int], endings: dict[str, int], labels: dict[str, int]):
        self.tags = [iob2([row[-1] for row in sentence]) for sentence in sentences]
        self.labels = [np.array([labels.get(tag, 0) for tag in tags]) for tags in self.tags]
        self.inputs = []
        for sentence in sentences:
            tokens = [row[0] for row in sentence]
            numbers = [words.get(token.lower(), 1) for token in tokens]
            ends = [endings.get(token[-3:].lower(), 1) for token in tokens]
            self.inputs.append(np.array([numbers, [shape_of(token) for token in tokens], ends]))


class Batches(Sequence):
    """Batches of sentences of about one length, so that little is padded; in a new order in every epoch."""

    def __init__(self, data: Tagged, batch: int, seed: int, shuffle: bool = True):
        super().__init__()
        self.data, self.batch, self.shuffle, self.random = data, batch, shuffle, np.random.default_rng(seed)
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        """Sort by length, equal ones at random, and deal the batches out anew."""
        lengths = np.array([len(labels) for labels in self.data.labels])
        order = np.lexsort((self.random.random(len(lengths)), lengths)) if self.shuffle else np.argsort(lengths, kind="stable")
        self.rows = [order[k : k + self.batch] for k in range(0, len(order), self.batch)]
        if self.shuffle:
            self.random.shuffle(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[list[np.ndarray], np.ndarray]:
        rows = self.rows[index]
        longest = max(len(self.data.labels[row]) for row in rows)
        inputs, labels = np.zeros((3, len(rows), longest), np.int32), np.full((len(rows), longest), -1)
        for k, row in enumerate(rows):
            inputs[:, k, : len(self.data.labels[row])] = self.data.inputs[row]
            labels[k, : len(self.data.labels[row])] = self.data.labels[row]
        return list(inputs), labels


def network(rows: np.ndarray, trainable: bool, endings: int, labels: int, width: int) -> Model:
    """Word, writing and ending side by side, two convolutions, one score per label, and the chain."""
    inputs = [Input((None,), dtype="int32") for _ in range(3)]
    vectors = [
        Embedding(*rows.shape, weights=rows, trainable=trainable, mask_zero=True)(inputs[0]),
        Embedding(7, 5, mask_zero=True)(inputs[1]),
        Embedding(endings, 20, mask_zero=True)(inputs[2]),
    ]
    x = Dropout(0.5)(Concatenate()(vectors))
    for size in (5, 3):
        x = Dropout(0.5)(Conv1D(width, size, padding="same", activation="relu")(x))
    return Model(inputs, Transitions()(Dense(labels)(x)))


def predicted(model: Model, data: Tagged, names: list[str]) -> list[list[str]]:
    """The tags of all sentences."""
    batches, found = Batches(data, 64, 0, shuffle=False), [[""]] * len(data.labels)
    for rows, (x, y) in zip(batches.rows, (batches[k] for k in range(len(batches))), strict=True):
        best = crf.decode(model.predict_on_batch(x), (y >= 0).sum(axis=1))
        for row, labels in zip(rows, best, strict=True):
            found[row] = [names[label] for label in labels if label >= 0]
    return found


def f1(model: Model, data: Tagged, names: list[str]) -> float:
    """Of whole entities, in per cent."""
    return 100 * span_scores(map(spans_of, data.tags), map(spans_of, predicted(model, data, names)))["f1"]


class BestEpoch(Callback):
    """Keeps the weights of the epoch with the best F1 on some sentences."""

    def __init__(self, measure: Any):
        self.measure, self.best, self.epoch = measure, -1.0, 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure."""
        value = self.measure(self.model)
        if value > self.best:
            self.best, self.epoch, self.weights = value, epoch + 1, [w.copy() for w in self.model.get_weights()]

    def on_train_end(self, logs: Any = None) -> None:
        """Go back to the best."""
        self.model.set_weights(self.weights)


def run(sets: list[list[Sentence]], vectors: list[Vectors], way: str, seed: int, epochs: int, width: int) -> tuple[float, float]:
    """F1 on testa at the best epoch, and on testb."""
    set_random_seed(seed)
    counts = Counter(row[0].lower() for sentence in sets[0] for row in sentence)
    known = list(counts)
    if way != "random":
        others = {row[0].lower() for part in sets[1:] for sentence in part for row in sentence} - set(counts)
        known += sorted(word for word in others if any(word in one for one in vectors))
    words = {word: number for number, word in enumerate(known, 2)}
    endings = {end: k for k, end in enumerate(sorted({row[0][-3:].lower() for s in sets[0] for row in s}), 2)}
    names = ["O", *sorted({tag for s in sets[0] for tag in iob2([row[-1] for row in s])} - {"O"})]
    labels = {name: k for k, name in enumerate(names)}
    train, dev, test = (Tagged(part, words, endings, labels) for part in sets)
    given = words if way != "random" else {}
    rows = np.concatenate([one.table(given, seed, rows=len(words) + 2) for one in vectors], axis=1)
    model = network(rows, way != "static", len(endings) + 2, len(names), width)
    batches = Batches(train, BATCH, seed)
    model.compile(Adam(LinearDecay(1e-3, epochs * len(batches)), global_clipnorm=5.0), "chain_crossentropy")
    best = BestEpoch(lambda m: f1(m, dev, names))
    model.fit(batches, epochs=epochs, callbacks=[best], verbose=0)
    return best.best, f1(model, test, names)


def read(folder: str, quick: bool) -> list[list[Sentence]]:
    """Training sentences, testa and testb; a tenth of each if it should be quick."""
    sets = []
    for name in ("eng.train", "eng.testa", "eng.testb"):
        plain = Path(folder) / name
        sets.append(read_columns(plain if plain.exists() else f"{plain}.gz"))
    return [part[: len(part) // 10] for part in sets] if quick else sets


def task(way: str, seed: int, folder: str, files: tuple[str, ...], quick: bool, epochs: int, width: int) -> tuple[float, float]:
    """One tagger, which other processes may train."""
    sets = read(folder, quick)
    words = {row[0].lower() for part in sets for sentence in part for row in sentence}
    return run(sets, [load_vectors(file, words) for file in files], way, seed, epochs, width)


def main(arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Print the table; returns {way: F1 on testb of all seeds}."""
    sets = read(arguments.data, arguments.quick)
    counts = Counter(row[0].lower() for part in sets for sentence in part for row in sentence)
    vectors = [load_vectors(file, counts) for file in arguments.vectors]
    cover = vectors[0].coverage(counts)
    print(
        f"{', '.join(f'{len(part):,}' for part in sets)} sentences; vectors for {100 * cover['tokens']:.1f} % of the text",
        flush=True,
    )
    cells: dict[str, list[Any]] = {}
    for way in arguments.ways:
        started = time.perf_counter()
        seeds = range(arguments.seeds)
        settings = (arguments.data, tuple(arguments.vectors), arguments.quick, arguments.epochs, arguments.width)
        tasks = [(way, seed, *settings) for seed in seeds]
        found = np.array(each(task, tasks, arguments.workers, arguments.keep, arguments.dask))
        cells[way] = [found[:, 0], found[:, 1]]
        print(f"  {way}: {time.perf_counter() - started:.0f} s, testb {np.round(found[:, 1], 1)}", flush=True)
    table("F1 of entities, %", cells, ["testa", "testb"])
    if {"random", "static"} <= set(cells):
        gain = float(np.mean(cells["static"][1]) - np.mean(cells["random"][1]))
        print(f"Frozen published vectors are worth {gain:+.1f} points of F1.")
    return {way: values[1] for way, values in cells.items()}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with eng.train, eng.testa, eng.testb")
    parser.add_argument("--vectors", nargs="+", required=True, help="files with word vectors, put side by side")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--width", type=int, default=200, help="channels of the convolutions")
    parser.add_argument("--quick", action="store_true")
    add_workers(parser)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.epochs = 1, 8
    return arguments


if __name__ == "__main__":
    main(parse())
