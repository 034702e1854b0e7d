"""What is compiled, and when: functions that only kernels call, and the entries of task kernels."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from llvmlite.binding import get_host_cpu_features

from minitl.kernels import launch
from minitl.kernels import relu as relu_kernel
from minitl.kernels.elementwise import Elements
from minitl.kernels.jit import inner
from minitl.kernels.launch import INTERPRETED

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")

ROOT = Path(__file__).parent.parent


def compiled(function):
    """As `jit` does, but never out of the cache: what is compiled on the way is looked at here."""
    return numba.njit(function, error_model="numpy", nogil=True)


@inner()
def times(number, by):
    return number * by


@inner(contract=True)
def fused(a, b, c):
    return a * b + c


@inner()
def rounded_twice(a, b, c):
    return a * b + c


@compiled
def sixfold(number):
    return times(times(number, 2), 3)


@compiled
def once(a, b, c):
    return fused(a, b, c)


@compiled
def twice(a, b, c):
    return rounded_twice(a, b, c)


def test_what_kernels_call_is_compiled_once_for_all_numbers_that_are_written_out():
    assert sixfold(7) == 42
    assert len(times.overloads) == 1
    assert sixfold(0.5) == 3.0
    assert len(times.overloads) == 2


def test_it_has_no_machine_code_of_its_own():
    assert sixfold(7) == 42
    result = next(iter(times.overloads.values()))
    assert "mul" in result.library.get_llvm_str()
    assert result.library.get_pointer_to_function(result.fndesc.llvm_func_name) == 0
    caller = next(iter(sixfold.overloads.values()))
    assert caller.library.get_pointer_to_function(caller.fndesc.llvm_func_name) != 0


def test_in_python_it_is_what_it_was():
    before = len(times.overloads)
    assert times("ab", 2) == "abab"  # which nobody could compile
    assert len(times.overloads) == before


def test_a_product_and_a_sum_are_rounded_once_where_that_is_asked_for():
    a = 1 + 2.0**-30
    assert twice(a, a, -(a * a)) == 0
    if get_host_cpu_features().get("fma") or platform.machine() in ("aarch64", "arm64"):
        assert once(a, a, -(a * a)) == 2.0**-60  # what is left of a * a beyond its 53 bits


PROGRAM = """
import numpy as np
from minitl.kernels import launch, relu
written, write = [], launch.TaskKernel._entry
launch.TaskKernel._entry = lambda kernel: written.append(kernel.function.__name__) or write(kernel)
y, _ = relu.forward(np.array([-1.0, 2.0]))
print(y, written)
"""


def test_a_kernel_is_rewritten_as_its_entry_only_to_be_compiled(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM]
    printed = [subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True).stdout for _ in range(2)]
    assert printed == ["[0. 2.] ['_forward']\n", "[0. 2.] []\n"]


def test_a_launch_with_too_few_arrays_is_said():
    x = np.ones(4)
    with pytest.raises(TypeError, match=r"task kernel _forward: takes \d arrays, got 1"):
        launch.launch(relu_kernel._forward, 1, Elements(4, 4), x)
