"""What programs seldom do, and what they then get: each by its definition."""

import copy
import importlib
import pickle
import sys
import types

import numpy as np
import pytest

from minitl import set_random_seed
from minitl.__main__ import main
from minitl.applications import imagenet
from minitl.batches import known_length
from minitl.callbacks import TensorBoard, TerminateOnNaN
from minitl.constraints import MaxNorm
from minitl.embeddings import Vectors, load_vectors
from minitl.errors import positive
from minitl.history import History
from minitl.layers import (
    GRU,
    LSTM,
    AlphaDropout,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    GlobalAveragePooling1D,
    Input,
    Layer,
    RandomCrop,
    Rescaling,
    TimeDistributed,
    ZeroPadding1D,
    ZeroPadding2D,
)
from minitl.losses import MeanSquaredError
from minitl.metrics import Metric
from minitl.models import Model, Sequential, load_model
from minitl.optimizers import SGD, Adam
from minitl.rate_finder import find_learning_rate
from minitl.resume import checked_state
from minitl.schedules import CosineDecay
from minitl.transfer import fine_tune, truncate
from minitl.weights import read, write

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 2)).astype("float32")


def small(**settings):
    set_random_seed(0)
    return Sequential([Input((4,)), Dense(3, activation="tanh"), Dense(2, **settings)])


def test_constraints_hold_when_a_step_is_made_of_parts():
    whole, parts = (small(kernel_constraint=MaxNorm(0.3)) for _ in range(2))
    for model, accumulate in ((whole, 1), (parts, 3)):
        model.compile(SGD(0.5), "mse")
        model.fit(X, Y, batch_size=12, epochs=3, shuffle=False, verbose=0, accumulate=accumulate)
        assert np.linalg.norm(model.layers[-1].get_weights()[0], axis=0).max() <= 0.3 + 1e-6
    for a, b in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


class Weighted(Layer):
    def build(self, input_shape):
        self.first = self.add_weight((3,), initializer="ones")
        self.second = self.add_weight(shape=(2,), initializer="ones", trainable=False)
        self.third = self.add_weight((1,), "named", initializer="ones", constraint=MaxNorm(1.0))

    def call(self, x):
        return x * 1.0


def test_weights_without_a_name_and_with_the_shape_in_front():
    layer = Weighted()
    layer(X)
    assert list(layer.parameters) == ["weight", "named"] and list(layer.state) == ["weight_1"]
    assert [w.shape for w in layer.get_weights()] == [(3,), (1,), (2,)]
    assert list(layer.constraints) == ["named"] and len(layer.trainable_weights) == 2
    layer.trainable = False
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 3


class Largest(Metric):
    def __init__(self, name="largest"):
        super().__init__(name)
        self.seen = self.add_weight((2,), initializer="zeros")
        self.number = self.add_weight(name="number", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.seen.assign(np.maximum(self.seen.numpy(), np.max(y_pred, axis=0)))
        self.number.assign_add(1.0)

    def result(self):
        return float(self.seen.numpy().max())


def test_variables_of_a_metric_go_on_from_a_state():
    metric, other = Largest(), Largest()
    assert metric.seen.shape == (2,) and metric.number.shape == ()
    metric.update_state(Y, Y)
    state = copy.deepcopy(metric.get_state())
    other.set_state(state)
    assert other.result() == metric.result() == Y.max() and float(other.number.numpy()) == float(metric.number.numpy())


def test_a_table_of_words_that_is_fixed_has_no_gradient():
    set_random_seed(0)
    model = Sequential([Input((3,), dtype="int64"), Embedding(5, 4, trainable=False), GlobalAveragePooling1D(), Dense(2)])
    model.compile(SGD(0.5), "mse")
    before = model.layers[0].get_weights()[0].copy()
    model.fit(np.array([[0, 1, 2], [3, 4, 0]]), Y[:2], verbose=0)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], before)


@pytest.mark.parametrize("wrapped", [
    lambda: Bidirectional(GRU(3, dropout=0.5)), lambda: Bidirectional(LSTM(3)), lambda: TimeDistributed(Dropout(0.5)),
    lambda: TimeDistributed(Dense(2)),
])  # fmt: skip
def test_a_wrapper_draws_when_its_layer_does(wrapped):
    set_random_seed(0)
    layer = wrapped()
    steps = np.random.default_rng(2).normal(size=(2, 5, 4)).astype("float32")
    layer(steps)
    differs = not np.array_equal(layer.forward(steps, True), layer.forward(steps, True))
    assert layer.draws == differs


def test_shapes_that_an_inner_layer_declares():
    assert Bidirectional(LSTM(3, input_shape=(5, 4))).declared_shape == (None, 5, 4)
    assert Bidirectional(LSTM(3, input_shape=(5, 4)), input_shape=(6, 4)).declared_shape == (None, 6, 4)


def test_models_over_steps():
    frozen = TimeDistributed(small(), trainable=False)
    assert frozen.trainable is False
    with pytest.raises(ValueError, match="the input shape is not known; call it on data, or build"):
        TimeDistributed(small()).build()
    model = TimeDistributed(small())
    model.build((None, 5, 4))
    graph = model.graph
    model.build((None, 5, 4))
    assert model.graph is graph  # it stays what it was


def test_networks_that_begin_in_the_middle_are_copied():
    base = small()
    upper = Model(base.layers[0].output, base.output)
    hidden = np.tanh(X @ base.get_weights()[0] + base.get_weights()[1])
    for one in (upper, pickle.loads(pickle.dumps(upper)), copy.deepcopy(upper)):
        np.testing.assert_allclose(one(hidden), base(X), rtol=1e-5, atol=1e-6)


def test_networks_without_a_graph_are_copied():
    model = Sequential([Dense(3, input_shape=(4,)), Dense(2)])
    again = pickle.loads(pickle.dumps(model))
    assert again.input_shape == model.input_shape == (None, 4)
    np.testing.assert_array_equal(again(X), model(X))
    open_one = pickle.loads(pickle.dumps(Sequential([Dense(3)])))
    assert open_one(X).shape == (12, 3)


def test_a_layer_that_stands_twice_cannot_be_cut_at():
    inputs, shared = Input((4,)), Dense(4, name="shared")
    model = Model(inputs, Dense(2)(shared(shared(inputs))))
    with pytest.raises(ValueError, match=r"the layer 'shared' gives 2 values; use Model\(inputs, the one that you want\)"):
        truncate(model, "shared")


def test_reinitialize_needs_layers_in_the_base():
    model = Sequential([Input((4,)), Dense(3, name="base"), Dense(2, activation="softmax")])
    for layers in (0, 2):
        with pytest.raises(ValueError, match=f"reinitialize: layers={layers} of 1 in the base: base"):
            fine_tune(model, (X, np.arange(12) % 2), "reinitialize", layers=layers, verbose=0)


def test_whole_numbers_as_predictions():
    assert MeanSquaredError()(np.zeros((2, 3)), np.array([[1, 2, 3], [0, 0, 1]])) == pytest.approx(15 / 6)


def test_weights_for_losses_of_rows():
    loss = MeanSquaredError()
    np.testing.assert_array_equal(loss.spread(np.arange(6).reshape(2, 3), (2, 3, 4)), np.arange(6).reshape(2, 3, 1).repeat(4, 2))
    np.testing.assert_array_equal(loss.spread(np.array([[2.0], [3.0]]), (2, 4)), [[2] * 4, [3] * 4])


def test_modes_of_pixels():
    with pytest.raises(ValueError, match="unknown preprocessing mode 'theano'"):
        imagenet.preprocessing("theano")
    pixels = np.array([0.0, 127.5, 255.0]).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(imagenet.preprocess_input(pixels, mode="tf").reshape(-1), [-1, 0, 1], atol=1e-6)


class Events:
    """What a writer of event files was told."""

    def __init__(self, folder):
        self.folder, self.told, self.closed = folder, [], 0
        Events.last = self

    def add_scalar(self, name, value, step):
        self.told.append((name, value, step))

    def close(self):
        self.closed += 1


def test_event_files(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Events))
    model = small()
    model.compile(SGD(0.1), "mse")
    callback = TensorBoard("here")
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[callback])
    told = Events.last
    assert told.folder == "here" and told.closed == 1 and callback.writer is None
    assert told.told == [("epoch_loss", loss, epoch) for epoch, loss in enumerate(history.history["loss"])]


def test_event_files_without_a_writer(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    model = small()
    model.compile(SGD(0.1), "mse")
    with pytest.warns(UserWarning, match="TensorBoard: nothing is written, since tensorboardX is not installed"):
        model.fit(X, Y, epochs=1, verbose=0, callbacks=[TensorBoard("here")])


def test_a_run_ends_at_a_loss_that_is_no_number():
    callback = TerminateOnNaN()
    for loss, stops in ((1.0, False), (None, False), (np.nan, True), (np.inf, True)):
        callback.model = types.SimpleNamespace(stop_training=False)
        callback.on_train_batch_end(0, {} if loss is None else {"loss": loss})
        assert callback.model.stop_training == stops


def test_a_table_of_epochs_begins_where_a_curve_does():
    history = History()
    history.append(0, {"loss": 3.0})
    history.append(1, {"loss": 2.0, "val_loss": 2.5})
    assert history._repr_html_().count("<tr>") == 3
    rows = [row.split("<td>")[1:] for row in history._repr_html_().split("<tr>")[1:]]
    cells = [[cell.split("<")[0] for cell in row] for row in rows]
    assert cells[0] == ["epoch", "loss", "val_loss"] and [row[0] for row in cells[1:]] == ["1", "2"]
    assert [float(row[1]) for row in cells[1:]] == [3.0, 2.0] and cells[1][2] == "" and float(cells[2][2]) == 2.5


def test_counts_have_a_limit():
    assert positive("units", 2**31 - 1) == 2**31 - 1
    for count in (2**31, 2**40):
        with pytest.raises(ValueError, match=r"units must be less than 2\*\*31"):
            positive("units", count)


def test_vectors_of_words(tmp_path):
    vectors = Vectors(["a", "b"], np.eye(2, 3, dtype=np.float32))
    assert repr(vectors) == "<Vectors: 2 words, 3 numbers each>"
    np.savez(tmp_path / "v.npz", words=np.frombuffer(b"a\nb", np.uint8))
    with pytest.raises(ValueError, match="expected arrays words and vectors, got words"):
        load_vectors(tmp_path / "v.npz")
    np.savez(tmp_path / "v.npz", words=np.frombuffer(b"a\nb\nc", np.uint8), vectors=np.eye(2, 3))
    with pytest.raises(ValueError, match="3 words and 2 vectors"):
        load_vectors(tmp_path / "v.npz")
    np.savez(tmp_path / "v.npz", words=np.frombuffer(b"a\nb", np.uint8), vectors=np.eye(2, 3), scale=np.float32(0.5))
    np.testing.assert_array_equal(load_vectors(tmp_path / "v.npz")["b"], [0, 0.5, 0])


def test_a_rate_that_is_too_high_from_the_beginning():
    model = small()
    model.compile(SGD(1e6), "mse")
    with pytest.raises(ValueError, match=r"the loss exploded at a rate of .*; begin lower than"):
        find_learning_rate(model, X, Y, lowest=1e3, highest=1e9)
    with pytest.raises(ValueError, match=r"NaN|finite"):
        find_learning_rate(model, X * np.nan, Y)


def test_crops_at_inference_are_of_the_middle_and_have_a_gradient():
    images = np.random.default_rng(3).normal(size=(2, 8, 6, 3)).astype("float32")
    layer = RandomCrop(4, 4)
    y = layer.forward(images, False)
    dx = layer.backward(np.ones_like(y))
    assert dx.shape == images.shape
    slope = (layer(images + 1e-2 * dx) - layer(images - 1e-2 * dx)).sum() / 2e-2
    assert slope == pytest.approx(float((dx * dx).sum()), rel=1e-2)


BROKEN = {
    "preprocessing": 5, "class_names": "cats", "origin": {"licence": 3}, "checkpoint": {"filepath": "a"}, "format": "x",
}  # fmt: skip


@pytest.mark.parametrize("key", BROKEN)
def test_descriptions_that_are_no_description(key, tmp_path):
    small().save(tmp_path / "m.npz")
    arrays, config = read(tmp_path / "m.npz")
    write(tmp_path / "m.npz", arrays, {**config, key: BROKEN[key]})
    with pytest.raises(ValueError, match=r"m\.npz"):
        load_model(tmp_path / "m.npz")


def test_layers_of_a_file_are_layers(tmp_path):
    model = Sequential([Input((4,)), Rescaling(2.0)])
    Sequential([Input((4,)), Rescaling(2.0), Dense(2)]).save(tmp_path / "m.npz")
    assert model.layers
    with pytest.raises(ValueError, match="Rescaling is not a layer"):
        load_model(tmp_path / "m.npz", custom_objects={"Rescaling": lambda **_: None})


def test_mistakes_of_photographs_are_those_that_are_wrong(tmp_path, monkeypatch):
    predicting = importlib.import_module("minitl.photographs.predict")  # the package has the function under that name
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"{number}.png").write_bytes(b"")
    said = {"cats/0.png": ("cats", 0.9), "cats/1.png": ("dogs", 0.3), "dogs/0.png": ("cats", 0.8), "dogs/1.png": ("dogs", 0.1)}
    made = [predicting.Prediction(str(tmp_path / f), label, {"cats": p, "dogs": 1 - p}) for f, (label, p) in said.items()]
    monkeypatch.setattr(predicting, "opened", lambda model: types.SimpleNamespace(class_names=["cats", "dogs"]))
    monkeypatch.setattr(predicting, "predict", lambda model, files: made)
    found = predicting.evaluate(None, tmp_path)
    assert found["accuracy"] == 50 and found["unreadable"] == []
    assert [(file[len(str(tmp_path)) + 1 :], truth, said) for file, truth, said, _ in found["mistakes"]] == [
        ("dogs/0.png", "dogs", "cats"), ("cats/1.png", "cats", "dogs")
    ]  # fmt: skip
    assert [sure for *_, sure in found["mistakes"]] == pytest.approx([0.8, 0.7])
    np.testing.assert_array_equal(found["confusion"], [[1, 1], [1, 1]])


def state_of_a_run():
    model = Sequential([Input((4,)), Dropout(0.5), Dense(2)])
    model.compile(SGD(0.1, momentum=0.9), "mse")
    model.fit(X, Y, batch_size=4, verbose=0, callbacks=[TerminateOnNaN()])
    return model.training_run.get_state()


def test_a_state_of_training_that_fit_wrote_is_taken():
    state = state_of_a_run()
    assert checked_state(state) is state


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda state: 3, TypeError, "the state of training is not as fit writes it"),
        *((lambda state, name=name: {**state, name: "x"}, TypeError, "not as fit writes it") for name in
          ("epoch", "step", "source", "frozen", "layers", "callbacks", "history")),
        (lambda state: {**state, "source": {"taken": "x"}}, TypeError, "the state of the data is not as fit writes it"),
        (lambda state: {**state, "epoch": -1}, ValueError, "stands at epoch -1, batch"),
        (lambda state: {**state, "step": -1}, ValueError, "batch -1"),
        (lambda state: {**state, "step": 2, "means": None}, ValueError, "batch 2"),
        (lambda state: {**state, "callbacks": [["EarlyStopping"]]}, TypeError, "the callbacks' state is not as fit writes it"),
        (lambda state: {**state, "callbacks": [3]}, TypeError, "the callbacks' state is not as fit writes it"),
        (lambda state: {**state, "shuffling": {"bit_generator": "MT19937"}}, (ValueError, TypeError), ""),
        (lambda state: {**state, "layers": {"dropout/generator": {"state": 3}}}, (ValueError, TypeError, KeyError), ""),
    ],
)  # fmt: skip
def test_a_state_of_training_that_fit_did_not_write_is_refused(change, kind, message):
    with pytest.raises(kind, match=message or None):
        checked_state(change(state_of_a_run()))


def test_memory_of_a_weight_that_is_there_no_more_is_left_out(tmp_path):
    model = small()
    model.compile(SGD(0.1, momentum=0.9), "mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.npz")
    arrays, config = read(tmp_path / "m.npz")
    slot = next(key for key in arrays if key.startswith("@optimizer/"))
    write(tmp_path / "m.npz", {**arrays, "@optimizer/gone/kernel/velocity": arrays[slot]}, config)
    again = load_model(tmp_path / "m.npz")
    assert set(again.optimizer.memory) == set(model.optimizer.memory)
    for path, memory in model.optimizer.memory.items():
        for name, array in memory.items():
            np.testing.assert_array_equal(again.optimizer.memory[path][name], array)


class Unsized:
    """A data set that has a length and does not know it."""

    def __len__(self):
        raise TypeError("no length")

    def __iter__(self):
        return iter([(X[:4], Y[:4]), (X[4:8], Y[4:8])])


def test_data_that_do_not_know_their_length():
    assert known_length(Unsized()) is None and known_length(iter([])) is None and known_length([1, 2]) == 2
    model, other = small(), small()
    for one in (model, other):
        one.compile(SGD(0.1), "mse")
    model.fit(Unsized(), verbose=0)
    other.fit(X[:8], Y[:8], batch_size=4, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_not_finite_is_told_where_it_begins():
    model = small()
    model.compile(SGD(0.1), "mse")
    with pytest.raises(ValueError, match="every layer's output is finite, so look at the loss, the targets and the sample"):
        model.fit(X, 1e30 * Y, verbose=0)
    with pytest.raises(ValueError, match="the input holds NaN or infinity in 1 places"):
        model.fit(np.where(np.arange(48).reshape(12, 4) == 5, np.nan, X), Y, verbose=0)
    model.layers[0].parameters["kernel"][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"the weights .*dense.*/kernel are not finite; lower the learning rate"):
        model.fit(X, Y, verbose=0)


def test_folders_that_the_data_command_is_asked_about(tmp_path, capsys):
    for name, count in (("cats", 2), ("dogs", 1)):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f"{number}.png").write_bytes(b"")
    assert main(["data", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{tmp_path}: 3 pictures in 2 classes" in lines
    assert [line.split() for line in lines[-2:]] == [["cats", "2"], ["dogs", "1"]]


def test_a_file_of_layers_that_is_not_there(tmp_path, capsys):
    assert main(["gradcheck", f"{tmp_path}/none.py:Mine", "--input", "4,8"]) == 2
    assert f"no file {tmp_path}/none.py" in capsys.readouterr().err


class OtherName(Dense):
    """Computes as a Dense layer."""


class OtherForward(Dense):
    def forward(self, x, training):
        return 0.5 * super().forward(x, training)

    def backward(self, dy):
        return super().backward(0.5 * dy)


class OtherWay(Dense):
    def compute(self, x, training):
        y, cache = super().compute(x, training)
        return 0.5 * y, cache


def test_the_activation_of_an_output_is_known_where_a_layer_computes_as_ours():
    named = [kind(3, activation="softmax").output_activation for kind in (Dense, OtherName, OtherForward, OtherWay)]
    assert named == ["softmax", "softmax", None, None]
    y = 0.25 * np.ones((12, 2), np.float32)
    for kind in (OtherForward, OtherWay):
        set_random_seed(0)
        model = Sequential([Input((4,)), kind(2, activation="sigmoid")])
        model.compile(SGD(0.1), "binary_crossentropy")
        p = np.clip(model.predict(X, verbose=0), 1e-7, 1 - 1e-7)
        assert model.evaluate(X, y, verbose=0) == pytest.approx(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(), rel=1e-4)


def test_the_row_of_no_word_stays_zero_and_has_no_gradient():
    words = np.array([[0, 1, 2], [2, 0, 0]])
    for mask_zero in (True, False):
        layer = Embedding(4, 3, mask_zero=mask_zero)
        y = layer.forward(words, True)
        layer.backward(np.ones_like(y))
        counts = [0 if mask_zero else 3, 1, 2, 0]
        np.testing.assert_array_equal(layer.gradients["embeddings"], np.repeat(counts, 3).reshape(4, 3))
        assert y[0, 0].any() != mask_zero


def test_vectors_of_words_have_the_table_s_dtype():
    words = Input((3,), dtype="int64")
    assert Embedding(4, 3)(words).dtype == np.float32 and Embedding(4, 3, dtype="float64")(words).dtype == np.float64


@pytest.mark.parametrize("given", [((1, 2), 3), [[1, 2], [3, 3]], np.array([[1, 2], [3, 3]]), ((1, 2), (3, 3))])
def test_borders_in_any_form(given):
    images = np.ones((1, 2, 2, 1), np.float32)
    np.testing.assert_array_equal(ZeroPadding2D(given)(images), np.pad(images, ((0, 0), (1, 2), (3, 3), (0, 0))))


@pytest.mark.parametrize("given", [2, (2,), (2, 2), np.array([2, 2]), [(2, 2)]])
def test_borders_of_sequences(given):
    steps = np.ones((1, 3, 2), np.float32)
    np.testing.assert_array_equal(ZeroPadding1D(given)(steps), np.pad(steps, ((0, 0), (2, 2), (0, 0))))


def test_alpha_dropout_by_its_formula():
    rate, low = 0.3, -1.0507009873554805 * 1.6732632423543772
    gain = ((1 - rate) * (1 + rate * low**2)) ** -0.5
    shift = -gain * low * rate
    x = np.random.default_rng(0).normal(size=(50, 40))
    layer = AlphaDropout(rate, dtype="float64")
    y = layer.forward(x, True)
    kept = layer.backward(np.ones_like(x)) != 0
    assert 0.65 < kept.mean() < 0.75
    np.testing.assert_allclose(y[kept], gain * x[kept] + shift, rtol=1e-6)
    np.testing.assert_allclose(y[~kept], gain * low + shift, rtol=1e-6)


@pytest.mark.parametrize("make", [lambda: SGD(0.1, momentum=0.9), lambda: Adam(0.1), lambda: SGD(CosineDecay(0.1, 10))])
def test_an_optimizer_that_has_forgotten_begins_anew(make):
    used, fresh = make(), make()
    gradient = np.array([1.0, -2.0], np.float32)
    other = np.ones(2, np.float32)
    for _ in range(3):
        used.apply([("w", other, gradient)])
    used.forget()
    assert used.iterations == 0 and not used.memory
    a, b = np.ones(2, np.float32), np.ones(2, np.float32)
    for _ in range(2):
        used.apply([("w", a, gradient)])
        fresh.apply([("w", b, gradient)])
    np.testing.assert_array_equal(a, b)


def test_shapes_for_which_a_recurrent_layer_is_built():
    described, called = LSTM(3), LSTM(3)
    described(Input((5, 4)))
    called(np.ones((2, 5, 4), np.float32))
    assert described.input_shape == (None, 5, 4) and called.input_shape == (None, None, 4)
    assert called(np.ones((2, 7, 4), np.float32)).shape == (2, 3)
