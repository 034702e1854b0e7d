"""GRU: two gates and no memory beside the output itself, one step of a sequence after another.

x[t] are the inputs' sums x W + b, three of U numbers each; h begins with zeros, or with `start`:

    a = h[t-1] R + e                          z, r = sigmoid of the first and second part of x[t] + a
    g = tanh(x_g + r a_g)                     h[t] = z h[t-1] + (1 - z) g

with x_g and a_g the third parts (`reset_after` of Keras, as cuDNN and PyTorch). Backpropagation through time, as in `lstm`, with
one gradient, dh, which begins with zeros behind the last step:

    dh += dy[t]                               dz = dh (h[t-1] - g)      dg = dh (1 - z) (1 - g^2)      dr = dg a_g
    dx[t] = (dz z (1 - z), dr r (1 - r), dg)  da = (the same two, dg r)
    dh[t-1] = dh z + da R^T                   dR = sum over t of h[t-1]^T da,   de = sum of da,   dstart = dh at last

Shapes: x (N, T, 3 U), recurrent R (U, 3 U), bias e (3 U,) or None, y = h (N, T, U), start (N, U). `mask` and `drop` as in `lstm`.
Source: K. Cho et al., arXiv 1406.1078.
"""

import numpy as np

from minitl.ops.lstm import check, recurrent_gradient, sigmoid
from minitl.ops.window import check_shape


def forward(
    x: np.ndarray,
    recurrent: np.ndarray,
    bias: np.ndarray | None = None,
    start: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    drop: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple]:
    """h of every step."""
    n, steps, units = check("gru", x, recurrent, 3, mask, start)
    kept, y = np.empty((n, steps, 4 * units), x.dtype), np.empty((n, steps, units), x.dtype)
    h = np.zeros((n, units), x.dtype) if start is None else start
    for t in range(steps):
        a = (h if drop is None else h * drop) @ recurrent + (0 if bias is None else bias)
        z, r = np.split(sigmoid(x[:, t, : 2 * units] + a[:, : 2 * units]), 2, axis=1)
        g = np.tanh(x[:, t, 2 * units :] + r * a[:, 2 * units :])
        kept[:, t] = np.concatenate([z, r, g, a[:, 2 * units :]], axis=1)
        h = np.where(True if mask is None else mask[:, t, None], z * h + (1 - z) * g, h)
        y[:, t] = h
    return y, (recurrent, bias, kept, y, start, mask, drop)


def backward(dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True) -> tuple[np.ndarray | None, ...]:
    """dx, dR, de and dstart; what is not needed, or was not given, is None."""
    recurrent, bias, kept, y, start, mask, drop = cache
    check_shape("gru", "dy", dy.shape, y.shape)
    units = len(recurrent)
    d, dh = np.empty(kept.shape, dy.dtype), np.zeros_like(dy[:, 0])  # d: da's two gates, dg, dg r
    for t in reversed(range(dy.shape[1])):
        z, r, g, a_g = np.split(kept[:, t], 4, axis=1)
        before = y[:, t - 1] if t else np.zeros_like(dh) if start is None else start
        goes_on = np.ones((len(dy), 1), bool) if mask is None else mask[:, t, None]
        dh = dh + dy[:, t]
        dg = dh * (1 - z) * (1 - g * g)
        parts = (dh * (before - g) * z * (1 - z), dg * a_g * r * (1 - r), dg, dg * r)
        d[:, t] = np.where(goes_on, np.concatenate(parts, axis=1), 0)
        back = recurrent_part(d[:, t], units) @ recurrent.T
        dh = np.where(goes_on, dh * z, dh) + (back if drop is None else back * drop)
    dx, dstart = d[..., : 3 * units] if need_dx else None, None if start is None else dh
    if not need_dparameters:
        return dx, None, None, dstart
    da = recurrent_part(d, units)
    return dx, recurrent_gradient(y, da, drop, start), None if bias is None else da.sum(axis=(0, 1)), dstart


def recurrent_part(d: np.ndarray, units: int) -> np.ndarray:
    """da: the two gates' gradients, and dg r."""
    return np.concatenate([d[..., : 2 * units], d[..., 3 * units :]], axis=-1)
