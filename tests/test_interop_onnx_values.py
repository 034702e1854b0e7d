"""Functions of values in ONNX files: what ONNX Runtime computes, and what comes back, beside our own."""

import numpy as np
import pytest

import minitl
from minitl import activations, ops
from minitl.interop import export_onnx, import_onnx
from minitl.layers import Conv2D, Dense, Embedding, Input
from minitl.models import Model, Sequential

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is installed for the parity tests")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4, 5, 6)).astype("float32")
ROW, MATRIX = RNG.normal(size=6).astype("float32"), RNG.normal(size=(6, 2)).astype("float32")
FUNCTIONS = {
    "steps": lambda x: x[:, 1:3],
    "steps backwards and from the end": lambda x: x[:, ::-1, 1::2, -3:],
    "every second, backwards": lambda x: x[:, -1:0:-2],
    "one place": lambda x: x[:, 0],
    "two places": lambda x: x[:, 1, -2],
    "the last place": lambda x: x[:, :, -1],
    "a place of NumPy's": lambda x: x[:, np.int64(2)],
    "a new axis in front of a place": lambda x: x[:, None, 0],
    "a new axis behind a place": lambda x: x[:, 0, None],
    "a new axis at the end": lambda x: x[..., None],
    "three dots": lambda x: x[:, ..., 2:4, None, 1],
    "listed places": lambda x: x[:, :, np.array([0, 2, 2])],
    "listed places behind dots": lambda x: x[..., 1:, [1, 0]],
    "mean": lambda x: np.mean(x, axis=(1, 2)),
    "mean that keeps its axis": lambda x: np.mean(x, axis=-1, keepdims=True),
    "average": lambda x: np.average(x, axis=1),
    "sum": lambda x: np.sum(x, axis=1),
    "max": lambda x: np.max(x, axis=2),
    "min": lambda x: np.min(x, axis=(2, 3)),
    "amax": lambda x: np.amax(x, 1),
    "amin": lambda x: np.amin(x, 1),
    "prod": lambda x: np.prod(x, axis=1),
    "var": lambda x: np.var(x, axis=1),
    "std": lambda x: np.std(x, axis=(1, 3), keepdims=True),
    "norm": lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True),
    "any": lambda x: np.any(x > 1.5, axis=1),
    "all": lambda x: np.all(x > -1, axis=-1),
    "count_nonzero": lambda x: np.count_nonzero(x > 0, axis=2),
    "argmax": lambda x: np.argmax(x, axis=-1),
    "argmin": lambda x: np.argmin(x, axis=1),
    "argsort": lambda x: np.argsort(x, axis=2),
    "cumsum": lambda x: np.cumsum(x, axis=2),
    "top_k": lambda x: ops.top_k(x, 2)[0],
    "sort": lambda x: ops.sort(x, axis=1),
    "concatenate": lambda x: np.concatenate([x, x * 2], axis=1),
    "stack": lambda x: np.stack([x, -x], axis=2),
    "concatenate samples": lambda x: x + np.concatenate([x * 2, x])[0],
    "stack at the end": lambda x: np.stack([x, x + 1], axis=-1),
    "transpose": lambda x: np.transpose(x, (0, 3, 1, 2)),
    "swapaxes": lambda x: np.swapaxes(x, 1, -1),
    "moveaxis": lambda x: np.moveaxis(x, 1, 3),
    "moveaxis of two": lambda x: np.moveaxis(x, (1, 2), (3, 1)),
    "matmul": lambda x: np.matmul(x, np.swapaxes(x, 2, 3)),
    "matmul with a constant": lambda x: x @ MATRIX,
    "dot": lambda x: np.dot(x, MATRIX),
    "einsum": lambda x: np.einsum("bijk, bijl -> bikl", x, x),
    "einsum with a constant": lambda x: np.einsum("bijk,kl->bijl", x, MATRIX),
    "tensordot": lambda x: np.tensordot(x, MATRIX, axes=1),
    "tensordot of named axes": lambda x: np.tensordot(x, MATRIX, axes=([3], [0])),
    "where": lambda x: np.where(x > 0, x, x * 0.1),
    "where of constants": lambda x: np.where(x > 0, 1.0, ROW),
    "clip": lambda x: np.clip(x, -0.5, 0.5),
    "clip above": lambda x: np.clip(x, None, 0.5),
    "comparisons": lambda x: np.equal(x, x) + 2 * (x < 0) + 4 * (x >= 0.3) + 8 * (x <= 0.1) + 16 * (x > 1),
    "not_equal": lambda x: np.not_equal(x, np.round(x)) + 2 * np.not_equal(x, x),
    "logic": lambda x: np.logical_and(x > 0, x < 1) + 2 * np.logical_or(x > 1, x < -1) + 4 * np.logical_not(x > 0),
    "isfinite": lambda x: np.isfinite(x) + 2 * np.isnan(x) + 4 * np.isinf(x / np.round(x)),
    "logaddexp": lambda x: np.logaddexp(30 * x, -2 * x),
    "logarithms": lambda x: np.log1p(np.absolute(x)) + np.log2(x * x + 1) + np.log10(x * x + 1) - np.log(x * x + 2),
    "exponentials": lambda x: np.exp(x) + 2 * np.expm1(x) + 3 * np.sqrt(np.fabs(x)) + 4 * np.negative(x) - np.positive(x),
    "circles": lambda x: np.sin(x) + 2 * np.cos(x) + 3 * np.tan(0.3 * x) + 4 * np.arctan(x) + np.arccos(np.tanh(x)),
    "hyperbolas": lambda x: np.sinh(x) + 2 * np.cosh(x) + 3 * np.arcsinh(x) + np.arccosh(x * x + 1) + np.arctanh(np.sin(x) / 2),
    "inverse sine": lambda x: np.arcsin(np.sin(x) / 2),
    "whole numbers": lambda x: np.floor(x) + 2 * np.ceil(3 * x) + 4 * np.trunc(5 * x) + 8 * np.sign(x) + 16 * np.rint(2 * x),
    "floor_divide": lambda x: np.floor_divide(x, 0.7),
    "powers": lambda x: np.absolute(x) ** 1.5 + 2.0**x + np.square(x),
    "quotients": lambda x: x / (x * x + 1) + 1 / (2 + x * x) + np.reciprocal(x * x + 3),
    "constants on both sides": lambda x: (x - ROW) * ROW + (ROW - x) / (1 + ROW * ROW),
    "larger and smaller": lambda x: np.maximum(x, 0.3) - np.minimum(x, ROW),
    "reshape": lambda x: np.reshape(x, (-1, 20, 6)),
    "reshape to rows": lambda x: np.reshape(x, (-1, 120)),
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "squeeze": lambda x: np.squeeze(x[:, :1], axis=1),
    "squeeze of all": lambda x: np.squeeze(x[:, :1, :, :1]),
    "tile": lambda x: np.tile(x, (1, 2, 1, 3)),
    "tile of the last axis": lambda x: np.tile(x, 2),
    "repeat": lambda x: np.repeat(x, 3, axis=2),
    "flip": lambda x: np.flip(x, axis=(1, 3)),
    "take": lambda x: np.take(x, [0, 2], axis=1),
    "take_along_axis": lambda x: np.take_along_axis(x, np.argsort(-x, axis=2), 2),
    "take of one": lambda x: np.take(x, np.array(2), axis=1),
    "roll": lambda x: np.roll(x, 1, axis=1) + 2 * np.roll(x, -2, axis=2) + 4 * np.roll(x, 0, axis=1),
    "the same everywhere": lambda x: np.zeros_like(x) + 2 * np.ones_like(x) + np.full_like(x, 5.0),
    "relu": activations.relu,
    "relu with all its settings": lambda x: activations.relu(x, 0.1, 2.0, 0.3),
    "leaky_relu": lambda x: activations.leaky_relu(x, 0.3),
    "elu": lambda x: activations.elu(x, alpha=0.5),
    "selu": activations.selu,
    "softmax": activations.softmax,
    "gelu": activations.gelu,
    "gelu by tanh": lambda x: activations.gelu(x, approximate=True),
    "silu, sigmoid and softplus": lambda x: activations.silu(x) + 2 * activations.sigmoid(x) + 4 * activations.softplus(x),
    "split": lambda x: ops.split(x, 2, axis=1)[1],
}  # fmt: skip


def in_runtime(path, x):
    session = onnxruntime.InferenceSession(str(path))
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("opset", [17, 21])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_values_are_operators(name, opset, tmp_path):
    minitl.set_random_seed(0)
    images = Input((4, 5, 6))
    for below in (images, Conv2D(6, 1)(images)):  # whose channels stand last in the file, and first
        model = Model(images, FUNCTIONS[name](below))
        y = model.predict(X)
        export_onnx(model, tmp_path / "m.onnx", opset=opset)
        made = in_runtime(tmp_path / "m.onnx", X)
        assert made.shape == y.shape
        np.testing.assert_allclose(made, y, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(in_runtime(tmp_path / "m.onnx", X[:1]), y[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["one place", "mean", "where", "matmul with a constant", "reshape to rows", "gelu by tanh"])
def test_they_come_back(name, tmp_path):
    images = Input((4, 5, 6))
    h = FUNCTIONS[name](Conv2D(6, 1)(images))
    model = Model(images, Dense(2)(np.reshape(h, (-1, int(np.prod(h.shape[1:]))))))
    export_onnx(model, tmp_path / "m.onnx")
    np.testing.assert_allclose(import_onnx(tmp_path / "m.onnx").predict(X), model.predict(X), rtol=1e-4, atol=1e-5)


def test_whole_numbers_that_come_in(tmp_path):
    words = Input((7,), dtype="int32")
    model = Model(
        words, Embedding(10, 3)(words) * np.expand_dims(words > 4, -1) + np.mean(words, axis=1, keepdims=True)[..., None]
    )
    x = RNG.integers(0, 10, (4, 7)).astype("int32")
    export_onnx(model, tmp_path / "m.onnx")
    np.testing.assert_allclose(in_runtime(tmp_path / "m.onnx", x), model.predict(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("arctan2", lambda x: np.arctan2(x, 2.0)),
        ("getitem", lambda x: x[:, [0, 1], [1, 2]]),
        ("getitem", lambda x: x[:, 0, [1, 2]]),
        ("argmax", lambda x: x * np.argmax(x)),
        ("average", lambda x: np.average(x, axis=3, weights=ROW)),
        ("var", lambda x: np.var(x, axis=1, ddof=1)),
        ("norm", lambda x: x / np.linalg.norm(x)),
        ("roll", lambda x: np.roll(x, (1, 2), axis=(1, 2))),
        ("round", lambda x: np.round(x, 1)),
        ("round", lambda x: np.round(x, 0, None)),
        ("take", lambda x: np.take(x, [0], 1, None)),
    ],
)  # fmt: skip
def test_what_has_no_operator_is_refused_by_its_name(name, function, tmp_path):
    images = Input((4, 5, 6))
    with pytest.raises(
        ValueError, match=rf"{name} as it is used here is not written to ONNX; cut the model below it, or use a layer"
    ):
        export_onnx(Model(images, function(images)), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_transformer_of_functions(tmp_path):
    """Attention written out, as programs of transformers have it, with a learnt word in front."""
    minitl.set_random_seed(0)
    steps = Input((6, 8))
    h = np.concatenate([np.mean(steps, axis=1, keepdims=True), steps], axis=1)
    q, k, v = (np.transpose(np.reshape(Dense(8)(h), (-1, 7, 2, 4)), (0, 2, 1, 3)) for _ in range(3))
    attended = activations.softmax(np.matmul(q, np.swapaxes(k, -1, -2)) / 2.0) @ v
    h = h + Dense(8)(np.reshape(np.transpose(attended, (0, 2, 1, 3)), (-1, 7, 8)))
    model = Model(steps, Sequential([Dense(3, activation="softmax")])(h[:, 0]))
    x = RNG.normal(size=(5, 6, 8)).astype("float32")
    export_onnx(model, tmp_path / "m.onnx")
    np.testing.assert_allclose(in_runtime(tmp_path / "m.onnx", x), model.predict(x), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(import_onnx(tmp_path / "m.onnx").predict(x), model.predict(x), rtol=1e-4, atol=1e-6)


OPERATORS = {
    "//": lambda x: x // 0.7 + 3.0 // (x * x + 1),
    "%": lambda x: x % 0.7 + 2.5 % (x * x + 1),
    "&": lambda x: (x > 0) & (x < 1),
    "|": lambda x: (x > 1) | (x < -1),
    "~": lambda x: ~(x > 0),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_python_s_operators_between_values(name, tmp_path):
    keras = pytest.importorskip("keras")
    function, images = OPERATORS[name], Input((4, 5, 6))
    model = Model(images, 1.0 * function(images))
    y = model.predict(X)
    np.testing.assert_allclose(y, function(X), rtol=1e-4, atol=1e-5)
    twin = keras.Input((4, 5, 6))
    theirs = keras.Model(twin, keras.ops.cast(function(twin), "float32"))
    np.testing.assert_allclose(y, theirs.predict(X, verbose=0), rtol=1e-4, atol=1e-5)
    export_onnx(model, tmp_path / "m.onnx")
    np.testing.assert_allclose(in_runtime(tmp_path / "m.onnx", X), y, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "m.npz")
    np.testing.assert_array_equal(minitl.models.load_model(tmp_path / "m.npz").predict(X), y)
