"""The classic network on CIFAR-10: Conv32-Pool-Conv64-Pool-Conv128-Pool-Flatten-Dense128-Dense10.

    python examples/cifar10.py                  ten epochs on the CPU; downloads CIFAR-10 once (see README)

Trains on 45,000 images, watches 5,000 others, and looks at the 10,000 test images once, at the end. Writes
cifar10.npz (the model), cifar10-curves.png, cifar10-confusion.png and cifar10-filters.png into --output.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from minitl import plot
from minitl.callbacks import EarlyStopping
from minitl.datasets import cifar10
from minitl.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from minitl.metrics import confusion_matrix
from minitl.models import Sequential
from minitl.optimizers import Adam
from minitl.preprocessing import Preprocessing
from minitl.schedules import CosineDecay
from minitl.utils import set_random_seed

HELD_OUT = 5000


def main(arguments: argparse.Namespace) -> float:
    """Train and report; returns the test accuracy."""
    set_random_seed(arguments.seed)
    (x, y), (x_test, y_test) = cifar10.load_data()
    prepare = Preprocessing(scale=1, mean=x.mean(axis=(0, 1, 2)), std=x.std(axis=(0, 1, 2)), size=(32, 32))
    x, x_test = prepare(x), prepare(x_test)
    x, y = x[: arguments.samples], y[: arguments.samples]
    held_out = min(HELD_OUT, len(x) // 5)

    model = Sequential(
        [
            Input((32, 32, 3)),
            Conv2D(32, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Conv2D(64, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Conv2D(128, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Flatten(),
            Dense(128, activation="relu"),
            Dense(10, activation="softmax"),
        ]
    )
    model.preprocessing = prepare  # kept in its file, and checked wherever images come in
    model.summary()
    steps = arguments.epochs * -(-(len(x) - held_out) // 64)
    model.compile(Adam(CosineDecay(1e-3, steps)), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    started = time.perf_counter()
    history = model.fit(
        x[:-held_out],
        y[:-held_out],
        batch_size=64,
        epochs=arguments.epochs,
        validation_data=(x[-held_out:], y[-held_out:]),
        callbacks=[EarlyStopping("val_accuracy", patience=5, restore_best_weights=True)],
        verbose=1,
    )
    seconds = time.perf_counter() - started

    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "cifar10.npz")
    loss, accuracy = model.evaluate(x_test, y_test, batch_size=200)
    matrix = confusion_matrix(y_test, model.predict(x_test, batch_size=200), classes=10)
    history.plot(folder / "cifar10-curves.png")
    plot.confusion(matrix, cifar10.CLASSES, folder / "cifar10-confusion.png")
    plot.filters(model.layers[0].parameters["kernel"], folder / "cifar10-filters.png")
    epochs = len(history.epoch)
    pace = f"{epochs} epochs of {seconds / epochs:.1f} s (seed {arguments.seed})"
    print(f"test accuracy {100 * accuracy:.1f} %, loss {loss:.3f}, after {pace}")
    print(f"model and figures in {folder.resolve()}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--samples", type=int, default=50000, help="how many training pictures to use")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default=".", help="folder for the model and the figures")
    main(parser.parse_args())
