"""One harness for every layer: shapes, gradients, configuration, saving, freezing, dtypes."""

import numpy as np
import pytest

import minitl
from minitl.gradcheck import check_gradients
from minitl.layers import (
    Activation,
    AveragePooling2D,
    AvgPool2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    Layer,
    MaxPool2D,
    MaxPooling2D,
    ReLU,
    Softmax,
)
from minitl.models import Sequential, clone_model, load_model
from minitl.serialization import encode

IMAGES, ROWS = (3, 6, 5, 2), (4, 7)


class Scale(Layer):
    """A user's layer, without a constructor."""

    def build(self, input_shape):
        self.gamma = self.add_weight("gamma", input_shape[-1:], "ones")

    def forward(self, x, training):
        self.x = x
        return x * self.gamma

    def backward(self, dy):
        self.gradients["gamma"] = (dy * self.x).sum(axis=tuple(range(dy.ndim - 1)))
        return dy * self.gamma


class Repeat(Layer):
    """A user's layer with a constructor of its own and another output shape; it never calls super().__init__()."""

    def __init__(self, times):
        self.times = times

    def forward(self, x, training):
        return np.concatenate([x] * self.times, axis=-1)

    def backward(self, dy):
        return sum(np.split(dy, self.times, axis=-1))


LAYERS = {
    "dense": (lambda: Dense(3), ROWS, (4, 3)),
    "dense of images": (lambda: Dense(3, activation="tanh", use_bias=False), IMAGES, (3, 6, 5, 3)),
    "dense softmax": (lambda: Dense(3, "softmax", kernel_initializer="he_normal"), ROWS, (4, 3)),
    "conv valid": (lambda: Conv2D(4, 3, activation="relu"), IMAGES, (3, 4, 3, 4)),
    "conv same": (lambda: Conv2D(4, (3, 2), (2, 1), "same", activation="sigmoid"), IMAGES, (3, 3, 5, 4)),
    "conv 1x1": (lambda: Conv2D(1, 1, use_bias=False, kernel_initializer="lecun_uniform"), IMAGES, (3, 6, 5, 1)),
    "conv whole": (lambda: Conv2D(2, (6, 5)), IMAGES, (3, 1, 1, 2)),
    "max pool": (lambda: MaxPooling2D(), IMAGES, (3, 3, 2, 2)),
    "max pool same": (lambda: MaxPool2D(3, 1, "same"), IMAGES, IMAGES),
    "average pool": (lambda: AveragePooling2D((2, 3)), IMAGES, (3, 3, 1, 2)),
    "average pool same": (lambda: AvgPool2D(4, padding="same"), IMAGES, (3, 2, 2, 2)),
    "global average pool": (lambda: GlobalAveragePooling2D(), IMAGES, (3, 2)),
    "flatten": (lambda: Flatten(), IMAGES, (3, 60)),
    "dropout": (lambda: Dropout(0.3), IMAGES, IMAGES),
    "batch norm": (lambda: BatchNormalization(momentum=0.9), IMAGES, IMAGES),
    "batch norm of rows": (lambda: BatchNormalization(center=False, scale=False), ROWS, ROWS),
    "activation": (lambda: Activation("tanh"), ROWS, ROWS),
    "relu": (lambda: ReLU(), IMAGES, IMAGES),
    "softmax": (lambda: Softmax(), ROWS, ROWS),
    "user's": (lambda: Scale(), IMAGES, IMAGES),
    "user's with arguments": (lambda: Repeat(times=3), ROWS, (4, 21)),
    "container": (lambda: Sequential([Dense(5, activation="relu"), Scale(), Dense(3)]), ROWS, (4, 3)),
}
CUSTOM = {"Scale": Scale, "Repeat": Repeat}


@pytest.fixture(params=sorted(LAYERS))
def case(request):
    make, shape, out = LAYERS[request.param]
    x = np.random.default_rng(7).standard_normal(shape).astype(np.float32)
    return make, x, out


def test_shapes_and_dtypes(case, backend):
    make, x, out = case
    layer = make()
    layer.ensure_built((None, *x.shape[1:]))
    assert layer.output_shape == (None, *out[1:])
    assert layer.compute_output_shape((None, *x.shape[1:])) == (None, *out[1:])
    for training in (False, True):
        y = layer(x, training)
        assert y.shape == out
        assert y.dtype == np.float32
    layer.forward(x, True)
    dx = layer.backward(np.ones_like(y))
    assert dx.shape == x.shape
    assert dx.dtype == np.float32
    for _, leaf in layer.named_layers():
        for name, w in leaf.parameters.items():
            assert leaf.gradients[name].shape == w.shape
            assert leaf.gradients[name].dtype == np.float32


def test_gradients(case, backend):
    make, x, _ = case
    for training in (False, True):
        report = check_gradients(make(), x, training=training, samples=60)
        assert report.ok, report


def test_x_and_dy_are_left_alone_and_backward_repeats(case, backend):
    make, x, _ = case
    layer, kept = make(), x.copy()
    layer.ensure_built((None, *x.shape[1:]))
    dy = np.random.default_rng(1).standard_normal(layer.forward(x, True).shape).astype(np.float32)
    kept_dy = dy.copy()
    first, second = layer.backward(dy).copy(), layer.backward(dy)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(dy, kept_dy)


def test_inference_repeats_and_treats_samples_alone(case, backend):
    make, x, _ = case
    layer = make()
    y = layer(x)
    np.testing.assert_array_equal(layer(x), y)
    np.testing.assert_allclose(layer(x[::-1]), y[::-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer(x[1:2]), y[1:2], rtol=1e-5, atol=1e-6)


def test_configuration_rebuilds_the_layer(case):
    make, x, _ = case
    layer = make()
    layer(x)
    model = Sequential([Input(x.shape[1:]), layer])
    copy = clone_model(model)
    assert [type(a) for a in copy.layers] == [type(a) for a in model.layers]
    assert encode(copy.layers[0]) == encode(model.layers[0])
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy.predict(x), model.predict(x))


def test_save_and_load(case, tmp_path):
    make, x, _ = case
    model = Sequential([Input(x.shape[1:]), make()])
    for _ in range(2):
        model(x, training=True)  # moves moving statistics
    model.save(tmp_path / "model.npz")
    copy = load_model(tmp_path / "model.npz", custom_objects=CUSTOM)
    np.testing.assert_array_equal(copy.predict(x), model.predict(x))


def test_frozen_gives_dx_but_no_gradients(case, backend):
    make, x, _ = case
    layer = make()
    y = layer(x)
    layer.trainable = False
    layer.forward(x, True)
    dx = layer.backward(np.ones_like(y))
    assert dx.shape == x.shape
    if type(layer).__module__.startswith("minitl") and not layer.is_container:
        assert not layer.gradients
    assert layer.trainable_weights == []
    assert len(layer.non_trainable_weights) == len(layer.weights)


def test_numpy_and_numba_agree(case):
    make, x, _ = case
    layer = make()
    results = []
    for name in ("numpy", "numba"):
        with minitl.use_backend(name):
            layer.ensure_built((None, *x.shape[1:]))
            y = layer.forward(x, False)
            results.append((y, layer.backward(np.cos(y))))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_backend_may_change_between_forward_and_backward(case):
    make, x, _ = case
    layer = make()
    with minitl.use_backend("numpy"):
        layer.ensure_built((None, *x.shape[1:]))
        y = layer.forward(x, False)
        expected = layer.backward(np.ones_like(y))
    with minitl.use_backend("numba"):
        layer.forward(x, False)
    with minitl.use_backend("numpy"):
        np.testing.assert_allclose(layer.backward(np.ones_like(y)), expected, atol=1e-5)


def test_every_public_layer_is_in_the_harness():
    covered = {type(leaf).__name__ for make, _, _ in LAYERS.values() for _, leaf in make().named_layers()}
    public = {getattr(minitl.layers, name).__name__ for name in minitl.layers.__all__}
    assert public - covered <= {"Layer", "Input", "InputLayer"}


def test_batch_norm_follows_the_batches(backend):
    layer = BatchNormalization(momentum=0.5)
    x = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32) * 2 + 5
    y = layer(x, training=True)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=0), 1, atol=1e-2)
    np.testing.assert_allclose(layer.state["moving_mean"], x.mean(axis=0) / 2, rtol=1e-5)
    np.testing.assert_allclose(layer.state["moving_variance"], 0.5 + x.var(axis=0) / 2, rtol=1e-5)
    before = layer.state["moving_mean"].copy()
    layer(x, training=False)
    np.testing.assert_array_equal(layer.state["moving_mean"], before)


def test_dropout_keeps_the_expectation_and_rests_at_inference(backend):
    layer = Dropout(0.25)
    x = np.ones((100, 100), np.float32)
    y = layer(x, training=True)
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert y.mean() == pytest.approx(1, abs=0.02)
    assert layer(x, training=False) is x


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("glorot_uniform", 2 / 500, 2 / 500),
        ("glorot_normal", 2 / 500, 2 / 500),
        ("he_normal", 2 / 300, 2 / 300),
        ("he_uniform", 2 / 300, 2 / 300),
        ("lecun_normal", 1 / 300, 1 / 300),
        ("lecun_uniform", 1 / 300, 1 / 300),
        ("zeros", 0, 0),
        ("ones", 0, 0),
    ],
)
def test_initializers_have_the_variance_that_they_promise(name, low, high):
    values = minitl.initializers.get(name)((300, 200), np.random.default_rng(0))
    assert low * 0.97 <= values.var() <= high * 1.03
    if name not in ("ones",):
        assert abs(values.mean()) < 0.002
    assert minitl.initializers.fans((3, 3, 8, 16)) == (72, 144)
