"""Photographs as arrays of one size: turned upright, made smaller, the middle square, read in threads while others are used."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from minitl.preprocessing.image.files import FORMATS, BadImageError, load_img
from minitl.preprocessing.image.iterators import Iterator

THREADS, AHEAD = 2, 4  # decoding threads, and batches that are read before they are used


def read(path: str | os.PathLike, size: int) -> np.ndarray:
    """The middle square of a photograph, size by size.

    JPEGs are decoded at a half, a quarter or an eighth where that is still large enough.
    Shapes: (size, size, 3), uint8, RGB.
    Errors: FileNotFoundError; BadImageError for a file that cannot be read.
    """
    from PIL import Image

    image = _drafted(path, size) or load_img(path)
    width, height = image.size
    side = min(width, height)
    left, upper = (width - side) / 2, (height - side) / 2
    square = image.resize((size, size), Image.Resampling.BICUBIC, (left, upper, left + side, upper + side))
    return np.asarray(square, np.uint8)


def batches(paths: Sequence[str], size: int, batch_size: int = 32) -> Generator[tuple[np.ndarray, list[int]], None, None]:
    """Photographs in order, and their positions; those that cannot be read are left out.

    Shapes: (up to batch_size, size, size, 3), uint8.
    """
    starts = range(0, len(paths), batch_size)
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [[pool.submit(_attempt, path, size) for path in paths[s : s + batch_size]] for s in starts[:AHEAD]]
        for number, start in enumerate(starts):
            if number + AHEAD < len(starts):
                later = starts[number + AHEAD]
                waiting.append([pool.submit(_attempt, path, size) for path in paths[later : later + batch_size]])
            made = [(start + i, future.result()) for i, future in enumerate(waiting.pop(0))]
            kept = [(place, image) for place, image in made if image is not None]
            if kept:
                yield np.stack([image for _, image in kept]), [place for place, _ in kept]


class Photographs(Iterator):
    """Batches to train on: photographs and their mirror images in an order drawn anew for every pass, decoded as they are needed.

    Shapes: x (batch_size, size, size, 3), prepared for the network; y (batch_size,) class numbers.
    """

    def __init__(self, paths: Sequence[str], labels: np.ndarray, size: int, prepare: Any, batch_size: int, seed: int):
        super().__init__(2 * len(paths), batch_size, True, seed, None)
        self.paths, self.labels, self.size, self.prepare = list(paths), labels, size, prepare

    def _batch(self, index: int) -> Any:
        picked = self._picked(index)
        images = [read(self.paths[row // 2], self.size)[:, :: -1 if row % 2 else 1] for row in picked]
        return self.prepare(np.stack(images)), self.labels[picked // 2]


def _attempt(path: str, size: int) -> np.ndarray | None:
    try:
        return read(path, size)
    except (BadImageError, OSError):
        return None


def _drafted(path: str | os.PathLike, size: int) -> Any:
    """A JPEG, decoded no larger than needed; None for what is no JPEG."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.format != "JPEG" or min(image.size) < 2 * size:
                return None
            image.draft("RGB", (size, size))
            if min(image.size) < size:
                return None
            image.load()
            return ImageOps.exif_transpose(image).convert("RGB")
    except Exception:  # load_img says what is wrong
        return None
