"""The normal distribution's gate of GELU, in single precision without a call: what `gated` and its fused forms share.

    gate(x) = (1 + erf(x / sqrt 2)) / 2        slope(x) = d/dx (x gate(x)) = gate(x) + x exp(-x^2 / 2) / sqrt(2 pi)

With z = |x| / sqrt 2 and t = 1 / (1 + p z), erf(z) is 1 - (a_1 t + ... + a_5 t^5) exp(-z^2) up to 1.5e-7, the rounding error of
a float32; the exponential is the one that the slope needs as well. Double precision calls the C library.
Source: M. Abramowitz and I. Stegun, Handbook of mathematical functions, 1964, formula 7.1.26.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import overload

from minitl.kernels.jit import inner
from minitl.kernels.simd import exp

P = np.float32(0.3275911 * math.sqrt(0.5))  # p, for |x| in the place of z
A = tuple(map(np.float32, (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)))
HALF, ONE = np.float32(0.5), np.float32(1)
DENSITY = np.float32(1 / math.sqrt(2 * math.pi))


@inner()
def _single(x):
    e = exp(-HALF * x * x)
    t = ONE / (ONE + P * abs(x))
    tail = HALF * e * t * (A[0] + t * (A[1] + t * (A[2] + t * (A[3] + t * A[4]))))
    return (ONE - tail if x > 0 else tail), DENSITY * e


@inner()
def _double(x):
    return 0.5 * math.erfc(-x * math.sqrt(0.5)), math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def gate_and_density(x: Any) -> tuple[Any, Any]:
    """The gate, and exp(-x^2 / 2) / sqrt(2 pi)."""
    return _single(x) if isinstance(x, np.float32) else _double(x)


@overload(gate_and_density, inline="always")
def _for_type(x):
    return (lambda x: _single(x)) if x == types.float32 else (lambda x: _double(x))


@inner()
def gelu(x):
    """x gate(x)."""
    gate, _ = gate_and_density(x)
    return x * gate


@inner()
def gelu_slope(x):
    """d/dx (x gate(x))."""
    gate, density = gate_and_density(x)
    return gate + x * density
