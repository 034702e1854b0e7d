"""Networks that somebody else trained: ResNet-20, -32, -44 and -56 on CIFAR-10's test images, beside what was published.

    python examples/published.py                          fetches the official files
    python examples/published.py --weights FOLDER         your copies: cifar10_resnet20.safetensors, resnet44-014dd654.th ...

Prints each network's accuracy, its time per image, and which classes it takes for which. Networks whose file is neither
there nor to be fetched are left out, and that is said.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from minitl import plot
from minitl.applications import resnet_cifar
from minitl.datasets import cifar10
from minitl.metrics import confusion_matrix

PUBLISHED = {20: 91.73, 32: 92.63, 44: 93.10, 56: 93.39}  # per cent, from the README of the repository they come from
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def weights(depth: int, folder: Path | None) -> str | Path:
    """A file in a folder whose name has the network's, or the name of the official weights."""
    if folder is None:
        return "cifar10"
    found = sorted(path for path in folder.iterdir() if f"resnet{depth}" in path.name)
    if not found:
        raise OSError(f"no file of resnet{depth} in {folder}")
    return found[0]


def main(arguments: argparse.Namespace) -> dict[int, float]:
    """Measure every network; returns accuracies in per cent by depth."""
    _, (x, y) = cifar10.load_data()
    x, y = resnet_cifar.preprocess_input(x[: arguments.tests]), y[: arguments.tests, 0]
    found: dict[int, float] = {}
    print(f"{'network':<12}{'weights':>10}{'published %':>13}{'here %':>9}{'ms per picture':>16}")
    for depth in arguments.depths:
        try:
            model = resnet_cifar.ResNetCIFAR(depth, weights(depth, arguments.weights))
        except OSError as error:
            print(f"ResNet-{depth:<5} left out: {error}")
            continue
        model.predict(x[:100], verbose=0)
        started = time.perf_counter()
        predicted = model.predict(x, batch_size=200, verbose=0).argmax(axis=1)
        each = 1000 * (time.perf_counter() - started) / len(x)
        found[depth] = 100 * float((predicted == y).mean())
        print(
            f"ResNet-{depth:<5}{model.count_params():>10,}{PUBLISHED[depth]:>13.2f}{found[depth]:>9.2f}{each:>16.2f}", flush=True
        )
        matrix = confusion_matrix(y, predicted, 10)
        plot.confusion(matrix, CLASSES, arguments.output.with_name(f"{arguments.output.stem}-{depth}.png"))
        np.fill_diagonal(matrix, 0)
        worst = np.argsort(-matrix, axis=None)[:3]
        pairs = [f"{CLASSES[i // 10]} taken for {CLASSES[i % 10]} {matrix.flat[i]} times" for i in worst]
        print(f"    {', '.join(pairs)}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, metavar="FOLDER", help="where the files are; by default they are fetched")
    parser.add_argument("--depths", type=int, nargs="+", choices=PUBLISHED, default=list(PUBLISHED), metavar="N")
    parser.add_argument("--tests", type=int, help="use only so many pictures")
    parser.add_argument("--output", type=Path, default=Path("published.png"), help="the confusion matrices are drawn beside it")
    main(parser.parse_args())
