"""Dropout: NumPy's generator draws the mask, as in the book, so that both drop the same elements."""

from __future__ import annotations

import numpy as np

from minitl.kernels import memory
from minitl.kernels.arrays import common_dtype, flat
from minitl.kernels.elementwise import Elements, launch_elements
from minitl.kernels.launch import Numbers, Task, task_kernel
from minitl.kernels.recording import also
from minitl.ops.dropout import draw
from minitl.ops.window import check_shape


def forward(x: np.ndarray, rate: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """y = x m with a fresh mask m."""
    mask = memory.empty(x.shape, x.dtype)
    also(_draw, mask, rate, generator)
    return _multiply(x, mask), mask


def backward(dy: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """dx = dy m."""
    check_shape("dropout", "dy", dy.shape, cache.shape)
    return _multiply(dy, cache)


def _draw(mask: np.ndarray, rate: float, generator: np.random.Generator) -> None:
    mask[...] = draw(mask, rate, generator)


def _multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    product = memory.empty(a.shape, common_dtype(a, b))
    launch_elements(_multiply_elements, flat(a, product.dtype), flat(b, product.dtype), product)
    return product


@task_kernel
def _multiply_elements(task: Task, plan: Elements, a: Numbers, b: Numbers, product: Numbers):
    for i in range(task * plan.per_task, min((task + 1) * plan.per_task, plan.elements)):
        product[i] = a[i] * b[i]
