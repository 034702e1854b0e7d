"""Calls of attention in Keras's files, and here, where everything that a layer takes stands in one list.

Keras calls `MultiHeadAttention` on query, value, and perhaps key and attention_mask, in their places or by name, and `Attention`
on a list. `use_causal_mask` and `return_attention_scores` belong to a call there, and to the layer here.
"""

from __future__ import annotations

from typing import Any

from minitl.layers import MultiHeadAttention
from minitl.layers.attention import Attends

ORDER = ("query", "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask")
SETTINGS = ("use_causal_mask", "return_attention_scores")
TAKEN = ("query", "value", "key", "attention_mask")


def as_list(layer: Any, node: Any) -> Any:
    """The node with all that an attention takes in one list, as other nodes with several inputs have it.

    Errors: ValueError for masks that were handed over beside `attention_mask`.
    """
    if not isinstance(layer, Attends):
        return node
    older = not isinstance(node, dict)
    if older:  # Keras 2: [[query, node, tensor, {"value": [...]}], ...]
        parts = node if isinstance(node[0], (list, tuple)) else [node]
        named = {name: value for part in parts if len(part) > 3 for name, value in (part[3] or {}).items()}
        listed = [list(part[:3]) for part in parts]
    else:
        named, args = dict(node.get("kwargs") or {}), node["args"]
        listed = args[0] if args and isinstance(args[0], list) else args
    training = named.pop("training", None)
    mask = None if isinstance(layer, MultiHeadAttention) else named.pop("mask", None)
    settings = {name: bool(named.pop(name, False)) for name in SETTINGS}
    given = {**dict(zip(ORDER, [*listed, *named.pop("inputs", [])], strict=False)), **named}
    given = {name: value for name, value in given.items() if value is not None and value is not False}
    more = sorted(set(given) - set(TAKEN))
    if more:
        raise ValueError(f"{layer.label}: is called with {', '.join(more)}, which is not read; attention_mask is")
    if "attention_mask" in given:
        given.setdefault("key", given["value"])  # the mask has the fourth place
    vars(layer).update(settings)
    inputs = [given[name] for name in TAKEN if name in given]
    kept = {name: value for name, value in {"training": training, "mask": mask}.items() if value is not None}
    return [[*part, kept] for part in inputs] if older else {"args": [inputs], "kwargs": kept}


def called(layer: Attends, tensors: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call as Keras writes them: those in their places, and those by name."""
    named: dict[str, Any] = {name: True for name in SETTINGS if getattr(layer, name)}
    if not isinstance(layer, MultiHeadAttention):
        return [tensors], named
    return tensors[:2], {**dict(zip(("key", "attention_mask"), tensors[2:], strict=False)), **named}


def settings_of(config: dict[str, Any]) -> dict[str, Any]:
    """What Keras wrote of an attention's constructor, without what is the only possibility here.

    Errors: ValueError for attention along other axes than the second.
    """
    if config.get("attention_axes") not in (None, 1, [1], (1,)):
        raise ValueError(f"attention_axes={config['attention_axes']!r} is not known here; sequences (N, T, D) are")
    return {name: value for name, value in config.items() if name not in ("attention_axes", "seed", "flash_attention")}
