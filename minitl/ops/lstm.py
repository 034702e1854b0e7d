"""LSTM: a memory that is written, kept and read by gates, one step of a sequence after another.

x[t] are the inputs' sums x W + b (a dense layer makes them), four of U numbers each; h and c begin with zeros, or with
`start`:

    a = x[t] + h[t-1] R                       i, f, o = sigmoid of a's first, second and fourth part,  g = tanh of the third
    c[t] = f c[t-1] + i g                     h[t] = o tanh(c[t])

Backpropagation through time. h[t] is an output, and goes into a[t+1]; c[t] goes into h[t] and c[t+1]. So the steps are walked
backward with two gradients, dh and dc, which begin with zeros behind the last step. At each step, with s = tanh(c[t]),

    dh += dy[t]                               do = dh s            dc += dh o (1 - s^2)
    di = dc g,  dg = dc i,  df = dc c[t-1]    da = (di i (1 - i), df f (1 - f), dg (1 - g^2), do o (1 - o)) = dx[t]
    dh[t-1] = da R^T                          dc[t-1] = dc f       dR = sum over t of h[t-1]^T da

c passes from step to step by a product with f alone: where f is near 1, the gradient neither vanishes nor explodes. What is
left of dh and dc in front of the first step is dstart. The last c may go on elsewhere: `dcell` is its gradient.
Shapes: x (N, T, 4 U), recurrent R (U, 4 U), y = h (N, T, U), start = (h, c) (N, 2 U), dcell (N, U). Where `mask` (N, T) is False,
a step changes nothing. `drop` (N, U) multiplies h before the product, in every step the same (Y. Gal and
Z. Ghahramani, arXiv 1512.05287).
Source: S. Hochreiter and J. Schmidhuber 1997; F. Gers et al. 2000 (the gate f).
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(
    x: np.ndarray, recurrent: np.ndarray, start: np.ndarray | None = None,
    mask: np.ndarray | None = None, drop: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple]:  # fmt: skip
    """h of every step."""
    n, steps, units = check("lstm", x, recurrent, 4, mask, start, 2)
    kept, cells, y = np.empty_like(x), np.empty((n, steps, units), x.dtype), np.empty((n, steps, units), x.dtype)
    h, c = np.split(np.zeros((n, 2 * units), x.dtype) if start is None else start, 2, axis=1)
    for t in range(steps):
        i, f, g, o = np.split(x[:, t] + (h if drop is None else h * drop) @ recurrent, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        kept[:, t] = np.concatenate([i, f, g, o], axis=1)
        new = f * c + i * g
        goes_on = True if mask is None else mask[:, t, None]
        h, c = np.where(goes_on, o * np.tanh(new), h), np.where(goes_on, new, c)
        y[:, t], cells[:, t] = h, c
    return y, (recurrent, kept, cells, y, start, mask, drop)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True, dcell: np.ndarray | None = None
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dR and dstart; what is not needed, or was not given, is None."""
    recurrent, kept, cells, y, start, mask, drop = cache
    check_shape("lstm", "dy", dy.shape, y.shape)
    zeros = np.zeros_like(dy[:, 0])
    dx, dh, dc = np.empty(kept.shape, dy.dtype), zeros, zeros if dcell is None else dcell
    first_cell = zeros if start is None else start[:, len(recurrent) :]
    for t in reversed(range(dy.shape[1])):
        (i, f, g, o), s = np.split(kept[:, t], 4, axis=1), np.tanh(cells[:, t])
        before = cells[:, t - 1] if t else first_cell
        goes_on = np.ones((len(dy), 1), bool) if mask is None else mask[:, t, None]
        dh = dh + dy[:, t]
        dc_new = dc + dh * o * (1 - s * s)
        da = (dc_new * g * i * (1 - i), dc_new * before * f * (1 - f), dc_new * i * (1 - g * g), dh * s * o * (1 - o))
        dx[:, t] = np.where(goes_on, np.concatenate(da, axis=1), 0)
        back = dx[:, t] @ recurrent.T
        dh = np.where(goes_on, 0, dh) + (back if drop is None else back * drop)
        dc = np.where(goes_on, dc_new * f, dc)
    dstart = None if start is None else np.concatenate([dh, dc], axis=1)
    return dx if need_dx else None, recurrent_gradient(y, dx, drop, start) if need_dparameters else None, dstart


def cells(cache: tuple) -> np.ndarray:
    """c of every step, of which the last may go on elsewhere."""
    return cache[2]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return (np.tanh(x / 2) + 1) / 2


def recurrent_gradient(y: np.ndarray, da: np.ndarray, drop: np.ndarray | None, start: np.ndarray | None) -> np.ndarray:
    """dR = sum over samples and steps of h[t-1]^T da[t]."""
    first = np.zeros_like(y[:, :1]) if start is None else start[:, None, : y.shape[2]]
    before = np.concatenate([first, y[:, :-1]], axis=1)
    return np.einsum("ntu,ntv->uv", before if drop is None else before * drop[:, None], da)


def check(
    name: str,
    x: np.ndarray,
    recurrent: np.ndarray,
    gates: int,
    mask: np.ndarray | None,
    start: np.ndarray | None,
    states: int = 1,
) -> tuple[int, int, int]:
    """Samples, steps and units; raise ValueError for shapes that do not fit."""
    units = len(recurrent)
    check_shape(name, "recurrent", recurrent.shape, (units, gates * units))
    if x.ndim != 3 or x.shape[2] != gates * units:
        raise ValueError(f"{name}: x must be (N, T, {gates * units}) for {units} units, got {x.shape}")
    if mask is not None:
        check_shape(name, "mask", mask.shape, x.shape[:2])
    if start is not None:
        check_shape(name, "start", start.shape, (len(x), states * units))
    return x.shape[0], x.shape[1], units
