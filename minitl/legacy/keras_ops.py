"""`keras.ops` of Keras 3, where minitl has its book: `minitl.ops.mean(x)` is Keras's function, `minitl.ops.relu` a module.

A name under which the book has nothing is looked up among the functions of `minitl.backend`, the activations, and NumPy's
functions that are differentiated. A module of the book whose name Keras has too can be called: `ops.concatenate([a, b])`.
The book itself knows nothing of this.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

PACKAGE = "minitl.ops"
# NumPy's functions that are Keras's, too, of arrays and of matrices; they have no derivative here.
OF_ARRAYS = {
    "angle", "append", "argpartition", "array_split", "bartlett", "bincount", "bitwise_and", "bitwise_not", "bitwise_or",
    "bitwise_xor", "blackman", "cbrt", "conj", "conjugate", "copy", "corrcoef", "correlate", "cross", "cumprod", "deg2rad",
    "diag", "diagflat", "diagonal", "diff", "digitize", "dsplit", "dstack", "empty", "empty_like", "exp2", "fliplr", "flipud",
    "fmax", "fmin", "fmod", "gcd", "geomspace", "hamming", "hanning", "heaviside", "histogram", "hsplit", "hstack", "hypot",
    "i0", "identity", "imag", "inner", "isclose", "isin", "isneginf", "isposinf", "isreal", "kaiser", "kron", "lcm", "ldexp",
    "left_shift", "linspace", "logaddexp2", "logical_xor", "logspace", "median", "meshgrid", "nan_to_num", "nanargmax",
    "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmedian", "nanmin", "nanpercentile", "nanprod",
    "nanquantile", "nanstd", "nansum", "nanvar", "nextafter", "nonzero", "percentile", "ptp", "quantile", "rad2deg", "real",
    "right_shift", "rot90", "searchsorted", "select", "signbit", "sinc", "trace", "tri", "true_divide", "unique",
    "unravel_index", "vander", "vdot", "vectorize", "vsplit", "vstack",
}  # fmt: skip
OF_MATRICES = {"cholesky", "det", "eig", "eigh", "inv", "lstsq", "matrix_rank", "pinv", "qr", "slogdet", "solve", "svd"}
MODULES = (  # where others are; the first that has a name
    "legacy.operations", "legacy.windows", "legacy.nn_functions", "legacy.scattering", "legacy.loops", "legacy.backend",
    "activations",
)  # fmt: skip


class Operation(ModuleType):
    """A module of the book, which Keras's programs call."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """What Keras's function of that name gives."""
        return function(self.__name__.rpartition(".")[2])(*arguments, **settings)


class Book(ModuleType):
    """The book's package: what it has not is Keras's."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}")
        if name in ("nn", "numpy", "math", "linalg"):  # Keras has the same functions there again
            return self
        if name == "image":
            return importlib.import_module("minitl.legacy.image_ops")
        return _operation_or_function(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if type(value) is ModuleType:
            value.__class__ = Operation
        super().__setattr__(name, value)


@functools.cache
def function(name: str) -> Any:
    """Keras's function of a name.

    Errors: AttributeError for one that is not here.
    """
    autodiff: Any = importlib.import_module("minitl.autodiff")
    for module in MODULES:
        found = getattr(importlib.import_module(f"minitl.{module}"), name, None)
        if callable(found):
            return found
    if name in autodiff.DERIVATIVES or name in autodiff.FUNCTIONS or name in autodiff.PLAIN or name in OF_ARRAYS:
        return getattr(importlib.import_module("numpy"), name)
    if name in OF_MATRICES:
        return getattr(importlib.import_module("numpy.linalg"), name)
    raise AttributeError(
        f"minitl.ops has no operation {name!r}, and minitl no function of Keras's keras.ops of that name; NumPy's functions work "
        "on arrays, on values, and inside a call"
    )


@functools.cache  # programs ask at every batch
def _operation_or_function(name: str) -> Any:
    if importlib.util.find_spec(f"{PACKAGE}.{name}") is not None:
        return importlib.import_module(f"{PACKAGE}.{name}")
    return function(name)


def answer() -> None:
    """Let the book's package answer to Keras's programs."""
    package = importlib.import_module(PACKAGE)
    package.__class__ = Book
    for name, module in list(vars(package).items()):
        if sys.modules.get(f"{PACKAGE}.{name}") is module and module is not None:
            module.__class__ = Operation
