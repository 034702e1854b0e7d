"""A `compute_loss` of a model's own, and losses of values."""

import numpy as np
import pytest

from minitl import Input, Model, Sequential, losses, ops
from minitl.gradcheck import check_gradients
from minitl.layers import Dense
from minitl.models import clone_model, load_model

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(12, 6)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 12)
CHANCES = (RANDOM.random((12, 3)) + 0.1).astype(np.float32)
CHANCES /= CHANCES.sum(axis=1, keepdims=True)


class Distiller(Model):
    def __init__(self, student, teacher, share=0.25):
        super().__init__()
        self.student, self.teacher, self.share = student, teacher, share
        self.hard, self.soft = losses.SparseCategoricalCrossentropy(from_logits=True), losses.KLDivergence()

    def call(self, x):
        return self.student(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        soft = self.soft(ops.softmax(self.teacher(x, training=False)), ops.softmax(y_pred))
        return self.share * self.hard(y, y_pred, sample_weight) + (1 - self.share) * soft


def network(dtype="float32"):
    return Sequential([Input((6,), dtype=dtype), Dense(5, activation="tanh", dtype=dtype), Dense(3, dtype=dtype)])


def distiller(dtype="float32"):
    teacher = network(dtype)
    teacher.trainable = False
    model = Distiller(network(dtype), teacher)
    model.compile("sgd", metrics=["accuracy"])
    return model


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def by_hand(model, weights=1.0):
    logits = model.student.predict(X, verbose=0)
    taught, p = softmax(model.teacher.predict(X, verbose=0)), softmax(logits)
    hard = np.mean(-np.log(p[np.arange(12), LABELS]) * weights)
    return 0.25 * hard + 0.75 * np.mean(np.sum(taught * np.log(taught / p), axis=1)), logits


def test_the_loss_is_the_model_s_own():
    model = distiller()
    loss, accuracy = model.evaluate(X, LABELS, batch_size=12, verbose=0)
    expected, logits = by_hand(model)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert accuracy == pytest.approx(np.mean(logits.argmax(axis=1) == LABELS))


def test_its_gradient_is_right_and_the_teacher_stays():
    model = distiller("float64")
    assert check_gradients(model, X.astype(float), LABELS).ok
    before, taught = model.student.get_weights(), model.teacher.get_weights()
    first = model.evaluate(X, LABELS, verbose=0)[0]
    model.fit(X, LABELS, epochs=20, batch_size=4, verbose=0)
    assert model.evaluate(X, LABELS, verbose=0)[0] < first
    assert all((a != b).any() for a, b in zip(before, model.student.get_weights(), strict=True))
    assert all((a == b).all() for a, b in zip(taught, model.teacher.get_weights(), strict=True))


def test_it_takes_sample_weights_and_targets_of_other_kinds():
    model, weights = distiller(), np.linspace(0, 2, 12).astype(np.float32)
    for given, used in ((weights, weights), (None, 1.0), (1 - weights / 2, 1 - weights / 2)):  # one network for both kinds
        expected, _ = by_hand(model, used)
        assert model.evaluate(X, LABELS, sample_weight=given, verbose=0)[0] == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(X, LABELS.astype(np.int8), verbose=0)[0] == pytest.approx(by_hand(model)[0], rel=1e-5)
    model.hard = losses.CategoricalCrossentropy(from_logits=True)
    model.compile("sgd")
    assert model.evaluate(X, np.eye(3)[LABELS], verbose=0) == pytest.approx(by_hand(model)[0], rel=1e-5)


class Bounded(Model):
    """What was compiled, and the squares of the outputs."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **settings):
        outputs = y_pred if isinstance(y_pred, list) else [y_pred]
        return super().compute_loss(x, y, y_pred, sample_weight) + sum(0.1 * ops.mean(ops.square(p)) for p in outputs)


def test_what_was_compiled_is_a_part_of_it():
    x = Input((6,))
    model = Bounded(x, Dense(3, kernel_regularizer="l2")(x))
    plain = clone_model(Model(x, model.outputs[0]))
    plain.set_weights(model.get_weights())
    for one in (model, plain):
        one.compile("sgd", "mse")
    weights = np.linspace(0, 2, 12)
    for given in (None, weights):
        expected = plain.evaluate(X, CHANCES, batch_size=12, sample_weight=given, verbose=0)
        expected += 0.1 * np.mean(plain.predict(X, verbose=0) ** 2)
        assert model.evaluate(X, CHANCES, batch_size=12, sample_weight=given, verbose=0) == pytest.approx(expected, rel=1e-5)
    without = Bounded(x, Dense(3)(x))
    without.compile("sgd")
    with pytest.raises(ValueError, match="no loss yet"):
        without.fit(X, CHANCES, verbose=0)


def test_penalties_join_once_whether_it_adds_them_or_not():
    class Adding(Model):
        adds = True

        def compute_loss(self, x, y, y_pred, sample_weight, training=True):
            loss = ops.mean((y_pred - y) ** 2)
            return loss + ops.sum(self.losses) if self.adds else loss

    class Leaving(Adding):
        adds = False

    x = Input((6,))
    found = []
    for kind in (Adding, Leaving, Model):
        h = Dense(4, kernel_regularizer="l2")(x)
        model = kind(x, Dense(3)(h))
        model.set_weights([np.full(w.shape, 0.25) for w in model.get_weights()])
        model.add_loss(ops.mean(ops.square(h)))
        model.compile("sgd", "mse")
        found.append(model.fit(X, CHANCES, epochs=3, batch_size=12, verbose=0).history["loss"])
        assert len(model.losses) > 0
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)
    np.testing.assert_allclose(found[1], found[2], rtol=1e-5)


def test_a_property_of_metrics_is_refused():
    with pytest.raises(TypeError, match=r"Own: metrics are what compile\(metrics=\.\.\.\) gets"):
        type("Own", (Model,), {"metrics": property(lambda self: [])})


def test_several_outputs_with_shares():
    x = Input((6,))
    model = Bounded(x, [Dense(3, name="a")(x), Dense(1, name="b")(x)])
    model.compile("sgd", ["mse", "mae"], loss_weights=[1.0, 0.5])
    a, b = model.predict(X, verbose=0)
    y = X[:, :1]
    expected = np.mean((a - CHANCES) ** 2) + 0.5 * np.mean(abs(b - y)) + 0.1 * np.mean(a**2) + 0.1 * np.mean(b**2)
    found = model.evaluate(X, [CHANCES, y], batch_size=12, verbose=0)
    assert (found[0] if isinstance(found, list) else found) == pytest.approx(expected, rel=1e-5)
    assert model.compute_loss(None, [CHANCES, y], [a, b]) == pytest.approx(expected, rel=1e-5)


def test_without_targets_it_gets_none():
    seen = []

    class Unsupervised(Model):
        def compute_loss(self, x, y, y_pred, sample_weight):
            seen.append((y, sample_weight))
            return ops.mean(ops.square(y_pred[0] - x[:, :3]), axis=-1)

    x = Input((6,))
    model = Unsupervised(x, [Dense(3)(x), Dense(1)(x)])
    model.compile("sgd")
    made = model.predict(X, verbose=0)[0]
    assert model.evaluate(X, verbose=0) == pytest.approx(np.mean((made - X[:, :3]) ** 2), rel=1e-5)
    assert seen == [(None, None)]


def test_targets_come_in_the_outputs_dtype():
    x = Input((6,), dtype="float64")
    model = Bounded(x, Dense(3, dtype="float64")(x))
    model.compile("sgd", "mse")
    y = RANDOM.normal(size=(12, 3))
    p = model.predict(X.astype(float), verbose=0)
    found = model.evaluate(X.astype(float), y, batch_size=12, verbose=0)
    assert found == pytest.approx(np.mean((p - y) ** 2) + 0.1 * np.mean(p**2), rel=1e-12)


def test_a_layer_that_only_the_loss_uses_is_named():
    model = Distiller(network(), network())
    model.compile("sgd")
    with pytest.warns(UserWarning, match=r"compute_loss\(\) uses layers that call\(\) does not.*dense"):
        model.fit(X, LABELS, verbose=0)


def test_what_is_no_value_is_refused():
    class Constant(Model):
        def compute_loss(self, y_pred):
            return 1.0

    x = Input((6,))
    model = Constant(x, Dense(1)(x))
    model.compile("sgd")
    with pytest.raises(TypeError, match=r"compute_loss\(\) must give what its layers"):
        model.fit(X, LABELS, verbose=0)


@pytest.mark.parametrize("kind", ["npz", "keras"])
def test_files_have_the_network_without_its_loss(kind, tmp_path):
    x = Input((6,))
    model = Bounded(x, Dense(3)(x))
    model.compile("sgd", "mse")
    model.save(tmp_path / f"m.{kind}")
    again = load_model(tmp_path / f"m.{kind}", custom_objects={"Bounded": Bounded})
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    assert again.optimizer is None


OF_VALUES = {
    "MeanSquaredError": {}, "MeanAbsoluteError": {}, "Huber": {"delta": 0.3}, "KLDivergence": {}, "Poisson": {}, "LogCosh": {},
    "CategoricalCrossentropy": {"label_smoothing": 0.1}, "BinaryCrossentropy": {}, "CosineSimilarity": {}, "Dice": {},
    "CategoricalFocalCrossentropy": {"gamma": 1.5},
}  # fmt: skip


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
@pytest.mark.parametrize("name", OF_VALUES)
def test_losses_of_values_are_those_of_arrays(name, reduction):
    loss = getattr(losses, name)(reduction=reduction, **OF_VALUES[name])
    x, y = Input((6,), dtype="float64"), Input((3,), dtype="float64")
    p = Dense(3, activation="softmax", dtype="float64")(x)
    model = Model([x, y], [p, y])
    data = [X.astype(float), CHANCES.astype(float)]
    value = loss(y, p)
    predicted = model(data)[0]
    made = Model([x, y], value)(data)
    np.testing.assert_allclose(made, loss(data[1], predicted), rtol=1e-6)
    model.add_loss(value)
    model.compile("sgd")
    found = model.evaluate(data, verbose=0)[0]
    assert found == pytest.approx(np.mean(loss(data[1], predicted)), rel=1e-5)
    assert check_gradients(model, data).ok


def test_the_shape_of_losses_of_rows_is_open_where_the_rows_are():
    sequence, targets = Input((None, 4)), Input((None, 3))
    value = losses.MeanSquaredError(reduction="none")(targets, Dense(3)(sequence))
    assert value.shape == (None, None)
    assert Model([sequence, targets], value)([np.ones((2, 5, 4)), np.ones((2, 5, 3))]).shape == (2, 5)


def test_a_loss_of_values_goes_into_a_file(tmp_path):
    x = Input((6,))
    a, b = Dense(3)(x), Dense(3)(x)
    model = Model(x, [a, b])
    model.add_loss(losses.MeanSquaredError(reduction="sum")(a, b))
    model.compile("sgd")
    model.save(tmp_path / "m.npz")
    for again in (load_model(tmp_path / "m.npz"), clone_model(model)):
        again.set_weights(model.get_weights())
        again.compile("sgd")
        assert again.evaluate(X, verbose=0) == model.evaluate(X, verbose=0)


def test_targets_that_a_network_gives_learn_too():
    x = Input((6,), dtype="float64")
    a, b = Dense(3, activation="softmax", dtype="float64")(x), Dense(3, activation="softmax", dtype="float64")(x)
    model = Model(x, [a, b])
    model.add_loss(losses.KLDivergence()(a, b))
    model.compile("sgd")
    assert check_gradients(model, X.astype(float)).ok
    before = model.get_weights()
    model.fit(X, verbose=0)
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


def test_a_loss_without_targets_says_so():
    with pytest.raises(ValueError, match="the data have no targets; give y"):
        distiller().fit(X, verbose=0)


def test_a_value_and_an_array_are_no_loss():
    with pytest.raises(TypeError, match="must both be values"):
        losses.MeanSquaredError()(X[:, :3], Input((3,)))
