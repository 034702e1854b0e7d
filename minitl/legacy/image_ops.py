"""`keras.ops.image`: patches of images, and images of another size; of arrays, traced ones in a layer's call, and values."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.autodiff import Traced, plain
from minitl.legacy.backend import convert_to_tensor
from minitl.legacy.operations import pad
from minitl.legacy.windows import check_channels_last, conv, of_values

GREY = (0.2989, 0.587, 0.114)  # what red, green and blue weigh


@of_values
def extract_patches(
    images: Any, size: Any, strides: Any = None, dilation_rate: Any = 1, padding: str = "valid", data_format: Any = None
) -> Any:
    """The windows of images, one behind the other in place of the channels.

    Shapes: images (N, H, W, C) or (H, W, C), size (K_h, K_w) or a number; the result (..., H', W', K_h K_w C). Strides are the
    size by default.
    """
    check_channels_last(data_format)
    if np.ndim(images) == 3:
        return extract_patches(np.expand_dims(images, 0), size, strides, dilation_rate, padding)[0]
    rows, columns = size if isinstance(size, (tuple, list)) else (size, size)
    n, height, width, channels = np.shape(images)
    beside = strides is None or np.all(np.equal(strides, (rows, columns)))
    if beside and np.all(np.equal(dilation_rate, 1)) and (padding == "valid" or height % rows == width % columns == 0):
        down, across = height // rows, width // columns
        whole = images[:, : down * rows, : across * columns]
        pieces = np.transpose(np.reshape(whole, (n, down, rows, across, columns, channels)), (0, 1, 3, 2, 4, 5))
        return np.reshape(pieces, (n, down, across, rows * columns * channels))
    places = np.eye(rows * columns * channels, dtype=np.result_type(images.dtype, np.float32))
    kernel = places.reshape(rows, columns, channels, -1)  # each filter sees one number of a window
    return conv(images, kernel, (rows, columns) if strides is None else strides, padding, dilation_rate=dilation_rate)


def resize(images: Any, size: Any, interpolation: str = "bilinear", antialias: bool = False, **settings: Any) -> Any:
    """Images of another size, as `Resizing` makes them; other settings are that layer's.

    Shapes: images (N, H, W, C) or (H, W, C), size (height, width).
    """
    from minitl.layers import Resizing

    check_channels_last(settings.pop("data_format", None))
    images = convert_to_tensor(images)
    if len(images.shape) == 3 and not hasattr(images, "node"):
        return resize(np.expand_dims(images, 0), size, interpolation, antialias, **settings)[0]
    height, width = size
    dtype = images.dtype if isinstance(images, Traced) else "float32"
    return Resizing(height, width, interpolation, dtype=dtype, antialias=antialias, **settings)(images)


@of_values
def rgb_to_grayscale(images: Any, data_format: Any = None) -> Any:
    """What is bright in images; one channel."""
    check_channels_last(data_format)
    return np.sum(images * np.asarray(GREY, np.result_type(plain(images).dtype, np.float32)), axis=-1, keepdims=True)


@of_values
def crop_images(
    images: Any, top_cropping: int = 0, left_cropping: int = 0, bottom_cropping: int | None = None,
    right_cropping: int | None = None, target_height: int | None = None, target_width: int | None = None, data_format: Any = None,
) -> Any:  # fmt: skip
    """A part of images, by what is cut off on two sides and by its size or what is cut off on the others."""
    check_channels_last(data_format)
    height, width = np.shape(images)[-3:-1]
    bottom = top_cropping + target_height if target_height is not None else height - (bottom_cropping or 0)
    right = left_cropping + target_width if target_width is not None else width - (right_cropping or 0)
    return images[..., top_cropping:bottom, left_cropping:right, :]


@of_values
def pad_images(
    images: Any, top_padding: int = 0, left_padding: int = 0, bottom_padding: int | None = None, right_padding: int | None = None,
    target_height: int | None = None, target_width: int | None = None, data_format: Any = None,
) -> Any:  # fmt: skip
    """Images with zeros around them, by their number on two sides and by the whole size or the number on the others."""
    check_channels_last(data_format)
    height, width = np.shape(images)[-3:-1]
    below = target_height - height - top_padding if target_height is not None else bottom_padding or 0
    behind = target_width - width - left_padding if target_width is not None else right_padding or 0
    before = ((0, 0),) * (np.ndim(images) - 3)
    return pad(images, (*before, (top_padding, below), (left_padding, behind), (0, 0)))
