"""A network goes to PyTorch, Keras and ONNX Runtime, and comes back: the same outputs everywhere.

    python examples/exchange.py

Trains a small network with a residual block on drawn letters, writes it in every format, runs it in those programs that are
installed, reads the files back, and prints the largest difference of a probability. Needs the extra `interop`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from minitl.datasets import glyphs
from minitl.interop import export_onnx, import_onnx, load_keras, load_torch, save_keras, save_torch
from minitl.layers import Add, BatchNormalization, Conv2D, Dense, Flatten, Input, MaxPooling2D, ReLU
from minitl.models import Model
from minitl.utils import set_random_seed


def network() -> Model:
    """Convolutions, a residual block, and a Dense behind a Flatten, whose inputs PyTorch has in another order."""
    inputs = Input((32, 32, 3))
    x = MaxPooling2D(4)(Conv2D(16, 5, padding="same", activation="relu", name="conv1")(inputs))
    y = BatchNormalization(name="norm")(Conv2D(16, 3, padding="same", name="conv2")(x))
    x = MaxPooling2D()(ReLU()(Add()([x, y])))
    return Model(inputs, Dense(26, activation="softmax", name="head")(Flatten()(x)))


def in_pytorch(file: Path, x: np.ndarray) -> np.ndarray:
    """The same network, written down in PyTorch, with the weights of a file."""
    import torch
    from torch import nn

    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(3, 16, 5, padding=2), nn.Conv2d(16, 16, 3, padding=1)
            self.norm, self.head = nn.BatchNorm2d(16, eps=1e-3), nn.Linear(16 * 4 * 4, 26)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.max_pool2d(self.conv1(x).relu(), 4)
            x = torch.max_pool2d((x + self.norm(self.conv2(x))).relu(), 2)
            return self.head(x.flatten(1)).softmax(1)

    twin = Twin().eval()
    twin.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        return twin(torch.tensor(x).permute(0, 3, 1, 2)).numpy()


def in_keras(file: Path, x: np.ndarray) -> np.ndarray:
    """The file, loaded by Keras."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    return keras.saving.load_model(file).predict(x, verbose=0)


def in_onnx_runtime(file: Path, x: np.ndarray) -> np.ndarray:
    """The file, run by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def back_from_pytorch(file: Path) -> Model:
    """The file's weights in a new network of ours."""
    model = network()
    load_torch(model, file)
    return model


def main(arguments: argparse.Namespace) -> dict[str, float]:
    """Train, write, run elsewhere, read back; returns the largest differences."""
    set_random_seed(0)
    (x, y), (x_test, _) = glyphs.load_data("letters", samples=arguments.samples, test_samples=100)
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x / 255, y, epochs=arguments.epochs, verbose=0)
    x_test = x_test.astype(np.float32) / 255
    expected = model.predict(x_test, verbose=0)
    routes = (
        ("PyTorch", "w.pt", save_torch, in_pytorch, back_from_pytorch),
        ("Keras", "m.keras", save_keras, in_keras, load_keras),
        ("ONNX Runtime", "m.onnx", export_onnx, in_onnx_runtime, import_onnx),
    )
    differences: dict[str, float] = {}
    print(f"{'program':<14}{'there':>22}{'and back':>12}   largest difference of a probability")
    with tempfile.TemporaryDirectory() as folder:
        for name, file, write, run, read in routes:
            path = Path(folder) / file
            write(model, path)
            back = float(np.abs(read(path).predict(x_test, verbose=0) - expected).max())
            try:
                there: float | None = float(np.abs(run(path, x_test) - expected).max())
            except ImportError:
                there = None
            differences[name] = max(back, there or 0.0)
            print(f"{name:<14}{'not installed' if there is None else f'{there:.1e}':>22}{back:>12.1e}")
    return differences


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=3)
    main(parser.parse_args())
