"""A folder of texts, a folder for every class: one function, a data set that can be iterated over again and again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minitl.preprocessing.image.dataset import check_split, split_rows, targets_of
from minitl.preprocessing.image.pipeline import Dataset, TensorLike, tensors
from minitl.random import new_generator


class TextDataset(Dataset):
    """Batches of texts and labels; files are read when their batch is asked for.

    Attributes: `class_names`, `class_indices`, `file_paths`.
    """

    def __init__(
        self, paths: list[str], targets: np.ndarray | None, names: list[str], batch_size: int, max_length: int | None,
        shuffle: bool, seed: int | None,
    ):  # fmt: skip
        self.file_paths, self.targets, self.class_names = paths, targets, names
        self.class_indices = {name: number for number, name in enumerate(names)}
        self.batch_size, self.max_length = batch_size, max_length
        self.generator = None if not shuffle else new_generator() if seed is None else np.random.default_rng(seed)

    def __len__(self) -> int:
        return -(-len(self.file_paths) // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        count = len(self.file_paths)
        order = np.arange(count) if self.generator is None else self.generator.permutation(count)
        for first in range(0, count, self.batch_size):
            rows = order[first : first + self.batch_size]
            texts = np.array([self._read(self.file_paths[row]) for row in rows], object).view(TensorLike)
            yield texts if self.targets is None else (texts, tensors(self.targets[rows]))

    def _read(self, path: str) -> str:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: is not UTF-8 ({error.reason}); save it as UTF-8") from error
        return text if self.max_length is None else text[: self.max_length]


def text_dataset(
    directory: Any, labels: Any, label_mode: str | None, class_names: Any, batch_size: int, max_length: int | None,
    shuffle: bool, seed: int | None, validation_split: float | None, subset: str | None, follow_links: bool, verbose: bool,
) -> Any:  # fmt: skip
    """See `minitl.utils.text_dataset_from_directory`."""
    where = "text_dataset_from_directory"
    check_split(where, label_mode, validation_split, subset, shuffle, seed)
    folder = Path(directory)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder at {directory}")
    present = sorted(one.name for one in folder.iterdir() if one.is_dir() and not one.name.startswith((".", "__")))
    names = present if class_names is None else list(class_names)
    if set(names) != set(present):
        raise ValueError(f"{where}: class_names {names}, and the folder has {present}")
    found = {name: _files(folder / name, follow_links) for name in names}
    if labels is None:
        found, label_mode = {"": _files(folder, follow_links)}, None
    paths = [path for files in found.values() for path in files]
    if not paths:
        raise ValueError(f"{where}: no .txt files in {directory}")
    numbers = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
    if labels is not None and not isinstance(labels, str):
        numbers = np.asarray(labels)
        if len(numbers) != len(paths):
            raise ValueError(f"{where}: {len(numbers)} labels for {len(paths)} files, sorted by path")
    targets = targets_of(label_mode, numbers, len(names), directory)
    parts = split_rows(len(paths), validation_split, subset, shuffle, seed)

    def part(rows: np.ndarray) -> TextDataset:
        if not len(rows):
            raise ValueError(f"{where}: validation_split={validation_split} leaves nothing on one side")
        some = None if targets is None else targets[rows]
        return TextDataset([paths[row] for row in rows], some, names, batch_size, max_length, shuffle, seed)

    if verbose:
        print(f"Found {len(paths)} files belonging to {len(names)} classes.")
    return (part(parts["training"]), part(parts["validation"])) if subset == "both" else part(parts[subset])


def _files(folder: Path, follow_links: bool) -> list[str]:
    walk = os.walk(folder, followlinks=follow_links)
    return sorted(os.path.join(place, file) for place, _, files in walk for file in files if file.endswith(".txt"))
