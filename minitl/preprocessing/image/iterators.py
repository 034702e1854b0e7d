"""Batches of images: from arrays, from folders, from a table. Each is a Sequence: `len`, indexing, passes that never end.

All that is random in a batch comes from (seed, pass, batch): neither threads nor prefetching nor where one begins change it.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from minitl import channels
from minitl.batches import checked_batch_size
from minitl.errors import unknown
from minitl.preprocessing.image.files import CHANNELS, BadImageError, load_img, save_img
from minitl.random import new_generator

CACHE_BYTES = 2**30  # decoded images that an iterator over files keeps in memory
DECODERS = 2  # threads, each with a batch of files
AHEAD = 3  # batches that are being decoded while one is used


class Iterator:
    """What all iterators share: the order of a pass, and batches by number.

    Attributes: `n` samples, `batch_size`, `shuffle`, `seed`, `augment` (False in evaluation). Iterating gives batches for ever,
    as in Keras; `one_pass` gives one pass, made ahead in a background thread when `ahead` is true.
    """

    ahead = True  # whether passes are made in a background thread

    def __init__(self, n: int, batch_size: int, shuffle: bool, seed: int | None, generator: Any):
        self.n, self.batch_size, self.shuffled = n, checked_batch_size(batch_size), shuffle
        self.seed = int(new_generator().integers(2**32)) if seed is None else int(seed)
        self.image_data_generator = generator
        self.augment = True
        self.passes, self.batch_index = 0, 0
        self._known_order: tuple[Any, np.ndarray] = (None, np.arange(0))

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        return self._batch(index % len(self))

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        if self.batch_index >= len(self):
            self.on_epoch_end()
        self.batch_index += 1
        return self._batch(self.batch_index - 1)

    def next(self) -> Any:
        """The next batch, under the name that older programs use."""
        return self.__next__()

    def reset(self) -> None:
        """Begin the pass again."""
        self.batch_index = 0

    def on_epoch_end(self) -> None:
        """Go to the next pass: another order, other transformations."""
        self.passes += 1
        self.batch_index = 0

    def in_order(self) -> Iterator:
        """The same data in the order of the files or arrays, without augmentation: for evaluation and prediction."""
        twin = copy.copy(self)
        twin.shuffled = twin.augment = False
        return twin

    def one_pass(self, first: int = 0) -> Generator[Any, None, None]:
        """The batches of one pass, from the batch `first` on; then the iterator stands at the next."""
        from minitl.prefetch import prefetch

        with contextlib.closing(prefetch(self._pass(first)) if self.ahead else self._pass(first)) as batches:
            yield from batches
        self.on_epoch_end()

    def get_state(self) -> dict[str, Any]:
        """What decides order and transformations: the seed, and the number of the pass."""
        return {"seed": self.seed, "passes": self.passes}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to a pass."""
        self.seed, self.passes, self.batch_index = int(state["seed"]), int(state["passes"]), 0
        self._known_order = (None, np.arange(0))

    def _pass(self, first: int) -> Generator[Any, None, None]:
        for index in range(first, len(self)):
            yield self._batch(index)

    def _order(self) -> np.ndarray:
        if self._known_order[0] != (self.passes, self.shuffled):
            shuffled = np.random.default_rng([self.seed, self.passes, 0]).permutation if self.shuffled else np.arange
            self._known_order = ((self.passes, self.shuffled), shuffled(self.n))
        return self._known_order[1]

    def _picked(self, index: int) -> np.ndarray:
        return self._order()[index * self.batch_size : (index + 1) * self.batch_size]

    def _batch(self, index: int) -> Any:
        raise NotImplementedError

    def _transformed(self, source: np.ndarray, rows: np.ndarray, index: int) -> np.ndarray:
        """Images of a source, augmented and standardized."""
        draws = np.random.default_rng([self.seed, self.passes, 1, index]) if self.augment else None
        return self.image_data_generator.transform_batch(source, rows, draws)

    def _save(self, x: np.ndarray, picked: np.ndarray, folder: Any, prefix: str, kind: str) -> None:
        for picture, row in zip(x, picked, strict=True):
            save_img(Path(folder) / f"{prefix}_{row}_{self.passes}.{kind}", picture)


class NumpyArrayIterator(Iterator):
    """Batches from arrays, augmented.

    Shapes: x (N, H, W, C) of any real dtype, y (N, ...) or None.
    Errors: ValueError for other shapes, lengths that differ, or a subset without a split.
    """

    def __init__(
        self, x: Any, y: Any, generator: Any, batch_size: int = 32, shuffle: bool = False, sample_weight: Any = None,
        seed: int | None = None, save_to_dir: Any = None, save_prefix: str = "", save_format: str = "png",
        subset: str | None = None, ignore_class_split: bool = False,
    ):  # fmt: skip
        x = channels.inner_images(np.asarray(x))
        if x.ndim != 4 or x.dtype.kind not in "uif":
            raise ValueError(f"flow: x must be pictures (N, H, W, C), got shape {x.shape} of {x.dtype}")
        if x.dtype not in (np.uint8, np.float32, np.float64):
            x = x.astype(np.float32)
        arrays = [x, None if y is None else np.asarray(y), None if sample_weight is None else np.asarray(sample_weight)]
        for name, array in zip(("y", "sample_weight"), arrays[1:], strict=True):
            if array is not None and len(array) != len(x):
                raise ValueError(f"flow: x has {len(x)} pictures, {name} {len(array)}; give one entry per picture")
        if subset is not None:
            part = part_of(subset, len(x), generator.validation_split)
            if arrays[1] is not None and not ignore_class_split and arrays[1].ndim == 1:
                sides = [np.unique(arrays[1][part_of(s, len(x), generator.validation_split)]) for s in ("training", "validation")]
                if not np.array_equal(sides[0], sides[1]):
                    raise ValueError("flow: training and validation part have different classes; shuffle the arrays first")
            arrays = [None if a is None else a[part] for a in arrays]
        self.x, self.y, self.sample_weight = arrays
        self.saving = (save_to_dir, save_prefix, save_format)
        super().__init__(len(self.x), batch_size, shuffle, seed, generator)

    def pictures(self, rows: np.ndarray) -> np.ndarray:
        """Some images as they are."""
        return self.x[rows]

    def _batch(self, index: int) -> Any:
        picked = self._picked(index)
        x = self._transformed(self.x, picked, index)
        if self.saving[0] is not None:
            self._save(x, picked, *self.saving)
        if self.y is None:
            return x
        batch = (x, self.y[picked])
        return batch if self.sample_weight is None else (*batch, self.sample_weight[picked])


class FileIterator(Iterator):
    """Batches from image files, decoded in threads and kept in memory up to a budget, so that later passes read no file.

    Attributes: `filenames`, `filepaths`, `labels`, `bad_files` (those that turned out to be no images: named in a warning
    once; while shuffling they are left out, in order they are blank rows, so that rows and `filenames` stay together).
    """

    def __init__(
        self, filenames: list[str], filepaths: list[str], targets: Any, generator: Any, target_size: tuple[int, int],
        color_mode: str, batch_size: int, shuffle: bool, seed: int | None, interpolation: str, keep_aspect_ratio: bool,
        saving: tuple, sample_weight: Any, cache_bytes: int,
    ):  # fmt: skip
        if color_mode not in CHANNELS:
            raise unknown("color_mode", color_mode, CHANNELS)
        super().__init__(len(filenames), batch_size, shuffle, seed, generator)
        self.filenames, self.filepaths, self.targets, self.sample_weight = filenames, filepaths, targets, sample_weight
        self.target_size, self.color_mode, self.interpolation = (target_size[0], target_size[1]), color_mode, interpolation
        self.keep_aspect_ratio, self.saving = keep_aspect_ratio, saving
        self.image_shape = (*self.target_size, CHANNELS[color_mode])
        self.bad_files: list[str] = []
        room = min(self.n, cache_bytes // int(np.prod(self.image_shape)))
        self.kept, self.cached = np.empty((room, *self.image_shape), np.uint8), np.zeros(self.n, bool)
        self._broken = np.zeros(self.n, bool)

    @property
    def samples(self) -> int:
        """How many images there are."""
        return self.n

    def _pass(self, first: int) -> Generator[Any, None, None]:
        if self.cached.all():
            yield from super()._pass(first)
            return
        with ThreadPoolExecutor(DECODERS, thread_name_prefix="minitl-decode") as pool:
            begin = range(first, min(first + AHEAD, len(self)))
            decoded = [pool.submit(self.pictures, self._picked(index)) for index in begin]
            for index in range(first, len(self)):
                if index + AHEAD < len(self):
                    decoded.append(pool.submit(self.pictures, self._picked(index + AHEAD)))
                yield self._batch(index, decoded.pop(0).result())

    def _batch(self, index: int, pictures: np.ndarray | None = None) -> Any:
        picked = self._picked(index)
        if pictures is None and self.cached[picked].all() and not self._broken[picked].any():
            source, rows = self.kept, picked
        else:
            source = self.pictures(picked) if pictures is None else pictures
            rows = np.arange(len(picked))
        if self.shuffled:
            whole = ~self._broken[picked]
            if not whole.any():
                raise BadImageError(f"no picture of a batch can be read: {', '.join(self.filepaths[i] for i in picked[:3])} ...")
            picked, rows = picked[whole], rows[whole]
        x = self._transformed(source, rows, index)
        if self.saving[0] is not None:
            self._save(x, picked, *self.saving)
        targets = x.copy() if isinstance(self.targets, str) else None if self.targets is None else self.targets[picked]
        if targets is None:
            return x
        return (x, targets) if self.sample_weight is None else (x, targets, self.sample_weight[picked])

    def pictures(self, rows: np.ndarray) -> np.ndarray:
        """Some images as they are, uint8: from memory, or from their files."""
        pictures = np.empty((len(rows), *self.image_shape), np.uint8)
        known = self.cached[rows]
        pictures[known] = self.kept[rows[known]]
        for place in np.flatnonzero(~known):
            row = rows[place]
            try:
                image = load_img(
                    self.filepaths[row], self.color_mode, self.target_size, self.interpolation, self.keep_aspect_ratio
                )
                pictures[place] = np.frombuffer(image.tobytes(), np.uint8).reshape(self.image_shape)
            except (BadImageError, OSError) as error:
                pictures[place] = 0
                if not self._broken[row]:
                    self._broken[row] = True
                    self.bad_files.append(self.filepaths[row])
                    what = "it is left out" if self.shuffled else "its row is blank"
                    warnings.warn(f"{error}; {what}", stacklevel=2)
            if row < len(self.kept):
                self.kept[row], self.cached[row] = pictures[place], True
        return pictures


def part_of(subset: str, n: int, share: float) -> slice:
    """Where a subset of n sorted samples lies: validation comes first, as in Keras."""
    if subset not in ("training", "validation"):
        raise unknown("subset", subset, ("training", "validation"))
    if not share:
        raise ValueError("subset needs ImageDataGenerator(validation_split=...)")
    cut = int(n * share)
    return slice(0, cut) if subset == "validation" else slice(cut, n)
