"""What dense layers and convolutions share: a kernel and a bias, and the way back to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl import constraints, initializers, regularizers
from minitl.backend import op
from minitl.graph.plan import Need
from minitl.layers.activations import Activated, chosen


class Linear(Activated):
    """A layer whose linear part is one operation with a kernel and a bias.

    Formula: y = activation(operation(x, kernel) + bias).
    """

    operation: str

    def __init__(
        self,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        bias_regularizer: Any,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.activation, self.use_bias = chosen(activation), use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint, self.bias_constraint = constraints.get(kernel_constraint), constraints.get(bias_constraint)

    def add_kernel_and_bias(self, shape: tuple[int, ...], outputs: int) -> None:
        """Create the kernel, and a bias for every output."""
        self.add_weight("kernel", shape, self.kernel_initializer, self.kernel_regularizer)
        if self.use_bias:
            self.add_weight("bias", (outputs,), self.bias_initializer, self.bias_regularizer)
        found = {"kernel": self.kernel_constraint, "bias": self.bias_constraint if self.use_bias else None}
        self.constraints = {name: constraint for name, constraint in found.items() if constraint is not None}

    def linear_backward(self, dz: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of kernel and bias."""
        dx, dkernel, dbias = op(self.operation).backward(dz, cache, *need)
        return dx, named(kernel=dkernel, bias=dbias)


def named(**gradients: np.ndarray | None) -> dict[str, np.ndarray]:
    """An operation's gradients by the names of the parameters; None is what was not asked for."""
    return {name: g for name, g in gradients.items() if g is not None}
