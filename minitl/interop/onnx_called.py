"""A function of values that is written as operators of ONNX: what it is called on, and with which settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.interop.keras_operations import SETTINGS
from minitl.interop.onnx_layers import Tensor
from minitl.layers.array_function import ArrayFunction, filled

FLOAT, WHOLE, TRUTH = 1, 7, 9  # kinds of numbers, as ONNX counts them


class Called:
    """A function's operands, tensors of the graph or constants, and its settings by name."""

    def __init__(self, w: Any, layer: ArrayFunction, tensors: list[Tensor]):
        self.w, self.function, self.label = w, layer.function, layer.label
        taken, names = SETTINGS.get(layer.function, (len(layer.arguments), ()))
        arguments = filled(layer.arguments, tensors)
        self.operands = arguments[:taken]
        self.settings = {**dict(zip(names, arguments[taken:], strict=False)), **filled(layer.settings, tensors)}
        if len(arguments) > taken + len(names):
            raise self.refused()

    def refused(self) -> ValueError:
        """What is raised for a use of the function that is not known."""
        return ValueError(
            f"{self.label}: {self.function} as it is used here is not written to ONNX; cut the model below it, or use a layer"
        )

    def setting(self, name: str, default: Any = None) -> Any:
        """A setting, which is then done with."""
        return self.settings.pop(name, default)

    def keepdims(self) -> int:
        """The setting of this name, as ONNX has it."""
        return int(bool(self.setting("keepdims", False)))

    def name(self, place: int = 0) -> str:
        """An operand in the graph, with its axes in the order that they have here."""
        operand = self.operands[place]
        return self.w.last(operand) if isinstance(operand, Tensor) else self.w.constant(operand)

    def axes(self, place: int = 0) -> int:
        """How many axes an operand has."""
        operand = self.operands[place]
        return operand.axes if isinstance(operand, Tensor) else np.ndim(operand)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator."""
        return self.w.node(kind, list(inputs), **attributes)

    def with_number(self, kind: str, name: str, number: float) -> str:
        """Add an operator of a tensor and a number."""
        return self.node(kind, name, self.w.constant(number))

    def as_number(self, name: str) -> str:
        """Truths or whole numbers as floating-point ones."""
        return self.node("Cast", name, to=FLOAT)

    def as_truth(self, name: str) -> str:
        """Whether numbers are not 0."""
        return self.node("Cast", name, to=TRUTH)
