"""Recurrent layers with activations that their operation does not know: every step is recorded, so that any function will do.

Slower than the operations, which know the derivatives of tanh and sigmoid. Also for a GRU in its older form.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minitl import activations
from minitl.autodiff import Traced, gradients, plain
from minitl.graph.plan import Need
from minitl.layers.recorded import end_of


class Steps(NamedTuple):
    """The record of all steps: what went in, and the states behind each of them."""

    weights: dict[str, Traced]
    sums: list[Traced]
    start: Traced
    states: list[list[Any]]


def forward(layer: Any, sums: np.ndarray, weights: dict[str, np.ndarray], start: Any, mask: Any, drop: Any) -> Any:
    """h of all steps, (N, T, units), and the record.

    Parameters: `sums`, `start`, `mask` and `drop` as an operation takes them, see `minitl.ops.lstm`.
    """
    if start is None:
        start = np.zeros((len(sums), layer.states * layer.units), sums.dtype)
    inputs = [Traced(np.ascontiguousarray(sums[:, t])) for t in range(sums.shape[1])]
    record = Steps(_of_the_state(layer, weights), inputs, Traced(start), [])
    now = _parts(record.start, layer.states)
    for t, step in enumerate(inputs):
        after = STEPS[layer.operation](layer, step, now[0] if drop is None else now[0] * drop, now, record.weights)
        if mask is not None:  # a step that is left out changes nothing
            after = [np.where(mask[:, t, None], new, old) for new, old in zip(after, now, strict=True)]
        now = after
        record.states.append(now)
    return np.stack([plain(states[0]) for states in record.states], axis=1), record


def backward(layer: Any, dh: np.ndarray, dcell: Any, record: Steps, need: Need) -> tuple[np.ndarray, dict[str, Any], np.ndarray]:
    """The gradients of the sums, of the weights if they are needed, and of the state in front of the first step."""
    weights = record.weights if need.parameters else {}
    pairs = [(states[0], dy) for states, dy in zip(record.states, np.moveaxis(dh, 1, 0), strict=True)]
    end = end_of(layer, [*pairs, (record.states[-1][-1], dcell)])
    *found, dstart = gradients(end, [*record.sums, *weights.values(), record.start])
    steps = len(record.sums)
    return np.stack(found[:steps], axis=1), dict(zip(weights, found[steps:], strict=True)), dstart


def _lstm(layer: Any, sums: Any, fed: Any, before: list[Any], weights: dict[str, Any]) -> list[Any]:
    """h and c behind a step, as `minitl.ops.lstm` has it; `fed` is h with dropout."""
    activation, gate = _functions(layer)
    i, f, g, o = _parts(sums + fed @ weights["recurrent_kernel"], 4)
    c = gate(f) * before[1] + gate(i) * activation(g)
    return [gate(o) * activation(c), c]


def _gru(layer: Any, sums: Any, fed: Any, before: list[Any], weights: dict[str, Any]) -> list[Any]:
    """h behind a step, as `minitl.ops.gru` has it; in the older form r stands in front of the product."""
    activation, gate = _functions(layer)
    (x_z, x_r, x_g), (of_z, of_r, of_g) = _parts(sums, 3), _parts(weights["recurrent_kernel"], 3)
    e_z, e_r, e_g = _parts(weights["bias"], 3) if "bias" in weights else (0, 0, 0)
    z, r = gate(x_z + fed @ of_z + e_z), gate(x_r + fed @ of_r + e_r)
    g = activation(x_g + (r * (fed @ of_g + e_g) if layer.reset_after else (r * fed) @ of_g))
    return [z * before[0] + (1 - z) * g]


def _simple_rnn(layer: Any, sums: Any, fed: Any, before: list[Any], weights: dict[str, Any]) -> list[Any]:
    """h behind a step, as `minitl.ops.simple_rnn` has it."""
    return [_functions(layer)[0](sums + fed @ weights["recurrent_kernel"])]


STEPS = {"lstm": _lstm, "gru": _gru, "simple_rnn": _simple_rnn}


def _of_the_state(layer: Any, weights: dict[str, np.ndarray]) -> dict[str, Traced]:
    """The recurrent kernel, and the second bias of a GRU that has two."""
    found = {"recurrent_kernel": Traced(weights["recurrent_kernel"])}
    if "bias" in weights and weights["bias"].ndim == 2:
        found["bias"] = Traced(weights["bias"][1])
    return found


def _functions(layer: Any) -> list[Any]:
    """The functions of a layer's activations: of names, or such that it keeps as they are."""
    return [activations.get(a) if isinstance(a, str) else a for a in (layer.activation, layer.recurrent_activation)]


def _parts(x: Any, parts: int) -> list[Any]:
    """Equal parts of the last axis."""
    size = x.shape[-1] // parts
    return [x[..., k * size : (k + 1) * size] for k in range(parts)]
