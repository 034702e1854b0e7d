"""Layers along another axis than the last, and along several."""

import numpy as np
import pytest

from minitl.backend import use_backend
from minitl.layers import Dense, Input, LayerNormalization, Normalization, Softmax
from minitl.models import Sequential, load_model

IMAGE = (4, 5, 6)
X = np.random.default_rng(0).standard_normal((3, *IMAGE)).astype(np.float32)


def network(layer):
    """The layer alone, with weights that are not ones and zeros."""
    model = Sequential([Input(IMAGE), layer])
    generator = np.random.default_rng(1)
    model.set_weights([generator.standard_normal(w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("axis", [-1, 3, [3], 1, -2, [1, 2, 3], (-2, -1), [3, 1]])
def test_layer_normalization_is_its_formula(axis, backend):
    axes = tuple(sorted(a % 4 for a in np.atleast_1d(axis)))
    model = network(LayerNormalization(axis=axis, epsilon=0.01))
    gamma, beta = (w.reshape([X.shape[a] if a in axes else 1 for a in range(4)]) for w in model.get_weights())
    mean, variance = X.mean(axes, keepdims=True), X.var(axes, keepdims=True)
    assert model.get_weights()[0].shape == tuple(X.shape[a] for a in axes)
    with use_backend(backend):
        y = model.predict(X)
    np.testing.assert_allclose(y, gamma * (X - mean) / np.sqrt(variance + 0.01) + beta, atol=1e-5)


@pytest.mark.parametrize("axis", [-1, 3, 1, -2])
def test_softmax_is_its_formula(axis):
    e = np.exp(X)
    y = network(Softmax(axis=axis)).predict(X)
    np.testing.assert_allclose(y, e / e.sum(axis, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("layer", [lambda: LayerNormalization(axis=[1, 3]), lambda: Softmax(axis=1)], ids=["norm", "softmax"])
@pytest.mark.parametrize("name", ["m.npz", "m.keras"])
def test_axes_go_to_files_and_back(tmp_path, layer, name):
    if name.endswith("keras"):
        pytest.importorskip("h5py")
    model = network(layer())
    model.save(tmp_path / name)
    np.testing.assert_array_equal(load_model(tmp_path / name).predict(X), model.predict(X))


def test_the_loss_knows_a_softmax_over_the_last_axis_alone():
    last, first = Softmax(axis=3), Softmax(axis=1)
    network(last), network(first)
    assert last.output_activation == "softmax"
    assert first.output_activation != "softmax"


@pytest.mark.parametrize("layer", [Softmax, LayerNormalization])
@pytest.mark.parametrize("axis", [0, 4, -4, -5])
def test_axes_that_are_not_there(layer, axis):
    with pytest.raises(ValueError, match=rf"axis must be .* 1 to 3 .*got {axis}"):
        Sequential([Input(IMAGE), layer(axis=axis)])


@pytest.mark.parametrize("axis", [[1, 1], [], [1, -3]])
def test_no_axis_twice(axis):
    with pytest.raises(ValueError, match="axis must be some of 1 to 3"):
        Sequential([Input(IMAGE), LayerNormalization(axis=axis)])


def test_an_axis_of_open_length():
    with pytest.raises(ValueError, match=r"known lengths along \[1\]"):
        Sequential([Input((None, 5, 6)), LayerNormalization(axis=1)])
    with pytest.raises(ValueError, match="whole number"):
        Softmax(axis=(1, 2))


@pytest.mark.parametrize("layer", [lambda: LayerNormalization(axis=[2, 3]), lambda: Softmax(axis=1)], ids=["norm", "softmax"])
def test_axes_in_onnx(tmp_path, layer):
    onnxruntime = pytest.importorskip("onnxruntime")
    from minitl.interop import export_onnx

    model = Sequential([Input(IMAGE), Dense(3), layer()])
    export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    found = session.run(None, {session.get_inputs()[0].name: X})[0]
    np.testing.assert_allclose(found, model.predict(X), atol=1e-5)
    with pytest.raises(ValueError, match="ONNX normalises the last axes"):
        export_onnx(Sequential([Input(IMAGE), LayerNormalization(axis=[1, 3])]), tmp_path / "n.onnx")


@pytest.mark.parametrize("axis", [-1, 3, (3,), [-1]])
def test_the_last_axis_of_a_normalization_may_be_said_in_any_way(axis):
    x = np.random.default_rng(0).normal(size=(8, 4, 5, 3)).astype(np.float32)
    layer = Normalization(axis=axis)
    layer.adapt(x)
    np.testing.assert_allclose(layer(x), (x - x.mean(axis=(0, 1, 2))) / x.std(axis=(0, 1, 2)), atol=1e-5)
    assert layer.get_config()["axis"] in (-1, 3)
    with pytest.raises(ValueError, match=r"axis must be a whole number, .* got \(1, 2\.5\)"):
        Normalization(axis=(1, 2.5))


def test_means_and_variances_that_are_given_are_no_weights(tmp_path):
    model = Sequential([Input((3,)), Normalization(mean=[1.0, 2.0, 3.0], variance=4.0), Dense(2)])
    assert [w.shape for w in model.get_weights()] == [(3, 2), (2,)]
    with pytest.raises(ValueError, match=r"has its mean and variance; leave them out to adapt it"):
        model.layers[0].adapt(np.ones((2, 3)))
    # Files of before have them as weights. They are the same numbers, or those of another layer.
    former = {"normalization/mean": np.float32([1, 2, 3]), "normalization/variance": np.full(3, 4, np.float32)}
    entries = {"dense/kernel": np.ones((3, 2), np.float32), "dense/bias": np.zeros(2, np.float32)}
    np.savez(tmp_path / "w.npz", **former, **entries)
    model.load_weights(tmp_path / "w.npz")
    np.testing.assert_allclose(model.predict(np.float32([[3, 2, 3]])), [[1, 1]])
    np.savez(tmp_path / "w.npz", **{**former, "normalization/mean": np.float32([1, 2, 4])}, **entries)
    with pytest.raises(ValueError, match=r"1 unexpected in the file \(normalization/mean\)"):
        model.load_weights(tmp_path / "w.npz")


def test_given_means_have_the_precision_of_the_layer():
    model = Sequential([Input((2,)), Normalization(mean=[0.1, 0.2], variance=0.3)]).astype(np.float64)
    x = np.random.default_rng(0).standard_normal((3, 2))
    np.testing.assert_allclose(model.predict(x), (x - [0.1, 0.2]) / np.sqrt(0.3), rtol=1e-14)
