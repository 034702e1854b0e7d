"""Images: from files and folders, augmented, in batches. Names and meanings are those of `keras.preprocessing.image`."""

import importlib
from typing import Any

from minitl.preprocessing.image.files import BadImageError, array_to_img, img_to_array, load_img, save_img
from minitl.preprocessing.image.folders import DataFrameIterator, DirectoryIterator
from minitl.preprocessing.image.generator import ImageDataGenerator
from minitl.preprocessing.image.iterators import Iterator, NumpyArrayIterator
from minitl.preprocessing.image.recipes import (
    alternating_flip,
    augmented,
    compose,
    cutout,
    label_smoothing,
    mixup,
    pad_and_crop,
)
from minitl.preprocessing.image.views import predict_views
from minitl.preprocessing.image.whitening import whitening_kernel


def __getattr__(name: str) -> Any:  # functions that change one image
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module("minitl.legacy.image_functions"), name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


__all__ = [
    "BadImageError",
    "DataFrameIterator",
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "alternating_flip",
    "array_to_img",
    "augmented",
    "compose",
    "cutout",
    "img_to_array",
    "label_smoothing",
    "load_img",
    "mixup",
    "pad_and_crop",
    "predict_views",
    "save_img",
    "whitening_kernel",
]
