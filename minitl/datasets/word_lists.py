"""Texts as lists of word numbers, the common part of IMDB and Reuters: reading them safely, and keeping the words asked for."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from minitl.datasets.download import data_folder, fetched

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
# All that arrays of lists need; whatever else a pickle asks for is refused.
ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
}


def read(file: str, checksum: str) -> dict[str, np.ndarray]:
    """The arrays of an npz file whose rows are lists of numbers; nothing in it is executed.

    Errors: OSError that says which file to put where; ValueError for a damaged file, or one that holds anything else.
    """
    path = _path(file, checksum)
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy"): _array(archive.read(name), path) for name in archive.namelist()}
    except (zipfile.BadZipFile, EOFError, pickle.UnpicklingError, KeyError) as error:
        raise ValueError(f"{path}: not an npz file of word numbers ({error}); delete it, and it will be fetched again") from error


def word_index(file: str, checksum: str) -> dict[str, int]:
    """{word: number}, the most frequent word 1.

    Errors: as `read`.
    """
    return json.loads(_path(file, checksum).read_text())


def marked(texts: Any, start_char: int | None, index_from: int) -> list[list[int]]:
    """Lists of numbers that begin with `start_char`, all words moved up by `index_from`."""
    start = [] if start_char is None else [start_char]
    return [start + [int(word) + index_from for word in text] for text in texts]


def shorter(texts: list[list[int]], labels: np.ndarray, maxlen: int | None) -> tuple[list[list[int]], np.ndarray]:
    """Texts of fewer than `maxlen` numbers, with their labels.

    Errors: ValueError when none is left.
    """
    if not maxlen:
        return texts, labels
    kept = [k for k, text in enumerate(texts) if len(text) < maxlen]
    if not kept:
        raise ValueError(f"load_data: no text has fewer than maxlen={maxlen} words; give a larger one")
    return [texts[k] for k in kept], labels[kept]


def limited(texts: list[list[int]], num_words: int | None, skip_top: int, oov_char: int | None) -> np.ndarray:
    """An array of lists, in which numbers outside skip_top .. num_words - 1 are `oov_char`, or left out for None.

    Without `num_words` the highest number in the texts is the first that is left out, as in Keras.
    """
    limit = num_words or max(max(text) for text in texts)
    out = np.empty(len(texts), object)
    for k, text in enumerate(texts):
        if oov_char is None:
            out[k] = [word for word in text if skip_top <= word < limit]
        else:
            out[k] = [word if skip_top <= word < limit else oov_char for word in text]
    return out


def _path(file: str, checksum: str) -> Path:
    return Path(file) if Path(file).is_absolute() else fetched(URL + file, checksum, data_folder(), file, "")


def _array(data: bytes, path: Path) -> np.ndarray:
    """One .npy member; rows of lists come as a pickle."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = header(file)
    if not dtype.hasobject:
        return np.load(io.BytesIO(data), allow_pickle=False)
    return _Lists(file, path).load()


class _Lists(pickle.Unpickler):
    """An unpickler that makes arrays, lists and numbers."""

    def __init__(self, file: io.BytesIO, path: Path):
        super().__init__(file, encoding="latin1")  # the files were written by Python 2
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        """What arrays need, and nothing else."""
        if (module, name) not in ALLOWED:
            raise ValueError(
                f"{self.path}: asks for {module}.{name}; a file of word numbers needs no such thing, it was not read"
            )
        return ALLOWED[module, name]
