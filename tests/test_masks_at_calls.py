"""Masks that a program gives: `layer(x, mask=mask)` leaves out the steps where it is false, as in Keras, also in files."""

import inspect

import numpy as np
import pytest
from there_and_back import there_and_back

from minitl import layers
from minitl.gradcheck import check_gradients
from minitl.interop import export_onnx
from minitl.interop.keras_architecture import rebuilt
from minitl.layers import Attention, Input
from minitl.models import Model, load_model

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(4, 6, 3)).astype(np.float32)
MASK = np.array([[1, 1, 1, 1, 0, 0], [1, 0, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]], bool)
GIVEN = {
    "x": X, "z": X[::-1] * 0.7, "m": MASK, "n": MASK[:, ::-1].copy(), "w": np.where(MASK, np.arange(6) % 5 + 1, 0),
}  # fmt: skip

# Two sequences and two masks by their names in GIVEN; l is `minitl.layers` or `keras.layers`.
CASES = {
    "LSTM": lambda l, x, m: l.LSTM(3)(x, mask=m),
    "GRU, all steps": lambda l, x, m: l.GRU(3, return_sequences=True)(x, mask=m),
    "SimpleRNN backwards": lambda l, x, m: l.SimpleRNN(3, go_backwards=True)(x, mask=m),
    "both ways": lambda l, x, m: l.Bidirectional(l.LSTM(3, return_sequences=True))(x, mask=m),
    "mean": lambda l, x, m: l.GlobalAveragePooling1D()(x, mask=m),
    "mean behind a dense": lambda l, x, m: l.GlobalAveragePooling1D()(l.Dense(4, activation="tanh")(x), mask=m),
    "another one behind": lambda l, x, m: l.LSTM(2)(l.GRU(3, return_sequences=True)(x, mask=m), mask=m),
    "with a state": lambda l, x, z, m, n: l.GRU(3)(x, initial_state=l.Dense(3)(l.GlobalAveragePooling1D()(z, mask=n)), mask=m),
    "one without": lambda l, x, z, m: l.Concatenate()([l.LSTM(2)(x, mask=m), l.LSTM(2)(z)]),
    "attention": lambda l, x, z, m, n: l.Attention()([x, z], mask=[m, n]),
    "attention, values alone": lambda l, x, z, n: l.Attention(use_scale=True)([x, z], mask=[None, n]),
    "attention, queries alone": lambda l, x, z, m: l.Attention()([x, z], mask=[m, None]),
    "attention, keys": lambda l, x, z, m, n: l.Attention()([x, z, l.Dense(3)(z)], mask=[m, n]),
    "attention, three masks": lambda l, x, z, m, n: l.Attention()([x, z, l.Dense(3)(z)], mask=[m, n, m]),
    "attention, not to the future": lambda l, x, z, m: l.Attention()([x, z], mask=[None, m], use_causal_mask=True),
    "additive attention": lambda l, x, z, m, n: l.AdditiveAttention()([x, z], mask=[m, n]),
    "shares": lambda l, x, m: l.Softmax()(l.Reshape((6,))(l.Dense(1)(x)), mask=m),
    "shares of steps": lambda l, x, m: l.Softmax(axis=1)(x, mask=l.Reshape((6, 1))(m)),
}
STEPWISE = (layers.LSTM, layers.GRU, layers.SimpleRNN, layers.Bidirectional)


def names_in(case):
    return list(inspect.signature(case).parameters)[1:]


@pytest.mark.parametrize("name", CASES)
def test_as_in_keras_and_in_files(name, tmp_path):
    keras = pytest.importorskip("keras")
    data = [GIVEN[each] for each in names_in(CASES[name])]

    def model_of(its, kind, made_by):
        inputs = [its(part.shape[1:], dtype=str(part.dtype)) for part in data]
        return kind(inputs, CASES[name](made_by, *inputs))

    theirs, ours = model_of(keras.Input, keras.Model, keras.layers), model_of(Input, Model, layers)
    weights = [RANDOM.normal(size=w.shape) / 2 for w in theirs.weights]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    expected = np.asarray(theirs.predict(data, verbose=0))

    def same(model):
        np.testing.assert_allclose(np.asarray(model.predict(data, verbose=0)), expected, atol=2e-6)

    same(ours)
    there_and_back(ours, theirs, tmp_path, same)
    onnxruntime = pytest.importorskip("onnxruntime")
    if any(isinstance(layer, STEPWISE) for layer in ours.layers):
        return  # which ONNX takes with padding at the end alone; MASK has some in the middle
    export_onnx(ours, tmp_path / "ours.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "ours.onnx")
    fed = {entry.name: part for entry, part in zip(session.get_inputs(), data, strict=True)}
    np.testing.assert_allclose(session.run(None, fed)[0], expected, atol=2e-6)


@pytest.mark.parametrize("name", ["GRU, all steps", "both ways", "mean", "attention", "additive attention"])
def test_the_mask_is_of_the_call(name):
    """On arrays as in a network; and the next call leaves nothing out, not even steps of zeros."""
    names = names_in(CASES[name])
    made = []

    class Kept:
        """`minitl.layers` with one layer of each class."""

        def __getattr__(self, kind):
            def of(*args, **kwargs):
                known = [layer for layer in made if type(layer).__name__ == kind]
                made.extend([] if known else [getattr(layers, kind)(*args, **kwargs)])
                return known[0] if known else made[-1]

            return of

    data = [GIVEN[each] for each in names]
    masked = CASES[name](Kept(), *data)
    ones = [np.ones_like(each) if each.dtype == bool else each for each in data]
    zeros = [np.where(MASK[..., None], each, 0) if each.ndim == 3 else each for each in ones]
    everything = CASES[name](Kept(), *zeros)
    sequences = [each for each in zeros if each.ndim == 3]
    assert made[-1](sequences if made[-1].takes_several else zeros[0]) == pytest.approx(everything, abs=1e-6)
    inputs = [Input(part.shape[1:], dtype=str(part.dtype)) for part in data]
    network = Model(inputs, CASES[name](Kept(), *inputs))
    assert network.predict(data, verbose=0) == pytest.approx(masked, abs=1e-6)
    report = check_gradients(network, data)
    assert report.ok and not report.findings, str(report)


# Files of Keras in which recurrent layers repeat themselves at steps that are left out, and masks that numbers of words make.
READ = {
    "other steps behind": lambda l, x, m, n: l.LSTM(2)(l.GRU(3, return_sequences=True)(x, mask=m), mask=n),
    "the same steps behind": lambda l, x, m: l.LSTM(2)(l.GRU(3, return_sequences=True)(x, mask=m)),
    "all steps, looked at": lambda l, x, m: l.Dense(2)(l.Flatten()(l.GRU(3, return_sequences=True)(x, mask=m))),
    "the largest": lambda l, x, m: l.GlobalMaxPooling1D()(l.GRU(3, return_sequences=True)(x, mask=m)),
    "the steps of queries behind": lambda l, x, m, n: l.GlobalAveragePooling1D()(l.Attention()([x, l.Dense(3)(x)], mask=[m, n])),
    "words and a mask": lambda l, w, n: l.LSTM(2)(l.Embedding(6, 3, mask_zero=True)(w), mask=n),
    "a mask of words": lambda l, w: l.LSTM(2)(l.Embedding(6, 3)(w), mask=w != 0),
}
REFUSED = {
    "BatchNormalization": lambda l, x, m: l.BatchNormalization()(x, mask=m),
    "TimeDistributed": lambda l, x, m: l.TimeDistributed(l.Dense(2))(x, mask=m),
    "is called with query_mask": lambda l, x, m: l.MultiHeadAttention(1, 2)(x, x, query_mask=m),
}


@pytest.mark.parametrize("name", [*READ, *REFUSED])
def test_files_of_keras(name, tmp_path):
    keras = pytest.importorskip("keras")
    case = {**READ, **REFUSED}[name]
    data = [GIVEN[each] for each in names_in(case)]
    inputs = [keras.Input(part.shape[1:], dtype="int32" if part.dtype.kind == "i" else str(part.dtype)) for part in data]
    model = keras.Model(inputs, case(keras.layers, *inputs))
    model.save(tmp_path / "theirs.keras")
    if name in REFUSED:
        with pytest.raises(ValueError, match=name):
            load_model(tmp_path / "theirs.keras")
        return
    model.save(tmp_path / "theirs.h5")
    for file in ("theirs.keras", "theirs.h5"):
        y = load_model(tmp_path / file).predict(data, verbose=0)
        np.testing.assert_allclose(y, np.asarray(model.predict(data, verbose=0)), atol=1e-6)


@pytest.mark.parametrize("name", ["LSTM", "mean", "attention", "attention, values alone"])
def test_files_of_keras_2(name):
    """Its nodes are [[layer, node, tensor, {"mask": ...}], ...]."""
    names = names_in(CASES[name])
    inputs = {each: Input(GIVEN[each].shape[1:], dtype=str(GIVEN[each].dtype), name=each) for each in names}
    ours = Model(list(inputs.values()), CASES[name](layers, *inputs.values()))
    layer = ours.layers[-1]
    masks = [[each, 0, 0] if each in names else None for each in "mn"]
    mask = masks if isinstance(layer, Attention) else masks[0]
    entries = [
        {
            "class_name": "InputLayer", "name": each, "inbound_nodes": [],
            "config": {"name": each, "batch_input_shape": [None, *GIVEN[each].shape[1:]], "dtype": str(GIVEN[each].dtype)},
        }
        for each in names
    ]  # fmt: skip
    node = [[each, 0, 0, {"mask": mask}] for each in names if each in "xz"]
    config = {key: value for key, value in layer.get_config().items() if key in ("name", "units", "use_scale")}
    entries.append({"class_name": type(layer).__name__, "name": layer.name, "config": config, "inbound_nodes": [node]})
    places = {"input_layers": [[each, 0, 0] for each in names], "output_layers": [[layer.name, 0, 0]]}
    theirs = rebuilt({"class_name": "Functional", "config": {"name": "m", "layers": entries, **places}})
    theirs.set_weights(ours.get_weights())
    data = [GIVEN[each] for each in names]
    y = theirs.predict(data, verbose=0)
    np.testing.assert_allclose(y, ours.predict(data, verbose=0), atol=1e-6)
    of_all = ours.predict([np.ones_like(part) if part.dtype == bool else part for part in data], verbose=0)
    assert np.abs(y - of_all).max() > 1e-3  # the mask makes a difference


def test_a_mask_of_keys_is_the_one_of_values():
    keys = np.where(MASK[..., None], X[::-1], 0)
    layer, other = Attention(), MASK[:, ::-1]
    assert layer([X, X * 0.7, keys], mask=[MASK, other, MASK]) == pytest.approx(layer([X, X * 0.7, keys], mask=[MASK, other]))
    assert np.abs(layer([X, X * 0.7, keys], mask=[MASK, MASK]) - layer([X, X * 0.7, keys], mask=[MASK, other])).max() > 1e-3


def test_masks_that_do_not_fit():
    with pytest.raises(ValueError, match=r"layer Attention: mask must be \[query_mask, value_mask\].* got ndarray"):
        Attention()([X, X], mask=MASK)
    with pytest.raises(TypeError, match="mask"):
        layers.Dense(2)(X, mask=MASK)
