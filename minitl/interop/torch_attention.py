"""PyTorch's `nn.MultiheadAttention`: its arrays, as one module with four projections, and back.

There the projections of queries, keys and values lie below each other in `in_proj_weight` (3 E, E) and `in_proj_bias` (3 E,), or
in `q_proj_weight`, `k_proj_weight` and `v_proj_weight` where keys and values have other widths; the last projection is a module
of its own, `out_proj`. Here each projection has its own kernel and bias.
"""

from __future__ import annotations

import numpy as np

PROJECTIONS = ("q_proj", "k_proj", "v_proj")
LAST = "out_proj"


def unpacked(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays with those of attention as `m.q_proj_weight`, `m.q_proj_bias`, and so on, to `m.out_proj_bias`."""
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        module, kind = _parted(name)
        if kind in ("in_proj_weight", "in_proj_bias") and array.ndim and len(array) % 3 == 0:
            parts = zip(PROJECTIONS, np.split(array, 3), strict=True)
            found.update({f"{module}{part}{kind.removeprefix('in_proj')}": own for part, own in parts})
        elif module.endswith(f"{LAST}.") and _attends(arrays, module.removesuffix(f"{LAST}.")):
            found[f"{module.removesuffix('.')}_{kind}"] = array
        else:
            found[name] = array
    return found


def packed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same arrays as PyTorch names them: the reverse of `unpacked`."""
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        module, kind = _parted(name)
        projection, _, what = kind.rpartition("_")
        if projection == LAST:
            found[f"{module}{LAST}.{what}"] = array
        elif projection in PROJECTIONS:
            parts = [arrays[f"{module}{part}_{what}"] for part in PROJECTIONS]
            if len({part.shape for part in parts}) > 1:
                found[name] = array
            elif projection == PROJECTIONS[0]:
                found[f"{module}in_proj_{what}"] = np.concatenate(parts)
        else:
            found[name] = array
    return found


def _attends(arrays: dict[str, np.ndarray], module: str) -> bool:
    return any(f"{module}{name}" in arrays for name in ("in_proj_weight", "q_proj_weight"))


def _parted(name: str) -> tuple[str, str]:
    """The module with its dot, and the array's name in it."""
    module, dot, kind = name.rpartition(".")
    return module + dot, kind
