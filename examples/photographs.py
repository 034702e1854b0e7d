"""Photographs: what the packaged ImageNet base is worth on small sets, beside controls.

    python examples/photographs.py FOLDER [FOLDER ...]       each with train/ and test/ (or val/), a folder per class in both

As `minitl train` does: for each seed a fifth of the training photographs is held out, the classifier's strength is chosen by
cross-validation on the rest, and then it is fitted to all of them. The accuracy is measured on the test folder, which nothing
else sees. Mean +- 95 % interval over seeds:

    majority            always the largest class
    raw pixels          the same classifier on 16x16 pixels
    random base         the same on features of the network with random weights
    base                the same on EfficientNet-Lite0's features, photographs at --size: what `minitl train` does
    base, mirrored      and their mirror images for training

With --choose, instead: what was decided without any test photograph, by cross-validation on training photographs alone (of
each and its mirror image, where these are learnt too): which of the network's layers, and whether mirror images help.

With --train also, in an hour or two:

    from scratch        a small network with augmentation at 64 pixels, its learning rate chosen on the fifth
    LP-FT               the base with that head, then its upper layers fine-tuned: `minitl train --tune`
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from experiment import table

from minitl.applications import EfficientNetLite0, imagenet
from minitl.photographs import head, look
from minitl.photographs.base import PACKAGED, last_blocks, pretrained
from minitl.photographs.features import features
from minitl.photographs.folder import split
from minitl.photographs.images import batches, read
from minitl.photographs.scratch import from_scratch, small_images
from minitl.photographs.train import assembled
from minitl.photographs.tune import fine_tuned
from minitl.utils import set_random_seed

METHODS = ("majority", "raw pixels", "random base", "base", "base, mirrored")
TRAINED = ("from scratch", "LP-FT")
RATES = (1e-3, 3e-3, 1e-2)
CHOICES = ("last layer, mirrored", "block ends, mirrored", "both, mirrored", "both")


def parts(folder: Path) -> tuple:
    """Training and test photographs, each with their labels."""
    test = folder / "test" if (folder / "test").is_dir() else folder / "val"
    found = [(look(part), part) for part in (folder / "train", test)]
    names = found[0][0].class_names
    if found[1][0].class_names != names:
        raise ValueError(f"{folder}: training and test photographs have different classes")
    return tuple(([str(part / f) for f in report.files], np.array(report.labels)) for report, part in found)


def measured(folder: Path, size: int, seeds: int, cache: Path) -> np.ndarray:
    """Accuracies in per cent (methods, seeds)."""
    (paths, labels), (test_paths, truth) = parts(folder)
    base = pretrained(PACKAGED, size)
    x, mirrored, test_x = (
        features(base, p, size, cache, mirrored=m)[0] for p, m in ((paths, False), (paths, True), (test_paths, False))
    )
    set_random_seed(0)
    untrained = last_blocks(EfficientNetLite0(weights=None, include_top=False, input_shape=(size, size, 3)))
    untrained.preprocessing = imagenet.preprocessing("lite")
    random_x, random_test = (features(untrained, p, size, cache)[0] for p in (paths, test_paths))
    pixels, test_pixels = (np.stack([read(p, 16).reshape(-1) for p in ps]).astype(np.float32) / 255 for ps in (paths, test_paths))
    results = np.empty((len(METHODS), seeds))
    for seed in range(seeds):
        learnt, _ = split(labels, 0.2, seed)
        results[0, seed] = 100 * (truth == np.bincount(labels[learnt]).argmax()).mean()
        for row, (train_x, against) in enumerate(((pixels, test_pixels), (random_x, random_test), (x, test_x)), 1):
            results[row, seed] = accuracy([train_x], labels, learnt, against, truth, seed)
        results[4, seed] = accuracy([x, mirrored], labels, learnt, test_x, truth, seed)
    return results


def trained(folder: Path, size: int, seeds: int, cache: Path) -> np.ndarray:
    """The same (methods, seeds) for the two ways that train a network."""
    (paths, labels), (test_paths, truth) = parts(folder)
    classes, names = labels.max() + 1, look(folder / "train").class_names
    network = pretrained(PACKAGED, size)
    known, _ = features(network, paths, size, cache)
    images, test_images = (small_images(p) for p in (paths, test_paths))
    results = np.empty((len(TRAINED), seeds))
    for seed in range(seeds):
        learnt, held = split(labels, 0.2, seed)

        def right(model: Any, x: np.ndarray, y: np.ndarray) -> float:
            return 100 * float((model.predict(x.astype(np.float32), verbose=0).argmax(axis=1) == y).mean())

        tried = {
            r: right(from_scratch(images[learnt], labels[learnt], classes, seed, r), images[held], labels[held]) for r in RATES
        }
        rate = max(tried, key=lambda r: tried[r])
        results[0, seed] = right(from_scratch(images, labels, classes, seed, rate), test_images, truth)
        model = assembled(network, *fitted([known], labels, learnt, seed), names)
        tuned: Any = fine_tuned(model, paths, labels, say=lambda text: None)
        shown = np.concatenate([tuned.predict_on_batch(tuned.preprocessing(x)) for x, _ in batches(test_paths, size)])
        results[1, seed] = 100 * float((shown.argmax(axis=1) == truth).mean())
        print(f"{folder.name} seed {seed}: from scratch (rate {rate:g}) and LP-FT {results[:, seed]}", flush=True)
    return results


def chosen(folder: Path, size: int, seeds: int, cache: Path) -> np.ndarray:
    """Per cent right in cross-validation on the training photographs alone (ways, seeds), each at its best strength."""
    ((paths, labels), _), blocks = parts(folder), 1120  # the numbers in front of the last layer's
    x, mirrored = (features(pretrained(PACKAGED, size), paths, size, cache, mirrored=m)[0] for m in (False, True))
    versions = [[x[:, blocks:], mirrored[:, blocks:]], [x[:, :blocks], mirrored[:, :blocks]], [x, mirrored], [x]]
    results = np.empty((len(CHOICES), seeds))
    for row, given in enumerate(versions):
        y, groups = np.tile(labels, len(given)), np.tile(np.arange(len(x)), len(given))
        for seed in range(seeds):
            strength, right = head.chosen(np.concatenate(given), y, labels.max() + 1, seed, groups)
            results[row, seed] = right[strength]
    return results


def accuracy(
    versions: list[np.ndarray], labels: np.ndarray, learnt: np.ndarray, test_x: np.ndarray, truth: np.ndarray, seed: int
) -> float:
    """Per cent of the test photographs, for a head on some versions of the training photographs."""
    kernel, bias = fitted(versions, labels, learnt, seed)
    return 100 * float(((test_x @ kernel + bias).argmax(axis=1) == truth).mean())


def fitted(versions: list[np.ndarray], labels: np.ndarray, learnt: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A head on all training photographs, its strength chosen on those that are learnt from."""
    classes, count = labels.max() + 1, len(versions)
    few = np.concatenate([x[learnt] for x in versions])
    strength, _ = head.chosen(few, np.tile(labels[learnt], count), classes, seed, np.tile(np.arange(len(learnt)), count))
    return head.fit(np.concatenate(versions), np.tile(labels, count), strength, classes)


def main(arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Measure every folder; returns accuracies (methods, seeds) by its name."""
    started, results = time.perf_counter(), {}
    ways = [chosen] if arguments.choose else [measured, trained] if arguments.train else [measured]
    with tempfile.TemporaryDirectory() as spare:
        for folder in arguments.folders:
            given = folder, arguments.size, arguments.seeds, arguments.cache or Path(spare)
            results[folder.name] = np.concatenate([way(*given) for way in ways])
            print(f"{folder.name} done [{time.perf_counter() - started:.0f} s]", flush=True)
    what = "right in cross-validation" if arguments.choose else "test accuracy"
    print(f"\n{what} in %, photographs at {arguments.size} pixels, mean +- 95 % interval over {arguments.seeds} seeds\n")
    methods = CHOICES if arguments.choose else METHODS + TRAINED if arguments.train else METHODS
    table("", {method: [r[i] for r in results.values()] for i, method in enumerate(methods)}, list(results))
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cache", type=Path, help="a folder that keeps features")
    parser.add_argument("--choose", action="store_true", help="compare features on training photographs, and nothing else")
    parser.add_argument("--train", action="store_true", help="also train from scratch, and fine-tune")
    main(parser.parse_args())
