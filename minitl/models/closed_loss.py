"""A loss function that uses values of the network beside y_true and y_pred, as programs for Keras 1 have it for autoencoders.

    def vae_loss(x, x_decoded_mean):
        return binary_crossentropy(x, x_decoded_mean) - 0.5 * K.mean(1 + z_log_var - K.square(z_mean) - K.exp(z_log_var), axis=-1)

Such a function is called once, on a value that stands for the target; what it gives is added to the loss of a network that takes
the target as one more input, and shares all layers with the model. New programs say `model.add_loss(...)`.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from minitl.graph.value import Value
from minitl.layers.core import InputLayer
from minitl.losses import OwnLoss
from minitl.models.own_loss import with_loss_beside


def with_target(model: Any, loss: Any) -> Any:
    """The network that takes the target too; None for a loss that uses no values.

    Errors: ValueError for a model with several outputs, or a function that does not give a value.
    """
    using = [
        one for one in (loss if isinstance(loss, list) else [loss]) if isinstance(one, OwnLoss) and _uses_values(one.function)
    ]
    if not using:
        return None
    outputs, loss = model.outputs, using[0]
    if len(outputs) != 1:
        raise ValueError(f"{model.label}: the loss {loss.name!r} uses values of the network; use model.add_loss() instead")
    target = InputLayer(outputs[0].shape[1:], dtype=outputs[0].dtype, name=f"target_of_{loss.name}").value
    found = loss.function(target, outputs[0])
    if not isinstance(found, Value):
        raise ValueError(f"{model.label}: the loss {loss.name!r} uses values of the network, but gives {type(found).__name__}")
    return with_loss_beside(model, found, [target])


def _uses_values(function: Any) -> bool:
    """Whether a function reaches values: around it, given beforehand, or as what its object holds under a name that it uses."""
    if isinstance(function, functools.partial):
        given = (*function.args, *function.keywords.values())
        return any(isinstance(item, Value) for item in given) or _uses_values(function.func)
    method = function if inspect.isroutine(function) else function.__call__
    code = getattr(method, "__func__", method)
    if not inspect.isfunction(code):
        return False
    known = inspect.getclosurevars(code)
    held = getattr(getattr(method, "__self__", None), "__dict__", {})
    reached = [*known.nonlocals.values(), *known.globals.values(), *(held.get(name) for name in code.__code__.co_names)]
    return any(isinstance(item, Value) for item in reached)
