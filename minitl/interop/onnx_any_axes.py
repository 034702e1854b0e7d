"""ONNX's windows over any number of axes, where no layer has what they do: poolings, and transposed convolutions."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from minitl.interop.onnx_arrays import MOST_NUMBERS, allow, along
from minitl.interop.onnx_tensors import Attributes, as_image, as_plain, borders_of, windows

LOWEST = float(np.finfo(np.float32).min)


def pooling(reader: Any, node: Any, a: Attributes) -> Any:
    """MaxPool and AveragePool over any number of axes, with dilations: along one axis after another.

    The last axis comes first, so that of equal maxima the first in the order of rows is the one whose place is told.
    """
    x, size = reader.plain(reader.tensors[node.input[0]]), list(a["kernel_shape"])
    strides, dilations = a.get("strides", [1] * len(size)), a.get("dilations", [1] * len(size))
    spans, lengths = [(k - 1) * d + 1 for k, d in zip(size, dilations, strict=True)], x.shape[2:]
    if None in lengths:
        raise ValueError("needs images of a known size")
    borders, y = borders_of(reader, node, a, lengths, spans, strides), x
    counts: list[np.ndarray] = []
    place = _places(reader, x, a.get("storage_order", 0)) if reader.takes_more(node) else None
    for k in reversed(range(len(size))):
        n, (before, after) = lengths[k], borders[k]
        out = windows(n, spans[k], strides[k], borders[k], a.get("ceil_mode", 0))
        seen = np.arange(out)[:, None] * strides[k] + np.arange(size[k]) * dilations[k] - before  # by each window
        inside = (seen >= 0) & (seen < n)
        if node.op_type == "AveragePool":
            allow(out * n)
            y = along(y, 2 + k, ((seen[:, :, None] == np.arange(n)) & inside[:, :, None]).sum(axis=1))
            counts.insert(0, (seen < n + after).sum(axis=1) if a.get("count_include_pad", 0) else inside.sum(axis=1))
            continue
        y, place = _largest(y, place, 2 + k, np.clip(seen, 0, n - 1), inside)
    if counts:
        y = np.divide(y, functools.reduce(np.multiply.outer, counts).astype(np.float32))
    return as_plain(y) if place is None else [as_plain(y), as_plain(place)]


def _largest(x: Any, place: Any, axis: int, seen: np.ndarray, inside: np.ndarray) -> tuple[Any, Any]:
    """The largest that each window sees along an axis, the first of equal ones, and its place if there are places."""
    column = (-1,) + (1,) * (len(x.shape) - 1 - axis)
    largest: Any = None
    found: Any = None
    for j in range(seen.shape[1]):
        part = np.where(inside[:, j].reshape(column), np.take(x, seen[:, j], axis=axis), LOWEST)
        if place is not None:
            where = np.take(place, seen[:, j], axis=axis)
            found = where if found is None else np.where(np.greater(part, largest), where, found)
        largest = part if largest is None else np.maximum(largest, part)
    return largest, found


def _places(reader: Any, x: Any, by_columns: int) -> Any:
    """For every entry its place among all, images one after another; with `by_columns`, a column of an image after another."""
    if reader.only_batch is None:
        raise ValueError("the places of maxima count the images in front; they are known where the graph declares its batch")
    shape = (reader.only_batch, *x.shape[1:])
    if math.prod(shape) > MOST_NUMBERS:
        raise ValueError(f"places among {math.prod(shape)} numbers, more than {MOST_NUMBERS}")
    places = np.arange(math.prod(shape), dtype=np.float32)
    if not by_columns:
        return places.reshape(shape)
    turned = places.reshape(*shape[:2], *shape[:1:-1])
    return np.ascontiguousarray(np.transpose(turned, (0, 1, *range(len(shape) - 1, 1, -1))))


def conv_transpose(reader: Any, node: Any, a: Attributes) -> Any:
    """ConvTranspose over any number of axes: every pixel's products with the kernel, each put where it belongs.

    Formula: y[o] = sum over i and k with o = i stride + k dilation - border of x[i] kernel[k], along every axis.
    """
    x, kernel, bias = reader.image(reader.tensors[node.input[0]]), reader.known(node, 1), reader.known(node, 2)
    lengths, size = x.shape[1:-1], kernel.shape[2:]
    ones, zeros = [1] * len(size), [0] * len(size)
    if None in lengths or "output_shape" in a or a.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise ValueError("over this many axes, needs images of a known size, and borders that are given by pads")
    strides, dilations, pads = a.get("strides", ones), a.get("dilations", ones), a.get("pads", zeros * 2)
    spans = [(k - 1) * d + 1 for k, d in zip(size, dilations, strict=True)]
    parts = []
    for some, k in zip(channels_of(x, a.get("group", 1)), np.split(kernel, a.get("group", 1)), strict=True):
        # axes: z the batch, a b c ... those of the image, then input channels, output channels, and A B C ... the kernel's
        places, taps = "abcdefgh"[: len(size)], "ABCDEFGH"[: len(size)]
        part: Any = np.einsum(f"z{places}i,io{taps}->z{places}{taps}o", some, k.astype(np.float32))
        for axis, (n, span, stride) in enumerate(zip(lengths, spans, strides, strict=True)):
            out = (n - 1) * stride + span - pads[axis] - pads[axis + len(size)] + a.get("output_padding", zeros)[axis]
            allow(out * n * size[axis])
            reached = np.arange(n)[:, None] * stride + np.arange(size[axis]) * dilations[axis] - pads[axis]
            put = (reached[:, :, None] == np.arange(out)).astype(np.float32)
            left = taps[axis:]
            now = f"z{places}{left}o"
            after = f"z{places}{left[1:]}o".replace(places[axis], "y")
            part = np.einsum(f"{now},{places[axis]}{left[0]}y->{after}", part, put)
        parts.append(part)
    y: Any = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
    return as_image(y if bias is None else np.add(y, bias.astype(np.float32)))


def split_transposed(kernel: np.ndarray, groups: int, dilations: Any) -> list[np.ndarray]:
    """The kernels of a transposed convolution's groups, with zeros between their entries where they are dilated."""
    if max(dilations) > 1:
        wide = np.zeros((*kernel.shape[:2], *((k - 1) * d + 1 for k, d in zip(kernel.shape[2:], dilations, strict=True))))
        allow(wide.size)
        wide[tuple(slice(None, None, d) for d in (1, 1, *dilations))] = kernel
        kernel = wide.astype(kernel.dtype)
    return np.split(kernel, groups)


def channels_of(x: Any, groups: int) -> list[Any]:
    """Values of some channels each, the last axis."""
    each = x.shape[-1] // groups
    return [x[..., k * each : (k + 1) * each] for k in range(groups)]
