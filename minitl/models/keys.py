"""Inputs and outputs under names of the program's choice: `Model({"words": x}, {"mood": y})`.

Data, targets, losses and metrics are then given by these names, and predictions come in a dictionary.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Keys(NamedTuple):
    """The keys of the dictionaries of inputs and of outputs; None for a model that was made of values or lists."""

    inputs: list[str] | None = None
    outputs: list[str] | None = None

    def packed(self, outputs: Any) -> Any:
        """What a model gives, one array or a list, as a dictionary if its outputs were one."""
        if self.outputs is None:
            return outputs
        return dict(zip(self.outputs, outputs if isinstance(outputs, list) else [outputs], strict=True))

    def ends(self, inputs: list[Any], outputs: list[Any]) -> tuple[Any, Any]:
        """A model's inputs and outputs as they were given."""
        ends = ((self.inputs, inputs), (self.outputs, outputs))
        first, last = (values if keys is None else dict(zip(keys, values, strict=True)) for keys, values in ends)
        return first, last

    def described(self) -> dict[str, list[str]]:
        """The keys that there are, for a model's description."""
        return {f"{end}_keys": keys for end, keys in (("input", self.inputs), ("output", self.outputs)) if keys is not None}


def keys_of(given: Any) -> list[str] | None:
    """The keys of a dictionary, None of anything else."""
    return [str(key) for key in given] if isinstance(given, dict) else None


def keys_in(config: dict[str, Any], counts: dict[str, int], label: str) -> Keys:
    """The keys in a model's description, for so many inputs and outputs.

    Errors: ValueError for what are not as many different names.
    """
    for end, count in counts.items():
        keys = config.get(f"{end}_keys")
        names = {key for key in keys if isinstance(key, str)} if isinstance(keys, list) else ()
        if keys is not None and len(names) != count:
            raise ValueError(f"{label}: its {end}_keys must be {count} different names, got {keys!r}")
    return Keys(config.get("input_keys"), config.get("output_keys"))


def listed(given: Any) -> list[Any]:
    """A value, or values in a list or a dictionary, as a list."""
    if isinstance(given, dict):
        return list(given.values())
    return list(given) if isinstance(given, (list, tuple)) else [given]
