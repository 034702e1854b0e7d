"""How fast CIFAR can be learnt on a CPU: time to 90 % and 94 % on CIFAR-10, and the best of CIFAR-100 in half an hour.

    python examples/records.py                        all three, 5 seeds each; 94 % takes a quarter of an hour per seed
    python examples/records.py --goals 90 --seeds 1   one goal, one seed
    python examples/records.py --workers 2            seeds side by side: the same accuracies, other times
    python examples/records.py --compare 4            steps of the same network in PyTorch, beside ours, and nothing else;
                                                      `--widths` makes it a wider one

Each goal is a fixed recipe of `minitl.applications.fast_cifar`; only the number of epochs, the widths of the network, the factor
of its logits, the smoothing of labels and the rate differ, and were chosen on 5,000 images of the training set (`--validate`
measures on those, and trains on the rest; `--epochs`, `--widths`, `--logits`, `--smoothing` and `--rate` try others). The test
images are looked at once, at the end of each run: no epoch and no seed is chosen by them. Times count everything from the moment
when the data are in memory: whitening, compiling what is not in the cache, training, and the evaluation with six views of each
image; beside it, from the start of the process.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np

STARTED = time.perf_counter()

from experiment import add_workers, interval, once  # noqa: E402

from minitl.applications.fast_cifar import RECIPES, Recipe, compile_fast, fast_batches, fast_cifar  # noqa: E402
from minitl.callbacks import FreezeOut  # noqa: E402
from minitl.datasets import cifar10, cifar100  # noqa: E402
from minitl.layers import Conv2D  # noqa: E402
from minitl.models import Sequential  # noqa: E402
from minitl.parallel import each  # noqa: E402
from minitl.preprocessing import Preprocessing  # noqa: E402
from minitl.preprocessing.image import predict_views  # noqa: E402
from minitl.utils import set_random_seed, to_categorical  # noqa: E402

# Each goal's data, and the recipe that reaches it.
GOALS = {
    "90": ("cifar10", Recipe(4, (64, 128, 256))),
    "94": ("cifar10", RECIPES["cifar10"]),
    "cifar100": ("cifar100", RECIPES["cifar100"]),
}
BATCH = 500
HELD_OUT = 5000


def load(name: str, validate: bool) -> tuple:
    """Training and test images as the network sees them, their labels, and how they were prepared."""
    (x, y), (x_test, y_test) = (cifar10 if name == "cifar10" else cifar100).load_data()
    prepare = Preprocessing(1.0, x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2)), size=(32, 32))
    x, x_test, y, y_test = prepare(x), prepare(x_test), y.reshape(-1), y_test.reshape(-1)
    if validate:
        return x[:-HELD_OUT], y[:-HELD_OUT], x[-HELD_OUT:], y[-HELD_OUT:], prepare
    return x, y, x_test, y_test, prepare


def run(data: tuple, recipe: Recipe, seed: int, freeze: float | None = None) -> tuple[Sequential, float, float, list]:
    """A model, its accuracy with six views in per cent, the seconds that it took, and the training accuracy per epoch."""
    x, y, x_test, y_test, prepare = data
    started = time.perf_counter()
    set_random_seed(seed)
    classes = int(y.max()) + 1
    model = fast_cifar(classes, x, recipe)
    model.preprocessing = prepare
    callbacks = compile_fast(model, len(x), BATCH, recipe)
    if freeze is not None:
        callbacks.append(FreezeOut(first=freeze))
    batches = fast_batches(x, to_categorical(y, classes).astype(np.float32), BATCH, seed)
    history = model.fit(batches, epochs=recipe.epochs, callbacks=callbacks, verbose=0)
    found = predict_views(model, x_test, shift=1).argmax(axis=1)
    return model, 100 * float(np.mean(found == y_test)), time.perf_counter() - started, history.history["accuracy"]


def of_seed(
    goal: str, name: str, recipe: Recipe, seed: int, freeze: float | None, validate: bool, save: str | None
) -> tuple[float, float, float]:
    """One seed of a goal: accuracy in per cent, its seconds, and those from the process's start to the data; prints a line."""
    data = once(load, name, validate)
    loaded = time.perf_counter() - STARTED
    model, accuracy, took, curve = run(data, recipe, seed, freeze)
    rising = " ".join(f"{100 * value:.0f}" for value in curve)
    print(f"  {goal}, seed {seed}: {accuracy:.2f} % in {took:.0f} s; training accuracy per epoch {rising}", flush=True)
    if save:
        Path(save).mkdir(parents=True, exist_ok=True)
        model.save(Path(save) / f"{goal}-{seed}.npz")
    return accuracy, took, loaded


def main(arguments: argparse.Namespace) -> dict:
    """Run the goals and print a line for each; returns {goal: (accuracies, seconds)}."""
    results = {}
    for goal in arguments.goals:
        name, recipe = GOALS[goal]
        recipe = changed(recipe, arguments)
        seeds = range(arguments.first, arguments.first + arguments.seeds)
        tasks = [(goal, name, recipe, seed, arguments.freeze, arguments.validate, arguments.save) for seed in seeds]
        found = each(of_seed, tasks, arguments.workers, arguments.keep, arguments.dask)
        accuracies, seconds, loaded = zip(*found, strict=True)
        spread = f" +- {interval(np.array(accuracies)):.2f}" if len(accuracies) > 1 else ""
        where = "held-out training images" if arguments.validate else "test images"
        print(f"{goal}: {recipe.epochs} epochs, {np.mean(accuracies):.2f}{spread} % of the {where}, n = {len(accuracies)}, in")
        times = f"{np.mean(seconds):.0f} s ({min(seconds):.0f} to {max(seconds):.0f})"
        print(f"{times}, {loaded[0]:.0f} s more from the start of the process", flush=True)
        results[goal] = accuracies, seconds
    return results


def changed(recipe: Recipe, arguments: argparse.Namespace) -> Recipe:
    """A recipe with what the command line gives instead."""
    given = {key: getattr(arguments, key) for key in Recipe._fields}
    return recipe._replace(**{key: value for key, value in given.items() if value is not None})


def compare(rounds: int, recipe: Recipe) -> float:
    """Seconds per training step, ours and PyTorch's in its better layout, turn by turn; returns the ratio of the fastest."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(2)
    x = np.random.default_rng(0).standard_normal((BATCH, 32, 32, 3), dtype=np.float32)
    y = np.eye(10, dtype=np.float32)[np.arange(BATCH) % 10]
    ours = fast_cifar(recipe=recipe)
    compile_fast(ours, BATCH, BATCH, recipe._replace(epochs=100))

    def block(channels: int, filters: int) -> list[nn.Module]:
        first, second = (
            nn.Conv2d(channels, filters, 3, padding=1, bias=False),
            nn.Conv2d(filters, filters, 3, padding=1, bias=False),
        )
        return [first, nn.MaxPool2d(2), nn.BatchNorm2d(filters), nn.GELU(), second, nn.BatchNorm2d(filters), nn.GELU()]

    def theirs(layout: torch.memory_format) -> object:
        channels = 24, *recipe.widths
        groups = [layer for before, filters in itertools.pairwise(channels) for layer in block(before, filters)]
        head = nn.MaxPool2d(3), nn.Flatten(), nn.Linear(channels[-1], 10, bias=False)
        net = nn.Sequential(nn.Conv2d(3, 24, 2), nn.GELU(), *groups, *head).to(memory_format=layout)
        net[0].weight.requires_grad = False
        optimizer = torch.optim.SGD(net.parameters(), 0.001, 0.85, weight_decay=0.01, nesterov=True)
        images = torch.tensor(x.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)
        targets = torch.arange(BATCH) % 10

        def step() -> None:
            optimizer.zero_grad()
            functional.cross_entropy(net(images) / 9, targets, label_smoothing=0.2).backward()
            optimizer.step()

        return step

    ways = {
        "minitl": lambda: ours.train_on_batch(x, y),
        "PyTorch": theirs(torch.contiguous_format),
        "PyTorch, channels last": theirs(torch.channels_last),
    }
    best = dict.fromkeys(ways, float("inf"))
    for round_ in range(rounds + 1):
        for name, step in ways.items():
            started = time.perf_counter()
            step()
            if round_:
                best[name] = min(best[name], time.perf_counter() - started)
    for name, seconds in best.items():
        print(f"{name:<24}{1000 * seconds / BATCH:8.2f} ms per image")
    ratio = best["minitl"] / min(best["PyTorch"], best["PyTorch, channels last"])
    rate = operations_per_image(ours) / (best["minitl"] / BATCH) / 1e9
    print(f"a step takes {ratio:.2f} of PyTorch's time, batch {BATCH}, two threads")
    print(f"minitl: {rate:.0f} GFLOP/s, counted as the formulas have it (`benchmarks/tile.py` prints the processor's peak)")
    return ratio


def operations_per_image(model: Sequential) -> int:
    """Multiplications and additions of a training step's convolutions: y, and both gradients; the first has no dx."""
    total = 0
    for k, layer in enumerate(layer for layer in model.layers if isinstance(layer, Conv2D)):
        _, height, width, _ = layer.output.shape
        total += (3 if k else 2) * 2 * height * width * layer.parameters["kernel"].size
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goals", nargs="+", default=list(GOALS), choices=list(GOALS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--widths", type=int, nargs=3, help="of the three groups, instead of the recipe's")
    parser.add_argument("--logits", type=float, help="the factor behind the dense layer, instead of the recipe's")
    parser.add_argument("--smoothing", type=float, help="of the labels, instead of the recipe's")
    parser.add_argument("--rate", type=float, help="the highest for a batch of 1024, instead of the recipe's")
    parser.add_argument("--freeze", type=float, help="freeze layers one after another, the first after this share of the steps")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--save", help="folder for the models")
    parser.add_argument("--compare", type=int, metavar="ROUNDS")
    add_workers(parser)
    given = parser.parse_args()
    if given.compare:
        compare(given.compare, changed(RECIPES["cifar10"], given))
    else:
        main(given)
