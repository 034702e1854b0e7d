"""Keras's place for small things that have no other."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.random import set_random_seed

__all__ = ["image_dataset_from_directory", "set_random_seed", "to_categorical"]


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Class numbers as one-hot rows.

    Shapes: whole numbers (N, ...) or (N, 1) to float32 (N, ..., num_classes).
    Errors: ValueError for class numbers that are negative, fractional, or not below num_classes.
    """
    labels = np.asarray(x)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    whole = labels.astype(np.int64)
    if (whole != labels).any():
        raise ValueError("to_categorical: class numbers must be whole")
    classes = int(whole.max(initial=-1)) + 1 if num_classes is None else num_classes
    if whole.size and not 0 <= whole.min() <= whole.max() < classes:
        raise ValueError(f"to_categorical: class numbers must lie in 0 .. {classes - 1}, got {whole.min()} .. {whole.max()}")
    return np.eye(classes, dtype=np.float32)[whole]


def image_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    color_mode: str = "rgb",
    batch_size: int = 32,
    image_size: tuple[int, int] = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    verbose: bool = True,
) -> Any:
    """Batches of pictures from a folder with a folder for every class: re-iterable, with `class_names` and `file_paths`.

    Shapes: float32 pictures 0 .. 255 (N, H, W, C); labels int32 (N,) for "int", one-hot for "categorical", (N, 1) for "binary",
    none for None. A split takes the last share of the files, shuffled by `seed`; subset="both" gives both parts.
    Errors: FileNotFoundError or ValueError for folders, labels and splits that cannot be used.
    """
    from minitl.preprocessing.image.dataset import image_dataset

    return image_dataset(
        directory, labels, label_mode, class_names, color_mode, batch_size, image_size, shuffle, seed, validation_split, subset,
        interpolation, follow_links, crop_to_aspect_ratio, verbose,
    )  # fmt: skip
