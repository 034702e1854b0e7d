"""From a folder of photographs to a model: look, split, features, head, and, where it helps, fine-tuning; and what was found."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minitl import plot
from minitl.layers import Dense
from minitl.metrics import confusion_matrix
from minitl.models import Model
from minitl.ops import softmax
from minitl.photographs import head
from minitl.photographs.base import PACKAGED, pretrained
from minitl.photographs.features import Rows, stored_features
from minitl.photographs.folder import Look, look, split
from minitl.photographs.images import batches, read
from minitl.photographs.predict import evaluate
from minitl.photographs.scratch import from_scratch, small_images
from minitl.photographs.tune import fine_tuned
from minitl.random import set_random_seed
from minitl.weights import check_target

SIZE, SHARE = 224, 0.2
MOST = 4000  # photographs whose features are held in memory at once
Say = Callable[[str], Any]


@dataclass
class Result:
    """A trained model, and what was found on the way: accuracies in per cent, on `held` photographs that it never saw."""

    model: Model
    look: Look
    accuracy: float
    interval: tuple[float, float]
    majority: float
    held: list[int]
    predicted: np.ndarray
    probabilities: np.ndarray
    seconds: float
    tuned: bool = False
    controls: dict[str, float] = field(default_factory=dict)
    test: dict[str, Any] | None = None

    def __str__(self) -> str:
        low, high = self.interval
        lines = [
            f"validation: {self.accuracy:.1f} % of {len(self.held)} photographs (95 % interval {low:.1f} to {high:.1f})",
            *self._tested(),
            f"always the largest class: {self.majority:.1f} %",
            *(f"{name}: {value:.1f} %" for name, value in self.controls.items()),
            f"{'fine-tuned' if self.tuned else 'features of the base as they are'}; {self.seconds:.0f} s",
        ]
        return "\n".join(lines)

    def _tested(self) -> list[str]:
        if self.test is None:
            return []
        low, high = self.test["interval"]
        accuracy, photographs = self.test["accuracy"], self.test["photographs"]
        return [f"test: {accuracy:.1f} % of {photographs} photographs (95 % interval {low:.1f} to {high:.1f})"]


def train(
    folder: str | os.PathLike,
    output: str | os.PathLike | None = None,
    size: int = SIZE,
    seed: int = 0,
    validation: float = SHARE,
    tune: bool = False,
    control: bool = False,
    cache: str | os.PathLike | None = None,
    resume: bool = False,
    say: Say = print,
    base: Any = PACKAGED,
) -> Result:
    """Train a classifier of photographs on the features of a pretrained network.

    `base` is the name of an application with ImageNet's weights, a model's file, or a model; EfficientNet-Lite0 comes with the
    package, others are downloaded once. `output` is the model's file; figures of the results go beside it. `tune` also
    fine-tunes the base's upper layers, and keeps that when it is better on the validation photographs. `control` also trains
    the same head on raw pixels, and a small network from scratch. `cache` keeps features (by default beside the output). All
    numbers come from photographs that were held out before anything was learnt; those are part of the final model's head,
    which is fitted to all photographs with the settings found. A folder that holds `train/` and `val/` or `test/` is taken as it
    is split: `val/` is held out in the place of a share, and never learnt; on `test/` the finished model is measured once.
    Ctrl-C while features are computed keeps those that are there; while fine-tuning, the model without it is finished and
    written. `resume` goes on with fine-tuning where it was interrupted, and gives the bits of a run that was not.
    Errors: FileNotFoundError or ValueError for a folder that cannot be used; OSError when the output cannot be written.
    """
    if output is not None:
        check_target(output)
    if cache is None:
        if output is None:
            with tempfile.TemporaryDirectory() as spare:
                return train(folder, output, size, seed, validation, tune, control, spare, resume, say, base)
        cache = Path(output).with_suffix(".features")
    started = time.perf_counter()
    set_random_seed(seed)
    found = look(folder)
    say(str(found))
    labels, classes = np.array(found.labels), len(found.class_names)
    learnt, held = split(labels, validation, seed) if not found.held else _as_given(len(labels), found.held)
    for first, second in found.near(learnt, held)[:3]:
        say(f"  note: {first} and {second} look alike, and stand on two sides of the split: the accuracy may be too good")
    network = pretrained(base, size)
    paths = [os.path.join(folder, name) for name in found.files]
    rows, _ = stored_features(network, paths, size, cache, progress=_told(say, "features"))
    if len(rows) < len(paths):
        raise ValueError(f"{folder}: photographs have disappeared since they were counted; start again")
    few = _some(learnt, seed)
    strength, tried = head.chosen(_together(rows[learnt[few]]), labels[learnt[few]], classes, seed)
    say(f"head: strength {strength:g}, {tried[strength]:.1f} % in cross-validation on the training photographs")
    kernel, bias = head.fit(_light(rows[learnt]), labels[learnt], strength, classes)
    logits = np.concatenate([block @ kernel + bias for block in rows[held]])
    model = assembled(network, kernel, bias, found.class_names)
    probabilities, _ = softmax.forward(logits)
    tuned = False
    backup = None if output is None else Path(output).with_suffix(".backup")
    other: Any = fine_tuned(model, [paths[i] for i in learnt], labels[learnt], say, backup, resume) if tune else None
    if other is not None:
        shown = batches([paths[i] for i in held], size)
        better = np.concatenate([other.predict_on_batch(other.preprocessing(images)) for images, _ in shown])
        before, after = (float((p.argmax(axis=1) == labels[held]).mean()) for p in (probabilities, better))
        say(f"fine-tuned: {100 * after:.1f} % against {100 * before:.1f} %")
        if after > before:
            model, probabilities, tuned = other, better, True
    predicted = probabilities.argmax(axis=1)
    right = int((predicted == labels[held]).sum())
    if not tuned and not found.held:  # the held-out photographs have done their work, and are learnt too
        model.layers[-1].set_weights(list(head.fit(_light(rows), labels, strength, classes)))
    result = Result(
        model, found, 100 * right / len(held), head.interval(right, len(held)),
        100 * float((labels[held] == np.bincount(labels[learnt]).argmax()).mean()), held.tolist(), predicted, probabilities,
        time.perf_counter() - started, tuned,
    )  # fmt: skip
    if control:
        say("controls: the same head on raw pixels, and a network from scratch ...")
        result.controls["the same head on raw pixels, 16x16"] = _raw(paths, labels, learnt, held, classes, seed)
        result.controls["a small network from scratch, with augmentation"] = _scratch(paths, labels, learnt, held, classes, seed)
    result.seconds = time.perf_counter() - started
    if output is not None:
        model.save(output)
        _draw(result, labels, paths, Path(output))
    if found.test is not None:
        result.test = evaluate(model, found.test)
    say(str(result))
    return result


def assembled(base: Model, kernel: np.ndarray, bias: np.ndarray, class_names: list[str]) -> Model:
    """The base with a classifier on top; it keeps the class names and what its images go through."""
    model = Model(base.input, Dense(len(bias), activation="softmax", name="classes")(base.output))
    model.layers[-1].set_weights([kernel, bias])
    model._take_record(base)
    model.class_names = list(class_names)
    return model


def _as_given(count: int, held: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.setdiff1d(np.arange(count), held), np.array(held)


def _some(learnt: np.ndarray, seed: int) -> np.ndarray:
    """Places of the photographs on which the strength is chosen: all, or as many as memory should hold."""
    if len(learnt) <= MOST:
        return np.arange(len(learnt))
    return np.sort(np.random.default_rng(seed).choice(len(learnt), MOST, replace=False))


def _light(rows: Rows) -> Any:
    """Features that are few as an array, which is faster; many stay in their files."""
    return _together(rows) if len(rows) <= MOST else rows


def _together(rows: Rows) -> np.ndarray:
    return np.concatenate(list(rows))


def _raw(paths: list[str], labels: np.ndarray, learnt: np.ndarray, held: np.ndarray, classes: int, seed: int) -> float:
    x = np.stack([read(path, 16).reshape(-1) for path in paths]).astype(np.float32) / 255
    few = learnt[_some(learnt, seed)]
    strength, _ = head.chosen(x[few], labels[few], classes, seed)
    kernel, bias = head.fit(x[learnt], labels[learnt], strength, classes)
    return 100 * float(((x[held] @ kernel + bias).argmax(axis=1) == labels[held]).mean())


def _scratch(paths: list[str], labels: np.ndarray, learnt: np.ndarray, held: np.ndarray, classes: int, seed: int) -> float:
    few = learnt[_some(learnt, seed)]
    network = from_scratch(small_images([paths[i] for i in few]), labels[few], classes, seed)
    made = network.predict(small_images([paths[i] for i in held]).astype(np.float32), verbose=0)
    return 100 * float((made.argmax(axis=1) == labels[held]).mean())


def _draw(result: Result, labels: np.ndarray, paths: list[str], output: Path) -> None:
    """The confusion, and the photographs about which the model was most wrong, beside the model."""
    held = np.array(result.held)
    names = result.look.class_names
    matrix = confusion_matrix(labels[held], result.predicted, len(names))
    plot.confusion(matrix, names, output.with_suffix(".confusion.png"))
    sure = result.probabilities.max(axis=1)
    wrong = [i for i in np.argsort(-sure) if result.predicted[i] != labels[held[i]]][:16]
    if wrong:
        images = np.stack([read(paths[held[i]], 96) for i in wrong])
        titles = [f"{names[result.predicted[i]]} {100 * sure[i]:.0f} %" for i in wrong]
        plot.images(images, titles, output.with_suffix(".mistakes.png"), columns=4, size=1.6)


def _told(say: Say, what: str) -> Callable[[int, int], Any]:
    last = [time.perf_counter()]

    def progress(done: int, whole: int) -> None:
        if done == whole or time.perf_counter() - last[0] > 5:
            last[0] = time.perf_counter()
            say(f"{what}: {done} of {whole}")

    return progress
