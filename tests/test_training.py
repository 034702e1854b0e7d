"""The loop: what fit, evaluate and predict do and return; callbacks; data in all its forms; and wrong use."""

import csv
import re
import warnings

import numpy as np
import pytest
from rows import ROWS, TARGETS, small

import minitl
from minitl import class_weights, set_random_seed
from minitl.backend import get_backend
from minitl.batches import known_length
from minitl.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from minitl.constraints import MaxNorm
from minitl.history import History
from minitl.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    Layer,
    MaxPooling2D,
    SimpleRNN,
)
from minitl.losses import CategoricalCrossentropy, Loss, SparseCategoricalCrossentropy
from minitl.metrics import SparseCategoricalAccuracy, SparseTopKCategoricalAccuracy
from minitl.models import Model, Sequential, load_model
from minitl.optimizers import SGD
from minitl.schedules import CosineDecay
from minitl.utils import to_categorical

X = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
PICTURES = np.random.default_rng(1).standard_normal((10, 6, 6, 1)).astype(np.float32)


def network(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=("accuracy",), last="softmax"):
    model = Sequential([Input((6,)), Dense(8, activation="relu"), Dense(3, activation=last)])
    model.compile(optimizer, loss, metrics=list(metrics))
    return model


# What is returned.


def test_fit_returns_a_history_like_keras_s():
    history = network().fit(X, Y, epochs=3, batch_size=16, validation_split=0.2, verbose=0)
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert all(len(values) == 3 for values in history.history.values())
    assert history.epoch == [0, 1, 2]


def test_evaluate_predict_and_batches():
    model = network(metrics=["accuracy", SparseCategoricalAccuracy(), SparseTopKCategoricalAccuracy(2)])
    values = model.evaluate(X, Y, verbose=0)
    assert len(values) == 4
    assert values[1] == values[2] <= values[3]
    named = model.evaluate(X, Y, return_dict=True)
    assert list(named) == ["loss", "accuracy", "sparse_categorical_accuracy", "sparse_top_k_categorical_accuracy"]
    assert list(named.values()) == values
    predictions = model.predict(X, batch_size=7)
    assert predictions.shape == (50, 3)
    # The engine gives a sample the same bits in whatever company; BLAS, in the book, does not promise it.
    for others in (model.predict(X), model(X)):
        np.testing.assert_allclose(predictions, others, rtol=0 if get_backend() == "numba" else 1e-6)
    assert values[1] == pytest.approx((predictions.argmax(axis=1) == Y).mean())
    assert values[0] == pytest.approx(-np.log(predictions[np.arange(50), Y]).mean(), rel=1e-5)
    assert model.test_on_batch(X, Y) == pytest.approx(values, rel=1e-6)
    assert len(model.train_on_batch(X, Y)) == 4
    assert isinstance(network(metrics=()).train_on_batch(X, Y), float)


def test_predictions_belong_to_the_caller():
    model = network()
    first = model.predict(X)
    kept = first.copy()
    model.predict(X * 2)
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(first, kept)
    first[:] = 0


def test_evaluation_moves_nothing():
    model = Sequential([Input((6,)), Dense(5), BatchNormalization(), Dropout(0.5), Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    before = [w.tobytes() for w in model.weights]
    assert model.evaluate(X, Y) == model.evaluate(X, Y)
    model.predict(X)
    assert before == [w.tobytes() for w in model.weights]


# The joint gradient, and what leads to it.


@pytest.mark.parametrize("last", ["dense softmax", "activation", "from_logits", "sparse"])
def test_all_ways_to_cross_entropy_are_one(last, backend):
    minitl.set_random_seed(1)
    tail = [Dense(3, activation="softmax")]
    if last == "activation":
        tail = [Dense(3), Activation("softmax")]
    if last == "from_logits":
        tail = [Dense(3)]
    model = Sequential([Input((6,)), Dense(8, activation="tanh"), *tail])
    loss = {"from_logits": CategoricalCrossentropy(from_logits=True), "sparse": "sparse_categorical_crossentropy"}
    model.compile(SGD(0.5), loss.get(last, "categorical_crossentropy"))
    y = Y[:, None] if last == "sparse" else to_categorical(Y)
    model.fit(X, y, batch_size=25, shuffle=False, verbose=0)
    minitl.set_random_seed(1)
    reference = Sequential([Input((6,)), Dense(8, activation="tanh"), Dense(3)])
    reference.compile(SGD(0.5), SparseCategoricalCrossentropy(from_logits=True))
    reference.fit(X, Y, batch_size=25, shuffle=False, verbose=0)
    for a, b in zip(model.weights, reference.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_loss_on_probabilities_of_another_layer():
    """A user's softmax is not known to the loss: the gradient then goes through the probabilities."""

    class Mine(Layer):
        def forward(self, x, training):
            e = np.exp(x)
            self.p = e / e.sum(axis=-1, keepdims=True)
            return self.p

        def backward(self, dy):
            return self.p * (dy - (dy * self.p).sum(axis=-1, keepdims=True))

    results = []
    for last in (Mine(), Activation("softmax")):
        minitl.set_random_seed(1)
        model = Sequential([Input((6,)), Dense(3), last])
        model.compile(SGD(0.5), "sparse_categorical_crossentropy")
        model.fit(X, Y, shuffle=False, verbose=0)
        results.append(model.weights[0])
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-6)


def test_extreme_logits_stay_finite():
    model = network(optimizer=SGD(1e-3))
    model.weights[2][:] *= 1e5
    loss = model.train_on_batch(X, Y)[0]
    assert np.isfinite(loss) and loss > 50
    assert all(np.isfinite(w).all() for w in model.weights)


@pytest.mark.parametrize(
    ("loss", "last", "targets"),
    [
        ("binary_crossentropy", "sigmoid", to_categorical(Y)),
        ("mse", "linear", X[:, :3]),
        ("mean_squared_error", "tanh", X[:, :3]),
    ],
)
def test_other_losses_fall(loss, last, targets, backend):
    model = network(loss, metrics=["mse"], last=last)
    model.optimizer.learning_rate = 0.02
    history = model.fit(X, targets, epochs=30, verbose=0)
    assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]


def test_one_output_and_flat_targets():
    model = Sequential([Input((6,)), Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy", "binary_accuracy"])
    model.optimizer.learning_rate = 0.1
    history = model.fit(X, Y > 0, epochs=20, verbose=0)
    assert history.history["accuracy"][-1] > 0.7
    assert history.history["accuracy"] == pytest.approx(history.history["binary_accuracy"])


# Weights of samples and classes.


def test_sample_weights_scale_and_zero_means_absent():
    weights = np.zeros(50)
    weights[:10] = 1
    results = []
    for x, y, w in ((X, Y, weights * 5), (X[:10], Y[:10], None)):
        minitl.set_random_seed(0)
        model = network(optimizer=SGD(0.1))
        model.fit(x, y, sample_weight=w, batch_size=50, epochs=3, verbose=0)
        results.append(model.weights[0])
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-6)


def test_class_weights_in_order_and_what_is_none():
    found = [class_weights.checked(given) for given in ({0: 2, "1": 0}, [2, 0], np.array([2.0, 0.0]), None)]
    assert found == [{0: 2.0, 1: 0.0}] * 3 + [None]
    for wrong in ("balanced", 1.5, [[1.0, 2.0]], np.ones((2, 2))):
        with pytest.raises(TypeError, match="class_weight must be a dict"):
            network().fit(X, Y, verbose=0, class_weight=wrong)
    for wrong in ({0: "x"}, {0: -1.0}, [1.0, np.nan], {0: [1.0]}):
        with pytest.raises(ValueError, match=r"fit: class_weight\[.\] must be a number in \[0, inf\)"):
            network().train_on_batch(X, Y, class_weight=wrong)


def test_class_weights_of_several_outputs_are_refused():
    inputs = Input((4,))
    model = Model(inputs, [Dense(3, activation="softmax", name="a")(inputs), Dense(1, name="b")(inputs)])
    model.compile("sgd", ["sparse_categorical_crossentropy", "mse"])
    x, y = np.zeros((6, 4), np.float32), [np.arange(6) % 3, np.zeros((6, 1), np.float32)]
    for targets in (y, {"a": y[0], "b": y[1]}):
        with pytest.raises(ValueError, match=r"class_weight: there are 2 outputs; give sample_weight"):
            model.fit(x, targets, verbose=0, class_weight={0: 2.0})
    assert class_weights.weighted(None, [y[0]], {1: 3.0}).tolist() == [1, 3, 1, 1, 3, 1]
    assert class_weights.weighted(None, [0, 1, 1], {1: 3.0}).tolist() == [1, 3, 3]
    assert class_weights.weighted(None, [[0, 1], [1, 0], [0, 1]], {1: 3.0}).tolist() == [3, 1, 3]  # shares, not three outputs
    assert class_weights.weighted(None, {"a": y[0][:2]}, {0: 5.0}).tolist() == [5, 1]


def test_class_weights_are_sample_weights_by_class():
    results = []
    for kwargs in ({"class_weight": {0: 2.0, 2: 0.5}}, {"sample_weight": np.array([2.0, 1.0, 0.5])[Y]}):
        minitl.set_random_seed(0)
        model = network()
        model.fit(X, Y, verbose=0, **kwargs)
        results.append(model.weights[0])
    np.testing.assert_array_equal(*results)
    minitl.set_random_seed(0)
    model = network("categorical_crossentropy")
    model.fit(X, to_categorical(Y), verbose=0, class_weight={0: 2.0, 2: 0.5})
    np.testing.assert_allclose(model.weights[0], results[0], atol=1e-6)


def test_regularization_is_part_of_loss_and_gradient():
    model = Sequential([Input((6,)), Dense(3, kernel_regularizer="l2", bias_regularizer=minitl.regularizers.L1(0.5))])
    model.compile(SGD(1.0), "mse")
    kernel, bias = model.weights
    bias[:] = [1, -2, 0]
    plain = ((X @ kernel + bias) ** 2).mean()
    loss = model.evaluate(X, np.zeros((50, 3)))
    assert loss == pytest.approx(plain + 0.01 * (kernel**2).sum() + 1.5, rel=1e-5)
    model.layers[0].trainable = False
    assert model.evaluate(X, np.zeros((50, 3))) == pytest.approx(plain, rel=1e-5)


# Where data come from.


class Squares:
    """A Sequence, as Keras has it."""

    def __init__(self):
        self.epochs = 0

    def __len__(self):
        return 5

    def __getitem__(self, i):
        return X[i * 10 : i * 10 + 10], Y[i * 10 : i * 10 + 10]

    def on_epoch_end(self):
        self.epochs += 1


def test_arrays_a_sequence_and_a_generator_give_the_same():
    def endless():
        while True:
            yield from (Squares()[i] for i in range(5))

    weights = []
    for data, kwargs in (
        ((X, Y), {"batch_size": 10, "shuffle": False}),
        ((Squares(),), {}),
        ((endless(),), {"steps_per_epoch": 5}),
        (([(X[i : i + 10], Y[i : i + 10]) for i in range(0, 50, 10)],), {}),
    ):
        minitl.set_random_seed(0)
        model = network()
        model.fit(*data, epochs=3, verbose=0, **kwargs)
        weights.append(model.weights[0])
        assert model.optimizer.iterations == 15
    for other in weights[1:]:
        np.testing.assert_array_equal(weights[0], other)


def test_a_sequence_goes_on_into_the_next_pass():
    squares, model = Squares(), network()
    model.fit_generator(squares, steps_per_epoch=7, epochs=2, verbose=0)
    assert model.optimizer.iterations == 14
    assert squares.epochs == 2


def test_validation_data_in_all_forms():
    for data in ((X, Y), (X, Y, np.ones(50)), Squares(), [(X[:25], Y[:25]), (X[25:], Y[25:])]):
        history = network().fit(X, Y, epochs=2, verbose=0, validation_data=data)
        assert len(history.history["val_accuracy"]) == 2
    history = network().fit(X, Y, epochs=4, verbose=0, validation_data=(X, Y), validation_freq=2)
    assert len(history.history["val_loss"]) == 2


def test_validation_split_takes_the_last_part():
    seen = []

    class Watch(Layer):
        def forward(self, x, training):
            seen.append((training, x[:, 0].copy()))
            return x

        def backward(self, dy):
            return dy

    model = Sequential([Watch(), Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.build((None, 6))
    seen.clear()
    model.fit(X, Y, validation_split=0.2, batch_size=10, verbose=0)
    trained = np.concatenate([x for training, x in seen if training])
    validated = np.concatenate([x for training, x in seen if not training])
    np.testing.assert_array_equal(validated, X[40:, 0])
    np.testing.assert_array_equal(np.sort(trained), np.sort(X[:40, 0]))
    assert (trained != X[:40, 0]).any()  # shuffled


def test_the_last_batch_is_not_dropped_and_means_are_over_samples():
    model = network(optimizer=SGD(0.0))
    history = model.fit(X, Y, batch_size=32, shuffle=False, verbose=0)
    assert model.optimizer.iterations == 2
    assert history.history["loss"][0] == pytest.approx(model.evaluate(X, Y, batch_size=50)[0], rel=1e-5)


def test_predict_from_batches_keeps_the_order():
    model = network()
    np.testing.assert_array_equal(model.predict(Squares()), model.predict(X, batch_size=10))
    assert model.evaluate(Squares()) == pytest.approx(model.evaluate(X, Y))
    assert model.predict(Squares(), steps=2).shape == (20, 3)


def test_pictures_of_whole_numbers_are_fine():
    model = Sequential([Input((6, 6, 1)), Conv2D(2, 3), MaxPooling2D(), Flatten(), Dense(2, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    pictures = (PICTURES * 40 + 128).clip(0, 255).astype(np.uint8)
    model.fit(pictures, (np.arange(10) % 2).astype(np.uint8)[:, None], verbose=0)
    assert model.predict(pictures).dtype == np.float32


# Callbacks.


def test_early_stopping_restores_the_best_weights():
    model = network(optimizer=SGD(0.1))
    kept = {}

    def spoil(epoch, logs):
        kept[epoch] = model.get_weights()
        logs["val_loss"] = [3.0, 1.0, 2.0, 2.5, 0.5][epoch]

    stopping = EarlyStopping(patience=2, restore_best_weights=True)
    history = model.fit(X, Y, epochs=5, verbose=0, callbacks=[LambdaCallback(on_epoch_end=spoil), stopping])
    assert history.epoch == [0, 1, 2, 3]
    assert stopping.stopped_epoch == 3
    for best, now in zip(kept[1], model.get_weights(), strict=True):
        np.testing.assert_array_equal(best, now)


def test_checkpoints(tmp_path):
    model = network()
    values = iter([0.5, 0.7, 0.6])
    fake = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_accuracy=next(values)))
    pattern = str(tmp_path / "w-{epoch:02d}-{val_accuracy:.1f}.npz")
    best = ModelCheckpoint(tmp_path / "best.npz", monitor="val_accuracy", save_best_only=True)
    every = ModelCheckpoint(pattern, save_weights_only=True)
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[fake, best, every])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best.npz", "w-01-0.5.npz", "w-02-0.7.npz", "w-03-0.6.npz"]
    copy = load_model(tmp_path / "best.npz")
    other = network()
    other.load_weights(tmp_path / "w-02-0.7.npz")
    np.testing.assert_array_equal(copy.weights[0], other.weights[0])


def test_training_that_goes_on_keeps_the_best_checkpoint(tmp_path):
    def fit(model, values, epochs, name="best.npz"):
        values = iter(values)
        fake = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_loss=next(values)))
        saves = ModelCheckpoint(tmp_path / name, save_best_only=True)
        model.fit(X, Y, epochs=epochs, verbose=0, callbacks=[fake, saves])

    model = network()
    fit(model, [0.5, 0.3], 2)
    best = (tmp_path / "best.npz").read_bytes()
    model.save(tmp_path / "last.npz")
    for start in (model, load_model(tmp_path / "best.npz"), load_model(tmp_path / "last.npz")):
        fit(start, [0.4], 1)
        assert (tmp_path / "best.npz").read_bytes() == best
    fit(model, [0.4], 1, "other.npz")  # another file begins anew
    fit(load_model(tmp_path / "best.npz"), [0.2], 1)
    assert (tmp_path / "other.npz").exists() and (tmp_path / "best.npz").read_bytes() != best
    threshold = ModelCheckpoint(tmp_path / "never.npz", monitor="loss", save_best_only=True, initial_value_threshold=-1)
    model.fit(X, Y, verbose=0, callbacks=threshold)
    assert not (tmp_path / "never.npz").exists()


def test_learning_rates_by_epoch_and_on_plateaus():
    model = network(optimizer=SGD(1.0))
    scheduler = LearningRateScheduler(lambda epoch, rate: rate / 2)
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=scheduler)
    assert history.history["learning_rate"] == [0.5, 0.25, 0.125]
    model.fit(X, Y, epochs=1, verbose=0, callbacks=LearningRateScheduler(lambda epoch: 0.3))
    assert model.optimizer.learning_rate == 0.3
    model = network(optimizer=SGD(1.0))
    flat = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_loss=1.0))
    plateau = ReduceLROnPlateau(factor=0.1, patience=2, min_lr=0.05)
    model.fit(X, Y, epochs=6, verbose=0, callbacks=[flat, plateau])
    assert model.optimizer.learning_rate == 0.05
    with pytest.raises(TypeError, match="follows a schedule"):
        network(optimizer=SGD(CosineDecay(1, 2))).fit(X, Y, verbose=0, callbacks=[flat, plateau])


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    model = network()
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[CSVLogger(path)])
    model.fit(X, Y, epochs=3, initial_epoch=2, verbose=0, callbacks=[CSVLogger(path, append=True)])
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert float(rows[2]["loss"]) < float(rows[0]["loss"])


def test_the_order_of_events_and_stopping():
    events = []

    class Watch(Callback):
        def on_train_begin(self, logs=None):
            events.append("begin")

        def on_epoch_begin(self, epoch, logs=None):
            events.append(f"epoch {epoch}")

        def on_train_batch_end(self, batch, logs=None):
            events.append(f"batch {batch} {sorted(logs)}")

        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

        def on_train_end(self, logs=None):
            events.append("end")

    network().fit(X, Y, batch_size=25, epochs=9, verbose=0, callbacks=[Watch()])
    logs = "['accuracy', 'loss']"
    assert events == ["begin", "epoch 0", f"batch 0 {logs}", f"batch 1 {logs}", "end"]


def test_history_plots_itself(tmp_path):
    history = network().fit(X, Y, epochs=2, verbose=0, validation_split=0.2)
    figure = history.plot(tmp_path / "curves.png")
    assert len(figure.axes) == 2
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_lines_for_those_who_ask(capsys):
    network().fit(X, Y, epochs=2, verbose=2, validation_split=0.2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2  loss ")
    assert "val_accuracy" in lines[1]
    network().fit(X, Y, verbose=0)
    assert capsys.readouterr().out == ""
    network().fit(X, Y)  # where there is no terminal
    assert capsys.readouterr().out.startswith("epoch 1/1  loss ")


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    network().fit(X, Y, epochs=1, validation_split=0.2)
    shown = capsys.readouterr().out
    assert "epoch 1/1" in shown and "2/2" in shown and "val_loss" in shown


def test_a_generator_that_ends_early_ends_the_run_with_a_warning():
    with pytest.warns(UserWarning, match="ended after 1 batches of this epoch, steps_per_epoch=2"):
        history = network().fit(iter([(X, Y)] * 3), steps_per_epoch=2, epochs=5, verbose=0)
    assert len(history.epoch) == 2


def test_a_number_that_is_not_there_is_said_once_and_the_run_goes_on(tmp_path):
    file = str(tmp_path / "best.npz")
    for callback in (EarlyStopping(), ReduceLROnPlateau(), ModelCheckpoint(file, save_best_only=True)):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            history = network().fit(X, Y, epochs=3, verbose=0, callbacks=[callback])
        assert len(history.epoch) == 3
        assert len(said) == 1 and "no 'val_loss' in this run, only accuracy" in str(said[0].message)
    assert not (tmp_path / "best.npz").exists()


# Wrong use: one clear error each.


class Explodes(Layer):
    def forward(self, x, training):
        return np.full_like(x, np.inf)

    def backward(self, dy):
        return dy


def compiled(layers, loss="sparse_categorical_crossentropy"):
    model = Sequential(layers)
    model.compile("adam", loss)
    return model


def with_nan(x):
    x = x.copy()
    x[3] = np.nan
    return x


def broken_weights():
    model = network()
    model.layers[1].parameters["bias"][:] = np.inf
    return model


WRONG = {
    "no layers": (lambda: compiled([]).fit(X, Y), "no layers"),
    "no layers, predict": (lambda: Sequential().predict(X), "no layers"),
    "not compiled": (lambda: Sequential([Dense(3)]).fit(X, Y), r"call compile\("),
    "no loss": (lambda: compiled([Dense(3)], None).evaluate(X, Y), r"call compile\("),
    "input shape": (lambda: network().fit(X[:, :4], Y), r"layer 'dense' \(Dense\): expected shape \(None, 6\), got \(32, 4\)"),
    "input rank": (lambda: network().predict(PICTURES), r"layer 'dense' .* got \(10, 6, 6, 1\)"),
    "target shape": (lambda: network().fit(X, X), "class numbers?|one-hot"),
    "labels for one-hot": (lambda: network("categorical_crossentropy").fit(X, Y), "to_categorical"),
    "one-hot for labels": (lambda: network().fit(X, to_categorical(Y)), "categorical_crossentropy"),
    "lengths": (lambda: network().fit(X, Y[:30]), "x has 50 samples, y has shape"),
    "weights' length": (lambda: network().fit(X, Y, sample_weight=np.ones(3)), "x has 50 samples, sample_weight"),
    "label too large": (lambda: network().fit(X, Y + 1), r"label 3 is outside the 3 classes 0 \.\. 2"),
    "label negative": (lambda: network().fit(X, Y - 1), "label -1 is outside"),
    "label fractional": (lambda: network().fit(X, Y + 0.5), "whole class numbers"),
    "label NaN": (lambda: network().fit(X, np.where(Y > 1, np.nan, 0)), "NaN"),
    "NaN input": (lambda: network().fit(with_nan(X), Y), "the input holds NaN"),
    "NaN input, evaluate": (lambda: network().evaluate(with_nan(X), Y), "the input holds NaN"),
    "NaN input, predict": (lambda: network().predict(with_nan(X)), "the input holds NaN"),
    "NaN targets": (lambda: network("mse", last="linear").fit(X, np.full((50, 3), np.nan)), "the targets hold NaN"),
    "infinite layer": (
        lambda: compiled([Input((6,)), Dense(4), Explodes(), Dense(3)]).fit(X, Y),
        r"at epoch 1, batch 0: .* comes from layer 'explodes'",
    ),
    "infinite weights": (lambda: broken_weights().fit(X, Y), "the weights dense_1/bias are not finite"),
    "empty": (lambda: network().fit(X[:0], Y[:0]), "empty"),
    "empty list": (lambda: network().fit([], []), "empty"),
    "empty batches": (lambda: network().fit(iter([])), "ended after 0 batches"),
    "batch size 0": (lambda: network().fit(X, Y, batch_size=0), "batch_size must be a whole number of at least 1, got 0"),
    "batch size of predict": (lambda: network().predict(X, batch_size=-1), "batch_size"),
    "epochs 0": (lambda: network().fit(X, Y, epochs=0), "epochs must be at least 1"),
    "steps 0": (lambda: network().fit(X, Y, steps_per_epoch=0), "steps_per_epoch must be at least 1"),
    "generator used twice": (lambda: network().fit(iter([(X, Y)]), epochs=2), "ended after 0 batches"),
    "batches and y": (lambda: network().fit(Squares(), Y), "leave y"),
    "no targets": (lambda: network().fit(X), "no targets"),
    "four parts": (lambda: network().fit(iter([(X, Y, Y, Y)])), "a batch must be"),
    "split of batches": (lambda: network().fit(Squares(), validation_split=0.5), "validation_split needs"),
    "split too large": (lambda: network().fit(X, Y, validation_split=1.5), "leaves nothing"),
    "unknown loss": (lambda: network("categorical_crosentropy"), "did you mean 'categorical_crossentropy'"),
    "unknown optimizer": (lambda: network(optimizer="adamm"), "did you mean 'adam'"),
    "unknown metric": (lambda: network(metrics=["acuracy"]), "did you mean 'accuracy'"),
    "unknown activation": (lambda: Dense(3, activation="rellu"), "did you mean 'relu'"),
    "unknown initializer": (lambda: Dense(3, kernel_initializer="he_norm"), "did you mean 'he_normal'"),
    "unknown regularizer": (lambda: Dense(3, kernel_regularizer="l7"), "unknown regularizer"),
    "unknown padding": (lambda: Conv2D(3, 3, padding="sane"), "did you mean 'same'"),
    "unknown layer": (lambda: network().get_layer("densee"), "did you mean 'dense'"),
    "unknown backend": (lambda: minitl.set_backend("nunba"), "did you mean 'numba'"),
    "unknown callback": (lambda: LambdaCallback(on_epoch_ends=print), "did you mean 'on_epoch_end'"),
    "verbose": (lambda: network().fit(X, Y, verbose=7), "verbose must be"),
    "kernel too large": (
        lambda: Sequential([Input((4, 4, 1)), Conv2D(2, 5)]),
        r"layer 'conv2d' \(Conv2D\) on an input of shape \(None, 4, 4, 1\): a window of 5 does not fit into 4",
    ),
    "rows for a convolution": (lambda: Sequential([Input((4,)), Conv2D(2, 3)]), "needs images"),
    "filters 0": (lambda: Conv2D(0, 3), "filters must be"),
    "kernel of three": (lambda: Conv2D(2, (3, 3, 3)), "kernel_size must be one whole number or two"),
    "dropout of 1": (lambda: Dropout(1.0), "rate must be"),
    "same name": (lambda: Sequential([Dense(2, name="a"), Dense(2, name="a")]), "a layer named 'a' already"),
    "same layer": (lambda: Sequential([layer := Dense(2), layer]), "in this model already"),
    "bad name": (lambda: Dense(2, name="a/b"), "must not be empty nor contain"),
    "late input": (lambda: Sequential([Dense(2), Input((3,))]), "must come first"),
    "built for others": (lambda: Sequential([Input((7,)), network().layers[0]]), "built for other inputs"),
    "seed": (lambda: minitl.set_random_seed(-1), "0 .. 2"),
    "to_categorical": (lambda: to_categorical([0, 3], 3), "must lie in 0 .. 2"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_use(name):
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Sequential([Dense]), "without its parentheses"),
        (lambda: network().fit(7), "arrays, or an iterable"),
        (lambda: compiled([Dense(3)], loss=7), "a loss must be"),
        (lambda: Dense(3, activation=0.5), "activation must be a name"),
    ],
)
def test_wrong_types(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_a_failed_add_leaves_the_model_as_it_was():
    model = Sequential([Input((4, 4, 1)), Conv2D(2, 3)])
    with pytest.raises(ValueError, match="does not fit"):
        model.add(Conv2D(2, 5))
    assert len(model.layers) == 1
    model.add(Flatten())
    assert model.output_shape == (None, 8)


def test_users_layers_that_do_wrong_are_told():
    class NoBackward(Layer):
        def forward(self, x, training):
            return x

    class ReturnsNothing(NoBackward):
        def backward(self, dy):
            pass

    class WrongShape(NoBackward):
        def backward(self, dy):
            return dy[0]

    class NoForward(Layer):
        pass

    for layer, error, message in (
        (NoBackward(), NotImplementedError, "must define backward"),
        (ReturnsNothing(), TypeError, "returned NoneType; it must return dx"),
        (WrongShape(), ValueError, "return dx in the shape of x"),
        (NoForward(), NotImplementedError, "must define forward"),
    ):
        with pytest.raises(error, match=message):
            compiled([Dense(3), layer, Dense(3)]).fit(X, Y)


def test_a_loss_of_one_s_own():
    class Absolute(Loss):
        def forward(self, y_true, y_pred, weights, from_logits):
            self.difference = y_pred - y_true
            return np.abs(self.difference).mean()

        def backward(self):
            return np.sign(self.difference) / self.difference.size

    history = network(Absolute(), last="linear", metrics=()).fit(X, X[:, :3], epochs=20, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_confusion_matrix_and_top_k():
    from minitl.metrics import confusion_matrix

    matrix = confusion_matrix([0, 1, 1, 2], [0, 1, 2, 2], classes=4)
    assert matrix.tolist() == [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(confusion_matrix(np.eye(3), np.eye(3)), np.eye(3))
    with pytest.raises(ValueError, match="class numbers must lie"):
        confusion_matrix([0, 5], [0, 1], classes=3)
    metric = SparseTopKCategoricalAccuracy(k=2)
    metric.update_state([0, 1, 2], [[0.1, 0.5, 0.4], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    assert metric.result() == pytest.approx(1 / 3)


def test_a_network_without_weights_is_measured():
    value = Input((3,))
    model = Model(value, minitl.layers.Rescaling(0.5)(value))
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    with pytest.warns(UserWarning, match="has no weights to train; its losses are computed, and nothing learns"):
        found = model.fit(x, x, verbose=0).history["loss"]
    assert found == [pytest.approx(np.mean((x / 2) ** 2), rel=1e-5)]


def test_constraints_hold_when_a_step_is_made_of_parts():
    whole, parts = (small(kernel_constraint=MaxNorm(0.3)) for _ in range(2))
    for model, accumulate in ((whole, 1), (parts, 3)):
        model.compile(SGD(0.5), "mse")
        model.fit(ROWS, TARGETS, batch_size=12, epochs=3, shuffle=False, verbose=0, accumulate=accumulate)
        assert np.linalg.norm(model.layers[-1].get_weights()[0], axis=0).max() <= 0.3 + 1e-6
    for a, b in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_table_of_epochs_begins_where_a_curve_does():
    history = History()
    history.append(0, {"loss": 3.0})
    history.append(1, {"loss": 2.0, "val_loss": 2.5})
    assert history._repr_html_().count("<tr>") == 3
    rows = [re.split("<t[hd]>", row)[1:] for row in history._repr_html_().split("<tr>")[1:]]
    cells = [[cell.split("<")[0] for cell in row] for row in rows]
    assert cells[0] == ["epoch", "loss", "val_loss"] and [row[0] for row in cells[1:]] == ["1", "2"]
    assert [float(row[1]) for row in cells[1:]] == [3.0, 2.0] and cells[1][2] == "" and float(cells[2][2]) == 2.5


class Unsized:
    """A data set that has a length and does not know it."""

    def __len__(self):
        raise TypeError("no length")

    def __iter__(self):
        return iter([(ROWS[:4], TARGETS[:4]), (ROWS[4:8], TARGETS[4:8])])


def test_data_that_do_not_know_their_length():
    assert known_length(Unsized()) is None and known_length(iter([])) is None and known_length([1, 2]) == 2
    model, other = small(), small()
    for one in (model, other):
        one.compile(SGD(0.1), "mse")
    model.fit(Unsized(), verbose=0)
    other.fit(ROWS[:8], TARGETS[:8], batch_size=4, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_not_finite_is_told_where_it_begins():
    model = small()
    model.compile(SGD(0.1), "mse")
    with pytest.raises(ValueError, match="every layer's output is finite, so look at the loss, the targets and the sample"):
        model.fit(ROWS, 1e30 * TARGETS, verbose=0)
    with pytest.raises(ValueError, match="the input holds NaN or infinity in 1 places"):
        model.fit(np.where(np.arange(48).reshape(12, 4) == 5, np.nan, ROWS), TARGETS, verbose=0)
    x = Input((3, 2))
    steps, last = SimpleRNN(2, "linear", return_sequences=True, return_state=True, name="memory")(x)
    memory = Model(x, [Dense(2, name="scores")(steps), last])
    memory.compile(SGD(0.1), "mse")
    memory.get_layer("memory").parameters["kernel"][:] = 3e38
    with pytest.raises(ValueError, match="the first output that is not finite comes from layer 'memory'"):
        memory.fit(np.ones((4, 3, 2)), [np.ones((4, 3, 2)), np.ones((4, 2))], verbose=0)
    model.layers[0].parameters["kernel"][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"the weights .*dense.*/kernel are not finite; lower the learning rate"):
        model.fit(ROWS, TARGETS, verbose=0)


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("kind", [list, tuple])
def test_one_array_in_a_list_is_that_array(built, kind):
    histories, models = [], []
    for wrap in (lambda part: part, lambda part: kind([part])):
        set_random_seed(0)
        model = Sequential([*([Input((4,))] if built else []), Dense(3, activation="tanh"), Dense(2)])
        model.compile(SGD(0.1), "mse", metrics=["mae"])
        settings = {"epochs": 2, "batch_size": 5, "verbose": 0, "validation_data": (wrap(ROWS), wrap(TARGETS))}
        histories.append(model.fit(wrap(ROWS), wrap(TARGETS), **settings).history)
        assert model.input_shape == (None, 4)
        models.append(model)
    assert histories[0] == histories[1]
    model, other = models
    assert model.evaluate(ROWS, TARGETS, verbose=0) == other.evaluate(kind([ROWS]), kind([TARGETS]), verbose=0)
    np.testing.assert_array_equal(model.predict(ROWS, verbose=0), other.predict(kind([ROWS]), verbose=0))
    np.testing.assert_array_equal(model.predict_on_batch(ROWS), other.predict_on_batch(kind([ROWS])))
    assert model.predict([ROWS[:7], ROWS[7:]], verbose=0).shape == (12, 2)  # several arrays are batches
