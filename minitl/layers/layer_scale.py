"""LayerScale: a learnt factor for each channel, small at first, so that a deep residual network begins near the identity."""

from __future__ import annotations

from typing import Any

from minitl.errors import check_numbers, positive
from minitl.graph.value import Shape
from minitl.initializers import Constant
from minitl.layers.base import Layer


class LayerScale(Layer):
    """Multiplies every channel by a weight of its own.

    Formula: y = gamma x.
    Parameters: `init_values` is what the factors are at first, such as 1e-6; `projection_dim` is the number of channels.
    Shapes: x and y (N, ..., C), gamma (C,).
    Errors: ValueError for another number of channels, or a first value that is no finite number.
    Source: H. Touvron et al., arXiv 2103.17239; Keras has it in its ConvNeXt.
    """

    supports_masking = True

    def __init__(self, init_values: float, projection_dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        check_numbers(self, "(-inf, inf)", init_values=init_values)
        self.init_values, self.projection_dim = init_values, positive("LayerScale: projection_dim", projection_dim)

    def build(self, input_shape: Shape) -> None:
        """Create the factors."""
        if input_shape[-1] != self.projection_dim:
            raise ValueError(f"has factors for {self.projection_dim} channels, got inputs of shape {input_shape}")
        self.gamma = self.add_weight("gamma", (self.projection_dim,), Constant(self.init_values))

    def call(self, inputs: Any) -> Any:
        """Channels times their factors."""
        return inputs * self.gamma

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape
