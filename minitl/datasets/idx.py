"""IDX files, the format of MNIST and its relatives: a magic number, the sizes, then bytes."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from minitl.datasets.download import data_folder, fetched

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
SIZES = {"images": (28, 28), "labels": ()}
Arrays = tuple[np.ndarray, np.ndarray]


def load(folder: str, url: str, checksums: tuple[str, ...], counts: tuple[int, int] = (60000, 10000)) -> tuple[Arrays, Arrays]:
    """((x, y), (x_test, y_test)) of a data set of four IDX files; used as they lie, packed or not, or fetched and checked.

    Shapes: x (N, 28, 28) and y (N,), uint8.
    Errors: OSError that says which file to put where; ValueError for a damaged file.
    """
    arrays = []
    for name, checksum, count in zip(FILES, checksums, (counts[0], counts[0], counts[1], counts[1]), strict=True):
        path = _found(data_folder() / folder, name, url, checksum)
        arrays.append(read(path, (count, *SIZES["images" if "images" in name else "labels"])))
    return (arrays[0], arrays[1]), (arrays[2], arrays[3])


def read(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The bytes of an IDX file, packed with gzip or not.

    Shapes: exactly `shape`, uint8.
    Errors: ValueError for another kind or size of file.
    """
    header = 4 + 4 * len(shape)
    size = int(np.prod(shape))
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            data = file.read(header + size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it, and it will be fetched again") from error
    expected = bytes([0, 0, 8, len(shape)]) + b"".join(int(n).to_bytes(4, "big") for n in shape)
    if data[:header] != expected or len(data) != header + size:
        raise ValueError(f"{path} is damaged: it is no IDX file of shape {shape}; delete it, and it will be fetched again")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy()


def _found(folder: Path, name: str, url: str, checksum: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return fetched(f"{url}{name}.gz", checksum, folder, f"{name}.gz", ", or set MINITL_DATA to the folder above")
