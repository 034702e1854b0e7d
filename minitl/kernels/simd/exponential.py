"""exp, exp - 1 and tanh as plain arithmetic, of which LLVM makes vectors: of calls to the C library it would not.

    exp(x) = 2^n exp(r),   n = round(x / log 2),   r = x - n log 2,   |r| <= log(2) / 2

Adding 1.5 2^m to a number with m bits behind its leading one rounds it to a whole one, which then stands in its lowest
bits: that is n. log 2 is taken in two parts, of which n times the first is exact. exp(r) - 1 is the Taylor series, whose first
term left out is below the rounding error. 2^n is written directly into a number's exponent, in two halves, since results may be
subnormal. For tanh(x) = (e - 1) / (e + 1), with e = exp(2x), e - 1 is made without adding one and taking it away again, or
small x would lose their digits.

exp is within two units in the last place, exp - 1 and tanh within four. exp(-inf) is 0, above the largest exponent it is inf;
NaN stays NaN.
Source: W. Cody and W. Waite, Software manual for the elementary functions, 1980, chapters 6 and 13.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from minitl.kernels.jit import config

LOG_2 = Fraction("0.693147180559945309417232121458176568")


class _Kind(NamedTuple):
    """What depends on the number's type."""

    scalar: ir.Type
    integer: ir.IntType
    mantissa: int  # bits
    bias: int  # of the exponent
    terms: int  # of the series
    lowest: float  # below it exp is 0
    highest: float  # above it exp is infinite
    first: int  # bits of log 2 in its first part
    one: float  # tanh is 1 from here on


KINDS = {
    32: _Kind(ir.FloatType(), ir.IntType(32), 23, 127, 7, -104.0, 89.0, 12, 10.0),
    64: _Kind(ir.DoubleType(), ir.IntType(64), 52, 1023, 13, -746.0, 710.0, 32, 20.0),
}


@intrinsic
def _exp_in_llvm(typingctx, x):
    """exp(x)."""

    def codegen(context, builder, sig, args):
        kind = KINDS[sig.args[0].bitwidth]
        x = _at_most(builder, args[0], kind.scalar(kind.highest))
        lowest = kind.scalar(kind.lowest)
        x = builder.select(builder.fcmp_ordered("<", x, lowest), lowest, x)
        series, halves = _series(builder, x, kind)
        result = builder.fadd(series, kind.scalar(1.0))
        for half in halves:
            result = builder.fmul(result, half)
        return result

    return x(x), codegen


@intrinsic
def _expm1_in_llvm(typingctx, x):
    """exp(x) - 1, for x <= 0."""

    def codegen(context, builder, sig, args):
        kind = KINDS[sig.args[0].bitwidth]
        lowest = kind.scalar(kind.lowest)
        x = builder.select(builder.fcmp_ordered("<", args[0], lowest), lowest, args[0])
        series, halves = _series(builder, x, kind)
        return _minus_one(builder, series, builder.fmul(*halves), kind)

    return x(x), codegen


@intrinsic
def _tanh_in_llvm(typingctx, x):
    """tanh(x)."""

    def codegen(context, builder, sig, args):
        kind = KINDS[sig.args[0].bitwidth]
        two = ir.FunctionType(kind.scalar, [kind.scalar] * 2)
        fabs = builder.module.declare_intrinsic("llvm.fabs", [kind.scalar])
        copysign = builder.module.declare_intrinsic("llvm.copysign", [kind.scalar], two)
        x = _at_most(builder, builder.call(fabs, args), kind.scalar(kind.one))
        series, halves = _series(builder, builder.fadd(x, x), kind)
        e_minus_1 = _minus_one(builder, series, builder.fmul(*halves), kind)
        result = builder.fdiv(e_minus_1, builder.fadd(e_minus_1, kind.scalar(2.0)))
        return builder.call(copysign, [result, args[0]])

    return x(x), codegen


exp: Any = np.exp if config.DISABLE_JIT else _exp_in_llvm
expm1: Any = np.expm1 if config.DISABLE_JIT else _expm1_in_llvm
tanh: Any = np.tanh if config.DISABLE_JIT else _tanh_in_llvm


def _series(builder: ir.IRBuilder, x: Any, kind: _Kind) -> tuple[Any, tuple[Any, Any]]:
    """exp(r) - 1, and two factors that make 2^n."""
    first = Fraction(math.floor(LOG_2 * 2**kind.first), 2**kind.first)
    rounding = 1.5 * 2.0**kind.mantissa
    shifted = _sum(builder, _product(builder, x, kind.scalar(float(1 / LOG_2))), kind.scalar(rounding))
    n = builder.fsub(shifted, kind.scalar(rounding))
    r = x
    for part in (first, LOG_2 - first):
        r = _sum(builder, r, _product(builder, n, kind.scalar(-float(part))))
    series = kind.scalar(1 / math.factorial(kind.terms))
    for k in reversed(range(1, kind.terms)):
        series = _sum(builder, _product(builder, series, r), kind.scalar(1 / math.factorial(k)))
    series = builder.fmul(series, r)
    whole = builder.sub(builder.bitcast(shifted, kind.integer), builder.bitcast(kind.scalar(rounding), kind.integer))
    half = builder.ashr(whole, kind.integer(1))
    exponents = [builder.add(k, kind.integer(kind.bias)) for k in (half, builder.sub(whole, half))]
    upper, lower = (builder.bitcast(builder.shl(k, kind.integer(kind.mantissa)), kind.scalar) for k in exponents)
    return series, (upper, lower)


def _minus_one(builder: ir.IRBuilder, series: Any, power: Any, kind: _Kind) -> Any:
    """exp(x) - 1 from exp(r) - 1 and 2^n."""
    return _sum(builder, _product(builder, series, power), builder.fsub(power, kind.scalar(1.0)))


def _at_most(builder: ir.IRBuilder, x: Any, limit: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", x, limit), limit, x)


def _product(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    return builder.fmul(a, b, flags=("contract",))


def _sum(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    return builder.fadd(a, b, flags=("contract",))
