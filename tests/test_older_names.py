"""What older programs call by other names: functions of Keras's backend, layers of Keras 1, arguments, methods, values."""

import importlib
import re
import warnings

import numpy as np
import pytest

import minitl
from minitl import Input, Model, Sequential, layers, optimizers, utils
from minitl.activations import linear
from minitl.applications import LeNet5, resnet50, vgg19
from minitl.callbacks import Callback
from minitl.legacy import applications, backend_values, drawing, warn_once
from minitl.legacy import backend as keras_backend
from minitl.legacy import layers as older
from minitl.legacy.modules import PLACES as OLD_MODULES
from minitl.legacy.wrappers import KerasClassifier
from minitl.utils import set_random_seed

X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
IMAGES = np.random.default_rng(1).normal(size=(2, 6, 6, 3)).astype("float32")


def test_notes_of_the_backend():
    assert keras_backend.backend() == "numpy" and keras_backend.floatx() == "float32" and keras_backend.epsilon() == 1e-7
    try:
        keras_backend.set_floatx("float64")
        keras_backend.set_epsilon(1e-5)
        assert keras_backend.floatx() == "float64" and keras_backend.epsilon() == 1e-5
        assert keras_backend.cast_to_floatx([1, 2]).dtype == np.float64
    finally:
        keras_backend.set_floatx("float32")
        keras_backend.set_epsilon(1e-7)
    assert keras_backend.cast_to_floatx([1, 2]).dtype == np.float32
    with pytest.raises(ValueError, match="set_floatx: expected 'float32' or 'float64', got 'float16'"):
        keras_backend.set_floatx("float16")


def test_functions_of_the_backend():
    assert keras_backend.ndim(IMAGES) == 4 and keras_backend.ndim(Input((5, 2))) == 3
    np.testing.assert_array_equal(keras_backend.permute_dimensions(X, (1, 0)), X.T)
    np.testing.assert_array_equal(keras_backend.bias_add(X, np.arange(4)), X + np.arange(4))
    np.testing.assert_array_equal(keras_backend.stop_gradient(X), X)
    np.testing.assert_array_equal(keras_backend.convert_to_numpy([1, 2]), np.array([1, 2]))
    assert keras_backend.is_keras_tensor(Input((3,))) and not keras_backend.is_keras_tensor(X)
    array = X.copy()
    keras_backend.set_value(array, 2)
    np.testing.assert_array_equal(array, np.full((3, 4), 2))
    with pytest.raises(TypeError, match="assign the attribute that has it"):
        keras_backend.set_value(3.0, 2.0)


def test_layers_of_keras_1():
    """Each is today's layer of the settings that the older arguments stand for."""
    strided = older.Convolution2D(8, (3, 2), (2, 2), "same", "relu")
    assert (strided.kernel_size, strided.strides, strided.padding, strided.activation) == ((3, 2), (2, 2), "same", "relu")
    assert older.Convolution2D(8, 3, 2).kernel_size == (3, 2)
    transposed = older.Deconvolution2D(4, 3, 2, subsample=(2, 1), border_mode="same")
    assert type(transposed) is layers.Conv2DTranspose and transposed.filters == 4
    assert (transposed.kernel_size, transposed.strides, transposed.padding) == ((3, 2), (2, 1), "same")
    assert older.Deconvolution2D(4, 3, 2).strides == (1, 1)
    for size, output_padding in ((28, None), (29, (1, 1))):
        upsamp = older.Deconvolution2D(4, 2, 2, (100, size, size, 4), border_mode="valid", subsample=(2, 2))
        assert upsamp.output_padding == output_padding
        assert upsamp(layers.Input((14, 14, 3))).shape == (None, size, size, 4)
    for size in (9, 10):
        upsamp = older.Deconvolution2D(4, 3, 4, (None, size, size, 4), border_mode="same", subsample=(2, 2))
        assert upsamp(layers.Input((5, 5, 3))).shape == (None, size, size, 4)
    separable = older.SeparableConvolution2D(4, 3, 2, (2, 2))
    assert type(separable) is layers.SeparableConv2D and separable.kernel_size == (3, 2) and separable.strides == (2, 2)
    assert older.SeparableConvolution2D(4, 3).kernel_size == (3, 3)
    dilated = older.AtrousConvolution2D(4, 3, 2, dilation_rate=2)
    assert type(dilated) is layers.Conv2D and dilated.kernel_size == (3, 2) and dilated.dilation_rate == (2, 2)
    np.testing.assert_array_equal(older.ThresholdedReLU(0.5)(X), np.where(X > 0.5, X, 0))
    assert type(older.CuDNNGRU(3)) is layers.GRU and type(older.CuDNNLSTM(3)) is layers.LSTM
    spec = older.InputSpec(dtype="float32", shape=(None, 4), ndim=2)
    assert (spec.dtype, spec.shape, spec.ndim) == ("float32", (None, 4), 2)


def test_arguments_of_keras_1():
    assert layers.Conv2D(nb_filter=8, nb_row=3, nb_col=2).kernel_size == (3, 2)
    assert layers.Dense(3, batch_input_shape=(16, 4)).declared_shape == (None, 4)
    assert layers.LSTM(3, input_dim=4, input_length=7).declared_shape == (None, 7, 4)
    assert layers.LSTM(3, input_dim=4).declared_shape == (None, None, 4)


def test_methods_of_values():
    value = Input((5, 4))
    assert value.get_shape().as_list() == [None, 5, 4]
    inputs = [Input((4,)), Input((4,))]
    total = layers.Add()([*inputs, layers.Dense(4)(inputs[0])])
    found = applications.get_source_inputs(total)
    assert len(found) == 2 and set(map(id, found)) == set(map(id, inputs))
    assert inputs[0].node.layer.input is inputs[0]


def test_some_samples():
    pair = [X, X + 1]
    for found, rows in (
        (applications.slice_X(pair, 1, 3), slice(1, 3)),
        (applications.slice_X(pair, 1), slice(1, None)),
        (applications.slice_X(pair, [2, 0]), [2, 0]),
    ):
        for part, whole in zip(found, pair, strict=True):
            np.testing.assert_array_equal(part, whole[rows])
    np.testing.assert_array_equal(applications.slice_X(X, 1, 2), X[1:2])


def test_predictions_of_a_generator():
    set_random_seed(0)
    model = Sequential([Input((4,)), layers.Dense(2)])
    batches = [X, X + 1, X + 2]
    found = model.predict_generator(iter(batches), steps=2)
    np.testing.assert_array_equal(found, model.predict(np.concatenate(batches[:2]), verbose=0))


def test_drawings():
    drawn = drawing.Drawing(Sequential([Input((4,)), layers.Dense(2)]))
    assert b"<svg" in drawn.create_svg() and drawn.create_png().startswith(b"\x89PNG")


def test_batches_with_weights():
    weights = np.ones(3)
    for data in ((X,), (X, X[:, 0]), (X, X[:, 0], weights)):
        packed = utils.pack_x_y_sample_weight(*data)
        assert type(packed) is (np.ndarray if len(data) == 1 else tuple)
        found = utils.unpack_x_y_sample_weight(packed)
        assert all(a is b for a, b in zip(found, (*data, None, None), strict=False)) and len(found) == 3
    assert utils.pack_x_y_sample_weight([X, X]) == ([X, X],)


def test_class_numbers_in_a_column():
    np.testing.assert_array_equal(utils.to_categorical([[1], [0]], 3), [[0, 1, 0], [1, 0, 0]])


def test_places_of_networks():
    assert resnet50.ResNet50.__name__ == "ResNet50" and vgg19.VGG19.__name__ == "VGG19"
    pixels = np.full((1, 2, 2, 3), 100.0)
    for module in (resnet50, vgg19):
        np.testing.assert_allclose(module.preprocess_input(pixels)[0, 0, 0], [-3.939, -16.779, -23.68], rtol=1e-5)
        assert callable(module.decode_predictions)


def test_the_body_of_lenet():
    body = LeNet5(include_top=False, pooling="avg", input_shape=(32, 32, 1))
    assert body.output_shape == (None, 16)
    assert LeNet5(include_top=False, input_shape=(32, 32, 1)).output_shape == (None, 5, 5, 16)


def test_models_start_frozen_where_that_is_asked_for():
    inputs = Input((4,))
    assert not Model(inputs, layers.Dense(2)(inputs), trainable=False).trainable_weights
    assert not Sequential([Input((4,)), layers.Dense(2)], trainable=False).trainable_weights
    assert Sequential([Input((4,)), layers.Dense(2)], trainable=True).trainable_weights


def test_a_model_on_a_dictionary_of_values():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    model = Model([a, b], layers.Subtract()([a, b]))
    c, d = Input((4,)), Input((4,))
    outer = Model([c, d], model({"b": c, "a": d}))
    np.testing.assert_allclose(outer([X, 3 * X]), 2 * X, rtol=1e-6)


def test_linear_is_x_itself():
    np.testing.assert_array_equal(linear(X), X)
    assert linear([1, 2]).dtype.kind == "f"


def test_lengths_of_lines_are_no_function(capsys):
    Sequential([Input((4,)), layers.Dense(2)]).summary(80)
    assert "dense" in capsys.readouterr().out


def test_a_classifier_takes_labels_and_one_hot_rows():
    def build():
        set_random_seed(0)
        model = Sequential([Input((4,)), layers.Dense(3, activation="softmax")])
        model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
        return model

    labels = np.array(["b", "a", "c"])
    for y in (labels, np.eye(3)[[1, 0, 2]]):
        classifier = KerasClassifier(build, epochs=2, verbose=0)
        classifier.fit(X, y)
        np.testing.assert_allclose(classifier.predict_proba(X), classifier.model.predict(X, verbose=0))
        said = classifier.predict(X)
        assert list(said) == list(np.array(classifier.classes_)[classifier.model.predict(X, verbose=0).argmax(axis=1)])
        right = said == (labels if y is labels else np.array([1, 0, 2]))
        assert classifier.score(X, y) == pytest.approx(right.mean())


def test_a_gradient_is_not_differentiated_again(tmp_path):
    inputs = Input((4,))
    hidden = layers.Dense(3)(inputs)
    y = layers.Dense(1, activation="tanh")(hidden)
    slope = backend_values.gradients(y, [hidden])[0]
    model = Model(inputs, slope)
    kernel = model.get_weights()[2] if len(model.get_weights()) > 2 else None
    assert model(X).shape == (3, 3) and (kernel is None or kernel.shape == (3, 1))
    model.compile("sgd", "mse")
    with pytest.raises(NotImplementedError, match="a gradient is not differentiated again; nothing below it may learn"):
        model.train_on_batch(X, np.zeros((3, 3)))
    with pytest.raises(NotImplementedError, match="cannot be saved; save the network, and ask for its gradients again"):
        model.save(tmp_path / "m.npz")
    assert not list(tmp_path.iterdir())


def fitted(**settings):
    model = Sequential([Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, X[:, 0], verbose=0, **settings)


OLD = {  # what is written, and what the warning says that it is today
    "Convolution2D(32, 3, 3)": (lambda: older.Convolution2D(8, 3, 3), "Conv2D(32, (3, 3))"),
    "Conv2D(32, 3, 3)": (lambda: layers.Conv2D(8, 3, 3, border_mode="same"), "Conv2D(32, (3, 3))"),
    "Deconvolution2D": (lambda: older.Deconvolution2D(4, 3, 2), "Conv2DTranspose"),
    "merge": (lambda: older.merge([Input((4,)), Input((4,))]), "the layers Add, Concatenate, Multiply"),
    "CuDNNLSTM": (lambda: older.CuDNNLSTM(3), "LSTM"),
    "CuDNNGRU": (lambda: older.CuDNNGRU(3), "GRU"),
    "optimizers.adam": (lambda: optimizers.adam(0.1), "optimizers.Adam"),
    "nb_epoch": (lambda: fitted(nb_epoch=1), "epochs"),
    "Embedding(dropout=)": (lambda: layers.Embedding(5, 3, dropout=0.2), "a SpatialDropout1D behind it"),
    "border_mode=": (lambda: layers.Conv1D(4, 3, border_mode="same"), "padding="),
    "output_dim=": (lambda: layers.Dense(output_dim=4), "units="),
}


@pytest.mark.parametrize("old", OLD)
def test_an_old_spelling_warns_once_with_the_modern_one(old):
    write, modern = OLD[old]
    warn_once.cache_clear()
    with pytest.warns(FutureWarning, match=re.escape(f"{old} is an old spelling of {modern}")):
        write()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write()


def test_callbacks_of_batches_by_their_older_names():
    class Counts(Callback):
        def __init__(self):
            self.seen = []

        def on_batch_begin(self, batch, logs=None):
            self.seen.append(("begin", batch))

        def on_batch_end(self, batch, logs=None):
            self.seen.append(("end", batch, sorted(logs)))

    model = Sequential([Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    counts = Counts()
    model.fit(np.concatenate([X, X]), np.zeros(6), batch_size=3, verbose=0, callbacks=[counts])
    assert counts.seen == [("begin", 0), ("end", 0, ["loss"]), ("begin", 1), ("end", 1, ["loss"])]


def test_names_of_the_package():
    for name in OLD_MODULES:
        if "." not in name:
            assert getattr(minitl, name) is importlib.import_module(f"minitl.{name}")
    for name in ("nonsense", "Layers"):
        with pytest.raises(AttributeError, match=f"module 'minitl' has no attribute '{name}'"):
            getattr(minitl, name)
    assert minitl.Loss is importlib.import_module("minitl.losses").Loss and minitl.plot.__name__ == "minitl.plot"
