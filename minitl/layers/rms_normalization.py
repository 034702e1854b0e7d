"""RMSNormalization: rows are brought to the same length."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import check_numbers
from minitl.graph.value import Shape
from minitl.layers.base import Layer


class RMSNormalization(Layer):
    """Divides every row by the root of its mean square: a layer normalisation that leaves the mean where it is.

    Formula: y = scale x / sqrt(mean(x^2) + epsilon), the mean over the last axis.
    Parameters: `axis` -1, the last; `epsilon` 1e-6 by default.
    Shapes: x and y (N, ..., C), scale (C,); a mask ends here, as in Keras.
    Errors: ValueError for another axis, or a last axis of open length.
    Source: B. Zhang and R. Sennrich, arXiv 1910.07467.
    """

    def __init__(self, axis: int = -1, epsilon: float = 1e-6, **kwargs: Any):
        super().__init__(**kwargs)
        check_numbers(self, "[0, inf)", epsilon=epsilon)
        self.axis, self.epsilon = axis, epsilon

    def build(self, input_shape: Shape) -> None:
        """Create the scale."""
        if self.axis not in (-1, len(input_shape) - 1):
            raise ValueError(f"axis must be the last, -1, got {self.axis}; put a Permute around it")
        if input_shape[-1] is None:
            raise ValueError(f"needs inputs whose last axis is known, got {input_shape}")
        self.scale = self.add_weight("scale", input_shape[-1:], "ones")

    def call(self, inputs: Any) -> Any:
        """Rows over their lengths."""
        mean = np.mean(np.square(inputs), axis=-1, keepdims=True)
        return inputs / np.sqrt(mean + self.dtype.type(self.epsilon)) * self.scale

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape
