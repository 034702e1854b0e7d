"""Small things that mean something: each of these was changed once, and no test noticed."""

import os

import numpy as np
import pytest

import minitl
from minitl import gradcheck, losses, metrics, ops, regularizers, use_backend, weights
from minitl.batches import ArrayBatches
from minitl.callbacks import Callback
from minitl.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    MaxPooling2D,
    ReLU,
)
from minitl.models import Sequential, load_model
from minitl.ops.window import slide
from minitl.optimizers import SGD, Adam
from minitl.preprocessing.image import ImageDataGenerator
from minitl.preprocessing.record import Preprocessing
from minitl.transfer import draw_again, fine_tune, replace_head
from minitl.transfer.features import features_key

DRAWN = np.random.default_rng(0)
X = DRAWN.standard_normal((20, 4)).astype(np.float32)
Y = DRAWN.standard_normal((20, 2)).astype(np.float32)
W = DRAWN.uniform(0.1, 5, 20)


def line(rate=0.0, loss="mse", outputs=2):
    model = Sequential([Input((4,)), Dense(outputs)])
    model.compile(SGD(rate), loss, weighted_metrics=["mse"])
    return model


def weighted(model, part):
    return float((((model.predict(X[part], verbose=0) - Y[part]) ** 2).mean(axis=1) * W[part]).mean())


# Training.


def test_sample_weights_are_split_with_the_data_and_used_on_both_sides():
    model = line()
    history = model.fit(X, Y, sample_weight=W, validation_split=0.25, verbose=0).history
    assert history["loss"][0] == pytest.approx(weighted(model, slice(0, 15)), rel=1e-4)
    assert history["val_loss"][0] == pytest.approx(weighted(model, slice(15, 20)), rel=1e-4)
    expected = np.average(((model.predict(X[:15]) - Y[:15]) ** 2).mean(axis=1), weights=W[:15])
    assert history["mse"][0] == pytest.approx(expected, rel=1e-4)


def test_sample_weights_everywhere():
    model = line()
    everything = weighted(model, slice(None))
    assert model.evaluate(X, Y, sample_weight=W, verbose=0)[0] == pytest.approx(everything, rel=1e-5)
    assert model.test_on_batch(X, Y, W)[0] == pytest.approx(everything, rel=1e-5)
    assert model.train_on_batch(X, Y, W)[0] == pytest.approx(everything, rel=1e-5)
    assert model.fit(X, Y, sample_weight=W, validation_data=(X, Y, W), verbose=0).history["val_loss"][0] == pytest.approx(
        everything, rel=1e-5
    )


def test_class_weights_and_sample_weights_multiply():
    labels = np.arange(20) % 3
    model = Sequential([Input((4,)), Dense(3, activation="softmax")])
    model.compile(SGD(0.0), "sparse_categorical_crossentropy")
    each = -np.log(model.predict(X, verbose=0)[np.arange(20), labels])
    of_class = {0: 2.0, 2: 0.5}
    factor = np.array([of_class.get(label, 1.0) for label in labels])
    assert model.train_on_batch(X, labels, W, of_class) == pytest.approx(float((each * W * factor).mean()), rel=1e-4)
    assert model.train_on_batch(X, labels, None, of_class) == pytest.approx(float((each * factor).mean()), rel=1e-4)
    found = model.fit(X, labels, sample_weight=W, class_weight=of_class, batch_size=20, verbose=0).history["loss"][0]
    assert found == pytest.approx(float((each * W * factor).mean()), rel=1e-4)
    assert model.fit(X, np.eye(3)[labels].argmax(1)[:, None], class_weight=of_class, verbose=0)


class Order(Callback):
    """Notes which samples came."""


def orders(seed, epochs=3):
    minitl.set_random_seed(seed)
    seen = []

    class Noted(losses.Loss):
        def forward(self, y_true, y_pred, weights, from_logits):
            seen.append(y_true[:, 0].astype(int).tolist())
            self.shape = y_pred.shape
            return 0.0

        def backward(self):
            return np.zeros(self.shape, np.float32)

    model = Sequential([Input((1,)), Dense(1)])
    model.compile(SGD(0.1), Noted())
    model.fit(np.arange(12.0)[:, None], np.arange(12.0)[:, None], batch_size=4, epochs=epochs, verbose=0)
    return [[n for batch in seen[i : i + 3] for n in batch] for i in range(0, len(seen), 3)]


def test_the_order_of_samples_follows_the_seed_and_differs_in_every_epoch():
    first = orders(1)
    assert first == orders(1) and first != orders(2)
    assert len({tuple(epoch) for epoch in first}) == 3
    assert all(sorted(epoch) == list(range(12)) for epoch in first)


def test_validation_now_and_then_and_on_some_batches():
    model = line()
    history = model.fit(X, Y, epochs=5, validation_data=(X, Y), validation_freq=2, verbose=0).history
    assert len(history["val_loss"]) == 2 and len(history["loss"]) == 5
    pairs = [(X[i : i + 5], Y[i : i + 5]) for i in (0, 5, 10, 15)]
    found = model.fit(X, Y, validation_data=pairs, validation_steps=2, verbose=0).history["val_loss"][0]
    assert found == pytest.approx(float(((model.predict(X[:10]) - Y[:10]) ** 2).mean()), rel=1e-4)


class Halved(losses.Loss):
    """Half the squared distance."""

    def forward(self, y_true, y_pred, weights, from_logits):
        self.apart = y_pred - y_true
        return float((self.apart**2).mean() / 2)

    def backward(self):
        return self.apart / self.apart.size


class Largest(metrics.Metric):
    """The largest distance."""

    def __init__(self, name="largest"):
        super().__init__(name)

    def values(self, y_true, y_pred):
        return np.abs(y_true - y_pred).max(axis=1)


class Slow(SGD):
    """Half the rate."""

    def update(self, w, g, memory, rate):
        w -= rate / 2 * g


def test_own_losses_metrics_and_optimizers_come_back(tmp_path):
    model = Sequential([Input((4,)), Dense(2)])
    model.compile(Slow(0.1), Halved(), [Largest()])
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.npz")
    other = load_model(tmp_path / "m.npz", custom_objects={"Halved": Halved, "Largest": Largest, "Slow": Slow})
    assert (type(other.loss), type(other.metrics[0]), type(other.optimizer)) == (Halved, Largest, Slow)
    assert other.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    with pytest.raises(ValueError, match="custom_objects"):
        load_model(tmp_path / "m.npz")


def test_batches_end_where_the_data_end():
    sizes = [len(x) for x, _, _ in ArrayBatches(np.arange(10), batch_size=4)]
    assert sizes == [4, 4, 2] and len(ArrayBatches(np.arange(10), batch_size=5)) == 2


# Optimizers, losses, regularizers, generators.


def test_clipping_makes_gradients_smaller_only_and_cuts_both_signs():
    for settings, given, expected in (
        ({"clipnorm": 1.0}, [0.3, 0.4], [0.3, 0.4]),
        ({"clipnorm": 1.0}, [3.0, 4.0], [0.6, 0.8]),
        ({"clipvalue": 0.5}, [-3.0, 0.2], [-0.5, 0.2]),
        ({"clipvalue": 0.5}, [3.0, -0.2], [0.5, -0.2]),
        ({"global_clipnorm": 1.0}, [0.3, 0.4], [0.3, 0.4]),
        ({"global_clipnorm": 1.0}, [30.0, 40.0], [0.6, 0.8]),
    ):
        w = np.zeros(2)
        SGD(1.0, **settings).apply([("a/kernel", w, np.array(given))])
        np.testing.assert_allclose(-w, expected, rtol=1e-6)


def test_adam_counts_each_weight_s_own_steps():
    rule, early, late = Adam(0.1), np.zeros(1), np.zeros(1)
    for _ in range(5):
        rule.apply([("a/kernel", early, np.ones(1))])
    rule.apply([("a/kernel", early, np.ones(1)), ("b/kernel", late, np.ones(1))])
    assert late[0] == pytest.approx(-0.1, rel=1e-4)  # its first step is a whole one


def test_multipliers_are_saved(tmp_path):
    model = Sequential([Input((4,)), Dense(2, name="a")])
    model.compile(SGD(0.1, multipliers={"a*": 0.25}), "mse")
    model.save(tmp_path / "m.npz")
    assert load_model(tmp_path / "m.npz").optimizer.multipliers == {"a*": 0.25}


def test_label_smoothing_is_shared_among_the_classes():
    loss = losses.CategoricalCrossentropy(label_smoothing=0.3)
    p = np.array([[0.7, 0.2, 0.1]])
    expected = -(np.array([0.8, 0.1, 0.1]) * np.log(p[0])).sum()
    assert loss(np.array([[1.0, 0, 0]]), p) == pytest.approx(expected, rel=1e-5)
    binary = losses.BinaryCrossentropy(label_smoothing=0.2)
    assert binary(np.array([[1.0]]), np.array([[0.7]])) == pytest.approx(-0.9 * np.log(0.7) - 0.1 * np.log(0.3), rel=1e-5)


def test_regularizers_by_name_and_their_gradients():
    w = np.array([-2.0, 0.5, 0.0])
    assert regularizers.get("l1")(w) == pytest.approx(0.01 * 2.5)
    assert regularizers.get("l2")(w) == pytest.approx(0.01 * 4.25)
    np.testing.assert_allclose(regularizers.get("l1").gradient(w), [-0.01, 0.01, 0])
    np.testing.assert_allclose(regularizers.get("l2").gradient(w), [-0.04, 0.01, 0])
    both = regularizers.L1L2(0.1, 0.2)
    assert both(w) == pytest.approx(0.1 * 2.5 + 0.2 * 4.25)
    np.testing.assert_allclose(both.gradient(w), [-0.1 - 0.8, 0.1 + 0.2, 0])


def test_every_consumer_draws_other_numbers():
    from minitl.random import new_generator

    minitl.set_random_seed(5)
    first, second = new_generator().random(3), new_generator().random(3)
    assert not np.array_equal(first, second)
    minitl.set_random_seed(5)
    np.testing.assert_array_equal(new_generator().random(3), first)
    a, b = Dense(3), Dense(3)
    a.build((None, 4))
    b.build((None, 4))
    assert not np.array_equal(a.parameters["kernel"], b.parameters["kernel"])


# Metrics.


def test_accuracies_of_every_form_of_targets():
    p = np.array([[0.2, 0.7, 0.1], [0.5, 0.2, 0.3], [0.1, 0.2, 0.7], [0.4, 0.5, 0.1]])
    labels = np.array([1, 0, 1, 1])
    for t in (labels, labels[:, None], np.eye(3)[labels]):
        accuracy = metrics.Accuracy()
        accuracy.update_state(t, p)
        assert accuracy.result() == 0.75
        top = metrics.TopKCategoricalAccuracy(2)
        top.update_state(t, p)
        assert top.result() == 1.0
    yes = metrics.Accuracy()
    yes.update_state(np.array([1, 0, 1, 0]), np.array([[0.9], [0.5], [0.4], [0.1]]))
    assert yes.result() == 0.75  # a half is a no
    several = metrics.BinaryAccuracy(threshold=0.3)
    several.update_state(np.array([[1, 0], [0, 1]]), np.array([[0.4, 0.3], [0.35, 0.9]]))
    assert several.result() == 0.75
    square = metrics.MeanSquaredError()
    square.update_state(np.array([[1.0, 2.0]]), np.array([[4.0, 2.0]]))
    assert square.result() == 4.5
    counted = metrics.Accuracy()
    counted.update_state(labels, p, sample_weight=np.array([1, 1, 4, 2.0]))
    assert counted.result() == 0.5
    places = metrics.Accuracy()
    places.update_state(np.array([[0, 1]]), np.array([[[0.9, 0.1], [0.8, 0.2]]]))
    assert places.result() == 0.5


def test_confusion_counts_rows_as_truth():
    matrix = metrics.confusion_matrix([0, 0, 1, 2], [0, 1, 1, 1], 4)
    np.testing.assert_array_equal(matrix, [[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    assert metrics.confusion_matrix([[0], [2]], np.eye(3)[[0, 1]]).shape == (3, 3)
    for wrong in (([0], [0, 1]), ([-1], [0])):
        with pytest.raises(ValueError, match=r"one prediction|class numbers must lie"):
            metrics.confusion_matrix(*wrong)
    with pytest.raises(ValueError, match="the largest is 5"):
        metrics.confusion_matrix([5], [0], 3)


# Weights.


def test_strict_loading_minds_what_is_too_much_and_shapes_of_one_size(tmp_path):
    model = Sequential([Input((4,)), Dense(2, name="a")])
    file = tmp_path / "w.npz"
    weights.write(file, {"a/kernel": np.ones((4, 2)), "a/bias": np.ones(2), "b/kernel": np.ones(3)})
    with pytest.raises(ValueError, match="1 unexpected in the file"):
        model.load_weights(file)
    weights.write(file, {"a/kernel": np.ones((2, 4)), "a/bias": np.ones(2)})
    with pytest.raises(ValueError, match=r"of another shape \(a/kernel \(2, 4\) for \(4, 2\)\)"):
        model.load_weights(file)


def test_the_old_file_is_there_until_the_new_one_takes_its_place(tmp_path, monkeypatch):
    file = tmp_path / "w.npz"
    weights.write(file, {"a": np.ones(3)})
    seen = []
    replace = os.replace
    monkeypatch.setattr("os.replace", lambda a, b: (seen.append(file.exists()), replace(a, b)))
    weights.write(file, {"a": np.zeros(3)})
    assert seen == [True]


def test_weights_that_are_read_are_copies():
    model = line()
    model.get_weights()[0][...] = 7
    assert not (model.get_weights()[0] == 7).any()


# Operations and layers.


def test_the_odd_padding_goes_behind():
    assert slide(5, 2, 1, "same") == (5, 0, 1) and slide(6, 3, 2, "same") == (3, 0, 1) and slide(4, 4, 1, "same") == (4, 1, 2)


def test_where_the_logarithm_is_cut_off_nothing_is_sent_back():
    p = np.array([[0.0, 1.0], [0.5, 0.5]])
    for module, targets in (
        (ops.categorical_cross_entropy, np.array([[1.0, 0.0], [1.0, 0.0]])),
        (ops.sparse_categorical_cross_entropy, np.array([0, 0])),
    ):
        _, cache = module.forward(p, targets, None, False)
        gradient = module.backward(1.0, cache)
        assert gradient[0, 0] == 0 and gradient[1, 0] < 0


def test_batch_normalisation_s_defaults_and_which_way_its_momentum_goes():
    layer = BatchNormalization()
    assert (layer.momentum, layer.epsilon) == (0.99, 1e-3)
    layer.build((None, 1))
    layer.built = True
    layer.compute(np.array([[9.0], [11.0]], np.float32), True)
    assert layer.state["moving_mean"][0] == pytest.approx(0.1)  # one per cent of 10
    assert layer.state["moving_variance"][0] == pytest.approx(0.99 + 0.01)


@pytest.mark.parametrize(
    "pool", [MaxPooling2D(2, padding="same"), MaxPooling2D(3, 2), MaxPooling2D(2, 1), MaxPooling2D((2, 3)), AveragePooling2D(2)]
)
def test_poolings_that_are_no_blocks_of_two_behind_a_convolution(pool):
    x = np.random.default_rng(0).standard_normal((2, 7, 9, 3)).astype(np.float32)
    model = Sequential([Input((7, 9, 3)), Conv2D(4, 3, padding="same", activation="relu"), pool])
    y = model(x)
    model.fuse = False
    np.testing.assert_allclose(y, model(x), rtol=1e-5, atol=1e-6)


def test_normalisations_fold_into_what_stands_directly_before_them_alone():
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 3)).astype(np.float32)
    between = [Conv2D(4, 3), Activation("tanh"), BatchNormalization()]
    for layers in ([Conv2D(4, 3, activation="relu"), BatchNormalization()], between,
                   [Conv2D(4, 3), BatchNormalization(), ReLU()]):  # fmt: skip
        model = Sequential([Input((6, 6, 3)), *layers])
        norm = next(layer for layer in model.layers if isinstance(layer, BatchNormalization))
        norm.state["moving_mean"][...], norm.state["moving_variance"][...] = 0.7, 3.0
        y = model(x)
        model.fuse = model.fold = False
        np.testing.assert_allclose(y, model(x), rtol=1e-4, atol=1e-5)


def test_a_backward_pass_finds_what_its_forward_pass_did():
    x = np.random.default_rng(0).standard_normal((3, 6, 6, 3)).astype(np.float32)
    model = Sequential([Input((6, 6, 3)), Conv2D(4, 3), BatchNormalization(), ReLU(), Flatten(), Dropout(0.5), Dense(2)])
    norm = model.layers[1]
    norm.state["moving_mean"][...], norm.state["moving_variance"][...] = 0.3, 2.0
    found = {}
    for backend in ("numpy", "numba"):
        with use_backend(backend):
            model.forward(x, training=True)
        norm.state["moving_mean"][...], norm.state["moving_variance"][...] = 0.3, 2.0
        with use_backend(backend):
            model.forward(x, training=False)  # its backward pass must not use the mask of the pass before
            found[backend] = model.backward(np.ones((3, 2), np.float32)), norm.gradients["gamma"].copy()
    for a, b in zip(found["numpy"], found["numba"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


# Images.


def bright(x):
    return tuple(int(v) for v in np.argwhere(x[..., 0] == x[..., 0].max())[0])


@pytest.mark.parametrize(("settings", "right", "below"), [
    ({"tx": 3}, (10, 11), (14, 7)), ({"ty": 3}, (7, 14), (11, 10)), ({"zx": 0.5}, (10, 18), (14, 10)),
    ({"zy": 0.5}, (10, 14), (18, 10)), ({"theta": 90}, (6, 10), (10, 14)), ({"theta": -90}, (14, 10), (10, 6)),
    ({"shear": 20}, (10, 14), (14, 11)), ({"shear": -20}, (10, 14), (14, 9)), ({"flip_horizontal": True}, (10, 6), (14, 10)),
    ({"flip_vertical": True}, (10, 14), (6, 10)),
])  # fmt: skip
def test_where_a_bright_pixel_goes(settings, right, below):
    # One pixel four columns to the right of the middle, and one four rows below it.
    for place, expected in (((10, 14), right), ((14, 10), below)):
        x = np.zeros((21, 21, 1))
        x[place] = 1
        assert bright(ImageDataGenerator(fill_mode="constant").apply_transform(x, settings)) == expected


def numbered(count=60):
    x = np.zeros((count, 6, 6, 1), np.uint8)
    x[:, :, :3] = np.arange(count)[:, None, None, None] * 4  # the left half has the number
    return x, np.arange(count)


def test_half_of_the_images_are_flipped_and_each_keeps_its_label():
    x, y = numbered()
    flow = ImageDataGenerator(horizontal_flip=True).flow(x, y, batch_size=20, shuffle=True, seed=3, sample_weight=y / 10)
    turned, passes = [], []
    for _ in range(4):
        marks = []
        for images, labels, shares in flow.one_pass():
            left = images[:, 0, 0, 0] > 0
            number = np.maximum(images[:, 0, 0, 0], images[:, 0, 5, 0]) / 4
            np.testing.assert_array_equal(number, labels)
            np.testing.assert_allclose(shares, labels / 10)
            marks += [tuple(pair) for pair in zip(labels.tolist(), left.tolist(), strict=True)]
            turned += (~left[labels > 0]).tolist()
        passes.append(sorted(marks))
    assert 0.35 < np.mean(turned) < 0.65
    assert len({tuple(p) for p in passes}) == 4  # other transformations in every pass
    first = [images[:, 0, 0, 0] > 0 for images, _, _ in flow.one_pass()]
    assert not np.array_equal(first[0], first[1])  # and in every batch


# Transfer.


def small():
    minitl.set_random_seed(1)
    model = Sequential(
        [
            Input((6,)),
            Dense(5, activation="relu", name="a"),
            Dense(4, activation="relu", name="b"),
            Dense(3, activation="softmax", name="c"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


TX = DRAWN.standard_normal((30, 6)).astype(np.float32)
TY = np.arange(30) % 3


def test_lp_ft_lets_everything_learn_in_the_end():
    model = replace_head(small(), 3, copy=True)
    before = model.get_weights()
    fine_tune(model, (TX, TY), "lp-ft", epochs=4, verbose=0)
    assert all(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_gradual_gives_lower_layers_lower_rates_that_rise_and_fall(monkeypatch):
    from minitl.optimizers import Optimizer

    seen = []
    apply = Optimizer.apply
    monkeypatch.setattr(
        Optimizer,
        "apply",
        lambda self, updates: (seen.append((self.current_learning_rate, self.multipliers)), apply(self, updates)),
    )
    fine_tune(replace_head(small(), 3, copy=True), (TX, TY), "gradual", epochs=6, batch_size=3, verbose=0)
    factors = seen[-1][1]
    assert factors["a"] < factors["b"] < 1 and factors["b"] / factors["a"] == pytest.approx(2.6)
    last = [rate for rate, _ in seen[-20:]]
    assert max(last) > last[0] and last[-1] < max(last) / 4


def test_l2_sp_pulls_the_base_and_not_the_head():
    model = replace_head(small(), 3, copy=True)
    before = model.get_weights()
    fine_tune(model, (TX, TY), "l2-sp", epochs=3, rate=0.05, strength=float("inf"), verbose=0)
    after = model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before[:4], after[:4], strict=True))
    assert not np.array_equal(before[4], after[4]) and not np.array_equal(before[5], after[5])


def test_drawing_again_draws():
    model = small()
    before = model.get_weights()
    assert draw_again(model, "b") == ["b"]
    after = model.get_weights()
    assert not np.array_equal(before[2], after[2]) and np.array_equal(before[0], after[0])


def test_a_key_of_features_depends_on_all_that_features_depend_on():
    model, keys = small(), set()

    def note(x=TX):
        keys.add(features_key(model, x))
        return len(keys)

    assert note() == 1 and note(TX.copy()) == 1
    assert note(TX[::-1]) == 2  # the same images in another order
    assert note(TX.astype(np.float64)) == 3
    model.preprocessing = Preprocessing(1 / 255)
    assert note() == 4
    model.layers[0].parameters["kernel"][0, 0] += 1
    assert note() == 5
    model.layers[0].activation = "tanh"
    assert note() == 6


# The checker.


def test_the_checker_minds_linearity_and_writes_to_its_arguments():
    x = np.random.default_rng(0).standard_normal((4, 3))

    def report(forward, backward):
        return str(gradcheck.check_gradients((forward, backward), x))

    assert ": right" in report(lambda x: (2 * x, None), lambda dy, cache: 2 * dy)
    assert "WRONG" in report(lambda x: (2 * x, None), lambda dy, cache: 2 * dy + 1e-3)
    assert "WRONG" in report(lambda x: (2 * x, None), lambda dy, cache: 2 * dy * np.abs(dy))

    def careless(x):
        y = 2 * x
        x *= 1.5
        return y, None

    assert "WRONG" in report(careless, lambda dy, cache: 2 * dy)
