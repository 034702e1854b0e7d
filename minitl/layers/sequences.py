"""Layers for sequences (N, L, C): images of one row, for which the layers of images already do the work."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.activations import Activated
from minitl.layers.base import Layer
from minitl.layers.conv import Conv2D
from minitl.layers.masking import LeavesOut
from minitl.layers.pooling import GlobalAveragePooling2D, GlobalMaxPooling2D, Pooling2D
from minitl.layers.reshaping import UpSampling2D


class OneRow(Layer):
    """What a layer of images becomes for sequences: the sequence is an image of one row.

    Shapes: x (N, L, C).
    Errors: ValueError for another number of axes.
    """

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """That of the image, without its one row."""
        out = super().compute_output_shape(as_image(self, input_shape))
        return (out[0], *out[2:]) if len(out) == 4 else out


class InOneRow(OneRow):
    """One that gives the image's layer the row itself.

    Shapes: x (N, L, C), y (N, L_out, C), or (N, C).
    """

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """What the image's layer makes of the row."""
        y, cache = super().compute(x[:, None], training)
        return y[:, 0] if y.ndim == 4 else y, cache

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, back through the image's layer."""
        dy = np.ascontiguousarray(dy)
        dx, gradients = super().backpropagate(dy[:, None] if dy.ndim == 3 else dy, cache, need)
        return None if dx is None else dx[:, 0], gradients


OF_THE_ROW = ("kernel_size", "strides", "dilation_rate", "output_padding")  # settings with a number for each axis of images


class OfOneRow(OneRow, Activated):
    """A convolution whose kernels are those of images without the axis of the one row.

    Shapes: x (N, L, C), kernels (K, ...), y (N, L_out, ...).
    """

    def build(self, input_shape: Shape) -> None:
        """Create what the image's layer has, but for the axis of the row."""
        super().build(as_image(self, input_shape))
        for name in filter(_is_kernel, self.parameters):
            self.parameters[name] = self.parameters[name][0]

    def kernel_of(self, name: str) -> np.ndarray:
        """A kernel with its one row."""
        return self.parameters[name][None]

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """What the image's layer makes of the row."""
        z, cache = super().linear(x[:, None])
        return z[:, 0], cache

    def linear_backward(self, dz: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of kernels and bias, back through the image's layer."""
        dx, gradients = super().linear_backward(np.ascontiguousarray(dz)[:, None], cache, need)
        turned = {name: gradient[0] if _is_kernel(name) else gradient for name, gradient in gradients.items()}
        return None if dx is None else dx[:, 0], turned

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer: one number per setting."""
        config = super().get_config()
        return {key: value[1] if key in OF_THE_ROW and value is not None else value for key, value in config.items()}


class Conv1D(OfOneRow, Conv2D):
    """The same small dense layer at every place of a sequence.

    Formula: y[n, i, f] = activation(sum_{a, c} x[n, s i + d a, c] kernel[a, c, f] + bias[f]).
    `causal` padding stands before the sequence alone, so that y[n, i] sees nothing behind i.
    Shapes: x (N, L, C), kernel (K, C / groups, filters), bias (filters,), y (N, L_out, filters).
    Errors: ValueError as `Conv2D`.
    Source: `minitl.ops.conv2d`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ):
        self.causal = isinstance(padding, str) and padding.lower() == "causal"
        super().__init__(
            filters, (1, single(kernel_size)), (1, single(strides)), "valid" if self.causal else padding, activation, use_bias,
            kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, (1, single(dilation_rate)), groups,
            **kwargs,
        )  # fmt: skip

    @property
    def before(self) -> int:
        """How many zeros stand before the sequence."""
        return (self.kernel_size[1] - 1) * self.dilation_rate[1] if self.causal else 0

    def linear(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """The convolution of the one row, and its bias."""
        return super().linear(np.pad(x, ((0, 0), (self.before, 0), (0, 0))) if self.before else x)

    def linear_backward(self, dz: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of kernel and bias."""
        dx, gradients = super().linear_backward(dz, cache, need)
        return None if dx is None else dx[:, self.before :], gradients

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, L_out, filters)."""
        if input_shape[1] is not None:
            input_shape = (input_shape[0], input_shape[1] + self.before, *input_shape[2:])
        return super().compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer: one number per setting."""
        return {**super().get_config(), "padding": "causal" if self.causal else self.padding}


class Pooling1D(InOneRow, Pooling2D):
    """What max- and average-pooling of sequences share.

    Shapes: x (N, L, C), y (N, L_out, C).
    Errors: ValueError as for images.
    """

    def __init__(self, pool_size: Any = 2, strides: Any = None, padding: str = "valid", **kwargs: Any):
        steps = None if strides is None else (1, single(strides))
        super().__init__((1, single(pool_size)), steps, padding, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer: one number per setting."""
        return {**super().get_config(), "pool_size": self.pool_size[1], "strides": self.strides[1]}


class MaxPooling1D(Pooling1D):
    """Every window hands on its largest element. Source: `minitl.ops.max_pool2d`."""

    operation = "max_pool2d"


class AveragePooling1D(Pooling1D):
    """Every window hands on its mean. Source: `minitl.ops.average_pool2d`."""

    operation = "average_pool2d"


class GlobalAveragePooling1D(LeavesOut, InOneRow, GlobalAveragePooling2D):
    """The mean of every channel; behind an `Embedding(mask_zero=True)` or a `Masking`, over the steps that are not left out.

    Formula: y[n, c] = sum_t m[n, t] x[n, t, c] / max(sum_t m[n, t], 1), m = 0 for a step that is left out (of zeros), else 1.
    Shapes: x (N, L, C), y (N, C).
    Source: `minitl.ops.global_average_pool2d`.
    """

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """The mean over all steps, times L over the number of those that count."""
        y, cache = super().compute(x, training)
        if not self.masked:
            return y, cache
        mask = np.any(x, axis=-1)
        counts = np.maximum(mask.sum(axis=1), 1).reshape(-1, *[1] * (y.ndim - 1))
        factor = (x.shape[1] / counts).astype(x.dtype)
        return y * factor, (cache, mask, factor)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, nothing for what was left out."""
        if not self.masked:
            return super().backpropagate(dy, cache, need)
        inner, mask, factor = cache
        dx, gradients = super().backpropagate(dy * factor, inner, need)
        return None if dx is None else dx * mask[:, :, None], gradients


class GlobalMaxPooling1D(InOneRow, GlobalMaxPooling2D):
    """The largest entry of every channel. Shapes: x (N, L, C), y (N, C). Source: `minitl.ops.max_pool2d`."""


class UpSampling1D(InOneRow, UpSampling2D):
    """Every element several times. Shapes: x (N, L, C), y (N, size L, C). Source: `minitl.ops.upsample2d`."""

    def __init__(self, size: int = 2, **kwargs: Any):
        super().__init__((1, single(size)), **kwargs)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer."""
        config = {name: value for name, value in super().get_config().items() if name != "interpolation"}
        return {**config, "size": self.size[1]}


def as_image(layer: Layer, shape: Shape) -> Shape:
    """The shape of a sequence as an image of one row.

    Errors: ValueError for another number of axes.
    """
    if len(shape) != 3:
        raise ValueError(f"{layer.label}: needs sequences (N, L, C), got shape {shape}")
    return (shape[0], 1, *shape[1:])


def _is_kernel(name: str) -> bool:
    return name.endswith("kernel")


def single(value: Any) -> Any:
    """A number, which may come as a list of one."""
    return value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value


MaxPool1D, AvgPool1D = MaxPooling1D, AveragePooling1D
GlobalAvgPool1D, GlobalMaxPool1D = GlobalAveragePooling1D, GlobalMaxPooling1D
