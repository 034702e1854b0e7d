"""Batch, group and layer normalisation."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minitl import initializers, regularizers
from minitl.backend import op
from minitl.channels import inner_axis
from minitl.errors import check_numbers
from minitl.graph.plan import Need
from minitl.layers.base import Layer, Shape
from minitl.layers.linear import named

SHORTEST = 1e-12  # the square of the shortest length that counts, as in Keras


def single_axis(axis: Any) -> Any:
    """An axis, also where it is given as a list of one, as files have it."""
    return inner_axis(axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis)


class ScaledNormalization(Layer):
    """What normalisations share: a scale gamma and a shift beta for every channel, the last axis.

    Errors: ValueError for an open last axis, or another axis than the last.
    """

    supports_masking = True
    constrained: ClassVar[dict[str, str]] = {"beta": "beta", "gamma": "gamma"}
    axis: Any

    def __init__(
        self,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Any,
        gamma_initializer: Any,
        beta_regularizer: Any,
        gamma_regularizer: Any,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_numbers(self, "[0, inf)", epsilon=epsilon)
        self.epsilon, self.center, self.scale = epsilon, center, scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)

    def build(self, input_shape: Shape) -> None:
        """Create gamma and beta."""
        channels = input_shape[-1]
        if self.axis not in (-1, len(input_shape) - 1):
            raise ValueError(f"normalises along the last axis (-1), got axis={self.axis!r}; images are (N, H, W, C) here")
        if len(input_shape) < 2 or channels is None:
            raise ValueError(f"needs inputs of a known last axis, got {input_shape}")
        self.add_scale_and_shift((channels,))

    def add_scale_and_shift(self, shape: Shape) -> None:
        """Create gamma and beta, where they are wanted."""
        if self.scale:
            self.add_weight("gamma", shape, self.gamma_initializer, self.gamma_regularizer)
        if self.center:
            self.add_weight("beta", shape, self.beta_initializer, self.beta_regularizer)

    def gamma_and_beta(self, channels: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        """Ones and zeros for those that are not there."""
        gamma, beta = self.parameters.get("gamma"), self.parameters.get("beta")
        return np.ones(channels, dtype) if gamma is None else gamma, np.zeros(channels, dtype) if beta is None else beta

    def named(
        self, dx: np.ndarray | None, dgamma: np.ndarray | None, dbeta: np.ndarray | None
    ) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of those parameters that exist."""
        return dx, named(gamma=dgamma if self.scale else None, beta=dbeta if self.center else None)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


class BatchNormalization(ScaledNormalization):
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
        axis: Any = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        **kwargs: Any,
    ):
        super().__init__(
            epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer, **kwargs
        )
        self.axis = single_axis(axis)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        check_numbers(self, "[0, 1]", momentum=momentum)
        self.momentum = momentum

    def build(self, input_shape: Shape) -> None:
        """Create gamma and beta, and the moving statistics."""
        super().build(input_shape)
        self.add_weight("moving_mean", input_shape[-1:], self.moving_mean_initializer, trainable=False)
        self.add_weight("moving_variance", input_shape[-1:], self.moving_variance_initializer, trainable=False)

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
            operation = op("batch_norm")
            batch_mean, batch_variance = operation.statistics(x)
            operation.follow(mean, batch_mean, self.momentum)
            operation.follow(variance, batch_variance, self.momentum)
            mean, variance = batch_mean, batch_variance
        gamma, beta = self.gamma_and_beta(len(mean), mean.dtype)
        return gamma, beta, mean, variance, self.epsilon, batch_statistics

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of gamma and beta."""
        return self.named(*op("batch_norm").backward(dy, cache, need.dx, need.parameters and bool(self.parameters)))


class GroupNormalization(ScaledNormalization):
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
        super().__init__(
            epsilon, center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer, **kwargs
        )
        self.axis = single_axis(axis)
        if not isinstance(groups, (int, np.integer)):
            raise ValueError(f"{type(self).__name__}: groups must be a whole number, or -1 for one per channel, got {groups!r}")
        self.groups = groups

    def build(self, input_shape: Shape) -> None:
        """Create gamma and beta."""
        super().build(input_shape)
        channels: int = input_shape[-1]  # type: ignore[assignment]
        if self.groups != -1 and (self.groups < 1 or channels % self.groups):
            raise ValueError(f"{channels} channels do not fall into {self.groups} groups")

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """Normalise every group."""
        channels = x.shape[-1]
        gamma, beta = self.gamma_and_beta(channels, x.dtype)
        groups = channels if self.groups == -1 else self.groups
        return op("group_norm").forward(x, gamma, beta, groups, self.epsilon, self.axes)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of gamma and beta."""
        return self.named(*op("group_norm").backward(dy, cache, need.dx, need.parameters and bool(self.parameters)))


class LayerNormalization(GroupNormalization):
    """Normalises the last axis of every place by itself, or several axes together.

    Formula: y = gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and variance over the axes.
    Parameters: `axis` one axis, -1 (the last) by default, or several.
    Shapes: x (N, ..., C), y alike; gamma and beta (C,), or the lengths of the axes, in their order.
    Errors: ValueError for an axis that is not there, or counts the samples, or is of open length.
    Source: `minitl.ops.group_norm`.
    """

    axes = "last"

    def __init__(self, axis: Any = -1, epsilon: float = 1e-3, center: bool = True, scale: bool = True, **kwargs: Any):
        super().__init__(1, axis, epsilon, center, scale, **kwargs)
        self.together: list[int] = []  # the axes, where they are not the last one alone

    def build(self, input_shape: Shape) -> None:
        """Create gamma and beta."""
        rank = len(input_shape)
        chosen = self.axis if isinstance(self.axis, (list, tuple)) else [self.axis]
        axes = sorted({axis % rank for axis in chosen})
        if any(not -rank <= axis < rank for axis in chosen) or len(axes) < len(chosen) or axes[:1] in ([], [0]):
            raise ValueError(
                f"axis must be some of 1 to {rank - 1} for inputs {input_shape}, or count from the end; got {self.axis}"
            )
        if axes == [rank - 1]:
            super().build(input_shape)
            return
        self.together, shape = axes, tuple(input_shape[axis] for axis in axes)
        if None in shape:
            raise ValueError(f"needs inputs of known lengths along {axes}, got {input_shape}")
        self.add_scale_and_shift(shape)

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """Normalise; several axes as the one that they make together."""
        if not self.together:
            return super().compute(x, training)
        rows = self._as_one(x)
        gamma, beta = (a.ravel() for a in self.gamma_and_beta(rows.shape[-1], x.dtype))
        y, cache = op("group_norm").forward(rows, gamma, beta, 1, self.epsilon, self.axes)
        return self._apart(y, x.shape), cache

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """dx, and the gradients of gamma and beta."""
        if not self.together:
            return super().backpropagate(dy, cache, need)
        dx, gradients = super().backpropagate(self._as_one(dy), cache, need)
        gradients = {name: g.reshape(self.parameters[name].shape) for name, g in gradients.items()}
        return None if dx is None else self._apart(dx, dy.shape), gradients

    def _as_one(self, x: np.ndarray) -> np.ndarray:
        """The axes together as the last one."""
        moved = np.moveaxis(x, self.together, range(-len(self.together), 0))
        return np.ascontiguousarray(moved).reshape(*moved.shape[: -len(self.together)], -1)

    def _apart(self, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The axes where they were."""
        lengths = [shape[axis] for axis in self.together]
        moved = rows.reshape(*rows.shape[:-1], *lengths)
        return np.ascontiguousarray(np.moveaxis(moved, range(-len(lengths), 0), self.together))

    def get_config(self) -> dict[str, Any]:
        """What rebuilds it: one group is what it is."""
        return {name: value for name, value in super().get_config().items() if name != "groups"}


class UnitNormalization(Layer):
    """Every row gets the length 1.

    Formula: y = x / sqrt(max(sum x^2, 1e-12)) over the axis; dx = (dy - y sum(y dy)) / |x|, or dy / 1e-6 for shorter rows.
    Parameters: `axis` one axis, or several, -1 by default.
    Shapes: any.
    """

    def __init__(self, axis: Any = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = tuple(axis) if isinstance(axis, (list, tuple)) else axis

    def compute(self, x: np.ndarray, training: bool) -> tuple[np.ndarray, Any]:
        """x over its length."""
        square = (x * x).sum(axis=self.axis, keepdims=True)
        length = np.sqrt(np.maximum(square, SHORTEST)).astype(x.dtype)
        y = x / length
        return y, (y, length, square > SHORTEST)

    def backpropagate(self, dy: np.ndarray, cache: Any, need: Need) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """What of dy is not along y, over the length."""
        y, length, long = cache
        return (dy - y * np.where(long, (y * dy).sum(axis=self.axis, keepdims=True), 0)) / length, {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's."""
        return input_shape


def __getattr__(name: str) -> Any:  # other layers, which older programs import from here
    from minitl.legacy.modules import elsewhere

    return elsewhere("layers", name)
