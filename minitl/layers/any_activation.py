"""Recurrent layers with activations that their operation does not know: every step is recorded, so that any function will do.

Slower than the operations, which know the derivatives of tanh and sigmoid. Also for a GRU in its older form.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minitl import activations
from minitl.autodiff import Traced, gradients, plain
from minitl.backend import op
from minitl.graph.plan import Need
from minitl.layers.recorded import end_of


class Steps(NamedTuple):
    """The record of all steps: what went in, and the states behind each of them."""

    weights: list[Traced]  # the recurrent kernel, or its parts, and the second bias of a GRU that has two
    sums: list[Traced]
    start: Traced
    states: list[list[Any]]


class StepByStep:
    """What such a layer does instead of its own `steps`, `steps_backward` and `last_state`."""

    def __init__(self, layer: Any):
        self.layer = layer

    def steps(
        self, sums: np.ndarray, weights: dict[str, np.ndarray], start: Any, mask: Any, drop: Any
    ) -> tuple[np.ndarray, Steps]:
        """h of all steps, (N, T, units), and the record.

        Parameters: `sums`, `start`, `mask` and `drop` as an operation takes them, see `minitl.ops.lstm`.
        """
        layer = self.layer
        if start is None:
            start = np.zeros((len(sums), layer.states * layer.units), sums.dtype)
        inputs = [Traced(np.ascontiguousarray(sums[:, t])) for t in range(sums.shape[1])]
        cuts = [2 * layer.units] if layer.operation == "gru" else []  # its older form has a product for both gates, and one for g
        record = Steps(_of_the_state(weights, cuts), inputs, Traced(start), [])
        now = _parts(record.start, layer.states)
        for t, step in enumerate(inputs):
            after = STEPS[layer.operation](layer, step, now[0] if drop is None else now[0] * drop, now, record.weights)
            if mask is not None:  # a step that is left out changes nothing
                after = [np.where(mask[:, t, None], new, old) for new, old in zip(after, now, strict=True)]
            now = after
            record.states.append(now)
        return np.stack([plain(states[0]) for states in record.states], axis=1), record

    def steps_backward(
        self, dh: np.ndarray, dcell: Any, record: Steps, need: Need
    ) -> tuple[np.ndarray, dict[str, Any], np.ndarray]:
        """The gradients of the sums, of the weights if they are needed, and of the state in front of the first step."""
        weights: list[Traced] = record.weights if need.parameters else []
        pairs = [(states[0], dy) for states, dy in zip(record.states, np.moveaxis(dh, 1, 0), strict=True)]
        end = end_of(self.layer, [*pairs, (record.states[-1][-1], dcell)])
        *found, dstart = gradients(end, [*record.sums, *weights, record.start])
        dsums, parts = found[: len(record.sums)], found[len(record.sums) :]
        matrices, vectors = [part for part in parts if part.ndim == 2], [part for part in parts if part.ndim == 1]
        named = {"recurrent_kernel": np.concatenate(matrices, axis=1)} if matrices else {}
        return np.stack(dsums, axis=1), {**named, **({"bias": vectors[0]} if vectors else {})}, dstart

    def last_state(self, h: np.ndarray, record: Steps) -> list[np.ndarray]:
        """The state behind the last step."""
        return [np.ascontiguousarray(plain(part)) for part in record.states[-1]]


def _lstm(layer: Any, sums: Any, fed: Any, before: list[Any], weights: list[Traced]) -> list[Any]:
    """h and c behind a step, as `minitl.ops.lstm` has it; `fed` is h with dropout."""
    activation, gate = _functions(layer)
    i, f, g, o = _parts(sums + _product(fed, weights[0]), 4)
    c = gate(f) * before[1] + gate(i) * activation(g)
    return [gate(o) * activation(c), c]


def _gru(layer: Any, sums: Any, fed: Any, before: list[Any], weights: list[Traced]) -> list[Any]:
    """h behind a step, as `minitl.ops.gru` has it; in the older form r stands in front of the product."""
    activation, gate = _functions(layer)
    of_gates, of_candidate, *biases = weights
    x_z, x_r, x_g = _parts(sums, 3)
    e_z, e_r, e_g = _parts(biases[0], 3) if biases else (0, 0, 0)
    a_z, a_r = _parts(_product(fed, of_gates), 2)
    z, r = gate(x_z + a_z + e_z), gate(x_r + a_r + e_r)
    a_g = r * (_product(fed, of_candidate) + e_g) if layer.reset_after else _product(r * fed, of_candidate)
    return [z * before[0] + (1 - z) * activation(x_g + a_g)]


def _simple_rnn(layer: Any, sums: Any, fed: Any, before: list[Any], weights: list[Traced]) -> list[Any]:
    """h behind a step, as `minitl.ops.simple_rnn` has it."""
    return [_functions(layer)[0](sums + _product(fed, weights[0]))]


STEPS = {"lstm": _lstm, "gru": _gru, "simple_rnn": _simple_rnn}


def _of_the_state(weights: dict[str, np.ndarray], cuts: list[int]) -> list[Traced]:
    """The parts of the recurrent kernel, and the second bias of a GRU that has two."""
    parts = np.split(weights["recurrent_kernel"], cuts, axis=1)
    second = [weights["bias"][1]] if "bias" in weights and weights["bias"].ndim == 2 else []
    return [Traced(np.ascontiguousarray(part)) for part in (*parts, *second)]


def _product(x: Any, weight: Traced) -> Traced:
    """x weight, by the operation of a dense layer."""
    y, cache = op("dense").forward(np.ascontiguousarray(x.value), weight.value, None)
    return Traced(y, [x, weight], lambda dy: list(op("dense").backward(np.ascontiguousarray(dy), cache)[:2]))


def _functions(layer: Any) -> list[Any]:
    """The functions of a layer's activations: of names, or such that it keeps as they are."""
    return [activations.get(a) if isinstance(a, str) else a for a in (layer.activation, layer.recurrent_activation)]


def _parts(x: Any, parts: int) -> list[Any]:
    """Equal parts of the last axis."""
    size = x.shape[-1] // parts
    return [x[..., k * size : (k + 1) * size] for k in range(parts)]
