"""What shape a layer gives that does not say so itself: found out by running it on zeros."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minitl.graph.value import Shape, shape_of

# Two lengths for every open axis, the same for all: an axis of y that differs between them is open, too. A layer may want more
# (a pooling) or less (a table of places), so others follow.
LENGTHS = ((64, 96), (8, 12), (2, 3), (256, 384))


def found_out(layer: Any, input_shape: Any) -> Any:
    """The shape of y for a shape of x, from a forward pass on one sample of zeros; where axes are open, from two.

    Errors: ValueError when the layer runs on none of the lengths that are tried for open axes.
    """
    shapes = list(input_shape) if layer.takes_several else [input_shape]
    if all(None not in shape[1:] for shape in shapes):
        return _run(layer, shapes, 0)
    for shorter, longer in LENGTHS:
        try:
            return _what_varies(_run(layer, shapes, shorter), _run(layer, shapes, longer))
        except (ValueError, IndexError) as error:
            reason = error
    advice = "define compute_output_shape() to work with an open input shape"
    raise ValueError(f"{layer.label}: {advice} {input_shape}; on images or sequences of any length it fails: {reason}")


def of_two_batches(shapes: Sequence[Shape], run: Callable[[list[list[int]]], Any], batches: tuple[int, int] = (2, 3)) -> Shape:
    """The shape that `run` gives for arrays of some shapes, where it need not have a batch: from two, whose open axes differ."""
    found = []
    for batch, length in zip(batches, (24, 36), strict=True):
        found.append(run([[(length if i else batch) if n is None else n for i, n in enumerate(shape)] for shape in shapes]))
    shape: Shape = _what_varies(*found)
    return shape


def _run(layer: Any, shapes: list[Any], length: int) -> Any:
    given = vars(layer).pop("given_mask", None)  # it fits the numbers that are given, not these
    zeros = [np.zeros((1, *(length if n is None else n for n in shape[1:])), layer.dtype) for shape in shapes]
    try:
        return shape_of(layer._run_forward(zeros if layer.takes_several else zeros[0], False), layer.label)
    finally:
        if given is not None:
            vars(layer)["given_mask"] = given


def _what_varies(first: Any, second: Any) -> Any:
    if isinstance(first, list):
        return [_what_varies(a, b) for a, b in zip(first, second, strict=True)]
    if len(first) != len(second):
        raise ValueError(f"it gave {len(first)} axes for one length and {len(second)} for another")
    return tuple(a if a == b else None for a, b in zip(first, second, strict=True))
