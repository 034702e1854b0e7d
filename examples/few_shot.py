"""Few labels: how accuracy grows with the number of labels, for every strategy and its controls.

    python examples/few_shot.py                     CIFAR-100 -> CIFAR-10, with the large base that comes with the package
    python examples/few_shot.py --base small        the same with the small one, and every strategy; minutes
    python examples/few_shot.py --dataset glyphs    letters -> digits, a base for every seed; no download

Every method gets the same labels and the same number of updates, images and their mirror images (digits are not mirrored):

    scratch             the whole network from random weights, Adam 1e-3
    scratch, tuned      rate, and up to twice the updates, chosen on a fifth of the labels, then trained again on all
    random base         convolutions random and frozen, new dense layers on top
    linear probe        the base frozen, one layer on its Dense128 features
    new Dense128        the base's convolutions frozen, new dense layers ("reinitialize")
    full, lp-ft, l2-sp, gradual    as in `minitl.transfer.strategies`

On the large base: its own network from scratch by the recipe that it was made with (`better_base.scratch`), three strategies, and
LP-FT on the small base beside them; all are measured on images and their mirror images. Its batch normalisation stays frozen.

Settings of the strategies were chosen on images of the target's training set that are no part of the labels (`--validate`
measures on such); the test set is used for the table alone. Mean +- 95 % interval over seeds (labels and heads vary).
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from better_base import EPOCHS
from better_base import scratch as by_recipe
from experiment import BATCH, accuracy, add_workers, ahead, drawn, epochs_for, few, table, train, views_accuracy

from minitl import plot
from minitl.applications import classic, load
from minitl.applications.fast_cifar import fast_cifar
from minitl.datasets import cifar10, glyphs
from minitl.models import Sequential
from minitl.parallel import each
from minitl.transfer import STRATEGIES, batch_norm, fine_tune, freeze, replace_head
from minitl.utils import set_random_seed

LARGE = ("scratch, tuned", "random base", "linear probe", "full", "lp-ft", "small base, lp-ft")
DRAWN = ("scratch, tuned", "random base", "linear probe", "full", "lp-ft", "small base, lp-ft", "gradual")
METHODS = ("scratch", "scratch, tuned", "random base", "linear probe", "new Dense128", "full", "lp-ft", "l2-sp", "gradual")
SETTINGS = {
    "linear probe": {"rate": 2e-3, "cached": True},
    "reinitialize": {"rate": 2e-3},
    "full": {"rate": 1e-3},
    "lp-ft": {"rate": 1e-3, "head_rate": 2e-3, "cached": True},
    "l2-sp": {"rate": 1e-3, "strength": 30.0},
    "gradual": {"rate": 2e-3},
}
LARGE_SETTINGS = {
    "linear probe": {"rate": 2e-3, "cached": True},
    "full": {"rate": 3e-4},
    "lp-ft": {"rate": 2e-4, "head_rate": 2e-3, "cached": True},
    "reinitialize": {"rate": 3e-4, "layers": 2},  # a convolution and its normalisation
    "l2-sp": {"rate": 3e-4, "strength": 30.0},
    "gradual": {"rate": 1e-3},
    "surgical": {"rate": 3e-4},
}


def scratch(x: np.ndarray, y: np.ndarray, updates: int, rate: float, frozen: bool = False) -> Sequential:
    """A network from random weights; with `frozen`, its convolutions stay random."""
    model = classic(10)
    if frozen:
        freeze(model, "conv*")
    return train(model, x, y, epochs_for(updates, len(x)), rate)


def tuned(x: np.ndarray, y: np.ndarray, updates: int, seed: int) -> Sequential:
    """Rate and number of updates chosen on a fifth of the labels; then trained on all of them."""
    inside = np.arange(len(x)) % 5 != 0
    best = (-1.0, 1e-3, updates)
    for rate in (1e-3, 3e-3):
        for times in (1, 2):
            set_random_seed(seed)
            model = scratch(x[inside], y[inside], times * updates, rate)
            best = max(best, (accuracy(model, x[~inside], y[~inside]), rate, times * updates))
    set_random_seed(seed)
    return scratch(x, y, best[2], best[1])


def transferred(base: Sequential, x: np.ndarray, y: np.ndarray, updates: int, method: str, large: bool = False) -> Sequential:
    """A copy of the base with a new head, fine-tuned by a strategy; the large base's normalisation stays frozen."""
    strategy = "reinitialize" if method == "new Dense128" else method
    model = replace_head(base, 10, copy=True)
    if large:
        batch_norm(model, "frozen")
    settings = {"epochs": epochs_for(updates, len(x)), **(LARGE_SETTINGS if large else SETTINGS).get(strategy, {})}
    return fine_tune(model, (x, y), strategy, batch_size=BATCH, verbose=0, **settings)[0]


def run(method: str, base: Sequential, x: np.ndarray, y: np.ndarray, updates: int, seed: int) -> Sequential:
    """One network by one method."""
    set_random_seed(1000 + seed)
    if method == "scratch":
        return scratch(x, y, updates, 1e-3)
    if method == "scratch, tuned":
        return tuned(x, y, updates, 1000 + seed)
    if method == "random base":
        return scratch(x, y, updates, 1e-3, frozen=True)
    return transferred(base, x, y, updates, method)


def of_large_base(method: str, x: np.ndarray, y: np.ndarray, measured: tuple, updates: int, seed: int) -> float:
    """The accuracy by one of LARGE, from labelled images; all images are 0 .. 255."""
    if method == "scratch, tuned":  # it mirrors images itself
        return by_recipe(x, y, measured, EPOCHS.get(len(x) // 10, 16), seed)
    x, y = with_mirrored(x, y)
    set_random_seed(1000 + seed)
    if method == "small base, lp-ft":
        x, x_test = (images.astype(np.float32) / 255 for images in (x, measured[0]))
        model = transferred(load("cifar100_small"), x, y, updates, "lp-ft")
        return views_accuracy(model, x_test, measured[1])
    base = load("cifar100")
    x, x_test = base.preprocessing(x), base.preprocessing(measured[0])
    if method == "random base":
        model = fast_cifar(10, x)
        freeze(model, ["whitening", "conv*"])
        model = train(model, x, y, epochs_for(updates, len(x)), 1e-3)
    else:
        model = transferred(base, x, y, updates, method, large=True)
    return views_accuracy(model, x_test, measured[1])


def with_mirrored(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images, and behind them their mirror images."""
    return np.concatenate([x, x[:, :, ::-1]]), np.concatenate([y, y])


def cifar_problem(validate: bool) -> tuple:
    """CIFAR-10's training images to draw labels from, and what to measure on."""
    (x, y), test = cifar10.load_data()
    return (x[:45000], y[:45000]), (x[45000:], y[45000:]) if validate else test


def glyph_problem(validate: bool) -> tuple:
    """Digits in the training fonts, and digits in fonts that nothing has seen."""
    fonts, measured = glyphs.TRAIN_FONTS, glyphs.TEST_FONTS
    if validate:
        fonts, measured = fonts[:-2], fonts[-2:]
    return glyphs.draw("digits", 6000, fonts, np.random.default_rng(7)), glyphs.draw(
        "digits", 2000, measured, np.random.default_rng(8)
    )


def letters_base(seed: int, samples: int, validate: bool) -> Sequential:
    """A network that learnt capital letters."""
    set_random_seed(seed)
    fonts = glyphs.TRAIN_FONTS[:-2] if validate else glyphs.TRAIN_FONTS
    x, y = glyphs.draw("letters", samples, fonts, np.random.default_rng([9, seed]))
    return train(classic(26), x.astype(np.float32) / 255, y, epochs=6)


def of_seed(seed: int, base: str, labels: list[int], methods: list[str], updates: int, samples: int, tests: int | None,
            validate: bool) -> np.ndarray:  # fmt: skip
    """The accuracies of one seed (labels, methods), from the base "large", "small" or "letters"."""
    pool, measured = (glyph_problem if base == "letters" else cifar_problem)(validate)
    test_x, test_y = measured[0][:tests], measured[1][:tests]
    results = np.empty((len(labels), len(methods)))
    start = letters_base(seed, samples, validate) if base == "letters" else load("cifar100_small")
    for i, k in enumerate(labels):
        x, y = few(*pool, k, np.random.default_rng([seed, k]))
        if base == "large":
            results[i] = [of_large_base(method, x, y, (test_x, test_y), updates, seed) for method in methods]
            continue
        if base == "small":
            x, y = with_mirrored(x, y)
            order = np.random.default_rng([seed, k, 1]).permutation(len(x))
            x, y = x[order], y[order]
        x, shown = (images.astype(np.float32) / 255 for images in (x, test_x))
        for j, method in enumerate(methods):
            results[i, j] = accuracy(run(method, start, x, y, updates, seed), shown, test_y)
    return results


def main(arguments: argparse.Namespace) -> np.ndarray:
    """Run everything; returns accuracies (labels, methods, seeds)."""
    if arguments.quick:
        arguments.dataset, arguments.labels, arguments.seeds, arguments.updates = "glyphs", [5, 20], 2, 100
    cifar = arguments.dataset == "cifar"
    base = arguments.base if cifar else "letters"
    known = LARGE if base == "large" else METHODS
    methods = list(arguments.methods or known)
    if unknown := [method for method in methods if method not in known]:
        raise SystemExit(f"on the {base} base there is no {unknown[0]!r}; there are {', '.join(known)}")
    labels = arguments.labels or {"large": [5, 25, 100, 500], "small": [5, 10, 25, 50, 100, 500]}.get(base, [1, 2, 5, 10, 20, 50])
    updates = arguments.updates or (400 if cifar else 200)
    measured = (cifar_problem if cifar else glyph_problem)(arguments.validate)[1]
    test_x = measured[0][: arguments.tests]
    started = time.perf_counter()
    settings = (base, labels, methods, updates, arguments.samples, arguments.tests, arguments.validate)
    tasks = [(seed, *settings) for seed in range(arguments.seeds)]
    results = np.stack(each(of_seed, tasks, arguments.workers, arguments.keep, arguments.dask), axis=-1)

    names = "CIFAR-100 -> CIFAR-10" if cifar else "letters -> digits"
    where = "held-out training pictures" if arguments.validate else "test pictures"
    print(f"\n{names}, about {updates} updates, accuracy in % on {len(test_x)} {where},")
    print(f"mean +- 95 % interval, {arguments.seeds} seeds\n")
    table("labels per class", {str(k): results[i] for i, k in enumerate(labels)}, list(methods))
    if {"scratch, tuned", "random base"} <= set(methods) and arguments.seeds > 1:
        conclude(labels, list(methods), results)
    figure = drawn(results, methods, DRAWN)
    best = max(range(len(methods)), key=lambda j: results[0, j].mean())
    title = f"{names}: with {labels[0]} labels per class, {methods[best]} reaches {results[0, best].mean():.0f} %"
    plot.comparison(labels, figure, "labels per class", f"accuracy on {where}, %", title, arguments.output)
    print(f"figure in {arguments.output}; {time.perf_counter() - started:.0f} s")
    return results


def conclude(labels: list[int], methods: list[str], results: np.ndarray) -> None:
    """Say where transfer is ahead of tuned training from scratch by more than both intervals, and where that ends."""
    ours = [j for j, method in enumerate(methods) if method in (*STRATEGIES, "new Dense128")]
    print()
    for i, k in enumerate(labels):
        best = max(ours, key=lambda j, i=i: results[i, j].mean())
        control, random = results[i, methods.index("scratch, tuned")], results[i, methods.index("random base")]
        gain = results[i, best].mean() - control.mean()
        verdict = "more than both intervals" if ahead(results[i, best], control) else "not more than both intervals"
        print(
            f"{k:>4} labels: best is {methods[best]}, {gain:+.1f} points from tuned scratch ({verdict}), "
            f"{results[i, best].mean() - random.mean():+.1f} from the random base"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["cifar", "glyphs"], default="cifar")
    parser.add_argument("--base", choices=["large", "small"], default="large", help="that learnt CIFAR-100")
    parser.add_argument("--labels", type=int, nargs="+", metavar="K", help="labels per class")
    parser.add_argument("--methods", nargs="+", choices=sorted({*METHODS, *LARGE}), metavar="METHOD")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, help="of each network on the target")
    parser.add_argument("--samples", type=int, default=6000, help="letters to pretrain on")
    parser.add_argument("--tests", type=int, help="use only so many pictures to measure on")
    parser.add_argument("--validate", action="store_true", help="measure on held-out training data instead of the test set")
    parser.add_argument("--output", default="few_shot.png")
    parser.add_argument("--quick", action="store_true", help="glyphs, two seeds, a minute")
    add_workers(parser)
    main(parser.parse_args())
