"""The older format of Keras has one list of weights for each layer of the outermost model: of models inside, all of theirs.

What is trained stands first in it, then what is not: frozen weights and moving statistics, layer by layer. So the order depends
on what was frozen when the file was written. Where names tell, they count.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from minitl.layers import Normalization

COUNT = np.int32(0)  # of the batches that a Normalization has seen, which Keras keeps as a weight
Arrays = list[tuple[str, np.ndarray]]


def listed(layer: Any, name: str, trained: bool | None = None) -> Arrays:
    """The weights of a layer or model inside by their keys, in the order of Keras's list.

    Parameters: `trained` says how everything inside was when the list was made; None, as the layers' flags are.
    """
    first: Arrays = []
    rest: Arrays = []
    for path, leaf in layer.named_layers(f"{name}/") if layer.is_container else layer.named_layers("", name):
        learns = leaf.trainable if trained is None else trained
        (first if learns else rest).extend((f"{path}/{key}", weight) for key, weight in leaf.parameters.items())
        rest += [(f"{path}/{key}", weight) for key, weight in leaf.state.items()]
        if isinstance(leaf, Normalization) and leaf.state:
            rest.append((f"{path}/count", COUNT))
    return first + rest


def paired(layer: Any, name: str, arrays: Arrays) -> dict[str, tuple[str, np.ndarray]]:
    """The entries of a list by the keys of the weights that they are for."""
    found = _by_name(listed(layer, name), arrays)
    if not found:
        orders = [listed(layer, name, trained) for trained in (None, True, False)]
        order = next((order for order in orders if _fit(order, arrays)), orders[0])
        found = {key: given for (key, _), given in zip(order, arrays, strict=False)}
    return {key: given for key, given in found.items() if not key.endswith("/count")}


def _by_name(order: Arrays, arrays: Arrays) -> dict[str, tuple[str, np.ndarray]]:
    """The entries by our keys, if each has the name of one layer and weight of ours; else nothing."""
    given, ours = {_end(label): (label, array) for label, array in arrays}, {_end(key): key for key, _ in order}
    if given.keys() != ours.keys() or not len(given) == len(arrays) == len(order):
        return {}
    return {ours[end]: given[end] for end in given}


def weight_name(label: str) -> str:
    """A weight's own name: of "features/conv2d/kernel:0" it is "kernel"; some versions of Keras call a depthwise one so."""
    name = re.sub(r":\d+$", "", label).split("/")[-1]
    return "kernel" if name == "depthwise_kernel" else name


def _end(label: str) -> str:
    """The names of the layer and of its weight: of "features/conv2d/kernel:0" it is "conv2d/kernel"."""
    return "/".join([*label.split("/")[-2:-1], weight_name(label)])


def _fit(order: Arrays, arrays: Arrays) -> bool:
    """Whether a list may have been written in an order: by shapes, and by the weights' own names where they are ours."""
    if len(order) != len(arrays):
        return False
    ours, theirs = ([weight_name(label) for label, _ in entries] for entries in (order, arrays))
    alike = all(own == given for own, given in zip(ours, theirs, strict=True) if given in ours)
    return alike and all(weight.shape == array.shape for (_, weight), (_, array) in zip(order, arrays, strict=True))
