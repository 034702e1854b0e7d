"""What a better base is worth: CIFAR-100 -> CIFAR-10 by a linear probe, on the small packaged base and on the large one.

    python examples/better_base.py                  5 seeds, both bases; a few minutes
    python examples/better_base.py --scratch 3      beside it, the large network from scratch, 3 seeds: half an hour

Every image becomes the mean of the features of itself and of its mirror image, once; a softmax regression on them has its
strength chosen by cross-validation on the labels alone (`minitl.photographs.head`). The control from scratch is `fast_cifar`
by its own recipe (shifts, mirror images, smoothed labels), with more epochs for fewer labels. `--validate` measures on 5,000
images of the training set; the test images are for the table alone. Mean +- 95 % interval over seeds; the labels vary.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from experiment import ahead, few, show, table, views_accuracy

from minitl import plot
from minitl.applications import load
from minitl.applications.fast_cifar import RECIPES, compile_fast, fast_batches, fast_cifar
from minitl.datasets import cifar10
from minitl.models import Model
from minitl.photographs import head
from minitl.preprocessing.image import predict_views
from minitl.utils import set_random_seed, to_categorical

BASES = {"small base": "cifar100_small", "large base": "cifar100"}
LABELS = (5, 25, 100, 500)
EPOCHS = {5: 100, 25: 60, 100: 40, 500: 16}  # of the network from scratch
HELD_OUT = 5000


def features(name: str, *sets: np.ndarray) -> list[np.ndarray]:
    """The inputs of a base's last layer with weights, for some sets of images."""
    base = load(name)
    layer = next(layer for layer in reversed(base.layers) if layer.parameters)
    cut = Model(base.input, layer.input)
    return [predict_views(cut, base.preprocessing(x)) for x in sets]


def scratch(x: np.ndarray, y: np.ndarray, measured: tuple, epochs: int, seed: int) -> float:
    """Accuracy of the large network from random weights, in per cent."""
    set_random_seed(seed)
    mean, deviation = x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2))
    x, x_test = ((z.astype(np.float32) - mean) / deviation for z in (x, measured[0]))
    model = fast_cifar(10, images=x)
    batch = min(500, max(25, len(x) // 10))
    callbacks = compile_fast(model, len(x), batch, RECIPES["cifar10"]._replace(epochs=epochs))
    targets = to_categorical(y, 10).astype(np.float32)
    model.fit(fast_batches(x, targets, batch, seed), epochs=epochs, callbacks=callbacks, verbose=0)
    return views_accuracy(model, x_test, measured[1])


def main(arguments: argparse.Namespace) -> dict[str, list[np.ndarray]]:
    """Print the table, draw the curves; returns accuracies of all seeds by way and labels."""
    started = time.perf_counter()
    (x, y), (x_test, y_test) = cifar10.load_data()
    y, y_test = y.reshape(-1), y_test.reshape(-1)
    if arguments.validate:
        x_test, y_test = x[-HELD_OUT:], y[-HELD_OUT:]
    x_test, y_test = x_test[: arguments.tests], y_test[: arguments.tests]
    x, y = x[:-HELD_OUT], y[:-HELD_OUT]
    drawn = {(k, seed): few(np.arange(len(x)), y, k, np.random.default_rng([seed, k]))
             for k in arguments.labels for seed in range(max(arguments.seeds, arguments.scratch))}  # fmt: skip
    rows = np.unique(np.concatenate([picked for picked, _ in drawn.values()]))
    cells: dict[str, list[np.ndarray]] = {}
    for title, name in BASES.items():
        known, tests = features(name, x[rows], x_test)
        for k in arguments.labels:
            found = []
            for seed in range(arguments.seeds):
                picked, labels = drawn[k, seed]
                z = known[np.searchsorted(rows, picked)]
                strength, _ = head.chosen(z, labels, 10, seed)
                kernel, bias = head.fit(z, labels, strength, 10)
                found.append(100 * float(((tests @ kernel + bias).argmax(axis=1) == y_test).mean()))
            cells.setdefault(title, []).append(np.array(found))
            print(f"  {title}, {k} labels: {show(cells[title][-1])}, {time.perf_counter() - started:.0f} s", flush=True)
    for k in arguments.labels if arguments.scratch else ():
        found = [scratch(x[drawn[k, seed][0]], drawn[k, seed][1], (x_test, y_test), EPOCHS.get(k, 16), seed)
                 for seed in range(arguments.scratch)]  # fmt: skip
        cells.setdefault("large, from scratch", []).append(np.array(found))
        print(f"  from scratch, {k} labels: {show(np.array(found))}, {time.perf_counter() - started:.0f} s", flush=True)
    print(f"\nCIFAR-100 -> CIFAR-10, accuracy in % on {len(x_test)} {'held-out' if arguments.validate else 'test'} images")
    table("labels per class", cells, [str(k) for k in arguments.labels])
    conclude(cells, arguments.labels)
    if len(arguments.labels) > 1:
        figure = {title: np.array(values) for title, values in cells.items()}
        small, large = (cells[title][0].mean() for title in BASES)
        title = f"A better base is worth {large - small:.0f} points with {arguments.labels[0]} labels per class"
        plot.comparison(arguments.labels, figure, "labels per class", "test accuracy, %", title, arguments.output)
    return cells


def conclude(cells: dict[str, list[np.ndarray]], labels: list[int]) -> None:
    """Say what the better base adds, and where it stops being ahead of training from scratch."""
    small, large = (cells[title] for title in BASES)
    gains = ", ".join(f"{np.mean(b) - np.mean(a):+.1f}" for a, b in zip(small, large, strict=True))
    print(f"The large base is worth {gains} points over the small one, at {', '.join(map(str, labels))} labels per class.")
    if "large, from scratch" in cells:
        beaten = [k for k, b, c in zip(labels, large, cells["large, from scratch"], strict=True) if not ahead(b, c)]
        print(
            f"From {beaten[0]} labels on it is not clearly ahead of scratch."
            if beaten
            else "It is ahead of scratch at all of them."
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, nargs="+", default=list(LABELS), metavar="K", help="labels per class")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scratch", type=int, default=0, metavar="SEEDS", help="also train the large network from scratch")
    parser.add_argument("--tests", type=int, help="use only so many images to measure on")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--output", default="better_base.png")
    main(parser.parse_args())
