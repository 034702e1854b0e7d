"""Which layers change in fine-tuning? Distances, similarity (linear CKA) and filters, before and after, under each strategy.

    python examples/what_moved.py     letters -> digits, the base that comes with the package; no download, two minutes

Mean +- 95 % interval over seeds (labels and heads vary). Similarity is measured on digits in fonts that no training saw.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from experiment import BATCH, accuracy, add_workers, epochs_for, few, interval, table
from few_shot import SETTINGS

from minitl import plot
from minitl.applications import load
from minitl.datasets import glyphs
from minitl.parallel import each
from minitl.transfer import STRATEGIES, fine_tune, gradient_norms, layer_similarity, replace_head, weight_distance
from minitl.utils import set_random_seed

LAYERS = ("conv2d", "conv2d_1", "conv2d_2", "dense")


def of_seed(seed: int, labels: int, updates: int) -> tuple[dict, dict, list[float], np.ndarray]:
    """One seed: distance, similarity and accuracy by strategy; gradients after a probe; the filters after "full"."""
    pool = glyphs.draw("digits", 3000, glyphs.TRAIN_FONTS, np.random.default_rng(7))
    x_test, y_test = glyphs.draw("digits", 1000, glyphs.TEST_FONTS, np.random.default_rng(8))
    x_test = x_test.astype(np.float32) / 255
    base = load("letters")
    x, y = few(*pool, labels, np.random.default_rng([seed, labels]))
    x = x.astype(np.float32) / 255
    found, right, gradients, filters = {}, {}, [], np.empty(0)
    for strategy in STRATEGIES:
        set_random_seed(1000 + seed)
        model = replace_head(base, 10, copy=True)
        settings = {"epochs": epochs_for(updates, len(x)), **SETTINGS.get(strategy, {})}
        fine_tune(model, (x, y), strategy, batch_size=BATCH, verbose=0, **settings)
        distance, similarity = weight_distance(base, model), layer_similarity(base, model, x_test[:300])
        found[strategy] = [[distance[n] for n in LAYERS], [similarity[n] for n in LAYERS]]
        right[strategy] = accuracy(model, x_test, y_test)
        if strategy == "full":
            filters = model.layers[0].parameters["kernel"].copy()
        if strategy == "linear probe":  # where the first steps of fine-tuning would go
            model.trainable = True
            norms = gradient_norms(model, x, y)
            gradients = [norms[n] for n in LAYERS]
    return found, right, gradients, filters


def main(arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Run everything; returns by strategy an array (2, layers, seeds): distance and similarity."""
    started = time.perf_counter()
    tasks = [(seed, arguments.labels, arguments.updates) for seed in range(arguments.seeds)]
    seeds = each(of_seed, tasks, arguments.workers, arguments.keep, arguments.dask)
    found = {name: np.stack([one[0][name] for one in seeds], axis=-1) for name in STRATEGIES}
    right = {name: np.array([one[1][name] for one in seeds]) for name in STRATEGIES}
    gradients = np.stack([one[2] for one in seeds], axis=-1)
    print(f"letters -> digits, {arguments.labels} labels per class, mean +- 95 % interval, {arguments.seeds} seeds\n")
    for title, index in (("distance moved, % of the weights' size", 0), ("similarity (linear CKA), %", 1)):
        table(title[:21], {n: list(100 * v[index]) for n, v in found.items()}, list(LAYERS))
        print()
    table("accuracy, %", {n: [v] for n, v in right.items()}, ["test"])
    print()
    table("gradient, %", {"after a probe": list(100 * gradients)}, list(LAYERS))
    moved = {n: v[0].mean(axis=1) for n, v in found.items()}
    most = LAYERS[int(moved["full"].argmax())]
    print(
        f"\nFull fine-tuning moves {most} most and {LAYERS[int(moved['full'].argmin())]} least; of the strategies that move all "
        f"layers, l2-sp moves conv2d by {100 * moved['l2-sp'][0]:.2f} %, lp-ft by {100 * moved['lp-ft'][0]:.2f} %, "
        f"full by {100 * moved['full'][0]:.2f} %."
    )
    draw(found, load("letters").layers[0].parameters["kernel"], seeds[-1][3], arguments.output)
    print(f"figure in {arguments.output}; {time.perf_counter() - started:.0f} s")
    return found


def draw(found: dict[str, np.ndarray], before: np.ndarray, after: np.ndarray, output: str) -> None:
    """Distances and similarities by layer; the first layer's filters before and after full fine-tuning."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[2, 1])
    for ax, index, title in zip(top.subplots(1, 2), (0, 1), ("distance moved / size", "similarity (linear CKA)"), strict=True):
        ax.set_prop_cycle(color=plot.COLOURS)
        for name, values in found.items():
            ax.errorbar(
                LAYERS, values[index].mean(axis=1), [interval(v) for v in values[index]], marker="o", capsize=2, label=name
            )
        ax.set_title(title)
        if index == 0:
            ax.set_yscale("symlog", linthresh=0.01)
        ax.grid(alpha=0.3)
    top.legend(*ax.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    axes = bottom.subplots(2, 32)
    scale = np.abs(before).max(axis=(0, 1, 2))
    for row, kernel, name in zip(axes, (before, after), ("before", "after"), strict=True):
        for i, ax in enumerate(row):
            ax.imshow(np.clip(0.5 + 0.5 * kernel[..., i] / scale[i], 0, 1))
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(name)
    plot.save(figure, output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=20, help="labels per class")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--output", default="what_moved.png")
    add_workers(parser)
    main(parser.parse_args())
