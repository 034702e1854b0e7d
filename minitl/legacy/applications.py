"""What the networks that people copied from Keras's early applications import from its insides."""

from __future__ import annotations

import importlib
from typing import Any

from minitl.graph.value import Value


def _obtain_input_shape(
    input_shape: Any, default_size: int, min_size: int, data_format: Any = None, require_flatten: bool = True, **settings: Any
) -> tuple[int | None, ...]:
    """See `minitl.applications.network.image_shape`; the flag for the top has had two names."""
    network: Any = importlib.import_module("minitl.applications.network")
    return network.image_shape(input_shape, default_size, settings.get("include_top", require_flatten), min_size)


obtain_input_shape = _obtain_input_shape


def get_source_inputs(value: Value, *_: Any) -> list[Value]:
    """The inputs that a value was made from."""
    found: list[Value] = []
    seen, stack = set(), [value]
    while stack:
        one = stack.pop()
        if one in seen:
            continue
        seen.add(one)
        if not one.node.inputs:
            found.append(one)
        stack += one.node.inputs
    return found


def slice_X(X: Any, start: Any = None, stop: Any = None) -> Any:
    """Some samples of an array, or of each of a list of arrays."""
    rows = start if hasattr(start, "__len__") else slice(start, stop)
    return [x[rows] for x in X] if isinstance(X, list) else X[rows]


slice_arrays = _slice_arrays = slice_X


def convert_all_kernels_in_model(model: Any) -> None:
    """Nothing: kernels are never flipped here."""


def convert_dense_weights_data_format(*_: Any, **__: Any) -> None:
    """Nothing: channels are last."""
