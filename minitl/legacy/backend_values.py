"""The functions of `keras.backend` between values: from inputs to outputs, gradients, and what sessions were for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import channels
from minitl.graph.value import Value
from minitl.layers.gradient import Gradient


def function(inputs: Any, outputs: Any, updates: Any = None, **_: Any) -> Callable[[Any], Any]:
    """A function from arrays for some values to the arrays of others: `function([model.input], [layer.output])([x])`.

    `learning_phase()` may stand among the inputs; a 1 in its place runs the layers as in training.
    """
    several = isinstance(outputs, (list, tuple))
    listed = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    places = [place for place, value in enumerate(listed) if isinstance(value, Value)]
    models: Any = importlib.import_module("minitl.models")
    model = models.Model([listed[place] for place in places], list(outputs) if several else [outputs])

    def run(arrays: Any) -> Any:
        given = list(arrays) if isinstance(arrays, (list, tuple)) else [arrays]
        training = any(bool(array) for place, array in enumerate(given) if place not in places)
        found = model([given[place] for place in places] if len(places) > 1 else given[places[0]], training=training)
        turned = [channels.outer_images(part) for part in (found if isinstance(found, list) else [found])]
        return turned if several else turned[0]

    return run


def gradients(loss: Value, variables: Any) -> list[Value]:
    """The gradients of the sum of a value with respect to others, as values, for `function`.

    Everything that leads from a variable to the loss must be there; second derivatives are not.
    Errors: TypeError for what is no value; ValueError for a loss that needs other values than the variable.
    """
    for value in (loss, *(variables if isinstance(variables, (list, tuple)) else [variables])):
        if not isinstance(value, Value):
            raise TypeError(
                f"K.gradients: expected values, such as model.output, got {type(value).__name__}; use minitl.autodiff.gradients "
                "on traced arrays, or model.backward(dy) after model.forward(x)"
            )
    models: Any = importlib.import_module("minitl.models")
    several = variables if isinstance(variables, (list, tuple)) else [variables]
    return [Gradient(models.Model(value, loss))(value) for value in several]


def placeholder(shape: Any = None, ndim: int | None = None, dtype: Any = "float32", name: str | None = None, **_: Any) -> Value:
    """A value for which `function` takes an array: what `Input` gives, with the batch in its shape.

    Parameters: `shape` begins with the batch, None for any; or `ndim`, a number of axes of any sizes.
    Errors: ValueError without one of them.
    """
    if shape is None:
        if ndim is None:
            raise ValueError("K.placeholder: give shape, or ndim, the number of axes")
        shape = (None,) * ndim
    layers: Any = importlib.import_module("minitl.layers")
    return layers.Input(batch_shape=shape, dtype=dtype, name=name)


def get_session(session: Any = None) -> None:
    """Nothing: there are no sessions."""


set_session = get_session


def cast_value(x: Value, dtype: np.dtype) -> Any:
    """A value's numbers as a dtype has them: whole towards zero, or yes and no. What follows computes in its own.

    Errors: ValueError for what is no dtype of real numbers.
    """
    if dtype.kind not in "biuf":
        raise ValueError(f"cast: values are real numbers, got dtype {dtype}")
    if dtype.kind == "b":
        return np.not_equal(x, 0)
    return np.trunc(x) if dtype.kind in "iu" and x.dtype.kind == "f" else x
