"""CIFAR-10: 60,000 colour photographs of 32x32 pixels in ten classes.

Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009; the official binary archive.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minitl.datasets.download import unpacked

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDER = "cifar-10-batches-bin"
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
RECORD = 1 + 3072
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))

Arrays = tuple[np.ndarray, np.ndarray]


def load_data() -> tuple[Arrays, Arrays]:
    """((x, y), (x_test, y_test)), as in Keras.

    Shapes: x (50000, 32, 32, 3) and x_test (10000, 32, 32, 3), uint8; y and y_test (N, 1), uint8.
    Errors: OSError that says which file to put where, ValueError for a damaged file.
    """
    members = dict.fromkeys((*TRAIN, "test_batch.bin"), 10000 * RECORD)
    folder = unpacked(FOLDER, members, "cifar-10-binary.tar.gz", URL, SHA256)
    parts = [read_records(folder / name, labels=1) for name in TRAIN]
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return (x, y[:, :1]), read_records(folder / "test_batch.bin", labels=1)


def read_records(path: Path, labels: int) -> Arrays:
    """Images and labels from a file of records: some label bytes, then the red, green and blue planes.

    Shapes: (N, 32, 32, 3) and (N, labels), uint8.
    Errors: ValueError when the file is not a whole number of records.
    """
    data = np.fromfile(path, np.uint8)
    if not data.size or data.size % (labels + 3072):
        raise ValueError(f"{path} is damaged: {data.size} bytes are no whole number of records")
    records = data.reshape(-1, labels + 3072)
    images = records[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, :labels].copy()
