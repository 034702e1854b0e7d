"""Multiply, in memory that may have been used before; the mathematics is in `minitl.ops.multiply`."""

from __future__ import annotations

import functools

import numpy as np

from minitl.kernels import memory
from minitl.kernels.recording import also
from minitl.ops.add import summed_to
from minitl.ops.window import check_shape


def forward(*x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """y = the product of the inputs."""
    if len(x) < 2:
        return x[0], x
    y = memory.empty(np.broadcast_shapes(*(part.shape for part in x)), np.result_type(*x))
    also(np.multiply, x[0], x[1], y)
    for part in x[2:]:
        also(np.multiply, y, part, y)
    return y, x


def backward(dy: np.ndarray, cache: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """dx_i = dy times the product of the others."""
    check_shape("multiply", "dy", dy.shape, np.broadcast_shapes(*(x.shape for x in cache)))
    gradients = []
    for i, x in enumerate(cache):
        others = [*cache[:i], *cache[i + 1 :]]
        dx = memory.empty(x.shape, np.result_type(dy, *others))
        if len(others) == 1 and x.shape == dy.shape:
            also(np.multiply, dy, others[0], dx)
        else:
            also(_multiply_and_sum, dy, others, dx)
        gradients.append(dx)
    return tuple(gradients)


def _multiply_and_sum(dy: np.ndarray, others: list[np.ndarray], dx: np.ndarray) -> None:
    dx[...] = summed_to(functools.reduce(np.multiply, others, dy), dx.shape)
