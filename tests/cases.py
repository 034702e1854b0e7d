"""Generated arguments for every operation: one strategy an operation, used by all tests that go through them all."""

import numpy as np
from hypothesis import strategies as st

sizes = st.integers(1, 9)
seeds = st.integers(0, 2**32 - 1)


def numbers(draw, shape, dtype, ties=False):
    """Random numbers of a generated seed; with ties, few distinct values, so that maxima and zeros coincide."""
    generator = np.random.default_rng(draw(seeds))
    values = generator.integers(-2, 3, shape) if ties else generator.standard_normal(shape)
    return values.astype(dtype)


def images(draw, dtype, ties=False):
    shape = (draw(st.integers(1, 8)), draw(sizes), draw(sizes), draw(st.sampled_from([1, 2, 3, 5, 17])))
    return numbers(draw, shape, dtype, ties)


def window(draw, x):
    """Window, strides and padding that suit images x; as large as the image, and larger where padding allows."""
    padding = draw(st.sampled_from(["valid", "same"]))
    limit = [n if padding == "valid" else n + 2 for n in x.shape[1:3]]
    size = tuple(draw(st.integers(1, min(n, 5)) | st.just(n)) for n in limit)
    return size, (draw(st.integers(1, 3)), draw(st.integers(1, 3))), padding


@st.composite
def conv2d(draw, dtype, ties=False):
    x = images(draw, dtype)
    size, strides, padding = window(draw, x)
    filters = draw(st.sampled_from([1, 3, 16, 35, 67]))
    kernel = numbers(draw, (*size, x.shape[3], filters), dtype)
    bias = numbers(draw, (filters,), dtype) if draw(st.booleans()) else None
    return x, kernel, bias, strides, padding


@st.composite
def dense(draw, dtype, ties=False):
    leading = draw(st.sampled_from([(1,), (7,), (33,), (2, 3)]))
    units, outputs = draw(st.sampled_from([1, 5, 40, 129])), draw(st.sampled_from([1, 10, 16, 70, 130]))
    bias = numbers(draw, (outputs,), dtype) if draw(st.booleans()) else None
    return numbers(draw, (*leading, units), dtype), numbers(draw, (units, outputs), dtype), bias


@st.composite
def elementwise(draw, dtype, ties=False):
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    return (numbers(draw, tuple(shape), dtype, ties),)


@st.composite
def softmax(draw, dtype, ties=False):
    shape = (*draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)), draw(st.integers(1, 30)))
    return (numbers(draw, shape, dtype) * draw(st.sampled_from([1, 30])),)


@st.composite
def pool(draw, dtype, ties=False):
    x = images(draw, dtype, ties)
    return x, *window(draw, x)


@st.composite
def global_pool(draw, dtype, ties=False):
    return (images(draw, dtype),)


@st.composite
def batch_norm(draw, dtype, ties=False):
    x = numbers(draw, (draw(st.integers(2, 9)), *draw(st.sampled_from([(), (3, 4)])), draw(st.sampled_from([1, 3, 20]))), dtype)
    own = draw(st.booleans())
    axes = tuple(range(x.ndim - 1))
    channels = x.shape[-1]
    mean = x.mean(axis=axes) if own else numbers(draw, (channels,), dtype)
    variance = x.var(axis=axes) if own else np.abs(numbers(draw, (channels,), dtype)) + dtype(0.1)
    return x, numbers(draw, (channels,), dtype), numbers(draw, (channels,), dtype), mean, variance, 1e-3, own


@st.composite
def dropout(draw, dtype, ties=False):
    (x,) = draw(elementwise(dtype))
    return x, draw(st.sampled_from([0.0, 0.3, 0.9])), draw(seeds)


def _predictions(draw, dtype):
    """Logits, or probabilities that sum to one, with their flag; and weights or None."""
    shape = (*draw(st.sampled_from([(1,), (6,), (2, 3)])), draw(st.integers(2, 12)))
    from_logits = draw(st.booleans())
    y_pred = numbers(draw, shape, dtype)
    if not from_logits:
        y_pred = np.exp(y_pred) / np.exp(y_pred).sum(axis=-1, keepdims=True)
    return y_pred, from_logits


@st.composite
def sparse_categorical_cross_entropy(draw, dtype, ties=False):
    y_pred, from_logits = _predictions(draw, dtype)
    labels = np.random.default_rng(draw(seeds)).integers(0, y_pred.shape[-1], y_pred.shape[:-1])
    weights = np.abs(numbers(draw, labels.shape, dtype)) if draw(st.booleans()) else None
    return y_pred, labels, weights, from_logits


@st.composite
def categorical_cross_entropy(draw, dtype, ties=False):
    y_pred, from_logits = _predictions(draw, dtype)
    targets = np.abs(numbers(draw, y_pred.shape, dtype))
    weights = np.abs(numbers(draw, y_pred.shape[:-1], dtype)) if draw(st.booleans()) else None
    return y_pred, targets, weights, from_logits


@st.composite
def binary_cross_entropy(draw, dtype, ties=False):
    y_pred, from_logits = _predictions(draw, dtype)
    targets = (numbers(draw, y_pred.shape, dtype) > 0).astype(dtype)
    weights = np.abs(numbers(draw, y_pred.shape, dtype)) if draw(st.booleans()) else None
    return y_pred, targets, weights, from_logits


@st.composite
def mean_squared_error(draw, dtype, ties=False):
    (y_pred,) = draw(elementwise(dtype))
    weights = np.abs(numbers(draw, y_pred.shape, dtype)) if draw(st.booleans()) else None
    return y_pred, numbers(draw, y_pred.shape, dtype), weights


CASES = {
    "average_pool2d": pool,
    "batch_norm": batch_norm,
    "binary_cross_entropy": binary_cross_entropy,
    "categorical_cross_entropy": categorical_cross_entropy,
    "conv2d": conv2d,
    "dense": dense,
    "dropout": dropout,
    "flatten": elementwise,
    "global_average_pool2d": global_pool,
    "max_pool2d": pool,
    "mean_squared_error": mean_squared_error,
    "relu": elementwise,
    "sigmoid": elementwise,
    "softmax": softmax,
    "sparse_categorical_cross_entropy": sparse_categorical_cross_entropy,
    "tanh": elementwise,
}


def forward_arguments(name, arguments):
    """The same arguments, a fresh generator in the place of dropout's seed."""
    if name == "dropout":
        return (*arguments[:2], np.random.default_rng(arguments[2]))
    return arguments
