"""The ladder from seven loops to the engine: one convolution, six ways, each as a share of the peak, measured here and now."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple
from unittest import mock

import numpy as np

from minitl.kernels import convolution, fused, processor, winograd
from minitl.kernels.jit import jit
from minitl.kernels.launch import Indices, Numbers, Task, launch, packed, task_kernel
from minitl.kernels.places import steps
from minitl.kernels.simd import product
from minitl.ops import conv2d, max_pool2d, relu

SHAPE, KERNEL = (16, 32, 32, 32), (3, 3, 32, 64)
MULTIPLICATIONS = {2: 16, 4: 9}  # per four outputs, by the edge of Winograd's tiles


def climb(rounds: int = 5) -> list[tuple[str, float, str]]:
    """Name, GFLOP/s (operations counted as the definition has them) and what was gained, rung by rung; the peak last."""
    generator = np.random.default_rng(0)
    x, kernel = generator.standard_normal(SHAPE, dtype=np.float32), generator.standard_normal(KERNEL, dtype=np.float32)
    bias = np.zeros(KERNEL[3], np.float32)
    pixels = (SHAPE[1] - 2) * (SHAPE[2] - 2)
    operations = 2 * SHAPE[0] * pixels * np.prod(KERNEL)

    edge = winograd.tile_edge(KERNEL, (SHAPE[1] - 2, SHAPE[2] - 2))

    def whole(forward: Callable[[], np.ndarray]) -> np.ndarray:
        return max_pool2d.forward(relu.forward(forward())[0], (2, 2), (2, 2))[0]

    def by_definition(call: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            with mock.patch.object(winograd, "suits", return_value=False):
                return call()

        return run

    def fuse() -> np.ndarray:
        return fused.forward(x, kernel, bias, (1, 1), "valid", True, False)[0]

    rungs: list[tuple[str, Callable[[], object], str]] = [
        ("seven loops", lambda: seven_loops(x[:1], kernel), "compiled, one number after another, one image"),
        ("offsets", lambda: conv2d.forward(x, kernel), "nine products of matrices by NumPy's BLAS (the book)"),
        ("blocking", lambda: blocked(x, kernel), "the same, an image at a time, so that y stays in the cache"),
        (
            "register tile",
            by_definition(lambda: convolution.convolve(x, kernel, bias, (1, 1), "valid", relu=False)),
            "24 sums in registers, all threads",
        ),
        ("tile, then ReLU, pool", by_definition(lambda: whole(lambda: _tile(x, kernel, bias))), "two more passes over memory"),
        ("fusion", by_definition(fuse), "ReLU and 2x2 pooling while sums are in registers"),
        ("Winograd, fused", fuse, f"{MULTIPLICATIONS[edge]} multiplications for 36"),
    ]
    found = []
    for name, call, gained in rungs:
        share = 1 / SHAPE[0] if name == "seven loops" else 1
        found.append((name, operations * share / _fastest(call, rounds) / 1e9, gained))
    found.append(("peak", peak(rounds), "multiply-adds on numbers that never leave the registers"))
    return found


@jit()
def seven_loops(x, kernel):
    """The definition."""
    images, height, width, channels = x.shape
    y = np.zeros((images, height - kernel.shape[0] + 1, width - kernel.shape[1] + 1, kernel.shape[3]), x.dtype)
    for n in range(images):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for f in range(y.shape[3]):
                    for a in range(kernel.shape[0]):
                        for b in range(kernel.shape[1]):
                            for c in range(channels):
                                y[n, i, j, f] += x[n, i + a, j + b, c] * kernel[a, b, c, f]
    return y


def blocked(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Offsets, for one image at a time."""
    return np.concatenate([conv2d.forward(x[n : n + 1], kernel)[0] for n in range(len(x))])


class Repetitions(NamedTuple):
    """One small product of matrices, again and again."""

    rows: int
    columns: int
    depth: int
    repeat: int


@task_kernel
def _products(task: Task, plan: Repetitions, a: Numbers, b: Numbers, c: Numbers, in_a: Indices, in_c: Indices):
    for _ in range(plan.repeat):
        counters = ((1, 0, 0), (1, 0, 0), (plan.depth, 0, 0))
        at = task * plan.rows * plan.columns
        product(a, 0, in_a, 0, b, 0, counters, c, at, 0, c, at, in_c, 0, plan.rows, plan.columns, -np.inf)


def peak(rounds: int = 5) -> float:
    """GFLOP/s of all threads, multiplying and adding the same rows again and again."""
    lanes = processor.VECTOR_BYTES // 4
    tasks, plan = 8 * processor.THREADS, Repetitions(processor.ROWS, processor.VECTORS * lanes, 4096, 10)
    a, b = np.ones(plan.rows, np.float32), np.ones(plan.columns, np.float32)
    c = np.zeros(tasks * plan.rows * plan.columns, np.float32)
    ready = packed(plan, steps(plan.rows, 1), steps(plan.rows, plan.columns))
    seconds = _fastest(lambda: launch(_products, tasks, ready, a, b, c), rounds)
    return 2 * math.prod(plan) * tasks / seconds / 1e9


def _tile(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return convolution.convolve(x, kernel, bias, (1, 1), "valid", relu=False)


def _fastest(call: Callable[[], object], rounds: int) -> float:
    call()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)
