"""Models that are classes with a `call`, as Keras has them: the call is followed once, on values, and gives the graph.

class Net(Model):
    def __init__(self):
        super().__init__()
        self.first, self.last = Dense(64, activation="relu"), Dense(10, activation="softmax")

    def call(self, x):
        return self.last(self.first(x))
"""

from __future__ import annotations

import inspect
from typing import Any

from minitl.graph.value import UNDECIDED, Value
from minitl.layers.core import InputLayer
from minitl.models.keys import Keys, keys_of, listed


def followed(model: Any, input_shape: Any) -> tuple[list[Value], list[Value]]:
    """The inputs and outputs of a model's call, for the shape of its input, or a list or dictionary of shapes.

    Errors: TypeError for a call that gives no values, or does with them what needs numbers.
    """
    entries = {key: InputLayer(tuple(shape)[1:], **_named(key)).value for key, shape in _items(input_shape)}
    inputs = list(entries.values())
    x: Any = entries if isinstance(input_shape, dict) else inputs if isinstance(input_shape, list) else inputs[0]
    takes_training = "training" in inspect.signature(model.call).parameters
    try:
        y = model.call(x, **({"training": UNDECIDED} if takes_training else {}))
    except TypeError as error:
        if "no numbers yet" not in str(error):
            raise
        raise TypeError(
            f"{model.label}: its call() is followed once, before there are numbers, and must be made of layers: {error}"
        ) from error
    outputs, model.keys = listed(y), Keys(outputs=keys_of(y))
    if not all(isinstance(output, Value) for output in outputs):
        raise TypeError(f"{model.label}: call() must return what its layers give, got {type(y).__name__}")
    return inputs, outputs


def _items(input_shape: Any) -> list[tuple[Any, Any]]:
    if isinstance(input_shape, dict):
        return list(input_shape.items())
    return list(enumerate(input_shape)) if isinstance(input_shape, list) else [(0, input_shape)]


def _named(key: Any) -> dict[str, Any]:
    return {"name": key} if isinstance(key, str) else {}
