"""Semantic roles: who did what to whom, found by a dilated convolutional tagger on frozen, learnt and random word vectors.

    python examples/semantic_roles.py --data FOLDER --vectors FILE     English Web Treebank with PropBank; 20 minutes
    ... --quick                                                        a twentieth of the sentences, one seed
    ... --twin                          the last of the ways with the same network in PyTorch, too (one seed)

FOLDER has train, dev and test (or .gz): per token a line `word POS roleset`, then one column of brackets per predicate
(`(ARG0*`, `*`, `*)`), as the CoNLL-2005 task writes them; predicates are given. Per predicate, every word of the sentence is its
vector, its part of speech, its distance to the predicate, and whether it is a capital or a number (R. Collobert et al., JMLR
2011); dilated convolutions with a way around them see 60 words, and a linear chain chooses the labels together.

F1 of spans by the rules of CoNLL-2005: the predicate itself does not count, and the parts of an argument that was torn apart
(C-ARG1) count together with it, as one. The baseline calls the words before the predicate, back to a verb or a comma, ARG0, and
those behind it, to the next comma or full stop, ARG1. The epoch is chosen on dev; test is used for the table alone.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from experiment import table
from named_entities import shape_of
from tagging import Batches, BestEpoch, Sentence, command_line, compare, predicted, say_gain, vectors_for, word_rows

from minitl.datasets.sentences import read_columns
from minitl.embeddings import Vectors
from minitl.layers import Add, Concatenate, Conv1D, Dense, Dropout, Embedding, Input, Transitions
from minitl.metrics.spans import Span, brackets_of, span_scores, spans_of, tags_of
from minitl.models import Model
from minitl.optimizers import Adam
from minitl.schedules import LinearDecay
from minitl.utils import set_random_seed

DILATIONS = (1, 2, 4, 8, 1)
BATCH = 32
FAR = 20  # distances to the predicate are told apart up to here
RARE = 30  # roles that occur less often in the training sentences are not learnt
Argument = tuple[tuple[Span, ...], str]


class Predicates:
    """Sentences as numbers, one entry per predicate.

    Attributes: `inputs` (4, length) numbers of words, parts of speech, distances, ways of writing; `labels` (length,);
    `arguments` the right ones; `tokens`, `places` the words, their parts of speech, and where the predicate stands.
    """

    def __init__(self, sentences: list[Sentence], words: dict[str, int], speech: dict[str, int], labels: dict[str, int]):
        self.inputs, self.labels, self.arguments, self.tokens, self.places = [], [], [], [], []
        for sentence in sentences:
            numbers = np.array([words.get(row[0].lower(), 1) for row in sentence])
            parts = np.array([speech.get(row[1], 1) for row in sentence])
            shapes = np.array([shape_of(row[0]) + 1 for row in sentence])
            predicates = [place for place, row in enumerate(sentence) if row[2] != "-"]
            for column, place in enumerate(predicates, 3):
                spans = [span for span in brackets_of([row[column] for row in sentence]) if span[2] != "V"]
                distance = np.clip(np.arange(len(sentence)) - place, -FAR, FAR) + FAR + 1
                self.inputs.append(np.stack([numbers, parts, distance, shapes]))
                kept = [span for span in spans if f"B-{span[2]}" in labels]
                self.labels.append(np.array([labels.get(tag, 0) for tag in tags_of(kept, len(sentence))]))
                self.arguments.append(joined(spans))
                self.tokens.append([(row[0], row[1]) for row in sentence])
                self.places.append(place)


def joined(spans: list[Span]) -> list[Argument]:
    """Arguments from spans: C-X belongs to the last X before it, and makes an argument of two parts."""
    found: list[tuple[list[Span], str]] = []
    for first, last, kind in sorted(spans):
        name = kind.removeprefix("C-")
        before = [k for k, (_, other) in enumerate(found) if other == name]
        if kind != name and before:
            found[before[-1]][0].append((first, last, name))
        elif name != "V":
            found.append(([(first, last, name)], name))
    return [(tuple(parts), name) for parts, name in found]


def baseline(tokens: list[tuple[str, str]], place: int) -> list[Argument]:
    """ARG0 before the predicate, ARG1 behind it."""
    first, last = place, place + 1
    while first > 0 and tokens[first - 1][1][:1] not in ("V", ",", ".", ":", "M"):
        first -= 1
    while last < len(tokens) and tokens[last][1][:1] not in (",", ".", ":", "V"):
        last += 1
    spans = [(first, place, "ARG0")] * (first < place) + [(place + 1, last, "ARG1")] * (last > place + 1)
    return joined(spans)


def network(rows: np.ndarray, trainable: bool, speech: int, labels: int, width: int) -> Model:
    """Four embeddings side by side, dilated convolutions with a way around each, one score per label, and the chain."""
    inputs = [Input((None,), dtype="int32") for _ in range(4)]
    vectors = [
        Embedding(*rows.shape, weights=rows, trainable=trainable, mask_zero=True)(inputs[0]),
        Embedding(speech, 16, mask_zero=True)(inputs[1]),
        Embedding(2 * FAR + 2, 20, mask_zero=True)(inputs[2]),
        Embedding(8, 4, mask_zero=True)(inputs[3]),
    ]
    x = Conv1D(width, 3, padding="same", activation="relu")(Dropout(0.3)(Concatenate()(vectors)))
    for dilation in DILATIONS:
        new = Conv1D(width, 3, padding="same", dilation_rate=dilation, activation="relu")(Dropout(0.2)(x))
        x = Add()([x, new])
    return Model(inputs, Transitions()(Dense(labels)(Dropout(0.3)(x))))


def f1(model: Model, data: Predicates, names: list[str]) -> float:
    """Of whole arguments, in per cent."""
    found = (joined(spans_of(tags)) for tags in predicted(model, data.inputs, data.labels, names))
    return 100 * span_scores(data.arguments, found)["f1"]


def read(folder: str, quick: bool) -> list[list[Sentence]]:
    """Training, development and test sentences; a twentieth of each if it should be quick."""
    sets = []
    for name in ("train", "dev", "test"):
        plain = Path(folder) / name
        sets.append(read_columns(plain if plain.exists() else f"{plain}.gz", separator="\t"))
    return [part[: len(part) // 20] for part in sets] if quick else sets


def prepare(sets: list, vectors: list[Vectors], way: str, seed: int) -> tuple[list[Predicates], np.ndarray, dict, list[str]]:
    """The three sets as numbers, the rows of the embedding, the parts of speech, and the names of the labels."""
    words, rows = word_rows(sets, vectors, way, seed)
    speech = {tag: number for number, tag in enumerate(sorted({row[1] for s in sets[0] for row in s}), 2)}
    kinds = Counter(
        cell.partition("*")[0][1:] for s in sets[0] for row in s for cell in row[3:] if cell.startswith("(") and cell[1:3] != "V*"
    )
    names = ["O", *(f"{prefix}-{kind}" for kind in sorted(kinds) if kinds[kind] >= RARE for prefix in "BI")]
    labels = {name: number for number, name in enumerate(names)}
    return [Predicates(part, words, speech, labels) for part in sets], rows, speech, names


def run(sets: list, vectors: list[Vectors], way: str, seed: int, epochs: int, width: int) -> tuple[float, float]:
    """F1 on dev at the best epoch, and on test."""
    set_random_seed(seed)
    (train, dev, test), rows, speech, names = prepare(sets, vectors, way, seed)
    model = network(rows, way != "static", len(speech) + 2, len(names), width)
    batches = Batches(train.inputs, train.labels, BATCH, seed)
    model.compile(Adam(LinearDecay(1e-3, epochs * len(batches)), global_clipnorm=5.0), "chain_crossentropy")
    best = BestEpoch(lambda m: f1(m, dev, names))
    model.fit(batches, epochs=epochs, callbacks=[best], verbose=0)
    return best.best, f1(model, test, names)


def task(way: str, seed: int, folder: str, files: tuple[str, ...], quick: bool, epochs: int, width: int) -> tuple[float, float]:
    """One tagger, which other processes may train."""
    sets = read(folder, quick)
    return run(sets, vectors_for(sets, files), way, seed, epochs, width)


def main(arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Print the table; returns {way: F1 on test of all seeds}."""
    sets = read(arguments.data, arguments.quick)
    everything = [Predicates(part, {}, {}, {}) for part in sets]
    print(", ".join(f"{len(part.places):,}" for part in everything) + " predicates", flush=True)
    guessed = [[baseline(*pair) for pair in zip(part.tokens, part.places, strict=True)] for part in everything[1:]]
    scores = [100 * span_scores(p.arguments, g)["f1"] for p, g in zip(everything[1:], guessed, strict=True)]
    cells: dict[str, list[Any]] = {"baseline": [np.array([score]) for score in scores]}
    compare(task, arguments, cells)
    if arguments.twin:
        from semantic_roles_twin import run as run_twin  # PyTorch is needed for this alone

        started, way = time.perf_counter(), arguments.ways[-1]
        found = run_twin(sets, vectors_for(sets, arguments.vectors), way, 0, arguments.epochs, arguments.width)
        cells[f"{way}, PyTorch"] = [np.array([score]) for score in found]
        print(f"  twin: {time.perf_counter() - started:.0f} s", flush=True)
    table("F1 of arguments, %", cells, ["dev", "test"])
    say_gain(cells)
    return {way: values[1] for way, values in cells.items()}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = command_line(__doc__, epochs=4, width=128)
    parser.set_defaults(ways=["random", "static"])  # within half an hour
    parser.add_argument("--twin", action="store_true", help="train the same network in PyTorch, too")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.epochs = 1, 4
    return arguments


if __name__ == "__main__":
    main(parse())
