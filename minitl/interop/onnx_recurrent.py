"""ONNX's recurrent operators, LSTM, GRU and RNN, as layers, and recurrent layers as these.

A sequence is (T, N, C) there, or (N, T, C) in layout 1, and (N, T, C) here. There the gates of an LSTM come in the order input,
output, forget, candidate, here input, forget, candidate, output; a GRU's are in the same order. There are two biases, of the
inputs and of the state, whose sum is ours, but for a GRU, which keeps both. Several directions stand
one behind the other on an axis.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import layers
from minitl.interop.onnx_masks import counting, wide
from minitl.interop.onnx_tensors import Attributes, as_plain, with_weights
from minitl.layers.cells import Cell

GATES = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}  # where each of ours stands there
NOT_EXPORTED = "a state that is carried on, and cells that leave steps out, are not exported"
ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
SETTINGS = {"LeakyRelu": (0.01,), "Elu": (1.0,), "HardSigmoid": (0.2, 0.5)}  # alpha and beta where nothing is said
NAMES: dict[tuple[str, tuple[float, ...]], str] = {
    ("Tanh", ()): "tanh", ("Sigmoid", ()): "sigmoid", ("Relu", ()): "relu", ("Softsign", ()): "softsign",
    ("Softplus", ()): "softplus", ("Elu", (1.0,)): "elu", ("LeakyRelu", (0.2,)): "leaky_relu",
    ("HardSigmoid", (1 / 6, 0.5)): "hard_sigmoid", ("HardSigmoid", (0.2, 0.5)): "keras2_hard_sigmoid",
}  # fmt: skip


def _recurrent(reader: Any, node: Any, a: Attributes) -> Any:
    kind, directions = node.op_type, 2 if a.get("direction") == "bidirectional" else 1
    found = _activations(a, kind, directions)
    if "clip" in a or a.get("input_forget", 0) or reader.known(node, 7) is not None:
        raise ValueError("clip, input_forget and peepholes are not known")
    lengths, batch_first = reader.known(node, 4), bool(a.get("layout", 0))
    x, kernels, recurrent, biases = reader.plain(reader.tensors[node.input[0]]), *(reader.known(node, k) for k in (1, 2, 3))
    if kernels is None or recurrent is None:
        raise ValueError("has no weights")
    steps = x.shape[1 if batch_first else 0]
    if lengths is not None and (steps is None or np.any(lengths != steps)):
        raise ValueError("sequences of several lengths in a batch are not known")
    units, sequence = recurrent.shape[2], x if batch_first else np.transpose(x, (1, 0, 2))
    results = []
    for k in range(directions):
        backwards = k == 1 or a.get("direction") == "reverse"
        settings = {"return_sequences": True, "return_state": True, "use_bias": biases is not None, "go_backwards": backwards}
        weights = [_turned(kernels[k], kind), _turned(recurrent[k], kind)]
        reset_after = kind == "GRU" and bool(a.get("linear_before_reset", 0))
        if kind == "GRU":
            settings["reset_after"] = reset_after
        settings.update(found[k])
        if biases is not None:
            of_inputs, of_state = (_turned(bias, kind) for bias in np.split(biases[k], 2))
            weights.append(np.stack([of_inputs, of_state]) if reset_after else of_inputs + of_state)
        layer = {"LSTM": layers.LSTM, "GRU": layers.GRU, "RNN": layers.SimpleRNN}[kind](units, **settings)
        y, *state = with_weights(layer, sequence, *weights, initial_state=_first_state(reader, node, k, batch_first))
        y = np.flip(y, 1) if backwards else y
        results.append([y if batch_first else np.transpose(y, (1, 0, 2)), *state])
    sequences, *states = zip(*results, strict=True)
    y = np.stack(list(sequences), axis=2 if batch_first else 1)
    return [as_plain(y), *(as_plain(np.stack(list(state), axis=int(batch_first))) for state in states)]


def _activations(a: Attributes, kind: str, directions: int) -> list[dict[str, str]]:
    """The activations of every direction, as a layer takes them."""
    alphas, betas = iter(a.get("activation_alpha", [])), iter(a.get("activation_beta", []))
    names, usual = [], ACTIVATIONS[kind] * directions
    given = a.get("activations", usual)
    if len(given) != len(usual):
        raise ValueError(f"activations {given}: {len(usual)} belong there, such as {usual}")
    for name in given:
        settings = tuple(next(more, value) for more, value in zip((alphas, betas), SETTINGS.get(name, ()), strict=False))
        known = [ours for (theirs, wanted), ours in NAMES.items() if theirs == name and np.allclose(settings, wanted)]
        if not known:
            raise ValueError(f"activation {name} with {settings} is not known; {sorted({theirs for theirs, _ in NAMES})} are")
        names.append(known[0])
    each = len(names) // directions
    if kind == "LSTM" and names[1::each] != names[2::each]:
        raise ValueError(f"activations {names[:each]}: the second and the third must be the same")
    found = [{"activation": names[k * each + each - 1]} for k in range(directions)]
    return found if kind == "RNN" else [{**f, "recurrent_activation": names[k * each]} for k, f in enumerate(found)]


def _turned(weight: np.ndarray, kind: str) -> np.ndarray:
    """A matrix or a bias of all gates, one after another along the last axis, in our order."""
    gates = np.split(weight, len(GATES[kind]))
    return np.concatenate([gates[place] for place in GATES[kind]]).T


def _first_state(reader: Any, node: Any, direction: int, batch_first: bool) -> list[Any] | None:
    """The state in front of the first step; None where it is zero."""
    names = [node.input[place] for place in (5, 6) if place < len(node.input) and node.input[place]]
    if all(name in reader.constants and not np.any(reader.constants[name]) for name in names):
        return None
    if any(name in reader.constants for name in names):
        raise ValueError("a first state that is a constant, and not zero, is not known")
    states = [reader.plain(reader.tensors[name]) for name in names]
    return [state[:, direction] if batch_first else state[direction] for state in states]


READERS: dict[str, Callable[[Any, Any, Attributes], Any]] = dict.fromkeys(GATES, _recurrent)


def _write_recurrent(w: Any, layer: Any, x: Any) -> Any:
    x, *first = x if layer.takes_several else [x]
    y, states = _direction(w, layer, layer.parameters, x, layer.go_backwards, first)
    if layer.return_sequences and layer.go_backwards:
        y = _from_the_end(w, y)
    out = (y if layer.return_sequences else states[0], False)
    return [out, *((state, False) for state in states)] if layer.return_state else out


def _write_both(w: Any, layer: Any, x: Any) -> Any:
    """Bidirectional: both layers; what the second gives for each step stands at that step."""
    outs, states = [], []
    for prefix, one in zip(("forward_", "backward_"), layer.both, strict=True):
        weights = {name.removeprefix(prefix): weight for name, weight in layer.parameters.items() if name.startswith(prefix)}
        y, state = _direction(w, one, weights, x, one.go_backwards, [])
        if one.return_sequences and layer.layer.go_backwards:
            y = _from_the_end(w, y)
        outs.append(y if one.return_sequences else state[0])
        states += state
    kinds = {"concat": ("Concat", {"axis": -1}), "sum": ("Add", {}), "mul": ("Mul", {}), "ave": ("Mean", {})}
    kind, settings = kinds[layer.merge_mode]
    out = (w.node(kind, outs, **settings), False)
    return [out, *((state, False) for state in states)] if layer.layer.return_state else out


def _write_cells(w: Any, layer: Any, x: Any) -> Any:
    """An RNN of cells that are here: one layer behind the other."""
    if layer.stateful or layer.masked:
        raise ValueError(f"{layer.label}: {NOT_EXPORTED}")
    tensor, *first = x if layer.takes_several else [x]
    ended: list[str] = []
    count = 0
    for cell in layer.cells:
        if not isinstance(cell, Cell):
            raise ValueError(f"{layer.label}: ONNX has nothing for a cell of your own; build the model of LSTM and GRU layers")
        count = cell.layer.states
        steps, states = _direction(w, cell.layer, cell.parameters, tensor, layer.go_backwards, first[:count])
        tensor, first, ended = type(tensor)(steps, (*tensor.shape[:2], cell.units), False), first[count:], [*ended, *states]
    y = _from_the_end(w, tensor.name) if layer.go_backwards and layer.return_sequences else tensor.name
    out = (y if layer.return_sequences else ended[-count], False)
    return [out, *((state, False) for state in ended)] if layer.return_state else out


def _direction(w: Any, layer: Any, weights: Any, x: Any, backwards: bool, first: list[Any]) -> tuple[str, list[str]]:
    """What one direction gives for all steps, in their order, and its last state."""
    if layer.stateful:
        raise ValueError(f"{layer.label}: {NOT_EXPORTED}")
    kind, units = {layers.LSTM: "LSTM", layers.GRU: "GRU", layers.SimpleRNN: "RNN"}[type(layer)], layer.units
    order = np.argsort(GATES[kind])

    def there(weight: np.ndarray) -> np.ndarray:
        gates = np.split(weight.T, len(order))
        return np.concatenate([gates[place] for place in order])

    bias = weights.get("bias", np.zeros(len(order) * units))
    biases = [there(part) for part in (bias if bias.ndim == 2 else (bias, np.zeros_like(bias)))]
    constants = [there(weights["kernel"])[None], there(weights["recurrent_kernel"])[None], np.concatenate(biases)[None]]
    inputs = [w.node("Transpose", [w.last(x)], perm=[1, 0, 2]), *map(w.constant, constants)]
    counts, lengths = _counted(w, layer, x) if layer.masked else ("", "")
    inputs += [lengths, *(w.node("Unsqueeze", [state.name, w.whole([0])]) for state in first)] if first or lengths else []
    settings = {"hidden_size": units, "direction": "reverse" if backwards else "forward"}
    if kind == "GRU":
        settings["linear_before_reset"] = int(layer.reset_after)
    settings.update(_named_there(layer, kind))
    y, *states = w.outputs_of(kind, inputs, 3 if kind == "LSTM" else 2, **settings)
    steps = w.node("Transpose", [w.node("Squeeze", [y, w.whole([1])])], perm=[1, 0, 2])
    ended = [w.node("Squeeze", [state, w.whole([0])]) for state in states]
    if layer.masked and not backwards and not layer.zero_output_for_mask:  # the last output, where ONNX gives zeros
        steps = w.node("Where", [wide(w, counts), steps, w.node("Unsqueeze", [ended[0], w.whole([1])])])
    return steps, ended


def _counted(w: Any, layer: Any, x: Any) -> tuple[str, str]:
    """Which steps count, and how many of each sequence, as an operator takes them."""
    warnings.warn(f"{layer.label}: ONNX leaves steps out at the end of a sequence alone; pad there", stacklevel=2)
    counts = counting(w, w.last(x))
    whole = w.node("Cast", [counts], to=w.onnx.TensorProto.INT32)
    return counts, w.node("ReduceSum", [whole, w.whole([1])], keepdims=0)


def _named_there(layer: Any, kind: str) -> dict[str, Any]:
    """The activations of a layer, with their settings."""
    ours = [layer.activation] if kind == "RNN" else [layer.recurrent_activation, layer.activation]
    ours += [layer.activation] if kind == "LSTM" else []
    if ours == [NAMES[name, ()] for name in ACTIVATIONS[kind]]:
        return {}
    there: dict[Any, tuple[str, tuple[float, ...]]] = {name: described for described, name in NAMES.items()}
    if not all(isinstance(name, str) and name in there for name in ours):
        raise ValueError(f"{layer.label}: ONNX's {kind} knows the activations {sorted(there)}, got {ours}; use one of these")
    settings = [there[name][1] for name in ours]
    alphas, betas = ([float(s[place]) for s in settings if len(s) > place] for place in (0, 1))
    named = {"activations": [there[name][0] for name in ours], "activation_alpha": alphas, "activation_beta": betas}
    return {name: value for name, value in named.items() if value}


def _from_the_end(w: Any, y: str) -> str:
    return str(w.node("Slice", [y, w.whole([-1]), w.whole([-(2**31)]), w.whole([1]), w.whole([-1])]))


WRITERS = {
    layers.LSTM: _write_recurrent, layers.GRU: _write_recurrent, layers.SimpleRNN: _write_recurrent,
    layers.Bidirectional: _write_both, layers.RNN: _write_cells,
}  # fmt: skip
