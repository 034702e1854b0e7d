"""Functions of one's own as activation, loss, metric or regularizer, and layers of one's own on data of any length."""

import functools

import numpy as np
import pytest

import minitl
from minitl import backend, constraints, initializers, losses, metrics, ops, regularizers
from minitl.backend import use_backend
from minitl.gradcheck import check_gradients
from minitl.interop import export_onnx, load_keras
from minitl.layers import (
    ELU,
    Activation,
    Conv2D,
    Dense,
    Embedding,
    GlobalAveragePooling1D,
    Input,
    Lambda,
    Layer,
    LeakyReLU,
    PReLU,
    ReLU,
)
from minitl.losses.own import OwnLoss
from minitl.models import Model, Sequential, clone_model, load_model
from minitl.optimizers import SGD
from minitl.schedules import LearningRateSchedule
from minitl.utils import custom_object_scope, get_custom_objects

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 6)).astype(np.float32), RNG.normal(size=(12, 2)).astype(np.float32)


def soft(z):
    return ops.log(1.0 + ops.exp(z))


def gated(z):
    return z * ops.sigmoid(1.7 * z)


def cubed(w):
    return 0.01 * ops.sum(ops.abs(w) ** 3)


class Halves(regularizers.Regularizer):
    def __init__(self, factor=0.1):
        self.factor = factor

    def __call__(self, w):
        return self.factor * ops.sum(ops.square(w)) / 2


def network(*activations):
    hidden = [Dense(5, activation=activation) for activation in activations]
    return Sequential([Input((6,)), *hidden, Activation(gated), Dense(2)])


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize(
    "activation", [soft, LeakyReLU(0.2), ReLU(max_value=0.5), ELU(0.3)], ids=["function", "leaky", "relu", "elu"]
)
def test_gradients_through_activations_of_one_s_own(activation, backend):
    with use_backend(backend):
        hidden = Dense(4, activation=activation, dtype="float64")
        model = Sequential([Input((6,), dtype="float64"), hidden, Dense(2, activation=gated, dtype="float64")])
        model.compile("sgd", "categorical_crossentropy")
        assert check_gradients(model, X.astype(float), Y.astype(float))


def test_an_activation_by_itself_gives_what_its_function_gives():
    for activation, expected in [
        (soft, np.log1p(np.exp(X))),
        (LeakyReLU(0.2), np.where(X > 0, X, 0.2 * X)),
        (ReLU(max_value=0.5), np.clip(X, 0, 0.5)),
    ]:
        dense = Dense(6, activation=activation, kernel_initializer="identity")
        np.testing.assert_allclose(dense(X), expected, rtol=1e-5, atol=1e-6)


def test_they_save_load_and_clone(tmp_path):
    model = network(soft, LeakyReLU(0.25))
    model.compile(SGD(0.05), "mse")
    model.fit(X, Y, epochs=2, verbose=0)
    expected = model.predict(X, verbose=0)
    for suffix in ("npz", "keras"):
        path = str(tmp_path / f"m.{suffix}")
        model.save(path)
        again = load_model(path, custom_objects={"soft": soft, "gated": gated})
        np.testing.assert_array_equal(again.predict(X, verbose=0), expected)
        assert again.layers[-4].activation is soft and again.layers[-3].activation.negative_slope == 0.25
    with pytest.raises(ValueError, match=r"custom_objects=.'soft': soft"):
        load_model(str(tmp_path / "m.npz"))
    copied = clone_model(model)
    copied.set_weights(model.get_weights())
    np.testing.assert_array_equal(copied.predict(X, verbose=0), expected)


def test_keras_computes_the_same(tmp_path):
    keras = pytest.importorskip("keras")

    def theirs(z):
        return keras.ops.log(1.0 + keras.ops.exp(z))

    model = network(soft, ReLU(max_value=0.5))
    model.save(str(tmp_path / "m.keras"))
    objects = {"soft": theirs, "gated": lambda z: z * keras.ops.sigmoid(1.7 * z)}
    other = keras.models.load_model(tmp_path / "m.keras", custom_objects=objects)
    np.testing.assert_allclose(other.predict(X, verbose=0), model.predict(X, verbose=0), atol=1e-5)
    limited = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation=keras.layers.ReLU(max_value=0.1))])
    limited.save(tmp_path / "k.keras")  # its ceiling was lost once
    np.testing.assert_allclose(load_keras(tmp_path / "k.keras").predict(X, verbose=0), limited.predict(X, verbose=0), atol=1e-6)


def test_names_of_custom_objects_are_activations():
    with custom_object_scope({"soft": soft}):
        assert Dense(2, activation="soft").activation is soft
    get_custom_objects()["gated"] = gated
    try:
        assert Activation("gated").activation is gated
    finally:
        del get_custom_objects()["gated"]


def test_onnx_takes_layers_and_refuses_functions(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    model = Sequential([Input((6,)), Dense(4, activation=LeakyReLU(0.25)), Dense(2, activation=ELU(0.5))])
    export_onnx(model, tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    found = session.run(None, {session.get_inputs()[0].name: X})[0]
    np.testing.assert_allclose(found, model.predict(X, verbose=0), atol=1e-5)
    with pytest.raises(ValueError, match="activation soft: ONNX has nothing for a function of your own"):
        export_onnx(network(soft), tmp_path / "n.onnx")
    assert not (tmp_path / "n.onnx").exists()


@pytest.mark.parametrize(
    ("activation", "error", "message"),
    [
        (0.3, TypeError, "a function of minitl.activations or your own"),
        (PReLU(), TypeError, "put a layer that has weights behind this one"),
        (lambda z: z[:, :1], ValueError, r"made shape \(12, 1\) of \(12, 3\); it must keep the shape"),
        (lambda z: np.ones((12, 3)), TypeError, "does not depend on its argument"),
    ],
)
def test_what_is_no_activation(activation, error, message):
    with pytest.raises(error, match=message):
        Dense(3, activation=activation)(X)


@pytest.mark.parametrize("penalty", [cubed, Halves(0.3)], ids=["function", "class"])
def test_regularizers_of_one_s_own(penalty, tmp_path):
    def trained(regularizer):
        dense = Dense(2, kernel_regularizer=regularizer, kernel_initializer="ones")
        model = Sequential([Input((6,)), dense])
        model.compile(SGD(0.1), "mse")
        loss = model.fit(X, Y, batch_size=12, verbose=0).history["loss"][0]
        return model, loss, dense.kernel.numpy()

    _, plain_loss, plain_kernel = trained(None)
    model, loss, kernel = trained(penalty)
    ones = np.ones((6, 2))
    gradient = 0.03 * ones if penalty is cubed else 0.3 * ones
    assert loss - plain_loss == pytest.approx(0.12 if penalty is cubed else 1.8, rel=1e-4)
    np.testing.assert_allclose(plain_kernel - kernel, 0.1 * gradient, rtol=1e-3)
    model.save(tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz", custom_objects={"cubed": cubed, "Halves": Halves})
    again.compile(SGD(0.1), "mse")
    assert again.evaluate(X, Y, verbose=0) == pytest.approx(model.evaluate(X, Y, verbose=0))
    with pytest.raises(ValueError, match="a regularizer of your own cannot be written to a file of Keras"):
        model.save(str(tmp_path / "m.keras"))
    with pytest.raises(TypeError, match="does not depend on the weight"):
        trained(lambda w: np.ones(1))


def test_a_schedule_of_one_s_own_under_keras_s_name():
    class Warm(LearningRateSchedule):
        def __init__(self, rate=0.5):
            self.rate = rate

        def __call__(self, step):
            return self.rate * min(step / 2, 1)

    model = Sequential([Input((6,)), Dense(2)])
    model.compile(SGD(Warm()), "mse")
    before = model.get_weights()
    model.train_on_batch(X, Y)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))  # its first rate is 0
    assert Warm.from_config(Warm(0.25).get_config()).rate == 0.25


class Places(Layer):
    """Words and their places, each with a vector."""

    def __init__(self, length, words, width, **kwargs):
        super().__init__(**kwargs)
        self.length, self.words, self.width = length, words, width
        self.of_words, self.of_places = Embedding(words, width), Embedding(length, width)

    def call(self, x):
        places = ops.cumsum(ops.ones_like(x), axis=-1) - 1
        return self.of_words(x) + self.of_places(places)


class OneHot(Layer):
    def __init__(self, depth, **kwargs):
        super().__init__(**kwargs)
        self.depth = depth

    def call(self, x):
        return ops.take(np.eye(self.depth), ops.cast(x, "int32"), axis=0)


def test_layers_of_one_s_own_on_sequences_of_any_length():
    words = Input((None,), dtype="int32")
    places = Places(20, 30, 4)
    x = places(words)
    assert x.shape == (None, None, 4)
    model = Model(words, Dense(1)(GlobalAveragePooling1D()(x)))
    for length in (3, 11):
        assert model.predict(RNG.integers(0, 30, (5, length)), verbose=0).shape == (5, 1)
    model.compile("adam", "mse")
    numbers = RNG.integers(0, 30, (32, 7))
    losses = model.fit(numbers, (numbers[:, :1] > 15).astype(float), epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_an_axis_stays_closed_where_it_does_not_vary():
    class Middle(Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.conv = Conv2D(3, 3, strides=2, padding="same")

        def call(self, x):
            return ops.mean(self.conv(x), axis=1)

    assert Middle()(Input((None, None, 2))).shape == (None, None, 3)
    assert Middle()(Input((8, None, 2))).shape == (None, None, 3)
    assert Middle()(Input((None, 8, 2))).shape == (None, 4, 3)


def test_a_layer_that_runs_on_no_length_says_why():
    class Fixed(Layer):
        def call(self, x):
            return ops.reshape(x, (-1, 7, 2))

    with pytest.raises(ValueError, match=r"define compute_output_shape\(\) to work with an open input shape"):
        Fixed()(Input((None, 3)))


def test_whole_numbers_from_a_record_have_no_gradient():
    words = Input((9,), dtype="int32")
    model = Model(words, Dense(1)(GlobalAveragePooling1D()(OneHot(12)(words))))
    numbers = RNG.integers(0, 12, (4, 9))
    counts = np.stack([np.bincount(row, minlength=12) for row in numbers]) / 9
    np.testing.assert_allclose(
        model.predict(numbers, verbose=0), counts @ model.layers[-1].kernel + model.layers[-1].bias, rtol=1e-5
    )
    model.compile("sgd", "mse")
    model.fit(numbers, np.ones((4, 1)), verbose=0)


def halves(shape, dtype=None):
    return np.full(shape, 0.5)


def drawn(shape, generator):
    return generator.normal(size=shape)


@pytest.mark.parametrize("initializer", [halves, drawn])
def test_initializers_of_one_s_own_save_and_load(initializer, tmp_path):
    model = Sequential([Input((6,)), Dense(2, kernel_initializer=initializer)])
    assert initializer is drawn or model.layers[0].kernel.max() == 0.5
    model.save(tmp_path / "m.npz")
    with pytest.raises(ValueError, match=f"custom_objects=.'{initializer.__name__}'"):
        load_model(tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz", custom_objects={initializer.__name__: initializer})
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    assert np.isfinite(clone_model(again).layers[0].kernel).all()


def test_the_shapes_of_several_outputs_where_an_axis_is_open():
    class Both(Layer):
        def call(self, x):
            return x * 2, x.sum(axis=1)

    first, second = Both()(Input((None, 4)))
    assert (first.shape, second.shape) == ((None, None, 4), (None, 4))
    first, second = Both()(Input((3, 4)))
    assert (first.shape, second.shape) == ((None, 3, 4), (None, 4))


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_an_activation_of_ones_own_goes_back_as_the_built_in_one_does(backend):
    x, dy = RNG.standard_normal((6, 3)), RNG.standard_normal((6, 4))
    layers = [Dense(4, activation=one, dtype="float64") for one in (lambda z: z / (1 + np.exp(-z)), "silu")]
    with use_backend(backend):
        for layer in layers:
            layer(x)
        layers[1].set_weights(layers[0].get_weights())
        outputs, back = [], []
        for layer in layers:
            outputs.append(layer.forward(x))
            back.append([layer.backward(dy), *layer.gradients.values()])
    np.testing.assert_allclose(*outputs, atol=1e-12)
    for ours, expected in zip(*back, strict=True):
        assert abs(expected).max() > 0.1
        np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_a_loss_of_one_s_own_is_called_what_its_function_is_called():
    def mine(y_true, y_pred):
        return ops.mean((y_true - y_pred) ** 2, axis=-1)

    class Theirs:
        def __call__(self, y_true, y_pred):
            return mine(y_true, y_pred)

    for loss, name in ((losses.get(mine), "mine"), (OwnLoss(Theirs()), "theirs")):
        assert loss.name == name and loss.reduction == "sum_over_batch_size"
        assert float(loss(Y, Y + 2)) == pytest.approx(4)


def test_losses_that_define_their_call_and_those_that_define_nothing():
    class OwnCall(losses.Loss):
        def __call__(self, y_true, y_pred, sample_weight=None):
            return ops.mean(ops.abs(y_true - y_pred), axis=-1) * 3

    class Renamed(losses.MeanSquaredError):
        pass

    class Both(losses.Loss):
        def __call__(self, y_true, y_pred, sample_weight=None):
            return 5.0

        def call(self, y_true, y_pred):
            return ops.mean(ops.square(y_true - y_pred), axis=-1)

    for loss, expected in ((OwnCall(), 3 * np.abs(Y).mean()), (Renamed(), (Y**2).mean()), (Both(), (Y**2).mean())):
        model = Sequential([Input((6,)), Dense(2, kernel_initializer="zeros")])
        model.compile(SGD(0.1), loss)
        assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-5)
        model.train_on_batch(X, Y)
        assert any(w.any() for w in model.get_weights())


class Called:
    """An object that can be called, and one of its methods."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        return self.function(*arguments)

    def method(self, *arguments):
        return self.function(*arguments)


def off(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def named(function):
    function.__name__ = "mine"
    return function


FORMS = {
    "lambda": lambda f: lambda *arguments: f(*arguments), "method": lambda f: Called(f).method, "object": Called,
    "partial": functools.partial, "named partial": lambda f: named(functools.partial(f)),
}  # fmt: skip
NAMES = {"lambda": "<lambda>", "object": "called", "named partial": "mine"}  # in the history; of others as the form's


@pytest.mark.parametrize("form", FORMS)
def test_whatever_can_be_called_is_a_function(form):
    make, models = FORMS[form], []
    for wrap in (make, lambda f: f):
        minitl.set_random_seed(3)
        dense = Dense(
            2, activation=wrap(soft), kernel_regularizer=wrap(cubed), kernel_constraint=wrap(lambda w: np.clip(w, -0.5, 0.5)),
            kernel_initializer=wrap(lambda shape, dtype=None: np.linspace(-1, 1, shape[0] * shape[1]).reshape(shape)),
        )  # fmt: skip
        model = Sequential([Input((6,)), dense, Activation(wrap(gated))])
        model.compile("sgd", wrap(off), metrics=[wrap(off)])
        models.append((model, model.fit(X, Y, epochs=2, shuffle=False, verbose=0).history))
    (model, history), (plain, expected) = models
    for ours, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert history[NAMES.get(form, form)] == expected["off"] and history["loss"] == expected["loss"]
    report = check_gradients(model, X.astype(float), Y.astype(float))
    assert report.ok, report


def test_a_file_knows_a_function_by_its_name(tmp_path):
    half = functools.partial(lambda z, factor: factor * z, factor=0.5)
    model = Sequential([Input((6,)), Dense(2, activation=half, kernel_regularizer=named(functools.partial(cubed)))])
    model.save(tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz", custom_objects={"partial": half, "mine": cubed})
    np.testing.assert_array_equal(again(X), model(X))
    with pytest.raises(ValueError, match=r"'partial'; .*it goes into custom_objects=\{'partial': partial\}"):
        load_model(tmp_path / "m.npz")
    np.testing.assert_array_equal(clone_model(model).layers[-1].kernel.shape, (6, 2))


def test_functions_of_numpy_are_activations():
    x = X.astype(float)
    for function in (np.tanh, np.sin):
        model = Sequential([Input((6,), dtype="float64"), Activation(function, dtype="float64")])
        np.testing.assert_allclose(model(x), function(x), rtol=1e-12)
        report = check_gradients(model, x)
        assert report.ok, report


def test_a_class_stands_for_its_default_object():
    dense = Dense(2, activation=ReLU, kernel_initializer=initializers.Zeros, kernel_regularizer=regularizers.L2,
                  kernel_constraint=constraints.NonNeg)  # fmt: skip
    model = Sequential([Input((6,)), dense])
    model.compile(SGD, losses.MeanAbsoluteError, metrics=[metrics.MeanSquaredError])
    history = model.fit(X, Y, epochs=1, verbose=0).history
    assert history["loss"][0] == pytest.approx(abs(Y).mean(), rel=1e-5)
    assert history["mean_squared_error"][0] == pytest.approx((Y**2).mean(), rel=1e-5)
    assert dense.regularizers["kernel"].l2 == 0.01 and not dense.get_weights()[0].any()


def test_functions_of_metrics_and_losses_as_metrics():
    hot = np.eye(3)[np.arange(12) % 3]
    model = Sequential([Input((6,)), Dense(3, activation="softmax")])
    three = functools.partial(metrics.top_k_categorical_accuracy, k=3)
    small = functools.partial(losses.huber, delta=0.1)
    model.compile("sgd", small, metrics=[
        metrics.categorical_accuracy, named(three), losses.MeanAbsoluteError(), losses.mean_squared_error,
    ])  # fmt: skip
    found, p = model.evaluate(X, hot, return_dict=True, verbose=0), model.predict(X, verbose=0)
    expected = {
        "loss": small(hot, p).mean(), "categorical_accuracy": (p.argmax(1) == hot.argmax(1)).mean(), "mine": 1.0,
        "mean_absolute_error": abs(p - hot).mean(), "mean_squared_error": ((p - hot) ** 2).mean(),
    }  # fmt: skip
    assert found == {name: pytest.approx(value, rel=1e-5) for name, value in expected.items()}


def test_functions_that_are_known_are_what_their_names_say():
    assert type(losses.get(losses.huber)) is losses.Huber and type(metrics.get(metrics.binary_accuracy)) is metrics.BinaryAccuracy
    assert Dense(2, activation=minitl.activations.relu).activation == "relu"
    model = Sequential([Input((6,)), Dense(2)])
    model.compile("sgd", np.logaddexp)  # a function that is not written in Python
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(np.logaddexp(Y, model.predict(X, verbose=0)).mean(), rel=1e-5)


class Start(initializers.Initializer):
    """As Keras's documentation has one of a program's own."""

    def __init__(self, mean, stddev):
        self.mean, self.stddev = mean, stddev

    def __call__(self, shape, dtype=None, **kwargs):
        assert dtype == "float32"
        return minitl.random.normal(shape, mean=self.mean, stddev=self.stddev, dtype=dtype)

    def get_config(self):
        return {"mean": self.mean, "stddev": self.stddev}


def test_an_initializer_of_ones_own_as_keras_calls_it(tmp_path):
    minitl.set_random_seed(0)
    model = Sequential([Input((400,)), Dense(50, kernel_initializer=Start(3, 0.1))])
    kernel = model.get_weights()[0]
    assert abs(kernel.mean() - 3) < 0.01 and 0.09 < kernel.std() < 0.11
    model.save(tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz", custom_objects={"Start": Start})
    assert again.layers[-1].kernel_initializer.get_config() == {"mean": 3, "stddev": 0.1}


def test_initializers_with_a_seed_draw_the_same_again():
    for make in (
        initializers.RandomNormal, initializers.RandomUniform, initializers.TruncatedNormal, initializers.GlorotUniform,
        initializers.GlorotNormal, initializers.HeUniform, initializers.HeNormal, initializers.LecunUniform,
        initializers.LecunNormal, initializers.VarianceScaling, initializers.Orthogonal,
    ):  # fmt: skip
        seeded = make(seed=4)
        first, again, other = seeded((5, 5)), make(seed=4)(shape=(5, 5), dtype="float64"), make(seed=5)((5, 5))
        np.testing.assert_array_equal(first, again.astype(np.float32))
        assert first.dtype == np.float32 and (first != other).any() and (make()((5, 5)) != make()((5, 5))).any()
        a, b = (Sequential([Input((6,)), Dense(2, kernel_initializer=make(seed=4))]) for _ in range(2))
        np.testing.assert_array_equal(a.get_weights()[0], b.get_weights()[0])
        assert make.from_config(seeded.get_config()).seed == 4
    assert initializers.RandomNormal(0.0, 0.1, 4).seed == initializers.glorot_uniform(4).seed == 4
    generator = minitl.random.SeedGenerator(3)
    assert (initializers.HeNormal(generator)((4, 4)) != initializers.HeNormal(generator)((4, 4))).any()
    for wrong in (-1, 0.5, "one"):
        with pytest.raises(ValueError, match="HeNormal: seed must be a whole number of at least 0, or None"):
            initializers.HeNormal(seed=wrong)
    asked = []
    Sequential(
        [Input((6,)), Dense(2, dtype="float64", kernel_initializer=lambda shape, dtype: asked.append(dtype) or np.ones(shape))]
    )
    assert asked == ["float64"]
    start = np.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(Sequential([Input((6,)), Dense(2, kernel_initializer=start)]).get_weights()[0], start)
    assert initializers.Ones()((2, 3), "int32").dtype == np.int32 and initializers.Zeros()(shape=[2, 3]).shape == (2, 3)


def test_functions_may_use_values_around_them(tmp_path):
    minitl.set_random_seed(0)
    x = Input((6,))
    gate, scale, h = Dense(6, activation="sigmoid", name="gate")(x), Dense(1, name="scale")(x), Dense(6, name="h")(x)
    model = Model(x, Lambda(lambda t, by: t * gate * by, arguments={"by": scale})(h))
    of_gate, of_scale, of_h = (X @ w + b for w, b in (model.get_layer(name).get_weights() for name in ("gate", "scale", "h")))
    np.testing.assert_allclose(model.predict(X, verbose=0), of_h / (1 + np.exp(-of_gate)) * of_scale, rtol=1e-4, atol=1e-6)
    model.compile("sgd", "mse")
    report = check_gradients(model, X, X)
    assert report.ok and len(report.tensors) == 7, report
    model.save(tmp_path / "model.npz")  # there is no Lambda in it, but what it was made of
    np.testing.assert_array_equal(load_model(tmp_path / "model.npz").predict(X, verbose=0), model.predict(X, verbose=0))


class Around(Layer):
    """Uses a value around it, beside a weight of its own or a layer that it holds."""

    def __init__(self, around, with_weight=False, **kwargs):
        super().__init__(**kwargs)
        self.around, self.with_weight, self.inner = (lambda: around), with_weight, Dense(6, name="inner")

    def build(self, input_shape):
        if self.with_weight:
            self.kernel = self.add_weight(name="kernel", shape=(6,), initializer="ones")

    def call(self, x, training=False):
        if self.with_weight:
            return x * self.kernel * self.around()
        return self.inner(x) * self.around(), x + 1


def test_a_call_may_use_values_around_it():
    minitl.set_random_seed(0)
    x = Input((6,))
    gate = Dense(6, name="gate")(x)
    model = Model(x, list(Around(gate)(x)))
    of_gate, of_inner = (X @ w + b for w, b in (model.get_layer(name).get_weights() for name in ("gate", "inner")))
    y, shifted = model.predict(X, verbose=0)
    np.testing.assert_allclose(y, of_gate * of_inner, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(shifted, X + 1)
    model.compile("sgd", "mse")
    assert model.train_on_batch(X, [X, X])
    assert all((layer.kernel != 0).any() and layer.trainable for layer in model.layers if layer.weights)
    with pytest.raises(TypeError, match=r"Around.*it has weights, which would not learn; let call\(\) take these values"):
        Around(gate, with_weight=True)(x)
    with pytest.raises(TypeError, match=r"Lambda.*has an activity_regularizer, which would not be counted"):
        Lambda(lambda t: t * gate, activity_regularizer="l2")(x)
    with pytest.raises(TypeError, match="holds no numbers yet"):
        Lambda(lambda t: np.asarray(gate))(x)


def test_a_total_of_values_may_begin_as_an_array():
    x = Input((6,))
    total = start = np.float32(1) * np.ones(6, np.float32)
    total += Dense(6, name="h")(x)
    w, b = total.node.layer.input.node.layer.get_weights()
    np.testing.assert_allclose(Model(x, total).predict(X, verbose=0), 1 + X @ w + b, rtol=1e-5)
    np.testing.assert_array_equal(start, np.ones(6))
    with pytest.raises(TypeError, match="cannot be written into an array; leave `out` out"):
        np.add(start, total, out=np.zeros(6))


def test_samples_and_inputs_that_are_values_already():
    x = Input((6,))
    both = np.concatenate([X[:2], x, X[:3]], axis=0)
    fourth = backend.function([x], [both[3], both[-1]])
    assert both[3].shape == (6,)
    for one, expected in zip(fourth([X[7:9]]), (X[8], X[2]), strict=True):
        np.testing.assert_array_equal(one, expected)
    assert Input(tensor=both) is both and Input((6,), tensor=x) is x
    with pytest.raises(TypeError, match="Input: tensor must be a value, got ndarray"):
        Input(tensor=X)
