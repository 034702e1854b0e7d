"""The derivatives of NumPy's ufuncs with respect to each argument, from y and the arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

DERIVATIVES: dict[str, Callable[..., tuple[Any, ...]]] = {
    "add": lambda y, a, b: (1, 1),
    "subtract": lambda y, a, b: (1, -1),
    "multiply": lambda y, a, b: (b, a),
    "divide": lambda y, a, b: (1 / b, -y / b),
    "power": lambda y, a, b: (b * np.power(a, b - 1), y * np.log(np.where(np.asarray(a) > 0, a, 1))),
    "maximum": lambda y, a, b: (np.greater_equal(a, b), np.less(a, b)),
    "minimum": lambda y, a, b: (np.less_equal(a, b), np.greater(a, b)),
    "remainder": lambda y, a, b: (1, -np.floor_divide(a, b)),
    "fmod": lambda y, a, b: (1, -np.trunc(a / b)),
    "arctan2": lambda y, a, b: (b / (a * a + b * b), -a / (a * a + b * b)),
    "negative": lambda y, a: (-1,),
    "positive": lambda y, a: (1,),
    "reciprocal": lambda y, a: (-y * y,),
    "exp": lambda y, a: (y,),
    "expm1": lambda y, a: (y + 1,),
    "log": lambda y, a: (1 / a,),
    "log2": lambda y, a: (1 / (a * math.log(2)),),
    "log10": lambda y, a: (1 / (a * math.log(10)),),
    "log1p": lambda y, a: (1 / (1 + a),),
    "sqrt": lambda y, a: (0.5 / y,),
    "square": lambda y, a: (2 * a,),
    "absolute": lambda y, a: (np.sign(a),),
    "fabs": lambda y, a: (np.sign(a),),
    "sin": lambda y, a: (np.cos(a),),
    "cos": lambda y, a: (-np.sin(a),),
    "tan": lambda y, a: (1 + y * y,),
    "arcsin": lambda y, a: (1 / np.sqrt(1 - a * a),),
    "arccos": lambda y, a: (-1 / np.sqrt(1 - a * a),),
    "arctan": lambda y, a: (1 / (1 + a * a),),
    "sinh": lambda y, a: (np.cosh(a),),
    "cosh": lambda y, a: (np.sinh(a),),
    "arcsinh": lambda y, a: (1 / np.sqrt(a * a + 1),),
    "arccosh": lambda y, a: (1 / np.sqrt(a * a - 1),),
    "arctanh": lambda y, a: (1 / (1 - a * a),),
    "tanh": lambda y, a: (1 - y * y,),
    "logaddexp": lambda y, a, b: (np.exp(a - y), np.exp(b - y)),
}
# What does not change with its arguments, almost everywhere: its gradient is zero, and a plain array comes out.
PLAIN = {
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_not", "sign",
    "floor", "ceil", "rint", "trunc", "isnan", "isfinite", "isinf", "floor_divide", "argmax", "argmin", "argsort", "shape",
    "ndim", "size", "zeros_like", "ones_like", "full_like", "round", "around", "allclose", "any", "all", "count_nonzero",
}  # fmt: skip


def no_derivative(name: str) -> str:
    """What to say of a function that is not here."""
    return (
        f"numpy.{name} has no derivative here; use other functions of NumPy (sums, products, exp, where ...), or give the "
        "gradient yourself: Lambda(gradient=...), a Layer with backward, a Loss with backward"
    )
