"""Handwriting: what other alphabets teach about characters never seen, and letters about digits.

    python examples/handwriting.py --data FOLDER     22 minutes on two cores, as two processes; Omniglot, letters
    ... --quick                                      one seed, few trials, under two minutes

FOLDER has omniglot_images_background_small1.zip, ..._small2.zip and omniglot_all_runs.zip (github.com/brendenlake/omniglot),
and for the second half mnist_10k_10k.npz (x_train, y_train, x_test, y_test) and letters_az.npz (x, y).

1. Omniglot, the official one-shot test: 20 runs, each with one example of 20 characters and 20 images to be told apart, none of
   whose characters was seen before. A network learns to tell the background characters apart, each also turned by quarters (so
   there are four times as many classes); its features, less the mean of the run's images, are compared by their angle. Beside
   it: pixels, and a network with random weights. Then episodes of 5 and 20 classes with 1 and 5 examples of characters from
   alphabets that were held out: prototypes (means of features) against a new head on the frozen network.
2. Letters -> MNIST with 1, 5 and 20 labels per class: a linear probe, fine-tuning, and scratch with its rate and its number of
   updates chosen on a fifth of the labels, then trained again on all.
"""

from __future__ import annotations

import argparse
import io
import re
import time
import zipfile
from pathlib import Path

import numpy as np
from experiment import accuracy, add_workers, epochs_for, few, once, one_per_processor, table, train
from PIL import Image

from minitl.layers import Activation, BatchNormalization, Conv2D, Dense, Dropout, GlobalAveragePooling2D, Input, MaxPooling2D
from minitl.models import Model, Sequential
from minitl.optimizers import Adam
from minitl.parallel import each
from minitl.preprocessing.image import augmented
from minitl.schedules import CosineDecay
from minitl.transfer import fine_tune, freeze, replace_head
from minitl.utils import set_random_seed

SIDE = 32
LABELS = (1, 5, 20)  # per digit
UPDATES = 150  # of a network that learns digits
EPISODES = ((5, 1), (5, 5), (20, 1))  # classes, and examples of each
Characters = dict[str, np.ndarray]  # alphabet/character -> drawings (20, SIDE, SIDE)


def read_image(data: bytes) -> np.ndarray:
    """White ink on black, SIDE x SIDE, 0 to 1; thin strokes survive the shrinking by areas."""
    picture = Image.open(io.BytesIO(data)).convert("L").point(lambda v: 255 - v)
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255


def read_omniglot(folder: Path) -> Characters:
    """All characters of the two small background sets."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for part in (1, 2):
        with zipfile.ZipFile(folder / f"omniglot_images_background_small{part}.zip") as archive:
            for name in archive.namelist():
                match = re.search(r"([^/]+/character\d+)/([^/]+)\.png$", name)
                if match:
                    found.setdefault(match[1], {})[match[2]] = read_image(archive.read(name))
    if not found:
        raise ValueError(f"{folder}: no ALPHABET/characterNN/*.png in the archives")
    return {name: np.stack([drawings[key] for key in sorted(drawings)]) for name, drawings in sorted(found.items())}


def read_runs(folder: Path) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The official runs: the 20 examples, the 20 test images, and which example each belongs to."""
    runs = []
    with zipfile.ZipFile(folder / "omniglot_all_runs.zip") as archive:
        for run in range(1, 21):
            pairs = [line.split() for line in archive.read(f"run{run:02}/class_labels.txt").decode().splitlines() if line.strip()]
            names = sorted({example for _, example in pairs})
            examples = np.stack([read_image(archive.read(name)) for name in names])
            tests = np.stack([read_image(archive.read(test)) for test, _ in pairs])
            runs.append((examples, tests, np.array([names.index(example) for _, example in pairs])))
    return runs


def read(folder: str) -> tuple[Characters, list]:
    """All that Omniglot has here."""
    return read_omniglot(Path(folder)), read_runs(Path(folder))


def network(classes: int, width: int = 64) -> Sequential:
    """Four convolutions with normalisation, the mean over the image as features, and one dense layer."""
    model = Sequential([Input((SIDE, SIDE, 1))])
    for k, filters in enumerate((width, width, 2 * width, 2 * width)):
        model.add(Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal"))
        model.add(BatchNormalization(momentum=0.9))  # runs on few labels have few updates
        model.add(Activation("relu"))
        if k < 3:
            model.add(MaxPooling2D())
    model.add(GlobalAveragePooling2D(name="features"))
    model.add(Dropout(0.3))
    model.add(Dense(classes, activation="softmax"))
    return model


def turned_classes(characters: Characters) -> tuple[np.ndarray, np.ndarray]:
    """All drawings, each turned by 0 to 3 quarters: every turn of a character is a class."""
    x = np.concatenate([np.rot90(drawings, turn, (1, 2)) for drawings in characters.values() for turn in range(4)])
    y = np.concatenate([np.full(len(d), 4 * k + turn) for k, d in enumerate(characters.values()) for turn in range(4)])
    return np.ascontiguousarray(x[..., None]), y


def wobble(
    x: np.ndarray, y: np.ndarray, rows: np.ndarray, epoch: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Every drawing a little turned, scaled, sheared and shifted."""
    n, side = len(x), x.shape[1]
    angle, scale = random.uniform(-0.26, 0.26, n), random.uniform(0.85, 1.15, (2, n))
    shear, shift = random.uniform(-0.2, 0.2, n), random.uniform(-3, 3, (2, n))
    angle, scale, shear, shift = (numbers.astype(x.dtype)[..., None, None] for numbers in (angle, scale, shear, shift))
    i, j = (np.mgrid[:side, :side] - (side - 1) / 2).astype(x.dtype)
    c, s = np.cos(angle), np.sin(angle)
    # Where every pixel comes from, in images with a border of zeros, on which all lies that comes from outside.
    a = (scale[0] * (c * i - s * j) + shear * j + shift[0] + (side + 1) / 2).clip(0, side + 1)
    b = (scale[1] * (s * i + c * j) + shift[1] + (side + 1) / 2).clip(0, side + 1)
    pixels, wide = np.pad(x[..., 0], ((0, 0), (1, 2), (1, 2))).reshape(-1), side + 3
    top, left = a.astype(np.int32), b.astype(np.int32)  # rounded down, since none is negative
    at = (np.arange(n, dtype=np.int32)[:, None, None] * wide + top) * wide + left
    a, b = a - np.floor(a), b - np.floor(b)
    upper, lower = ((1 - b) * pixels[at + row] + b * pixels[at + row + 1] for row in (0, wide))
    return ((1 - a) * upper + a * lower)[..., None], y


def features_of(model: Sequential, x: np.ndarray) -> np.ndarray:
    """Features of length 1; those of small shifts of the image are added up."""
    cut = Model(model.input, model.get_layer("features").output)
    total = 0
    for shift in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        total = total + cut.predict(np.roll(x, shift, axis=(1, 2))[..., None], batch_size=100, verbose=0)
    total = total - total.mean(axis=0)
    return total / np.linalg.norm(total, axis=1, keepdims=True)


def one_shot_error(runs: list, embed: object) -> float:
    """Per cent of the test images whose nearest example is of another character; features see a run's images together."""
    wrong = total = 0
    for examples, tests, right in runs:
        found = embed(np.concatenate([examples, tests]))  # type: ignore[operator]
        nearest = (found[len(examples) :] @ found[: len(examples)].T).argmax(axis=1)
        wrong, total = wrong + int((nearest != right).sum()), total + len(right)
    return 100 * wrong / total


def pixels_of(x: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    rows = x.reshape(len(x), -1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pretrained(characters: Characters, seed: int, epochs: int) -> Sequential:
    """A network that tells the characters and their turns apart."""
    set_random_seed(seed)
    x, y = turned_classes(characters)
    model = network(int(y.max()) + 1)
    model.compile(Adam(CosineDecay(2e-3, epochs * -(-len(x) // 100))), "sparse_categorical_crossentropy")
    model.fit(augmented(x, y, wobble, batch_size=100, seed=seed), epochs=epochs, verbose=0)
    return model


def omniglot(seed: int, folder: str, epochs: int, episodes: int) -> dict[str, float]:
    """One seed: the official test's error, and accuracies on episodes of alphabets that were held out."""
    characters, runs = once(read, folder)
    model = pretrained(characters, seed, epochs)
    found = {"network": one_shot_error(runs, lambda x: features_of(model, x))}
    set_random_seed(seed)
    untrained = network(2)
    found["random network"] = one_shot_error(runs, lambda x: features_of(untrained, x))
    found["pixels"] = one_shot_error(runs, pixels_of)
    alphabets = sorted({name.split("/")[0] for name in characters})
    held = set(np.random.default_rng(seed).permutation(alphabets)[: max(2, len(alphabets) // 4)])
    inside = {name: d for name, d in characters.items() if name.split("/")[0] not in held}
    outside = [d for name, d in characters.items() if name.split("/")[0] in held]
    base = pretrained(inside, seed, max(2, epochs // 2))
    random = np.random.default_rng([seed, 1])
    for classes, shots in EPISODES:
        scores: dict[str, list[float]] = {"prototypes": [], "fine-tuned": [], "scratch": [], "pixels": []}
        for _ in range(episodes):
            picked = random.choice(len(outside), classes, replace=False)
            drawings = [outside[k][random.permutation(20)] for k in picked]
            x, y = np.concatenate([d[:shots] for d in drawings]), np.repeat(np.arange(classes), shots)
            tests, right = np.concatenate([d[shots : shots + 5] for d in drawings]), np.repeat(np.arange(classes), 5)
            for name, embed in (("prototypes", lambda z: features_of(base, z)), ("pixels", pixels_of)):
                vectors = embed(np.concatenate([x, tests]))
                means = np.stack([vectors[: len(x)][y == c].mean(axis=0) for c in range(classes)])
                scores[name].append(100 * float(np.mean((vectors[len(x) :] @ means.T).argmax(axis=1) == right)))
            tuned = replace_head(base, classes, copy=True)
            freeze(tuned, "conv*"), freeze(tuned, "batch*")
            for name, new in (("fine-tuned", tuned), ("scratch", network(classes))):
                new.compile(Adam(1e-2 if name == "fine-tuned" else 1e-3), "sparse_categorical_crossentropy")
                new.fit(x[..., None], y, batch_size=len(x), epochs=30, verbose=0)
                scores[name].append(100 * float(np.mean(new.predict(tests[..., None], verbose=0).argmax(axis=1) == right)))
        found.update({f"{classes}-way {shots}-shot, {name}": float(np.mean(values)) for name, values in scores.items()})
    return found


def letters_to_digits(seed: int, folder: str, epochs: int, tests: int) -> dict[str, list[float]]:
    """One seed: accuracy on MNIST per number of labels, for every way."""
    letters, digits = np.load(Path(folder) / "letters_az.npz"), np.load(Path(folder) / "mnist_10k_10k.npz")

    def padded(x: np.ndarray) -> np.ndarray:
        return np.pad(x.astype(np.float32) / 255, ((0, 0), (2, 2), (2, 2)))[..., None]

    set_random_seed(seed)
    x, y = padded(letters["x"]), letters["y"].astype(int) - int(letters["y"].min())
    base = network(int(y.max()) + 1)
    base.compile(Adam(CosineDecay(2e-3, epochs * -(-len(x) // 50))), "sparse_categorical_crossentropy")
    base.fit(augmented(x, y, wobble, batch_size=50, seed=seed), epochs=epochs, verbose=0)
    x_test, y_test = padded(digits["x_test"][:tests]), digits["y_test"][:tests].astype(int)
    found: dict[str, list[float]] = {"linear probe": [], "lp-ft": [], "scratch, tuned": []}
    for k in LABELS:
        x, y = few(padded(digits["x_train"]), digits["y_train"].astype(int), k, np.random.default_rng([seed, k]))
        passes = epochs_for(UPDATES, len(x))
        for strategy in ("linear probe", "lp-ft"):
            set_random_seed(100 + seed)
            model = replace_head(base, 10, copy=True)
            fine_tune(model, (x, y), strategy, epochs=passes, batch_size=32, verbose=0)
            found[strategy].append(100 * float(np.mean(model.predict(x_test, verbose=0).argmax(axis=1) == y_test)))
        inside, best = np.arange(len(x)) % 5 != 0, (-1.0, 1e-3, passes)
        for rate in (1e-3, 3e-3):
            for times in (1, 3):
                set_random_seed(100 + seed)
                model = train(network(10), x[inside], y[inside], times * passes, rate)
                best = max(best, (accuracy(model, x[~inside], y[~inside]), rate, times * passes))
        set_random_seed(100 + seed)
        found["scratch, tuned"].append(accuracy(train(network(10), x, y, best[2], best[1]), x_test, y_test))
    return found


def main(arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Print both tables; returns the official test's errors by method."""
    started, seeds = time.perf_counter(), range(arguments.seeds)
    tasks = [(seed, arguments.data, arguments.epochs, arguments.episodes) for seed in seeds]
    found = each(omniglot, tasks, arguments.workers, arguments.keep, arguments.dask)
    errors = {name: np.array([one[name] for one in found]) for name in ("network", "random network", "pixels")}
    print("\nOmniglot, the official 20 runs of 20-way one-shot (400 trials)")
    table("", {name: [values] for name, values in errors.items()}, ["error, %"])
    names = [f"{classes}-way {shots}-shot" for classes, shots in EPISODES]
    ways = ("prototypes", "fine-tuned", "scratch", "pixels")
    rows = {way: [np.array([one[f"{name}, {way}"] for one in found]) for name in names] for way in ways}
    print("\nEpisodes of characters from alphabets that were held out, accuracy in %")
    table("", rows, names)
    if (Path(arguments.data) / "letters_az.npz").exists():
        tasks = [(seed, arguments.data, arguments.epochs, arguments.tests) for seed in seeds]
        digits = each(letters_to_digits, tasks, arguments.workers, arguments.keep, arguments.dask)
        print("\nletters -> MNIST, accuracy in %")
        rows = {way: [np.array([one[way][k] for one in digits]) for k in range(len(LABELS))] for way in digits[0]}
        table("labels per class", rows, [str(k) for k in LABELS])
    print(f"{time.perf_counter() - started:.0f} s")
    return errors


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--tests", type=int, default=5000, help="MNIST test images")
    parser.add_argument("--quick", action="store_true")
    add_workers(parser, one_per_processor())
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.epochs, arguments.episodes, arguments.tests = 1, 2, 2, 1000
    return arguments


if __name__ == "__main__":
    main(parse())
