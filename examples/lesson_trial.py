"""The transfer game of the lesson's page, played by minitl: two symbols, three examples each; which way wins?

    python examples/lesson_trial.py [--trials 20]

In every trial two digits stand for the two symbols, in fonts that the letters network has never seen. The same 20 steps of Adam
as on the page, from the same packaged network: its convolutions frozen, everything learning, or from random weights; then 100
other images of the two. How often each way was the best alone, and the mean.
"""

from __future__ import annotations

import argparse

import numpy as np
from experiment import add_workers, table

from minitl.applications import classic, load
from minitl.datasets import glyphs
from minitl.models import Sequential
from minitl.optimizers import Adam
from minitl.parallel import each
from minitl.transfer import freeze, replace_head
from minitl.utils import set_random_seed

WAYS = ("freeze", "everything", "random")
STEPS, EXAMPLES, TESTS = 20, 3, 50


def trial(seed: int) -> list[float]:
    """Per cent of other images that are told apart, for every way."""
    random = np.random.default_rng([5, seed])
    pair = random.choice(10, 2, replace=False)
    x, y = glyphs.draw("digits", 1200, glyphs.TEST_FONTS, random)
    x, y = x.astype(np.float32) / 255, y[:, 0]
    rows = [np.flatnonzero(y == digit)[: EXAMPLES + TESTS] for digit in pair]
    train, test = np.concatenate([r[:EXAMPLES] for r in rows]), np.concatenate([r[EXAMPLES:] for r in rows])
    labels, right = np.repeat([0, 1], EXAMPLES), (y[test] == pair[1]).astype(int)
    found = []
    for way in WAYS:
        set_random_seed(seed)
        model: Sequential = classic(2) if way == "random" else replace_head(load("letters"), 2, copy=True)
        if way == "freeze":
            freeze(model, "conv*")
        model.compile(Adam(1e-3), "sparse_categorical_crossentropy")
        for _ in range(STEPS):
            model.train_on_batch(x[train], labels)
        found.append(100 * float(np.mean(model.predict(x[test], verbose=0).argmax(axis=1) == right)))
    return found


def main(arguments: argparse.Namespace) -> np.ndarray:
    """Print the table; returns accuracies (trials, ways)."""
    tasks = [(seed,) for seed in range(arguments.trials)]
    found = np.array(each(trial, tasks, arguments.workers, arguments.keep, arguments.dask))
    table("way", {way: [found[:, k]] for k, way in enumerate(WAYS)}, ["right, %"])
    best = found.max(axis=1, keepdims=True)
    alone = (found == best) & ((found == best).sum(axis=1, keepdims=True) == 1)
    for k, way in enumerate(WAYS):
        print(f"{way} was the best alone in {alone[:, k].sum()} of {len(found)} trials")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    add_workers(parser)
    main(parser.parse_args())
