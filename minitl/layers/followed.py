"""Layers whose function reaches values of the network around it, as programs for Keras 1 and 2 have them.

    gated = Lambda(lambda x: x * attention)(features)        # attention is a value, too

There are no numbers for such a value while the layer runs by itself. So its function is called on values, once, as the call of a
model is: what it is made of becomes part of the network, in the layer's place.
"""

from __future__ import annotations

import importlib
from typing import Any

from minitl.graph.steps import takes_training
from minitl.graph.value import UNDECIDED, NoNumbersYetError, Value


def on_values(layer: Any, values: list[Value], training: bool | None, reason: NoNumbersYetError) -> Any:
    """What a layer's function gives on values; what it adds to the loss comes with its first output.

    Errors: TypeError for a layer with weights of its own, which would not learn, or an activity regularizer, which nothing would
    count; `reason` for a function that gives no values.
    """
    function = layer.call if layer.has_call else getattr(layer, "function_of_values", None)
    if function is None:
        raise reason
    type(layer).build.create(layer, [value.shape for value in values] if layer.takes_several else values[0].shape)
    if layer.parameters or layer.state:
        layer.parameters.clear()
        layer.state.clear()
        raise TypeError(
            f"{layer.label}: its call() uses values of the network around it, and it has weights, which would not learn; "
            "let call() take these values as inputs"
        ) from reason
    if layer.activity_regularizer is not None:
        raise TypeError(
            f"{layer.label}: uses values of the network around it, and has an activity_regularizer, which would not be counted; "
            "let its function take these values as inputs"
        ) from reason
    settings = {"training": UNDECIDED if training is None else training} if takes_training(function) else {}
    layer.added_losses = []
    try:
        y = function(*(values if layer.spreads else [values if layer.takes_several else values[0]]), **settings)
        losses = layer.added_losses
    finally:
        layer.added_losses = ()
    outputs = list(y) if isinstance(y, (list, tuple)) else [y]
    if not outputs or not all(isinstance(value, Value) for value in (*outputs, *losses)):
        raise reason
    added: Any = importlib.import_module("minitl.layers.added_loss")
    for loss in losses:
        outputs[0] = added.LossBeside()([outputs[0], added.AddedLoss(dtype=loss.dtype)(loss)])
    return outputs if isinstance(y, (list, tuple)) else outputs[0]
