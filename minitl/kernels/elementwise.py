"""How kernels that go through numbers one by one are cut: into tasks of so many neighbours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minitl.kernels.launch import TaskKernel, launch
from minitl.kernels.processor import ELEMENTS_PER_TASK


class Elements(NamedTuple):
    """A number of elements, and how many of them one task takes."""

    elements: int
    per_task: int


def launch_elements(kernel: TaskKernel, *arrays: np.ndarray) -> None:
    """Run a kernel over flat arrays of one length."""
    count = arrays[0].size
    launch(kernel, -(-count // ELEMENTS_PER_TASK), Elements(count, ELEMENTS_PER_TASK), *arrays)
