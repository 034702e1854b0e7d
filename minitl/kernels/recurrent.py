"""What recurrent layers share: a few samples per task, which walks all steps alone; the matrix stays in the processor's cache.

Each sample's numbers are its own, so that the cut into tasks changes no bit. The gradient of the recurrent matrix is one product
over all steps, made behind.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels import dense, memory
from minitl.kernels.jit import jit
from minitl.kernels.launch import NOTHING, Packed, packed
from minitl.kernels.padding import pad_columns
from minitl.kernels.places import steps as places
from minitl.kernels.processor import THREADS
from minitl.kernels.simd import constant, exp, product

SAMPLES_PER_TASK = 48  # at most; each number of the matrix that is loaded serves them all


class Plan(NamedTuple):
    """A batch of sequences, and how many samples one task takes."""

    samples: int
    steps: int
    units: int
    per_task: int
    masked: int
    width: int  # of the recurrent matrix, in whole vectors
    width_back: int  # of its transpose
    rectified: int  # whether steps of a simple network give max(0, .), and not tanh


def plan_of(
    n: int, steps: int, units: int, gates: int, masked: bool, matrix: np.ndarray, back: bool, rectified: bool = False
) -> tuple[int, Packed]:
    """The number of tasks, and the plan with where the samples of a task begin: in what has all gates, and in y, or, for the
    way back, in dh.
    """
    per_task = max(1, min(SAMPLES_PER_TASK, -(-n // THREADS)))
    width, width_back = (0, matrix.shape[1]) if back else (matrix.shape[1], 0)
    plan = Plan(n, steps, units, per_task, masked, width, width_back, rectified)
    in_y = places(per_task, units if back else steps * units)
    return -(-n // per_task), packed(plan, places(per_task, steps * gates * units), in_y)


def matrix_of(recurrent: np.ndarray, dtype: np.dtype, transposed: bool = False) -> np.ndarray:
    """The matrix, or its transpose, in rows of whole vectors."""
    return pad_columns(np.ascontiguousarray(recurrent.T if transposed else recurrent, dtype))


def bytes_of(mask: np.ndarray | None) -> np.ndarray:
    """A mask as bytes."""
    return NOTHING if mask is None else np.ascontiguousarray(mask, np.uint8)


def recurrent_gradient(y: np.ndarray, da: np.ndarray, recurrent: np.ndarray) -> np.ndarray:
    """dR = sum over samples and steps of h[t-1]^T da[t]; y (N, T, U), da (N, T, G U)."""
    before = memory.zeros(y.shape, y.dtype)
    before[:, 1:] = y[:, :-1]
    dkernel = dense.backward(da, (before, recurrent, None), need_dx=False)[1]
    assert dkernel is not None
    return dkernel


@jit()
def sigmoid_of(numbers, x):
    """1 / (1 + exp(-x)) in the numbers' type."""
    one = constant(numbers, 1)
    return one / (one + exp(-x))


@jit()
def last_gradient(plan, first, rows, dy, dh):
    """dh behind the last step: dy of that step."""
    units, steps = plan.units, plan.steps
    for row in range(rows):
        for k in range(units):
            dh[row * units + k] = dy[((first + row) * steps + steps - 1) * units + k]


@jit()
def pass_on(plan, first, rows, t, dy, matrix, da, dh, in_da, in_dh, gates):
    """dh of the step before: what is left in dh, plus dy of that step, plus da[t] R^T."""
    units, steps = plan.units, plan.steps
    for row in range(rows):
        for k in range(units):
            dh[row * units + k] += dy[((first + row) * steps + t - 1) * units + k]
    product(
        da, (first * steps + t) * gates * units, in_da, 0, matrix, 0,
        ((1, 0, 0), (1, 0, 0), (gates * units, 1, plan.width_back)), dh, 0, units, dh, 0, in_dh, 0, rows, units, -np.inf,
    )  # fmt: skip
