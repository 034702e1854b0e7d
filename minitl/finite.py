"""What is to blame when a loss or an output is not finite: the data, the weights, or the first layer that gives such a number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minitl.graph import rules
from minitl.layers.base import Layer
from minitl.objective import targets_of


def explain(model: Any, x: np.ndarray, y: Any, loss: float, place: tuple[int, int] | None = None) -> str:
    """A sentence: where, and why; and what to try."""
    where = f" at epoch {place[0] + 1}, batch {place[1]}" if place else ""
    targets = [np.asarray(part) for part in targets_of(model, y, "y") if part is not None]
    if any(part.dtype.kind == "f" and not np.isfinite(part).all() for part in targets):
        return f"the loss is {loss}{where}: the targets hold NaN or infinity; clean the data"
    return f"the loss is {loss}{where}: {first_culprit(model, x)}"


def first_culprit(model: Any, x: Any) -> str:
    """Which comes first: bad input, bad weights, or a layer whose output is not finite; and what to try."""
    arrays = model.prepare(x)
    for x in arrays:
        if not np.isfinite(x).all():
            return f"the input holds NaN or infinity in {int((~np.isfinite(x)).sum())} places; clean the data"
    for path, layer in model.named_layers():
        for name, w in {**layer.parameters, **layer.state}.items():
            if not np.isfinite(w).all():
                return f"the weights {path}/{name} are not finite; lower the learning rate, or clip gradients (clipnorm=1.0)"
    with np.errstate(all="ignore"):
        for layer, y in layer_outputs(model, arrays):
            if not np.isfinite(y).all():
                return (
                    f"the first output that is not finite comes from {layer.label}; lower the learning rate, or scale the input"
                )
    return "every layer's output is finite, so look at the loss, the targets and the sample weights"


def layer_outputs(model: Any, arrays: list[np.ndarray]) -> Iterator[tuple[Layer, np.ndarray]]:
    """Every layer of a model in the order of a pass, nothing run together, with what it gives at inference."""
    graph = model.graph
    values: dict[Any, Any] = dict(zip(graph.inputs, arrays, strict=True))
    for step in rules.steps(graph, fuse=False, fold=False):
        x = [values[value] for value in step.takes]
        y, _ = step.forward(x[0] if len(x) == 1 else x, bool(step.training))
        for value, part in zip(step.gives, y if len(step.gives) > 1 else [y], strict=True):
            values[value] = part
            yield step.layers[0], part
