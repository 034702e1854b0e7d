"""Dense: every output is a weighted sum of every input.

    y[n, o] = sum_i x[n, i] kernel[i, o] + bias[o]              y = x W + b

Backward. L depends on x[n, i] through all y[n, o], and dy[n, o] / dx[n, i] = kernel[i, o]:

    dx[n, i]      = sum_o dy[n, o] kernel[i, o]                 dx = dy W^T
    dkernel[i, o] = sum_n x[n, i] dy[n, o]                      dW = x^T dy
    dbias[o]      = sum_n dy[n, o]

Shapes: x (..., in), kernel (in, out), bias (out,) or None, y (..., out): leading axes are all samples.
Source: Goodfellow, Bengio and Courville, Deep Learning, section 6.5.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None = None) -> tuple[np.ndarray, tuple]:
    """y = x W + b."""
    check(x, kernel, bias)
    y = x @ kernel
    if bias is not None:
        y = y + bias
    return y, (x, kernel, bias)


def backward(
    dy: np.ndarray, cache: tuple, need_dx: bool = True, need_dparameters: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """dx = dy W^T, dW = x^T dy, db = sum of dy over the samples; what is not needed is None."""
    x, kernel, bias = cache
    check_shape("dense", "dy", dy.shape, (*x.shape[:-1], kernel.shape[1]))
    dx = dkernel = dbias = None
    if need_dx:
        dx = dy @ kernel.T
    if need_dparameters:
        rows = dy.reshape(-1, dy.shape[-1])
        dkernel = x.reshape(-1, x.shape[-1]).T @ rows
        dbias = None if bias is None else rows.sum(axis=0)
    return dx, dkernel, dbias


def check(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None) -> None:
    """Raise ValueError unless the three shapes belong together."""
    if kernel.ndim != 2 or x.ndim < 2 or x.shape[-1] != kernel.shape[0]:
        raise ValueError(f"dense: x (..., in) and kernel (in, out) do not match: {x.shape} and {kernel.shape}")
    if bias is not None:
        check_shape("dense", "bias", bias.shape, kernel.shape[1:])
