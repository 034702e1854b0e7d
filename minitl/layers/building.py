"""When a layer counts as built: once its class's `build` has run, whoever called it.

A program may call `build` by hand, a network calls it at the layer's first input, and a class's `build` may call that of its
parent. The layer is built once the outermost call returns; a second call finds the weights that are there and leaves them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from minitl.errors import wrong_shape


def marking_built(create: Callable[..., Any]) -> Callable[..., None]:
    """A class's `build`, after which the layer is built; `create` is the class's own."""

    @functools.wraps(create)
    def build(self: Any, input_shape: Any = None, *more: Any) -> None:
        if more or self.is_being_built:  # weights of another layer, or `super().build(...)`
            create(self, input_shape, *more)
            return
        several = isinstance(input_shape, (list, tuple)) and bool(input_shape) and isinstance(input_shape[0], (list, tuple))
        shape: Any = [tuple(s) for s in input_shape] if several else None if input_shape is None else tuple(input_shape)
        if self.built:
            if not several and shape is not None and not self._may_take(shape):
                raise wrong_shape(self.label, self.input_shape, shape, "it is built already; use a new layer")
            return
        if self.has_call and not self.spreads:
            self.takes_several = several
        self.is_being_built = True
        try:
            create(self, shape)
        finally:
            self.is_being_built = False
        self.built, self.input_shape = True, shape
        if self.first_weights is not None:
            self.set_weights(self.first_weights)
            self.first_weights = None

    build.create = create  # type: ignore[attr-defined]
    return build


def build_once(layer: Any, input_shape: Any) -> None:
    """Build once, for this input shape (for several inputs, a list of them); errors name the layer."""
    if layer.built:
        return
    shape = [tuple(s) for s in input_shape] if layer.takes_several else tuple(input_shape)
    try:
        layer.build(shape)
        layer.output_shape = layer._output_shape_for(shape)
    except (ValueError, TypeError) as error:
        layer.built = False
        layer.parameters.clear()
        layer.state.clear()
        if layer.label in str(error):
            raise
        raise type(error)(f"{layer.label} on an input of shape {shape}: {error}") from error
