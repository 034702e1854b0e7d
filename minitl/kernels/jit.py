"""How kernels are compiled, and where the compiled code is kept between runs.

Numba notices when a file changes, but not when a function that it imports does. So the cache's folder is named by a
hash of everything in `kernels/` and `ops/`, of Numba's version and of the processor: another source, another folder.
A damaged file in it is compiled anew; where nothing can be written, everything is compiled for this process only.
Every `prange` iteration in this package owns what it writes, and sums run in an order that the shapes alone decide:
the number of threads never changes a result.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
from numba.core import sigutils
from numba.core.caching import FunctionCache, NullCache
from numba.core.ccallback import CFunc

HERE = Path(__file__).parent
config: Any = numba.config  # its settings exist at run time only


def jit(parallel: bool = False, contract: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a kernel: compiled at its first call, without bounds checks, cached on disk.

    `contract` lets a product and a sum become one fused operation, which rounds once instead of twice.
    Shapes must have been validated before a kernel is entered.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        loose: Any = {"contract"} if contract else False
        compiled = numba.njit(function, parallel=parallel, error_model="numpy", nogil=True, fastmath=loose)
        if not config.DISABLE_JIT:
            compiled._cache = _cache_for(function)  # type: ignore[attr-defined]
        return compiled

    return decorate


def inlined(function: Callable[..., Any]) -> Any:
    """A function that becomes part of its caller before anything is compiled, and so is compiled once."""
    return numba.njit(function, inline="always", error_model="numpy")


def compile_c(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for C callers, now: its `.address` can be called from any other compiled code."""

    def decorate(function: Callable[..., Any]) -> Any:
        compiled: Any = CFunc(function, sigutils.normalize_signature(signature), locals={}, options={"error_model": "numpy"})
        compiled._cache = _cache_for(function)
        compiled.compile()
        return compiled

    return decorate


@functools.cache
def cache_folder() -> Path | None:
    """Where the compiled kernels are: under NUMBA_CACHE_DIR, or the user's cache folder, or nowhere."""
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for root in (os.environ.get("NUMBA_CACHE_DIR"), os.path.join(user, "minitl")):
        if root:
            folder = Path(root) / f"kernels-{SOURCES_HASH}"
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                if os.access(folder, os.W_OK):
                    return folder
    return None


class _Cache(FunctionCache):
    """Numba's cache, which a damaged file or a full disk does not stop."""

    def load_overload(self, signature: Any, context: Any) -> Any:
        """The compiled code from disk, or None."""
        try:
            return super().load_overload(signature, context)
        except Exception:  # whatever unpickling and linking garbage raises
            with contextlib.suppress(Exception):
                self.flush()
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        """Keep compiled code on disk, if that works."""
        try:
            super().save_overload(signature, data)
        except Exception as error:
            if not isinstance(error, OSError):
                with contextlib.suppress(Exception):  # a damaged index: begin a new one
                    self.flush()
                    super().save_overload(signature, data)
                    return
            _warn_once(f"compiled kernels cannot be kept in {cache_folder()} ({error}); they are compiled again in every run")


def _cache_for(function: Callable[..., Any]) -> Any:
    """A function's cache in our folder. Numba reads its setting at this moment; other users of Numba keep theirs."""
    folder, users_folder = cache_folder(), config.CACHE_DIR
    if folder is None:
        return NullCache()
    config.CACHE_DIR = str(folder)
    try:
        return _Cache(function)
    except (OSError, RuntimeError):  # a folder that cannot be made
        return NullCache()
    finally:
        config.CACHE_DIR = users_folder


@functools.cache
def _warn_once(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=2)


def _hash_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted([*HERE.rglob("*.py"), *(HERE.parent / "ops").glob("*.py")]):
        digest.update(path.read_bytes())
    cpu = config.CPU_NAME or llvmlite.binding.get_host_cpu_name()
    digest.update(repr((numba.__version__, cpu, config.CPU_FEATURES)).encode())
    return digest.hexdigest()[:16]


SOURCES_HASH = _hash_sources()
