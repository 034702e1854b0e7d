"""CIFAR-100: 60,000 colour photographs of 32x32 pixels in a hundred classes, five to each of twenty groups.

Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009; the official binary archive.
"""

from __future__ import annotations

from minitl.datasets.cifar10 import Arrays, read_records
from minitl.datasets.download import unpacked
from minitl.errors import unknown

FOLDER = "cifar-100-binary"
URL = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
SHA256 = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
RECORD = 2 + 3072
LABELS = {"coarse": 0, "fine": 1}


def load_data(label_mode: str = "fine") -> tuple[Arrays, Arrays]:
    """((x, y), (x_test, y_test)), as in Keras; `label_mode` is "fine" (100 classes) or "coarse" (20 groups).

    Shapes: x (50000, 32, 32, 3) and x_test (10000, 32, 32, 3), uint8; y and y_test (N, 1), uint8.
    Errors: OSError that says which file to put where, ValueError for a damaged file or another label_mode.
    """
    if label_mode not in LABELS:
        raise unknown("label_mode", label_mode, LABELS)
    members = {"train.bin": 50000 * RECORD, "test.bin": 10000 * RECORD}
    folder = unpacked(FOLDER, members, "cifar-100-binary.tar.gz", URL, SHA256)
    (x, y), (x_test, y_test) = (read_records(folder / name, labels=2) for name in members)
    column = LABELS[label_mode]
    return (x, y[:, column : column + 1]), (x_test, y_test[:, column : column + 1])
