"""Optimizer steps: one compiled pass over all parameters, whatever their number.

The formulas are those of `minitl.optimizers`, whose NumPy lines are the definition. All parameters are cut into pieces of
about equal length, and the pieces shared among the threads; each number is read and written once.

A mean whose gradients have stopped decays until it is below the smallest normal number, where rounding holds it for ever, and
where arithmetic takes many times longer. There it becomes zero here; it was too small to move a weight.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minitl.kernels.jit import inner, jit
from minitl.kernels.launch import Indices, Numbers, Task, launch, packed, task_kernel
from minitl.kernels.simd import as_array
from minitl.kernels.simd.addresses import address_of

PIECE = 8192  # numbers


class Plan(NamedTuple):
    """How many addresses a parameter has, and what a rule has beside numbers."""

    addresses: int
    nesterov: int


class Table:
    """Where the weights are, and what is remembered of each, as kernels want it: made once, used at every step.

    Shapes: `weights` contiguous and of one dtype; `remembered` has for each of them up to two arrays like it.
    Errors: ValueError for an array that is not like its weight: kernels know addresses only, and would write beyond its end.
    """

    def __init__(self, weights: list[np.ndarray], remembered: list[list[np.ndarray]]):
        self.held = weights, remembered  # the table has their addresses only
        self.dtype, self.kinds = weights[0].dtype, 2 + len(remembered[0])
        self.tiny = np.finfo(self.dtype).tiny
        self.addresses = np.zeros(len(weights) * self.kinds, np.int64)  # of w, its gradient, and the others, row by row
        for p, (w, arrays) in enumerate(zip(weights, remembered, strict=True)):
            for column, array in ((0, w), *enumerate(arrays, 2)):
                self.enter(p, column, array)
        pieces = _pieces(tuple([w.size for w in weights]), self.dtype.itemsize)
        self.tasks, self.plans = len(pieces), [packed(Plan(self.kinds, n), self.addresses, pieces) for n in (False, True)]

    def enter(self, p: int, column: int, array: np.ndarray) -> None:
        """Note where an array of weight p begins."""
        w = self.held[0][p]
        if array.shape != w.shape or array.dtype != self.dtype or not array.flags.c_contiguous:
            got = f"{array.shape} of {array.dtype}"
            raise ValueError(f"optimizer: expected an array of shape {w.shape} of {self.dtype} for a weight, got {got}")
        _write_address(self.addresses, p * self.kinds + column, array.ravel())


def sgd(table: Table, gradients: list[np.ndarray], rate: float, decay: float, momentum: float, nesterov: bool) -> None:
    """v = momentum v - rate g;  w += v, or momentum v - rate g. Without momentum there is no v."""
    _run(_sgd, table, gradients, [rate] * len(gradients), decay, momentum, nesterov=nesterov)


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


def _run(kernel, table, gradients, rates, decay, *settings, nesterov=False):
    dtype = table.dtype
    gradients = [np.asarray(g, dtype, order="C") for g in gradients]  # held until the kernel returns
    for p, g in enumerate(gradients):
        table.enter(p, 1, g)
    numbers = np.array([table.tiny, decay, *settings], dtype)
    launch(kernel, table.tasks, table.plans[nesterov], np.array(rates, dtype), numbers)


@functools.lru_cache(maxsize=64)
def _pieces(sizes: tuple[int, ...], itemsize: int) -> np.ndarray:
    """Rows of which parameter each piece belongs to, where in it the piece begins, in bytes, and how many numbers it has."""
    rows = [(p, itemsize * first, min(PIECE, size - first)) for p, size in enumerate(sizes) for first in range(0, size, PIECE)]
    return np.array(rows, np.int64).reshape(-1, 3)


@jit()
def _write_address(addresses, place, array):
    addresses[place] = address_of(array)


@inner()
def _normal(value, tiny):
    return type(value)(0) if abs(value) < tiny else value


@inner()
def _piece(task, plan, table, pieces, column, rates):
    """The numbers of one piece of an array: the weight's (column 0), its gradient's (1), or what is remembered (2 and 3)."""
    parameter, begin, count = pieces[3 * task], pieces[3 * task + 1], pieces[3 * task + 2]
    return as_array(table[parameter * plan.addresses + column] + begin, count, rates)


@task_kernel
def _sgd(task: Task, plan: Plan, rates: Numbers, settings: Numbers, table: Indices, pieces: Indices):
    w, g = _piece(task, plan, table, pieces, 0, rates), _piece(task, plan, table, pieces, 1, rates)
    rate, tiny, decay, momentum = rates[pieces[3 * task]], settings[0], settings[1], settings[2]
    if plan.addresses == 2:
        for i in range(len(w)):
            w[i] -= w[i] * (rate * decay)
            w[i] -= rate * g[i]
    else:
        v = _piece(task, plan, table, pieces, 2, rates)
        for i in range(len(w)):
            w[i] -= w[i] * (rate * decay)
            v[i] = _normal(momentum * v[i] - rate * g[i], tiny)
            w[i] += momentum * v[i] - rate * g[i] if plan.nesterov else v[i]


@task_kernel
def _adam(task: Task, plan: Plan, rates: Numbers, settings: Numbers, table: Indices, pieces: Indices):
    w, g = _piece(task, plan, table, pieces, 0, rates), _piece(task, plan, table, pieces, 1, rates)
    m, v = _piece(task, plan, table, pieces, 2, rates), _piece(task, plan, table, pieces, 3, rates)
    rate, tiny, decay, share_1, share_2 = rates[pieces[3 * task]], settings[0], settings[1], settings[2], settings[3]
    epsilon = settings[4]
    for i in range(len(w)):
        mean = _normal(m[i] + share_1 * (g[i] - m[i]), tiny)
        square = _normal(v[i] + share_2 * (g[i] * g[i] - v[i]), tiny)
        w[i] -= w[i] * decay + rate * mean / (np.sqrt(square) + epsilon)
        m[i], v[i] = mean, square


@task_kernel
def _rmsprop(task: Task, plan: Plan, rates: Numbers, settings: Numbers, table: Indices, pieces: Indices):
    w, g = _piece(task, plan, table, pieces, 0, rates), _piece(task, plan, table, pieces, 1, rates)
    v = _piece(task, plan, table, pieces, 2, rates)
    rate, tiny, decay, share, momentum = rates[pieces[3 * task]], settings[0], settings[1], settings[2], settings[3]
    epsilon = settings[4]
    for i in range(len(w)):
        w[i] -= w[i] * (rate * decay)
        v[i] = _normal(v[i] + share * (g[i] * g[i] - v[i]), tiny)
        step = rate * g[i] / np.sqrt(v[i] + epsilon)
        if plan.addresses == 4:
            u = _piece(task, plan, table, pieces, 3, rates)
            u[i] = _normal(momentum * u[i] + step, tiny)
            step = u[i]
        w[i] -= step
