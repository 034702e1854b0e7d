"""Which layers change in fine-tuning? Distances, similarity (linear CKA) and filters, before and after, under each strategy.

    python examples/what_moved.py                  letters -> digits, a base that comes with the package; two minutes
    python examples/what_moved.py --base large     CIFAR-100 -> CIFAR-10, the large base, its batch normalisation frozen

Mean +- 95 % interval over seeds (labels and heads vary). Similarity is measured on images that no training saw.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from experiment import accuracy, add_workers, few, interval, once, table
from few_shot import transferred

from minitl import plot
from minitl.applications import load
from minitl.datasets import cifar10, glyphs
from minitl.models import Sequential
from minitl.parallel import each
from minitl.transfer import STRATEGIES, gradient_norms, layer_similarity, weight_distance
from minitl.utils import set_random_seed

BASES = {"letters": "letters", "large": "cifar100"}
LAYERS = {
    "letters": ("conv2d", "conv2d_1", "conv2d_2", "dense"),
    "large": ("whitening", "conv2d", "conv2d_1", "conv2d_2", "conv2d_3", "conv2d_4", "conv2d_5"),
}
DRAWN = ("full", "lp-ft", "l2-sp", "discriminative", "gradual", "surgical")


def problem(name: str) -> tuple[Sequential, tuple, tuple]:
    """A base, images to draw labels from and images to measure on, as it sees them."""
    model = load(BASES[name])
    if name == "large":
        (x, y), (x_test, y_test) = cifar10.load_data()
        return model, (model.preprocessing(x), y), (model.preprocessing(x_test[:1000]), y_test[:1000])
    x, y = glyphs.draw("digits", 3000, glyphs.TRAIN_FONTS, np.random.default_rng(7))
    x_test, y_test = glyphs.draw("digits", 1000, glyphs.TEST_FONTS, np.random.default_rng(8))
    return model, (x.astype(np.float32) / 255, y), (x_test.astype(np.float32) / 255, y_test)


def of_seed(seed: int, name: str, labels: int, updates: int) -> tuple[dict, dict, list[float], np.ndarray]:
    """One seed: distance, similarity and accuracy by strategy; gradients after a probe; the filters after "full"."""
    base, pool, (x_test, y_test) = once(problem, name)
    layers = LAYERS[name]
    x, y = few(*pool, labels, np.random.default_rng([seed, labels]))
    found, right, gradients, filters = {}, {}, [], np.empty(0)
    for strategy in STRATEGIES:
        set_random_seed(1000 + seed)
        model = transferred(base, x, y, updates, strategy, large=name == "large")
        distance, similarity = weight_distance(base, model), layer_similarity(base, model, x_test[:300])
        found[strategy] = [[distance[n] for n in layers], [similarity[n] for n in layers]]
        right[strategy] = accuracy(model, x_test, y_test)
        if strategy == "full":
            filters = model.layers[0].parameters["kernel"].copy()
        if strategy == "linear probe":  # where the first steps of fine-tuning would go
            model.trainable = True
            norms = gradient_norms(model, x, y)
            gradients = [norms[n] for n in layers]
    return found, right, gradients, filters


def main(arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Run everything; returns by strategy an array (2, layers, seeds): distance and similarity."""
    started = time.perf_counter()
    layers = LAYERS[arguments.base]
    tasks = [(seed, arguments.base, arguments.labels, arguments.updates) for seed in range(arguments.seeds)]
    seeds = each(of_seed, tasks, arguments.workers, arguments.keep, arguments.dask)
    found = {name: np.stack([one[0][name] for one in seeds], axis=-1) for name in STRATEGIES}
    right = {name: np.array([one[1][name] for one in seeds]) for name in STRATEGIES}
    gradients = np.stack([one[2] for one in seeds], axis=-1)
    names = "CIFAR-100 -> CIFAR-10" if arguments.base == "large" else "letters -> digits"
    print(f"{names}, {arguments.labels} labels per class, mean +- 95 % interval, {arguments.seeds} seeds\n")
    for title, index in (("distance moved, % of the weights' size", 0), ("similarity (linear CKA), %", 1)):
        table(title[:21], {n: list(100 * v[index]) for n, v in found.items()}, list(layers))
        print()
    table("accuracy, %", {n: [v] for n, v in right.items()}, ["test"])
    print()
    table("gradient, %", {"after a probe": list(100 * gradients)}, list(layers))
    moved = {n: v[0].mean(axis=1) for n, v in found.items()}
    most = layers[int(moved["full"].argmax())]
    print(
        f"\nFull fine-tuning moves {most} most and {layers[int(moved['full'].argmin())]} least; of the strategies that move all "
        f"layers, l2-sp moves {layers[0]} by {100 * moved['l2-sp'][0]:.2f} %, lp-ft by {100 * moved['lp-ft'][0]:.2f} %, "
        f"full by {100 * moved['full'][0]:.2f} %."
    )
    before = load(BASES[arguments.base]).layers[0].parameters["kernel"]
    draw(found, layers, before, seeds[-1][3], arguments.output)
    print(f"figure in {arguments.output}; {time.perf_counter() - started:.0f} s")
    return found


def draw(found: dict[str, np.ndarray], layers: tuple[str, ...], before: np.ndarray, after: np.ndarray, output: str) -> None:
    """Distances and similarities by layer; the first layer's filters before and after full fine-tuning."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 6.8), layout="constrained")
    drawn = [name for name in DRAWN if name in found]
    most = max(drawn, key=lambda name: found[name][0].mean())
    figure.suptitle(f"{most} fine-tuning moves the base most")
    top, bottom = figure.subfigures(2, 1, height_ratios=[2, 1])
    titles = "how far the weights moved, as a share of their size", "how alike a layer's outputs stayed (linear CKA)"
    for ax, index, title in zip(top.subplots(1, 2), (0, 1), titles, strict=True):
        ax.set_prop_cycle(color=plot.COLOURS)
        ends = []
        for name in drawn:
            values = found[name]
            line = ax.errorbar(layers, values[index].mean(axis=1), [interval(v) for v in values[index]], marker="o", capsize=2)
            ends.append((float(values[index][-1].mean()), name, line[0].get_color()))
        ax.set(title=title, ylabel="share" if index == 0 else "similarity", xlabel="layer")
        if index == 0:
            ax.set_yscale("symlog", linthresh=0.01)
            ax.legend(drawn, frameon=False, fontsize=8, loc="lower right")
        else:
            plot.label_ends(ax, ends)
        ax.grid(alpha=0.3)
    plot.note(top, "means over seeds with their 95 % intervals")
    axes = bottom.subplots(2, before.shape[-1])
    scale = np.abs(before).max(axis=(0, 1, 2))
    for row, kernel, name in zip(axes, (before, after), ("before", "after"), strict=True):
        for i, ax in enumerate(row):
            ax.imshow(np.clip(0.5 + 0.5 * kernel[..., i] / scale[i], 0, 1))
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(name)
    plot.save(figure, output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", choices=sorted(LAYERS), default="letters")
    parser.add_argument("--labels", type=int, default=20, help="labels per class")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--output", default="what_moved.png")
    add_workers(parser)
    main(parser.parse_args())
