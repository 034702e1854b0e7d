"""Models that no shape was given: the sizes of their first data are not for ever."""

import numpy as np
import pytest

import minitl
from minitl import Input, Model, Sequential, layers
from minitl.gradcheck import check_gradients
from minitl.models import load_model

random = np.random.default_rng(0)


class Classifier(Model):
    def __init__(self):
        super().__init__()
        self.convolution = layers.Conv2D(4, 3, activation="relu")
        self.pooling = layers.GlobalAveragePooling2D()
        self.head = layers.Dense(2)

    def call(self, x):
        return self.head(self.pooling(self.convolution(x) + 1.0))


def sequential():
    return Sequential([layers.Conv2D(4, 3), layers.BatchNormalization(), layers.GlobalMaxPooling2D(), layers.Dense(2)])


@pytest.mark.parametrize("make", [sequential, Classifier])
def test_images_of_another_size_go_through_the_same_weights(make, tmp_path):
    model = make()
    model.compile("sgd", "mse")
    model.fit(random.random((8, 12, 12, 3)), random.random((8, 2)), verbose=0)
    names, weights = [name for name, _ in model.named_layers()], model.get_weights()
    images = random.random((3, 16, 12, 3), dtype=np.float32)
    y = model.predict(images)
    assert model.input_shape == (None, None, 12, 3) and [name for name, _ in model.named_layers()] == names
    for before, now in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, now)
    open_from_the_beginning = make()
    open_from_the_beginning.build((None, None, None, 3))
    open_from_the_beginning.set_weights(weights)
    np.testing.assert_array_equal(y, open_from_the_beginning.predict(images))
    model.fit(random.random((8, 9, 14, 3)), random.random((8, 2)), verbose=0)
    assert model.input_shape == (None, None, None, 3)
    assert all((before != now).any() for before, now in zip(weights[:2], model.get_weights()[:2], strict=True))
    assert check_gradients(model, random.random((2, 7, 8, 3)), random.random((2, 2)))
    if make is sequential:
        model.save(tmp_path / "model.npz")
        np.testing.assert_array_equal(load_model(tmp_path / "model.npz").predict(images), model.predict(images))


def test_batches_of_sequences_each_as_long_as_its_longest():
    """One epoch over two lengths is the same, bit for bit, as in a model whose length was open from the beginning."""
    batches = [(random.integers(1, 20, (8, length)), random.random((8, 1))) for length in (5, 9, 5, 3)]
    weights = []
    for given in ([], [Input((None,), dtype="int32")]):
        minitl.utils.set_random_seed(0)
        model = Sequential([*given, layers.Embedding(20, 4), layers.LSTM(6), layers.Dense(1)])
        model.compile("adam", "mse")
        for x, y in batches:
            model.train_on_batch(x, y)
        weights.append(model.get_weights())
    for ours, expected in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_what_cannot_take_other_sizes_says_so_and_stays_as_it_was():
    model = Sequential([layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)])
    x = random.random((2, 8, 8, 3), dtype=np.float32)
    y = model.predict(x)
    for shape in ((2, 9, 8, 3), (2, 8, 8, 4), (2, 8, 8)):
        with pytest.raises(ValueError, match=r"'conv2d' .*expected shape \(None, 8, 8, 3\)"):
            model.predict(np.zeros(shape))
    assert model.input_shape == (None, 8, 8, 3)
    np.testing.assert_array_equal(model.predict(x), y)


def test_models_inside_and_layers_with_several_outputs():
    class Halves(layers.Layer):
        def call(self, x):
            return x[..., :2], x[..., 2:]

    class Net(Model):
        def __init__(self):
            super().__init__()
            self.inner, self.halves = Sequential([layers.Dense(4)]), Halves()

        def call(self, x):
            first, second = self.halves(x)
            return first * second

    class OfFive(layers.Layer):
        def build(self, input_shape):
            self.places = self.add_weight("places", input_shape[1:], "ones")

        def call(self, x):
            return x * self.places

    fixed = Sequential([OfFive(), layers.GlobalAveragePooling1D()])
    fixed.predict(random.random((2, 5, 4)))
    with pytest.raises(ValueError, match=r"expected shape \(None, 5, 4\), got \(2, 7, 4\)"):
        fixed.predict(random.random((2, 7, 4)))
    net = Net()
    net.predict(random.random((2, 5, 4)))
    net.predict(random.random((2, 7, 4)))
    assert net.input_shape == (None, None, 4) == net.halves.input_shape
    assert net.halves.output_shape == [(None, None, 2), (None, None, 2)]
    inner = Sequential([layers.Dense(4)])
    outer = Sequential([inner, layers.GlobalAveragePooling1D()])
    x = random.random((2, 5, 4), dtype=np.float32)
    y = outer.predict(x)
    assert outer.predict(random.random((2, 7, 4))).shape == (2, 4)
    assert outer.input_shape == inner.input_shape == (None, None, 4)
    np.testing.assert_array_equal(outer.predict(x), y)
    other = Sequential([Sequential([Input((5, 4)), layers.Dense(4)]), layers.GlobalAveragePooling1D()])
    with pytest.raises(ValueError, match=r"expected shape \(None, 5, 4\)"):
        other.predict(random.random((2, 7, 4)))
    np.testing.assert_array_equal(Sequential([other, layers.Dense(2, kernel_initializer="ones")]).predict(x).shape, (2, 2))


def test_a_call_that_needs_the_sizes_keeps_them():
    class Unrolled(Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x):
            sizes = {5: 2}
            return self.dense(x[:, : sizes[x.shape[1]]])

    model = Unrolled()
    y = model.predict(np.ones((2, 5, 3)))
    with pytest.raises(ValueError, match=r"expected shape \(None, 5, 3\)|2, 7, 3"):
        model.predict(np.ones((2, 7, 3)))
    np.testing.assert_array_equal(model.predict(np.ones((2, 5, 3))), y)


def test_a_call_on_a_list_is_built_for_the_shapes_of_its_parts():
    class Difference(Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = layers.Dense(2), layers.Dense(2)

        def call(self, inputs):
            a, b = inputs
            return self.first(a) - self.second(b)

    model, parts = Difference(), [random.random((4, 3), dtype=np.float32), random.random((4, 5), dtype=np.float32)]
    y = model.predict(parts)
    assert model.input_shape == [(None, 3), (None, 5)]
    (first, c), (second, d) = (layer.get_weights() for layer in (model.first, model.second))
    np.testing.assert_allclose(y, parts[0] @ first + c - parts[1] @ second - d, atol=1e-6)
    for learn in ("fit", "evaluate"):
        model = Difference()
        model.compile("sgd", "mse")
        getattr(model, learn)(parts, np.zeros((4, 2)), verbose=0)
        assert model.input_shape == [(None, 3), (None, 5)]


def test_a_shape_that_was_given_is_kept():
    for model in (Sequential([Input((8, 3)), layers.Dense(2)]), Sequential([layers.Dense(2, input_shape=(8, 3))])):
        with pytest.raises(ValueError, match=r"expected shape \(None, 8, 3\)"):
            model.predict(np.zeros((2, 9, 3)))
    model = Sequential([layers.Dense(2)])
    model.build((None, 8, 3))
    with pytest.raises(ValueError, match=r"expected shape \(None, 8, 3\)"):
        model.predict(np.zeros((2, 9, 3)))


def test_a_model_inside_a_layer_of_ones_own_takes_any_length():
    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = Sequential([layers.Dense(3, activation="relu"), layers.Dense(4)])

        def call(self, x):
            return x + self.inner(x)

    x = Input((None, 4))
    model = Model(x, layers.GlobalAveragePooling1D()(Block()(x)))
    model.compile("sgd", "mse")
    for length in (5, 9):
        batch = random.random((2, length, 4), dtype=np.float32)
        assert check_gradients(model, batch, random.random((2, 4)))
        assert model.predict(batch).shape == (2, 4)
