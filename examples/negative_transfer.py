"""When transfer does not help, or hurts: bases that learnt something else, or nothing.

    python examples/negative_transfer.py     glyphs; no download, a few minutes

The target is few digits. The bases learnt, with the same network and the same number of updates,

    letters      capital letters, as they are: the base that should help
    inverted     the same letters, dark on light, while the target's digits are light on dark
    shuffled     letters with labels dealt out at random: everything can be learnt by heart, nothing is to be understood
    noise        images of noise in 26 classes, each around a pattern of its own
    none         random weights

Each base is used twice: frozen under new dense layers, and fine-tuned as a whole. The control is training from scratch with the
same number of updates. Mean +- 95 % interval over seeds; digits in fonts that no training saw.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from experiment import BATCH, accuracy, add_workers, ahead, epochs_for, few, interval, table, train
from few_shot import scratch

from minitl import plot
from minitl.applications import classic
from minitl.datasets import glyphs
from minitl.models import Sequential
from minitl.parallel import each
from minitl.transfer import fine_tune, replace_head
from minitl.utils import set_random_seed

SOURCES = ("letters", "inverted", "shuffled", "noise", "none")


def source(kind: str, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What a base learns from."""
    generator = np.random.default_rng([11, seed])
    x, y = glyphs.draw("letters", samples, glyphs.TRAIN_FONTS, generator)
    if kind == "inverted":
        x = 255 - x
    elif kind == "shuffled":
        y = generator.permutation(y)
    elif kind == "noise":
        patterns = generator.integers(0, 256, (26, 32, 32, 3))
        x = np.clip(0.5 * patterns[y[:, 0]] + 0.5 * generator.integers(0, 256, x.shape), 0, 255).astype(np.uint8)
    return x.astype(np.float32) / 255, y[:, 0]


def base(kind: str, samples: int, epochs: int, seed: int) -> tuple[Sequential, float]:
    """A network that learnt from a source, and its accuracy on it in per cent."""
    set_random_seed(seed)
    model = classic(26)
    if kind == "none":
        return model, float("nan")
    x, y = source(kind, samples, seed)
    train(model, x, y, epochs)
    return model, accuracy(model, x[:1000], y[:1000])


def measured_on() -> tuple[np.ndarray, np.ndarray]:
    """Digits in fonts that nothing has seen."""
    x, y = glyphs.draw("digits", 2000, glyphs.TEST_FONTS, np.random.default_rng(8))
    return x.astype(np.float32) / 255, y


def of_seed(seed: int, labels: int, updates: int, samples: int, epochs: int) -> tuple[float, np.ndarray, list[float]]:
    """Accuracy from scratch, from every base (sources, (frozen, fine-tuned)), and of the bases on their sources."""
    pool, (x_test, y_test) = glyphs.draw("digits", 3000, glyphs.TRAIN_FONTS, np.random.default_rng(7)), measured_on()
    x, y = few(*pool, labels, np.random.default_rng([seed, labels]))
    x = x.astype(np.float32) / 255
    passes = epochs_for(updates, len(x))
    set_random_seed(1000 + seed)
    control = accuracy(scratch(x, y, updates, 1e-3), x_test, y_test)
    results, learnt = np.empty((len(SOURCES), 2)), []
    for i, kind in enumerate(SOURCES):
        start, seen = base(kind, samples, epochs, seed)
        learnt.append(seen)
        for j, strategy in enumerate(("reinitialize", "full")):
            set_random_seed(1000 + seed)
            model = replace_head(start, 10, copy=True)
            fine_tune(model, (x, y), strategy, batch_size=BATCH, epochs=passes, rate=1e-3, verbose=0)
            results[i, j] = accuracy(model, x_test, y_test)
    return control, results, learnt


def main(arguments: argparse.Namespace) -> np.ndarray:
    """Run everything; returns accuracies (sources, (frozen, fine-tuned), seeds)."""
    started, (x_test, _) = time.perf_counter(), measured_on()
    settings = (arguments.labels, arguments.updates, arguments.samples, arguments.epochs)
    tasks = [(seed, *settings) for seed in range(arguments.seeds)]
    found = each(of_seed, tasks, arguments.workers, arguments.keep, arguments.dask)
    control, results = np.array([one[0] for one in found]), np.stack([one[1] for one in found], axis=-1)
    learnt = {kind: [one[2][i] for one in found] for i, kind in enumerate(SOURCES)}
    print(f"\ndigits, {arguments.labels} labels per class, about {arguments.updates} updates, accuracy in %,")
    print(f"mean +- 95 % interval, {arguments.seeds} seeds, {len(x_test)} test pictures\n")
    rows = {f"{kind}": [np.array(learnt[kind]), *results[i]] for i, kind in enumerate(SOURCES)}
    rows["from scratch"] = [np.full(2, np.nan), np.full(2, np.nan), control]
    table("base", rows, ["on its source", "frozen", "fine-tuned"])
    if arguments.seeds > 1:
        print()
        for i, kind in enumerate(SOURCES):
            for j, way in enumerate(("frozen", "fine-tuned")):
                helps, hurts = ahead(results[i, j], control), ahead(control, results[i, j])
                verdict = "helps" if helps else "HURTS" if hurts else "makes no difference beyond the intervals"
                print(f"{kind}, {way}: {results[i, j].mean() - control.mean():+.1f} points from scratch: {verdict}")
    draw(results, control, arguments)
    print(f"figure in {arguments.output}; {time.perf_counter() - started:.0f} s")
    return results


def draw(results: np.ndarray, control: np.ndarray, arguments: argparse.Namespace) -> None:
    """Bars by source, training from scratch as a line."""
    worst = SOURCES[int(results[:, 0].mean(axis=1).argmin())]
    title = f"Digits, {arguments.labels} labels per class: a frozen base that learnt from {worst} is worse than none"
    figure, (ax,) = plot.figure_of(1, 1, 7.6, 4.2, title)
    for j, way in enumerate(("frozen base, new layers", "fine-tuned as a whole")):
        widths = [interval(v) for v in results[:, j]]
        places = np.arange(len(SOURCES)) + 0.38 * j - 0.19
        ax.bar(places, results[:, j].mean(axis=1), 0.36, yerr=widths, capsize=3, label=way)
    ax.axhline(control.mean(), color="k", ls="--", lw=1, label="from scratch")
    ax.set_xticks(range(len(SOURCES)), SOURCES)
    ax.set(xlabel="what the base learnt from", ylabel="test accuracy, %", ylim=(0, 100))
    ax.legend(frameon=False, ncols=3, loc="upper center")
    plot.note(figure, f"means of {results.shape[-1]} seeds with their 95 % intervals")
    plot.save(figure, arguments.output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=20, help="labels per class")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=4000, help="pictures to pretrain on")
    parser.add_argument("--epochs", type=int, default=6, help="of pretraining")
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--output", default="negative_transfer.png")
    add_workers(parser)
    main(parser.parse_args())
