"""How kernels are compiled, and where the compiled code is kept between runs.

Numba notices when a file changes, but not when a function that it imports does. So the cache's folder is named by a
hash of everything in `kernels/` and `ops/`, of Numba's version and of the processor: another source, another folder.
A damaged file in it is compiled anew; where nothing can be written, everything is compiled for this process only.
Every task owns what it writes, and sums run in an order that the shapes alone decide: the number of threads never changes
a result.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
from numba.core import sigutils, types
from numba.core.caching import FunctionCache, NullCache
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.registry import CPUDispatcher

HERE = Path(__file__).parent
config: Any = numba.config  # its settings exist at run time only


def jit() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a kernel that Python calls: compiled at its first call, without bounds checks, cached on disk.

    Shapes must have been validated before a kernel is entered.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        compiled = numba.njit(function, error_model="numpy", nogil=True)
        if not config.DISABLE_JIT:
            compiled._cache = _cache_for(function)  # type: ignore[attr-defined]
        return compiled

    return decorate


def inner(contract: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function that other kernels call: compiled with them, and what it was when Python calls it.

    `contract` lets a product and a sum become one fused operation, which rounds once instead of twice.
    """
    options: dict[str, Any] = {"nopython": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    options["fastmath"] = {"contract"} if contract else False
    return lambda function: function if config.DISABLE_JIT else _Inner(function, {}, options, _InnerCompiler)


class _Inner(CPUDispatcher):
    """A function without the entrances for Python and C that Numba would compile with it."""

    def __call__(self, *arguments: Any) -> Any:
        return self.py_func(*arguments)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Compile once for all whole numbers, not again for each that a caller writes out."""
        return super().get_call_template(tuple(types.unliteral(kind) for kind in args), kws)


class _InnerCompiler(Compiler):
    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *others: Any):
        super().__init__(typingctx, targetctx, _InnerLibrary(targetctx.codegen(), "inner"), *others)


class _InnerLibrary(JITCodeLibrary):
    """LLVM's form of a function, which goes into those that call it; machine code of its own nobody would run."""

    @property
    def codegen(self) -> Any:
        """Who is told of the environment of code that may raise: nobody, as no kernel does."""
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing to set."""

    def _finalize_final_module(self) -> None:
        self._finalized = True


def inlined(function: Callable[..., Any]) -> Any:
    """A function that becomes part of its caller before anything is compiled: for a piece of one kernel."""
    return numba.njit(function, inline="always", error_model="numpy")


def compile_c(signature: Any, function: Callable[..., Any], rewritten: Callable[[], Any] | None = None) -> Any:
    """Compile a function for C callers, now: its `.address` can be called from any other compiled code.

    `rewritten` makes what is compiled in the function's place, if that is not in the cache.
    """
    compiled: Any = CFunc(function, sigutils.normalize_signature(signature), locals={}, options={"error_model": "numpy"})
    compiled._cache = _cache_for(function)
    if rewritten is not None:
        compiled._compiler._get_implementation = lambda args, kws: rewritten()
    compiled.compile()
    return compiled


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
        found = None
        try:
            found = super().load_overload(signature, context)
        except Exception:  # whatever unpickling and linking garbage raises
            with contextlib.suppress(Exception):
                self.flush()
        if found is None:
            _notice.begin()
        return found

    def save_overload(self, signature: Any, data: Any) -> None:
        """Keep compiled code on disk, if that works."""
        _notice.end()
        try:
            super().save_overload(signature, data)
        except Exception as error:
            if not isinstance(error, OSError):
                with contextlib.suppress(Exception):  # a damaged index: begin a new one
                    self.flush()
                    super().save_overload(signature, data)
                    return
            _warn_once(f"compiled kernels cannot be kept in {cache_folder()} ({error}); they are compiled again in every run")


class _NoCache(NullCache):
    """Where nothing can be kept."""

    def load_overload(self, signature: Any, context: Any) -> None:
        """Nothing is there."""
        _notice.begin()

    def save_overload(self, signature: Any, data: Any) -> None:
        """Nothing is kept."""
        _notice.end()


class _Notice:
    """What is printed while kernels are compiled: a line for every second that it takes.

    The environment variable MINITL_QUIET=1 silences it.
    """

    def __init__(self) -> None:
        self.kernels, self.seconds, self.begun = 0, 0.0, 0.0
        self.said_at = 0.0  # the seconds at the last line

    def begin(self) -> None:
        """A kernel is going to be compiled."""
        self.begun = time.perf_counter()

    def end(self) -> None:
        """It has been."""
        self.kernels += 1
        self.seconds += time.perf_counter() - self.begun
        if self.seconds - self.said_at < 1 or os.environ.get("MINITL_QUIET") == "1":
            return
        text = f"compiling kernels: {self.kernels} so far"
        if not self.said_at:
            folder = cache_folder()
            kept = f"once; they are kept in {folder}" if folder else "for this run: no folder to keep them in can be written"
            text = f"compiling kernels, {kept}"
        self.said_at = self.seconds
        with contextlib.suppress(OSError, ValueError):  # nobody reads: not this line's problem
            # A progress bar that is being drawn makes room for the line.
            write = sys.modules["tqdm"].tqdm.write if "tqdm" in sys.modules else functools.partial(print, flush=True)
            write(text)


_notice = _Notice()


def _cache_for(function: Callable[..., Any]) -> Any:
    """A function's cache in our folder. Numba reads its setting at this moment; other users of Numba keep theirs."""
    folder, users_folder = cache_folder(), config.CACHE_DIR
    if folder is None:
        return _NoCache()
    config.CACHE_DIR = str(folder)
    try:
        return _Cache(function)
    except (OSError, RuntimeError):  # a folder that cannot be made
        return _NoCache()
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
