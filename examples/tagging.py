"""What the experiments with labels per word share: batches of sentences of about one length, decoding, and the best epoch."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from experiment import add_workers, one_per_processor

from minitl.callbacks import Callback
from minitl.embeddings import Vectors, load_vectors
from minitl.models import Model
from minitl.ops import crf
from minitl.parallel import each
from minitl.utils import Sequence as BatchSequence

WAYS = ("random", "static", "fine-tuned")
Sentence = list[list[str]]  # rows of columns, the word first


def words_of(sets: list[list[Sentence]]) -> Counter[str]:
    """How often each word occurs, in lower case."""
    return Counter(row[0].lower() for part in sets for sentence in part for row in sentence)


def vectors_for(sets: list[list[Sentence]], files: Sequence[str]) -> list[Vectors]:
    """The vectors of all words that occur."""
    words = words_of(sets)
    return [load_vectors(file, words) for file in files]


def word_rows(sets: list[list[Sentence]], vectors: list[Vectors], way: str, seed: int) -> tuple[dict[str, int], np.ndarray]:
    """Numbers for words from 2 on (1 is any other word), and the rows of the embedding.

    Words of the training sentences have numbers; unless all begin at random, so have words of the others that have a vector.
    """
    known = list(words_of(sets[:1]))
    if way != "random":
        others = set(words_of(sets[1:])) - set(known)
        known += sorted(word for word in others if any(word in one for one in vectors))
    words = {word: number for number, word in enumerate(known, 2)}
    given = words if way != "random" else {}
    return words, np.concatenate([one.table(given, seed, rows=len(words) + 2) for one in vectors], axis=1)


class ByLength(BatchSequence):
    """Batches of sentences of about one length, so that little is padded; in a new order in every epoch.

    Parameters: `lengths` of the sentences; `batch` sentences per batch.
    Attributes: `rows` has the numbers of each batch's sentences.
    """

    def __init__(self, lengths: list[int], batch: int, seed: int = 0, shuffle: bool = True):
        super().__init__()
        self.lengths, self.batch, self.shuffle = np.array(lengths), batch, shuffle
        self.random = np.random.default_rng(seed)
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        """Sort by length, equal ones at random, and deal the batches out anew."""
        lengths = self.lengths
        order = np.lexsort((self.random.random(len(lengths)), lengths)) if self.shuffle else np.argsort(lengths, kind="stable")
        self.rows = [order[k : k + self.batch] for k in range(0, len(order), self.batch)]
        if self.shuffle:
            self.random.shuffle(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class Batches(ByLength):
    """Batches of sentences with a label per word.

    Parameters: `inputs` per sentence an array (k, length) of numbers, each row an input of the network; `labels` per sentence
    an array (length,); `batch` sentences per batch. Padded places have the number 0 and the label -1.
    """

    def __init__(self, inputs: list[np.ndarray], labels: list[np.ndarray], batch: int, seed: int = 0, shuffle: bool = True):
        super().__init__([len(one) for one in labels], batch, seed, shuffle)
        self.inputs, self.labels = inputs, labels

    def __getitem__(self, index: int) -> tuple[list[np.ndarray], np.ndarray]:
        rows = self.rows[index]
        longest = max(len(self.labels[row]) for row in rows)
        inputs = np.zeros((len(self.inputs[0]), len(rows), longest), np.int32)
        labels = np.full((len(rows), longest), -1)
        for k, row in enumerate(rows):
            inputs[:, k, : len(self.labels[row])] = self.inputs[row]
            labels[k, : len(self.labels[row])] = self.labels[row]
        return list(inputs), labels


def predicted(model: Model, inputs: list[np.ndarray], labels: list[np.ndarray], names: Sequence[str]) -> list[list[str]]:
    """The best sequence of tags of every sentence; of the labels, only their number is looked at."""
    batches, found = Batches(inputs, labels, 64, shuffle=False), [[""]] * len(labels)
    for rows, (x, y) in zip(batches.rows, (batches[k] for k in range(len(batches))), strict=True):
        best = crf.decode(model.predict_on_batch(x), (y >= 0).sum(axis=1))
        for row, numbers in zip(rows, best, strict=True):
            found[row] = [names[number] for number in numbers if number >= 0]
    return found


class BestEpoch(Callback):
    """Keeps the weights of the epoch at which `measure(model)` was highest.

    Attributes: `best` that value; `epoch` counted from 1.
    """

    def __init__(self, measure: Callable[[Model], float]):
        self.measure, self.best, self.epoch = measure, -1.0, 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure."""
        value = self.measure(self.model)
        if value > self.best:
            self.best, self.epoch, self.weights = value, epoch + 1, [w.copy() for w in self.model.get_weights()]

    def on_train_end(self, logs: Any = None) -> None:
        """Go back to the best."""
        self.model.set_weights(self.weights)


def compare(task: Callable[..., tuple[float, float]], arguments: argparse.Namespace, cells: dict[str, list[np.ndarray]]) -> None:
    """Add each way's scores of all seeds, on the sentences to choose with and on the test sentences, to a table's cells."""
    settings = (arguments.data, tuple(arguments.vectors), arguments.quick, arguments.epochs, arguments.width)
    started = time.perf_counter()
    tasks = [(way, seed, *settings) for way in arguments.ways for seed in range(arguments.seeds)]
    found = np.array(each(task, tasks, arguments.workers, arguments.keep, arguments.dask))
    for way, scores in zip(arguments.ways, found.reshape(len(arguments.ways), arguments.seeds, 2), strict=True):
        cells[way] = [scores[:, 0], scores[:, 1]]
        print(f"  {way}: test {np.round(scores[:, 1], 1)}")
    print(f"  {time.perf_counter() - started:.0f} s", flush=True)


def say_gain(cells: dict[str, list[np.ndarray]]) -> None:
    """One sentence: what vectors are worth."""
    if {"random", "static"} <= set(cells):
        gain = float(np.mean(cells["static"][1]) - np.mean(cells["random"][1]))
        print(f"Frozen published vectors are worth {gain:+.1f} points of F1.")


def command_line(description: str | None, epochs: int, width: int) -> argparse.ArgumentParser:
    """The options that these experiments share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with the sentences")
    parser.add_argument("--vectors", nargs="+", required=True, help="files with word vectors, put side by side")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--width", type=int, default=width, help="channels of the convolutions")
    parser.add_argument("--quick", action="store_true")
    add_workers(parser, one_per_processor())  # batches are small: two threads take more than half of one's time
    return parser
