"""Layers and functions of older programs that are called otherwise today."""

from __future__ import annotations

from typing import Any

from minitl import channels, layers
from minitl.errors import unknown
from minitl.legacy import warn_once
from minitl.legacy.arguments import first_of_keras_1
from minitl.legacy.windows import pixels_more

MODES = {
    "sum": layers.Add, "concat": layers.Concatenate, "mul": layers.Multiply, "ave": layers.Average, "max": layers.Maximum,
    "dot": layers.Dot,
}  # fmt: skip


def Convolution2D(filters: Any = None, kernel_size: Any = None, columns: Any = None, *args: Any, **kwargs: Any) -> layers.Conv2D:
    """Conv2D; three numbers in front are filters, rows and columns of the window, as in Keras 1."""
    if isinstance(columns, int):
        warn_once("Convolution2D(32, 3, 3)", "Conv2D(32, (3, 3))")
        kernel_size = (kernel_size, columns)
    elif columns is not None:
        args = (columns, *args)
    first_of_keras_1(kwargs.get("input_shape"))
    given = {} if filters is None else {"filters": filters}
    if kernel_size is not None:
        given["kernel_size"] = kernel_size
    if args:  # strides, padding, activation in today's order
        given.update(zip(("strides", "padding", "activation"), args, strict=False))
    return layers.Conv2D(**given, **kwargs)


def Deconvolution2D(
    filters: int,
    rows: int,
    columns: int,
    output_shape: Any = None,
    subsample: Any = (1, 1),
    border_mode: str = "valid",
    **kwargs: Any,
) -> layers.Conv2DTranspose:
    """Conv2DTranspose; what `output_shape`, with the batch, asks for beyond the stride's multiples is its `output_padding`."""
    warn_once("Deconvolution2D", "Conv2DTranspose")
    sizes = None if output_shape is None else channels.inner_shape(tuple(output_shape)[1:])[:2]
    kwargs["output_padding"] = pixels_more(sizes, (rows, columns), subsample, border_mode)
    return layers.Conv2DTranspose(filters, (rows, columns), strides=subsample, padding=border_mode, **kwargs)


def Convolution1D(filters: Any = None, kernel_size: Any = None, *args: Any, **kwargs: Any) -> layers.Conv1D:
    """Conv1D."""
    given = dict(zip(("strides", "padding", "activation"), args, strict=False))
    given.update({name: value for name, value in (("filters", filters), ("kernel_size", kernel_size)) if value is not None})
    return layers.Conv1D(**given, **kwargs)


def merge(inputs: Any, mode: str = "sum", concat_axis: int = -1, dot_axes: Any = -1, name: str | None = None, **_: Any) -> Any:
    """`merge([a, b], mode="concat")` of Keras 1.

    Errors: ValueError for another mode.
    """
    return Merge(None, mode, concat_axis, dot_axes, name)(inputs)


def Merge(
    layers_: Any = None, mode: str = "sum", concat_axis: int = -1, dot_axes: Any = -1, name: str | None = None, **_: Any
) -> Any:
    """The merging layer of a mode: "sum", "concat", "mul", "ave", "max" or "dot".

    Errors: ValueError for another mode, or for models to be merged inside a Sequential, which took two inputs then.
    """
    if layers_:
        raise ValueError("Merge([model, model]) in a Sequential: use the functional API, concatenate([a.output, b.output])")
    if mode not in MODES:
        raise unknown("mode", mode, MODES)
    warn_once("merge", "the layers Add, Concatenate, Multiply, Average, Maximum and Dot")
    settings = {"concat": {"axis": concat_axis}, "dot": {"axes": dot_axes}}.get(mode, {})
    return MODES[mode](name=name, **settings)


def ThresholdedReLU(theta: float = 1.0, **kwargs: Any) -> layers.ReLU:
    """x above theta, 0 below."""
    return layers.ReLU(threshold=theta, **kwargs)


def SeparableConvolution2D(filters: Any, rows: Any, columns: Any = None, *args: Any, **kwargs: Any) -> layers.SeparableConv2D:
    """SeparableConv2D, its window as two numbers."""
    return layers.SeparableConv2D(filters, rows if columns is None else (rows, columns), *args, **kwargs)


def AtrousConvolution2D(filters: Any, rows: int, columns: int, **kwargs: Any) -> layers.Conv2D:
    """Conv2D with a dilation rate."""
    return layers.Conv2D(filters, (rows, columns), **kwargs)


class InputSpec:
    """What a layer of older programs says of its inputs; nothing is checked by it."""

    def __init__(self, dtype: Any = None, shape: Any = None, ndim: int | None = None, **_: Any):
        self.dtype, self.shape, self.ndim = dtype, shape, ndim


def CuDNNLSTM(units: int, **kwargs: Any) -> layers.LSTM:
    """LSTM; the name asked for a graphics card."""
    warn_once("CuDNNLSTM", "LSTM")
    return layers.LSTM(units, **kwargs)


def CuDNNGRU(units: int, **kwargs: Any) -> layers.GRU:
    """GRU; the name asked for a graphics card."""
    warn_once("CuDNNGRU", "GRU")
    return layers.GRU(units, **kwargs)
