"""`layer.build(shape)`, called by hand: the layer is built then, as in Keras."""

import numpy as np
import pytest

from minitl import layers
from minitl.layers import Dense, Input, Layer
from minitl.models import Model, Sequential

RANDOM = np.random.default_rng(0)

CASES = {
    "Dense": (lambda: layers.Dense(3), (5,)),
    "Conv2D": (lambda: layers.Conv2D(3, 2), (6, 6, 2)),
    "Conv1D": (lambda: layers.Conv1D(3, 2), (6, 2)),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(3, 2), (6, 6, 2)),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(3, 2), (6, 6, 2)),
    "BatchNormalization": (layers.BatchNormalization, (6, 6, 2)),
    "LayerNormalization": (layers.LayerNormalization, (6,)),
    "LSTM": (lambda: layers.LSTM(3), (6, 2)),
    "Bidirectional": (lambda: layers.Bidirectional(layers.GRU(3)), (6, 2)),
    "RNN": (lambda: layers.RNN(layers.LSTMCell(3)), (6, 2)),
    "TimeDistributed": (lambda: layers.TimeDistributed(layers.Dense(3)), (6, 2)),
    "PReLU": (layers.PReLU, (6,)),
    "Flatten": (layers.Flatten, (6, 2)),
}


@pytest.mark.parametrize("name", CASES)
def test_weights_that_are_set_after_build_stay(name):
    make, shape = CASES[name]
    layer = make()
    layer.build((None, *shape))
    assert layer.built
    weights = [RANDOM.normal(size=w.shape).astype(np.float32) ** 2 for w in layer.get_weights()]
    layer.set_weights(weights)
    x = RANDOM.normal(size=(4, *shape)).astype(np.float32)
    y = layer(x)
    for now, given in zip(layer.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, given)
    other = make()
    other(x)
    other.set_weights(weights)
    np.testing.assert_array_equal(other(x), y)
    inputs = Input(shape)
    np.testing.assert_array_equal(Model(inputs, layer(inputs)).predict(x, verbose=0), y)
    assert layer.output_shape == (None, *y.shape[1:])


def test_several_inputs():
    layer = layers.Attention(use_scale=True)
    layer.build([(None, 4, 3), (None, 5, 3)])
    weights = [w + 1 for w in layer.get_weights()]
    layer.set_weights(weights)
    layer([RANDOM.normal(size=(2, 4, 3)), RANDOM.normal(size=(2, 5, 3))])
    np.testing.assert_array_equal(layer.get_weights()[0], weights[0])


class Scaled(Layer):
    """A layer of a user's, which holds another one and calls its base's build."""

    def build(self, input_shape):
        self.inner = Dense(3)
        self.inner.build(input_shape)
        self.gamma = self.add_weight("gamma", (3,), "ones")
        super().build(input_shape)

    def call(self, x):
        return self.inner(x) * self.gamma


class Deeper(Scaled):
    def build(self, input_shape):
        super().build(input_shape)
        assert not self.built, "not before its own weights are there"
        self.beta = self.add_weight("beta", (3,), "zeros")

    def call(self, x):
        return super().call(x) + self.beta


@pytest.mark.parametrize("kind", [Scaled, Deeper])
def test_a_users_layer_that_holds_layers(kind):
    layer = kind()
    layer.build((None, 4))
    assert layer.built and layer.inner.built
    weights = [RANDOM.normal(size=w.shape).astype(np.float32) for w in layer.get_weights()]
    layer.set_weights(weights)
    x = RANDOM.normal(size=(2, 4)).astype(np.float32)
    first = layer(x)
    for now, given in zip(layer.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, given)
    model = Sequential([Input((4,)), layer])
    np.testing.assert_allclose(model.predict(x, verbose=0), first, rtol=1e-6)


def test_a_layer_is_built_once():
    layer = Dense(3)
    layer.build((None, 4))
    kernel = layer.kernel
    layer.build((None, 4))
    assert layer.kernel is kernel
    with pytest.raises(ValueError, match=r"it is built already; use a new layer"):
        layer.build((None, 5))
    with pytest.raises(ValueError, match=r"expected shape \(None, 4\), got \(2, 5\)"):
        layer(np.zeros((2, 5)))


def test_a_build_that_fails_leaves_nothing():
    layer = layers.Conv2D(3, 9)
    with pytest.raises(ValueError, match="Conv2D"):
        layer(np.zeros((1, 4, 4, 2)))
    assert not layer.built and not layer.get_weights()
