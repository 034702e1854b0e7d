"""Transfer learning from end to end: pretrain, save, load, new head, freeze, fine-tune, and the controls that show it helped.

    python examples/transfer.py                     letters to digits, drawn at run time: no download
    python examples/transfer.py --dataset cifar     CIFAR-100 to CIFAR-10, on the large base that comes with the package
    python examples/transfer.py --dataset cifar --base own      on a small one, pretrained here

For a few numbers of labels per class, four networks get the same labels, the same number of updates and batch size:

    from scratch        the whole network, random at first
    frozen random       the convolutions stay random and frozen, only the layers on top learn
    frozen pretrained   the same with pretrained convolutions
    fine-tuned          the head alone first (the base frozen), then everything at a lower rate

The test images (for glyphs in fonts that no training ever saw) are used once, for the table. The settings below were
chosen on a part of the training data: `--validate` shows that comparison (for glyphs, two training fonts are held out).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from experiment import add_workers, ahead, once, show

from minitl import plot
from minitl.applications import classic, load
from minitl.applications.fast_cifar import fast_cifar
from minitl.callbacks import Callback, LambdaCallback
from minitl.datasets import cifar10, cifar100, glyphs
from minitl.layers import Conv2D, Dense
from minitl.models import Sequential, load_model
from minitl.optimizers import Adam
from minitl.parallel import each
from minitl.schedules import LinearDecay
from minitl.transfer import freeze, replace_head, unfreeze
from minitl.utils import set_random_seed

METHODS = ("from scratch", "frozen random", "frozen pretrained", "fine-tuned")
BATCH = 32


def train(model: Sequential, x: np.ndarray, y: np.ndarray, updates: int, rate: float, *callbacks: Callback) -> None:
    """Adam with a rate that falls linearly to zero, for a number of updates, going round the data as often as it takes."""
    model.compile(Adam(LinearDecay(rate, updates)), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=min(BATCH, len(x)), steps_per_epoch=updates, callbacks=list(callbacks), verbose=0)


def say_step(step: int, logs: dict[str, float]) -> None:
    """A line now and then, where an epoch takes long."""
    if step % 250 == 249:
        print(f"{step + 1} updates: accuracy {100 * logs['accuracy']:.1f} %", flush=True)


def accuracy(model: Sequential, x: np.ndarray, y: np.ndarray) -> float:
    """Per cent."""
    return 100 * model.evaluate(x, y, batch_size=200, verbose=0)[1]


def frozen(model: Sequential) -> dict[str, np.ndarray]:
    """Copies of all weights in layers that are frozen, to compare with later."""
    leaves = [(path, layer) for path, layer in model.named_layers() if not layer.trainable]
    return {f"{path} {i}": w.copy() for path, layer in leaves for i, w in enumerate(layer.weights)}


def assert_unmoved(model: Sequential, before: dict[str, np.ndarray]) -> None:
    """Every frozen weight is what it was, bit by bit."""
    after = frozen(model)
    assert before and before.keys() == after.keys()
    for name, weight in before.items():
        assert weight.tobytes() == after[name].tobytes(), f"{name} moved although it was frozen"


def run(method: str, base_file: Path, x: np.ndarray, y: np.ndarray, updates: int, large: bool) -> Sequential:
    """Train one network by one of METHODS."""
    if method in ("from scratch", "frozen random"):
        model = fast_cifar(10, x) if large else classic(10)
    elif large:
        model = replace_head(load_model(base_file), 10)
    else:
        # The new head is two fresh Dense layers: the pretrained Dense128 is the base's most specialised part.
        head = [Dense(128, activation="relu", kernel_initializer="he_normal"), Dense(10, "softmax", kernel_initializer="zeros")]
        if method == "fine-tuned":
            head = head[1:]
        model = replace_head(load_model(base_file), *head, remove=len(head))
    if method == "from scratch":
        train(model, x, y, updates, 1e-3)
        return model
    if method != "fine-tuned":
        freeze(model, [layer.name for layer in model.layers if isinstance(layer, Conv2D)])
        before = frozen(model)
        train(model, x, y, updates, 1e-3)
        assert_unmoved(model, before)
        return model
    freeze(model, [layer.name for layer in model.layers[:-1]])
    before = frozen(model)
    train(model, x, y, updates // 2, 1e-2)  # first the new head alone, on what the base already sees ...
    assert_unmoved(model, before)
    unfreeze(model)
    train(model, x, y, updates - updates // 2, 2e-4)  # ... then everything, gently
    return model


def glyph_data(validate: bool) -> tuple[tuple, tuple, tuple]:
    """Letters to pretrain on; digits to draw labels from; digits to measure on."""
    fonts = glyphs.TRAIN_FONTS
    held_out = ("DejaVuSerif-Italic", "cmb10") if validate else glyphs.TEST_FONTS
    if validate:
        fonts = tuple(font for font in fonts if font not in held_out)
    generators = [np.random.default_rng([7, i]) for i in range(3)]
    print("drawing 6000 letters to pretrain on", flush=True)
    letters = glyphs.draw("letters", 6000, fonts, generators[0])
    print("drawing 3500 digits to transfer to and to measure on", flush=True)
    digits = glyphs.draw("digits", 1500, fonts, generators[1])
    return letters, digits, glyphs.draw("digits", 2000, held_out, generators[2])


def cifar_data(validate: bool) -> tuple[tuple, tuple, tuple]:
    """CIFAR-100 to pretrain on; CIFAR-10 to draw labels from, and to measure on."""
    source, _ = cifar100.load_data()
    (x, y), test = cifar10.load_data()
    return source, (x[:45000], y[:45000]), (x[45000:], y[45000:]) if validate else test


def few(x: np.ndarray, y: np.ndarray, labels: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The same number of images of each class."""
    picked = [generator.choice(np.flatnonzero(y[:, 0] == c), labels, replace=False) for c in range(10)]
    return x[np.concatenate(picked)], y[np.concatenate(picked)]


def load_data(cifar: bool, validate: bool, large: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """The three sets with images as the network sees them: 0 to 1, or as the large base was trained on them."""
    prepare = load("cifar100").preprocessing if large else lambda x: x.astype(np.float32) / 255
    return [(prepare(x), y) for x, y in (cifar_data if cifar else glyph_data)(validate)]


def of_seed(
    seed: int, cifar: bool, validate: bool, large: bool, epochs: int, labels: list[int], updates: int
) -> tuple[np.ndarray, int]:
    """Pretrain a base, and measure every method at every number of labels: accuracies (labels, methods), on how many images."""
    started = time.perf_counter()
    source, target, measured = once(load_data, cifar, validate, large)
    results = np.empty((len(labels), len(METHODS)))
    set_random_seed(seed)
    if large:
        base = load("cifar100")
    else:
        print(f"seed {seed}: pretraining", flush=True)
        base = classic(int(source[1].max()) + 1)
        train(base, *source, epochs * len(source[0]) // BATCH, 1e-3, LambdaCallback(on_train_batch_end=say_step))
        seen, seconds = accuracy(base, *(part[:2000] for part in source)), time.perf_counter() - started
        print(f"seed {seed}: pretrained to {seen:.1f} % of its training pictures in {seconds:.0f} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        base_file = Path(folder) / "base.npz"
        base.save(base_file)
        for i, k in enumerate(labels):
            x, y = few(*target, k, np.random.default_rng([seed, k]))
            for j, method in enumerate(METHODS):
                set_random_seed(1000 + seed)
                results[i, j] = accuracy(run(method, base_file, x, y, updates, large), *measured)
            found = ", ".join(f"{method} {result:.1f} %" for method, result in zip(METHODS, results[i], strict=True))
            print(f"seed {seed}, {k} labels per class: {found}", flush=True)
    return results, len(measured[0])


def main(arguments: argparse.Namespace) -> np.ndarray:
    """Run everything; returns accuracies (labels, methods, seeds)."""
    cifar = arguments.dataset == "cifar"
    labels = arguments.labels or ([5, 25, 100] if cifar else [2, 5, 20])
    updates = arguments.updates or (600 if cifar else 150)
    epochs = arguments.epochs or (12 if cifar else 4)
    started = time.perf_counter()
    names = ("CIFAR-100", "CIFAR-10") if cifar else ("letters", "digits")
    large = cifar and arguments.base == "large"
    tasks = [(seed, cifar, arguments.validate, large, epochs, labels, updates) for seed in range(arguments.seeds)]
    found = each(of_seed, tasks, arguments.workers, arguments.keep, arguments.dask)
    results, tests = np.stack([one for one, _ in found], axis=-1), found[0][1]

    where = "held-out training data" if arguments.validate else "test pictures"
    print(f"\n{names[0]} -> {names[1]}, {updates} updates each, accuracy on {tests} {where},")
    vary = "labels and head vary" if large else "base, labels and head vary"
    print(f"mean +- 95 % interval over {arguments.seeds} seeds ({vary}), in %\n")
    widths = [max(14, len(method) + 2) for method in METHODS]
    print(f"{'labels per class':>16}" + "".join(f"{method:>{width}}" for method, width in zip(METHODS, widths, strict=True)))
    for i, k in enumerate(labels):
        print(f"{k:>16}" + "".join(f"{show(values):>{width}}" for values, width in zip(results[i], widths, strict=True)))
    print()
    for i, k in enumerate(labels):
        gain = results[i, 3].mean() - results[i, 0].mean()
        told = "more" if ahead(results[i, 3], results[i, 0]) else "not more"
        print(f"{k} labels per class: fine-tuning is {gain:+.1f} points from scratch ({told} than both intervals)")
    figure = {method: results[:, j] for j, method in enumerate(METHODS)}
    gain = results[0, 3].mean() - results[0, 0].mean()
    title = f"{names[0]} to {names[1]}: with {labels[0]} labels per class, pretraining is worth {gain:.0f} points"
    plot.comparison(labels, figure, "labels per class", f"accuracy on {where}, %", title, arguments.output)
    print(f"\nfrozen weights stayed bitwise the same; figure in {arguments.output}; {time.perf_counter() - started:.0f} s")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["glyphs", "cifar"], default="glyphs")
    parser.add_argument("--base", choices=["large", "own"], default="large", help="of CIFAR: the package's, or pretrained here")
    parser.add_argument("--labels", type=int, nargs="+", metavar="K", help="labels per class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of pretraining")
    parser.add_argument("--updates", type=int, help="of each network on the target")
    parser.add_argument("--validate", action="store_true", help="measure on held-out training data instead of the test set")
    parser.add_argument("--output", default="transfer.png")
    add_workers(parser)
    main(parser.parse_args())
