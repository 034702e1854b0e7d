"""What Keras's guides to layers of one's own, masks and files do, each in the manner of its guide."""

import numpy as np
import pytest

import minitl
from minitl import Input, Model, Sequential, layers, losses, ops, regularizers
from minitl.gradcheck import check_gradients
from minitl.layers import LSTM, Conv2D, Dense, Embedding, Layer, Masking
from minitl.models import load_model
from minitl.utils import deserialize_keras_object, get_custom_objects, register_keras_serializable, serialize_keras_object

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 4)).astype(np.float32)


class Penalty(Layer):
    def call(self, x):
        self.add_loss(0.5 * ops.mean(x))
        return x


class Outer(Layer):
    def __init__(self):
        super().__init__()
        self.penalty, self.dense = Penalty(), Dense(3, kernel_regularizer=regularizers.L2(0.1), kernel_initializer="ones")

    def call(self, x):
        return self.dense(self.penalty(x))


def test_losses_of_a_layer_are_those_of_its_last_call():
    layer = Outer()
    for _ in range(2):
        layer(np.full((2, 4), 2.0, np.float32))
        assert layer.losses == pytest.approx([1.0, 0.1 * 12])
    model = Sequential([Input((4,)), Outer()])
    model.compile("sgd", "mse")
    model.predict(X, verbose=0)
    assert model.losses == pytest.approx([0.5 * X.mean(), 1.2], rel=1e-5)


class Endpoint(Layer):
    def __init__(self, loss, **kwargs):
        super().__init__(**kwargs)
        self.loss = loss

    def call(self, targets, outputs):
        self.add_loss(self.loss(targets, outputs))
        return outputs


@pytest.mark.parametrize(
    ("loss", "of_keras"),
    [
        (losses.BinaryCrossentropy(from_logits=True), lambda k: k.losses.BinaryCrossentropy(from_logits=True)),
        (losses.MeanSquaredError(), lambda k: k.losses.MeanSquaredError()),
        (losses.mean_absolute_error, lambda k: lambda t, p: k.ops.mean(k.losses.mean_absolute_error(t, p))),
    ],
    ids=["logits", "squares", "function"],
)
def test_a_layer_that_gets_the_targets(loss, of_keras):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")

    class Theirs(keras.layers.Layer):
        def call(self, targets, outputs):
            self.add_loss(of_keras(keras)(targets, outputs))
            return outputs

    found, start = [], [RNG.normal(size=(4, 2)), np.zeros(2)]
    targets = (X[:, :2] > 0).astype(np.float32)
    for place, endpoint in ((minitl, Endpoint(loss)), (keras, Theirs())):
        x, t = place.Input((4,), name="x"), place.Input((2,), name="t")
        model = place.Model([x, t], endpoint(t, place.layers.Dense(2)(x)))
        model.set_weights(start)
        model.compile(optimizer=place.optimizers.SGD(0.5))
        model.fit({"x": X, "t": targets}, epochs=3, batch_size=16, shuffle=False, verbose=0)
        found.append([np.asarray(w) for w in model.get_weights()])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_gradients_of_targets_are_right_or_refused():
    positive = RNG.uniform(0.1, 0.9, (5, 3))

    class Both(Layer):
        def __init__(self, loss):
            super().__init__(dtype="float64")
            self.loss = loss

        def call(self, t, p):
            return ops.expand_dims(t[:, 0] * self.loss(t, p), -1)

    for loss in (
        losses.BinaryCrossentropy(),
        losses.BinaryCrossentropy(from_logits=True),
        losses.MeanSquaredError(),
        losses.KLDivergence(),
    ):
        assert check_gradients(Both(loss), [positive, positive[::-1].copy()])
    with pytest.raises(TypeError, match="no formula for the gradient of its targets as it is set; put stop_gradient"):
        Both(losses.BinaryCrossentropy(label_smoothing=0.1))(positive, positive)


def test_masks_by_hand():
    words = np.array([[3, 1, 0, 0], [2, 2, 5, 0]])
    embedding = Embedding(9, 4, mask_zero=True)
    assert embedding.compute_mask(words).tolist() == [[True, True, False, False], [True, True, True, False]]
    assert Embedding(9, 4).compute_mask(words) is None and Dense(2).compute_mask(X, mask="the same") == "the same"
    assert Masking(1.0).compute_mask(np.array([[[1.0, 1.0], [1.0, 2.0]]])).tolist() == [[False, True]]


class Reader(Layer):
    def __init__(self):
        super().__init__()
        self.embedding, self.lstm = Embedding(9, 4, mask_zero=True), LSTM(3)

    def call(self, words):
        return self.lstm(self.embedding(words), mask=self.embedding.compute_mask(words))


def test_a_mask_that_is_handed_over():
    words = np.array([[3, 1, 0, 0], [2, 2, 5, 0]])
    reader = Reader()
    found = reader(words)
    short = reader.lstm(reader.embedding(words[:1, :2]))
    np.testing.assert_allclose(found[:1], short, atol=1e-6)
    model = Sequential([Input((4,), dtype="int32"), reader, Dense(1)])
    model.compile("sgd", "mse")
    model.fit(words, np.ones((2, 1)), verbose=0)


class Share(Layer):
    def call(self, x, mask=None):
        e = ops.exp(x)
        e = e if mask is None else e * ops.expand_dims(ops.cast(mask, "float32"), -1)
        return e / ops.sum(e, axis=1, keepdims=True)


def test_a_call_gets_the_mask_of_what_it_stands_behind():
    words = Input((None,), dtype="int32")
    model = Model(words, Share()(Embedding(9, 2, mask_zero=True)(words)))
    found = model.predict(np.array([[3, 1, 0, 0]]), verbose=0)
    assert found[0, 2:].max() == 0 and found.sum() == pytest.approx(2)
    np.testing.assert_allclose(Share()(np.zeros((1, 4, 1), np.float32)).ravel(), 0.25)


class Doubled(Dense):
    def call(self, x):
        return super().call(x) * 2


class Normed(Conv2D):
    def call(self, x, training=False):
        return ops.tanh(super().call(x, training))


def test_a_layer_derived_from_one_that_is_here(tmp_path):
    x = RNG.normal(size=(3, 4))
    assert check_gradients(Doubled(2, activation="tanh", dtype="float64"), x)
    assert check_gradients(Normed(2, 3, dtype="float64"), RNG.normal(size=(2, 5, 5, 2)))
    model = Sequential([Input((4,)), Doubled(2)])
    np.testing.assert_allclose(model.predict(X, verbose=0), 2 * (X @ model.layers[0].kernel + model.layers[0].bias), rtol=1e-5)
    model.compile("sgd", "mse")
    model.fit(X, X[:, :2], verbose=0)
    model.save(tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz", custom_objects={"Doubled": Doubled})
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    assert Dense(2).call(X).shape == (16, 2)


@pytest.mark.parametrize("hook", ["convolution_op", "compute_output_spec"])
def test_hooks_that_nothing_calls_are_refused(hook):
    with pytest.raises(TypeError, match=f"nothing here calls {hook}"):
        type("Own", (Conv2D,), {hook: lambda self, x, kernel: x})


@pytest.mark.parametrize("step", ["train_step", "test_step", "compute_metrics"])
def test_steps_that_nothing_calls_are_refused(step):
    with pytest.raises(TypeError, match=rf"does not call a {step}\(\)"):
        type("Own", (Model,), {step: lambda self, data: None})


def test_registered_classes_are_found_without_being_named(tmp_path):
    @register_keras_serializable(package="mine")
    class Times(Layer):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, x):
            return x * self.factor

    model = Sequential([Input((4,)), Times(3.0), Dense(1)])
    model.save(tmp_path / "m.npz")
    try:
        np.testing.assert_array_equal(load_model(tmp_path / "m.npz").predict(X, verbose=0), model.predict(X, verbose=0))
    finally:
        del get_custom_objects()["Times"]
    with pytest.raises(ValueError, match="your own go into custom_objects"):
        load_model(tmp_path / "m.npz")


@pytest.mark.parametrize(
    "thing",
    [
        layers.Dense(3, activation="relu", name="three"), minitl.optimizers.Adam(0.02), minitl.losses.Huber(0.3),
        minitl.metrics.Precision(0.7), minitl.initializers.HeNormal(), regularizers.L1L2(0.1, 0.2), minitl.constraints.MaxNorm(3),
        minitl.schedules.ExponentialDecay(0.1, 10, 0.5),
    ],
    ids=lambda thing: type(thing).__name__,
)  # fmt: skip
def test_things_as_data_and_back(thing):
    data = serialize_keras_object(thing)
    again = deserialize_keras_object(data)
    assert type(again) is type(thing) and serialize_keras_object(again) == data
    assert layers.serialize(thing) == data and type(layers.deserialize(data)) is type(thing)
    assert deserialize_keras_object("relu") == "relu"
    with pytest.raises(ValueError, match="your own go into custom_objects"):
        deserialize_keras_object({"class_name": "Nothing", "config": {}})


class Wrapping(Layer):
    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, x):
        return self.inner(x)

    def get_config(self):
        return {**super().get_config(), "inner": serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config):
        return cls(deserialize_keras_object(config.pop("inner")), **config)


def test_a_layer_that_writes_its_inner_layer(tmp_path):
    model = Sequential([Input((4,)), Wrapping(Dense(2))])
    model.save(tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz", custom_objects={"Wrapping": Wrapping})
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


class Pulling(losses.Loss):
    """A loss that is its own __call__, whose targets have another shape than the outputs."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        unit = ops.normalize(y_pred, axis=1)
        return -ops.mean(ops.matmul(unit, ops.transpose(unit)))


def test_a_loss_that_is_its_own_call():
    model = Sequential([Input((4,)), Dense(3)])
    model.compile("sgd", Pulling())
    found = model.fit(X, np.arange(16), epochs=3, batch_size=16, verbose=0).history["loss"]
    assert found[2] < found[1] < found[0] < 0
    assert Pulling()(np.arange(16), model.predict(X, verbose=0)) < found[2]


@pytest.mark.parametrize("name", ["Initializer", "Loss", "Metric", "Optimizer", "Regularizer", "Layer", "Model"])
def test_base_classes_stand_at_the_top(name):
    assert isinstance(getattr(minitl, name), type) and getattr(minitl, name).__name__ == name


class Maybe(Layer):
    def call(self, x, shift=None, factor=None):
        y = x * 2 if shift is None else x * 2 + shift
        return y if factor is None else y * factor


def test_inputs_with_a_default():
    assert Maybe()(X).max() == 2 * X.max() and Maybe()(X, training=True).max() == 2 * X.max()
    np.testing.assert_allclose(Maybe()(X, X), 3 * X)
    np.testing.assert_allclose(Maybe()(X, shift=X, factor=X), 3 * X * X)
    a, b = Input((4,)), Input((4,))
    model = Model([a, b], Dense(1)(Maybe()(a, shift=b)))
    assert check_gradients(model, [X, X[::-1].copy()])
    with pytest.raises(TypeError, match="takes x, shift, factor, got factor; give each after those before it"):
        Maybe()(X, factor=X)
    single = Maybe()
    single(X)
    with pytest.raises((TypeError, ValueError)):
        single(X, X)
    model = Sequential([Input((4,)), Maybe(), Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, X[:, :1], verbose=0)


class LogisticEndpoint(Layer):
    """Keras's pattern of a layer that has the loss: targets and weights are inputs, while it is trained."""

    def __init__(self):
        super().__init__()
        self.loss = losses.BinaryCrossentropy(from_logits=True)

    def call(self, logits, targets=None, sample_weight=None):
        if targets is not None:
            self.add_loss(self.loss(targets, logits, sample_weight))
        return minitl.ops.sigmoid(logits)


def test_an_endpoint_layer():
    random = np.random.default_rng(3)
    data = {"x": X, "targets": random.random((16, 1)), "weights": random.random((16, 1))}
    x, targets, weights = Input((4,), name="x"), Input((1,), name="targets"), Input((1,), name="weights")
    logits = Dense(1)
    model = Model([x, targets, weights], LogisticEndpoint()(logits(x), targets, weights))
    model.compile("sgd")
    first = losses.BinaryCrossentropy(from_logits=True)(data["targets"], logits(X), data["weights"])
    found = model.fit(data, epochs=3, batch_size=16, shuffle=False, verbose=0).history["loss"]
    assert found[0] == pytest.approx(first, rel=1e-5) and found[2] < found[0]
    assert Model(x, LogisticEndpoint()(logits(x))).predict(X, verbose=0).shape == (16, 1)
