"""Automatic differentiation against numerical derivatives, and where a program's own functions use it."""

import numpy as np
import pytest

import minitl
from minitl import backend, losses
from minitl.autodiff import DERIVATIVES, FUNCTIONS, Traced, gradients, plain
from minitl.gradcheck import check_gradients
from minitl.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    Layer,
    MaxPooling2D,
)
from minitl.models import Model, Sequential, clone_model, load_model, model_from_json

RANDOM = np.random.default_rng(5)
A, B = RANDOM.uniform(0.2, 0.9, (2, 3, 4)), RANDOM.uniform(0.2, 0.9, (2, 3, 4))
CASES = {
    "sum": lambda x: np.sum(x, axis=1), "mean": lambda x: np.mean(x, axis=(0, 2), keepdims=True), "var": lambda x: np.var(x, -1),
    "average": lambda x: np.average(x, axis=0), "std": lambda x: np.std(x, axis=0), "max": lambda x: np.max(x, axis=2),
    "amax": np.amax, "min": lambda x: np.min(x, axis=0, keepdims=True), "amin": np.amin,
    "reshape": lambda x: np.reshape(x, (3, 8)), "ravel": np.ravel, "concatenate": lambda x: np.concatenate([x, B, x * x], axis=1),
    "stack": lambda x: np.stack([B, x, x * x], axis=-1), "where": lambda x: np.where(B > 0.5, x, x * x),
    "clip": lambda x: np.clip(x, 0.4, 0.6), "dot": lambda x: np.dot(x, B[0].T), "norm": lambda x: np.linalg.norm(x, axis=1),
    "transpose": lambda x: np.transpose(x, (2, 0, 1)), "swapaxes": lambda x: np.swapaxes(x, 0, 2),
    "moveaxis": lambda x: np.moveaxis(x, 0, 1), "expand_dims": lambda x: np.expand_dims(x, 1),
    "squeeze": lambda x: np.squeeze(x[:, :1], 1), "repeat": lambda x: np.repeat(x, 2, axis=1), "tile": lambda x: np.tile(x, 2),
    "flip": lambda x: np.flip(x, 0), "roll": lambda x: np.roll(x, 1, axis=2), "take": lambda x: np.take(x, [0, 2, 2], axis=1),
    "broadcast_to": lambda x: np.broadcast_to(x, (5, 2, 3, 4)),
    "prod": lambda x: np.prod(x, axis=1, keepdims=True), "cumsum": lambda x: np.cumsum(x, axis=1),
    "einsum": lambda x: np.einsum("abc,dbc->ad", x, B),
    "tensordot": lambda x: np.tensordot(x, B, axes=([1], [1])),
    "take_along_axis": lambda x: np.take_along_axis(x, np.array([[[1, 1, 3]]]), 2),
}  # fmt: skip


def numerical(function, x, step=1e-6):
    """The derivative of a number by central differences."""
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        moved = [x.copy(), x.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        found[place] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return found


def agrees(function, *arrays):
    traced = [Traced(a) for a in arrays]
    y = function(*traced)
    np.testing.assert_allclose(y.value, function(*arrays), rtol=1e-14)  # the same numbers as NumPy's
    dy = np.random.default_rng(1).normal(size=y.shape)
    for i, (array, found) in enumerate(zip(arrays, gradients(y, traced, dy), strict=True)):
        expected = numerical(lambda moved, i=i: np.sum(dy * function(*arrays[:i], moved, *arrays[i + 1 :])), array)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", DERIVATIVES)
def test_ufuncs(name):
    ufunc = getattr(np, name)
    agrees(ufunc, *(A, B)[: ufunc.nin])
    if ufunc.nin == 2:
        agrees(ufunc, A[:, :1], B[0])  # both are repeated
        agrees(lambda x: ufunc(x, 0.7), A)
        agrees(lambda x: ufunc(0.7, x), A)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    agrees(CASES[name], A)


METHODS = {
    "sum": lambda x: x.sum(), "sum of an axis": lambda x: x.sum(axis=1), "kept": lambda x: x.sum(axis=(0, 2), keepdims=True),
    "mean": lambda x: x.mean(axis=-1), "max": lambda x: x.max(axis=0), "min": lambda x: x.min(axis=1, keepdims=True),
    "reshape": lambda x: x.reshape(4, 6), "reshape to a tuple": lambda x: x.reshape((6, 4)), "ravel": lambda x: x.ravel(),
    "transpose": lambda x: x.transpose(2, 0, 1), "all axes": lambda x: x.transpose(), "T": lambda x: x[0].T * x[1].T,
    "a tuple of axes": lambda x: x.transpose((1, 0, 2)), "clip": lambda x: x.clip(0.4, 0.6), "flatten": lambda x: x.flatten(),
    "keys": lambda x: x[np.asarray(A) > 0.5], "ellipsis": lambda x: x[..., 1:, None],
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_arrays(name):
    agrees(METHODS[name], A)


SETTINGS = {
    "weights along an axis": lambda x: np.average(x, axis=1, weights=[1.0, 2.0, 4.0]),
    "weights, kept": lambda x: np.average(x, axis=-1, weights=[1.0, 2.0, 4.0, 3.0], keepdims=True),
    "weights of all": lambda x: np.average(x, weights=B), "weighted by itself": lambda x: np.average(B, axis=0, weights=x),
    "sample's variance": lambda x: np.var(x, axis=1, ddof=1), "sample's deviation": lambda x: np.std(x, ddof=1, keepdims=True),
    "clip by name": lambda x: np.clip(x, a_min=0.4, a_max=0.6), "clip below": lambda x: np.clip(x, 0.4, None),
    "clip's new names": lambda x: np.clip(x, min=0.4, max=0.6) if np.lib.NumpyVersion(np.__version__) >= "2.1.0" else x * 1,
    "the method's": lambda x: x.clip(min=0.4), "norm": lambda x: np.linalg.norm(x, None, 1, True),
    "norm 2": lambda x: np.linalg.norm(x, ord=2, axis=-1), "einsum": lambda x: np.einsum("abc,abc->a", x, B, optimize=True),
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_functions_count(name):
    agrees(SETTINGS[name], A)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.sum(x, where=B > 0.5), lambda x: np.mean(x, axis=0, where=B > 0.5), lambda x: np.max(x, initial=9.0),
        lambda x: np.sum(x, 0, np.float32), lambda x: np.sum(x, dtype=np.float32), lambda x: x.sum(0, np.float32),
        lambda x: x.mean(where=B > 0.5), lambda x: np.linalg.norm(x, ord=1, axis=1), lambda x: np.linalg.norm(x[0], ord=2),
        lambda x: np.cumsum(x, 0, np.float32), lambda x: np.concatenate([x, x], dtype=np.float32),
        lambda x: np.exp(x, where=B > 0.5), lambda x: np.var(x, mean=0.5), lambda x: np.prod(x, axis=0, initial=2.0),
    ],
)  # fmt: skip
def test_settings_that_are_not_known_are_refused_and_never_left_out(call):
    with pytest.raises(TypeError, match=r"has no derivative here|unexpected keyword|positional argument"):
        call(Traced(A))


def test_traced_arrays_are_like_arrays():
    x = Traced(A)
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((2, 3, 4), 3, 24, np.float64, 2)
    assert repr(Traced(np.array(2.0))) == "Traced(array(2.))" and bool(Traced(np.array(1.0))) and not Traced(np.array(0.0))
    narrow = x.astype(np.float32)
    (gradient,) = gradients(np.sum(narrow * narrow), [x])
    assert narrow.dtype == np.float32 and gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, 2 * A, rtol=1e-6)
    nested = plain({"a": [x, (x, 1)]})
    assert nested["a"][0] is x.value and nested["a"][1][0] is x.value and type(nested["a"][1]) is tuple


def test_products_of_matrices():
    agrees(lambda a, b: a @ b, A, RANDOM.normal(size=(4, 5)))
    agrees(lambda a, b: a @ b, A, RANDOM.normal(size=(2, 4, 2)))
    for a, b in ((A[0, 0], B[0, 0]), (A[0, 0], B[0].T), (A[0, 0], B.transpose(0, 2, 1)), (A[0], B[0, 0]), (A, B[0, 0])):
        agrees(np.matmul, a, b)  # a vector is a row in front, and a column behind
        agrees(lambda x, a=a: np.matmul(a, x), b)
        agrees(lambda x, b=b: np.matmul(x, b), a)
    agrees(np.dot, A, RANDOM.normal(size=4))
    agrees(np.cumsum, A)
    agrees(np.prod, A[0])
    agrees(np.prod, np.array([[2.0, 0.0], [0.0, 3.0]]))
    agrees(lambda x: np.prod(x, axis=-1), np.array([[2.0, 0.0, 5.0], [0.0, 0.0, 3.0]]))
    agrees(lambda a, b: np.einsum("abc,abd->acd", a, b), A, RANDOM.normal(size=(2, 3, 2)))
    agrees(lambda a, b, c: np.einsum("abc, bd, d -> da", a, b, c), A, RANDOM.normal(size=(3, 2)), RANDOM.normal(size=2))
    agrees(lambda a, b: np.einsum("bc,ca", a, b), A[0], RANDOM.normal(size=(4, 2)))
    agrees(lambda a: np.einsum("abc->b", a), A)
    agrees(lambda a, b: np.tensordot(a, b, 2), A[0], B[1])
    agrees(lambda a, b: np.tensordot(a, b, (-1, 0)), A, RANDOM.normal(size=(4, 2)))
    for spec in ("aab->b", "a...->a", "abb->a"):
        with pytest.raises(TypeError, match="has no derivative here"):
            np.einsum(spec, Traced(RANDOM.normal(size=(3, 3, 3))))
    agrees(np.dot, A[0], RANDOM.normal(size=(4, 2)))


def test_defaults_and_limits_of_the_functions():
    agrees(lambda x: np.sum(x) + np.mean(x) + np.max(x) * np.min(x) + np.var(x) + np.std(x), A)
    agrees(lambda x: np.concatenate([x, x * x]), A)
    agrees(lambda x: np.stack([x, B]), A)
    agrees(lambda x: np.clip(x, None, 0.5) + np.clip(x, 0.5, None), A)
    agrees(lambda a, b: np.dot(a, b) + np.dot(2.0, a), np.array(0.3), np.array([0.4, 0.5]))
    agrees(lambda x: np.linalg.norm(x), A[0])
    agrees(lambda x: np.linalg.norm(x, 2, axis=2, keepdims=True), A)
    for refused in (lambda: np.linalg.norm(Traced(A), 1, axis=1), lambda: np.dot(Traced(A), A.transpose(0, 2, 1))):
        with pytest.raises(TypeError, match=r"has no derivative here|takes vectors and matrices"):
            refused()


def test_what_is_used_twice_adds_up():
    agrees(lambda x: x * x + np.exp(x) * x[..., ::-1] - x[0], A)
    x = Traced(np.array(3.0))
    y = x
    z = x
    z *= x  # a new z
    assert x.value == 3 and gradients(z, [x])[0] == 6
    for _ in range(3000):  # no recursion
        y = y * 1.0
    assert gradients(y, [x])[0] == 1 and gradients(Traced(np.array(1.0)), [x])[0] == 0


def test_extremes_share_at_a_tie():
    x = Traced(np.array([2.0, 5.0, 5.0]))
    np.testing.assert_array_equal(gradients(np.max(x), [x])[0], [0, 0.5, 0.5])


def test_values_of_single_numbers_are_added_up_and_know_the_batch():
    x = Input((6, 5))
    total = backend.variable(0.0)
    for part in (x, 2 * x):
        total = total + backend.sum(backend.square(part)) / backend.prod(backend.cast(backend.shape(part), "float32"))
    assert total.shape == () and backend.shape(x).shape == (3,) and backend.shape(np.ones((2, 3))) == (2, 3)
    batch = RANDOM.normal(size=(4, 6, 5)).astype(np.float32)
    (gradient,) = backend.gradients(total, x)
    found, slope = backend.function([x], [total, gradient])([batch])
    assert found == pytest.approx((batch**2).mean() * 5, rel=1e-5)
    np.testing.assert_allclose(slope, 10 * batch / batch.size, rtol=1e-4)


def test_no_gradient_is_lost_in_silence():
    x = Traced(A)
    assert type(np.argmax(x)) is np.int64 and type(x > 0.5) is np.ndarray
    for misuse in (lambda: np.asarray(x), lambda: float(x), lambda: np.sort(x), lambda: np.cbrt(x)):
        with pytest.raises(TypeError):
            misuse()
    with pytest.raises(TypeError, match="cannot be written into a plain one"):
        np.add(A, x, out=np.zeros_like(A))
    with pytest.raises(ValueError, match="give dy"):
        gradients(x * 2, [x])
    with pytest.raises(TypeError, match="expected what was computed"):
        gradients(1.0, [x])


# What a program brings along.

X = RANDOM.normal(size=(12, 5))
T = np.eye(3)[np.arange(12) % 3]


def focal(y_true, y_pred):
    p = backend.clip(y_pred, 1e-6, 1 - 1e-6)
    return -backend.sum(y_true * (1 - p) ** 2 * backend.log(p), axis=-1)


def of_others(y_true, y_pred):
    return losses.categorical_crossentropy(y_true, y_pred) + 2 * losses.MeanSquaredError()(y_true, y_pred)


def dice(y_true, y_pred):
    return 1 - (2 * np.sum(y_true * y_pred) + 1) / (np.sum(y_true) + np.sum(y_pred) + 1)


class Weighted(losses.Loss):
    def __init__(self, weight=3.0):
        super().__init__(name="weighted")
        self.weight = weight

    def call(self, y_true, y_pred):
        return self.weight * backend.mean(backend.square(y_true - backend.tanh(y_pred)), axis=-1)


def softmax_model(loss):
    minitl.set_random_seed(3)
    model = Sequential([Input((5,)), Dense(4, activation="tanh"), Dense(3, activation="softmax")])
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize("loss", [focal, of_others, dice, Weighted()])
def test_losses_of_a_program_s_own(loss):
    check_gradients(softmax_model(loss), X, T).raise_if_wrong()


def test_a_loss_written_anew_is_the_loss():
    def written(y_true, y_pred):
        return -backend.sum(y_true * backend.log(y_pred), axis=-1)

    weights = RANDOM.uniform(0, 2, 12)
    ours, theirs = softmax_model(written), softmax_model("categorical_crossentropy")
    for model in (ours, theirs):
        model.history_of = model.fit(X, T, epochs=3, batch_size=5, shuffle=False, sample_weight=weights, verbose=0).history
    np.testing.assert_allclose(ours.history_of["loss"], theirs.history_of["loss"], rtol=1e-5)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_losses_of_a_program_s_own_are_saved_by_name(tmp_path):
    for loss, known in ((focal, {"focal": focal}), (Weighted(2.0), {"Weighted": Weighted})):
        model = softmax_model(loss)
        model.save(tmp_path / "model.npz")
        with pytest.raises(ValueError, match="custom_objects"):
            load_model(tmp_path / "model.npz")
        again = load_model(tmp_path / "model.npz", custom_objects=known)
        assert again.evaluate(X, T, verbose=0) == model.evaluate(X, T, verbose=0)


def test_a_loss_that_leaves_the_record_is_refused():
    for wrong in (lambda t, p: 1.0, lambda t, p: float(t.sum()), lambda t, p: backend.sum(p > 0.5)):
        with pytest.raises(TypeError, match="does not depend on y_pred, or left the record"):
            softmax_model(wrong).fit(X, T, verbose=0)
    with pytest.raises(TypeError, match=r"numpy.cbrt has no derivative here"):
        softmax_model(lambda t, p: np.cbrt(p)).fit(X, T, verbose=0)
    with pytest.raises(TypeError, match="a loss must be a name"):
        softmax_model(5)


class MyDense(Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], self.units), initializer="glorot_uniform")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        super().build(input_shape)

    def call(self, x):
        return backend.dot(x, self.kernel) + self.bias


class Block(Layer):
    """Layers of minitl in it, one used twice, one of its own kind, a model, and arithmetic between them."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.first, self.shared = Dense(units, activation="relu"), Dense(units)
        self.normal, self.own = BatchNormalization(), MyDense(units)
        self.model = Sequential([Dense(units, activation="tanh"), Dropout(0.5)])

    def call(self, inputs, training=None):
        y = self.shared(self.first(inputs))
        y = backend.relu(self.normal(y, training=training) + 0.5 * self.own(inputs))
        return self.shared(y) * backend.sigmoid(self.model(inputs)) + y


@pytest.mark.parametrize("house", ["numpy", "numba"])
def test_layers_with_a_call(house, tmp_path):
    with minitl.use_backend(house):
        minitl.set_random_seed(0)
        model = Sequential([Input((5,)), Block(4), MyDense(3), Activation("softmax")])
        model.layers[0].model.layers[1].rate = 0.0  # the checker wants no chance
        model.compile(minitl.optimizers.Adam(0.02), "categorical_crossentropy")
        check_gradients(model, X, T).raise_if_wrong()
        assert {name for name, _ in model.named_layers()} >= {"block", "block/first", "block/dense", "my_dense"}
        before = model.get_weights()
        model.layers[0].shared.trainable = False
        history = model.fit(X, T, epochs=30, verbose=0).history["loss"]
        assert history[-1] < 0.9 * history[0]
        moved = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
        assert moved.count(False) == 2  # the shared layer's
        model.save(tmp_path / "own.npz")
        again = load_model(tmp_path / "own.npz", custom_objects={"Block": Block, "MyDense": MyDense})
        np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_layer_with_a_call_is_the_layer():
    minitl.set_random_seed(0)
    ours, theirs = MyDense(3), Dense(3)
    x = X.astype(np.float32)
    ours(x), theirs(x)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours.forward(x), theirs.forward(x), rtol=1e-5, atol=1e-6)
    dy = T.astype(np.float32)
    np.testing.assert_allclose(ours.backward(dy), theirs.backward(dy), rtol=1e-5, atol=1e-6)
    for name, gradient in theirs.gradients.items():
        np.testing.assert_allclose(ours.gradients[name], gradient, rtol=1e-5, atol=1e-6)


class Apart(Layer):
    def call(self, inputs):
        a, b = inputs
        return backend.sqrt(backend.sum(backend.square(a - b), axis=1, keepdims=True) + 1e-3)


def test_a_layer_with_a_call_of_several_inputs():
    a, b = Input((5,)), Input((5,))
    shared = Dense(4, activation="tanh")
    model = Model([a, b], Apart()([shared(a), shared(b)]))
    assert model.output_shape == (None, 1)
    check_gradients(model, [X, RANDOM.normal(size=X.shape)]).raise_if_wrong()


class Merging(Layer):
    """Layers of several inputs in a call, and dropout that is told by nobody whether it is training."""

    def __init__(self, told=None):
        super().__init__()
        self.one, self.other, self.sum, self.drop, self.told = Dense(5), Dense(5), Add(), Dropout(0.5), told

    def call(self, x):
        return self.drop(self.sum([self.one(x), self.other(x)]), training=self.told)


def test_layers_in_a_call_know_whether_it_is_training():
    x = X.astype(np.float32)
    for told, dropped in ((None, (False, True)), (True, (True, True)), (False, (False, False))):
        layer = Merging(told)
        whole = layer.sum([layer.one(x), layer.other(x)])
        for training, expected in zip((False, True), dropped, strict=True):
            y = layer.forward(x, training=training)
            assert (y == 0).any() == expected and (expected or np.array_equal(y, whole))
    frozen = Merging(False)
    frozen.other.trainable = False
    frozen.forward(x)
    dx = frozen.backward(np.ones((12, 5), np.float32))
    np.testing.assert_allclose(
        dx, np.ones((12, 5)) @ (frozen.one.parameters["kernel"] + frozen.other.parameters["kernel"]).T, 1e-5
    )
    assert frozen.one.gradients and not frozen.other.gradients


class Wrong(Layer):
    def call(self, x):
        return np.ones_like(x)


class Twice(Layer):
    def __init__(self):
        super().__init__()
        self.own = MyDense(5)

    def call(self, x):
        return self.own(self.own(x))


@pytest.mark.parametrize(("layer", "told"), [(Wrong, "left the record on its way"), (Twice, "make one layer for each use")])
def test_calls_that_cannot_be_differentiated(layer, told):
    model = Sequential([Input((5,)), Dense(5), layer(), Dense(3)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=told):
        model.fit(X, T, verbose=0)


class Net(Model):
    def __init__(self, classes=4):
        super().__init__()
        self.convolution, self.pooling, self.flatten = Conv2D(4, 3, activation="relu"), MaxPooling2D(), Flatten()
        self.dropout, self.head = Dropout(0.5), Dense(classes, activation="softmax")

    def call(self, x, training=None):
        x = self.flatten(self.pooling(self.convolution(x)))
        if training:
            x = self.dropout(x, training=training)
        return self.head(x)


class TwoInputs(Model):
    def __init__(self):
        super().__init__()
        self.one, self.other, self.out = Dense(3), Dense(3), Dense(2)

    def call(self, inputs):
        return {"sum": self.out(self.one(inputs["a"]) + self.other(inputs["b"])), "plain": self.one(inputs["a"])}


def test_models_with_a_call(tmp_path):
    images = RANDOM.normal(size=(20, 6, 6, 3)).astype(np.float32)
    labels = np.arange(20) % 4
    minitl.set_random_seed(1)
    model = Net()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, epochs=2, verbose=0)
    names = ["conv2d", "max_pooling2d", "flatten", "dropout", "dense"]
    assert [name for name, _ in model.named_layers()] == names
    assert not np.array_equal(model(images, training=True), model(images, training=True))  # dropout drops in training
    np.testing.assert_array_equal(model(images), model(images))  # and only there
    model.save(tmp_path / "net.npz")
    np.testing.assert_array_equal(load_model(tmp_path / "net.npz").predict(images, verbose=0), model.predict(images, verbose=0))
    assert clone_model(model).count_params() == model.count_params()
    built = Net()
    built.build((None, 6, 6, 3))
    assert built.output_shape == (None, 4)
    inside = Input((6, 6, 3))
    assert Model(inside, Dense(1)(Net()(inside))).output_shape == (None, 1)


def test_a_model_with_a_call_of_several_inputs_and_outputs():
    model = TwoInputs()
    found = model({"a": X, "b": X})
    assert isinstance(found, dict) and model.input_names == ["a", "b"]
    assert [part.shape for part in found.values()] == [(12, 2), (12, 3)]


def test_a_layer_with_weights_that_uses_values_around_it_is_left_without_them():
    around = Input((3,))

    class Own(Layer):
        def build(self, input_shape):
            self.scale = self.add_weight("scale", (3,), "ones")

        def call(self, x):
            return x * self.scale + around

    layer = Own()
    with pytest.raises(TypeError, match="has weights, which would not learn"):
        layer(Input((3,)))
    assert layer.count_params() == 0


def test_models_with_a_call_that_cannot_be_followed():
    class Numbers(Model):
        def call(self, x):
            return np.cbrt(x)

    with pytest.raises(TypeError, match="must be made of layers"):
        Numbers()(X)
    with pytest.raises(TypeError, match="does not call a train_step"):
        type("Own", (Model,), {"train_step": lambda self, data: None})
    with pytest.raises(TypeError, match="subclasses with a call"):
        Model()


def test_expressions_of_values(tmp_path):
    a, b = Input((6,)), Input((6,))
    expressions = [
        lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / (3 + np.exp(b)), lambda a, b: -a,
        lambda a, b: abs(a) ** 1.5, lambda a, b: 2 - 3 * a, lambda a, b: 2.0**a, lambda a, b: a[:, 1:4], lambda a, b: a[:, ::2],
        lambda a, b: a[..., None] * b[:, None], lambda a, b: a[:, 0:1] @ np.ones((1, 2)), lambda a, b: np.maximum(a, 0.1),
        lambda a, b: np.concatenate([a, b, a], axis=1), lambda a, b: np.where(a > 0, a, b),
        lambda a, b: np.linalg.norm(a, axis=1),
        lambda a, b: backend.mean(a, axis=-1, keepdims=True), lambda a, b: backend.reshape(a, (-1, 3, 2)),
        lambda a, b: backend.l2_normalize(a, axis=1), lambda a, b: backend.logsumexp(a - b, axis=1, keepdims=True),
    ]  # fmt: skip
    x = [RANDOM.normal(size=(3, 6)).astype(np.float32) for _ in range(2)]
    for number, made in enumerate(expressions):
        y = made(a, b)
        if number in (4, 5, 6, 7, 8, 9, 11, 12, 15, 16, 17, 18):
            model, data = Model(a, y), x[0]
        else:
            model, data = Model([a, b], y), x
        expected = made(*x)
        assert model.output_shape[1:] == expected.shape[1:], number
        np.testing.assert_allclose(model(data), expected, rtol=1e-5, atol=1e-6, err_msg=str(number))
        check_gradients(model, data).raise_if_wrong()
        model.save(tmp_path / "model.npz")
        np.testing.assert_array_equal(load_model(tmp_path / "model.npz")(data), model(data))


def test_a_file_cannot_ask_for_more_numbers_than_there_is_room_for(tmp_path):
    x = Input((4,))
    model = Model(x, np.tile(x, (1, 3)))
    for old, new in (('"tuple": [1, 3]', '"tuple": [1, 1000000000]'), ('"shape": [4]', '"shape": [2000000000]')):
        text = model.to_json()
        assert old in text
        with pytest.raises(ValueError, match="would make more than"):
            model_from_json(text.replace(old, new))
    with pytest.raises(ValueError, match="unknown ArrayFunction: function 'fromfile'"):
        model_from_json(model.to_json().replace('"tile"', '"fromfile"'))


def test_expressions_of_open_shapes_and_what_is_refused():
    x = Input((None, None, 3))
    assert (x[:, ::2] * 2).shape == (None, None, None, 3) and np.mean(x, axis=(1, 2)).shape == (None, 3)
    assert np.shape(x) == (None, None, None, 3) and np.ndim(x) == 4
    with pytest.raises(TypeError, match="use a layer"):
        np.cbrt(x)
    assert np.sum(x).shape == () and np.sum(x, axis=0).shape == (None, None, 3) and x[0].shape == (None, None, 3)
    with pytest.raises(TypeError, match="not iterable"):
        list(x)
    flat = Input((3,))
    total = Model(flat, np.sum(flat * flat))
    assert total(np.ones((2, 3))) == 6
    with pytest.raises(ValueError, match="has no batch to put together"):
        total.predict(np.ones((2, 3)), verbose=0)
