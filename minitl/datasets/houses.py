"""Tables of houses with their prices, the common part of Boston and California: reading them, and the split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minitl.datasets.download import data_folder, fetched

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
Arrays = tuple[np.ndarray, np.ndarray]


def load(path: str, checksum: str, test_split: float, seed: int, rows: int | None = None) -> tuple[Arrays, Arrays]:
    """((x, y), (x_test, y_test)): the first `rows` rows in a drawn order, the last `test_split` of them for testing.

    Errors: ValueError for a share outside 0 <= test_split < 1, or a damaged file; OSError that says which file to put where.
    """
    if not 0 <= test_split < 1:
        raise ValueError(f"load_data: test_split must be at least 0 and below 1, got {test_split}")
    file = Path(path) if Path(path).is_absolute() else fetched(URL + path, checksum, data_folder(), path, "")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            x, y = arrays["x"][:rows], arrays["y"][:rows]
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{file}: not an npz file with x and y ({error}); delete it, and it will be fetched again") from error
    order = np.arange(len(x))
    np.random.RandomState(seed).shuffle(order)
    x, y = x[order], y[order]
    first = int(len(x) * (1 - test_split))
    return (x[:first], y[:first]), (x[first:], y[first:])
