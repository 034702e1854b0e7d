"""A small target of real photographs: hands that sign a digit, from a folder with a folder for every class.

    python examples/sign_digits.py DIR

The images are read at 32x32. A fifth is the test set (a random split: where several images are of one person, people are
on both sides, and the accuracy is that of known hands). For a few numbers of labels per class: from scratch with as many
updates, a random base, and the bases that come with the package, as a probe and fine-tuned: letters, and CIFAR-100 learnt by a
small network and by a large one. Mean +- 95 % interval over seeds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from experiment import accuracy, add_workers, ahead, drawn, few, once, table
from few_shot import scratch, transferred, tuned

from minitl import plot
from minitl.applications import load
from minitl.parallel import each
from minitl.preprocessing.image import ImageDataGenerator
from minitl.utils import set_random_seed

WAYS = [(base, strategy) for base in ("letters", "cifar100_small", "cifar100") for strategy in ("linear probe", "full", "lp-ft")]
DRAWN = (
    "scratch, tuned", "random base", "letters, full", "cifar100_small, full", "cifar100, linear probe", "cifar100, full",
)  # fmt: skip
METHODS = ["scratch", "scratch, tuned", "random base", *(f"{base}, {strategy}" for base, strategy in WAYS)]


def read(folder: str) -> tuple[np.ndarray, np.ndarray]:
    """All images (N, 32, 32, 3) in 0 .. 1, and their labels."""
    data = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        folder, target_size=(32, 32), class_mode="sparse", shuffle=False, batch_size=256, interpolation="box"
    )
    batches = list(data.one_pass())
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches]).astype(int)


def seen_by(method: str, x: np.ndarray) -> np.ndarray:
    """Images 0 .. 1 as a method's network wants them."""
    return load("cifar100").preprocessing(255 * x) if method.startswith("cifar100,") else x


def run(method: str, x: np.ndarray, y: np.ndarray, updates: int, seed: int):
    """One network by one method."""
    set_random_seed(1000 + seed)
    if method == "scratch, tuned":
        return tuned(x, y, updates, 1000 + seed)
    if method in ("scratch", "random base"):
        return scratch(x, y, updates, 1e-3, frozen=method == "random base")
    x = seen_by(method, x)
    base, strategy = method.split(", ")
    return transferred(load(base), x, y, updates, strategy, large=base == "cifar100")


def of_seed(seed: int, folder: str, labels: list[int], updates: int) -> tuple[np.ndarray, int]:
    """One split and draw of labels: accuracies (labels, methods), and the number of all images."""
    x, y = once(read, folder)
    order = np.random.default_rng([21, seed]).permutation(len(x))
    test, pool = order[: len(x) // 5], order[len(x) // 5 :]
    results = np.empty((len(labels), len(METHODS)))
    for i, k in enumerate(labels):
        few_x, few_y = few(x[pool], y[pool], k, np.random.default_rng([seed, k]))
        for j, method in enumerate(METHODS):
            results[i, j] = accuracy(run(method, few_x, few_y, updates, seed), seen_by(method, x[test]), y[test])
    return results, len(x)


def main(arguments: argparse.Namespace) -> np.ndarray:
    """Run everything; returns accuracies (labels, methods, seeds)."""
    started = time.perf_counter()
    classes = sum(entry.is_dir() for entry in Path(arguments.folder).iterdir())
    if classes != 10:
        raise SystemExit(f"{arguments.folder} has {classes} classes; this example is about ten")
    tasks = [(seed, arguments.folder, arguments.labels, arguments.updates) for seed in range(arguments.seeds)]
    found = each(of_seed, tasks, arguments.workers, arguments.keep, arguments.dask)
    results, pictures = np.stack([one for one, _ in found], axis=-1), found[0][1]
    print(f"\nphotographs of hands, about {arguments.updates} updates, accuracy in % on a random fifth of {pictures} pictures,")
    print(f"mean +- 95 % interval, {arguments.seeds} seeds\n")
    table("labels per class", {str(k): results[i] for i, k in enumerate(arguments.labels)}, METHODS)
    if arguments.seeds > 1:
        print()
        for i, k in enumerate(arguments.labels):
            best = max(range(3, len(METHODS)), key=lambda j, i=i: results[i, j].mean())
            told = "more" if ahead(results[i, best], results[i, 1]) else "not more"
            gain = results[i, best].mean() - results[i, 1].mean()
            print(f"{k:>4} labels: best is {METHODS[best]}, {gain:+.1f} points from tuned scratch ({told} than both intervals)")
    best = max(range(3, len(METHODS)), key=lambda j: results[0, j].mean())
    gain = results[0, best].mean() - results[0, 1].mean()
    title = f"Signed digits: {METHODS[best]} is {gain:.0f} points ahead with {arguments.labels[0]} labels per class"
    figure = drawn(results, METHODS, DRAWN)
    plot.comparison(arguments.labels, figure, "labels per class", "test accuracy, %", title, arguments.output)
    print(f"figure in {arguments.output}; {time.perf_counter() - started:.0f} s")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="with a folder of pictures for every digit")
    parser.add_argument("--labels", type=int, nargs="+", default=[5, 20, 100], metavar="K", help="labels per class")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--output", default="sign_digits.png")
    add_workers(parser)
    main(parser.parse_args())
