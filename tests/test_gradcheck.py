"""The checker itself: it catches planted mistakes, and is not fooled by kinks."""

import numpy as np
import pytest

from minitl.gradcheck import check_gradients
from minitl.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, Layer, MaxPooling2D, ReLU
from minitl.models import Sequential
from minitl.ops import average_pool2d, batch_norm, conv2d, dense, max_pool2d, relu, sigmoid, softmax, tanh

X = np.random.default_rng(3).standard_normal((3, 5, 5, 2))
ROWS = np.random.default_rng(4).standard_normal((4, 4))
SQUARE = np.random.default_rng(5).standard_normal((4, 4))


def conv(kernel=(2, 2, 2, 3)):
    return X, np.random.default_rng(6).standard_normal(kernel), np.ones(kernel[3])


def norm_forward(x, gamma, beta):
    return batch_norm.forward(x, gamma, beta, *batch_norm.statistics(x), 1e-3, True)


def altered(backward, change):
    """A backward whose result goes through `change`."""
    return lambda dy, cache: change(dy, backward(dy, cache))


MISTAKES = {
    "dense: kernel not transposed": (
        dense.forward,
        lambda dy, c: (dy @ c[1], *dense.backward(dy, c)[1:]),
        (ROWS, SQUARE, np.ones(4)),
    ),
    "dense: sign": (dense.forward, altered(dense.backward, lambda dy, r: (-r[0], *r[1:])), (ROWS, SQUARE, np.ones(4))),
    "dense: bias averaged": (
        dense.forward,
        altered(dense.backward, lambda dy, r: (*r[:2], r[2] / 4)),
        (ROWS, SQUARE, np.ones(4)),
    ),
    "conv2d: kernel flipped": (conv2d.forward, altered(conv2d.backward, lambda dy, r: (r[0], r[1][::-1], r[2])), conv()),
    "conv2d: shifted window": (conv2d.forward, altered(conv2d.backward, lambda dy, r: (np.roll(r[0], 1, 1), *r[1:])), conv()),
    "conv2d: bias over the batch only": (
        conv2d.forward,
        altered(conv2d.backward, lambda dy, r: (*r[:2], dy.sum(axis=0)[0, 0])),
        conv(),
    ),
    "softmax: factor": (softmax.forward, lambda dy, p: 2 * softmax.backward(dy, p), (ROWS,)),
    "softmax: diagonal only": (softmax.forward, lambda dy, p: dy * p * (1 - p), (ROWS,)),
    "sigmoid: right for dy = 1 only": (sigmoid.forward, lambda dy, y: y * (1 - y), (ROWS,)),
    "tanh: 1 - y": (tanh.forward, lambda dy, y: dy * (1 - y), (ROWS,)),
    "relu: passes all": (relu.forward, lambda dy, y: dy, (ROWS,)),
    "max pool: mean's gradient": (
        lambda x: max_pool2d.forward(x, (2, 2), (2, 2)),
        lambda dy, c: average_pool2d.backward(dy, (c[1], *c[2:])),
        (X,),
    ),
    "average pool: not divided": (
        lambda x: average_pool2d.forward(x, (2, 2), (2, 2)),
        lambda dy, c: 4 * average_pool2d.backward(dy, c),
        (X,),
    ),
    "batch norm: batch mean forgotten": (
        norm_forward,
        lambda dy, c: batch_norm.backward(dy, (*c[:4], False)),
        (X, np.ones(2), np.ones(2)),
    ),
    "wrong in one entry of hundreds": (
        conv2d.forward,
        altered(conv2d.backward, lambda dy, r: (r[0] + (np.arange(r[0].size).reshape(r[0].shape) == 77) * 1e-3, *r[1:])),
        conv(),
    ),
    "not a number": (tanh.forward, lambda dy, y: dy * np.nan, (ROWS,)),
}


@pytest.mark.parametrize("name", sorted(MISTAKES))
def test_planted_mistakes_are_caught(name):
    forward, backward, inputs = MISTAKES[name]
    report = check_gradients((forward, backward), *inputs)
    assert not report.ok
    assert any(tensor.verdict == "wrong" for tensor in report.tensors)
    with pytest.raises(AssertionError, match="WRONG"):
        report.raise_if_wrong()


def test_kinks_are_skipped_and_counted():
    x = np.array([[0.0, 1.0, -1.0, 2.0, 3e-5, -2.0]])
    report = check_gradients(ReLU(), x)
    (tensor,) = report.tensors
    assert report.ok
    assert tensor.skipped == 2  # 0 lies on the kink, 3e-5 within a step of it
    assert tensor.checked == 4


def test_nothing_but_kinks_is_no_success():
    report = check_gradients(MaxPooling2D(), np.zeros((1, 4, 4, 1)))
    assert not report.ok
    assert "too many kinks" in str(report)


def test_dropout_is_replayed(backend):
    layer = Dropout(0.5)
    assert check_gradients(layer, ROWS).ok
    assert not layer.built  # the checked layer was a copy


def test_a_whole_model_with_its_loss(backend):
    model = Sequential(
        [
            Input((6, 6, 2)),
            Conv2D(3, 3, padding="same", kernel_regularizer="l2"),
            BatchNormalization(),
            ReLU(),
            MaxPooling2D(),
            Flatten(),
            Dropout(0.3),
            Dense(4, activation="softmax", bias_regularizer="l2"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = [w.copy() for w in model.weights]
    x, y = np.random.default_rng(0).standard_normal((5, 6, 6, 2)), np.arange(5) % 4
    report = check_gradients(model, x, y=y, samples=40)
    assert report.ok, report
    assert len(report.tensors) == 7
    assert all((a == b).all() for a, b in zip(before, model.weights, strict=True))
    assert model.weights[0].dtype == np.float32


def test_a_users_layer_that_forgets_a_gradient():
    class Forgets(Layer):
        def build(self, input_shape):
            self.w = self.add_weight("w", (1,), "ones")

        def forward(self, x, training):
            return x * self.w

        def backward(self, dy):
            return dy * self.w

    with pytest.raises(ValueError, match=r"no gradient; set self.gradients\['w'\]"):
        check_gradients(Forgets(), ROWS)


def test_float32_layers_are_checked_in_float64():
    layer = Dense(3)
    layer(ROWS)
    assert check_gradients(layer, ROWS).ok
    assert layer.parameters["kernel"].dtype == np.float32


def test_other_targets_are_refused():
    with pytest.raises(ValueError, match="expected a layer"):
        check_gradients("dense", ROWS)
