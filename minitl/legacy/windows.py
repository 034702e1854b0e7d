"""Convolutions and pooling as functions of Keras: `ops.conv(x, kernel)`, `K.conv2d(x, kernel)`, `ops.max_pool(x, 2)`.

They take arrays, traced ones in a layer's call, and values, of which they make a Lambda. Sequences (N, T, C) and images
(N, H, W, C); a sequence is an image of one row.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.autodiff import Traced, plain
from minitl.backend import op
from minitl.errors import unknown
from minitl.graph.value import Value
from minitl.legacy.operations import pad
from minitl.ops.conv2d_transpose import beyond


def of_values(call: Callable[..., Any]) -> Callable[..., Any]:
    """A function that makes a layer of itself where its first argument is a value."""

    first = next(iter(inspect.signature(call).parameters))

    @functools.wraps(call)
    def wrapped(*arguments: Any, **settings: Any) -> Any:
        inputs = arguments[0] if arguments else settings.get(first)
        if not isinstance(inputs, Value):
            return call(*arguments, **settings)
        from minitl.layers import Lambda

        others = {name: value for name, value in settings.items() if name != first}
        return Lambda(lambda x: call(x, *arguments[1:], **others))(inputs)

    return wrapped


@of_values
def conv(
    inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None, dilation_rate: Any = 1
) -> Any:
    """A convolution, also causal, also in groups where the kernel has fewer channels than x; kernel (..., channels, filters)."""
    check_channels_last(data_format)
    if padding.lower() == "causal":
        reach = (np.shape(kernel)[0] - 1) * _pair(dilation_rate, 1)[1]
        inputs, padding = pad(inputs, ((0, 0), (reach, 0), (0, 0))), "valid"
    settings = {"strides": strides, "padding": padding, "dilation": dilation_rate}
    return _run("conv2d", inputs, kernel, {**settings, "groups": inputs.shape[-1] // np.shape(kernel)[-2]})


@of_values
def depthwise_conv(
    inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None, dilation_rate: Any = 1
) -> Any:
    """A convolution of each channel by itself; kernel (..., channels, multiplier)."""
    check_channels_last(data_format)
    settings = {"strides": strides, "padding": padding, "dilation": dilation_rate}
    return _run("depthwise_conv2d", inputs, kernel, settings)


@of_values
def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> Any:
    """Channel by channel, and then across them."""
    return conv(depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate), pointwise_kernel)


@of_values
def conv_transpose(
    inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", output_padding: Any = None, data_format: Any = None
) -> Any:
    """A transposed convolution; kernel (..., filters, channels).

    `output_padding` is what `Conv2DTranspose` has.
    """
    check_channels_last(data_format)
    settings = {"strides": strides, "padding": padding}
    if output_padding is not None:
        settings["output_padding"] = _pair(output_padding, np.ndim(inputs) - 2, of_the_row=0)
    return _run("conv2d_transpose", inputs, kernel, settings)


@of_values
def max_pool(inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: Any = None) -> Any:
    """The largest number of every window."""
    return _pool("max_pool2d", inputs, pool_size, strides, padding, data_format)


@of_values
def average_pool(inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: Any = None) -> Any:
    """The mean of every window."""
    return _pool("average_pool2d", inputs, pool_size, strides, padding, data_format)


def conv2d(x: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None, dilation_rate: Any = 1) -> Any:
    """`K.conv2d`, and `K.conv1d`."""
    return conv(x, kernel, strides, padding, data_format, dilation_rate)


def conv2d_transpose(
    x: Any, kernel: Any, output_shape: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None
) -> Any:
    """`K.conv2d_transpose`; `output_shape` begins with the batch."""
    sizes = None if output_shape is None else tuple(output_shape)[1:3]
    size, steps = kernel.shape[:2], _pair(strides, 2)
    return conv_transpose(x, kernel, strides, padding, pixels_more(sizes, size, steps, padding), data_format)


def pixels_more(sizes: Any, kernel_size: Any, strides: Any, padding: str) -> tuple[int, int] | None:
    """The `output_padding` that gives images of H by W pixels; None where they have that without, or it is not known.

    All sizes have one: what is left of them by painting in steps of the stride is below the stride.
    """
    if sizes is None or not all(isinstance(size, (int, np.integer)) for size in sizes):
        return None

    def left(more: int | None) -> tuple[int, int]:
        rows, columns = (
            (size - window + sum(beyond(window, stride, more, padding))) % stride
            for size, window, stride in zip(sizes, kernel_size, strides, strict=True)
        )
        return rows, columns

    return left(0) if any(left(None)) else None


def pool2d(
    x: Any, pool_size: Any, strides: Any = 1, padding: str = "valid", data_format: Any = None, pool_mode: str = "max"
) -> Any:
    """`K.pool2d`.

    Errors: ValueError for another mode than max and avg.
    """
    if pool_mode not in ("max", "avg"):
        raise unknown("pool_mode", pool_mode, ("max", "avg"))
    return (max_pool if pool_mode == "max" else average_pool)(x, pool_size, strides, padding, data_format)


conv1d, depthwise_conv2d, separable_conv2d = conv2d, depthwise_conv, separable_conv


def _pool(operation: str, inputs: Any, pool_size: Any, strides: Any, padding: str, data_format: Any) -> Any:
    check_channels_last(data_format)
    settings = {"pool_size": pool_size, "strides": pool_size if strides is None else strides, "padding": padding}
    return _run(operation, inputs, None, settings)


def _run(operation: str, x: Any, kernel: Any, settings: dict[str, Any]) -> Any:
    """An operation on images, or on sequences as images of one row; on traced arrays with its backward."""
    rank = np.ndim(x) - 2
    parts = [plain(part) for part in (x, kernel) if part is not None]
    if rank == 1:
        parts = [np.expand_dims(part, axis) for part, axis in zip(parts, (1, 0), strict=False)]
    dtype = np.result_type(*parts, np.float32)
    arrays = [np.ascontiguousarray(part, dtype) for part in parts]
    for name in settings.keys() & {"pool_size", "strides", "dilation"}:
        settings[name] = _pair(settings[name], rank)
    y, cache = op(operation).forward(*arrays, **{**settings, "padding": settings["padding"].lower()})
    y = y[:, 0] if rank == 1 else y
    traced = [part for part in (x, kernel) if isinstance(part, Traced)]
    if not traced:
        return y

    def pullback(dy: np.ndarray) -> list[np.ndarray]:
        dy = np.ascontiguousarray(np.expand_dims(dy, 1) if rank == 1 else dy, y.dtype)
        wanted = [isinstance(part, Traced) for part in (x, kernel)]
        found = op(operation).backward(dy, cache, *(wanted if kernel is not None else ()))
        found = found[:2] if kernel is not None else [found]
        return [g.reshape(part.shape) for g, part in zip(found, (x, kernel), strict=False) if isinstance(part, Traced)]

    return Traced(y, traced, pullback)


def _pair(setting: Any, rank: int, of_the_row: int = 1) -> tuple[int, int]:
    """A setting for both axes; of sequences that of the one row for the first."""
    given = tuple(int(n) for n in setting) if isinstance(setting, (list, tuple)) else (int(setting),) * rank
    return given if len(given) == 2 else (of_the_row, given[0])


def check_channels_last(data_format: Any) -> None:
    """Refuse images with their channels first: functions of arrays do not turn them.

    Errors: ValueError.
    """
    if data_format not in (None, "channels_last"):
        raise ValueError(f"a convolution or pooling as a function takes channels last, got data_format={data_format!r}")
