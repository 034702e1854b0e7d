"""Masks in models from Keras: which layers leave steps out there, and whether they do so here.

Keras carries a mask beside the numbers, from an Embedding with `mask_zero` or a Masking through layers that hand it on. Here a
step that is left out is a step of zeros, so that a mask ends at any layer that makes something of zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minitl import layers
from minitl.layers.masking import KEEPS_ZEROS
from minitl.layers.recurrent import Recurrent
from minitl.masks import HANDS_ON

ASKS = (layers.Bidirectional, layers.GlobalAveragePooling1D, Recurrent)  # what leaves steps out


def settle_masks(model: Any) -> None:
    """Where no layer asks for the mask of an Embedding, number 0 is a word like any other, as in Keras.

    Errors: ValueError where some layers ask for the mask and others look at the numbers, or where it would have to pass a
    layer that makes something of zeros.
    """
    for node in model.graph.nodes:
        if node.layer.is_container:
            settle_masks(node.layer)
        if isinstance(node.layer, layers.Masking) or (isinstance(node.layer, layers.Embedding) and node.layer.mask_zero):
            takers = list(_takers(model, node.outputs[0], KEEPS_ZEROS))
            asks = [isinstance(taker.layer, ASKS) for taker in takers]
            for taker in takers:
                if isinstance(taker.layer, HANDS_ON):
                    _refuse_beyond(model, node, taker)
            if isinstance(node.layer, layers.Embedding):
                if any(asks) and not all(asks):
                    raise ValueError(f"{node.layer.label}: its mask is used by some layers behind it and not by others")
                node.layer.mask_zero = any(asks) or not asks


def _refuse_beyond(model: Any, source: Any, through: Any) -> None:
    for taker in _takers(model, through.outputs[0], (*KEEPS_ZEROS, *HANDS_ON)):
        if isinstance(taker.layer, ASKS):
            raise ValueError(
                f"{taker.layer.label}: the mask of {source.layer.label} would reach it through {through.layer.label}, which is "
                "not known here"
            )


def _takers(model: Any, value: Any, passed: tuple[type, ...]) -> Iterator[Any]:
    """The nodes that take a value, some layers passed."""
    for node in model.graph.nodes:
        if any(given is value for given in node.inputs):
            if isinstance(node.layer, passed):
                yield from _takers(model, node.outputs[0], passed)
            else:
                yield node
