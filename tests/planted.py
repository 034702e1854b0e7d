"""A catalogue of planted mistakes: each a small patch of a right operation, with the story of how people make it.

`kind` is the diagnosis that the checker must give, or None where it only has to see that something is wrong.
The suite, `examples/find_the_bug.py` and `benchmarks/gradcheck_power.py` go through it.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minitl import losses
from minitl.layers import BatchNormalization, Conv2D, Dense, Dropout, Layer
from minitl.ops import (
    add,
    average_pool2d,
    batch_norm,
    binary_cross_entropy,
    categorical_cross_entropy,
    concatenate,
    conv2d,
    conv2d_transpose,
    crf,
    dense,
    depthwise_conv2d,
    dot,
    dropout,
    elu,
    embedding,
    exponential,
    flatten,
    gated,
    global_average_pool2d,
    group_norm,
    gru,
    hard_sigmoid,
    leaky_relu,
    lstm,
    max_pool2d,
    maximum,
    mean_squared_error,
    multiply,
    prelu,
    relu,
    sigmoid,
    simple_rnn,
    softmax,
    softplus,
    sparse_categorical_cross_entropy,
    tanh,
    upsample2d,
)


@dataclass
class Planted:
    """One mistake: what is checked, with which arguments, and what should be said about it."""

    name: str
    story: str
    kind: str | None
    target: Any
    arguments: tuple
    keywords: dict = field(default_factory=dict)


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


PLANTED: list[Planted] = []


def plant(name, story, kind, forward, backward, *inputs):
    PLANTED.append(Planted(name, story, kind, (forward, backward), inputs))


def plant_layer(name, story, kind, layer, x):
    PLANTED.append(Planted(name, story, kind, layer, (x,)))


# Dense.

ROWS, SQUARE, BIAS = numbers(0, 5, 4), numbers(1, 4, 4), numbers(2, 4)


def dense_with(change):
    return lambda dy, c: change(dy, c[0], c[1], *dense.backward(dy, c))


def plant_dense(name, story, kind, change):
    plant(f"dense: {name}", story, kind, dense.forward, dense_with(change), ROWS, SQUARE, BIAS)


plant_dense("kernel not transposed", "dy @ W runs when W is square", "transposed", lambda dy, x, w, dx, dw, db: (dy @ w, dw, db))
plant_dense("dW transposed", "dy^T x instead of x^T dy", "transposed", lambda dy, x, w, dx, dw, db: (dx, dw.T, db))
plant_dense("sign of dx", "a minus from an update written into the gradient", "sign", lambda dy, x, w, dx, dw, db: (-dx, dw, db))
plant_dense(
    "dW averaged",
    "divided by the batch although the loss has done that",
    "factor",
    lambda dy, x, w, dx, dw, db: (dx, dw / len(x), db),
)
plant_dense("bias averaged", "dy.mean(0)", "factor", lambda dy, x, w, dx, dw, db: (dx, dw, dy.mean(axis=0)))
plant_dense("bias of the first sample", "dy[0]", None, lambda dy, x, w, dx, dw, db: (dx, dw, dy[0]))
plant_dense("bias not summed", "a bias gradient of dy's shape", "axes", lambda dy, x, w, dx, dw, db: (dx, dw, dy))
plant_dense(
    "bias summed over units", "dy.sum(1) of a square batch", "axes", lambda dy, x, w, dx, dw, db: (dx, dw, dy.sum(axis=1))
)
plant_dense("bias forgotten", "its gradient stays zero", "zero", lambda dy, x, w, dx, dw, db: (dx, dw, db * 0))
plant_dense("dx doubled", "added by two callers", "factor", lambda dy, x, w, dx, dw, db: (2 * dx, dw, db))
plant_dense(
    "weight decay in dW", "the regulariser's gradient added twice", None, lambda dy, x, w, dx, dw, db: (dx, dw + 1e-2 * w, db)
)
plant_dense(
    "dW of the last sample",
    "a loop over samples that assigns",
    None,
    lambda dy, x, w, dx, dw, db: (dx, np.outer(x[-1], dy[-1]), db),
)
plant_dense("gradient clipped", "clipped to +-1 in the layer", None, lambda dy, x, w, dx, dw, db: (np.clip(dx, -1, 1), dw, db))
plant_dense("dW without dy", "x^T 1", "dy", lambda dy, x, w, dx, dw, db: (dx, x.T @ np.ones_like(dy), db))

# Convolution.

IMAGES, KERNEL, FILTER_BIAS = numbers(3, 3, 6, 6, 2), numbers(4, 3, 3, 2, 3), numbers(5, 3)


def plant_conv(name, story, kind, change, strides=(1, 1), padding="valid", kernel=KERNEL):
    def forward(x, k, b):
        return conv2d.forward(x, k, b, strides, padding)

    def backward(dy, c):
        return change(dy, c[0], c[1], *conv2d.backward(dy, c))

    plant(f"conv2d: {name}", story, kind, forward, backward, IMAGES, kernel, FILTER_BIAS[: kernel.shape[3]])


def conv_dx(dy, x, kernel, **how):
    return conv2d.backward(dy, (x, kernel, None, how.get("strides", (1, 1)), how.get("padding", "valid"), (1, 1), 1))[0]


plant_conv(
    "dx through a flipped kernel",
    "the textbook's convolution flips, this one does not",
    "flipped",
    lambda dy, x, k, dx, dk, db: (conv_dx(dy, x, k[::-1, ::-1]), dk, db),
)
plant_conv("dkernel flipped", "flipped once too often", "flipped", lambda dy, x, k, dx, dk, db: (dx, dk[::-1, ::-1], db))
plant_conv(
    "dkernel with rows and columns exchanged",
    "a loop over b, a",
    "transposed",
    lambda dy, x, k, dx, dk, db: (dx, dk.swapaxes(0, 1), db),
)
plant_conv(
    "dx shifted by a row", "an index that begins at one", "shifted", lambda dy, x, k, dx, dk, db: (np.roll(dx, 1, 1), dk, db)
)
plant_conv(
    "dx shifted by a column",
    "padding cut off on the wrong side",
    "shifted",
    lambda dy, x, k, dx, dk, db: (np.roll(dx, -1, 2), dk, db),
)
plant_conv(
    "bias over the batch only", "dy.sum(0) at one pixel", None, lambda dy, x, k, dx, dk, db: (dx, dk, dy.sum(axis=0)[0, 0])
)
plant_conv(
    "bias averaged", "mean over batch and pixels", "factor", lambda dy, x, k, dx, dk, db: (dx, dk, dy.mean(axis=(0, 1, 2)))
)
plant_conv("bias keeps its pixels", "sum over the batch alone", "axes", lambda dy, x, k, dx, dk, db: (dx, dk, dy.sum(axis=0)))
plant_conv(
    "dx overwritten where windows overlap", "dx[...] = instead of +=", None,
    lambda dy, x, k, dx, dk, db: (_overwrite(dy, x, k), dk, db),
)  # fmt: skip
plant_conv(
    "stride forgotten in dx", "dy spread without gaps", None,
    lambda dy, x, k, dx, dk, db: (_unstrided(dy, x, k), dk, db), strides=(2, 2),
)  # fmt: skip
plant_conv("padding's gradient folded back", "pixels at the border get the padding's share", None,
           lambda dy, x, k, dx, dk, db: (_fold_padding(dy, x, k), dk, db), padding="same")  # fmt: skip
plant_conv(
    "border skipped", "a loop from 1 to n - 1", "border", lambda dy, x, k, dx, dk, db: (_no_border(dx), dk, db), padding="same"
)
plant_conv("dkernel of the first sample", "x[0] in a loop", None, lambda dy, x, k, dx, dk, db: (dx, _first_sample(dy, x, k), db))
plant_conv(
    "dkernel averaged over the batch", "another division by N", "factor", lambda dy, x, k, dx, dk, db: (dx, dk / len(x), db)
)
plant_conv(
    "dkernel's channels mixed", "the last two axes exchanged, F = C", "transposed",
    lambda dy, x, k, dx, dk, db: (dx, dk.swapaxes(2, 3), db), kernel=numbers(6, 3, 3, 2, 2),
)  # fmt: skip
plant_conv(
    "kernel transposed in dx", "dy @ k[a, b] instead of its transpose, F = C", "transposed",
    lambda dy, x, k, dx, dk, db: (conv_dx(dy, x, k.swapaxes(2, 3)), dk, db), kernel=numbers(6, 3, 3, 2, 2),
)  # fmt: skip
plant_conv("one entry of hundreds", "an index typed by hand", None, lambda dy, x, k, dx, dk, db: (_one_entry(dx), dk, db))
plant_conv("last column of a strided image", "a pixel that no window sees gets a gradient", None,
           lambda dy, x, k, dx, dk, db: (_last_column(dx), dk, db), strides=(2, 2))  # fmt: skip


def _overwrite(dy, x, k):
    dx = np.zeros_like(x)
    for a in range(3):
        for b in range(3):
            dx[:, a : a + dy.shape[1], b : b + dy.shape[2]] = dy @ k[a, b].T
    return dx


def _unstrided(dy, x, k):
    dx = np.zeros_like(x)
    for a in range(3):
        for b in range(3):
            dx[:, a : a + dy.shape[1], b : b + dy.shape[2]] += dy @ k[a, b].T
    return dx


def _fold_padding(dy, x, k):
    dx = conv_dx(dy, x, k, padding="same")
    dx[:, 0] += dy[:, 0] @ k[0, 1].T
    return dx


def _no_border(dx):
    inner = np.zeros_like(dx)
    inner[:, 1:-1, 1:-1] = dx[:, 1:-1, 1:-1]
    return inner


def _first_sample(dy, x, k):
    return conv2d.backward(dy[:1], (x[:1], k, None, (1, 1), "valid", (1, 1), 1))[1]


def _one_entry(dx):
    dx = dx.copy()
    dx[1, 2, 3, 0] += 1e-3
    return dx


def _last_column(dx):
    dx = dx.copy()
    dx[:, :, -1] += dx[:, :, -2]
    return dx


# Pooling.


def max_forward(x):
    return max_pool2d.forward(x, (2, 2), (2, 2))


def overlapping_forward(x):
    return max_pool2d.forward(x, (3, 3), (1, 1))


def average_forward(x):
    return average_pool2d.forward(x, (2, 2), (2, 2))


def padded_average_forward(x):
    return average_pool2d.forward(x, (3, 3), (2, 2), "same")


def spread(dy, c):
    return average_pool2d.backward(dy, tuple(c[1:]))


def _repeat(dy):
    return dy.repeat(2, axis=1).repeat(2, axis=2)


def _last_window_wins(dy, c):
    winner, shape = c[0], c[1]
    dx = np.zeros(shape)
    n, i, j, f = np.indices(winner.shape)
    dx[n, i + winner // 3, j + winner % 3, f] = dy
    return dx


def _uniform_members(dy, c):
    x = np.zeros(c[0])
    return average_pool2d.backward(dy * average_pool2d.members(c[0], (3, 3), (2, 2), *_sliding(x)) / 9, c)


def _sliding(x):
    from minitl.ops.window import slide2d

    return slide2d(x.shape, (3, 3), (2, 2), "same")


plant("max_pool2d: the mean's gradient", "shared among the window", None, max_forward, spread, IMAGES)
plant("max_pool2d: everyone wins", "dy repeated over the window", None, max_forward, lambda dy, c: _repeat(dy), IMAGES)
plant("max_pool2d: winner transposed", "a and b exchanged", None, max_forward,
      lambda dy, c: max_pool2d.backward(dy, (c[0] % 2 * 2 + c[0] // 2, *c[1:])), IMAGES)  # fmt: skip
plant(
    "max_pool2d: halved", "a tie rule applied to all", "factor", max_forward, lambda dy, c: max_pool2d.backward(dy, c) / 2, IMAGES
)
plant("max_pool2d: overlaps overwritten", "dx[winner] = dy", None, overlapping_forward, _last_window_wins, IMAGES)
plant("max_pool2d: the smallest wins", "argmin", None, max_forward,
      lambda dy, c: max_pool2d.backward(dy, (3 - c[0], *c[1:])), IMAGES)  # fmt: skip
plant(
    "average_pool2d: not divided",
    "the sum's gradient",
    "factor",
    average_forward,
    lambda dy, c: 4 * average_pool2d.backward(dy, c),
    IMAGES,
)
plant(
    "average_pool2d: padding counted",
    "divided by 9 at the border, too",
    "border",
    padded_average_forward,
    _uniform_members,
    IMAGES,
)
plant("average_pool2d: first pixel only", "a mean taken for a stride", None, average_forward,
      lambda dy, c: average_pool2d.backward(dy, c) * (np.indices(c[0])[1:3].sum(axis=0) % 2 == 0) * 2, IMAGES)  # fmt: skip
plant("global_average_pool2d: divided by height only", "/ H", "factor", global_average_pool2d.forward,
      lambda dy, c: 6 * np.asarray(global_average_pool2d.backward(dy, c)), IMAGES)  # fmt: skip
plant("global_average_pool2d: divided by the batch as well", "mean over axes 0, 1, 2", "factor", global_average_pool2d.forward,
      lambda dy, c: global_average_pool2d.backward(dy, c) / 3, IMAGES)  # fmt: skip
plant("flatten: column order", "order='F' in backward", None, flatten.forward,
      lambda dy, c: dy.reshape(IMAGES.shape, order="F"), IMAGES)  # fmt: skip

# Activations.

plant("relu: passes all", "the mask forgotten", "elementwise", relu.forward, lambda dy, y: dy, ROWS)
plant("relu: mask of dy", "dy > 0 instead of x > 0", None, relu.forward, lambda dy, y: np.where(dy > 0, dy, 0), ROWS)
plant(
    "relu: leaks", "0.01 below zero, from another layer", None, relu.forward, lambda dy, y: np.where(y > 0, dy, 0.01 * dy), ROWS
)
plant("relu: mask inverted", "<= 0", None, relu.forward, lambda dy, y: np.where(y > 0, 0, dy), ROWS)
plant("sigmoid: dy left out", "y (1 - y), tested with ones", "dy", sigmoid.forward, lambda dy, y: y * (1 - y), ROWS)
plant("sigmoid: y forgotten", "1 - y", "elementwise", sigmoid.forward, lambda dy, y: dy * (1 - y), ROWS)
plant("sigmoid: derivative of the derivative", "sigmoid applied to y again", None, sigmoid.forward,
      lambda dy, y: dy * sigmoid.forward(y)[0] * (1 - sigmoid.forward(y)[0]), ROWS)  # fmt: skip
plant("tanh: 1 - y", "the square forgotten", "elementwise", tanh.forward, lambda dy, y: dy * (1 - y), ROWS)
plant("tanh: sigmoid's rule", "y (1 - y)", None, tanh.forward, lambda dy, y: dy * y * (1 - y), ROWS)
plant("tanh: dy squared", "dy multiplied in by caller and callee", "dy", tanh.forward, lambda dy, y: dy**2 * (1 - y**2), ROWS)
plant(
    "softmax: factor",
    "invisible to an upstream of ones",
    "factor",
    softmax.forward,
    lambda dy, p: 2 * softmax.backward(dy, p),
    ROWS,
)
plant("softmax: diagonal only", "p (1 - p), as if scores were apart", None, softmax.forward, lambda dy, p: dy * p * (1 - p), ROWS)
plant("softmax: sum over the batch", "axis 0", None, softmax.forward,
      lambda dy, p: p * (dy - (dy * p).sum(axis=0, keepdims=True)), ROWS)  # fmt: skip
plant("softmax: sum without p", "sum of dy", None, softmax.forward, lambda dy, p: p * (dy - dy.sum(axis=-1, keepdims=True)), ROWS)
plant(
    "softmax: mean for sum",
    "mean of dy p",
    None,
    softmax.forward,
    lambda dy, p: p * (dy - (dy * p).mean(axis=-1, keepdims=True)),
    ROWS,
)


def dropout_forward(x):
    return dropout.forward(x, 0.4, np.random.default_rng(7))


plant("dropout: not scaled", "mask without 1 / (1 - rate)", "factor", dropout_forward, lambda dy, m: dy * (m > 0), ROWS)
plant("dropout: another mask", "drawn anew in backward", None, dropout_forward,
      lambda dy, m: dy * dropout.forward(dy, 0.4, np.random.default_rng(8))[1], ROWS)  # fmt: skip
plant("dropout: no mask", "dy passed on", None, dropout_forward, lambda dy, m: dy, ROWS)

# Batch normalisation.


def norm_forward(x, gamma, beta):
    return batch_norm.forward(x, gamma, beta, *batch_norm.statistics(x), 1e-3, True)


def norm_with(change):
    def backward(dy, c):
        x, gamma, mean, r, _ = c
        return change(dy, (x - mean) * r, dy * gamma, r, *batch_norm.backward(dy, c))

    return backward


def plant_norm(name, story, kind, change):
    plant(f"batch_norm: {name}", story, kind, norm_forward, norm_with(change), IMAGES, numbers(8, 2) + 2, numbers(9, 2))


def over(a):
    return a.mean(axis=(0, 1, 2))


plant_norm(
    "mean's way missing", "mean taken for a constant", "statistics",
    lambda dy, xh, g, r, dx, dg, db: (r * (g - xh * over(g * xh)), dg, db),
)  # fmt: skip
plant_norm(
    "variance's way missing", "variance taken for a constant", "statistics",
    lambda dy, xh, g, r, dx, dg, db: (r * (g - over(g)), dg, db),
)  # fmt: skip
plant_norm(
    "both ways missing", "inference's gradient while training", "statistics", lambda dy, xh, g, r, dx, dg, db: (r * g, dg, db)
)
plant_norm(
    "mean's way twice", "added in two branches", "statistics",
    lambda dy, xh, g, r, dx, dg, db: (r * (g - 2 * over(g) - xh * over(g * xh)), dg, db),
)  # fmt: skip
plant_norm("gamma forgotten in dx", "dy for dy gamma", "per axis", lambda dy, xh, g, r, dx, dg, db: (dx * (dy / g), dg, db))
plant_norm("r forgotten", "not divided by the deviation", "per axis", lambda dy, xh, g, r, dx, dg, db: (dx / r, dg, db))
plant_norm("dgamma with x", "x for x_hat", None, lambda dy, xh, g, r, dx, dg, db: (dx, (dy * IMAGES).sum(axis=(0, 1, 2)), db))
plant_norm(
    "dgamma averaged", "mean over the batch", "factor", lambda dy, xh, g, r, dx, dg, db: (dx, dg / IMAGES[..., 0].size, db)
)
plant_norm("dbeta over the batch only", "pixels forgotten", "axes", lambda dy, xh, g, r, dx, dg, db: (dx, dg, dy.sum(axis=0)))
plant_norm(
    "unbiased variance", "divided by M - 1 in backward", None,
    lambda dy, xh, g, r, dx, dg, db: (r * (g - over(g) - xh * over(g * xh) * 108 / 107), dg, db),
)  # fmt: skip
plant_norm("dgamma and dbeta exchanged", "returned in the wrong order", None, lambda dy, xh, g, r, dx, dg, db: (dx, db, dg))

# Losses.

SCORES, LABELS = numbers(10, 6, 5), np.array([0, 1, 2, 3, 4, 1])
ONE_HOT = np.eye(5)[LABELS]


def sparse_forward(z):
    return sparse_categorical_cross_entropy.forward(z, LABELS, None, True)


def one_hot_forward(z):
    return categorical_cross_entropy.forward(z, ONE_HOT, None, True)


def binary_forward(z):
    return binary_cross_entropy.forward(z, ONE_HOT, None, True)


def square_forward(z):
    return mean_squared_error.forward(z, ONE_HOT)


def sparse_right(dy, c):
    return sparse_categorical_cross_entropy.backward(dy, c)


plant(
    "cross-entropy: not divided by N",
    "the sum's gradient",
    "factor",
    sparse_forward,
    lambda dy, c: 6 * sparse_right(dy, c),
    SCORES,
)
plant(
    "cross-entropy: divided by the elements",
    "mean() over classes, too",
    "factor",
    sparse_forward,
    lambda dy, c: sparse_right(dy, c) / 5,
    SCORES,
)
plant(
    "cross-entropy: p without t",
    "the target forgotten",
    None,
    sparse_forward,
    lambda dy, c: dy * softmax.forward(c[0])[0] / 6,
    SCORES,
)
plant(
    "cross-entropy: t - p", "the sign", "sign", one_hot_forward, lambda dy, c: -categorical_cross_entropy.backward(dy, c), SCORES
)
plant(
    "cross-entropy: scores for p",
    "z - t, softmax forgotten",
    None,
    one_hot_forward,
    lambda dy, c: dy * (c[0] - ONE_HOT) / 6,
    SCORES,
)
plant(
    "cross-entropy: dloss left out",
    "called with 1 all its life",
    None,
    sparse_forward,
    lambda dy, c: sparse_right(1.0, c),
    SCORES,
)
plant("binary cross-entropy: softmax's p", "the wrong activation", None, binary_forward,
      lambda dy, c: dy * (softmax.forward(c[0])[0] - ONE_HOT) / 30, SCORES)  # fmt: skip
plant("binary cross-entropy: divided by N only", "classes not counted", "factor", binary_forward,
      lambda dy, c: 5 * binary_cross_entropy.backward(dy, c), SCORES)  # fmt: skip
plant(
    "mean squared error: 2 forgotten",
    "of the square",
    "factor",
    square_forward,
    lambda dy, c: mean_squared_error.backward(dy, c) / 2,
    SCORES,
)
plant(
    "mean squared error: absolute value's gradient",
    "sign(d)",
    None,
    square_forward,
    lambda dy, c: dy * np.sign(SCORES - ONE_HOT) / 30,
    SCORES,
)


class HalfSquare(losses.MeanSquaredError):
    def backward(self):
        return super().backward() / 2


PLANTED.append(
    Planted("loss object: half", "a factor for convenience", "factor", HalfSquare(), (SCORES,), {"y": ONE_HOT})
)  # fmt: skip

# What larger networks are made of: one mistake for each.


def plant_op(module, name, story, kind, change, *arguments, **settings):
    def forward(*inputs):
        return module.forward(*inputs, **settings)

    def backward(dy, cache):
        return change(dy, cache, module.backward(dy, cache))

    plant(f"{module.__name__.rpartition('.')[2]}: {name}", story, kind, forward, backward, *arguments)


WIDE, TALL = numbers(31, 5, 4), numbers(32, 5, 4)
plant_op(
    add, "shares the gradient", "dy / 2 for each of two paths", "factor", lambda dy, c, d: tuple(g / 2 for g in d), WIDE, TALL
)
plant_op(
    multiply, "times itself", "dx = dy x instead of dy times the other", None, lambda dy, c, d: (dy * c[0], dy * c[1]), WIDE, TALL
)
plant_op(maximum, "to everybody", "dy for the loser too", None, lambda dy, c, d: (dy, dy), WIDE, TALL)
plant_op(concatenate, "parts exchanged", "cut in the wrong order", None, lambda dy, c, d: d[::-1], WIDE, TALL)
plant_op(
    dot, "transpose forgotten", "db = dy a", None, lambda dy, c, d: (d[0], dy @ c[0]), numbers(33, 2, 3, 4), numbers(34, 2, 3, 4)
)
plant_op(
    depthwise_conv2d, "dx through a flipped kernel", "a full convolution's habit", "flipped",
    lambda dy, c, d: (depthwise_conv2d.backward(dy, (c[0], c[1][::-1, ::-1], *c[2:]))[0], *d[1:]),
    IMAGES, numbers(35, 3, 3, 2, 1), numbers(36, 2),
)  # fmt: skip
plant_op(
    conv2d_transpose, "bias averaged", "mean over the pixels", "factor", lambda dy, c, d: (*d[:2], dy.mean(axis=(0, 1, 2))),
    IMAGES, numbers(37, 2, 2, 3, 2), numbers(38, 3),
)  # fmt: skip
plant_op(
    embedding, "a word that occurs twice", "table[x] += dy keeps the last one", None,
    lambda dy, c, d: _last_one(dy, c), numbers(39, 4, 3), np.array([[0, 1, 1], [3, 1, 0]]),
)  # fmt: skip
plant_op(
    group_norm, "statistics taken for constants", "the direct way alone", None,
    lambda dy, c, d: ((c[2] * group_norm.grouped(dy * c[1], c[3], c[4])).reshape(dy.shape), *d[1:]),
    numbers(40, 3, 2, 2, 4), numbers(41, 4), numbers(42, 4), groups=2, epsilon=1e-3,
)  # fmt: skip
plant_op(upsample2d, "mean instead of sum", "dy averaged over the block", "factor", lambda dy, c, d: d / 4, IMAGES, size=(2, 2))
plant_op(
    leaky_relu, "slope forgotten", "dy where x > 0, else 0", None, lambda dy, c, d: np.where(c[0] > 0, dy, 0), WIDE, slope=0.2
)
plant_op(
    elu, "of x instead of y", "x + alpha on the negative side", None, lambda dy, c, d: dy * np.where(c[0] > 0, 1, 2 + c[0]), WIDE
)
plant_op(gated, "the gate alone", "x g' forgotten", None, lambda dy, c, d: dy * gated.passes(*c)[0], WIDE)
plant_op(hard_sigmoid, "slope of one", "dy inside", "factor", lambda dy, c, d: 6 * d, WIDE)
plant_op(softplus, "tanh for the sigmoid", "a scale forgotten", None, lambda dy, c, d: dy * np.tanh(c), WIDE)
plant_op(exponential, "of the gradient", "dy exp(y)", None, lambda dy, c, d: dy * np.exp(c), WIDE)
plant_op(prelu, "dalpha from both sides", "dy x everywhere", None, lambda dy, c, d: (d[0], (dy * c[0]).sum(axis=0)), WIDE, BIAS)
RECURRENT = (numbers(50, 2, 3, 8), numbers(51, 2, 8))
plant_op(lstm, "dh not passed on", "each step alone", None, lambda dy, c, d: (_steps_alone(lstm, dy, c), d[1]), *RECURRENT)
plant_op(lstm, "dR of the step itself", "h[t] for h[t-1]", None, lambda dy, c, d: (d[0], np.einsum("ntu,ntv->uv", c[3], d[0])),
         *RECURRENT)  # fmt: skip
plant_op(
    simple_rnn, "slope of the inputs", "1 - h^2 forgotten", None, lambda dy, c, d: (d[0] / (1 - c[1] ** 2), d[1]),
    numbers(56, 2, 3, 2), numbers(57, 2, 2),
)  # fmt: skip
plant_op(
    gru, "one bias for two", "de of the inputs' sums", None, lambda dy, c, d: (*d[:2], d[0].sum(axis=(0, 1))),
    numbers(52, 2, 3, 6), numbers(53, 2, 6), numbers(54, 6),
)  # fmt: skip
plant_op(
    crf, "the right labels forgotten", "probabilities alone", None,
    lambda dy, c, d: d + dy * c[2][:, None, None, None] / len(c[1]) * crf.right(c[1], c[0].shape),
    numbers(55, 2, 3, 2, 2), labels=np.array([[0, 1, 1], [1, 0, -1]]),
)  # fmt: skip


def _steps_alone(module, dy, cache):
    total = 0
    for t in range(dy.shape[1]):
        one = np.zeros_like(dy)
        one[:, t] = dy[:, t]
        found = module.backward(one, cache)[0]
        found[:, :t] = 0
        total = total + found
    return total


def _last_one(dy, cache):
    x, shape = cache
    table = np.zeros(shape)
    table[x.reshape(-1)] += dy.reshape(-1, shape[1])
    return table


# Layers: state between calls, things changed in place.


class AddsUp(Dense):
    def linear_backward(self, dz, cache, need):
        dx, gradients = super().linear_backward(dz, cache, need)
        self.sum = gradients["kernel"] = gradients["kernel"] + getattr(self, "sum", 0)
        return dx, gradients


class Overwrites(Layer):
    def forward(self, x, training):
        self.y = np.maximum(x, 0)
        return self.y

    def backward(self, dy):
        dy *= self.y > 0
        return dy


class UsesUp(Layer):
    def forward(self, x, training):
        self.x = x * 1
        return x**2

    def backward(self, dy):
        self.x *= 2
        return self.x * dy


class OldGradient(Layer):
    def build(self, input_shape):
        self.w, self.old = self.add_weight("w", input_shape[-1:], "ones"), None

    def forward(self, x, training):
        self.x = x
        return x * self.w

    def backward(self, dy):
        if self.old is None:
            self.old = (np.ones_like(dy) * self.x).sum(axis=0) * 0.3
        self.gradients["w"] = self.old
        return dy * self.w


class UpdatesItself(Dense):
    def linear_backward(self, dz, cache, need):
        dx, gradients = super().linear_backward(dz, cache, need)
        self.parameters["kernel"] -= 0.01 * gradients["kernel"]
        return dx, gradients


class MixesSamples(Layer):
    def forward(self, x, training):
        return np.roll(x, 1, axis=0)

    def backward(self, dy):
        return np.roll(dy, -1, axis=0)


class BatchOrder(Layer):
    def forward(self, x, training):
        self.scale = np.arange(1, len(x) + 1).reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)
        return x * self.scale

    def backward(self, dy):
        return dy * self.scale


class FrozenNorm(BatchNormalization):
    def backpropagate(self, dy, cache, need):
        return super().backpropagate(dy, (*cache[:4], False), need)


class InferenceOnly(Dropout):
    def backpropagate(self, dy, cache, need):
        return (dy * 0.5, {}) if cache is None else super().backpropagate(dy, cache, need)


class ActivationForgotten(Dense):
    def backpropagate(self, dy, cache, need):
        return self.linear_backward(dy, cache[0], need)


class StrideIgnored(Conv2D):
    def linear_backward(self, dz, cache, need):
        dx, gradients = super().linear_backward(dz, cache, need)
        return dx[:, ::-1] if need.dx and self.strides != (1, 1) else dx, gradients


class Integers(Layer):
    def forward(self, x, training):
        return x * 3

    def backward(self, dy):
        return (dy * 3).astype(int)


class Single(Layer):
    def forward(self, x, training):
        return x * 3

    def backward(self, dy):
        return (dy * 3).astype(np.float32)


plant_layer("layer: gradients add up", "+= and nothing that clears", None, AddsUp(3), ROWS)
plant_layer("layer: dy overwritten", "dy *= mask, while another branch holds dy", None, Overwrites(), ROWS)
plant_layer("layer: cache used up", "the cache scaled in place", None, UsesUp(), ROWS)
plant_layer("layer: an old gradient", "computed once, kept for ever", "stale", OldGradient(), ROWS)
plant_layer("layer: updates its weights in backward", "the optimizer's work done in the layer", None, UpdatesItself(3), ROWS)
plant_layer("layer: samples mixed", "a roll along the batch", None, MixesSamples(), ROWS)
plant_layer("layer: batch order", "a factor by position in the batch", None, BatchOrder(), ROWS)
plant_layer("BatchNormalization: constants in training", "the frozen branch taken always", "statistics", FrozenNorm(), IMAGES)
plant_layer("Dropout: wrong in inference", "scaled when nothing was dropped", "factor", InferenceOnly(0.5), ROWS)
plant_layer("Dense: activation's gradient forgotten", "dy taken for dz", None, ActivationForgotten(3, activation="tanh"), ROWS)
plant_layer(
    "Conv2D: wrong with strides only", "tested with stride 1", "flipped", StrideIgnored(3, 3, strides=2), numbers(11, 2, 7, 7, 2)
)
plant_layer("layer: integer gradient", "astype(int)", None, Integers(), ROWS)
plant_layer("layer: narrow gradient", "astype(np.float32)", None, Single(), ROWS)
