"""Noise while training, so that no unit can rely on another one: whole channels dropped, and Gaussian noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.activations import SELU
from minitl.backend import op
from minitl.errors import check_numbers
from minitl.graph.plan import Need
from minitl.graph.value import Shape
from minitl.layers.base import Layer
from minitl.layers.core import Dropout
from minitl.random import new_generator
from minitl.regularizers import L1L2


class SpatialDropout(Dropout):
    """Drops whole channels: neighbours of a pixel say nearly the same, so that dropping single pixels drops nothing.

    Formula: y = x m, with one m per sample and channel.
    Source: J. Tompson et al., arXiv 1411.4280; `minitl.ops.dropout`.
    """

    dimensions: int

    def __init__(self, rate: float, **kwargs: Any):
        super().__init__(rate, [None, *[1] * self.dimensions, None], **kwargs)

    def build(self, input_shape: Shape) -> None:
        """Take a generator."""
        if len(input_shape) != self.dimensions + 2:
            raise ValueError(f"needs inputs of {self.dimensions + 2} axes (N, ..., C), got {input_shape}")
        super().build(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The rate; the shape follows from the class."""
        return {name: value for name, value in super().get_config().items() if name != "noise_shape"}


class ActivityRegularization(Layer):
    """A penalty on what comes through, added to the loss; every layer takes the same as `activity_regularizer`.

    Formula: y = x; penalty = (l1 sum |x| + l2 sum x^2) / N for N samples; dx = dy + (l1 sign(x) + 2 l2 x) / N.
    Shapes: any; x and y alike.
    Errors: ValueError for a negative penalty.
    Source: Keras; X. Glorot, A. Bordes and Y. Bengio, Deep sparse rectifier neural networks, 2011, section 3.2.
    """

    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any):
        super().__init__(activity_regularizer=L1L2(l1, l2), **kwargs)
        self.l1, self.l2 = l1, l2

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x itself."""
        return x, None

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """dy itself; the step that runs the layer has added the penalty's gradient."""
        return dy, {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The two penalties."""
        return {name: value for name, value in super().get_config().items() if name != "activity_regularizer"}


class SpatialDropout1D(SpatialDropout):
    """Drops whole channels of sequences. Shapes: x and y (N, L, C)."""

    dimensions = 1


class SpatialDropout2D(SpatialDropout):
    """Drops whole channels of images. Shapes: x and y (N, H, W, C)."""

    dimensions = 2


class GaussianNoise(Layer):
    """While training, adds noise to every entry.

    Formula: y = x + stddev n, n standard normal; dx = dy.
    Shapes: any; x and y alike.
    Errors: ValueError for a negative standard deviation.
    Source: C. Bishop, Training with noise is equivalent to Tikhonov regularization, 1995.
    """

    supports_masking = True

    def __init__(self, stddev: float, **kwargs: Any):
        super().__init__(**kwargs)
        check_numbers(self, "[0, inf)", stddev=stddev)
        self.stddev = stddev

    @property
    def draws(self) -> bool:
        """Unless there is no noise."""
        return self.stddev > 0

    def build(self, input_shape: Shape) -> None:
        """Take a generator."""
        self.generator = new_generator()

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x, with noise while training."""
        if not training or self.stddev == 0:
            return x, None
        noise = self.generator.standard_normal(x.shape, np.float32) * np.float32(self.stddev)
        return x + noise.astype(x.dtype, copy=False), None

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx = dy."""
        return dy, {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


class GaussianDropout(Layer):
    """While training, multiplies every entry by noise of mean 1, as strong as Dropout's.

    Formula: y = x n, n normal of mean 1 and variance rate / (1 - rate); dx = dy n.
    Shapes: any; x and y alike.
    Errors: ValueError for a rate outside [0, 1).
    Source: N. Srivastava et al., Dropout, JMLR 15, 2014, section 10.
    """

    def __init__(self, rate: float, **kwargs: Any):
        super().__init__(**kwargs)
        check_numbers(self, "[0, 1)", rate=rate)
        self.rate = rate

    @property
    def draws(self) -> bool:
        """Unless the rate is 0."""
        return self.rate > 0

    def build(self, input_shape: Shape) -> None:
        """Take a generator."""
        self.generator = new_generator()

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x times noise while training, else x."""
        if not training or self.rate == 0:
            return x, None
        noise = (1 + self.generator.standard_normal(x.shape) * np.sqrt(self.rate / (1 - self.rate))).astype(x.dtype)
        return x * noise, noise

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dy times the same noise."""
        return dy if cache is None else dy * cache, {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


class AlphaDropout(Dropout):
    """While training, drops entries to where SELU saturates, and brings mean and variance back to what they were.

    Formula: y = a (x m + s (1 - m)) + b, with m 0 or 1, s = -1.0507 1.6733 (SELU's lower end),
    a = ((1 - rate)(1 + rate s^2))^-1/2 and b = -a s rate; dx = a m dy.
    Shapes: any; x and y alike.
    Errors: ValueError for a rate outside [0, 1).
    Source: G. Klambauer et al., Self-normalizing neural networks, arXiv 1706.02515.
    """

    supports_masking = True

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """y while training, else x."""
        if not training or self.rate == 0:
            return x, None
        kept, _ = op("dropout").forward(np.ones_like(x), self.rate, self.generator)
        low = -SELU["alpha"] * SELU["scale"]
        gain = ((1 - self.rate) * (1 + self.rate * low**2)) ** -0.5
        slope = (gain * (kept > 0)).astype(x.dtype)
        return slope * x + ((gain * low) * (kept == 0) - gain * low * self.rate).astype(x.dtype), slope

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx = dy times the slope."""
        return dy if cache is None else op("multiply").forward(dy, cache)[0], {}
