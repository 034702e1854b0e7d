"""Image files: decoded with Pillow, the odd kinds included, and refused with their path when they can't be.

Palette, CMYK and 16-bit images are converted, the first frame of an animation is taken, and a photograph that says
which way up it is gets turned. What is too large, cut off or no image at all is a BadImageError.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from minitl import channels
from minitl.errors import unknown

UNREADABLE = (".heic", ".heif", ".avif", ".dng", ".cr2", ".nef", ".arw")  # images that Pillow alone cannot decode
EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff", ".gif", ".webp")
MODES = {"rgb": "RGB", "rgba": "RGBA", "grayscale": "L"}
CHANNELS = {"rgb": 3, "rgba": 4, "grayscale": 1}
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "PPM", "TIFF", "GIF", "WEBP")  # no other decoder is tried, whatever the ending
LARGEST = 50_000_000  # pixels
PIXELS_OF_ANY_FILE = 16_000_000  # more only for files with at least a byte per four of the others: no photograph has fewer


class BadImageError(ValueError):
    """A file that is no usable image; the message names it and says why."""


def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """An image from a file, as a PIL image, in a colour mode and perhaps of another size.

    Shapes: target_size (height, width). `keep_aspect_ratio` cuts off what is too long before resizing, at both ends alike.
    Errors: FileNotFoundError; BadImageError for a file that cannot be decoded; ValueError for an unknown mode or interpolation.
    """
    from PIL import Image, ImageOps

    if color_mode not in MODES:
        raise unknown("color_mode", color_mode, MODES)
    if interpolation not in INTERPOLATIONS:
        raise unknown("interpolation", interpolation, INTERPOLATIONS)
    try:
        if isinstance(path, (str, os.PathLike)) and os.path.exists(path) and not os.path.isfile(path):
            raise BadImageError(f"{path}: is no regular file")  # opening a pipe would wait for ever
        with Image.open(path, formats=FORMATS) as image:
            if image.size[0] * image.size[1] > _most_pixels(path):
                raise BadImageError(f"{path}: {image.size[0]} x {image.size[1]} pixels are too many; make it smaller")
            image.load()
            if image.format in ("JPEG", "TIFF", "WEBP", "MPO"):
                image = ImageOps.exif_transpose(image)
            if image.mode.startswith(("I", "F")):
                image = _eight_bits(image)
            if image.mode == "P" and "transparency" in image.info:
                image = image.convert("RGBA")
            if image.mode != MODES[color_mode]:
                image = image.convert(MODES[color_mode])
    except BadImageError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no image file at {path}") from error
    except Exception as error:  # Pillow's decoders raise many kinds
        advice = "; convert it to JPEG first" if str(path).lower().endswith(UNREADABLE) else ""
        raise BadImageError(f"{path}: cannot be read as a picture ({type(error).__name__}: {error}){advice}") from error
    if target_size is not None and image.size != (target_size[1], target_size[0]):
        method = getattr(Image.Resampling, interpolation.upper())
        box = _middle(image.size, target_size) if keep_aspect_ratio else None
        image = image.resize((target_size[1], target_size[0]), method, box)
    return image


def img_to_array(image: Any, data_format: str | None = None, dtype: Any = "float32") -> np.ndarray:
    """A PIL image, or an array, as an array (H, W, C).

    Errors: ValueError for another number of axes, or channels first.
    """
    check_data_format(data_format)
    array = np.asarray(image, dtype)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3:
        raise ValueError(f"img_to_array: expected a picture (H, W) or (H, W, C), got shape {array.shape}")
    return array


def array_to_img(x: Any, data_format: str | None = None, scale: bool = True, dtype: Any = None) -> Any:
    """An array (H, W, C) as a PIL image; `scale` spreads its numbers over 0 .. 255, smallest to largest, as Keras does.

    Errors: ValueError for another number of axes or channels.
    """
    from PIL import Image

    check_data_format(data_format)
    x = np.asarray(x, dtype or "float32")
    if x.ndim != 3 or x.shape[2] not in (1, 3, 4):
        raise ValueError(f"array_to_img: expected (H, W, 1), (H, W, 3) or (H, W, 4), got shape {x.shape}")
    if scale:
        x = x - x.min()
        largest = x.max()
        x = x / largest * 255 if largest else x
    x = x.astype(np.uint8) if x.shape[2] != 1 or x.max() <= 255 else x.astype(np.int32)
    return Image.fromarray(x[..., 0] if x.shape[2] == 1 else x)


def save_img(
    path: str | os.PathLike, x: Any, data_format: str | None = None, file_format: str | None = None, scale: bool = True
) -> None:
    """Write an array (H, W, C) to an image file, whole or not at all.

    Errors: ValueError as `array_to_img`, or for a file name without a known ending.
    """
    from minitl.weights import atomic_file

    image = array_to_img(x, data_format, scale)
    kind = file_format or {"jpg": "jpeg", "tif": "tiff"}.get(Path(path).suffix[1:].lower(), Path(path).suffix[1:].lower())
    if not kind:
        raise ValueError(f"save_img: {path} has no ending that says its format; give file_format")
    if image.mode == "RGBA" and kind in ("jpg", "jpeg"):
        image = image.convert("RGB")
    with atomic_file(path) as file:
        image.save(file, format="jpeg" if kind == "jpg" else kind)


def check_data_format(data_format: str | None) -> None:
    """Raise ValueError for anything but channels last, unless the program has said that its own are first."""
    if data_format not in (None, "channels_last") and not (data_format == "channels_first" and channels.are_first()):
        raise ValueError(f"data_format must be 'channels_last', got {data_format!r}; move the channels to the last axis")


def _most_pixels(path: Any) -> int:
    """How many pixels an image file may have; a small file that unpacks to a huge image is none."""
    size = os.path.getsize(path) if isinstance(path, (str, os.PathLike)) and os.path.exists(path) else LARGEST
    return min(LARGEST, PIXELS_OF_ANY_FILE + 4 * size)


def _eight_bits(image: Any) -> Any:
    """16-bit and floating-point images, brought to 0 .. 255."""
    from PIL import Image

    values = np.asarray(image, np.float64)
    if image.mode.startswith("I"):
        values = values / 257 if values.max(initial=0) > 255 else values
    elif values.max(initial=0) <= 1:
        values = values * 255
    return Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8))


def _middle(size: tuple[int, int], target: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest middle part (left, upper, right, lower) of an image that has the target's proportions."""
    width, height = size
    wanted_w, wanted_h = min(width, height * target[1] / target[0]), min(height, width * target[0] / target[1])
    left, upper = (width - wanted_w) / 2, (height - wanted_h) / 2
    return left, upper, left + wanted_w, upper + wanted_h
