"""Where images and their labels come from: a folder per class, or a table of file names."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from minitl.errors import unknown
from minitl.preprocessing.image.files import EXTENSIONS, UNREADABLE
from minitl.preprocessing.image.iterators import CACHE_BYTES, FileIterator, part_of

CLASS_MODES = ("categorical", "binary", "sparse", "input", None)


class DirectoryIterator(FileIterator):
    """Batches from a folder with a folder for every class.

    Attributes: `class_indices` maps a class to its number, `classes` are the labels (N,), `filenames` the paths inside the
    folder.
    Errors: FileNotFoundError when the folder is not there; ValueError when no image is in it, or for unknown modes.
    """

    def __init__(
        self, directory: Any, generator: Any, target_size: tuple[int, int] = (256, 256), color_mode: str = "rgb",
        classes: Any = None, class_mode: str | None = "categorical", batch_size: int = 32, shuffle: bool = True,
        seed: int | None = None, save_to_dir: Any = None, save_prefix: str = "", save_format: str = "png",
        follow_links: bool = False, subset: str | None = None, interpolation: str = "nearest",
        keep_aspect_ratio: bool = False, cache_bytes: int = CACHE_BYTES,
    ):  # fmt: skip
        if class_mode not in CLASS_MODES:
            raise unknown("class_mode", class_mode, map(str, CLASS_MODES))
        found = find_pictures(directory, classes, follow_links)
        names, labels = [], []
        for number, files in enumerate(found.values()):
            if subset is not None:
                files = files[part_of(subset, len(files), generator.validation_split)]
            names += files
            labels += [number] * len(files)
        if not names:
            raise ValueError(f"no pictures in {directory}: expected a folder for every class with files {', '.join(EXTENSIONS)}")
        self.directory = str(directory)
        self.class_indices = {name: number for number, name in enumerate(found)}
        self.num_classes, self.class_mode = len(found), class_mode
        self.classes = np.array(labels, np.int32)
        if class_mode == "binary" and self.num_classes != 2:
            raise ValueError(f"class_mode='binary' needs two classes, {directory} has {self.num_classes}: {', '.join(found)}")
        super().__init__(
            names, [os.path.join(directory, name) for name in names], encoded(self.classes, self.num_classes, class_mode),
            generator, target_size, color_mode, batch_size, shuffle, seed, interpolation, keep_aspect_ratio,
            (save_to_dir, save_prefix, save_format), None, cache_bytes,
        )  # fmt: skip
        print(f"Found {self.n} images belonging to {self.num_classes} classes.")

    @property
    def labels(self) -> np.ndarray:
        """The class numbers (N,)."""
        return self.classes


class DataFrameIterator(FileIterator):
    """Batches from a table with a column of file names: a pandas DataFrame, or a dictionary of columns.

    Errors: ValueError for columns that are not there, files that are not there (unless `validate_filenames` is true: then they
    are left out with a warning), or an unknown class mode.
    """

    def __init__(
        self, dataframe: Any, directory: Any, generator: Any, x_col: str = "filename", y_col: Any = "class",
        weight_col: Any = None, target_size: tuple[int, int] = (256, 256), color_mode: str = "rgb", classes: Any = None,
        class_mode: str | None = "categorical", batch_size: int = 32, shuffle: bool = True, seed: int | None = None,
        save_to_dir: Any = None, save_prefix: str = "", save_format: str = "png", subset: str | None = None,
        interpolation: str = "nearest", validate_filenames: bool = True, cache_bytes: int = CACHE_BYTES,
    ):  # fmt: skip
        if class_mode not in (*CLASS_MODES, "raw", "multi_output"):
            raise unknown("class_mode", class_mode, map(str, (*CLASS_MODES, "raw", "multi_output")))
        names = [str(name) for name in _column(dataframe, x_col)]
        paths = np.array([os.path.join(directory, name) if directory else name for name in names])
        keep = np.ones(len(names), bool)
        if validate_filenames:
            keep = np.array([os.path.isfile(p) and p.lower().endswith(EXTENSIONS) for p in paths], bool)
            if not keep.all():
                missing = paths[~keep]
                warnings.warn(
                    f"{len(missing)} of {len(names)} file names are no picture files, such as {missing[0]}", stacklevel=3
                )
        if not keep.any():
            raise ValueError(f"none of the {len(names)} file names in column {x_col!r} is a picture file; check `directory`")
        self.class_mode, self.class_indices = class_mode, {}
        targets: Any = None
        if class_mode in ("categorical", "binary", "sparse"):
            given = [str(value) for value in _column(dataframe, y_col)]
            known = (
                [str(c) for c in classes] if classes is not None else sorted({g for g, k in zip(given, keep, strict=True) if k})
            )
            keep &= np.isin(given, known)
            self.class_indices = {name: number for number, name in enumerate(known)}
            self.classes = np.array([self.class_indices.get(g, 0) for g in given], np.int32)
            if class_mode == "binary" and len(known) != 2:
                raise ValueError(f"class_mode='binary' needs two classes, the table has {len(known)}")
            targets = encoded(self.classes, len(known), class_mode)[keep]
            self.classes = self.classes[keep]
        elif class_mode in ("raw", "multi_output"):
            columns = [y_col] if isinstance(y_col, str) else list(y_col)
            values = np.stack([np.asarray(_column(dataframe, c)) for c in columns], axis=1)[keep]
            targets = values[:, 0] if isinstance(y_col, str) else values
        elif class_mode == "input":
            targets = "input"
        weights = None if weight_col is None else np.asarray(_column(dataframe, weight_col), np.float32)[keep]
        rows = np.flatnonzero(keep)
        if subset is not None:
            part = part_of(subset, len(rows), generator.validation_split)
            rows = rows[part]
            targets = targets[part] if isinstance(targets, np.ndarray) else targets
            weights = None if weights is None else weights[part]
        if not len(rows):
            raise ValueError(f"no row of the table is left: {len(names)} rows, {int(keep.sum())} with a known class")
        super().__init__(
            [names[i] for i in rows], [str(paths[i]) for i in rows], targets, generator, target_size, color_mode, batch_size,
            shuffle, seed, interpolation, False, (save_to_dir, save_prefix, save_format), weights, cache_bytes,
        )  # fmt: skip
        print(f"Found {self.n} validated image filenames.")


def find_pictures(directory: Any, classes: Any = None, follow_links: bool = False) -> dict[str, list[str]]:
    """The image files of every class folder, sorted, as paths inside the folder; a class without any is warned about.

    Errors: FileNotFoundError when the folder is not there; ValueError when a class that was asked for is not.
    """
    root = Path(directory)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {directory}; expected a folder with a folder for every class")
    there = subfolders(root)
    if "__MACOSX" in there and not classes:
        there.remove("__MACOSX")
        warnings.warn(f"{root / '__MACOSX'} is left out: what macOS adds to zip archives, no class", stacklevel=3)
    names = [str(c) for c in classes] if classes else there
    for name in names:
        if name not in there:
            raise unknown(f"class folder in {directory}", name, there)
    found = {}
    left_out: list[str] = []
    for name in names:
        files = []
        for folder, _, members in os.walk(root / name, followlinks=follow_links):
            left_out += [os.path.join(folder, m) for m in members if m.lower().endswith(UNREADABLE)]
            files += [os.path.relpath(os.path.join(folder, m), root) for m in members if m.lower().endswith(EXTENSIONS)]
        found[name] = sorted(files)
        if not files:
            warnings.warn(f"{root / name} holds no pictures ({', '.join(EXTENSIONS)})", stacklevel=3)
    if left_out:
        warnings.warn(
            f"{len(left_out)} pictures such as {left_out[0]} are left out: convert HEIC, AVIF and raw files to JPEG first",
            stacklevel=3,
        )
    return found


def subfolders(folder: Path) -> list[str]:
    """The names of the folders inside a folder, sorted, hidden ones left out."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def encoded(labels: np.ndarray, classes: int, class_mode: str | None) -> Any:
    """Labels as a class mode wants them: one-hot, 0 / 1, numbers, or none ("input" stands for the images themselves)."""
    if class_mode == "categorical":
        return np.eye(classes, dtype=np.float32)[labels]
    return {"binary": labels.astype(np.float32), "sparse": labels.astype(np.float32), "input": "input"}.get(str(class_mode))


def _column(table: Any, name: Any) -> list[Any]:
    try:
        return list(table[name])
    except (KeyError, IndexError) as error:
        columns = list(table.keys()) if hasattr(table, "keys") else []
        raise unknown("column", name, map(str, columns)) from error
