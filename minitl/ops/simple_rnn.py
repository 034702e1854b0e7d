"""A simple recurrent network: the output of a step goes into the next one through a matrix.

x[t] are the inputs' sums x W + b; h begins with zeros, or with `start`:

    h[t] = f(x[t] + h[t-1] R)                 f = tanh, or with `rectified` max(0, .)

Backpropagation through time: h[t] is an output, and goes into h[t+1]. Walking backward, dh begins with zeros:

    dh += dy[t]                               da = dh (1 - h[t]^2), or dh where h[t] > 0, = dx[t]
    dh[t-1] = da R^T                          dR = sum over t of h[t-1]^T da,   dstart = dh at last

Over T steps the gradient is multiplied T times by R^T: it shrinks or grows exponentially, which is why `lstm` has gates.
Shapes: x (N, T, U), recurrent R (U, U), y = h (N, T, U), start (N, U). `mask` and `drop` as in `lstm`.
Source: J. Elman 1990; with max(0, .) Q. Le, N. Jaitly and G. Hinton, arXiv 1504.00941.
"""

import numpy as np

from minitl.ops.lstm import check, recurrent_gradient
from minitl.ops.window import check_shape


def forward(
    x: np.ndarray, recurrent: np.ndarray, start: np.ndarray | None = None, rectified: bool = False,
    mask: np.ndarray | None = None, drop: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple]:  # fmt: skip
    """h of every step."""
    n, steps, units = check("simple_rnn", x, recurrent, 1, mask, start)
    y, h = np.empty_like(x), np.zeros((n, units), x.dtype) if start is None else start
    for t in range(steps):
        a = x[:, t] + (h if drop is None else h * drop) @ recurrent
        new = np.where(a > 0, a, 0) if rectified else np.tanh(a)
        y[:, t] = h = new if mask is None else np.where(mask[:, t, None], new, h)
    return y, (recurrent, y, start, rectified, mask, drop)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx, dR and dstart; what is not needed, or was not given, is None."""
    recurrent, y, start, rectified, mask, drop = cache
    check_shape("simple_rnn", "dy", dy.shape, y.shape)
    dx, dh = np.empty(y.shape, dy.dtype), np.zeros_like(dy[:, 0])
    for t in reversed(range(dy.shape[1])):
        goes_on = np.ones((len(dy), 1), bool) if mask is None else mask[:, t, None]
        dh = dh + dy[:, t]
        dx[:, t] = np.where(goes_on, dh * (y[:, t] > 0 if rectified else 1 - y[:, t] ** 2), 0)
        back = dx[:, t] @ recurrent.T
        dh = np.where(goes_on, 0, dh) + (back if drop is None else back * drop)
    dstart = None if start is None else dh
    return dx if need_dx else None, recurrent_gradient(y, dx, drop, start) if need_dparameters else None, dstart
