"""Named entities: a convolutional tagger with a conditional random field, and what word vectors are worth to it.

    python examples/named_entities.py --data FOLDER --vectors FILE     CoNLL-2003; about 25 minutes
    ... --quick                                                        a tenth of the sentences, one seed

FOLDER has the shared task's eng.train, eng.testa and eng.testb (or .gz); FILE holds GloVe or word2vec vectors. Every word is
its vector (of the lower-case word), how it is written (capitals, digits), its first three, last three and last two letters;
two convolutions look at its neighbours, and a linear chain chooses the labels of a sentence together (R. Collobert et al.,
JMLR 2011, the sentence approach). With vectors

    random        that begin at random and are learnt
    static        published and frozen
    fine-tuned    published and learnt along

F1 of whole entities by the rules of the shared task. The epoch is chosen on testa; testb is used for the table alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from experiment import table
from tagging import Batches, BestEpoch, Sentence, command_line, compare, predicted, say_gain, vectors_for, word_rows, words_of

from minitl.datasets.sentences import read_columns
from minitl.embeddings import Vectors
from minitl.layers import Concatenate, Conv1D, Dense, Dropout, Embedding, Input, Transitions
from minitl.metrics.spans import span_scores, spans_of
from minitl.models import Model
from minitl.optimizers import Adam
from minitl.schedules import LinearDecay
from minitl.utils import set_random_seed

BATCH = 32
AFFIXES = (slice(0, 3), slice(-3, None), slice(-2, None))  # letters of a word that are looked up by themselves


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


def iobes(tags: list[str]) -> list[str]:
    """Tags that also say where an entity ends: B- begins one, I- is inside, E- is its last word, S- its only one."""
    out = ["O"] * len(tags)
    for first, last, kind in spans_of(tags):
        out[first:last] = [f"B-{kind}", *[f"I-{kind}"] * (last - first - 2), f"E-{kind}"] if last - first > 1 else [f"S-{kind}"]
    return out


class Tagged:
    """Sentences as numbers.

    Attributes: `inputs` per sentence the numbers of words, ways of writing and affixes; `labels`, `tags`.
    """

    def __init__(self, sentences: list[Sentence], words: dict[str, int], affixes: list[dict[str, int]], labels: dict[str, int]):
        self.tags = [iobes([row[-1] for row in sentence]) for sentence in sentences]
        self.labels = [np.array([labels.get(tag, 0) for tag in tags]) for tags in self.tags]
        self.inputs = []
        for sentence in sentences:
            tokens = [row[0] for row in sentence]
            numbers = [words.get(token.lower(), 1) for token in tokens]
            parts = [[known.get(t[cut].lower(), 1) for t in tokens] for cut, known in zip(AFFIXES, affixes, strict=True)]
            self.inputs.append(np.array([numbers, [shape_of(token) for token in tokens], *parts]))


def network(rows: np.ndarray, trainable: bool, affixes: list[int], labels: int, width: int) -> Model:
    """Word, writing and affixes side by side, two convolutions, one score per label, and the chain."""
    inputs = [Input((None,), dtype="int32") for _ in range(2 + len(affixes))]
    vectors = [
        Embedding(*rows.shape, weights=rows, trainable=trainable, mask_zero=True)(inputs[0]),
        Embedding(7, 5, mask_zero=True)(inputs[1]),
        *(Embedding(count, 20, mask_zero=True)(x) for count, x in zip(affixes, inputs[2:], strict=True)),
    ]
    x = Dropout(0.5)(Concatenate()(vectors))
    for size in (5, 3):
        x = Dropout(0.5)(Conv1D(width, size, padding="same", activation="relu")(x))
    return Model(inputs, Transitions()(Dense(labels)(x)))


def f1(model: Model, data: Tagged, names: list[str]) -> float:
    """Of whole entities, in per cent."""
    return 100 * span_scores(map(spans_of, data.tags), map(spans_of, predicted(model, data.inputs, data.labels, names)))["f1"]


def run(sets: list[list[Sentence]], vectors: list[Vectors], way: str, seed: int, epochs: int, width: int) -> tuple[float, float]:
    """F1 on testa at the best epoch, and on testb."""
    set_random_seed(seed)
    words, rows = word_rows(sets, vectors, way, seed)
    seen = [sorted({row[0][cut].lower() for sentence in sets[0] for row in sentence}) for cut in AFFIXES]
    affixes = [{part: number for number, part in enumerate(parts, 2)} for parts in seen]
    names = ["O", *sorted({tag for s in sets[0] for tag in iobes([row[-1] for row in s])} - {"O"})]
    labels = {name: k for k, name in enumerate(names)}
    train, dev, test = (Tagged(part, words, affixes, labels) for part in sets)
    model = network(rows, way != "static", [len(known) + 2 for known in affixes], len(names), width)
    batches = Batches(train.inputs, train.labels, BATCH, seed)
    model.compile(Adam(LinearDecay(2e-3, epochs * len(batches)), global_clipnorm=5.0), "chain_crossentropy")
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
    return run(sets, vectors_for(sets, files), way, seed, epochs, width)


def main(arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Print the table; returns {way: F1 on testb of all seeds}."""
    sets = read(arguments.data, arguments.quick)
    covers = [one.coverage(words_of(sets)) for one in vectors_for(sets, arguments.vectors)]
    cover = max(covers, key=lambda found: found["tokens"])
    print(
        f"{', '.join(f'{len(part):,}' for part in sets)} sentences; vectors for {100 * cover['tokens']:.1f} % of the text",
        flush=True,
    )
    cells: dict[str, list[Any]] = {}
    compare(task, arguments, cells)
    table("F1 of entities, %", cells, ["testa", "testb"])
    say_gain(cells)
    return {way: values[1] for way, values in cells.items()}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = command_line(__doc__, epochs=10, width=300)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.epochs = 1, 8
    return arguments


if __name__ == "__main__":
    main(parse())
