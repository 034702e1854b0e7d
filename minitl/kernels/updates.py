"""Optimizer steps: one compiled pass over all parameters, whatever their number.

The formulas are those of `minitl.optimizers`, whose NumPy lines are the definition. All parameters are cut into pieces of
about equal length, and the pieces shared among the threads; each number is read and written once.

A mean whose gradients have stopped decays until it is below the smallest normal number, where rounding holds it for ever, and
where arithmetic takes many times longer. There it becomes zero here; it was too small to move a weight.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import prange

from minitl.kernels.jit import jit
from minitl.kernels.simd import as_array

PIECE = 8192  # numbers


class Table:
    """Where the weights are, and what is remembered of each, as kernels want it: made once, used at every step.

    Shapes: `weights` contiguous and of one dtype; `remembered` has for each of them up to two arrays like it.
    Errors: ValueError for an array that is not like its weight: kernels know addresses only, and would write beyond its end.
    """

    def __init__(self, weights: list[np.ndarray], remembered: list[list[np.ndarray]]):
        self.held = weights, remembered  # the table has their addresses only
        self.dtype, self.kinds = weights[0].dtype, 2 + len(remembered[0])
        self.tiny = np.finfo(self.dtype).tiny
        self.addresses = np.zeros((len(weights), 4), np.int64)  # of w, its gradient, and the others
        for p, (w, arrays) in enumerate(zip(weights, remembered, strict=True)):
            for column, array in ((0, w), *enumerate(arrays, 2)):
                self.enter(p, column, array)
        self.pieces = _pieces(tuple([w.size for w in weights]))

    def enter(self, p: int, column: int, array: np.ndarray) -> None:
        """Note where an array of weight p begins."""
        w = self.held[0][p]
        if array.shape != w.shape or array.dtype != self.dtype or not array.flags.c_contiguous:
            got = f"{array.shape} of {array.dtype}"
            raise ValueError(f"optimizer: expected an array of shape {w.shape} of {self.dtype} for a weight, got {got}")
        _write_address(self.addresses, p, column, array.ravel())


def sgd(table: Table, gradients: list[np.ndarray], rate: float, decay: float, momentum: float, nesterov: bool) -> None:
    """v = momentum v - rate g;  w += v, or momentum v - rate g. Without momentum there is no v."""
    _run(_sgd, table, gradients, [rate] * len(gradients), decay, momentum, nesterov)


def adam(
    table: Table, gradients: list[np.ndarray], rates: list[float], decay: float, beta_1: float, beta_2: float, epsilon: float
) -> None:
    """m += (1 - beta_1) (g - m);  v += (1 - beta_2) (g^2 - v);  w -= rate m / (sqrt(v) + epsilon), a rate a parameter."""
    # 1 - beta in double precision: in float32 the difference would lose most of its digits.
    _run(_adam, table, gradients, rates, decay, 1 - beta_1, 1 - beta_2, epsilon)


def rmsprop(
    table: Table, gradients: list[np.ndarray], rate: float, decay: float, rho: float, momentum: float, epsilon: float
) -> None:
    """v += (1 - rho) (g^2 - v);  step = rate g / sqrt(v + epsilon);  w -= step, or u = momentum u + step."""
    _run(_rmsprop, table, gradients, [rate] * len(gradients), decay, 1 - rho, momentum, epsilon)


def _run(kernel, table, gradients, rates, decay, *settings):
    dtype, addresses = table.dtype, table.addresses
    gradients = [np.ascontiguousarray(g, dtype) for g in gradients]  # held until the kernel returns
    for p, g in enumerate(gradients):
        table.enter(p, 1, g)
    settings = [s if isinstance(s, bool) else dtype.type(s) for s in (decay, *settings)]
    kernel(addresses[:, : table.kinds], *table.pieces, np.array(rates, dtype), table.tiny, *settings)


@functools.lru_cache(maxsize=64)
def _pieces(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Which parameter each piece belongs to, where in it the piece begins, and how long it is."""
    owner, bounds = [], []
    for parameter, size in enumerate(sizes):
        for start in range(0, size, PIECE):
            owner.append(parameter)
            bounds.append((start, min(PIECE, size - start)))
    return np.array(owner, np.int64), np.array(bounds, np.int64).reshape(-1, 2)


@jit()
def _write_address(addresses, p, column, array):
    addresses[p, column] = array.ctypes.data


@jit()
def _normal(value, tiny):
    return type(value)(0) if abs(value) < tiny else value


@jit(parallel=True)
def _sgd(table, owner, bounds, rates, tiny, decay, momentum, nesterov):
    for piece in prange(len(owner)):
        p, begin, count = owner[piece], bounds[piece, 0] * rates.itemsize, bounds[piece, 1]
        w, g = as_array(table[p, 0] + begin, count, rates), as_array(table[p, 1] + begin, count, rates)
        rate = rates[p]
        if table.shape[1] == 2:
            for i in range(count):
                w[i] -= w[i] * (rate * decay)
                w[i] -= rate * g[i]
        else:
            v = as_array(table[p, 2] + begin, count, rates)
            for i in range(count):
                w[i] -= w[i] * (rate * decay)
                v[i] = _normal(momentum * v[i] - rate * g[i], tiny)
                w[i] += momentum * v[i] - rate * g[i] if nesterov else v[i]


@jit(parallel=True)
def _adam(table, owner, bounds, rates, tiny, decay, share_1, share_2, epsilon):
    for piece in prange(len(owner)):
        p, begin, count = owner[piece], bounds[piece, 0] * rates.itemsize, bounds[piece, 1]
        w, g = as_array(table[p, 0] + begin, count, rates), as_array(table[p, 1] + begin, count, rates)
        m, v = as_array(table[p, 2] + begin, count, rates), as_array(table[p, 3] + begin, count, rates)
        rate = rates[p]
        for i in range(count):
            mean = _normal(m[i] + share_1 * (g[i] - m[i]), tiny)
            square = _normal(v[i] + share_2 * (g[i] * g[i] - v[i]), tiny)
            w[i] -= w[i] * decay + rate * mean / (np.sqrt(square) + epsilon)
            m[i], v[i] = mean, square


@jit(parallel=True)
def _rmsprop(table, owner, bounds, rates, tiny, decay, share, momentum, epsilon):
    for piece in prange(len(owner)):
        p, begin, count = owner[piece], bounds[piece, 0] * rates.itemsize, bounds[piece, 1]
        w, g = as_array(table[p, 0] + begin, count, rates), as_array(table[p, 1] + begin, count, rates)
        v = as_array(table[p, 2] + begin, count, rates)
        rate = rates[p]
        for i in range(count):
            w[i] -= w[i] * (rate * decay)
            v[i] = _normal(v[i] + share * (g[i] * g[i] - v[i]), tiny)
            step = rate * g[i] / np.sqrt(v[i] + epsilon)
            if table.shape[1] == 4:
                u = as_array(table[p, 3] + begin, count, rates)
                u[i] = _normal(momentum * u[i] + step, tiny)
                step = u[i]
            w[i] -= step
