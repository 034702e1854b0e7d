"""PyTorch's recurrent modules: their arrays, as one module per layer with one bias, and back.

There a module of several layers holds `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, then the same for `l1`, and
`_reverse` for the second direction. Here each layer has its own arrays, and an LSTM or a simple layer one bias, the sum of both.
"""

from __future__ import annotations

import re

import numpy as np

NAME = re.compile(r"(?:(.*)\.)?(weight_ih|weight_hh|bias_ih|bias_hh)_l(\d+)(_reverse)?$")


def joined(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays with those of recurrent modules per layer: `m.weight_ih`, or `m.l0.weight_ih` where a module has several layers."""
    layers: dict[str, set[str]] = {}
    for name in arrays:
        match = NAME.match(name)
        if match:
            layers.setdefault(match[1] or "", set()).add(match[3])
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        match = NAME.match(name)
        if not match:
            found[name] = array
            continue
        module, kind, number, reverse = match[1] or "", match[2], match[3], match[4] or ""
        parts = [part for part in (module, f"l{number}" if len(layers[module]) > 1 else "") if part]
        prefix = ".".join([*parts, ""])
        if kind.startswith("weight"):
            found[f"{prefix}{kind}{reverse}"] = array
        elif kind == "bias_ih":
            other = arrays.get(name.replace("bias_ih", "bias_hh"))
            gru = len(array) == 3 * arrays[name.replace("bias_ih", "weight_hh")].shape[-1]
            if other is not None and other.shape == array.shape:
                found[f"{prefix}bias{reverse}"] = np.stack([array, other]) if gru else array + other
            else:
                found[name] = array
    return found


def parted(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """What PyTorch calls one array of a layer: itself, or both biases, the second of zeros where ours is the sum."""
    module, _, kind = name.rpartition(".")
    reverse = "_reverse" if kind.endswith("_reverse") else ""
    prefix = f"{module}." if module else ""
    base = kind.removesuffix("_reverse")
    if base != "bias":
        return {f"{prefix}{base}_l0{reverse}": array}
    first, second = array if array.ndim == 2 else (array, np.zeros_like(array))
    return {f"{prefix}bias_ih_l0{reverse}": first, f"{prefix}bias_hh_l0{reverse}": second}
