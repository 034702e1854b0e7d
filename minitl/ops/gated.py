"""Gated units: x, times how much of it passes.

    y = x g(x)            dy/dx = g(x) + x g'(x)

    SiLU (swish)    g = sigmoid(x)                           g' = g (1 - g)
    hard swish      g = x / 6 + 1/2, cut off at 0 and 1      g' = 1/6 inside
    GELU            g = (1 + erf(x / sqrt 2)) / 2            g' = exp(-x^2 / 2) / sqrt(2 pi)
    its tanh form   g = (1 + tanh u) / 2                     g' = (1 - tanh^2 u) u' / 2,  u = sqrt(2 / pi) (x + 0.044715 x^3)

GELU's gate is the probability that a standard normal number is below x. NumPy has no erf: the C library's is called.
Shapes: any; x, y, dy and dx alike. The cache is x and the gate's name.
Source: P. Ramachandran et al., arXiv 1710.05941; A. Howard et al., 1905.02244; D. Hendrycks and K. Gimpel, 1606.08415.
"""

import math

import numpy as np

from minitl.ops.window import check_shape

erf = np.vectorize(math.erf, otypes=[np.float64])


def forward(x: np.ndarray, gate: str = "sigmoid") -> tuple[np.ndarray, tuple]:
    """y = x g(x), with the gate "sigmoid", "hard_sigmoid", "normal" or "normal_tanh"."""
    return (x * passes(x, gate)[0]).astype(x.dtype, copy=False), (x, gate)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dx = dy (g(x) + x g'(x))."""
    x, gate = cache
    check_shape("gated", "dy", dy.shape, x.shape)
    g, slope = passes(x, gate)
    return (dy * (g + x * slope)).astype(dy.dtype, copy=False)


def passes(x: np.ndarray, gate: str) -> tuple[np.ndarray, np.ndarray]:
    """g(x) and g'(x)."""
    if gate == "sigmoid":
        s = (np.tanh(x / 2) + 1) / 2
        return s, s * (1 - s)
    if gate == "hard_sigmoid":
        return np.clip(x / 6 + 0.5, 0, 1), np.where(np.abs(x) < 3, 1 / 6, 0)
    if gate == "normal":
        return (1 + erf(x / math.sqrt(2))) / 2, np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    return (1 + t) / 2, (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x) / 2
