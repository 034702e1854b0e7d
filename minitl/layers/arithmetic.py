"""Arithmetic with a constant: what networks from other programs do between their layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.errors import unknown
from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.base import Layer

OPERATIONS = ("add", "subtract", "subtract from", "multiply", "divide", "divide into", "power", "maximum", "minimum")


class ConstantOperation(Layer):
    """y = x + c, or another operation with a constant that no gradient moves.

    Formula: by `operation`: add x + c, subtract x - c, subtract from c - x, multiply x c, divide x / c, divide into c / x, power
    x^c, maximum max(x, c), minimum min(x, c).
    Shapes: x (N, ...), c of any shape that broadcasts with x without growing it; c is set by `set_weights`, or given.
    Errors: ValueError for another operation, or a constant that does not fit.
    """

    def __init__(self, operation: str = "add", constant: Any = None, shape: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        if operation not in OPERATIONS:
            raise unknown("ConstantOperation: operation", operation, OPERATIONS)
        self.operation = operation
        self._first = None if constant is None else np.asarray(constant, np.float64)
        self.constant = None  # a weight; it is not repeated in the configuration
        self.shape = list(np.shape(constant) if shape is None else shape)

    def build(self, input_shape: Shape) -> None:
        """Create the constant."""
        weight = self.add_weight("constant", tuple(self.shape), "zeros", trainable=False)
        if self._first is not None:
            weight[...] = self._first

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x and the constant."""
        c = self.state["constant"]
        y = {
            "add": lambda: x + c, "subtract": lambda: x - c, "subtract from": lambda: c - x, "multiply": lambda: x * c,
            "divide": lambda: x / c, "divide into": lambda: c / x, "power": lambda: x**c,
            "maximum": lambda: np.maximum(x, c), "minimum": lambda: np.minimum(x, c),
        }[self.operation]()  # fmt: skip
        return y, (x, c)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dy times the derivative; at a tie of maximum or minimum x counts."""
        x, c = cache
        dx = {
            "add": lambda: dy, "subtract": lambda: dy, "subtract from": lambda: -dy, "multiply": lambda: dy * c,
            "divide": lambda: dy / c, "divide into": lambda: -dy * c / (x * x), "power": lambda: dy * c * x ** (c - 1),
            "maximum": lambda: dy * (x >= c), "minimum": lambda: dy * (x <= c),
        }[self.operation]()  # fmt: skip
        return dx.astype(dy.dtype, copy=False), {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        for n, c in zip(input_shape[::-1], self.shape[::-1], strict=False):
            if c != 1 and n is not None and n != c:
                raise ValueError(f"{self.label}: a constant of shape {tuple(self.shape)} does not fit to {input_shape}")
        if len(self.shape) > len(input_shape) or (len(self.shape) == len(input_shape) and self.shape[0] != 1):
            raise ValueError(f"{self.label}: a constant of shape {tuple(self.shape)} does not fit to {input_shape}")
        return input_shape
