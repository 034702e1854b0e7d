"""How transferable is each layer? Yosinski et al. 2014 (arXiv 1411.1792) on a CPU, with the classes of CIFAR-100.

    python examples/transferability.py             half an hour on two cores at most
    python examples/transferability.py --quick     three minutes

The classes are split in two halves, A and B. For every depth n the lowest n layers of a network come from a base, the others
are drawn anew, and the whole is trained on B:

    BnB   from a network trained on B, frozen       does freezing alone hurt (layers that had learnt to fit each other)?
    BnB+  the same, fine-tuned
    AnB   from a network trained on A, frozen       how special to A are the lowest n layers?
    AnB+  the same, fine-tuned                      does starting from A help?

for random halves, and for far ones (man-made things against natural ones). Mean +- 95 % interval over seeds, on test
images of B.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from experiment import accuracy, add_workers, ahead, show, table, train

from minitl import plot
from minitl.applications import classic
from minitl.datasets import cifar100
from minitl.models import Sequential
from minitl.parallel import each
from minitl.transfer import draw_again, freeze, replace_head
from minitl.utils import set_random_seed

KINDS = {
    "BnB": "base B, frozen", "BnB+": "base B, fine-tuned", "AnB": "base A, frozen", "AnB+": "base A, fine-tuned",
}  # fmt: skip
LAYERS = ("conv2d", "conv2d_1", "conv2d_2", "dense")
# Superclasses of CIFAR-100: food containers, household electrical devices, household furniture, large man-made outdoor
# things, vehicles 1 and 2; the others are natural (people left out).
MAN_MADE, PEOPLE = (3, 5, 6, 9, 18, 19), (14,)


def halves(split: str, coarse: np.ndarray, fine: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The classes of A and of B: random, or far apart and then 30 each."""
    if split == "random":
        classes = generator.permutation(100)
        return classes[:50], classes[50:]
    group = {int(f): int(c) for f, c in zip(fine, coarse, strict=True)}
    made = [f for f, c in group.items() if c in MAN_MADE]
    natural = [f for f, c in group.items() if c not in MAN_MADE + PEOPLE]
    sides = [generator.permutation(made)[:30], generator.permutation(natural)[:30]]
    return (sides[0], sides[1]) if generator.random() < 0.5 else (sides[1], sides[0])


def subset(data: tuple, classes: np.ndarray, per_class: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The images of some classes, numbered from 0."""
    x, y = data
    picked = [np.flatnonzero(y == c)[:per_class] for c in classes]
    labels = np.concatenate([np.full(len(p), i) for i, p in enumerate(picked)])
    return x[np.concatenate(picked)].astype(np.float32) / 255, labels


def built_on(base: Sequential, n: int, classes: int, fixed: bool) -> Sequential:
    """The lowest n layers with weights from a base, the others new."""
    model = replace_head(base, classes, copy=True)
    model.trainable = True
    if n < len(LAYERS):
        draw_again(model, list(LAYERS[n:]))
    if fixed:
        freeze(model, depth=n)
    return model


def run(split: str, seed: int, per_class: int, epochs: int) -> tuple[float, np.ndarray]:
    """Accuracy of the plain network on B, and of every kind at every depth (kinds, depths)."""
    (x, fine), (x_test, fine_test) = cifar100.load_data()
    fine, fine_test, coarse = fine[:, 0], fine_test[:, 0], cifar100.load_data("coarse")[0][1][:, 0]
    set_random_seed(seed)
    a, b = halves(split, coarse, fine, np.random.default_rng([seed, split == "far"]))
    on_a, on_b = (subset((x, fine), side, per_class) for side in (a, b))
    test = subset((x_test, fine_test), b, None)
    base_a, base_b = (train(classic(len(a)), *side, epochs) for side in (on_a, on_b))
    results = np.empty((len(KINDS), len(LAYERS)))
    for i, kind in enumerate(KINDS):
        for n in range(1, len(LAYERS) + 1):
            set_random_seed(100 * seed + 10 * i + n)
            model = built_on(base_b if kind[0] == "B" else base_a, n, len(b), fixed=kind[-1] != "+")
            results[i, n - 1] = accuracy(train(model, *on_b, epochs), *test)
    return accuracy(base_b, *test), results


def main(arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Run everything; returns (kinds, depths, seeds) by split."""
    if arguments.quick:
        arguments.seeds, arguments.per_class, arguments.epochs, arguments.splits = 2, 60, 4, ["random", "far"]
    started = time.perf_counter()
    found = {}
    for split in arguments.splits:
        tasks = [(split, seed, arguments.per_class, arguments.epochs) for seed in range(arguments.seeds)]
        plain, values = zip(*each(run, tasks, arguments.workers, arguments.keep, arguments.dask), strict=True)
        found[split] = np.stack(values, axis=-1)
        report(split, np.array(plain), found[split], arguments)
    draw(found, arguments.output)
    print(f"figure in {arguments.output}; {time.perf_counter() - started:.0f} s")
    return found


def report(split: str, plain: np.ndarray, values: np.ndarray, arguments: argparse.Namespace) -> None:
    """The table of a split, and which of the paper's findings the numbers confirm."""
    print(f"\n{split} halves; accuracy on B in %, mean +- 95 % interval, {arguments.seeds} seeds; base on B: {show(plain)}\n")
    table("", {kind: values[i] for i, kind in enumerate(KINDS)}, [f"n = {n}" for n in range(1, len(LAYERS) + 1)])
    if arguments.seeds < 2:
        return
    b, _, a, plus = values
    said = {True: "confirmed", False: "not confirmed"}
    print()
    print(f"the first layer is general (A1B is not below B1B by more than both intervals): {said[not ahead(b[0], a[0])]}")
    print(f"higher layers are special (A{len(LAYERS)}B is below A1B by more than both intervals): {said[ahead(a[0], a[-1])]}")
    fragile = min(range(len(LAYERS)), key=lambda n: b[n].mean())
    print(
        f"layers that fit each other are broken by the cut (some BnB is below base B by more): {said[ahead(plain, b[fragile])]}"
    )
    print(f"starting from A and fine-tuning helps (mean of AnB+ above base B by more): {said[ahead(plus.mean(axis=0), plain)]}")


def draw(found: dict[str, np.ndarray], output: str) -> None:
    """The figure of the paper: accuracy against depth, a panel a split."""
    curves = {
        f"{split} halves": {f"{kind}: {meaning}": cells for (kind, meaning), cells in zip(KINDS.items(), values, strict=True)}
        for split, values in found.items()
    }
    lost = {split: values[2, 0].mean() - values[2, -1].mean() for split, values in found.items()}
    told = ", ".join(f"{points:.0f} points with {split} halves" for split, points in lost.items())
    title = f"Deep layers of a base that learnt other classes (A), frozen, cost accuracy on B: {told}"
    plot.panels(range(1, len(LAYERS) + 1), curves, "layers kept from the base, n", "test accuracy on B, %", title, output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds, few pictures, three minutes")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--per-class", type=int, default=150, help="training pictures per class")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--splits", nargs="+", choices=["random", "far"], default=["random", "far"])
    parser.add_argument("--output", default="transferability.png")
    add_workers(parser)
    main(parser.parse_args())
