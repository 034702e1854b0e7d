"""How kernels are compiled, and where the compiled code is kept between runs.

Numba notices when a file changes, but not when a function that it imports does. So the cache's folder is named by a
hash of everything in `kernels/`, of Numba's version and of the processor: another source, another folder.
Every `prange` iteration in this package owns what it writes, and sums run in an order that the shapes alone decide:
the number of threads never changes a result.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np

HERE = Path(__file__).parent
config: Any = numba.config  # its settings exist at run time only


def jit(parallel: bool = False, contract: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a kernel: compiled at its first call, without bounds checks, cached on disk.

    `contract` lets a product and a sum become one fused operation, which rounds once instead of twice.
    Shapes must have been validated before a kernel is entered.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        with _our_cache():
            loose: Any = {"contract"} if contract else False
            return numba.njit(function, parallel=parallel, cache=True, error_model="numpy", nogil=True, fastmath=loose)

    return decorate


def compile_c(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for C callers, now: its `.address` can be called from any other compiled code."""

    def decorate(function: Callable[..., Any]) -> Any:
        with _our_cache():
            return numba.cfunc(signature, cache=True, error_model="numpy")(function)

    return decorate


@functools.cache
def cache_folder() -> Path:
    """Where the compiled kernels are: under NUMBA_CACHE_DIR, or the user's cache folder, or for this process only."""
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for root in (os.environ.get("NUMBA_CACHE_DIR"), os.path.join(user, "minitl")):
        if root:
            folder = Path(root) / f"kernels-{SOURCES_HASH}"
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                if os.access(folder, os.W_OK):
                    return folder
    # Nobody else's: what lies in the cache is run.
    return Path(tempfile.mkdtemp(prefix="minitl-kernels-"))


def common_dtype(*arrays: np.ndarray) -> np.dtype:
    """The dtype that a kernel computes in: float32 when all are, else float64; TypeError for anything else."""
    dtype = np.result_type(*arrays)
    if dtype.char not in "fd":
        raise TypeError(f"kernels compute in float32 and float64, got {dtype}; convert, or use set_backend('numpy')")
    return dtype


def flat(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array's elements in row order along one axis, in `dtype`; no copy where it is like that already."""
    return np.ascontiguousarray(array, dtype).reshape(-1)


@contextlib.contextmanager
def _our_cache() -> Iterator[None]:
    """Numba reads its setting when a function is decorated; other users of Numba keep theirs."""
    users_folder = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder())
    try:
        yield
    finally:
        config.CACHE_DIR = users_folder


def _hash_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(HERE.rglob("*.py")):
        digest.update(path.read_bytes())
    cpu = config.CPU_NAME or llvmlite.binding.get_host_cpu_name()
    digest.update(repr((numba.__version__, cpu, config.CPU_FEATURES)).encode())
    return digest.hexdigest()[:16]


SOURCES_HASH = _hash_sources()
