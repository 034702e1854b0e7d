"""EinsumDense: a dense layer along any axes, which an equation names."""

from __future__ import annotations

import string
from typing import Any, ClassVar

import numpy as np

from minitl import activations, initializers, regularizers
from minitl.errors import positive, wrong_shape
from minitl.graph.value import Shape
from minitl.layers.base import Layer


class EinsumDense(Layer):
    """A dense layer along axes of your choice.

    Formula: y = activation(z + bias), z[out] = sum over what is not in out of x[in] kernel[of kernel], with the letters of
    `equation` "in,of kernel->out": "abc,cd->abd" is a `Dense` on sequences. "..." stands for axes that are as many as there are.
    Parameters: `output_shape` one number, or one per axis of y behind the batch, without those of "...", None where it is the
    input's; `bias_axes` the letters of y that have a bias, none by default; `activation` none by default.
    Shapes: x as `in` says, kernel as its letters say, bias along `bias_axes`, with 1 along others behind the first of them.
    Errors: ValueError for an equation that is none of this form, letters of unknown length, or inputs with other axes.
    Source: `minitl.autodiff.products`.
    """

    constrained: ClassVar[dict[str, str]] = {"kernel": "kernel", "bias": "bias"}

    def __init__(
        self, equation: str, output_shape: Any, activation: Any = None, bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros", kernel_regularizer: Any = None,
        bias_regularizer: Any = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.equation, self.bias_axes, self.activation = equation, bias_axes, activation
        given = output_shape if isinstance(output_shape, (list, tuple)) else (output_shape,)
        self.lengths = tuple(n if n is None else positive(f"{type(self).__name__}: output_shape", n) for n in given)
        self.kernel_initializer, self.bias_initializer = initializers.get(kernel_initializer), initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        of_x, _, rest = str(equation).replace(" ", "").replace("...", ".").partition(",")
        of_kernel, arrow, out = rest.partition("->")
        plain = (of_x + of_kernel + out).replace(".", "")
        if not arrow or not plain.isalpha() or "." in of_kernel or of_x.count(".") != out.count("."):
            raise ValueError(
                f"{type(self).__name__}: equation must be such as 'abc,cd->abd' or '...x,xy->...y', got {equation!r}"
            )
        self._parts = of_x, of_kernel, out

    def build(self, input_shape: Shape) -> None:
        """Create kernel and bias."""
        of_x, of_kernel, out = self.letters(len(input_shape))
        if len(of_x) != len(input_shape):
            raise wrong_shape(self.label, f"one with the axes {of_x}", input_shape, f"as the equation {self.equation} says")
        lengths = {
            **dict(zip(out, self.compute_output_shape(input_shape), strict=True)),
            **dict(zip(of_x, input_shape, strict=True)),
        }
        unknown = [letter for letter in of_kernel if lengths.get(letter) is None]
        if unknown:
            raise ValueError(f"the length of {', '.join(unknown)} in {self.equation} is not known")
        self.kernel = self.add_weight(
            "kernel", tuple(lengths[letter] for letter in of_kernel), self.kernel_initializer, self.kernel_regularizer
        )
        if self.bias_axes:
            if not set(self.bias_axes) <= set(out):
                raise ValueError(f"bias_axes={self.bias_axes!r} are no axes of the output {out!r}")
            behind = out[min(out.index(letter) for letter in self.bias_axes) :]
            shape = tuple(lengths[letter] if letter in self.bias_axes else 1 for letter in behind)
            self.bias = self.add_weight("bias", shape, self.bias_initializer, self.bias_regularizer)

    def call(self, inputs: Any) -> Any:
        """The sums, the bias and the activation."""
        of_x, of_kernel, out = self.letters(len(inputs.shape))
        y = np.einsum(f"{of_x},{of_kernel}->{out}", inputs, self.kernel)
        y = y + self.bias if self.bias_axes else y
        return y if self.activation in (None, "linear") else activations.get(self.activation)(y)

    def letters(self, axes: int) -> tuple[str, str, str]:
        """The axes of x, of the kernel and of y, with letters in the place of "..."."""
        of_x, of_kernel, out = self._parts
        free = [letter for letter in string.ascii_letters if letter not in of_x + of_kernel + out]
        more = "".join(free[: max(0, axes - len(of_x.replace(".", "")))])
        return of_x.replace(".", more), of_kernel, out.replace(".", more)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """What `output_shape` says, and the input's where it says nothing."""
        of_x, _, out = self.letters(len(input_shape))
        ours, own = dict(zip(of_x, input_shape, strict=False)), self._parts[2]
        named = own.replace(".", "") if own.startswith(".") else own.replace(".", "")[1:]
        if len(named) != len(self.lengths):
            raise ValueError(f"output_shape={self.lengths} must have a number for each of {named!r}")
        given = dict(zip(named, self.lengths, strict=True))
        return tuple(ours.get(letter) if given.get(letter) is None else given[letter] for letter in out)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = (
            "equation", "activation", "bias_axes", "kernel_initializer", "bias_initializer", "kernel_regularizer",
            "bias_regularizer", "name", "trainable", "dtype",
        )  # fmt: skip
        return {**{name: getattr(self, name) for name in names}, "output_shape": self.lengths, **self.constraint_arguments}
