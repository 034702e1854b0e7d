"""Which array of a file belongs to which weight of a model: pairs are made, checked, reported, and only then written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minitl.layers import BatchNormalization


@dataclass
class Pairs:
    """What a load did, pair by pair: (weight here, array there), and what found no partner.

    Attributes: `pairs`, `missing` weights of the model, `unexpected` arrays of the file, `shape_differs` as sentences, `notes` on
    what was found on the way.
    """

    pairs: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shape_differs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{len(self.pairs)} pairs"]
        for what, entries in (
            ("missing in the file", self.missing),
            ("unexpected in the file", self.unexpected),
            ("of another shape", self.shape_differs),
        ):
            if entries:
                shown = ", ".join(entries[:8]) + (", ..." if len(entries) > 8 else "")
                parts.append(f"{len(entries)} {what} ({shown})")
        return "; ".join([*parts, *self.notes])

    def table(self) -> str:
        """All pairs, one per line."""
        width = max((len(ours) for ours, _ in self.pairs), default=0)
        return "\n".join(f"{ours:<{width}}  {theirs}" for ours, theirs in self.pairs)


def write_pairs(
    model: Any, found: Mapping[str, tuple[str, np.ndarray]], report: Pairs, where: str, unexpected_ok: bool = False
) -> Pairs:
    """Write arrays, already turned, into the weights of a model, after all of them have been checked.

    `found` maps a weight's key to the array's name and the array.
    Errors: ValueError with the report when anything is missing, left over or of another shape; the model is unchanged then.
    """
    from minitl.weights import named_weights

    own = named_weights(model)
    for key, weight in own.items():
        if key not in found:
            if key not in report.missing:
                report.missing.append(key)
        elif found[key][1].shape != weight.shape:
            name, array = found[key]
            report.shape_differs.append(f"{key} {weight.shape} for {name} {array.shape}")
        else:
            report.pairs.append((key, found[key][0]))
    wrong = report.missing or report.shape_differs or (report.unexpected and not unexpected_ok)
    if wrong or (own and not report.pairs):
        raise ValueError(f"{where} does not fit this model: {report}")
    for key, name in report.pairs:
        array = found[key][1]
        if not np.isfinite(array).all():
            raise ValueError(f"{where}: {name} holds NaN or infinity")
    for key, _ in report.pairs:
        own[key][...] = found[key][1]
    return report


def filled_normalizations(model: Any, keys: set[str], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays for normalisations that a file has already folded into the convolutions before them.

    Where a convolution without bias gets one, and the normalisation behind it gets nothing, the bias is what it became:
    gamma 1, beta = bias, mean 0, variance 1 - epsilon.
    """
    names = {layer: path for path, layer in model.named_layers()}
    filled: dict[str, np.ndarray] = {}
    for node in model.graph.nodes:
        norm, source = node.layer, node.inputs[0].node
        path, before = names.get(norm), names.get(source.layer)
        if not isinstance(norm, BatchNormalization) or before is None or f"{before}/bias" not in arrays:
            continue
        if "bias" in source.layer.parameters or any(key.startswith(f"{path}/") for key in keys):
            continue
        bias = arrays[f"{before}/bias"]
        filled.update({
            f"{path}/gamma": np.ones_like(bias), f"{path}/beta": bias, f"{path}/moving_mean": np.zeros_like(bias),
            f"{path}/moving_variance": np.full_like(bias, 1 - norm.epsilon),
        })  # fmt: skip
    return filled


def renamed(names: Any, key: str) -> str | None:
    """What a mapping makes of a key: a dictionary (what is not in it stays), or a function; None leaves it out."""
    if names is None:
        return key
    return names(key) if isinstance(names, Callable) else names.get(key, key)  # type: ignore[arg-type]
