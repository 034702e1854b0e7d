"""Prices on what layers give: activity regularizers, by their definition, in both houses, in files and in parts of a batch."""

import numpy as np
import pytest

import minitl
from minitl.gradcheck import check_gradients
from minitl.layers import (
    LSTM,
    ActivityRegularization,
    Add,
    BatchNormalization,
    Bidirectional,
    Conv2D,
    Dense,
    Flatten,
    Input,
    Layer,
    MaxPooling2D,
    ReLU,
    TimeDistributed,
)
from minitl.models import Model, Sequential, load_model
from minitl.regularizers import L1L2

DRAWN = np.random.default_rng(0)
X, LABELS = DRAWN.standard_normal((6, 8, 8, 3)).astype(np.float32), np.arange(6) % 3


def network(**kwargs):
    minitl.set_random_seed(0)
    model = Sequential(
        [
            Input((8, 8, 3)),
            Conv2D(4, 3, activation="relu", activity_regularizer=L1L2(0.01, 0.1), name="maps"),
            MaxPooling2D(),
            Flatten(),
            Dense(5, activation="tanh", activity_regularizer="l2", name="units"),
            ActivityRegularization(0.1, name="penalty"),
            Dense(3, activation="softmax", activity_regularizer="l1", name="classes"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", **kwargs)
    return model


def test_the_loss_has_the_penalties_per_sample(backend):
    model = network()
    maps, units, classes = (
        Model(model.input, model.get_layer(n).output).predict(X, verbose=0) for n in ("maps", "units", "classes")
    )
    p = classes[np.arange(6), LABELS]
    penalties = 0.01 * np.abs(maps).sum() + 0.1 * (maps**2).sum() + 0.01 * (units**2).sum() + 0.1 * np.abs(units).sum()
    penalties += 0.01 * np.abs(classes).sum()
    expected = -np.log(p).mean() + penalties / 6
    assert model.evaluate(X, LABELS, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(X, LABELS, batch_size=2, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.train_on_batch(X, LABELS) == pytest.approx(expected, rel=1e-5)
    assert model.new_run().added_loss == 0


def test_gradients_with_penalties(backend):
    model = network()
    check_gradients(model, X, y=LABELS).raise_if_wrong()
    check_gradients(model, X).raise_if_wrong()  # without a loss there are no penalties
    outer = Sequential([Input((8, 8, 3)), model, Dense(2)])
    outer.compile("sgd", "mse")
    check_gradients(outer, X, y=DRAWN.standard_normal((6, 2))).raise_if_wrong()
    inputs = Input((8, 8, 3))
    x = BatchNormalization(activity_regularizer="l2")(Conv2D(4, 3, padding="same")(inputs))
    x = Add(activity_regularizer="l1")([ReLU(activity_regularizer="l2")(x), Conv2D(4, 1)(inputs)])
    branched = Model(inputs, [Dense(2)(Flatten()(x)), Dense(1, activity_regularizer="l2")(Flatten()(x))])
    branched.compile("sgd", "mse", loss_weights=[1.0, 0.5])
    check_gradients(branched, X, y=[DRAWN.standard_normal((6, 2)), DRAWN.standard_normal((6, 1))]).raise_if_wrong()


def test_a_frozen_part_has_a_penalty_that_changes_nothing(backend):
    model = network()
    model.get_layer("maps").trainable = False
    loss = model.train_on_batch(X, LABELS)
    assert loss > network().evaluate(X, LABELS, verbose=0) - 1e-4
    check_gradients(model, X, y=LABELS).raise_if_wrong()


def test_both_houses_and_unfused_agree():
    weights = []
    for house, fuse in (("numpy", True), ("numba", True), ("numba", False)):
        with minitl.use_backend(house):
            model = network()
            model.fuse = fuse
            model.fit(X, LABELS, epochs=3, verbose=0, shuffle=False)
            weights.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(weights[1], weights[2], rtol=1e-4, atol=1e-5)


def test_a_batch_in_parts_has_the_same_penalties():
    whole, parts = network(), network()
    losses = [
        model.fit(X, LABELS, batch_size=6, epochs=2, verbose=0, shuffle=False, accumulate=k).history["loss"]
        for model, k in ((whole, 1), (parts, 3))
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for a, b in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ending", ["npz", "keras", "h5"])
def test_files_keep_the_penalties(tmp_path, ending):
    model = network()
    expected = model.evaluate(X, LABELS, verbose=0)
    model.save(tmp_path / f"m.{ending}")
    loaded = load_model(tmp_path / f"m.{ending}")
    loaded.compile("sgd", "sparse_categorical_crossentropy")
    assert loaded.evaluate(X, LABELS, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert minitl.models.clone_model(model).get_layer("maps").activity_regularizer.l2 == 0.1


def test_keras_has_the_same_loss(tmp_path):
    keras = pytest.importorskip("keras")
    model = network()
    model.save(tmp_path / "m.keras")
    theirs = keras.models.load_model(tmp_path / "m.keras")
    theirs.compile("sgd", "sparse_categorical_crossentropy")
    assert theirs.evaluate(X, LABELS, verbose=0) == pytest.approx(model.evaluate(X, LABELS, verbose=0), rel=1e-5)


def test_a_penalty_that_would_not_be_counted_is_refused():
    class Own(Layer):
        def __init__(self, **kwargs):
            super().__init__()
            self.inner = Dense(2, **kwargs)

        def call(self, x):
            return self.inner(x)

    for make in (
        lambda: TimeDistributed(Dense(2, activity_regularizer="l1")),
        lambda: Bidirectional(LSTM(2, activity_regularizer="l1")),
    ):
        with pytest.raises(ValueError, match="inside it would not be counted; give it to the outer layer"):
            make()
    x, y = np.ones((2, 3), np.float32), np.ones((2, 2), np.float32)
    for kwargs, refused in (({"activity_regularizer": "l1"}, True), ({}, False)):
        model = Sequential([Input((3,)), Own(**kwargs)])
        model.compile("sgd", "mse")
        model.predict(x, verbose=0)
        if refused:
            with pytest.raises(ValueError, match="would not be counted"):
                model.train_on_batch(x, y)
        else:
            model.train_on_batch(x, y)


def test_settings():
    assert "activity_regularizer" not in Dense(3).get_config()
    assert Dense(3, activity_regularizer="l1").get_config()["activity_regularizer"].l1 == 0.01
    assert set(ActivityRegularization(0.1).get_config()) == {"l1", "l2", "name", "trainable", "dtype"}
    with pytest.raises(ValueError, match="unknown regularizer"):
        Dense(3, activity_regularizer="l3")
    with pytest.raises(ValueError, match=r"L1L2: l1 must be a number in \[0, inf\)"):
        ActivityRegularization(-1)
