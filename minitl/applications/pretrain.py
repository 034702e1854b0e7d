"""How the pretrained networks were made: `python -m minitl pretrain letters`, seeded, with a model card that tells the recipe."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from minitl import __version__
from minitl import weights as weight_files
from minitl.applications import NAMES, classic
from minitl.applications.fast_cifar import RECIPES, compile_fast, fast_batches, fast_cifar
from minitl.datasets import cifar10, cifar100, glyphs
from minitl.errors import unknown
from minitl.models import Sequential
from minitl.optimizers import Adam
from minitl.preprocessing.record import Preprocessing
from minitl.random import set_random_seed
from minitl.schedules import LinearDecay
from minitl.serialization import encode
from minitl.utils import to_categorical

BATCH, FAST_BATCH = 32, 500
FAST = ("cifar10", "cifar100")
HELD_OUT = {
    "letters": 600,
    "cifar100_small": 5000,
}  # the last images of the training data: what the log's accuracy is measured on
EPOCHS = {"letters": 10, "cifar100_small": 30, "cifar10": 10, "cifar100": RECIPES["cifar100"].epochs}


def pretrain(name: str, folder: Path, epochs: int | None = None, seed: int = 0, samples: int | None = None) -> Sequential:
    """Train a network on letters or CIFAR, and write weights (float16) and model card into a folder.

    "letters" and "cifar100_small" are classic networks, "cifar10" and "cifar100" `fast_cifar`.

    Errors: ValueError for another name; OSError when the data are not there, or the folder cannot be made.
    """
    if name not in NAMES:
        raise unknown("pretrained network", name, NAMES)
    epochs = EPOCHS[name] if epochs is None else epochs
    folder.mkdir(parents=True, exist_ok=True)
    weight_files.check_target(folder / f"{name}.npz")  # before minutes of work
    started = time.perf_counter()
    set_random_seed(seed)
    (x, y), test, preprocessing = _data(name, seed, samples)
    if name in FAST:
        held, model, log = 0, *_train_fast(name, preprocessing(x), y.reshape(-1), epochs, seed)
    else:
        held, model = min(HELD_OUT[name], len(x) // 10), classic(int(y.max()) + 1)
        log = _train(model, preprocessing(x), y, epochs, held, flips=name != "letters")
    model.preprocessing = preprocessing
    stored = {key: weight.astype(np.float16) for key, weight in weight_files.named_weights(model).items()}
    for key, weight in weight_files.named_weights(model).items():
        weight[...] = stored[key]  # what is measured is what is stored
    found = model.predict(preprocessing(test[0]), batch_size=200, verbose=0).argmax(axis=1)
    accuracy = float(np.mean(found == test[1].reshape(-1)))
    config = {"format": 1, "model": encode(model), "preprocessing": encode(preprocessing)}
    weight_files.write(folder / f"{name}.npz", stored, config)
    text = _card(name, model, epochs, seed, len(x) - held, len(test[0]), accuracy, log, time.perf_counter() - started)
    with weight_files.atomic_file(folder / f"{name}.md") as file:
        file.write(text.encode())
    return model


def _data(name: str, seed: int, samples: int | None) -> tuple:
    if name == "letters":
        train, test = glyphs.load_data("letters", samples or 6000, 2000, seed)
        return train, test, Preprocessing(1 / 255, size=(32, 32))
    (x, y), test = (cifar10 if name == "cifar10" else cifar100).load_data()
    if samples:
        x, y = x[:samples], y[:samples]
    if name in FAST:
        return (x, y), test, Preprocessing(1.0, x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2)), size=(32, 32))
    return (x, y), test, Preprocessing(1 / 255, size=(32, 32))


def _train_fast(name: str, x: np.ndarray, y: np.ndarray, epochs: int, seed: int) -> tuple[Sequential, list[str]]:
    classes, recipe = int(y.max()) + 1, RECIPES[name]._replace(epochs=epochs)
    model = fast_cifar(classes, x, recipe)
    callbacks = compile_fast(model, len(x), FAST_BATCH, recipe)
    batches = fast_batches(x, to_categorical(y, classes).astype(np.float32), FAST_BATCH, seed)
    record = model.fit(batches, epochs=epochs, callbacks=callbacks, verbose=2).history
    rows = enumerate(zip(record["loss"], record["accuracy"], strict=True), 1)
    model.trainable = True
    return model, [f"epoch {epoch:2}  loss {loss:.4f}  accuracy {accuracy:.4f}" for epoch, (loss, accuracy) in rows]


def _train(model: Sequential, x: np.ndarray, y: np.ndarray, epochs: int, held: int, flips: bool) -> list[str]:
    x, y, valid = x[:-held], y[:-held], (x[-held:], y[-held:])
    steps = epochs * -(-len(x) // BATCH)
    model.compile(Adam(LinearDecay(1e-3, steps)), "sparse_categorical_crossentropy", metrics=["accuracy"])
    log = []
    for epoch in range(epochs):
        # Alternating flips: every image is seen both ways round in every pair of epochs.
        model.training_run = None  # a run per epoch, each with an order of its own: so the packaged networks were made
        seen = np.ascontiguousarray(x[:, :, ::-1]) if flips and epoch % 2 else x
        record = model.fit(seen, y, batch_size=BATCH, epochs=1, validation_data=valid, verbose=0).history
        log.append("  ".join([f"epoch {epoch + 1:2}", *(f"{key} {values[0]:.4f}" for key, values in record.items())]))
        print(log[-1], flush=True)
    return log


def _card(
    name: str,
    model: Sequential,
    epochs: int,
    seed: int,
    samples: int,
    tests: int,
    accuracy: float,
    log: list[str],
    seconds: float,
) -> str:
    of_cifar = f"{samples} pictures of {name[:5].upper()}-{name[5:].split('_')[0]}'s training set"
    data = {
        "letters": f"{samples} capital letters of `minitl.datasets.glyphs` in 14 training fonts; tested in 6 fonts it never saw",
        "cifar100_small": f"{of_cifar}, flipped left to right in every other epoch; its test set",
    }.get(name, f"{of_cifar}, shifted by up to two pixels and flipped in every other epoch; its test set")
    recipe = f"batch {BATCH}, Adam, rate from 1e-3 in a straight line to 0, He's initial weights, the last layer at zero"
    inputs = "x / 255"
    if name in FAST:
        recipe, inputs = f"`minitl.applications.fast_cifar`, batch {FAST_BATCH}", "(x - mean) / deviation, per channel"
    lines: list[str] = []
    model.summary(lines.append)
    history = "\n".join(log)
    return f"""# {name}

Made by `python -m minitl pretrain {name}` (minitl {__version__}, seed {seed}, {epochs} epochs, {seconds:.0f} s on two cores).

- Data: {data}.
- Inputs: `model.preprocessing(x)` of pictures 0 .. 255, RGB, 32x32: {inputs}.
- Recipe: {recipe}.
- Accuracy on {tests} test pictures, with the stored float16 weights: {100 * accuracy:.2f} %.
- Meant for: learning about transfer. Not meant for: anything where a mistake matters.

```
{lines[0]}
```

Loss and accuracy in training{"" if name in FAST else " and on held-out training pictures"}:

```
{history}
```
"""
