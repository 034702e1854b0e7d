"""A linear-chain conditional random field, one sequence per task; the mathematics is in `minitl.ops.crf`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype
from minitl.kernels.jit import inner
from minitl.kernels.launch import Indices, Numbers, Scratch, Task, launch, packed, task_kernel
from minitl.kernels.memory import whole_lines
from minitl.kernels.simd import constant, exp
from minitl.ops import crf as book

decode = book.decode


def forward(potentials: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, tuple]:
    """The mean loss, and what backward needs."""
    labels, lengths, weights = book.check(potentials, labels, weights)
    dtype, (n, steps, classes) = common_dtype(potentials), potentials.shape[:3]
    alpha, losses = memory.empty((n, steps, classes), dtype), np.empty(n, dtype)
    plan = packed(Plan(steps, classes), labels.reshape(-1), lengths)
    scratch = whole_lines(2 * classes)
    launch(_forward, n, plan, np.ascontiguousarray(potentials, dtype), alpha, losses, scratch=scratch)
    alpha[np.arange(steps) >= lengths[:, None]] = 0
    return (weights * losses).mean(), (potentials, labels, weights, alpha)


def backward(dloss: float, cache: tuple) -> np.ndarray:
    """The gradient of the potentials."""
    potentials, labels, weights, alpha = cache
    dtype, (n, steps, classes) = common_dtype(potentials), potentials.shape[:3]
    d, lengths = memory.empty(potentials.shape, dtype), (labels >= 0).sum(axis=1)
    shares = np.asarray(dloss * weights / n, dtype)
    plan, given = packed(Plan(steps, classes), labels.reshape(-1), lengths), np.ascontiguousarray(potentials, dtype)
    launch(_backward, n, plan, given, np.asarray(alpha, dtype), shares, d, scratch=whole_lines(3 * classes))
    return d


class Plan(NamedTuple):
    """The longest sequence, and the number of classes."""

    steps: int
    classes: int


@inner()
def _largest(numbers, at, count):
    # Four at a time, here and in `_sum`: one alone would wait for the one before it.
    a = b = c = d = numbers[at]
    whole = count - count % 4
    for k in range(at, at + whole, 4):
        a, b, c, d = max(a, numbers[k]), max(b, numbers[k + 1]), max(c, numbers[k + 2]), max(d, numbers[k + 3])
    for k in range(at + whole, at + count):
        a = max(a, numbers[k])
    return max(max(a, b), max(c, d))


@inner()
def _sum(numbers, at, count):
    a = b = c = d = constant(numbers, 0)
    whole = count - count % 4
    for k in range(at, at + whole, 4):
        a, b, c, d = a + numbers[k], b + numbers[k + 1], c + numbers[k + 2], d + numbers[k + 3]
    for k in range(at + whole, at + count):
        a += numbers[k]
    return (a + b) + (c + d)


@inner()
def _log_sum_exp(numbers, at, count):
    shift = _largest(numbers, at, count)
    total = constant(numbers, 0)
    for k in range(count):
        total += exp(numbers[at + k] - shift)
    return shift + constant(numbers, math.log(total))


@task_kernel
def _forward(
    task: Task,
    plan: Plan,
    potentials: Numbers,
    alpha: Numbers,
    losses: Numbers,
    labels: Indices,
    lengths: Indices,
    scratch: Scratch,
):
    classes, steps, length = plan.classes, plan.steps, lengths[task]
    first, square = task * steps * classes, classes * classes
    at = task * steps * square
    score = potentials[at + labels[task * steps]]
    for j in range(classes):
        alpha[first + j] = potentials[at + j]
    for t in range(1, length):
        before, here, at = first + (t - 1) * classes, first + t * classes, (task * steps + t) * square
        score += potentials[at + labels[task * steps + t - 1] * classes + labels[task * steps + t]]
        for j in range(classes):  # the largest of each column, and the sum of the exponentials below it
            scratch[j], scratch[classes + j] = alpha[before] + potentials[at + j], constant(alpha, 0)
        for i in range(1, classes):
            for j in range(classes):
                scratch[j] = max(scratch[j], alpha[before + i] + potentials[at + i * classes + j])
        for i in range(classes):
            for j in range(classes):
                scratch[classes + j] += exp(alpha[before + i] + potentials[at + i * classes + j] - scratch[j])
        for j in range(classes):
            alpha[here + j] = scratch[j] + constant(alpha, math.log(scratch[classes + j]))
    losses[task] = _log_sum_exp(alpha, first + (length - 1) * classes, classes) - score


@task_kernel
def _backward(
    task: Task, plan: Plan, potentials: Numbers, alpha: Numbers, shares: Numbers, d: Numbers,
    labels: Indices, lengths: Indices, scratch: Scratch,
):  # fmt: skip
    classes, steps, length, zero = plan.classes, plan.steps, lengths[task], constant(alpha, 0)
    first, square, share = task * steps * classes, classes * classes, shares[task]
    for k in range(steps * square):
        d[task * steps * square + k] = zero
    log_z = _log_sum_exp(alpha, first + (length - 1) * classes, classes)
    row, next_beta = classes, 2 * classes  # behind beta
    for j in range(classes):
        scratch[j] = zero
    for t in range(length - 1, 0, -1):
        before, at = first + (t - 1) * classes, (task * steps + t) * square
        for i in range(classes):
            for j in range(classes):
                scratch[row + j] = potentials[at + i * classes + j] + scratch[j]
            shift = _largest(scratch, row, classes)
            for j in range(classes):
                scratch[row + j] = exp(scratch[row + j] - shift)
            scratch[next_beta + i] = shift + constant(alpha, math.log(_sum(scratch, row, classes)))
            # The largest probability of the row; the others' exponentials are there.
            largest = share * exp(alpha[before + i] + shift - log_z)
            for j in range(classes):
                d[at + i * classes + j] = largest * scratch[row + j]
        d[at + labels[task * steps + t - 1] * classes + labels[task * steps + t]] -= share
        for j in range(classes):
            scratch[j] = scratch[next_beta + j]
    at = task * steps * square
    for j in range(classes):
        d[at + j] = share * exp(potentials[at + j] + scratch[j] - log_z)
    d[at + labels[task * steps]] -= share
