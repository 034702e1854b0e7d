"""Functions of values in Keras's files: what is written between layers, `x / 127.5 - 1`, is an operation there."""

import json

import numpy as np
import pytest

from minitl import Model, activations
from minitl.interop.keras_description import described as keras_described
from minitl.layers import Input
from minitl.models import load_model, model_from_json

pytest.importorskip("h5py", reason="interchange needs the extra interop")
ROW, SQUARE = np.arange(1, 7, dtype=np.float32), np.arange(36, dtype=np.float32).reshape(6, 6) / 36


def close(a, b):
    return np.allclose(a, b, rtol=1e-5, atol=1e-5)


FUNCTIONS_OF_VALUES = {
    "add": lambda v: v + 1, "subtract from": lambda v: 1 - v, "divide": lambda v: 2 / (v + ROW), "power": lambda v: v**2,
    "matmul": lambda v: v @ SQUARE, "exp": np.exp, "mean": lambda v: np.mean(v, 1, keepdims=True), "sum": lambda v: np.sum(v, -1),
    "amin": lambda v: np.amin(v, axis=1), "var": lambda v: np.var(v, axis=1), "one": lambda v: v[:, 1],
    "new axis": lambda v: v[:, None],
    "pieces": lambda v: v[:, ::2, 1:3], "ellipsis": lambda v: v[..., 0], "reshape": lambda v: np.reshape(v, (-1, 24)),
    "transpose": lambda v: np.transpose(v, (0, 2, 1)), "swapaxes": lambda v: np.swapaxes(v, 1, 2),
    "moveaxis": lambda v: np.moveaxis(v, 1, 2), "expand": lambda v: np.expand_dims(v, -1),
    "squeeze": lambda v: np.squeeze(v[:, :1], 1),
    "concatenate": lambda v: np.concatenate([v, v * ROW], 1), "stack": lambda v: np.stack([v, v * 2], axis=1),
    "clip": lambda v: np.clip(v, 0.2, 0.5), "where": lambda v: np.where(v > 0.5, v, -v), "tile": lambda v: np.tile(v, (1, 2, 1)),
    "repeat": lambda v: np.repeat(v, 2, axis=1), "roll": lambda v: np.roll(v, 1, axis=1), "flip": lambda v: np.flip(v, axis=1),
    "cumsum": lambda v: np.cumsum(v, axis=1), "take": lambda v: np.take(v, np.array([0, 2]), axis=1),
    "take, axis by its place": lambda v: np.take(v, np.array([0, 2]), 1),
    "tensordot": lambda v: np.tensordot(v, SQUARE, axes=([2], [0])), "round": lambda v: np.round(10 * v, 1),
    "argmax": lambda v: np.argmax(v, axis=-1), "relu": lambda v: activations.relu(v - 0.5), "gelu": activations.gelu,
    "softmax": activations.softmax, "selu": activations.selu, "elu": lambda v: activations.elu(v - 0.5, 0.7),
    "leaky relu": lambda v: activations.leaky_relu(v - 0.5, 0.3), "gelu by tanh": lambda v: activations.gelu(v, approximate=True),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS_OF_VALUES)
def test_functions_of_values_are_operations_in_keras_s_files(name, tmp_path):
    x, file = Input((4, 6)), tmp_path / "ours.keras"
    ours, numbers = (
        Model(x, FUNCTIONS_OF_VALUES[name](x)),
        np.random.default_rng(0).uniform(0.1, 0.9, (3, 4, 6)).astype("float32"),
    )
    ours.save(file)
    y = ours.predict(numbers)
    assert np.array_equal(load_model(file).predict(numbers), y)
    pytest.importorskip("torch")
    assert close(pytest.importorskip("keras").saving.load_model(file).predict(numbers, verbose=0), y)


@pytest.mark.parametrize(
    "function", [lambda v: np.linalg.norm(v, axis=1), lambda v: np.average(v, 1), lambda v: activations.relu(v, 0.1, 0.5)]
)
def test_functions_of_values_that_keras_writes_otherwise_are_refused(function, tmp_path):
    x = Input((4, 6))
    with pytest.raises(ValueError, match=r"Keras has no operation '.*' as it is used here"):
        Model(x, function(x)).save(tmp_path / "ours.keras")
    assert not list(tmp_path.iterdir())


OF_KERAS = {
    "split": lambda ops, v: ops.split(v, 2, axis=-1)[1], "moments": lambda ops, v: ops.moments(v, axes=[1])[1],
    "log_softmax": lambda ops, v: ops.log_softmax(v), "normalize": lambda ops, v: ops.normalize(v),
    "pad": lambda ops, v: ops.pad(v, ((0, 0), (1, 2), (0, 1))),
    "pad with": lambda ops, v: ops.pad(v, ((0, 0), (0, 0), (2, 0)), "constant", 0.5),
    "top_k": lambda ops, v: ops.top_k(v, 2)[0], "rsqrt": lambda ops, v: ops.rsqrt(v), "softsign": lambda ops, v: ops.softsign(v),
    "mod": lambda ops, v: ops.mod(v, 0.3), "log_sigmoid": lambda ops, v: ops.log_sigmoid(v),
    "gelu": lambda ops, v: ops.gelu(v), "logsumexp": lambda ops, v: ops.logsumexp(v, axis=-1),
    "sort": lambda ops, v: ops.sort(v, axis=1),
}  # fmt: skip


def test_a_file_cannot_call_what_is_no_operation(tmp_path):
    x = Input((4, 6))
    model = Model(x, np.exp(x))
    described = json.loads(json.dumps(keras_described(model)))
    for name in ("SetFloatx", "ClearSession", "Function", "OneHot", "Linspace", "System"):
        described["config"]["layers"][1]["class_name"] = name
        with pytest.raises(ValueError, match=f"unknown operation of Keras '{name}'"):
            model_from_json(json.dumps(described))


@pytest.mark.parametrize(
    ("name", "settings"),
    [("Cast", {"dtype": "S9"}), ("Cast", {}), ("AveragePool", {"pool_size": 0}), ("Tril", {"k": 10**30}), ("Glu", {"axis": 9})],
)
def test_settings_that_no_program_writes_are_one_error(name, settings):
    x = Input((4, 6))
    described = json.loads(json.dumps(keras_described(Model(x, np.exp(x)))))
    described["config"]["layers"][1].update(class_name=name, config={"name": "made", **settings})
    with pytest.raises(ValueError, match=r"cast: values are real numbers|operation '.*' with"):
        model_from_json(json.dumps(described))


@pytest.mark.parametrize("name", OF_KERAS)
def test_operations_that_are_made_of_others_are_read(name, tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    x = keras.Input((4, 6))
    theirs = keras.Model(x, OF_KERAS[name](keras.ops, x))
    numbers = np.random.default_rng(0).uniform(0.1, 0.9, (3, 4, 6)).astype("float32")
    theirs.save(tmp_path / "theirs.keras")
    y = theirs.predict(numbers, verbose=0)
    ours = load_model(tmp_path / "theirs.keras")
    assert ours.output_shape == (None, *y.shape[1:]) and close(ours.predict(numbers), y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_a_base_behind_its_preprocessing_comes_from_keras_and_goes_back(mode, tmp_path):
    """The model of Keras's tutorials: random layers, preprocessing written out, a frozen base, a new head."""
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    k = keras.layers
    images, inner = keras.Input((16, 16, 3)), keras.Input((16, 16, 3))
    base = keras.Model(inner, k.ReLU(6.0)(k.BatchNormalization()(k.Conv2D(4, 3)(inner))), name="base")
    base.trainable = False
    x = keras.applications.imagenet_utils.preprocess_input(keras.Sequential([k.RandomFlip("horizontal")])(images), mode=mode)
    x = k.Dropout(0.2)(k.GlobalAveragePooling2D()(base(x, training=False)))
    theirs = keras.Model(images, k.Dense(2, activation="softmax")(x))
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    y = np.asarray(theirs.predict(pixels, verbose=0))
    for ending in (".keras", ".h5"):
        theirs.save(tmp_path / f"theirs{ending}")
        ours = load_model(tmp_path / f"theirs{ending}")
        assert close(ours.predict(pixels), y) and len(ours.trainable_weights) == 2
    ours.save(tmp_path / "ours.keras")
    assert close(keras.saving.load_model(tmp_path / "ours.keras").predict(pixels, verbose=0), y)
