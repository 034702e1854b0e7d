"""Where a sliding window may stand: output sizes, padding, and the checks that every operation shares.

Along one axis of `size` elements a window of `window` elements moves in steps of `stride`:

    valid   out = (size - window) // stride + 1                     the window never leaves the image
    same    out = ceil(size / stride)                               so that stride 1 keeps the size
            total = max((out - 1) * stride + window - size, 0)      padding, the odd one goes behind

The padding rule is TensorFlow's; it depends on the image and not only on the window.
Source: V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning, arXiv 1603.07285.
"""

import functools
from typing import NamedTuple

import numpy as np

Pair = tuple[int, int]
Padding = str | tuple[Pair, Pair]  # one of the two words, or so many zeros before and behind the rows, and the columns


class Axis(NamedTuple):
    """One axis of a sliding window: how many positions, and how many elements of padding on each side."""

    out: int
    before: int
    after: int


@functools.lru_cache(maxsize=1024)
def slide(size: int, window: int, stride: int, padding: str | Pair) -> Axis:
    """Place a window along one axis; a pair as padding is a `valid` axis with so many elements more on each side.

    Shapes: all arguments count elements; the result is `Axis(out, before, after)`.
    Errors: ValueError when the window is larger than a `valid` image, or `padding` is not one of the two words.
    """
    if padding == "same":
        out = -(-size // stride)
        total = max((out - 1) * stride + window - size, 0)
        return Axis(out, total // 2, total - total // 2)
    if isinstance(padding, str) and padding != "valid":
        raise ValueError(f"padding must be 'valid' or 'same', got {padding!r}")
    before, after = (0, 0) if isinstance(padding, str) else padding
    size += before + after
    if size < window:
        raise ValueError(f"a window of {window} does not fit into {size} elements; use padding='same' or a smaller window")
    return Axis((size - window) // stride + 1, before, after)


def slide2d(x: tuple[int, ...], window: Pair, strides: Pair, padding: Padding) -> tuple[Axis, Axis]:
    """Place a window on images of shape x, (N, H, W, C): `slide` for the rows and for the columns."""
    of_rows, of_columns = (padding, padding) if isinstance(padding, str) else padding
    return slide(x[1], window[0], strides[0], of_rows), slide(x[2], window[1], strides[1], of_columns)


def reach(kernel: tuple[int, ...], dilation: Pair) -> Pair:
    """How many pixels a kernel spans, (K_h - 1) d_h + 1 by (K_w - 1) d_w + 1, when its entries are d pixels apart."""
    return (kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1


def pad2d(x: np.ndarray, rows: Axis, columns: Axis, value: float = 0.0) -> np.ndarray:
    """Surround images (N, H, W, C) with `value`, as `rows` and `columns` say."""
    around = ((0, 0), (rows.before, rows.after), (columns.before, columns.after), (0, 0))
    return np.pad(x, around, constant_values=value)


def shifted(x_pad: np.ndarray, a: int, b: int, rows: Axis, columns: Axis, strides: Pair) -> np.ndarray:
    """A view of the padded images: what every window sees at its offset (a, b).

    Formula: shifted[n, i, j, c] = x_pad[n, s_h i + a, s_w j + b, c].
    Shapes: (N, H_pad, W_pad, C) to (N, H_out, W_out, C).
    """
    stop_h, stop_w = a + strides[0] * (rows.out - 1) + 1, b + strides[1] * (columns.out - 1) + 1
    return x_pad[:, a : stop_h : strides[0], b : stop_w : strides[1]]


def check_images(operation: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless it is the shape of a batch of images, (N, H, W, C)."""
    if len(shape) != 4:
        raise ValueError(f"{operation}: expected images of shape (N, H, W, C), got shape {shape}")


def check_losses(
    name: str, y_pred: np.ndarray, targets: np.ndarray, like: tuple, weights: np.ndarray | None, axes: int
) -> np.ndarray:
    """The weights of the losses, one for each entry of y_pred's first axes, ones where none are given.

    Errors: ValueError unless the targets have the shape `like`, and the weights that of the losses.
    """
    check_shape(name, "y_true", targets.shape, like)
    if weights is None:
        return np.ones(y_pred.shape[:axes], y_pred.real.dtype)
    check_shape(name, "weights", weights.shape, y_pred.shape[:axes])
    return weights


def check_shape(operation: str, name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise ValueError unless an array has the shape that the operation needs."""
    if shape != expected:
        raise ValueError(f"{operation}: {name} must have shape {expected}, got {shape}")
