"""Looking at a model: its units, whether its probabilities can be believed, and a learning rate for it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import ROWS, TARGETS, small

from minitl import plot
from minitl.calibration import reliability, temperature, tempered
from minitl.layers import Activation, Concatenate, Conv2D, Dense, Flatten, GlobalMaxPooling2D, Input
from minitl.models import Model, Sequential
from minitl.optimizers import SGD
from minitl.random import new_generator
from minitl.rate_finder import find_learning_rate
from minitl.units import feature_maps, nearest, preferred_input, strongest
from minitl.utils import set_random_seed


def edges():
    """A network whose filter 0 answers to bright columns, and filter 1 to bright rows."""
    model = Sequential(
        [Input((8, 8, 1)), Conv2D(2, 3, use_bias=False, name="edges"), Activation("relu"), GlobalMaxPooling2D(), Dense(2)]
    )
    kernel = np.zeros((3, 3, 1, 2), np.float32)
    kernel[:, 1, 0, 0] = kernel[1, :, 0, 1] = 1
    kernel -= kernel.mean(axis=(0, 1), keepdims=True)
    model.layers[0].set_weights([kernel])
    return model


def stripes():
    x = np.zeros((6, 8, 8, 1), np.float32)
    for k in range(3):
        x[k, :, 3] = k + 1  # columns, ever brighter
        x[3 + k, 3] = k + 1
    return x


def test_maps_and_what_a_unit_answers_most():
    model, x = edges(), stripes()
    maps = feature_maps(model, x, "edges")
    assert maps.shape == (6, 6, 6, 2)
    assert maps[2, :, 2, 0] == pytest.approx(6.0)  # 3 pixels of brightness 3, times 2/3
    rows, answers = strongest(model, x, "edges", 0, count=3, batch_size=4)
    assert rows.tolist() == [2, 1, 0]
    np.testing.assert_allclose(answers, [6, 4, 2], rtol=1e-6)
    assert strongest(model, x, "edges", 1, count=2)[0].tolist() == [5, 4]
    assert feature_maps(model, x, "dense").shape == (6, 2)


def test_an_image_made_for_a_unit():
    model = edges()
    for unit in (0, 1):
        image = preferred_input(model, "edges", unit, steps=40, seed=1)
        assert image.shape == (8, 8, 1) and image.dtype == np.float32
        begin = np.random.default_rng(1).normal(0, 0.1, (1, 8, 8, 1)).astype(np.float32)
        before, after = (np.maximum(feature_maps(model, z, "edges")[0], 0).mean(axis=(0, 1)) for z in (begin, image[None]))
        assert after[unit] > before[unit] + 0.3 and after[unit] > 2 * after[1 - unit]
        np.testing.assert_array_equal(image, preferred_input(model, "edges", unit, steps=40, seed=1))


def test_neighbours():
    random = np.random.default_rng(0)
    features = random.normal(size=(30, 5)) + 10
    rows, cosines = nearest(features, features[[4, 7]] * 1.0, count=3)
    assert rows[:, 0].tolist() == [4, 7]
    np.testing.assert_allclose(cosines[:, 0], 1, rtol=1e-9)
    assert (np.diff(cosines, axis=1) <= 0).all()
    with pytest.raises(ValueError, match=r"got \(30, 5\) and \(2, 4\)"):
        nearest(features, features[:2, :4])


def test_units_that_are_not_there():
    model, x = edges(), stripes()
    with pytest.raises(ValueError, match="unknown layer 'edge'; did you mean 'edges'"):
        feature_maps(model, x, "edge")
    for use in (lambda: strongest(model, x, "edges", 2), lambda: preferred_input(model, "edges", -1)):
        with pytest.raises(ValueError, match="has units 0 to 1"):
            use()
    with pytest.raises(ValueError, match="images of one size"):
        preferred_input(Sequential([Input((None, None, 1)), Conv2D(1, 3, name="c")]), "c", 0)


# Calibration.


def drawn(sharpness, samples=20000, classes=4, seed=0):
    """Probabilities that are right, and the same made surer than they should be."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (samples, classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) < random.uniform(size=(samples, 1))).sum(axis=1)
    return tempered(p, 1 / sharpness), labels


def test_a_temperature_is_found_again():
    for sharpness in (0.5, 1.0, 3.0):
        p, labels = drawn(sharpness)
        found = temperature(p, labels)
        assert found == pytest.approx(sharpness, rel=0.05)
        assert reliability(tempered(p, found), labels).error < 0.02
        assert (tempered(p, found).argmax(axis=1) == p.argmax(axis=1)).all()
    assert reliability(*drawn(3.0)).error > 0.15


@given(st.floats(0.05, 20), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_temperature_is_the_best(factor, seed):
    p, labels = drawn(2.0, 300, seed=seed)

    def loss(t):
        return -np.log(tempered(p, t)[np.arange(len(p)), labels]).mean()

    best = temperature(p, labels)
    assert loss(best) <= loss(best * factor) + 1e-9


def test_a_reliability_table_by_hand(tmp_path):
    p = np.array([[0.95, 0.05], [0.9, 0.1], [0.45, 0.55], [0.0, 1.0]])
    table = reliability(p, np.array([0, 1, 1, 1]), bins=10)
    assert table.counts.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 3]
    assert table.accuracy[5] == 1 and table.accuracy[9] == pytest.approx(2 / 3)
    assert table.confidence[9] == pytest.approx(0.95)
    assert table.error == pytest.approx(0.25 * 0.45 + 0.75 * (0.95 - 2 / 3))
    bars = plot.reliability(table, tmp_path / "r.png").axes[0].patches
    np.testing.assert_allclose([bar.get_x() + bar.get_width() / 2 for bar in bars], np.linspace(0.05, 0.95, 10))
    np.testing.assert_allclose([bar.get_height() for bar in bars], table.counts / 4)
    assert (tmp_path / "r.png").stat().st_size > 8000


def test_what_are_no_probabilities():
    for p, labels, message in (
        (np.ones((2, 2)), [0, 1], "do not add up to 1"),
        (np.full((2, 2), 0.5), [0], "got \\(2, 2\\) and 1"),
        (np.full((2, 2), 0.5), [0, 2], "labels must be 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            reliability(p, np.array(labels))
    with pytest.raises(ValueError, match="must be positive"):
        tempered(np.full((1, 2), 0.5), 0)


# A learning rate.


def test_a_rate_is_found_and_the_model_stays(tmp_path):
    set_random_seed(0)
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 10)).astype(np.float32)
    y = (x @ random.normal(size=(10, 3))).argmax(axis=1)
    model = Sequential([Input((10,)), Flatten(), Dense(16, activation="relu"), Dense(3, activation="softmax")])
    model.compile(SGD(0.05), "sparse_categorical_crossentropy")
    before = [w.copy() for w in model.get_weights()]
    set_random_seed(5)
    expected = new_generator().random()
    set_random_seed(5)
    found = find_learning_rate(model, x, y, 1e-4, 1e3, steps=60)
    assert 1e-2 < found.suggestion < 30
    assert len(found.rates) == len(found.losses) < 60  # it exploded, and ended
    assert found.losses.min() < found.losses[0]
    for w, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(w, old)
    assert float(model.optimizer.learning_rate) == 0.05 and model.optimizer.iterations == 0
    assert new_generator().random() == expected
    np.testing.assert_array_equal(found.losses, find_learning_rate(model, x, y, 1e-4, 1e3, steps=60).losses)
    plot.rates(found, tmp_path / "l.png")
    assert (tmp_path / "l.png").stat().st_size > 8000
    with pytest.raises(ValueError, match="0 < lowest < highest"):
        find_learning_rate(model, x, y, 1, 0.1)
    with pytest.raises(ValueError, match="is not compiled"):
        find_learning_rate(Sequential([Input((10,)), Dense(3)]), x, y)
    with pytest.raises(ValueError, match="expected shape"):  # what is wrong with the data is said, not taken for an explosion
        find_learning_rate(model, x[:, :4], y)


def test_a_rate_for_several_inputs_and_outputs():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(40, 4)).astype(np.float32), random.normal(size=(40, 3)).astype(np.float32)
    y, z = a.sum(axis=1, keepdims=True), b.sum(axis=1, keepdims=True)
    one, two = Input((4,), name="one"), Input((3,), name="two")
    joined = Concatenate()([one, two])
    model = Model([one, two], [Dense(1, name="y")(joined), Dense(1, name="z")(joined)])
    model.compile("sgd", "mse", loss_weights=[1.0, 100.0])
    found = find_learning_rate(model, [a, b], [y, z], steps=20, seed=1)
    same = find_learning_rate(model, {"two": b, "one": a}, {"z": z, "y": y}, steps=20, seed=1)
    np.testing.assert_array_equal(found.losses, same.losses)
    model.compile("sgd", "mse")
    assert found.losses[0] > 10 * find_learning_rate(model, [a, b], [y, z], steps=20, seed=1).losses[0]


def test_a_rate_that_is_too_high_from_the_beginning():
    model = small()
    model.compile(SGD(1e6), "mse")
    with pytest.raises(ValueError, match=r"the loss exploded at a rate of .*; begin lower than"):
        find_learning_rate(model, ROWS, TARGETS, lowest=1e3, highest=1e9)
    with pytest.raises(ValueError, match=r"NaN|finite"):
        find_learning_rate(model, ROWS * np.nan, TARGETS)


def test_five_neighbours_unless_more_are_asked_for():
    features = np.random.default_rng(0).normal(size=(9, 3))
    rows, cosines = nearest(features, features[:2])
    assert rows.shape == cosines.shape == (2, 5)
    np.testing.assert_array_equal(nearest(features, features[:2], 7)[0][:, :5], rows)
