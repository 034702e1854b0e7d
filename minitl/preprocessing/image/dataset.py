"""The modern way to read a folder of images: one function, a data set that can be iterated over again and again."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import numpy as np

from minitl.errors import unknown
from minitl.preprocessing.image.folders import find_pictures
from minitl.preprocessing.image.generator import ImageDataGenerator
from minitl.preprocessing.image.iterators import CACHE_BYTES, FileIterator
from minitl.preprocessing.image.pipeline import Dataset, tensors

LABEL_MODES = ("int", "categorical", "binary", None)


class ImageDataset(Dataset, FileIterator):
    """Batches of a folder's images, as `image_dataset_from_directory` gives them; iterating gives one pass.
    Methods as tf.data's: map, take, skip, cache, batch, ... (`pipeline`).

    Attributes: `class_names`, `file_paths`, `class_indices`.
    """

    class_names: list[str]
    class_indices: dict[str, int]

    @property
    def file_paths(self) -> list[str]:
        """The files, in the order of the rows without shuffling."""
        return self.filepaths

    def __iter__(self) -> Generator[Any, None, None]:  # type: ignore[override]
        yield from map(tensors, self.one_pass())


def image_dataset(
    directory: Any, labels: Any, label_mode: str | None, class_names: Any, color_mode: str, batch_size: int,
    image_size: tuple[int, int], shuffle: bool, seed: int | None, validation_split: float | None, subset: str | None,
    interpolation: str, follow_links: bool, crop_to_aspect_ratio: bool, verbose: bool,
) -> Any:  # fmt: skip
    """See `minitl.utils.image_dataset_from_directory`."""
    check_split("image_dataset_from_directory", label_mode, validation_split, subset, shuffle, seed)
    found = find_pictures(directory, class_names, follow_links)
    names = [name for files in found.values() for name in files]
    if labels == "inferred":
        numbers = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
    elif labels is None:
        numbers, label_mode = np.zeros(len(names), int), None
    else:
        numbers = np.asarray(labels)
        if len(numbers) != len(names):
            raise ValueError(f"image_dataset_from_directory: {len(numbers)} labels for {len(names)} files, sorted by path")
    if not names:
        raise ValueError(f"no pictures in {directory}")
    targets = targets_of(label_mode, numbers, len(found), directory)
    parts = split_rows(len(names), validation_split, subset, shuffle, seed)

    def part(rows: np.ndarray) -> ImageDataset:
        if not len(rows):
            raise ValueError(f"image_dataset_from_directory: validation_split={validation_split} leaves nothing on one side")
        data = ImageDataset(
            [names[i] for i in rows], [os.path.join(directory, names[i]) for i in rows],
            None if targets is None else targets[rows], ImageDataGenerator(), image_size, color_mode, batch_size, shuffle,
            seed, interpolation, crop_to_aspect_ratio, (None, "", ""), None, CACHE_BYTES,
        )  # fmt: skip
        data.class_names, data.class_indices = list(found), {name: i for i, name in enumerate(found)}
        return data

    if verbose:
        print(f"Found {len(names)} files belonging to {len(found)} classes.")
    return (part(parts["training"]), part(parts["validation"])) if subset == "both" else part(parts[subset])


def check_split(
    where: str, label_mode: str | None, validation_split: float | None, subset: str | None, shuffle: bool, seed: int | None
) -> None:
    """Refuse settings of a data set from a folder that contradict one another."""
    if label_mode not in LABEL_MODES:
        raise unknown("label_mode", label_mode, map(str, LABEL_MODES))
    if (validation_split is None) != (subset is None):
        raise ValueError(f"{where}: validation_split and subset belong together")
    if subset not in (None, "training", "validation", "both"):
        raise unknown("subset", subset, ("training", "validation", "both"))
    if subset is not None and shuffle and seed is None:
        raise ValueError(f"{where}: give a seed, so that training and validation part do not overlap")


def targets_of(label_mode: str | None, numbers: np.ndarray, classes: int, directory: Any) -> np.ndarray | None:
    """Class numbers as a label mode wants them; None for none."""
    if label_mode == "binary" and classes != 2:
        raise ValueError(f"label_mode='binary' needs two classes, {directory} has {classes}")
    return {
        "int": numbers.astype(np.int32),
        "categorical": np.eye(max(classes, 1), dtype=np.float32)[numbers],
        "binary": numbers.astype(np.float32)[:, None],
    }.get(str(label_mode))


def split_rows(
    count: int, validation_split: float | None, subset: str | None, shuffle: bool, seed: int | None
) -> dict[str | None, np.ndarray]:
    """Which files belong to which subset; None is all of them."""
    order = np.random.default_rng(seed).permutation(count) if shuffle and subset else np.arange(count)
    cut = count - int(count * (validation_split or 0.0))
    return {None: order, "training": order[:cut], "validation": order[cut:]}
