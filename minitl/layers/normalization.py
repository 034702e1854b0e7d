"""Batch normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl import initializers, regularizers
from minitl.backend import op
from minitl.graph.plan import Need
from minitl.layers.base import Layer, Shape
from minitl.layers.core import named


class BatchNormalization(Layer):
    """Normalises every channel; the last axis holds the channels.

    Formula: y = gamma (x - mean) / sqrt(variance + epsilon) + beta. While training, mean and variance are the
    batch's, and the moving ones follow them, m = momentum m + (1 - momentum) batch's; else they are the moving ones.
    A frozen layer always uses the moving ones, and they stay as they are.
    Shapes: x (N, ..., C), y alike; gamma, beta, moving_mean, moving_variance (C,).
    Errors: ValueError for a momentum outside [0, 1] or an open last axis.
    Source: `minitl.ops.batch_norm`.
    """

    batch_statistics = True

    def __init__(
        self,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNormalization: momentum must be in [0, 1], got {momentum}")
        self.momentum, self.epsilon, self.center, self.scale = momentum, epsilon, center, scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)

    def build(self, input_shape: Shape) -> None:
        """Create gamma and beta, and the moving statistics."""
        channels = input_shape[-1]
        if len(input_shape) < 2 or channels is None:
            raise ValueError(f"needs inputs of a known last axis, got {input_shape}")
        if self.scale:
            self.add_weight("gamma", (channels,), self.gamma_initializer, self.gamma_regularizer)
        if self.center:
            self.add_weight("beta", (channels,), self.beta_initializer, self.beta_regularizer)
        self.add_weight("moving_mean", (channels,), "zeros", trainable=False)
        self.add_weight("moving_variance", (channels,), "ones", trainable=False)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """Normalise with the batch's statistics or the moving ones."""
        return op("batch_norm").forward(x, *self.constants(x, training))

    def constants(self, x: np.ndarray, training: bool) -> tuple[Any, Any, Any, Any, float, bool]:
        """What the operation gets beside x: gamma, beta, mean, variance, epsilon, and whether they are the batch's own.

        While training, the moving statistics follow the batch here.
        """
        batch_statistics = training and self.trainable
        mean, variance = self.state["moving_mean"], self.state["moving_variance"]
        if batch_statistics:
            batch_mean, batch_variance = op("batch_norm").statistics(x)
            for moving, now in ((mean, batch_mean), (variance, batch_variance)):
                moving *= self.momentum
                moving += (1 - self.momentum) * now
            mean, variance = batch_mean, batch_variance
        else:
            mean, variance = mean.copy(), variance.copy()  # a cache must not change when the moving ones do
        gamma = self.parameters.get("gamma", np.ones_like(mean))
        beta = self.parameters.get("beta", np.zeros_like(mean))
        return gamma, beta, mean, variance, self.epsilon, batch_statistics

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of gamma and beta."""
        return self.named(*op("batch_norm").backward(dy, cache, need.dx, need.parameters and bool(self.parameters)))

    def named(
        self, dx: np.ndarray | None, dgamma: np.ndarray | None, dbeta: np.ndarray | None
    ) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of those parameters that exist."""
        return dx, named(gamma=dgamma if self.scale else None, beta=dbeta if self.center else None)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


class GroupNormalization(Layer):
    """Normalises groups of channels of one sample; no sample sees another.

    Formula: y = gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and variance over height, width and a group's channels.
    `groups=-1` makes every channel a group of its own (instance normalisation).
    Shapes: x (N, ..., C), y alike; gamma and beta (C,).
    Errors: ValueError for groups that do not divide the channels.
    Source: `minitl.ops.group_norm`.
    """

    axes = "all"

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
        self.groups, self.epsilon, self.center, self.scale = groups, epsilon, center, scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)

    def build(self, input_shape: Shape) -> None:
        """Create gamma and beta."""
        channels = input_shape[-1]
        if len(input_shape) < 2 or channels is None:
            raise ValueError(f"needs inputs of a known last axis, got {input_shape}")
        if self.axis not in (-1, len(input_shape) - 1):
            raise ValueError(f"normalises along the last axis (-1), got axis={self.axis!r}")
        if self.groups != -1 and (self.groups < 1 or channels % self.groups):
            raise ValueError(f"{channels} channels do not fall into {self.groups} groups")
        if self.scale:
            self.add_weight("gamma", (channels,), self.gamma_initializer, self.gamma_regularizer)
        if self.center:
            self.add_weight("beta", (channels,), self.beta_initializer, self.beta_regularizer)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """Normalise every group."""
        channels = x.shape[-1]
        gamma = self.parameters.get("gamma", np.ones(channels, x.dtype))
        beta = self.parameters.get("beta", np.zeros(channels, x.dtype))
        groups = channels if self.groups == -1 else self.groups
        return op("group_norm").forward(x, gamma, beta, groups, self.epsilon, self.axes)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of gamma and beta."""
        dx, dgamma, dbeta = op("group_norm").backward(dy, cache, need.dx, need.parameters and bool(self.parameters))
        return dx, named(gamma=dgamma if self.scale else None, beta=dbeta if self.center else None)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


class LayerNormalization(GroupNormalization):
    """Normalises the last axis of every place by itself.

    Formula: y = gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and variance over the last axis.
    Shapes: x (N, ..., C), y alike; gamma and beta (C,).
    Source: `minitl.ops.group_norm`.
    """

    axes = "last"

    def __init__(self, axis: int = -1, epsilon: float = 1e-3, center: bool = True, scale: bool = True, **kwargs: Any):
        super().__init__(1, axis, epsilon, center, scale, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds it: one group is what it is."""
        return {name: value for name, value in super().get_config().items() if name != "groups"}
