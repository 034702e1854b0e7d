"""What freezing saves: seconds, memory and arithmetic of an epoch by the depth of the frozen part, and with cached features.

    python examples/cost.py                  the classic network, images of random numbers; a minute
    python examples/cost.py --base large     the network of the large base; minutes

Multiply-adds are counted from the shapes: a layer's forward pass, its weight gradient and its input gradient cost the same
each; a frozen layer needs no weight gradient, and nothing below the lowest trainable layer needs an input gradient. Seconds are
the median of several epochs, all kinds taking turns. Memory is what the layers keep for the backward pass, after one step.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from minitl import plot
from minitl.applications import classic
from minitl.applications.fast_cifar import fast_cifar
from minitl.graph.run import Run
from minitl.models import Sequential
from minitl.transfer import extract_features, freeze, replace_head
from minitl.utils import set_random_seed

BATCH = 128
# Up to which layers a network is frozen; the last leaves the head alone.
CUTS = {
    "small": ("conv2d", "conv2d_1", "conv2d_2", "dense"),
    "large": ("whitening", "batch_normalization_1", "batch_normalization_3", "batch_normalization_5"),
}


def network(base: str) -> Sequential:
    """The network of a base, with a head for ten classes that is one Dense layer."""
    return classic(10) if base == "small" else replace_head(fast_cifar(10), 10)


def multiply_adds(model: Sequential) -> float:
    """Of a training step, for one image."""
    total, learns_below = 0.0, False
    for _, layer in model.named_layers():
        kernel = layer.parameters.get("kernel")
        if kernel is None:
            continue
        positions = int(np.prod(layer.output_shape[1:-1])) if kernel.ndim == 4 else 1
        once = positions * kernel.size
        total += once * (1 + layer.trainable + learns_below)
        learns_below = learns_below or layer.trainable
    return total


def kept_bytes(model: Sequential, x: np.ndarray) -> int:
    """What is held for the backward pass, beside the batch and the weights: the arrays that the run's caches reach."""
    held: list[np.ndarray] = []

    def visit(thing: object) -> None:
        if isinstance(thing, np.ndarray):
            if not any(np.may_share_memory(thing, other) for other in (x, *model.weights, *held)):
                held.append(thing)
        elif isinstance(thing, (tuple, list)):
            for item in thing:
                visit(item)
        elif isinstance(thing, Run):
            visit(thing.caches)

    run = model.new_run(keep=True, training=True)
    run.forward(model.prepare(x), training=True)
    visit(run)
    return sum(array.nbytes for array in held)


def main(arguments: argparse.Namespace) -> dict[str, float]:
    """Measure and print; returns the median seconds by name."""
    set_random_seed(0)
    generator = np.random.default_rng(0)
    x = generator.random((arguments.samples, 32, 32, 3), np.float32)
    y = generator.integers(0, 10, len(x))
    models = {}
    for cut in (None, *CUTS[arguments.base]):
        model = network(arguments.base)
        if cut is not None:
            freeze(model, upto=cut)
        model.compile("adam", "sparse_categorical_crossentropy")
        models["nothing" if cut is None else f"up to {cut}"] = model
    last = models[most_frozen := f"up to {CUTS[arguments.base][-1]}"]
    features = extract_features(last, x)
    head = Sequential([type(last.layers[-1]).from_config(last.layers[-1].get_config())])
    head.compile("adam", "sparse_categorical_crossentropy")
    models["all but the head, cached"] = head

    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(arguments.rounds + 1):
        for name, model in models.items():
            started = time.perf_counter()
            model.fit(features if model is head else x, y, batch_size=BATCH, shuffle=False, verbose=0)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: float(np.median(values[1:])) for name, values in seconds.items()}
    full, most = medians["nothing"], multiply_adds(models["nothing"])
    print(f"an epoch of {len(x)} pictures, batch {BATCH}; 'full / this' is how many times faster\n")
    print(f"{'frozen':<29}{'seconds':>9}{'full / this':>13}{'MFLOP per picture':>19}{'full / this':>13}{'kept, MiB':>11}")
    for name, model in models.items():
        work = multiply_adds(model)
        memory = kept_bytes(model, (features if model is head else x)[:BATCH]) / 2**20
        print(
            f"{name:<29}{medians[name]:>9.4f}{full / medians[name]:>13.1f}{2e-6 * work:>19.2f}{most / work:>13.1f}{memory:>11.2f}"
        )
    cached = medians["all but the head, cached"]
    print(f"\ncached features: {full / cached:.0f} times faster than the full network; frozen base without: "
          f"{full / medians[most_frozen]:.1f} times")  # fmt: skip
    draw(medians, {name: multiply_adds(model) for name, model in models.items()}, arguments.output)
    print(f"figure in {arguments.output}")
    return medians


def draw(medians: dict[str, float], work: dict[str, float], output: str) -> None:
    """Measured time beside counted arithmetic, each as a share of the full network's."""
    faster = medians["nothing"] / medians["all but the head, cached"]
    title = f"Training the head on cached features is {faster:.0f} times as fast as training everything"
    figure, (ax,) = plot.figure_of(1, 1, 7, 3.8, title)
    place = np.arange(len(medians))
    full = next(iter(medians.values())), next(iter(work.values()))
    ax.barh(place - 0.2, [100 * v / full[0] for v in medians.values()], 0.38, label="seconds, measured")
    ax.barh(place + 0.2, [100 * v / full[1] for v in work.values()], 0.38, label="multiply-adds, counted")
    ax.set_yticks(place, list(medians))
    ax.invert_yaxis()
    ax.set(xlabel="% of training everything", ylabel="frozen")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    plot.save(figure, output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", choices=["small", "large"], default="small")
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", default="cost.png")
    main(parser.parse_args())
