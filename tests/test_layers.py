"""One harness for every layer: shapes, gradients, configuration, saving, freezing, dtypes."""

import numpy as np
import pytest

import minitl
from minitl import set_random_seed
from minitl.backend import op
from minitl.gradcheck import check_gradients
from minitl.layers import (
    ELU,
    GRU,
    LSTM,
    RNN,
    Activation,
    ActivityRegularization,
    Add,
    AlphaDropout,
    ArrayFunction,
    AveragePooling1D,
    AveragePooling2D,
    AvgPool2D,
    BatchNormalization,
    Bidirectional,
    CenterCrop,
    ChannelPadding,
    Concatenate,
    ConstantOperation,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Cropping1D,
    Cropping2D,
    Dense,
    DepthwiseConv2D,
    Dot,
    Dropout,
    Embedding,
    Flatten,
    GaussianDropout,
    GaussianNoise,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GroupNormalization,
    GRUCell,
    Input,
    Lambda,
    Layer,
    LayerNormalization,
    LeakyReLU,
    LSTMCell,
    Masking,
    MaxPool2D,
    MaxPooling1D,
    MaxPooling2D,
    Multiply,
    Normalization,
    Permute,
    PReLU,
    RandomBrightness,
    RandomContrast,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
    ReLU,
    RepeatVector,
    Rescaling,
    Reshape,
    Resizing,
    SeparableConv2D,
    SimpleRNN,
    SimpleRNNCell,
    Softmax,
    SpatialDropout1D,
    SpatialDropout2D,
    TimeDistributed,
    Transitions,
    UnitNormalization,
    UpSampling1D,
    UpSampling2D,
    ValuePadding2D,
    ZeroPadding1D,
    ZeroPadding2D,
)  # fmt: skip
from minitl.layers.arithmetic import OPERATIONS
from minitl.losses import MeanSquaredError
from minitl.losses.of_values import LossOf
from minitl.models import Model, Sequential, clone_model, load_model
from minitl.serialization import encode

IMAGES, ROWS, SEQUENCES = (3, 6, 5, 2), (4, 7), (3, 8, 4)


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


class Residual(Layer):
    """A user's layer that holds layers."""

    def __init__(self, units):
        self.units = units
        self.inner = Sequential([Dense(units, activation="tanh"), BatchNormalization()])
        self.out = [Dense(7)]

    def forward(self, x, training):
        return x + self.out[0](self.inner(x, training), training)

    def backward(self, dy):
        return dy + self.inner.backward(self.out[0].backward(dy))


def square(x):
    return x * x


def square_gradient(x, dy):
    return 2 * x * dy


LAYERS = {
    "dense": (lambda: Dense(3), ROWS, (4, 3)),
    "dense of images": (lambda: Dense(3, activation="tanh", use_bias=False), IMAGES, (3, 6, 5, 3)),
    "dense softmax": (lambda: Dense(3, "softmax", kernel_initializer="he_normal"), ROWS, (4, 3)),
    "conv valid": (lambda: Conv2D(4, 3, activation="relu"), IMAGES, (3, 4, 3, 4)),
    "conv same": (lambda: Conv2D(4, (3, 2), (2, 1), "same", activation="sigmoid"), IMAGES, (3, 3, 5, 4)),
    "conv 1x1": (lambda: Conv2D(1, 1, use_bias=False, kernel_initializer="lecun_uniform"), IMAGES, (3, 6, 5, 1)),
    "identity": (lambda: minitl.layers.Identity(), IMAGES, IMAGES),
    "transposed conv of sequences, same": (lambda: minitl.layers.Conv1DTranspose(3, 5, padding="same"), (3, 6, 2), (3, 6, 3)),
    "transposed conv of sequences": (lambda: minitl.layers.Conv1DTranspose(4, 3, strides=2), (3, 5, 2), (3, 11, 4)),
    "depthwise conv of sequences": (lambda: minitl.layers.DepthwiseConv1D(3, depth_multiplier=2), (3, 5, 2), (3, 3, 4)),
    "separable conv of sequences": (lambda: minitl.layers.SeparableConv1D(4, 3, padding="same"), (3, 5, 2), (3, 5, 4)),
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
    "conv dilated": (lambda: Conv2D(4, 2, dilation_rate=2, padding="same", activation="gelu"), IMAGES, (3, 6, 5, 4)),
    "conv in groups": (lambda: Conv2D(4, 3, groups=2), IMAGES, (3, 4, 3, 4)),
    "depthwise": (lambda: DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu6"), IMAGES, (3, 6, 5, 4)),
    "separable": (lambda: SeparableConv2D(5, 3, strides=2, activation="silu"), IMAGES, (3, 2, 2, 5)),
    "transposed": (lambda: Conv2DTranspose(3, 3, strides=2, padding="same"), IMAGES, (3, 12, 10, 3)),
    "transposed and more": (
        lambda: Conv2DTranspose(3, 3, (2, 3), "same", output_padding=(0, 2)),
        IMAGES,
        (3, 11, 15, 3),
    ),
    "transposed valid": (lambda: Conv2DTranspose(3, 2, strides=(1, 3), activation="tanh"), IMAGES, (3, 7, 15, 3)),
    "conv 1d": (lambda: Conv1D(5, 3, activation="relu"), SEQUENCES, (3, 6, 5)),
    "conv 1d causal": (lambda: Conv1D(5, 3, padding="causal", dilation_rate=2), SEQUENCES, (3, 8, 5)),
    "conv 1d strided": (lambda: Conv1D(6, 3, strides=2, padding="same", groups=2), SEQUENCES, (3, 4, 6)),
    "conv 1d dilated": (lambda: Conv1D(5, 2, dilation_rate=3, use_bias=False), SEQUENCES, (3, 5, 5)),
    "max pool 1d": (lambda: MaxPooling1D(), SEQUENCES, (3, 4, 4)),
    "max pool 1d same": (lambda: MaxPooling1D(3, 2, "same"), SEQUENCES, (3, 4, 4)),
    "average pool 1d": (lambda: AveragePooling1D(3, 2, "same"), SEQUENCES, (3, 4, 4)),
    "global max pool 1d": (lambda: GlobalMaxPooling1D(), SEQUENCES, (3, 4)),
    "global average pool 1d": (lambda: GlobalAveragePooling1D(), SEQUENCES, (3, 4)),
    "global max pool": (lambda: GlobalMaxPooling2D(), IMAGES, (3, 2)),
    "global average pool, axes kept": (lambda: GlobalAveragePooling2D(keepdims=True), IMAGES, (3, 1, 1, 2)),
    "upsampling": (lambda: UpSampling2D((2, 3)), IMAGES, (3, 12, 15, 2)),
    "bilinear upsampling": (lambda: UpSampling2D((2, 3), "bilinear"), IMAGES, (3, 12, 15, 2)),
    "lstm": (lambda: LSTM(5), SEQUENCES, (3, 5)),
    "cells": (lambda: RNN([LSTMCell(4), GRUCell(3), SimpleRNNCell(5)]), SEQUENCES, (3, 5)),
    "lstm backwards": (lambda: LSTM(5, return_sequences=True, go_backwards=True, use_bias=False), SEQUENCES, (3, 8, 5)),
    "lstm dropout": (lambda: LSTM(5, dropout=0.3, recurrent_dropout=0.3), SEQUENCES, (3, 5)),
    "gru": (lambda: GRU(5, return_sequences=True), SEQUENCES, (3, 8, 5)),
    "gru without bias": (lambda: GRU(5, use_bias=False), SEQUENCES, (3, 5)),
    "simple_rnn": (lambda: SimpleRNN(5), SEQUENCES, (3, 5)),
    "simple_rnn rectified": (lambda: SimpleRNN(5, activation="relu", return_sequences=True), SEQUENCES, (3, 8, 5)),
    "lstm, other activations": (lambda: LSTM(5, activation="softsign", recurrent_activation="hard_sigmoid"), SEQUENCES, (3, 5)),
    "gru, other activations": (lambda: GRU(5, activation="elu", go_backwards=True, dropout=0.3), SEQUENCES, (3, 5)),
    "gru, older form": (lambda: GRU(5, reset_after=False, return_sequences=True), SEQUENCES, (3, 8, 5)),
    "simple_rnn, another activation": (lambda: SimpleRNN(5, activation="softplus", recurrent_dropout=0.3), SEQUENCES, (3, 5)),
    "bidirectional": (lambda: Bidirectional(LSTM(5)), SEQUENCES, (3, 10)),
    "bidirectional sequences": (lambda: Bidirectional(GRU(5, return_sequences=True), merge_mode="ave"), SEQUENCES, (3, 8, 5)),
    "bidirectional from the end": (
        lambda: Bidirectional(SimpleRNN(5, return_sequences=True, go_backwards=True), merge_mode="sum"),
        SEQUENCES,
        (3, 8, 5),
    ),
    "masking": (lambda: Masking(), SEQUENCES, SEQUENCES),
    "every step": (lambda: TimeDistributed(Dense(3, activation="tanh")), SEQUENCES, (3, 8, 3)),
    "every step, dropout": (lambda: TimeDistributed(Dropout(0.4)), SEQUENCES, SEQUENCES),
    "cells, dropout": (lambda: RNN([LSTMCell(4, dropout=0.3), GRUCell(3, recurrent_dropout=0.3)]), SEQUENCES, (3, 3)),
    "transitions": (lambda: Transitions("glorot_uniform"), SEQUENCES, (3, 8, 4, 4)),
    "upsampling 1d": (lambda: UpSampling1D(3), SEQUENCES, (3, 24, 4)),
    "zero padding": (lambda: ZeroPadding2D(((1, 2), (0, 3))), IMAGES, (3, 9, 8, 2)),
    "zero padding 1d": (lambda: ZeroPadding1D((1, 2)), SEQUENCES, (3, 11, 4)),
    "channel padding": (lambda: ChannelPadding((1, 2)), IMAGES, (3, 6, 5, 5)),
    "value padding": (lambda: ValuePadding2D(1, -2.5), IMAGES, (3, 8, 7, 2)),
    **{f"constant, {name}": ((lambda name=name: ConstantOperation(name, 2.0)), IMAGES, (3, 6, 5, 2)) for name in OPERATIONS},
    "cropping": (lambda: Cropping2D((1, 2)), IMAGES, (3, 4, 1, 2)),
    "cropping 1d": (lambda: Cropping1D(2), SEQUENCES, (3, 4, 4)),
    "reshape": (lambda: Reshape((-1, 6)), IMAGES, (3, 10, 6)),
    "permute": (lambda: Permute((3, 1, 2)), IMAGES, (3, 2, 6, 5)),
    "repeat": (lambda: RepeatVector(3), ROWS, (4, 3, 7)),
    "layer norm": (lambda: LayerNormalization(), IMAGES, IMAGES),
    "layer scale": (lambda: minitl.layers.LayerScale(0.5, 2), IMAGES, IMAGES),
    "rms norm": (lambda: minitl.layers.RMSNormalization(), IMAGES, IMAGES),
    "einsum dense": (
        lambda: minitl.layers.EinsumDense("abcd,def->abcef", (None, None, 3, 4), "tanh", "ef"),
        IMAGES,
        (*IMAGES[:3], 3, 4),
    ),
    "einsum dense along the last axis": (lambda: minitl.layers.EinsumDense("...x,xy->...y", 4), IMAGES, (*IMAGES[:3], 4)),
    "layer norm over all axes": (lambda: LayerNormalization(axis=[1, 2, 3]), IMAGES, IMAGES),
    "softmax along an axis": (lambda: Softmax(axis=-2), IMAGES, IMAGES),
    "group norm": (lambda: GroupNormalization(2), IMAGES, IMAGES),
    "group norm, every channel": (lambda: GroupNormalization(-1, scale=False), IMAGES, IMAGES),
    "leaky relu": (lambda: LeakyReLU(0.1), ROWS, ROWS),
    "elu": (lambda: ELU(0.7), ROWS, ROWS),
    "prelu": (lambda: PReLU("ones", shared_axes=[1, 2]), IMAGES, IMAGES),
    "relu with settings": (lambda: ReLU(1.0, 0.1, 0.5), ROWS, ROWS),
    "spatial dropout": (lambda: SpatialDropout2D(0.4), IMAGES, IMAGES),
    "spatial dropout 1d": (lambda: SpatialDropout1D(0.4), SEQUENCES, SEQUENCES),
    "noise": (lambda: GaussianNoise(0.3), ROWS, ROWS),
    "activity": (lambda: ActivityRegularization(0.1, 0.2), ROWS, ROWS),
    "noisy dropout": (lambda: GaussianDropout(0.3), ROWS, ROWS),
    "alpha dropout": (lambda: AlphaDropout(0.3), ROWS, ROWS),
    "dropout of samples": (lambda: Dropout(0.4, noise_shape=(None, 1, 1, 1)), IMAGES, IMAGES),
    "rescaling": (lambda: Rescaling(1 / 3, -1.0), IMAGES, IMAGES),
    "normalization": (lambda: Normalization(mean=[1, 2], variance=[3, 4]), IMAGES, IMAGES),
    "normalization, back": (lambda: Normalization(axis=None, mean=1, variance=3, invert=True), IMAGES, IMAGES),
    "nearest resizing": (lambda: Resizing(4, 7, "nearest"), IMAGES, (3, 4, 7, 2)),
    "unit normalization": (lambda: UnitNormalization(), IMAGES, IMAGES),
    "resizing": (lambda: Resizing(5, 9), IMAGES, (3, 5, 9, 2)),
    "center crop": (lambda: CenterCrop(3, 4), IMAGES, (3, 3, 4, 2)),
    "lambda": (lambda: Lambda(square, gradient=square_gradient), ROWS, ROWS),
    "recorded lambda": (lambda: Lambda(square), ROWS, ROWS),
    "array function": (lambda: ArrayFunction("exp"), ROWS, ROWS),
    "mean over the image": (lambda: ArrayFunction("mean", settings={"axis": {"tuple": [1, 2]}}), IMAGES, (3, 2)),
    **{f"activation {name}": (lambda name=name: Activation(name), ROWS, ROWS) for name in sorted(minitl.activations.NAMED)},
    "user's": (lambda: Scale(), IMAGES, IMAGES),
    "user's with layers inside": (lambda: Residual(5), ROWS, ROWS),
    "user's with arguments": (lambda: Repeat(times=3), ROWS, (4, 21)),
    "container": (lambda: Sequential([Dense(5, activation="relu"), Scale(), Dense(3)]), ROWS, (4, 3)),
}


def with_moved_weights(name):
    """A model of one layer whose biases and statistics are not what they begin as, and data for it."""
    make, shape, _ = LAYERS[name]
    generator = np.random.default_rng(7)
    x = generator.standard_normal(shape).astype(np.float32)
    model = Sequential([Input(shape[1:]), make()])
    model(x, training=True)
    for weight in model.trainable_weights:
        weight += generator.normal(0, 0.1, weight.shape).astype(weight.dtype)
    return model, x


CUSTOM = {"Scale": Scale, "Repeat": Repeat, "Residual": Residual, "square": square, "square_gradient": square_gradient}


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


def test_every_layer_takes_a_name_and_its_flag(case):
    make, x, _ = case
    layer = make()
    layer(x)
    settings = layer.get_config()
    if "name" not in settings:
        pytest.skip("a user's class that takes no name")
    custom = {"custom_objects": CUSTOM} if layer.is_container else {}
    other = type(layer).from_config({**settings, "name": "mine", "trainable": False}, **custom)
    assert other.name == "mine" and (layer.is_container or not other.trainable)  # a model has no flag of its own


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


MERGING = {
    "add": (lambda: Add(), [IMAGES, IMAGES, IMAGES], IMAGES),
    "add, broadcast": (lambda: Add(), [IMAGES, (3, 1, 1, 2)], IMAGES),
    "subtract": (lambda: minitl.layers.Subtract(), [ROWS, ROWS], ROWS),
    "average": (lambda: minitl.layers.Average(), [ROWS, ROWS, ROWS], ROWS),
    "multiply, broadcast": (lambda: Multiply(), [IMAGES, (3, 1, 1, 2)], IMAGES),
    "maximum": (lambda: minitl.layers.Maximum(), [ROWS, ROWS], ROWS),
    "minimum": (lambda: minitl.layers.Minimum(), [ROWS, ROWS], ROWS),
    "concatenate": (lambda: Concatenate(), [IMAGES, (3, 6, 5, 3)], (3, 6, 5, 5)),
    "concatenate rows": (lambda: Concatenate(axis=1), [IMAGES, (3, 2, 5, 2)], (3, 8, 5, 2)),
    "loss of rows": (lambda: LossOf(MeanSquaredError(reduction="none"), True), [(3, 4, 5), (3, 4, 5)], (3, 4)),
    "dot": (lambda: Dot(1), [ROWS, ROWS], (4, 1)),
    "dot of sequences": (lambda: Dot((2, 1)), [(3, 4, 5), (3, 5, 2)], (3, 4, 2)),
    "cosine": (lambda: Dot(-1, normalize=True), [ROWS, ROWS], (4, 1)),
    "attention": (lambda: minitl.layers.Attention(use_scale=True), [(3, 4, 5), (3, 6, 5)], (3, 4, 5)),
    "additive attention": (lambda: minitl.layers.AdditiveAttention(), [(3, 4, 5), (3, 6, 5)], (3, 4, 5)),
    "attention of heads": (lambda: minitl.layers.MultiHeadAttention(2, 3), [(3, 4, 5), (3, 6, 2)], (3, 4, 5)),
}
RANDOM = {
    "flip": lambda: RandomFlip(),
    "rotation": lambda: RandomRotation(0.2),
    "zoom": lambda: RandomZoom(0.3),
    "translation": lambda: RandomTranslation(0.2, (-0.1, 0.3), fill_mode="constant"),
    "contrast": lambda: RandomContrast(0.5),
    "brightness": lambda: RandomBrightness(0.5, (0, 1)),
}


def test_contrast_is_the_distance_to_the_mean_times_one_factor_per_image():
    minitl.set_random_seed(4)
    x = np.random.default_rng(0).random((200, 6, 5, 3))
    y = RandomContrast((-0.2, 0.6), dtype="float64")(x, training=True)
    away, before = (array - x.mean(axis=(1, 2), keepdims=True) for array in (y, x))
    factors = (away * before).sum(axis=(1, 2, 3)) / (before * before).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(away, factors[:, None, None, None] * before, atol=1e-12)
    assert 0.8 <= factors.min() < 0.85 and 1.55 < factors.max() <= 1.6


@pytest.mark.parametrize("name", sorted(MERGING))
def test_merging_layers(name, backend, tmp_path):
    make, shapes, out = MERGING[name]
    generator = np.random.default_rng(0)
    x = [generator.standard_normal(shape) for shape in shapes]
    layer = make()
    assert layer(x).shape == out and layer.output_shape == (None, *out[1:])
    check_gradients(make(), x).raise_if_wrong()
    inputs = [Input(shape[1:]) for shape in shapes]
    model = Model(inputs, make()(inputs))
    model.save(tmp_path / "m.npz")
    np.testing.assert_array_equal(load_model(tmp_path / "m.npz").predict(x), model.predict(x))


def test_merging_inputs_of_fewer_axes(backend, tmp_path):
    """As Keras does: axes of 1 stand behind the batch."""
    generator = np.random.default_rng(0)
    arrays = [generator.standard_normal(shape) for shape in ((4, 5), (4, 2, 3, 5), (4, 3, 5))]
    expected = arrays[0][:, None, None] * arrays[1] * arrays[2][:, None]
    np.testing.assert_allclose(Multiply()(arrays), expected, rtol=1e-5, atol=1e-6)
    inputs = [Input((5,)), Input((None, 3, 5)), Input((3, 5))]
    model = Model(inputs, Multiply()(inputs))
    assert model.output_shape == (None, None, 3, 5)
    model.save(tmp_path / "m.npz")
    np.testing.assert_allclose(load_model(tmp_path / "m.npz").predict(arrays, verbose=0), expected, rtol=1e-5, atol=1e-6)
    check_gradients(model, arrays).raise_if_wrong()


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_random_layers_change_images_in_training_only(name, backend, tmp_path):
    x = np.random.default_rng(0).random((6, 9, 8, 3)).astype(np.float32)
    layer = RANDOM[name]()
    assert layer(x) is x or np.array_equal(layer(x), x)
    changed = layer(x, training=True)
    assert changed.shape == x.shape and changed.dtype == np.float32 and (changed != x).any()
    assert (changed != layer(x, training=True)).any()
    minitl.set_random_seed(4)
    first = RANDOM[name]()(x, training=True)
    minitl.set_random_seed(4)
    np.testing.assert_array_equal(first, RANDOM[name]()(x, training=True))
    model = Sequential([Input((9, 8, 3)), RANDOM[name](), Flatten(), Dense(2)])
    model.save(tmp_path / "m.npz")
    np.testing.assert_array_equal(load_model(tmp_path / "m.npz").predict(x), model.predict(x))
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((6, 2)), verbose=0)  # nothing below it learns
    above = Sequential([Input((9, 8, 3)), Conv2D(3, 1), RANDOM[name](), Flatten(), Dense(2)])
    above.compile("sgd", "mse")
    with pytest.raises(ValueError, match="something below it learns, but it has no gradient"):
        above.fit(x, np.zeros((6, 2)), verbose=0)


def test_means_leave_masked_steps_out(backend):
    words = np.array([[1, 2, 0, 0], [3, 0, 1, 4], [0, 0, 0, 0]])
    table = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)  # number 0 has a row that counts as zero
    model = Sequential([Input((4,), dtype="int32"), Embedding(5, 3, mask_zero=True), Dropout(0.2), GlobalAveragePooling1D()])
    model.layers[0].set_weights([table])
    expected = [table[[1, 2]].mean(axis=0), table[[3, 1, 4]].mean(axis=0), np.zeros(3)]
    np.testing.assert_allclose(model.predict(words, verbose=0), expected, atol=1e-6)
    numbers = np.random.default_rng(1).normal(size=(3, 8, 4)) * (np.arange(8) < [[3], [8], [5]])[..., None]
    pooled = Sequential([Input((8, 4)), Masking(), GlobalAveragePooling1D()]).astype("float64")
    np.testing.assert_allclose(pooled(numbers), [row[:n].mean(axis=0) for row, n in zip(numbers, (3, 8, 5), strict=True)])
    layers = [Input((4,), dtype="int32"), Embedding(5, 3, mask_zero=True), GlobalAveragePooling1D(), Dense(2)]
    assert check_gradients(Sequential(layers).astype("float64"), words)


def test_embedding(backend, tmp_path):
    words = np.array([[1, 2, 0], [4, 4, 1]])
    table = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    model = Sequential([Embedding(5, 3, weights=table), Flatten(), Dense(2)])
    np.testing.assert_array_equal(model.layers[0](words), table[words])
    model.compile("sgd", "mse")
    model.predict(words)
    before = model.layers[0].get_weights()[0]
    model.fit(words, np.ones((2, 2)), verbose=0)
    moved = (model.layers[0].get_weights()[0] != before).any(axis=1)
    assert moved.tolist() == [True, True, True, False, True]
    model.save(tmp_path / "m.npz")
    copy = load_model(tmp_path / "m.npz")
    np.testing.assert_array_equal(copy.predict(words), model.predict(words))
    assert copy.inputs[0].dtype == np.int32  # whole numbers stay whole, however large
    large = Sequential([Input((1,), dtype="int64"), Embedding(1 << 25, 1, embeddings_initializer="zeros")])
    large.layers[0].parameters["embeddings"][(1 << 24) + 1] = 7
    assert large.predict(np.array([[(1 << 24) + 1]]))[0, 0, 0] == 7
    with pytest.raises(ValueError, match="number 5 is outside the table's 5 rows"):
        model.predict(np.array([[5, 0, 0]]))
    with pytest.raises(ValueError, match="takes whole numbers"):
        model.predict(np.array([[0.5, 0, 0]]))
    check_gradients(model, words).raise_if_wrong()
    frozen = Sequential([Embedding(5, 3, weights=table, trainable=False), Flatten(), Dense(2)])
    frozen.compile("sgd", "mse")
    frozen.fit(words, np.ones((2, 2)), verbose=0)
    np.testing.assert_array_equal(frozen.layers[0].get_weights()[0], table)


def test_alpha_dropout_keeps_mean_and_variance():
    layer = AlphaDropout(0.3)
    x = np.random.default_rng(0).normal(size=(400, 500)).astype(np.float32)
    y = layer.forward(x, True)
    assert abs(y.mean()) < 0.01 and abs(y.std() - 1) < 0.01 and abs((layer.backward(np.ones_like(x)) == 0).mean() - 0.3) < 0.01
    np.testing.assert_array_equal(layer(x), x)


@pytest.mark.parametrize("stddev", [0.0, 0.3, 1.0])
def test_gaussian_noise_has_its_deviation_while_training_alone(stddev):
    layer, x = GaussianNoise(stddev), np.full((200, 500), 2, np.float32)
    noise = layer.forward(x, True) - x
    assert abs(noise.mean()) < 0.01 and noise.std() == pytest.approx(stddev, rel=0.01)
    np.testing.assert_array_equal(layer(x), x)
    assert layer.draws == (stddev > 0)


def test_dropout_with_a_noise_shape_drops_together():
    x = np.ones((300, 4, 5, 2), np.float32)
    y = Dropout(0.5, noise_shape=(None, 1, 1, 1)).forward(x, True)
    assert {tuple(np.unique(one)) for one in y} == {(0.0,), (2.0,)}
    y = Dropout(0.5, noise_shape=(300, 1, 1, 2)).forward(x, True)  # one for all pixels of a channel
    assert {tuple(np.unique(one[..., k])) for one in y for k in range(2)} == {(0.0,), (2.0,)}
    assert (y[..., 0] != y[..., 1]).any()
    with pytest.raises(ValueError, match=r"noise_shape must have None, 1 or x's size for each of the 4 axes"):
        Sequential([Input((4, 5, 2)), Dropout(0.5, noise_shape=(None, 3, 1, 1))])


def test_a_lambda_without_a_gradient():
    x = np.ones((2, 3), np.float32)
    at_the_input = Sequential([Input((3,)), Lambda(square), Dense(2)])
    at_the_input.compile("sgd", "mse")
    at_the_input.fit(x, np.ones((2, 2)), verbose=0)
    above = Sequential([Input((3,)), Dense(3), Lambda(square)])
    above.compile("sgd", "mse")
    np.testing.assert_allclose(above.predict(x), above.layers[0](x) ** 2, rtol=1e-6)
    check_gradients(above, x, np.ones((2, 3))).raise_if_wrong()  # its record has one
    opaque = Sequential([Input((3,)), Dense(3), Lambda(lambda v: np.cumsum(np.asarray(v), axis=1))])
    opaque.compile("sgd", "mse")
    with pytest.raises(ValueError, match="something below it learns, but the function cannot be differentiated: a traced array"):
        opaque.fit(x, np.ones((2, 3)), verbose=0)


def test_a_lambda_of_several_values():
    a, b = Input((3,)), Input((3,))
    apart = Lambda(
        lambda ab, power: np.abs(ab[0] - ab[1]) ** power, arguments={"power": 3}, output_shape=lambda shapes: shapes[0]
    )
    y = Dense(1)(apart([Dense(4)(a), Dense(4)(b)]))
    model = Model([a, b], y)
    assert apart.output_shape == (None, 4)
    random = np.random.default_rng(0)
    check_gradients(model, [random.normal(size=(5, 3)) for _ in range(2)]).raise_if_wrong()
    for wrong in ({"function": 3}, {"function": square, "gradient": 3}):
        with pytest.raises(TypeError, match="Lambda: expected functions"):
            Lambda(**wrong)
    with pytest.raises(ValueError, match="make a second Lambda"):
        apart(np.ones((2, 3)))


def test_what_a_lambda_draws_is_drawn_once():
    noise = Lambda(lambda v: v * np.random.default_rng().normal(size=v.shape))
    y = noise.forward(np.ones((4, 3), np.float32), True)
    np.testing.assert_allclose(noise.backward(np.ones((4, 3), np.float32)), y, rtol=1e-6)


def test_every_public_layer_is_in_the_harness():
    covered = {type(leaf).__name__ for make, _, _ in LAYERS.values() for _, leaf in make().named_layers()}
    covered |= {type(make()).__name__ for make, *_ in MERGING.values()} | {type(make()).__name__ for make in RANDOM.values()}
    named = [getattr(minitl.layers, name) for name in minitl.layers.__all__]
    public = {cls.__name__ for cls in named if isinstance(cls, type)}
    elsewhere = {"CategoryEncoding", "Discretization", "IntegerLookup", "StringLookup", "RandomCrop"}  # test_categories.py
    assert public - covered <= {"Layer", "InputLayer", "Embedding", "TextVectorization", "StackedRNNCells"} | elsewhere


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
    assert layer(x, training=False).base is x


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


SHORT = {
    "add": (lambda a, b: a + b, {}),
    "subtract": (lambda a, b: a - b, {}),
    "multiply": (lambda a, b: a * b, {}),
    "average": (lambda a, b: (a + b) / 2, {}),
    "maximum": (np.maximum, {}),
    "minimum": (np.minimum, {}),
    "concatenate": (lambda a, b: np.concatenate([a, b], axis=-1), {}),
    "dot": (lambda a, b: (a * b).sum(axis=1, keepdims=True), {"axes": 1}),
}


@pytest.mark.parametrize("name", SHORT)
def test_short_forms_of_merging_layers(name):
    function, settings = SHORT[name]
    a, b = Input((4,)), Input((4,))
    value = getattr(minitl.layers, name)([a, b], name="merged", **settings)
    assert value.node.layer.name == "merged"
    x, y = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    np.testing.assert_allclose(Model([a, b], value)([x, y]), function(x, y), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(getattr(minitl.layers, name)([x, y], **settings), function(x, y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize(("name", "first"), [("Maximum", [3, 2, 5]), ("Minimum", [1, 2, -5])])
def test_at_a_tie_the_first_value_has_the_gradient(backend, name, first):
    a, b, c = (np.array([row], np.float32) for row in (first, [2, 2, 0], [2, 2, 0]))
    with minitl.use_backend(backend):
        layer = getattr(minitl.layers, name)()
        y = layer.forward([b, a, c], True)
        np.testing.assert_array_equal(y, a)
        found = layer.backward(np.ones_like(y))
        np.testing.assert_array_equal(np.concatenate(found), [[0, 1, 0], [1, 0, 1], [0, 0, 0]])
        layer = getattr(minitl.layers, name)()
        layer.forward([b, c], True)
        np.testing.assert_array_equal(np.concatenate(layer.backward(np.ones_like(y))), [[1, 1, 1], [0, 0, 0]])


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_slopes_at_the_threshold_are_those_below_zero_and_above_elsewhere(backend):
    """At 0, and at a threshold above 0, a leaky ReLU has its slope."""
    x = np.array([-1, 0, 1, 2], np.float32)
    with minitl.use_backend(backend):
        for settings, expected in (
            ({"negative_slope": 0.5}, [0.5, 0.5, 1, 1]),
            ({"negative_slope": 0.5, "threshold": 1.0}, [0.5, 0.5, 0.5, 1]),
            ({"negative_slope": 0.5, "max_value": 2.0}, [0.5, 0.5, 1, 0]),
        ):
            layer = ReLU(**settings)
            y = layer.forward(x[None], True)
            np.testing.assert_array_equal(layer.backward(np.ones_like(y))[0], expected)


def test_nearest_pixels_are_pixels_that_were_there():
    images = np.random.default_rng(0).integers(0, 2, (4, 16, 16, 1)).astype(np.float32) * 100
    for interpolation, mixes in (("nearest", False), ("bilinear", True)):
        layer = RandomRotation(0.1, interpolation=interpolation)
        layer(images)
        turned = layer.forward(images, True)
        assert (set(np.unique(turned)) - {0.0, 100.0} != set()) == mixes
        assert not np.array_equal(turned, images)


@pytest.mark.parametrize(("factor", "low", "high"), [(0.1, -36, 36), ((0.05, 0.25), 18, 90), ((-0.5, -0.25), -180, -90)])
def test_rotations_are_shares_of_a_full_turn(factor, low, high):
    layer = RandomRotation(factor)
    layer(np.zeros((1, 8, 8, 1), np.float32))
    angles = layer.parameters_of(1000, 8, 8)["theta"]
    assert low <= angles.min() < low + 0.05 * (high - low) and high - 0.05 * (high - low) < angles.max() <= high


def test_a_quarter_turn_is_against_the_clock():
    images = np.random.default_rng(0).normal(size=(2, 9, 9, 1)).astype(np.float32)
    turned = RandomRotation((0.25, 0.25), interpolation="nearest").forward(images, True)
    np.testing.assert_array_equal(turned, np.rot90(images, axes=(1, 2)))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_dropout_of_nothing_keeps_all(backend):
    x = np.ones((3, 5), np.float32)
    with minitl.use_backend(backend):
        layer = Dropout(0.0)
        np.testing.assert_array_equal(layer.forward(x, True), x)
        y, cache = op("dropout").forward(x, 0.0, np.random.default_rng(0))
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(op("dropout").backward(2 * x, cache), 2 * x)


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


def test_crops_at_inference_are_of_the_middle_and_have_a_gradient():
    images = np.random.default_rng(3).normal(size=(2, 8, 6, 3)).astype("float32")
    layer = RandomCrop(4, 4)
    y = layer.forward(images, False)
    dx = layer.backward(np.ones_like(y))
    assert dx.shape == images.shape
    slope = (layer(images + 1e-2 * dx) - layer(images - 1e-2 * dx)).sum() / 2e-2
    assert slope == pytest.approx(float((dx * dx).sum()), rel=1e-2)


def test_the_row_of_number_0_is_a_row_and_left_out_where_steps_are():
    words = np.array([[0, 1, 2], [2, 0, 0]])
    layer = Embedding(4, 3, mask_zero=True)
    y = layer.forward(words, True)
    layer.backward(np.ones_like(y))
    np.testing.assert_array_equal(layer.gradients["embeddings"], np.repeat([3, 1, 2, 0], 3).reshape(4, 3))
    x = Input((3,), dtype="int64")
    table = Embedding(4, 3, mask_zero=True)
    seen, left = Model(x, Flatten()(table(x))), Model(x, GRU(2)(table(x)))
    row = table.get_weights()[0][0]
    np.testing.assert_array_equal(seen.predict(words, verbose=0)[1, 3:], np.tile(row, 2))
    alone = left.predict(np.array([[2, 0, 0], [0, 2, 0]]), verbose=0)
    np.testing.assert_array_equal(alone[0], alone[1])


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


@pytest.mark.parametrize("axis", [1, 2])
def test_a_zoom_shows_more_where_its_factor_is_positive(axis):
    def zoomed(factor):
        factors = [(0.0, 0.0), (0.0, 0.0)]
        factors[axis - 1] = (factor, factor)
        return RandomZoom(*factors, fill_mode="constant")(np.ones((1, 8, 8, 1)), training=True)[0, :, :, 0]

    y = zoomed(0.5) if axis == 1 else zoomed(0.5).T
    assert (y[0] < 0.5).all() and (y[-1] < 0.5).all() and (y[3:5] == 1).all()
    assert (zoomed(-0.5) == 1).all()


def test_the_middle_is_cut_out_of_an_image():
    x = np.arange(9 * 12.0).reshape(1, 9, 12, 1).astype(np.float32)
    np.testing.assert_array_equal(CenterCrop(3, 4)(x), x[:, 3:6, 4:8])
    np.testing.assert_array_equal(CenterCrop(8, 3)(x), x[:, :8, 4:7])


def test_padding_by_a_value_is_by_zero_unless_it_is_given():
    x = np.ones((1, 2, 2, 1), np.float32)
    np.testing.assert_array_equal(ValuePadding2D()(x), np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))


def test_the_noise_of_gaussian_dropout_has_the_spread_of_dropout():
    noise = GaussianDropout(0.2)(np.ones((200, 500), np.float32), training=True)
    assert noise.mean() == pytest.approx(1, abs=0.01) and noise.std() == pytest.approx((0.2 / 0.8) ** 0.5, rel=0.02)


def test_a_threshold_itself_does_not_pass(backend):
    """As in Keras."""
    assert ReLU(threshold=1.0)(np.float32([[0.5, 1.0, 2.0]])).tolist() == [[0, 0, 2]]
    assert minitl.activations.relu(np.float32([0.5, 1.0, 2.0]), threshold=1.0).tolist() == [0, 0, 2]
    below = ReLU(threshold=1.0, negative_slope=0.5)
    assert below(np.float32([[0.5, 1.0, 2.0]])).tolist() == [[-0.25, 0, 2]]


def test_convolutions_per_channel_refuse_steps_in_both_ways():
    with pytest.raises(ValueError, match="dilation"):
        SeparableConv2D(2, 3, strides=2, dilation_rate=2)
    with pytest.raises(ValueError, match="dilation"):
        DepthwiseConv2D(3, strides=2, dilation_rate=2)


def test_a_softmax_along_several_axes_adds_up_over_them_together():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    for axes in ((1, 3), [-1, 1], (3, 2)):
        y = minitl.activations.softmax(x, axes)
        e = np.exp(x)
        np.testing.assert_allclose(y, e / e.sum(axis=tuple(axes), keepdims=True), rtol=1e-6)
    traced = minitl.autodiff.Traced(x[0, 0])
    end = (minitl.activations.softmax(traced, (0, 1)) * np.arange(20).reshape(4, 5)).sum()
    (dx,) = minitl.autodiff.gradients(end, [traced])
    shares = np.exp(x[0, 0]) / np.exp(x[0, 0]).sum()
    weights = np.arange(20).reshape(4, 5)
    np.testing.assert_allclose(dx, shares * (weights - (shares * weights).sum()), rtol=1e-6)


def test_activations_of_other_lengths_or_with_a_setting():
    x = np.float32([[1.0, 2.0, 0.0, 3.0]])
    np.testing.assert_allclose(minitl.activations.glu(x), [[0.5, 2 / (1 + np.exp(-3))]], rtol=1e-6)
    assert minitl.activations.threshold(x, 1.0, -5.0).tolist() == [[-5, 2, -5, 3]]
    assert minitl.activations.sparsemax(x).tolist() == [[0, 0, 0, 1]]
    layer = Dense(3, activation=minitl.activations.sparsemax)
    assert layer(x).sum() == pytest.approx(1) and check_gradients(layer, x).ok
    with pytest.raises(AttributeError, match="no attribute 'softmix'"):
        minitl.activations.softmix  # noqa: B018


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_come_into_a_network_in_the_dtype_of_its_first_layer(dtype):
    model = Sequential([Dense(2, dtype=dtype)])
    model.build((None, 3))
    assert model.inputs[0].dtype == dtype == Dense(2, dtype=dtype).input_dtype
    assert Dense(2).supports_masking


def test_the_first_call_of_a_layer_with_a_mask_has_the_mask():
    class Masked(Layer):
        def call(self, x, mask=None):
            return x * mask[..., None] if mask is not None else x

    x, mask = np.ones((2, 3, 4), np.float32), np.array([[True, False, True], [False, True, True]])
    layer = Masked()
    for _ in range(2):
        np.testing.assert_array_equal(layer(x, mask=mask), mask[..., None] * x)


def test_lengths_that_are_open_stay_open_in_a_reshape():
    assert Reshape((-1, 2))(Input((None, 4))).shape == (None, None, 2)


def test_another_number_of_weights_is_refused_before_any_is_changed():
    layer = Dense(2)
    layer.build((None, 3))
    before = layer.get_weights()
    for given in ([], [np.ones((3, 2))], [np.ones((3, 2)), np.ones(2), np.ones(2)]):
        with pytest.raises(ValueError, match=f"expected 2 weight arrays, got {len(given)}; build the layer first"):
            layer.set_weights(given)
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])


def test_what_learns_cannot_stand_below_a_random_crop():
    model = Sequential([Input((8, 8, 2)), Conv2D(2, 1), minitl.layers.RandomCrop(4, 4), Flatten(), Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="something below it learns, but it has no gradient; put it at the input"):
        model.train_on_batch(np.ones((2, 8, 8, 2)), np.ones((2, 1)))
