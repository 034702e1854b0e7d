"""Transposed, depthwise and separable convolutions of sequences against Keras's, numerical gradients, and in its files."""

import itertools

import numpy as np
import pytest

from minitl import Input, Sequential, layers
from minitl.gradcheck import check_gradients
from minitl.interop import export_onnx, save_torch
from minitl.models import load_model

X = np.random.default_rng(0).normal(size=(2, 11, 3)).astype(np.float32)
KERNELS = [
    (k, s, p, m, d)
    for k, s, p, m, d in itertools.product((1, 2, 3), (1, 2), ("valid", "same"), (1, 2), (1, 2))
    if s == 1 or d == 1
]
CASES = [
    *(
        ("Conv1DTranspose", {"filters": 4, "kernel_size": k, "strides": s, "padding": p, "activation": "relu"})
        for k, s, p in itertools.product((1, 2, 3, 5), (1, 2, 3), ("valid", "same"))
    ),
    *(
        ("Conv1DTranspose", {"filters": 4, "kernel_size": k, "strides": s, "padding": p, "output_padding": s - 1})
        for k, s, p in itertools.product((1, 2, 3, 5), (1, 2, 3), ("valid", "same"))
    ),
    *(
        ("DepthwiseConv1D", {"kernel_size": k, "strides": s, "padding": p, "depth_multiplier": m, "dilation_rate": d})
        for k, s, p, m, d in KERNELS
    ),
    *(
        (
            "SeparableConv1D",
            {"filters": 4, "kernel_size": k, "strides": s, "padding": p, "depth_multiplier": m, "dilation_rate": d},
        )
        for k, s, p, m, d in KERNELS
    ),
]


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("torch")
    return pytest.importorskip("keras")


@pytest.mark.parametrize(("name", "settings"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_they_are_keras_s(keras, name, settings):
    ours, theirs = getattr(layers, name)(**settings), getattr(keras.layers, name)(**settings)
    model = Sequential([Input((11, 3)), ours])
    theirs(X)
    weights = [np.random.default_rng(k).normal(size=w.shape) for k, w in enumerate(ours.get_weights())]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    found = model.predict(X, verbose=0)
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(theirs(X)), atol=1e-4)
    assert model.output_shape == (None, *found.shape[1:])
    again = type(ours).from_config(ours.get_config())
    assert Sequential([Input((None, 3)), again]).output_shape == (None, None, found.shape[2])
    assert again.get_config() == ours.get_config()


@pytest.mark.parametrize(("name", "settings"), CASES[::5], ids=[f"{5 * i}-{case[0]}" for i, case in enumerate(CASES[::5])])
def test_gradients(name, settings):
    layer = getattr(layers, name)(bias_initializer="random_normal", **settings)  # alone at some places; ReLU has a kink at 0
    assert check_gradients(layer, X.astype(float))


@pytest.mark.parametrize(("name", "settings"), [CASES[7], CASES[30], CASES[-3]])
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_files_of_keras_hold_them(keras, name, settings, suffix, tmp_path):
    model = Sequential([Input((11, 3)), getattr(layers, name)(**settings)])
    expected = model.predict(X, verbose=0)
    model.save(str(tmp_path / f"m.{suffix}"))
    other = keras.models.load_model(tmp_path / f"m.{suffix}")
    np.testing.assert_allclose(other.predict(X, verbose=0), expected, atol=1e-5)
    other.save(tmp_path / f"k.{suffix}")
    np.testing.assert_allclose(load_model(str(tmp_path / f"k.{suffix}")).predict(X, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize(("name", "settings"), [CASES[7], CASES[30], CASES[-3]])
def test_what_does_not_fit_says_so(name, settings, tmp_path):
    model = Sequential([Input((11, 3)), getattr(layers, name)(**settings)])
    if name == "SeparableConv1D":
        with pytest.raises(ValueError, match="PyTorch has no module with its weights"):
            save_torch(model, tmp_path / "m.pth")
        assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"needs sequences \(N, L, C\), got shape"):
        Sequential([Input((5, 5, 3)), getattr(layers, name)(**settings)])


@pytest.mark.parametrize(("name", "settings"), CASES[::3], ids=[f"{3 * i}-{case[0]}" for i, case in enumerate(CASES[::3])])
def test_onnx_runtime_computes_them(name, settings, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    model = Sequential([Input((11, 3)), getattr(layers, name)(**settings)])
    export_onnx(model, tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    found = session.run(None, {session.get_inputs()[0].name: X})[0]
    np.testing.assert_allclose(found, model.predict(X, verbose=0), atol=1e-5)
