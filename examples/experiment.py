"""What the experiments share: drawing a few labels, training, measuring, and means with 95 % intervals."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.kernels.processor import THREADS
from minitl.models import Model, Sequential
from minitl.optimizers import Adam
from minitl.plot import interval
from minitl.preprocessing.image import predict_views
from minitl.schedules import LinearDecay

BATCH = 32
LINE = 80  # characters; wider tables are printed in blocks of columns


def add_workers(parser: argparse.ArgumentParser, workers: int = 1) -> None:
    """The options of many experiments at once."""
    parser.add_argument("--workers", type=int, default=workers, help="processes, each with one thread; 1 uses all threads")
    parser.add_argument("--keep", metavar="FOLDER", help="keep results as they come, and go on from those that are there")
    parser.add_argument("--dask", metavar="ADDRESS", help="run on a Dask cluster")


def one_per_processor() -> int:
    """A worker for every processor, by which many small networks are trained fastest; 1 without joblib, which starts them."""
    return THREADS if importlib.util.find_spec("joblib") else 1


def once(load: Callable[..., Any], *arguments: Any) -> Any:
    """load(*arguments), kept for the next seed in the same process.

    It is here, and no cache in the program itself, since what a program's own functions refer to travels to the workers.
    """
    key = (load.__name__, arguments)
    if key not in _kept:
        _kept.clear()
        _kept[key] = load(*arguments)
    return _kept[key]


_kept: dict[Any, Any] = {}


def show(values: np.ndarray) -> str:
    """A mean with its 95 % interval; a dash where nothing was measured."""
    if np.isnan(values).all():
        return "-"
    if np.size(values) == 1:
        return f"{np.mean(values):.1f}"
    return f"{np.mean(values):.1f} +- {interval(values):.1f}"


def table(corner: str, rows: dict, columns: list[str]) -> None:
    """Print rows of values by name, in blocks where they do not fit a line; each cell holds the values of all seeds."""
    width = max(14, *(len(c) + 2 for c in columns))
    beside = max(1, (LINE - 22) // width)
    for first in range(0, len(columns), beside):
        block = slice(first, first + beside)
        print(("\n" if first else "") + f"{corner:<22}" + "".join(f"{c:>{width}}" for c in columns[block]))
        for name, cells in rows.items():
            print(f"{name:<22}" + "".join(f"{show(cell):>{width}}" for cell in cells[block]))


def ahead(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a's mean is above b's by more than both intervals together."""
    return float(np.mean(a) - np.mean(b)) > interval(a) + interval(b)


def drawn(results: np.ndarray, methods: list[str], shown: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """What a figure shows of results (labels, methods, seeds): at most six methods, `shown` or the first ones."""
    chosen = [method for method in (shown or methods) if method in methods][:6]
    return {method: results[:, methods.index(method)] for method in chosen}


def few(x: np.ndarray, y: np.ndarray, labels: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The same number of images of each class, in random order."""
    y = y.reshape(-1)
    picked = np.concatenate([generator.choice(np.flatnonzero(y == c), labels, replace=False) for c in np.unique(y)])
    picked = generator.permutation(picked)
    return x[picked], y[picked]


def epochs_for(updates: int, samples: int) -> int:
    """How many passes over some samples give about so many updates."""
    return max(1, round(updates / -(-samples // BATCH)))


def train(model: Sequential, x: np.ndarray, y: np.ndarray, epochs: int, rate: float = 1e-3) -> Sequential:
    """Adam, with a rate that falls in a straight line to 0."""
    steps = epochs * -(-len(x) // BATCH)
    model.compile(Adam(LinearDecay(rate, steps)), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
    return model


def accuracy(model: Sequential, x: np.ndarray, y: np.ndarray) -> float:
    """Per cent."""
    return 100 * model.evaluate(x, y, batch_size=250, verbose=0)[1]


def views_accuracy(model: Model, x: np.ndarray, y: np.ndarray) -> float:
    """Per cent, by the mean over each image and its mirror image."""
    return 100 * float((predict_views(model, x).argmax(axis=1) == y.reshape(-1)).mean())
