"""Masks in models from Keras: which layers leave steps out there, and whether they do so here.

Keras carries a mask beside the numbers, from an Embedding with `mask_zero` or a Masking through layers that hand it on. Here a
step that is left out is a step of zeros; where a layer between makes something of zeros, a `LeaveOut` stands behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from minitl import layers
from minitl.interop.keras_operations import is_operation, name_of
from minitl.layers.attention import Attends
from minitl.layers.masking import KEEPS_ZEROS, LeaveOut, hands_on, marks_of, marks_steps
from minitl.layers.recurrent import Recurrent
from minitl.models.parts import opened

ASKS = (Attends, layers.Bidirectional, layers.GlobalAveragePooling1D, Recurrent)  # what leaves steps out


def without_masks(entries: list[dict[str, Any]], ends: Iterable[str]) -> list[dict[str, Any]]:
    """The entries of an architecture without the operations that only a mask is made by, which layers here find themselves."""
    by_name = {name_of(entry): entry for entry in without_carried(entries)}
    needed, waiting = set(), [name for name in ends if name in by_name]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [source for source in _names_in(by_name[name].get("inbound_nodes", ())) if source in by_name]
    takers: dict[str, list[str]] = {}
    for name, entry in by_name.items():
        for source in _names_in(entry.get("inbound_nodes", ())):
            takers.setdefault(source, []).append(name)
    gone: set[str] = set()
    waiting = [name for name, entry in by_name.items() if name not in needed and is_operation(entry)]
    while waiting:  # what is made of them, too: .h5 files do not tell all operations from layers
        name = waiting.pop()
        if name not in gone:
            gone.add(name)
            waiting += takers.get(name, ())
    return [entry for name, entry in by_name.items() if name not in gone]


def without_carried(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries, whose calls name a `mask` only where a program gave it.

    Where Keras carried one there from an Embedding or a Masking, it is made of what they take.
    """
    by_name = {name_of(entry): entry for entry in entries}
    carried = {name for entry in entries if _marks(entry) for name in _names_in(entry["inbound_nodes"])}
    return [
        {**entry, "inbound_nodes": [_without(node, by_name, carried) for node in entry.get("inbound_nodes", ())]}
        for entry in entries
    ]


def _marks(entry: dict[str, Any]) -> bool:
    return entry["class_name"] == "Masking" or (entry["class_name"] == "Embedding" and bool(entry["config"].get("mask_zero")))


def _without(node: Any, by_name: dict[str, Any], carried: set[str]) -> Any:
    """A node without a mask that is made of what was `carried`."""
    mask = node.get("kwargs", {}).get("mask") if isinstance(node, dict) else None
    waiting, seen = list(_names_in(mask)), set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in by_name or not is_operation(by_name[name]):
            continue
        seen.add(name)
        sources = list(_names_in(by_name[name]["inbound_nodes"]))
        if by_name[name]["class_name"] == "NotEqual" and not carried.isdisjoint(sources):
            return {**node, "kwargs": {key: value for key, value in node["kwargs"].items() if key != "mask"}}
        waiting += sources
    return node


def places_of_masks(node: Any) -> list[tuple[str, int, int] | None]:
    """Where the masks come from that a node's call was given, for each input; nothing without one."""
    if isinstance(node, dict):
        given = (node.get("kwargs") or {}).get("mask")
        masks = given if isinstance(given, list) else [] if given is None else [given]
        return [None if mask is None else tuple(mask["config"]["keras_history"]) for mask in masks]
    parts = node if node and isinstance(node[0], (list, tuple)) else [node]  # Keras 2: [[name, node, tensor, {"mask": ...}], ...]
    given = next((part[3]["mask"] for part in parts if len(part) > 3 and (part[3] or {}).get("mask")), [])
    masks = [given] if given and isinstance(given[0], str) else given
    return [None if mask is None else tuple(mask[:3]) for mask in masks]


def mask_for(layer: Any, masks: list[Any]) -> dict[str, Any]:
    """What a layer's call gets of masks.

    Errors: ValueError for a layer that takes none here.
    """
    if all(mask is None for mask in masks):
        return {}
    if not isinstance(layer, (*ASKS, layers.Softmax)):
        raise ValueError(f"{layer.label}: was called with a mask, which it does not take here")
    return {"mask": masks if isinstance(layer, Attends) else masks[0]}


def refuse_masks(model: Any) -> None:
    """Refuse a model whose masks Keras hands on otherwise.

    Errors: ValueError where a model inside would have to know a mask, where steps are in reverse order and the mask is not, or
    where masked sequences stand one behind the other.
    """
    if not any(_has_mask_behind(layer) for _, layer in model.named_layers()):
        return
    there, model = set(_inside(model)), opened(model)
    _refuse_beyond(model, there)
    _refuse_joined(model)
    for node in model.graph.nodes:
        layer = node.layer
        if not getattr(layer, "go_backwards", False) or not _has_mask_behind(layer) or not marks_of(node.inputs[0]):
            continue
        if any(isinstance(taker.layer, ASKS) for taker in _takers(model, node.outputs[0], _keeps_zeros)):
            raise ValueError(
                f"{layer.label}: returns its steps in reverse order, and Keras hands their mask on as it was; "
                "the layers behind would leave out other steps than those that were masked"
            )


def _names_in(node: Any) -> Iterator[str]:
    """The layers and operations whose values stand in a node."""
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        yield node["config"]["keras_history"][0]
    elif isinstance(node, dict):
        for part in node.values():
            yield from _names_in(part)
    elif isinstance(node, (list, tuple)):
        for part in node:
            yield from _names_in(part)


def _has_mask_behind(layer: Any) -> bool:
    if isinstance(layer, layers.Bidirectional):
        layer = layer.both[0]
    if isinstance(layer, Recurrent):
        return layer.return_sequences and layer.masked
    return marks_steps(layer)


def _inside(model: Any) -> Iterator[Any]:
    """All layers of a graph, and of the models in it."""
    for layer in model.graph.layers:
        yield layer
        if layer.is_container:
            yield from _inside(layer)


def _refuse_beyond(model: Any, there: set[Any]) -> None:
    """Refuse what needs a mask of outside in a model inside, which was made before it was called: what is not yet `there`."""
    for node in model.graph.nodes:
        marks = marks_of(node.inputs[0]) if isinstance(node.layer, LeaveOut) and node.layer not in there else ()
        if marks:
            (taker,) = model.graph.consumers[node.outputs[0]]
            through = f"{marks[0][0].label} would reach it through {node.inputs[0].node.layer.label}"
            raise ValueError(f"{taker.layer.label}: the mask of {through}, which is not known here")


def _refuse_joined(model: Any) -> None:
    """Refuse layers that ask for a mask of sequences that stand one behind the other, of which nothing is known here."""
    for node in model.graph.nodes:
        if isinstance(node.layer, layers.Concatenate) and not hands_on(node.layer) and any(marks_of(x) for x in node.inputs):
            for taker in _takers(model, node.outputs[0], hands_on):
                if isinstance(taker.layer, ASKS):
                    raise ValueError(
                        f"{taker.layer.label}: the masks of sequences that {node.layer.label} puts one behind the other"
                    )


def _keeps_zeros(layer: Any) -> bool:
    return isinstance(layer, KEEPS_ZEROS)


def _takers(model: Any, value: Any, passed: Callable[[Any], bool]) -> Iterator[Any]:
    """The nodes that take a value, some layers passed."""
    for node in model.graph.nodes:
        if any(given is value for given in node.inputs):
            if passed(node.layer):
                yield from _takers(model, node.outputs[0], passed)
            else:
                yield node
