"""`add_loss` of models and of layers: values that join the loss."""

import functools

import numpy as np
import pytest

from minitl import Input, Model, Sequential, backend, losses, set_random_seed
from minitl.gradcheck import check_gradients
from minitl.layers import Activation, Conv2D, Dense, Flatten, Layer, MaxPooling2D
from minitl.layers.added_loss import AddedLoss, LossBeside
from minitl.models import clone_model, load_model
from minitl.optimizers import SGD
from minitl.transfer import truncate
from minitl.transfer.surgery import split

X = np.random.default_rng(0).random((5, 6))
TARGETS = np.random.default_rng(1).random((5, 6))


class Activity(Layer):
    """Keras's guide's example."""

    def __init__(self, rate=0.05, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def call(self, inputs):
        self.add_loss(self.rate * np.sum(inputs))
        return inputs


def autoencoder():
    x = Input((6,), dtype="float64")
    h = Dense(4, activation="tanh", dtype="float64")(x)
    y = Dense(6, activation="sigmoid", dtype="float64")(h)
    model = Model(x, y)
    model.add_loss([0.1 * np.mean(np.sum(np.square(h), axis=-1)), losses.binary_crossentropy(x, y)])
    return model, Model(x, h)


def added(model, code):
    p = model.predict(X, verbose=0)
    return 0.1 * (code.predict(X, verbose=0) ** 2).sum(1).mean() - (X * np.log(p) + (1 - X) * np.log(1 - p)).mean(), p


class Distance:
    """A loss that is an object which can be called."""

    def __call__(self, y_true, y_pred):
        return abs(y_true - y_pred).mean(axis=-1)


@pytest.mark.parametrize("loss", [Distance(), functools.partial(lambda y_true, y_pred, of: abs(y_true - y_pred).mean(-1), of=1)])
def test_losses_that_are_no_functions_use_no_values(loss):
    model = Sequential([Input((6,)), Dense(6)])
    model.compile("sgd", loss)
    assert model.evaluate(X, TARGETS, verbose=0) == pytest.approx(abs(model.predict(X, verbose=0) - TARGETS).mean(), rel=1e-5)


def test_an_added_loss_is_counted_and_learnt(backend):
    model, code = autoencoder()
    model.compile("adam", "mse")
    before, p = added(model, code)
    assert model.evaluate(X, TARGETS, verbose=0) == pytest.approx(before + ((p - TARGETS) ** 2).mean())
    report = check_gradients(model, X, TARGETS)
    assert report.ok, report
    assert len(report.tensors) == 5 and max(tensor.worst for tensor in report.tensors) < 1e-7
    model.compile("adam")  # nothing but what was added
    history = model.fit(X, epochs=20, validation_split=0.2, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] and len(history["val_loss"]) == 20
    assert added(model, code)[0] < before
    expected = added(model, code)[0]
    assert model.train_on_batch(X) == pytest.approx(expected)
    assert model.output_names == ["dense_1"] and model.predict(X, verbose=0).shape == (5, 6)


def test_predict_does_not_compute_what_was_added():
    counts = []

    class Counts(Layer):
        def call(self, x):
            counts.append(len(x))
            return x * 1.0

    x = Input((6,))
    y = Dense(2)(x)
    model = Model(x, y)
    model.add_loss(Counts()(y))
    model.compile("sgd")
    counts.clear()
    model.predict(X, verbose=0)
    assert counts == []
    model.evaluate(X, verbose=0)
    assert counts == [5]


def test_files_and_copies_keep_what_was_added(tmp_path):
    model, code = autoencoder()
    model.compile("adam")
    model.fit(X, epochs=2, verbose=0)
    expected = model.evaluate(X, verbose=0)
    model.save(tmp_path / "model.npz")
    again = load_model(tmp_path / "model.npz")
    assert again.evaluate(X, verbose=0) == expected == pytest.approx(added(model, code)[0])
    copy = clone_model(model)
    copy.set_weights(model.get_weights())
    copy.compile("sgd")
    assert copy.evaluate(X, verbose=0) == expected
    a, b = (m.fit(X, epochs=2, verbose=0).history["loss"] for m in (model, again))
    assert a == b


def test_a_model_inside_another_brings_its_losses(backend):
    inner, code = autoencoder()
    x = Input((6,), dtype="float64")
    outer = Model(x, Dense(1, dtype="float64")(inner(x)))
    outer.compile("sgd", "mse")
    y = TARGETS[:, :1]
    expected = added(inner, code)[0] + ((outer.predict(X, verbose=0) - y) ** 2).mean()
    assert outer.evaluate(X, y, verbose=0) == pytest.approx(expected)
    assert check_gradients(outer, X, y).ok
    outer.compile("sgd")
    assert outer.evaluate(X, verbose=0) == pytest.approx(added(inner, code)[0])
    before = [w.copy() for w in inner.get_weights()]
    outer.train_on_batch(X)
    assert all((a != b).any() for a, b in zip(before, inner.get_weights(), strict=True))


def test_a_layer_adds_to_the_loss_from_its_call(backend):
    model = Sequential([Input((6,)), Dense(4, activation="relu"), Activity(), Dense(6)])
    hidden = Model(model.input, model.layers[0].output)
    model.compile("sgd", "mse")
    plain = ((model.predict(X, verbose=0) - TARGETS) ** 2).mean()
    assert model.evaluate(X, TARGETS, verbose=0) == pytest.approx(plain + 0.05 * hidden.predict(X, verbose=0).sum(), rel=1e-5)
    assert check_gradients(model, X, TARGETS).ok
    last = Sequential([Input((6,)), Dense(4, activation="sigmoid"), Activity()])  # no loss behind it
    last.compile("sgd")
    first, second = (last.train_on_batch(X) for _ in range(2))
    assert second < first


def test_a_layer_s_own_weights_learn_from_what_it_adds():
    class Scaled(Layer):
        def build(self, shape):
            self.scale = self.add_weight("scale", shape[-1:], "ones")

        def call(self, x):
            y = x * self.scale
            self.add_loss([np.mean(np.square(self.scale)), np.mean(y)])
            return y

    model = Sequential([Input((6,)), Scaled(), Scaled()])
    model.compile("sgd", "mse")
    report = check_gradients(model, X, TARGETS)
    assert report.ok and len(report.tensors) == 3, report


def test_a_model_with_a_call_adds_to_its_loss():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = Dense(4), Dense(2)

        def call(self, x):
            h = self.first(x)
            self.add_loss(np.mean(np.square(h)))
            return self.last(h)

    net = Net()
    net.compile("sgd", "mse")
    y = TARGETS[:, :2]
    losses_seen = net.fit(X, y, epochs=5, verbose=0).history["loss"]
    assert losses_seen[-1] < losses_seen[0]
    h = Model(net.input, net.first.output).predict(X, verbose=0)
    assert net.evaluate(X, y, verbose=0) == pytest.approx(((net.predict(X, verbose=0) - y) ** 2).mean() + (h**2).mean(), rel=1e-5)


def test_a_fused_network_gives_its_inner_values_too(backend):
    """What is added stands between layers that would run as one."""
    x = Input((9, 9, 3))
    convolved = Conv2D(8, 3)(x)
    model = Model(x, Dense(2)(Flatten()(MaxPooling2D()(Activation("relu")(convolved)))))
    model.add_loss(0.3 * np.mean(np.square(convolved)))
    model.compile("sgd", "mse")
    images, y = np.random.default_rng(3).random((4, 9, 9, 3)).astype(np.float32), np.ones((4, 2))
    inner = Model(x, convolved).predict(images, verbose=0)
    expected = 0.3 * (inner**2).mean() + ((model.predict(images, verbose=0) - y) ** 2).mean()
    assert model.evaluate(images, y, verbose=0) == pytest.approx(expected, rel=1e-4)
    assert check_gradients(model, images, y, samples=40).ok


def test_a_penalty_on_an_output_without_a_loss_is_learnt():
    x = Input((6,))
    h = Dense(3, activity_regularizer="l2", name="h")(x)
    model = Model(x, [Dense(2, name="y")(x), h])
    model.compile("sgd", {"y": "mse"})
    before = model.get_layer("h").get_weights()[0].copy()
    model.train_on_batch(X, {"y": TARGETS[:, :2]})
    assert (model.get_layer("h").get_weights()[0] != before).all()
    report = check_gradients(model, X, {"y": TARGETS[:, :2]})
    assert report.ok, report


@pytest.mark.parametrize(
    "name", ["mean_squared_error", "mean_absolute_error", "binary_crossentropy", "categorical_crossentropy", "kl_divergence"]
)
def test_losses_of_values_are_those_of_arrays(name):
    t, p = Input((6,), dtype="float64"), Input((6,), dtype="float64")
    share = [a / a.sum(axis=1, keepdims=True) for a in (X, TARGETS)]
    function = getattr(losses, name)
    model = Model([t, p], function(t, p))
    np.testing.assert_allclose(model.predict(share, verbose=0), function(*share), rtol=1e-5)
    assert check_gradients(model, share).ok
    assert np.ndim(function(share[0][0], share[1][0])) == 0


@pytest.mark.parametrize(
    ("name", "settings"),
    [("huber", {}), ("huber", {"delta": 0.3}), ("binary_crossentropy", {"from_logits": True}), ("log_cosh", {})],
)
def test_losses_of_values_with_settings_are_those_of_arrays(name, settings):
    t, x = Input((6,), dtype="float64"), Input((6,), dtype="float64")
    function, dense = getattr(losses, name), Dense(6, dtype="float64")
    y = dense(x)
    model = Model([t, x], [y, function(t, y, **settings)])
    made, loss = model.predict([TARGETS, X], verbose=0)
    np.testing.assert_allclose(loss, function(TARGETS, made, **settings), rtol=1e-5)
    beside = Model(x, y)
    beside.add_loss(function(x, y, **settings))
    beside.compile("sgd")
    kernel, step, loss = dense.kernel, 1e-6, []
    for moved in (step, -2 * step):
        kernel[1, 2] += moved
        loss.append(beside.evaluate(X, verbose=0))
    kernel[1, 2] += step
    before = kernel[1, 2].copy()
    beside.compile(SGD(0.1))
    beside.train_on_batch(X)
    assert (before - kernel[1, 2]) / 0.1 == pytest.approx((loss[0] - loss[1]) / (2 * step), rel=1e-4)


def test_what_cannot_be_added_is_refused():
    model, _ = autoencoder()
    with pytest.raises(TypeError, match=r"add_loss\(\) takes values, .* got float"):
        model.add_loss(3.0)
    with pytest.raises(ValueError, match="which is not among the inputs"):
        model.add_loss(Dense(2)(Input((3,))))
    assert len(model.graph.added_losses) == 2  # as before
    with pytest.raises(ValueError, match=r"add_loss\(\) needs a Model"):
        Sequential([Input((3,)), Dense(2)]).add_loss(model.output)
    with pytest.raises(ValueError, match=r"belongs into call\(\)"):
        Activity().add_loss(1.0)
    plain = Model(model.input, model.output)
    plain.compile("sgd")
    with pytest.raises(ValueError, match="the model has no loss yet"):
        plain.fit(X, verbose=0)
    with pytest.raises(TypeError, match="must both be values here, or both arrays"):
        losses.huber(X, model.output)


def test_other_programs_files_and_cached_features_say_what_they_cannot_keep(tmp_path):
    model, _ = autoencoder()
    with pytest.raises(ValueError, match=r"have no place for what add_loss\(\) was given; save it as \.npz"):
        model.save(tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="train without cached=True"):
        split(model, ("dense_1",))
    plain = truncate(model, "dense")
    assert plain.graph.added_losses == () and not plain.adds_loss
    onnx = pytest.importorskip("onnx")
    model.astype("float32").save(tmp_path / "model.onnx")
    written = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert written == {"Gemm", "Tanh", "Sigmoid", "Identity"}


def test_a_loss_function_may_use_values_of_the_network(backend, tmp_path):
    x = Input((6,), dtype="float64")
    h = Dense(4, activation="tanh", dtype="float64", kernel_regularizer="l2")(x)
    y = Dense(6, activation="sigmoid", dtype="float64")(h)
    model = Model(x, y)

    def priced(t, p):
        return losses.binary_crossentropy(t, p) + 0.3 * np.mean(np.square(h), axis=-1)

    model.compile("adam", priced, metrics=["mse"])
    p, code = model.predict(X, verbose=0), Model(x, h).predict(X, verbose=0)
    expected = -(TARGETS * np.log(p) + (1 - TARGETS) * np.log(1 - p)).mean() + 0.3 * (code**2).mean()
    expected += 0.01 * (model.get_weights()[0] ** 2).sum()
    assert model.evaluate(X, TARGETS, verbose=0) == pytest.approx([expected, ((p - TARGETS) ** 2).mean()])
    report = check_gradients(model, X, TARGETS)
    assert report.ok and len(report.tensors) == 5, report
    history = model.fit(X, TARGETS, epochs=20, validation_split=0.2, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert [layer.name for layer in model.layers] == ["input_layer", "dense", "dense_1"] and len(model.inputs) == 1
    model.save(tmp_path / "model.npz")  # without how it was compiled: the function belongs to the program
    assert load_model(tmp_path / "model.npz").optimizer is None
    with pytest.raises(ValueError, match="takes no sample weights"):
        model.fit(X, TARGETS, sample_weight=np.ones(5), verbose=0)
    with pytest.raises(ValueError, match=r"use model\.add_loss\(\) instead"):
        Model(x, [y, h]).compile("adam", priced)


def test_what_joins_the_loss_goes_through_unchanged():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    layer = AddedLoss()
    np.testing.assert_array_equal(layer(x), x)
    y = layer.forward(x, True)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(layer.backward(2 * x), 2 * x)


class Encoder:
    """A network, and a loss that reaches its code in one of several ways."""

    def __init__(self):
        set_random_seed(0)
        x = Input((6,))
        self.code = Dense(2, name="code")(x)
        self.model = Model(x, Dense(6)(self.code))

    def distance(self, y_true, y_pred):
        return of_code(y_true, y_pred, self.code)


def of_code(y_true, y_pred, code):
    return backend.mean(backend.square(y_true - y_pred), axis=-1) + 0.1 * backend.mean(backend.square(code), axis=-1)


REACHES = {
    "around it": lambda encoder: (lambda code: lambda y_true, y_pred: of_code(y_true, y_pred, code))(encoder.code),
    "given before": lambda encoder: functools.partial(of_code, code=encoder.code),
    "method": lambda encoder: encoder.distance,
    "object": lambda encoder: type("Distance", (), {
        "__init__": lambda self: setattr(self, "code", encoder.code), "__call__": lambda self, *pair: of_code(*pair, self.code)
    })(),
}  # fmt: skip


@pytest.mark.parametrize("reach", REACHES)
def test_a_loss_reaches_values_of_the_network(reach):
    encoder = Encoder()
    encoder.model.compile("sgd", REACHES[reach](encoder))
    p, code = encoder.model.predict(X, verbose=0), Model(encoder.model.input, encoder.code).predict(X, verbose=0)
    expected = ((X - p) ** 2).mean() + 0.1 * (code**2).mean()
    assert encoder.model.evaluate(X, X, verbose=0) == pytest.approx(expected, rel=1e-5)
    history = encoder.model.fit(X, X, epochs=20, verbose=0).history["loss"]
    assert history[-1] < 0.9 * history[0]


def test_a_loss_beside_a_value():
    layer, x, added = LossBeside(), np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0])
    np.testing.assert_array_equal(layer.forward([x, added]), x)
    dx, of_added = layer.backward(2 * x)
    np.testing.assert_array_equal(dx, 2 * x)
    np.testing.assert_array_equal(of_added, [0, 0])


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_the_checker_sees_what_a_call_adds_to_the_loss(factor):
    class Wrong(Activity):
        def call(self, inputs):
            y = super().call(inputs)
            self.added_losses[0].pullback = lambda dy: [factor * 0.05 * dy]  # d (0.05 sum) = 0.05
            return y

    set_random_seed(0)
    x = Input((6,))
    for target in (Wrong(), Model(x, Wrong()(Dense(3)(x)))):
        report = check_gradients(target, X)
        assert report.ok == (factor == 1), report


class AroundIt(Layer):
    """As programs for Keras 2 have it: the loss of an autoencoder that draws its code, of values around the layer."""

    def __init__(self, mean, log_variance, **kwargs):
        self.around = lambda: (mean, log_variance)
        super().__init__(**kwargs)

    def divergence(self):
        mean, log_variance = self.around()
        return -0.5 * backend.sum(1 + log_variance - backend.square(mean) - backend.exp(log_variance), axis=-1)

    def call(self, inputs):
        x, decoded = inputs
        self.add_loss(backend.mean(6 * losses.binary_crossentropy(x, decoded) + self.divergence()), inputs=inputs)
        return x


def test_a_layer_may_add_a_loss_of_values_around_it(tmp_path):
    set_random_seed(0)
    x = Input((6,))
    mean, log_variance = Dense(2)(x), Dense(2)(x)
    decoded = Dense(6, activation="sigmoid")(mean)
    y = AroundIt(mean, log_variance)([x, decoded])
    model = Model(x, y)
    model.compile("adam", loss=None)
    assert model.adds_loss
    np.testing.assert_array_equal(model.predict(X, verbose=0), X.astype(np.float32))
    of_mean, of_variance, p = Model(x, [mean, log_variance, decoded]).predict(X, verbose=0)
    entropy = -(X * np.log(p) + (1 - X) * np.log(1 - p)).sum(axis=1)
    divergence = -0.5 * (1 + of_variance - of_mean**2 - np.exp(of_variance)).sum(axis=1)
    assert model.evaluate(X, verbose=0) == pytest.approx((entropy + divergence).mean(), rel=1e-5)
    report = check_gradients(model, X)
    assert report.ok and len(report.tensors) == 7, report
    history = model.fit(X, epochs=30, validation_data=(X, None), verbose=0).history
    assert history["loss"][-1] < history["loss"][0] and history["val_loss"][-1] < history["loss"][0]
    model.save(tmp_path / "model.npz")
    again = load_model(tmp_path / "model.npz")
    again.compile("adam", loss=None)
    assert again.evaluate(X, verbose=0) == model.evaluate(X, verbose=0)


def test_a_loss_of_values_around_a_layer_comes_beside_the_gradient_of_what_it_gives():
    set_random_seed(0)
    x = Input((6,))
    h = Dense(6, activation="tanh")(x)
    model = Model(x, Dense(6)(AroundIt(h, h)([h, Activation("sigmoid")(x)])))
    model.compile("sgd", "mse")
    report = check_gradients(model, X, TARGETS)
    assert report.ok and len(report.tensors) == 5, report


def test_a_call_may_add_nothing_but_values_around_it():
    class OfTheCode(Layer):
        def call(self, x):
            self.add_loss(0.5 * np.mean(np.square(around)))
            return x

    set_random_seed(0)
    x = Input((6,))
    around = Dense(2, name="code")(x)
    model = Model(x, OfTheCode()(Dense(6, name="y")(around)))
    model.compile("sgd", "mse")
    code, y = (Model(x, model.get_layer(name).output).predict(X, verbose=0) for name in ("code", "y"))
    assert model.evaluate(X, TARGETS, verbose=0) == pytest.approx(((y - TARGETS) ** 2).mean() + 0.5 * (code**2).mean(), rel=1e-5)
    report = check_gradients(model, X, TARGETS)
    assert report.ok and len(report.tensors) == 5, report
