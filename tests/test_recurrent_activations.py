"""Recurrent layers with other activations than tanh and sigmoid, and a GRU in its older form: here, in Keras, in files."""

import json

import numpy as np
import pytest

from minitl.activations import elu
from minitl.gradcheck import check_gradients
from minitl.interop import export_onnx, import_onnx, load_keras_weights, save_torch
from minitl.layers import GRU, LSTM, RNN, Activation, Bidirectional, Dense, Input, LSTMCell, Masking, SimpleRNN
from minitl.models import Sequential, load_model, model_from_json

X = np.random.default_rng(0).standard_normal((3, 6, 4)).astype(np.float32)
LAYERS = {
    "lstm relu": (LSTM, {"activation": "relu"}),
    "lstm, hard gates": (LSTM, {"recurrent_activation": "hard_sigmoid"}),
    "gru elu": (GRU, {"activation": "elu"}),
    "gru, all others, no bias": (GRU, {"activation": "softsign", "recurrent_activation": "hard_sigmoid", "use_bias": False}),
    "older gru": (GRU, {"reset_after": False}),
    "older gru without bias": (GRU, {"reset_after": False, "use_bias": False, "go_backwards": True}),
    "simple, linear": (SimpleRNN, {"activation": None}),
    "simple elu": (SimpleRNN, {"activation": "elu"}),
}


def network(name, **more):
    """A model of one layer, whose biases are no zeros."""
    cls, settings = LAYERS[name]
    model = Sequential([Input((6, 4)), cls(5, **settings, **more)])
    generator = np.random.default_rng(1)
    model.set_weights([weight + 0.3 * generator.standard_normal(weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("name", LAYERS)
def test_they_give_what_keras_gives(name, tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    cls, settings = LAYERS[name]
    model = network(name, return_sequences=True, zero_output_for_mask=True)
    twin = getattr(keras.layers, cls.__name__)(5, return_sequences=True, return_state=True, zero_output_for_mask=True, **settings)
    twin(X)
    twin.set_weights(model.get_weights())
    y, *states = (np.asarray(part.detach()) for part in twin(X))
    np.testing.assert_allclose(model.predict(X, verbose=0), y, rtol=1e-5, atol=1e-6)
    given = cls(5, return_state=True, **settings)
    given(X)
    given.set_weights(model.get_weights())
    for ours, theirs in zip(given(X)[1:], states, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    mask = np.ones((3, 6), bool)
    mask[1, 4:] = mask[2, 2] = False
    counts = mask[:, ::-1] if settings.get("go_backwards") else mask
    wanted = np.asarray(twin(X, mask=mask)[0].detach()) * counts[:, :, None]
    np.testing.assert_allclose(model.layers[-1](X, mask=mask), wanted, rtol=1e-5, atol=1e-6)
    for ending in (".keras", ".h5", ".npz"):
        file = tmp_path / f"model{ending}"
        model.save(file)
        if ending != ".npz":
            theirs = keras.saving.load_model(file, compile=False)
            np.testing.assert_allclose(theirs.predict(X, verbose=0), y, atol=1e-6)
            theirs.save(file)
        np.testing.assert_allclose(load_model(file).predict(X, verbose=0), y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_their_gradients(name, drop):
    cls, settings = LAYERS[name]
    y = np.eye(3)[[0, 1, 2]]
    recurrent = cls(3, dropout=drop, recurrent_dropout=drop, **settings)
    model = Sequential([Input((4, 4)), Masking(), Bidirectional(recurrent), Dense(3, activation="softmax")])
    model.compile("sgd", "categorical_crossentropy")
    padded = X[:, :4].copy()
    padded[1, 2:] = 0
    assert check_gradients(model, padded, y).ok


def test_states_go_in_and_on():
    """A sequence in two halves, whose second begins in the state behind the first, is the whole one."""
    whole = LSTM(5, activation="elu", return_state=True, return_sequences=True)
    y, h, c = whole(X)
    first = LSTM(5, activation="elu", return_state=True)
    first(X[:, :3])
    first.set_weights(whole.get_weights())
    state = first(X[:, :3])[1:]
    second = LSTM(5, activation="elu", return_state=True)
    second(X[:, 3:], initial_state=state)
    second.set_weights(whole.get_weights())
    for part, wanted in zip(second(X[:, 3:], initial_state=state), (y[:, -1], h, c), strict=True):
        np.testing.assert_allclose(part, wanted, atol=1e-6)
    stateful = LSTM(5, activation="elu", stateful=True)
    stateful(X[:, :3])
    stateful.reset_states()
    stateful.set_weights(whole.get_weights())
    stateful(X[:, :3])
    np.testing.assert_allclose(stateful(X[:, 3:]), y[:, -1], atol=1e-6)


@pytest.mark.parametrize("activation", ["tanh", "elu"])
def test_a_mask_counts_for_the_sequences_where_states_come_with_them(activation):
    x, h = X.copy(), np.ones((3, 5), np.float32)
    x[1, 4:] = 0
    layer = GRU(5, activation=activation)
    y = layer([x, h], mask=np.any(x, axis=-1))
    np.testing.assert_allclose(y[0], layer([X[:1], h[:1]])[0], atol=1e-6)
    np.testing.assert_allclose(y[1], layer([X[1:2, :4], h[:1]])[0], atol=1e-6)


def test_functions_of_ones_own_and_cells():
    def leaky(x):
        return np.maximum(x, 0.1 * x)

    plain, own = (SimpleRNN(5, activation=activation) for activation in ("linear", leaky))
    own(X[:, :1])
    plain(X[:, :1])
    plain.set_weights(own.get_weights())
    np.testing.assert_allclose(own(X[:, :1]), leaky(plain(X[:, :1])), atol=1e-6)
    layer, cell = GRU(5, activation=elu), RNN(LSTMCell(5, activation="relu"))
    assert layer.get_config()["activation"] == "elu" and layer(X).shape == (3, 5)
    y, alone = cell(X), LSTM(5, activation="relu")
    alone(X)
    alone.set_weights(cell.get_weights())
    np.testing.assert_array_equal(alone(X), y)


@pytest.mark.parametrize("name", [*LAYERS, "lstm of keras 2", "both ways"])
def test_onnx_has_them_too(name, tmp_path):
    pytest.importorskip("onnxruntime")
    from test_onnx import run

    if name == "lstm of keras 2":
        model = Sequential([Input((6, 4)), LSTM(5, activation="softplus", recurrent_activation="keras2_hard_sigmoid")])
    elif name == "both ways":
        model = Sequential([Input((6, 4)), Bidirectional(GRU(5, activation="leaky_relu", recurrent_activation="hard_sigmoid"))])
    else:
        model = network(name)
    if name == "simple, linear":
        with pytest.raises(ValueError, match=r"ONNX's RNN knows the activations \['elu', .*\], got \['linear'\]"):
            export_onnx(model, tmp_path / "m.onnx")
        return
    y = model.predict(X, verbose=0)
    export_onnx(model, tmp_path / "m.onnx")
    np.testing.assert_allclose(run(tmp_path / "m.onnx", X)[0], y, atol=1e-5)
    again = import_onnx(tmp_path / "m.onnx")
    found = again(np.transpose(X, again.onnx_orders["inputs"][0]))
    np.testing.assert_allclose(np.transpose(found, np.argsort(again.onnx_orders["outputs"][0])), y, atol=1e-5)


def test_pytorch_has_none_of_them(tmp_path):
    with pytest.raises(ValueError, match=r"gru.*: PyTorch's module computes tanh \(and sigmoid, reset_after=True\), got 'tanh'"):
        save_torch(network("older gru"), tmp_path / "m.pt")
    with pytest.raises(ValueError, match="got 'relu' and 'sigmoid'; exchange the model as"):
        save_torch(network("lstm relu"), tmp_path / "m.pt")
    assert not list(tmp_path.iterdir())


def as_keras_2(model, version="2.2.4"):
    """The description of a network as Keras 2 wrote it."""
    layers = [{"class_name": type(l).__name__, "config": {"name": l.name, **described(l)}} for l in model.layers]
    layers[0]["config"]["batch_input_shape"] = [None, *model.input_shape[1:]]
    return {"class_name": "Sequential", "config": layers, "keras_version": version}


def described(layer):
    keep = ("units", "activation", "recurrent_activation", "return_sequences", "use_bias", "reset_after")
    return {key: value for key, value in layer.get_config().items() if key in keep}


@pytest.mark.parametrize("version", ["2.2.4", "3.6.0"])
def test_words_of_keras_2_keep_their_meaning(version, tmp_path):
    h5py = pytest.importorskip("h5py")
    model = Sequential([
        Input((6, 4)), LSTM(5, recurrent_activation="hard_sigmoid", return_sequences=True),
        GRU(4, recurrent_activation="hard_sigmoid", reset_after=False), Dense(3), Activation("hard_sigmoid"),
    ])  # fmt: skip
    old = as_keras_2(model, version)
    del old["config"][1]["config"]["reset_after"]
    if version == "3.6.0":
        old["config"][1]["config"]["reset_after"] = False
    for found in (model_from_json(json.dumps(old)), _by_file(h5py, old, model, tmp_path / "old.h5", version)):
        found.set_weights(model.get_weights())
        assert not found.layers[1].reset_after
        last = found.layers[-1](np.array([[-2.6, -1.0, 2.6]], np.float32))
        np.testing.assert_allclose(last, [[0, 0.3, 1]] if version < "3" else [[0.4 / 6, 1 / 3, 5.6 / 6]], atol=1e-6)
        same = np.allclose(found.predict(X, verbose=0), model.predict(X, verbose=0), atol=1e-5)
        assert same == (version >= "3")
    if version < "3":
        with pytest.raises(ValueError, match="Keras 3 does not have the activation keras2_hard_sigmoid; save to"):
            found.save(tmp_path / "m.keras")


def _by_file(h5py, description, model, file, version):
    model.save(file)
    with h5py.File(file, "r+") as written:
        written.attrs["keras_version"] = version
        written.attrs["model_config"] = json.dumps(description)
    return load_model(file)


def test_weights_of_the_older_form_fit_the_older_form(tmp_path):
    model, other = network("older gru"), Sequential([Input((6, 4)), GRU(5)])
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ValueError, match=r"\(15,\)"):
        load_keras_weights(other, tmp_path / "m.weights.h5")
