"""Keras's place for small things that have no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minitl.random import set_random_seed

__all__ = ["image_dataset_from_directory", "set_random_seed", "text_dataset_from_directory", "to_categorical"]


def to_categorical(x: Any, num_classes: int | None = None, dtype: Any = "float32", nb_classes: int | None = None) -> np.ndarray:
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
    num_classes = num_classes if nb_classes is None else nb_classes  # its name in Keras 1
    classes = int(whole.max(initial=-1)) + 1 if num_classes is None else int(num_classes)
    if whole.size and not 0 <= whole.min() <= whole.max() < classes:
        raise ValueError(f"to_categorical: class numbers must lie in 0 .. {classes - 1}, got {whole.min()} .. {whole.max()}")
    return np.eye(classes, dtype=dtype)[whole]


def normalize(x: Any, axis: int = -1, order: int = 2) -> np.ndarray:
    """x over its length along an axis; zeros stay zeros."""
    length = np.linalg.norm(np.asarray(x, float), order, axis, keepdims=True)
    return np.asarray(x) / np.where(length == 0, 1, length)


class Sequence:
    """Batches by index: subclasses define `__len__` and `__getitem__`, and `on_epoch_end` if they like."""

    def __init__(self, **_: Any):
        pass

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(index)")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__()")

    def on_epoch_end(self) -> None:
        """After each pass."""


PyDataset = Sequence


def get_file(
    fname: str | None = None, origin: str | None = None, untar: bool = False, md5_hash: str | None = None,
    file_hash: str | None = None, cache_subdir: str = "datasets", hash_algorithm: str = "auto", extract: bool = False,
    archive_format: Any = "auto", cache_dir: Any = None, **_: Any,
) -> str:  # fmt: skip
    """The path of a file that is fetched once, into `cache_dir` or the data folder; archives are unpacked when that is asked for.

    Of an archive it is the folder with what it holds, which can be found beside that folder, too, as programs look for it there.

    Errors: ValueError without an address; OSError that says which file to put where.
    """
    from minitl.datasets.download import data_folder, fetched, unpack_beside

    if origin is None:
        raise ValueError("get_file: give origin=, the file's address")
    name = fname or origin.rsplit("/", 1)[1]
    if untar and not name.endswith((".tar", ".tar.gz", ".tgz", ".zip")):
        name += ".tar.gz"
    checksum = (
        f"md5:{md5_hash}" if md5_hash else f"{'md5' if len(file_hash) == 32 else 'sha256'}:{file_hash}" if file_hash else None
    )
    folder = data_folder() if cache_dir is None else Path(cache_dir)
    path = fetched(origin, checksum, folder / cache_subdir, name, "")
    return str(unpack_beside(path) if untar or extract else path)


def plot_model(model: Any, to_file: Any = "model.png", **_: Any) -> Any:
    """A picture of a model: see `minitl.plot.model`."""
    from minitl import plot

    return plot.model(model, to_file)


__path__: list[str] = []  # older programs import from modules in it, which `minitl.legacy.modules` finds


def __getattr__(name: str) -> Any:
    # Where these have been in other versions.
    import importlib

    from minitl.legacy.modules import PLACES

    if f"utils.{name}" in PLACES:
        return importlib.import_module(f"minitl.utils.{name}")

    places = {
        "load_img": "preprocessing.image", "img_to_array": "preprocessing.image", "array_to_img": "preprocessing.image",
        "save_img": "preprocessing.image", "pad_sequences": "preprocessing.text", "custom_object_scope": "serialization",
        "CustomObjectScope": "serialization", "get_custom_objects": "serialization",
        "register_keras_serializable": "serialization", "serialize_keras_object": "legacy.serialized",
        "deserialize_keras_object": "legacy.serialized", "model_to_dot": "legacy.drawing", "Progbar": "legacy.progress",
    }  # fmt: skip
    if name in places:
        module = importlib.import_module(f"minitl.{places[name]}")
        return getattr(module, "custom_object_scope" if name == "CustomObjectScope" else name)
    if name in ("multi_gpu_model", "HDF5Matrix"):
        raise AttributeError(f"minitl.utils has no {name}: it is for {'graphics cards' if 'gpu' in name else 'HDF5 files'}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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


def text_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    batch_size: int = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    verbose: bool = True,
) -> Any:
    """Batches of texts from a folder with a folder of .txt files for every class: re-iterable, with `class_names`.

    Parameters: `max_length` characters of a text at most; the others as in `image_dataset_from_directory`.
    Shapes: texts (N,) of strings, for `layers.TextVectorization`; labels as there.
    Errors: FileNotFoundError or ValueError for folders, labels and splits that cannot be used, and for a file that is not UTF-8.
    """
    from minitl.preprocessing.text_folders import text_dataset

    return text_dataset(
        directory, labels, label_mode, class_names, batch_size, max_length, shuffle, seed, validation_split, subset,
        follow_links, verbose,
    )  # fmt: skip


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
) -> Any:
    """Batches of windows over a series, with the target of each: re-iterable.

    Parameters: windows of `sequence_length` steps that are `sampling_rate` apart begin every `sequence_stride` steps of
    data[start_index:end_index]; `targets[i]` belongs to the window that begins at step i, None for windows alone; without
    `batch_size`, single windows.
    Shapes: data (T, ...), windows (N, sequence_length, ...), targets (N, ...).
    Errors: ValueError for settings below 1, or a series that is too short.
    """
    from minitl.preprocessing.windows import windows

    return windows(
        data, targets, sequence_length, sequence_stride, sampling_rate, batch_size, shuffle, seed, start_index, end_index
    )


def split_dataset(
    dataset: Any, left_size: Any = None, right_size: Any = None, shuffle: bool = False, seed: int | None = None
) -> tuple[Any, Any]:
    """Arrays, or a tuple or list of them, in two parts along their first axis.

    Parameters: each size is a number of samples, or a share of them; one of the two is enough.
    Errors: ValueError for sizes that do not fit.
    """
    parts = list(dataset) if isinstance(dataset, (tuple, list)) else [dataset]
    count = len(parts[0])
    given = (left_size, right_size)
    sizes = [size if size is None or isinstance(size, (int, np.integer)) else round(size * count) for size in given]
    left = sizes[0] if sizes[0] is not None else count - sizes[1] if sizes[1] is not None else -1
    right = sizes[1] if sizes[1] is not None else count - left
    if not (left > 0 and right > 0 and left + right <= count):
        raise ValueError(f"split_dataset: left_size={left_size} and right_size={right_size} do not part {count} samples")
    order = np.random.default_rng(seed).permutation(count) if shuffle else np.arange(count)
    made = [[np.asarray(part)[rows] for part in parts] for rows in (order[:left], order[left : left + right])]
    first, second = (type(dataset)(rows) if isinstance(dataset, (tuple, list)) else rows[0] for rows in made)
    return first, second


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """A batch as an iterable of batches gives it: x, (x, y) or (x, y, sample_weight)."""
    if sample_weight is not None:
        return x, y, sample_weight
    if y is not None:
        return x, y
    return (x,) if isinstance(x, (tuple, list)) else x


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """x, y and sample_weight of such a batch, None for what is not there."""
    parts = tuple(data) if isinstance(data, (tuple, list)) else (data,)
    if len(parts) > 3:
        raise ValueError(f"a batch is x, (x, y) or (x, y, sample_weight), got {len(parts)} parts")
    return (*parts, *(None,) * (3 - len(parts)))
