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
    batches, channels = (3, [1, 3]) if ties else (8, [1, 2, 3, 5, 17])  # where all is tied, every coordinate is tried at length
    shape = (draw(st.integers(1, batches)), draw(sizes), draw(sizes), draw(st.sampled_from(channels)))
    return numbers(draw, shape, dtype, ties)


def window(draw, x):
    """Window, strides and padding that suit images x; as large as the image, and larger where padding allows."""
    padding = draw(st.sampled_from(["valid", "same"]))
    limit = [n if padding == "valid" else n + 2 for n in x.shape[1:3]]
    size = tuple(draw(st.integers(1, min(n, 5)) | st.just(n)) for n in limit)
    return size, (draw(st.integers(1, 3)), draw(st.integers(1, 3))), padding


@st.composite
def plain_conv2d(draw, dtype, ties=False):
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
def max_pool(draw, dtype, ties=False):
    x, size, strides, padding = draw(pool(dtype, ties))
    zeros = tuple((draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))) for n in size)
    fits = all(n + sum(around) >= w for n, around, w in zip(x.shape[1:3], zeros, size, strict=True))
    return x, size, strides, draw(st.sampled_from([padding, zeros] if fits else [padding]))


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


@st.composite
def merged(draw, dtype, ties=False):
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    shapes = [shape, *[tuple(n if draw(st.booleans()) else 1 for n in shape) for _ in range(draw(st.integers(0, 3)))]]
    return tuple(numbers(draw, s, dtype, ties) for s in draw(st.permutations(shapes)))


@st.composite
def concatenated(draw, dtype, ties=False):
    rest = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    return tuple(numbers(draw, (*rest, draw(st.integers(1, 5))), dtype) for _ in range(draw(st.integers(1, 4))))


@st.composite
def dot(draw, dtype, ties=False):
    n, i, j, k = (draw(st.integers(1, 6)) for _ in range(4))
    return numbers(draw, (n, i, k), dtype), numbers(draw, (n, j, k), dtype)


@st.composite
def conv2d_with_groups(draw, dtype, ties=False):
    """Every third case plain, the others with dilation, groups, or both."""
    if draw(st.integers(0, 2)) == 0:
        return draw(plain_conv2d(dtype))
    groups, dilation = draw(st.sampled_from([1, 2, 3])), (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    x = numbers(
        draw, (draw(st.integers(1, 3)), *(draw(st.integers(5, 9)) for _ in range(2)), groups * draw(st.integers(1, 3))), dtype
    )
    size = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    strides = (1, 1) if dilation != (1, 1) else (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    filters = groups * draw(st.sampled_from([1, 2, 16]))
    kernel = numbers(draw, (*size, x.shape[3] // groups, filters), dtype)
    bias = numbers(draw, (filters,), dtype) if draw(st.booleans()) else None
    return x, kernel, bias, strides, draw(st.sampled_from(["valid", "same"])), dilation, groups


@st.composite
def depthwise_conv2d(draw, dtype, ties=False):
    x = numbers(
        draw,
        (draw(st.integers(1, 4)), *(draw(st.integers(3, 9)) for _ in range(2)), draw(st.sampled_from([1, 3, 16, 35]))),
        dtype,
    )
    size, multiplier = tuple(draw(st.integers(1, min(5, n))) for n in x.shape[1:3]), draw(st.sampled_from([1, 1, 2]))
    dilation = (draw(st.integers(1, 2)), 1) if 2 * size[0] - 1 <= x.shape[1] else (1, 1)
    strides = (1, 1) if dilation != (1, 1) else (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    kernel = numbers(draw, (*size, x.shape[3], multiplier), dtype)
    bias = numbers(draw, (x.shape[3] * multiplier,), dtype) if draw(st.booleans()) else None
    zeros = tuple((draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))) for n in size)
    return x, kernel, bias, strides, draw(st.sampled_from(["valid", "same", zeros])), dilation


@st.composite
def conv2d_transpose(draw, dtype, ties=False):
    x = numbers(draw, (draw(st.integers(1, 3)), draw(sizes), draw(sizes), draw(st.sampled_from([1, 3, 17]))), dtype)
    size, strides = ((draw(st.integers(1, 4)), draw(st.integers(1, 4))) for _ in range(2))
    filters = draw(st.sampled_from([1, 4, 16]))
    bias = numbers(draw, (filters,), dtype) if draw(st.booleans()) else None
    padding = draw(st.sampled_from(["valid", "same"]))
    more = tuple(draw(st.integers(0, s - 1)) for s in strides) if draw(st.booleans()) else None
    if padding == "same" and any(n == 1 and k % 2 == 0 for n, k in zip(x.shape[1:3], size, strict=True)):
        more = None  # nothing of y might be left
    return x, numbers(draw, (*size, filters, x.shape[3]), dtype), bias, strides, padding, more


@st.composite
def embedding(draw, dtype, ties=False):
    words, units = draw(st.integers(1, 7)), draw(st.integers(1, 5))
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=2)))
    return numbers(draw, (words, units), dtype), np.random.default_rng(draw(seeds)).integers(0, words, shape)


@st.composite
def group_norm(draw, dtype, ties=False):
    groups, axes = draw(st.sampled_from([(1, "last"), (1, "all"), (2, "all"), (3, "all")]))
    channels = groups * draw(st.integers(2, 5))
    x = numbers(draw, (draw(st.integers(1, 4)), *draw(st.sampled_from([(), (3, 4), (2,)])), channels), dtype)
    return x, numbers(draw, (channels,), dtype), numbers(draw, (channels,), dtype), groups, 1e-3, axes


@st.composite
def upsample2d(draw, dtype, ties=False):
    return images(draw, dtype), (draw(st.integers(1, 3)), draw(st.integers(1, 3)))


@st.composite
def leaky_relu(draw, dtype, ties=False):
    (x,) = draw(elementwise(dtype, ties))
    return x, draw(st.sampled_from([0.0, 0.2])), draw(st.sampled_from([0.0, 0.5])), draw(st.sampled_from([np.inf, 1.0]))


@st.composite
def elu(draw, dtype, ties=False):
    return (*draw(elementwise(dtype)), draw(st.sampled_from([1.0, 1.7])), draw(st.sampled_from([1.0, 1.05])))


@st.composite
def gated(draw, dtype, ties=False):
    return (*draw(elementwise(dtype)), draw(st.sampled_from(["sigmoid", "hard_sigmoid", "normal", "normal_tanh"])))


@st.composite
def prelu(draw, dtype, ties=False):
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=2, max_size=4)))
    return numbers(draw, shape, dtype), numbers(draw, tuple(n if draw(st.booleans()) else 1 for n in shape[1:]), dtype)


def _recurrent(draw, dtype, gates, states=1):
    n, steps, units = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    mask = np.random.default_rng(draw(seeds)).random((n, steps)) < 0.7 if draw(st.booleans()) else None
    drop = np.abs(numbers(draw, (n, units), dtype)) if draw(st.integers(0, 3)) == 0 else None
    start = numbers(draw, (n, states * units), dtype) if draw(st.booleans()) else None
    return numbers(draw, (n, steps, gates * units), dtype), numbers(draw, (units, gates * units), dtype), start, mask, drop


@st.composite
def lstm(draw, dtype, ties=False):
    return _recurrent(draw, dtype, 4, 2)


@st.composite
def gru(draw, dtype, ties=False):
    x, recurrent, start, mask, drop = _recurrent(draw, dtype, 3)
    bias = numbers(draw, recurrent.shape[1:], dtype) if draw(st.booleans()) else None
    return x, recurrent, bias, start, mask, drop


@st.composite
def simple_rnn(draw, dtype, ties=False):
    x, recurrent, start, mask, drop = _recurrent(draw, dtype, 1)
    return x, recurrent, start, draw(st.booleans()), mask, drop


@st.composite
def crf(draw, dtype, ties=False):
    n, steps, classes = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    random = np.random.default_rng(draw(seeds))
    labels = random.integers(0, classes, (n, steps))
    labels[np.arange(steps) >= random.integers(1, steps + 1, n)[:, None]] = -1
    weights = np.abs(numbers(draw, (n,), dtype)) if draw(st.booleans()) else None
    return numbers(draw, (n, steps, classes, classes), dtype), labels, weights


CASES = {
    "crf": crf,
    "gru": gru,
    "lstm": lstm,
    "simple_rnn": simple_rnn,
    "average_pool2d": pool,
    "batch_norm": batch_norm,
    "binary_cross_entropy": binary_cross_entropy,
    "categorical_cross_entropy": categorical_cross_entropy,
    "conv2d": conv2d_with_groups,
    "add": merged,
    "concatenate": concatenated,
    "conv2d_transpose": conv2d_transpose,
    "depthwise_conv2d": depthwise_conv2d,
    "dot": dot,
    "elu": elu,
    "embedding": embedding,
    "exponential": elementwise,
    "gated": gated,
    "group_norm": group_norm,
    "hard_sigmoid": elementwise,
    "leaky_relu": leaky_relu,
    "maximum": merged,
    "multiply": merged,
    "prelu": prelu,
    "softplus": elementwise,
    "upsample2d": upsample2d,
    "dense": dense,
    "dropout": dropout,
    "flatten": elementwise,
    "global_average_pool2d": global_pool,
    "max_pool2d": max_pool,
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
