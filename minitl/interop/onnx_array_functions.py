"""Functions of values, `np.exp(x)` or `x * y + 1`, as operators of ONNX: one, or the few that make it up.

Numbers stay floating-point ones, as they are here: truths and places, which ONNX keeps apart, become such at once.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.activations import NAMED, OPERATION
from minitl.interop.onnx_array_axes import WRITERS as WRITERS_OF_AXES
from minitl.interop.onnx_called import FLOAT, Called
from minitl.interop.onnx_layers import Tensor, Written
from minitl.layers.activations import ReLU
from minitl.layers.array_function import OPERATIONS, ArrayFunction

LEAKY = {"slope": 0.0, "threshold": 0.0, "ceiling": np.inf}


def write_array_function(w: Any, layer: ArrayFunction, x: Any) -> Written:
    """Add the operators of a function of values.

    Errors: ValueError for a function, or a use of one, that is not known.
    """
    tensors = list(x) if layer.takes_several else [x]
    tensors = [
        Tensor(w.node("Cast", [t.name], to=FLOAT), t.shape, t.first) if t.name in w.of_whole_numbers else t for t in tensors
    ]
    called = Called(w, layer, tensors)
    if layer.function in OPERATIONS:
        return _activation(called, layer, tensors[0])
    if layer.function in OF_EACH and not called.settings and len(called.operands) == 1:
        return OF_EACH[layer.function](called, tensors[0].name), tensors[0].first
    if layer.function not in WRITERS:
        raise called.refused()
    name = WRITERS[layer.function](called)
    if any(value is not None for value in called.settings.values()):
        raise called.refused()
    return name, False


def _activation(called: Called, layer: ArrayFunction, x: Tensor) -> Written:
    kind, settings = layer.function.removeprefix(OPERATION), layer.settings
    named = next((name for name, known in NAMED.items() if known == (kind, settings)), None)
    if named is not None:
        return called.w.activation(named, x), x.first
    if kind == "leaky_relu":
        slope, threshold, ceiling = (settings.get(key, other) for key, other in LEAKY.items())
        known = ReLU(None if np.isinf(ceiling) else float(ceiling), float(slope), float(threshold))
        return called.w.layer(known, [x], [x.shape])[0].name, x.first
    if kind == "elu" and settings.keys() == {"alpha"}:
        return called.node("Elu", x.name, alpha=float(settings["alpha"])), x.first
    if settings == {"gate": "normal_tanh"}:
        return _gelu_by_tanh(called, x.name), x.first
    raise called.refused()


def _gelu_by_tanh(called: Called, x: str) -> str:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    cube = called.node("Mul", called.node("Mul", x, x), x)
    inside = called.node("Add", x, called.with_number("Mul", cube, 0.044715))
    bent = called.node("Tanh", called.with_number("Mul", inside, math.sqrt(2 / math.pi)))
    return called.node("Mul", called.with_number("Mul", x, 0.5), called.with_number("Add", bent, 1.0))


def _one(kind: str) -> Callable[[Called, str], str]:
    return lambda called, x: called.node(kind, x)


def _truth(kind: str) -> Callable[[Called, str], str]:
    return lambda called, x: called.as_number(called.node(kind, x))


def _truncated(called: Called, x: str) -> str:
    return called.node("Mul", called.node("Sign", x), called.node("Floor", called.node("Abs", x)))


def _finite(called: Called, x: str) -> str:
    wrong = called.node("Or", called.node("IsNaN", x), called.node("IsInf", x))
    return called.as_number(called.node("Not", wrong))


OF_EACH: dict[str, Callable[[Called, str], str]] = {
    **{name: _one(kind) for name, kind in {
        "absolute": "Abs", "fabs": "Abs", "arccos": "Acos", "arccosh": "Acosh", "arcsin": "Asin", "arcsinh": "Asinh",
        "arctan": "Atan", "arctanh": "Atanh", "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "exp": "Exp", "floor": "Floor",
        "log": "Log", "negative": "Neg", "positive": "Identity", "reciprocal": "Reciprocal", "rint": "Round", "round": "Round",
        "around": "Round", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt", "tan": "Tan", "tanh": "Tanh",
    }.items()},
    "isnan": _truth("IsNaN"), "isinf": _truth("IsInf"), "isfinite": _finite, "trunc": _truncated,
    "square": lambda called, x: called.node("Mul", x, x),
    "expm1": lambda called, x: called.with_number("Sub", called.node("Exp", x), 1.0),
    "log1p": lambda called, x: called.node("Log", called.with_number("Add", x, 1.0)),
    "log2": lambda called, x: called.with_number("Div", called.node("Log", x), math.log(2)),
    "log10": lambda called, x: called.with_number("Div", called.node("Log", x), math.log(10)),
    "logical_not": lambda called, x: called.as_number(called.node("Not", called.as_truth(x))),
    "zeros_like": lambda called, x: _all_of(called, x, 0.0), "ones_like": lambda called, x: _all_of(called, x, 1.0),
}  # fmt: skip


def _pair(kind: str) -> Callable[[Called], str]:
    return lambda called: called.node(kind, called.name(0), called.name(1))


def _compared(kind: str) -> Callable[[Called], str]:
    return lambda called: called.as_number(_pair(kind)(called))


def _logical(kind: str) -> Callable[[Called], str]:
    def write(called: Called) -> str:
        return called.as_number(called.node(kind, called.as_truth(called.name(0)), called.as_truth(called.name(1))))

    return write


def _log_add_exp(called: Called) -> str:
    a, b = called.name(0), called.name(1)
    apart = called.node("Neg", called.node("Abs", called.node("Sub", a, b)))
    return called.node("Add", called.node("Max", a, b), OF_EACH["log1p"](called, called.node("Exp", apart)))


def _where(called: Called) -> str:
    if len(called.operands) != 3:
        raise called.refused()
    return called.node("Where", called.as_truth(called.name(0)), called.name(1), called.name(2))


def _clip(called: Called) -> str:
    low, high = (called.setting(name, called.setting(other)) for name, other in (("x_min", "a_min"), ("x_max", "a_max")))
    if isinstance(low, Tensor) or isinstance(high, Tensor) or np.ndim(low) or np.ndim(high):
        raise called.refused()
    limits = ["" if limit is None else called.w.constant(limit) for limit in (low, high)]
    return called.node("Clip", called.name(), *limits)


def _matmul(called: Called) -> str:
    if called.function == "dot" and (min(called.axes(0), called.axes(1)) < 1 or called.axes(1) > 2):
        raise called.refused()  # over another axis than the last but one
    return called.node("MatMul", called.name(0), called.name(1))


def _tensordot(called: Called) -> str:
    """The sum over the last axes of one and the first of the other, as many as `axes` says, or over those that it names."""
    given, ranks = called.setting("axes", 2), [called.axes(0), called.axes(1)]
    if np.ndim(given) == 0:
        given = [range(ranks[0] - int(given), ranks[0]), range(int(given))]
    letters = iter(string.ascii_lowercase)
    names = [[next(letters) for _ in range(rank)] for rank in ranks]
    summed = []
    for a, b in zip(*(np.atleast_1d(axes).tolist() for axes in given), strict=True):
        names[1][b] = names[0][a]
        summed.append(names[0][a])
    out = [letter for letter in [*names[0], *names[1]] if letter not in summed]
    equation = f"{''.join(names[0])},{''.join(names[1])}->{''.join(out)}"
    return called.node("Einsum", called.name(0), called.name(1), equation=equation)


def _all_of(called: Called, x: str, value: Any) -> str:
    """A tensor of x's shape that has one number everywhere."""
    return called.with_number("Add", called.with_number("Mul", x, 0.0), value)


def _einsum(called: Called) -> str:
    equation, *rest = called.operands
    called.operands = rest
    return called.node("Einsum", *map(called.name, range(len(rest))), equation=equation.replace(" ", ""))


WRITERS: dict[str, Callable[[Called], str]] = {
    **WRITERS_OF_AXES,
    **{name: _pair(kind) for name, kind in {
        "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "power": "Pow", "maximum": "Max", "minimum": "Min",
    }.items()},
    **{name: _compared(kind) for name, kind in {
        "equal": "Equal", "less": "Less", "less_equal": "LessOrEqual", "greater": "Greater", "greater_equal": "GreaterOrEqual",
    }.items()},
    **dict.fromkeys(("matmul", "dot"), _matmul),
    "logical_and": _logical("And"), "logical_or": _logical("Or"), "logaddexp": _log_add_exp,
    "not_equal": lambda called: OF_EACH["logical_not"](called, _compared("Equal")(called)),
    "floor_divide": lambda called: called.node("Floor", _pair("Div")(called)),
    "full_like": lambda called: _all_of(called, called.name(), called.operands[1]),
    "clip": _clip, "einsum": _einsum, "tensordot": _tensordot, "where": _where,
}  # fmt: skip
