"""What recurrent layers share: a few samples per task, which walks all steps alone; the matrix stays in the processor's cache.

Each sample's numbers are its own, so that the cut into tasks changes no bit. The gradient of the recurrent matrix is one product
over all steps, made behind.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minitl.kernels import dense, memory
from minitl.kernels.arrays import zeros
from minitl.kernels.jit import inner
from minitl.kernels.launch import NOTHING, Packed, packed
from minitl.kernels.padding import pad_columns
from minitl.kernels.places import steps as places
from minitl.kernels.processor import LEVEL_1, THREADS
from minitl.kernels.simd import constant, exp, product, tile_columns

SAMPLES_PER_TASK = 48  # at most; each number of the matrix that is loaded serves them all


class Plan(NamedTuple):
    """A batch of sequences, and how many samples one task takes."""

    samples: int
    steps: int
    units: int
    per_task: int
    masked: int
    panel: int  # columns of the recurrent matrix, or of its transpose, that lie together
    depth_at_once: int  # rows of a panel that stay in the level-1 cache while all samples meet them
    rectified: int  # whether steps of a simple network give max(0, .), and not tanh
    begins: int  # the first step that is computed: 1 behind a given state, which lies in the place of step 0


def plan_of(
    x: np.ndarray,
    units: int,
    gates: int,
    matrix: np.ndarray,
    mask: np.ndarray | None,
    start: np.ndarray | None,
    back: bool,
    rectified: bool = False,
) -> tuple[int, Packed]:
    """The number of tasks, and the plan with where the samples of a task begin: in what has all gates, and in y, or, for the
    way back, in dh; x (N, T, ...) has the samples and steps, that of a given state included.
    """
    n, steps = x.shape[:2]
    per_task, panel = max(1, min(SAMPLES_PER_TASK, -(-n // THREADS))), matrix.shape[2]
    at_once = max(1, LEVEL_1 // (panel * matrix.itemsize))
    plan = Plan(n, steps, units, per_task, mask is not None, panel, at_once, rectified, start is not None)
    in_y = places(per_task, units if back else steps * units)
    return -(-n // per_task), packed(plan, places(per_task, steps * gates * units), in_y)


def matrix_of(recurrent: np.ndarray, dtype: np.dtype, transposed: bool = False) -> np.ndarray:
    """The matrix, or its transpose, a panel of a tile's columns after another: (panels, rows, columns of a panel)."""
    whole = pad_columns(np.ascontiguousarray(recurrent.T if transposed else recurrent, dtype))
    (rows, columns), most = whole.shape, tile_columns(dtype)
    panel = next(width for width in (most, most // 2, most // 4) if columns % width == 0)
    panels = memory.empty((columns // panel, rows, panel), dtype)
    panels[...] = whole.reshape(rows, -1, panel).swapaxes(0, 1)
    return panels


def bytes_of(mask: np.ndarray | None) -> np.ndarray:
    """A mask as bytes."""
    return NOTHING if mask is None else np.ascontiguousarray(mask, np.uint8)


def recurrent_gradient(y: np.ndarray, da: np.ndarray, recurrent: np.ndarray) -> np.ndarray:
    """dR = sum over samples and steps of h[t-1]^T da[t]; y (N, T, U), da (N, T, G U)."""
    before = zeros(y.shape, y.dtype)
    before[:, 1:] = y[:, :-1]
    dkernel = dense.backward(da, (before, recurrent, None), need_dx=False)[1]
    assert dkernel is not None
    return dkernel


def after(start: np.ndarray | None, a: Any, part: int | None = None) -> Any:
    """An array (N, T, ...), or None, with one more step in front where a state is given: of zeros, true in a mask, or what is
    given, the whole or a part of it.
    """
    if start is None or a is None:
        return a
    first = np.full_like(a[:, :1], a.dtype == bool)
    if part is not None:
        first[:, 0] = start[:, part * a.shape[2] : (part + 1) * a.shape[2]]
    return np.concatenate([first, a], axis=1)


def computed(start: np.ndarray | None, a: np.ndarray) -> np.ndarray:
    """The steps behind the given state."""
    return a if start is None else np.ascontiguousarray(a[:, 1:])


def given_gradient(start: np.ndarray | None, da: np.ndarray) -> np.ndarray | None:
    """The gradient of the given state, taken out of da of step 0, which becomes zeros."""
    if start is None:
        return None
    found = da[:, 0, : start.shape[1]].copy()
    da[:, 0] = 0
    return found


@inner()
def times_matrix(plan, depth, columns, a, in_a, rows_of_a, rows, matrix, start, in_start, start_step, c, in_c, rows_of_c, c_step):
    """c = start + a R for some rows of a, a panel of R at a time: its rows lie so far apart that they would drive each other out
    of the level-1 cache.
    """
    for left in range(0, columns, plan.panel):
        for k in range(0, depth, plan.depth_at_once):
            terms = min(plan.depth_at_once, depth - k)
            product(
                a, in_a + k, rows_of_a, 0, matrix, left * depth + k * plan.panel, ((1, 0, 0), (1, 0, 0), (terms, 1, plan.panel)),
                start if k == 0 else c, (in_start if k == 0 else in_c) + left, start_step if k == 0 else c_step,
                c, in_c + left, rows_of_c, 0, rows, min(plan.panel, columns - left), -np.inf,
            )  # fmt: skip


@inner()
def sigmoid_of(numbers, x):
    """1 / (1 + exp(-x)) in the numbers' type."""
    one = constant(numbers, 1)
    return one / (one + exp(-x))


@inner()
def first_gradient(plan, first, rows, gates, dh, da):
    """What is left of dh is the gradient of the given state; it goes where da of step 0 would be."""
    if plan.begins:
        for row in range(rows):
            for k in range(plan.units):
                da[(first + row) * plan.steps * gates * plan.units + k] = dh[row * plan.units + k]


@inner()
def last_gradient(plan, first, rows, dy, dh):
    """dh behind the last step: dy of that step."""
    units, steps = plan.units, plan.steps
    for row in range(rows):
        for k in range(units):
            dh[row * units + k] = dy[((first + row) * steps + steps - 1) * units + k]


@inner()
def pass_on(plan, first, rows, t, dy, matrix, da, dh, in_da, in_dh, gates):
    """dh of the step before: what is left in dh, plus dy of that step, plus da[t] R^T."""
    units, steps = plan.units, plan.steps
    for row in range(rows):
        for k in range(units):
            dh[row * units + k] += dy[((first + row) * steps + t - 1) * units + k]
    at = (first * steps + t) * gates * units
    times_matrix(plan, gates * units, units, da, at, in_da, rows, matrix, dh, 0, units, dh, 0, in_dh, units)
