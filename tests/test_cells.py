"""Recurrent layers of cells: of one's own, of those that are here, and of several."""

import copy
import pickle

import numpy as np
import pytest

import minitl
from minitl import ops
from minitl.gradcheck import check_gradients
from minitl.layers import (
    GRU,
    LSTM,
    RNN,
    Add,
    Dense,
    GRUCell,
    Input,
    Layer,
    LSTMCell,
    Masking,
    SimpleRNN,
    SimpleRNNCell,
    StackedRNNCells,
)
from minitl.models import Model, Sequential, load_model
from minitl.optimizers import SGD, Adam

X = np.random.default_rng(0).standard_normal((6, 7, 5)).astype(np.float32)
PADDED = X.copy()
PADDED[:, 5:] = 0
PADDED[2, 3] = 0


class Plain(Layer):
    """What a SimpleRNN without bias does in a step."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units, self.state_size = units, units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), initializer="glorot_uniform", name="kernel")
        self.inner = self.add_weight(shape=(self.units, self.units), initializer="orthogonal", name="recurrent_kernel")

    def call(self, inputs, states):
        h = ops.tanh(ops.matmul(inputs, self.kernel) + ops.matmul(states[0], self.inner))
        return h, [h]


class Short(Plain):
    """A cell whose state is not what it says."""

    def call(self, inputs, states):
        return inputs, states[0][:, :2]


class Deep(Layer):
    """A cell with a layer in it, two states of different lengths, and an output of a third one."""

    state_size = (3, 2)

    def __init__(self):
        super().__init__()
        self.first, self.second = Dense(3, activation="tanh"), Dense(2, activation="sigmoid")

    def build(self, input_shape):
        self.out = self.add_weight("out", (5, 4))

    def call(self, inputs, states, training=False):
        a = self.first(inputs) + 0.5 * states[0]
        b = self.second(inputs) * states[1] + 0.1
        return ops.matmul(ops.concatenate([a, b], axis=-1), self.out), (a, b)


def plain(units, **settings):
    return SimpleRNN(units, use_bias=False, **settings)


def both(cells, layers, *front):
    """Two networks, of cells and of layers, with the same weights."""
    a, b = Sequential([Input((7, 5)), *front, cells]), Sequential([Input((7, 5)), *front, *layers])
    b.set_weights(a.get_weights())
    return a, b


def agree(a, b, x):
    """Outputs and learnt weights are the same."""
    y = a.predict(x)
    np.testing.assert_allclose(y, b.predict(x), atol=1e-6)
    for model in (a, b):
        model.compile("sgd", "mse")
        model.train_on_batch(x, y + 1)
    for w, v in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(w, v, atol=1e-6)


KINDS = {
    "own": (lambda: Plain(4), lambda **s: plain(4, **s)),
    "lstm": (lambda: LSTMCell(4), lambda **s: LSTM(4, **s)),
    "gru": (lambda: GRUCell(4), lambda **s: GRU(4, **s)),
    "simple": (lambda: SimpleRNNCell(4, activation="relu"), lambda **s: SimpleRNN(4, activation="relu", **s)),
}


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_is_a_step_of_its_layer(kind, backwards, every):
    cell, layer = KINDS[kind]
    settings = {"return_sequences": every, "go_backwards": backwards}
    a, b = both(RNN(cell(), **settings), [layer(**settings)])
    agree(a, b, X)
    check_gradients(a, X.astype(np.float64)).raise_if_wrong()
    agree(*both(RNN(cell(), **settings), [layer(**settings)], Masking()), PADDED)


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_that_is_left_out_gives_what_it_gives_in_the_layer(kind, zeros):
    cell, layer = KINDS[kind]
    settings = {"return_sequences": True, "zero_output_for_mask": zeros}
    a, b = both(RNN(cell(), **settings), [layer(**settings)], Masking())
    agree(a, b, PADDED)
    found = a.predict(PADDED, verbose=0)
    np.testing.assert_array_equal(found[:, 5:], np.zeros_like(found[:, 5:]) if zeros else np.tile(found[:, 4:5], (1, 2, 1)))


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("front", [(), (Masking,)])
def test_cells_one_upon_the_other(every, front):
    cells = RNN(StackedRNNCells([LSTMCell(4), Plain(3), GRUCell(2)]), return_sequences=every)
    layers = [LSTM(4, return_sequences=True), plain(3, return_sequences=True), GRU(2, return_sequences=every)]
    a, b = both(cells, layers, *(f() for f in front))
    agree(a, b, PADDED)


def test_a_cell_that_holds_layers():
    model = Sequential([Input((None, 5)), RNN(Deep(), return_sequences=True), Dense(2)])
    assert model.output_shape == (None, None, 2)
    check_gradients(model, X.astype(np.float64)).raise_if_wrong()
    x = X[:, :1]
    deep = model.layers[0].cells[0]
    a, b = deep.first(x[:, 0]), 0.1
    y = np.concatenate([a, np.full((6, 2), b)], axis=1) @ deep.parameters["out"]
    np.testing.assert_allclose(model.layers[0](x)[:, 0], y, atol=1e-6)


def test_states_are_given_and_taken():
    x, states = Input((7, 5)), [Input((4,)), Input((4,)), Input((3,))]
    y, h, c, s = RNN([LSTMCell(4), Plain(3)], return_sequences=True, return_state=True)(x, initial_state=states)
    a = Model([x, *states], [y, h, c, s])
    x, states = Input((7, 5)), [Input((4,)), Input((4,)), Input((3,))]
    inner, h, c = LSTM(4, return_sequences=True, return_state=True)(x, initial_state=states[:2])
    y, s = plain(3, return_sequences=True, return_state=True)(inner, initial_state=states[2])
    b = Model([x, *states], [y, h, c, s])
    b.set_weights(a.get_weights())
    given = [X, *(np.random.default_rng(k).standard_normal((6, n)).astype(np.float32) for k, n in enumerate((4, 4, 3)))]
    for ours, theirs in zip(a.predict(given), b.predict(given), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    check_gradients(a, [part.astype(np.float64) for part in given]).raise_if_wrong()


@pytest.mark.parametrize("cell", [lambda: Plain(4), lambda: LSTMCell(4)])
def test_the_last_output_and_the_state_both_have_gradients(cell):
    x = Input((7, 5))
    y, h, *_ = RNN(cell(), return_state=True)(x)
    check_gradients(Model(x, Add()([Dense(3)(y), Dense(3)(h)])), X.astype(np.float64)).raise_if_wrong()


def test_a_state_is_carried_on():
    a, b = both(
        RNN([Plain(4), LSTMCell(2)], stateful=True), [plain(4, stateful=True, return_sequences=True), LSTM(2, stateful=True)]
    )
    first = a.predict(X)
    for model in (a, b):
        model.reset_states()
    for _ in range(3):
        np.testing.assert_allclose(a.predict(X), b.predict(X), atol=1e-6)
    assert np.abs(a.predict(X) - first).max() > 1e-3
    with pytest.raises(ValueError, match="goes on with 6 sequences, got 2"):
        a.predict(X[:2])
    a.reset_states()
    np.testing.assert_array_equal(a.predict(X), first)


def test_dropout_of_a_cell_is_that_of_its_layer():
    model = Sequential([Input((7, 5)), RNN(LSTMCell(64, dropout=0.5))])
    assert model.layers[0].draws
    assert np.abs(model(X, training=True) - model(X, training=True)).max() > 1e-3
    np.testing.assert_array_equal(model(X), model(X))


def test_cells_are_trained_saved_and_frozen(tmp_path):
    model = Sequential([Input((None, 5)), RNN([Plain(8), LSTMCell(6)], name="steps"), Dense(1)])
    model.compile(Adam(0.02), "mse")
    y = X[:, :, 0].sum(axis=1, keepdims=True)
    losses = model.fit(X, y, epochs=60, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2
    model.save(tmp_path / "m.npz")
    loaded = load_model(tmp_path / "m.npz", custom_objects={"Plain": Plain})
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    model.layers[0].trainable = False
    before = [w.copy() for w in model.get_weights()]
    model.fit(X, y, epochs=1, verbose=0)
    moved = [bool((w != v).any()) for w, v in zip(model.get_weights(), before, strict=True)]
    assert moved == [False] * 5 + [True, True]


@pytest.mark.parametrize("cell", [Dense(3), "LSTMCell", 4, [LSTMCell(2), LSTM(2)]])
def test_what_is_no_cell(cell):
    with pytest.raises(TypeError, match="RNN: a cell is a layer with state_size"):
        RNN(cell)


def test_steps_that_count_and_are_zeros_are_not_left_out():
    rectified = SimpleRNNCell(2, activation="relu", bias_initializer=minitl.initializers.Constant(-9.0))  # gives zeros
    model = Sequential([Input((7, 5)), Masking(), RNN([rectified, Plain(3), LSTMCell(2, bias_initializer="ones")])])
    plainly = Sequential([Input((7, 5)), RNN(model.layers[1].cells)])
    np.testing.assert_array_equal(model.predict(X), plainly.predict(X))
    assert model.predict(X).any()


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_trained_network_of_cells_is_copied(again):
    model = Sequential([Input((7, 5)), RNN([LSTMCell(4), GRUCell(3)])])
    model.compile("sgd", "mse")
    model.train_on_batch(X, np.ones((6, 3)))
    np.testing.assert_array_equal(again(model).predict(X), model.predict(X))


@pytest.mark.parametrize("cells", [[], [CELL := LSTMCell(2), CELL]])
def test_cells_are_there_each_of_them_once(cells):
    with pytest.raises(ValueError, match="needs cells, each of them once"):
        RNN(cells)


def test_errors_of_states_and_files(tmp_path):
    layer = RNN([LSTMCell(4), Plain(3)])
    x = Input((7, 5))
    with pytest.raises(ValueError, match=r"a state is 3 array\(s\) \(N, 4\), \(N, 3\), got 1"):
        layer(x, initial_state=Input((4,)))
    with pytest.raises(ValueError, match=r"initial_state must be \(N, 4\), \(N, 3\) for 4, 3 units"):
        layer(x, initial_state=[Input((4,)), Input((4,)), Input((4,))])
    with pytest.raises(ValueError, match="needs sequences"):
        RNN(Plain(3))(Input((5,)))
    with pytest.raises(ValueError, match="no activity_regularizer"):
        RNN(Plain(3), activity_regularizer="l2")
    with pytest.raises(ValueError, match="give it to RNN"):
        Sequential([Input((5,)), LSTMCell(2)])
    with pytest.raises(ValueError, match=r"gave states of shapes \[\(1, 2\)\]; state_size says \[\(1, 3\)\]"):
        RNN(Short(3))(x)
    pytest.importorskip("h5py")
    with pytest.raises(ValueError, match="cells are not written to files of Keras"):
        Sequential([Input((7, 5)), RNN(LSTMCell(4))]).save(tmp_path / "m.keras")


@pytest.mark.parametrize("layer", [lambda: LSTM(4), lambda: RNN(LSTMCell(4)), lambda: RNN(Plain(4))])
@pytest.mark.parametrize("given", [True, False])
def test_a_mask_of_a_call(layer, given):
    layer, mask = layer(), np.ones((6, 7), bool)
    mask[:, 4:] = mask[1, 2] = False
    states = [np.full((6, 4), 0.3, np.float32) for _ in layer.state_sizes] if given else None
    y = layer(X, mask=mask, initial_state=states)
    x = X[1:2, [0, 1, 3]]  # what counts of one sequence
    alone = layer(x, initial_state=None if states is None else [state[1:2] for state in states])
    np.testing.assert_allclose(y[1:2], alone, atol=1e-6)


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
def test_cells_in_onnx(tmp_path, backwards, every):
    onnxruntime = pytest.importorskip("onnxruntime")
    from minitl.interop import export_onnx

    settings = {"return_sequences": every, "go_backwards": backwards, "return_state": True}
    x, state = Input((7, 5)), [Input((4,)), Input((4,)), Input((3,))]
    model = Model([x, *state], RNN([LSTMCell(4), GRUCell(3)], **settings)(x, initial_state=state))
    export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    given = [X, *(np.random.default_rng(k).standard_normal((6, n)).astype(np.float32) for k, n in enumerate((4, 4, 3)))]
    found = session.run(None, dict(zip([i.name for i in session.get_inputs()], given, strict=True)))
    for ours, theirs in zip(model.predict(given), found, strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-5)
    with pytest.raises(ValueError, match="ONNX has nothing for a cell of your own"):
        export_onnx(Sequential([Input((7, 5)), RNN(Plain(3))]), tmp_path / "n.onnx")


class Frugal(Plain):
    """A cell that adds to the loss at every step."""

    def call(self, inputs, states):
        h, states = super().call(inputs, states)
        self.add_loss(0.5 * ops.mean(ops.square(h)))
        return h, states


def test_what_a_cell_adds_to_the_loss_is_learnt():
    model = Sequential([Input((7, 5), dtype="float64"), RNN(Frugal(4, dtype="float64"), dtype="float64")])
    y = np.zeros((6, 4))

    def loss(at, move):
        kernel = model.get_weights()[0]
        kernel[at] += move
        model.layers[0].cells[0].parameters["kernel"][...] = kernel
        model.compile(SGD(0.0), "mse")
        found = model.train_on_batch(X, y)
        kernel[at] -= move
        model.layers[0].cells[0].parameters["kernel"][...] = kernel
        return found

    before = model.get_weights()[0].copy()
    numeric = (loss((1, 2), 1e-5) - loss((1, 2), -1e-5)) / 2e-5
    model.compile(SGD(1.0), "mse")
    model.train_on_batch(X, y)
    assert (before - model.get_weights()[0])[1, 2] == pytest.approx(numeric, rel=1e-5)


def test_several_states_are_carried_on():
    model = Sequential([Input((7, 5)), RNN([LSTMCell(3), LSTMCell(2)], stateful=True)])
    twin = Sequential([Input((14, 5)), RNN([LSTMCell(3), LSTMCell(2)])])
    twin.set_weights(model.get_weights())
    model.predict(X)
    np.testing.assert_allclose(model.predict(X), twin.predict(np.concatenate([X, X], axis=1)), atol=1e-6)
