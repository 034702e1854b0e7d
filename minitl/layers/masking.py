"""Steps of a sequence that are left out: who marks them, and behind which layers they are still marked."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import check_numbers
from minitl.graph.plan import Need
from minitl.graph.value import Shape, Value
from minitl.layers.base import Layer
from minitl.layers.core import Dropout, Identity
from minitl.layers.embedding import Embedding
from minitl.layers.regularization import GaussianDropout, SpatialDropout1D

KEEPS_ZEROS = (Dropout, GaussianDropout, Identity, SpatialDropout1D)  # zeros stay zeros behind these


class Masking(Layer):
    """Steps in which all numbers are `mask_value` become zeros, and are left out by the recurrent layers behind.

    Shapes: x and y (N, T, C).
    """

    def __init__(self, mask_value: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_numbers(self, "(-inf, inf)", mask_value=mask_value)
        self.mask_value = mask_value

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x, or zeros."""
        counts = (x != self.mask_value).any(axis=-1, keepdims=True)
        return x * counts, counts

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dy where x was taken."""
        return dy * cache, {}

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Where something else than `mask_value` is."""
        return (np.asarray(inputs) != self.mask_value).any(axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


def marks_steps(layer: Layer) -> bool:
    """Whether a layer looks at its input for steps to leave out."""
    return isinstance(layer, Masking) or (isinstance(layer, Embedding) and layer.mask_zero)


def leaves_out_steps(value: Value) -> bool:
    """Whether steps of zeros stand for nothing in what a value will hold."""
    layer = value.node.layer
    if layer.is_container:
        return leaves_out_steps(layer.graph.outputs[value.node.outputs.index(value)])
    if isinstance(layer, KEEPS_ZEROS):
        return leaves_out_steps(value.node.inputs[0])
    return marks_steps(layer) or bool(getattr(layer, "passes_mask", False))
