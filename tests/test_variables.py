"""Weights as programs for Keras take them: by name, with assign(), and as what a metric of one's own counts in."""

import copy
import pickle

import numpy as np
import pytest
from rows import ROWS, TARGETS

from minitl import ops
from minitl.constraints import MaxNorm
from minitl.layers import LSTM, BatchNormalization, Dense, DepthwiseConv2D, Embedding, Input, Layer
from minitl.layers.variable import Variable, array_of
from minitl.metrics import AUC, Metric, Precision
from minitl.models import Model, Sequential, clone_model


class Counting(Layer):
    """A layer that counts what it has seen, and learns a scale."""

    def build(self, input_shape):
        self.total = self.add_weight(shape=(input_shape[-1],), initializer="zeros", trainable=False, name="total")
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

    def call(self, x):
        self.total.assign_add(ops.sum(x, axis=0))
        return x * self.scale


def test_weights_have_the_names_of_keras():
    model = Sequential([Input((4,)), Dense(3), BatchNormalization()])
    assert [w.name for w in model.weights] == ["kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"]
    assert [w.path for w in model.weights][:2] == ["dense/kernel", "dense/bias"]
    assert [w.path for w in model.trainable_variables] == [w.path for w in model.trainable_weights] and len(model.variables) == 6
    assert [w.name for w in model.non_trainable_variables] == ["moving_mean", "moving_variance"]
    model.layers[0].trainable = False
    assert [w.trainable for w in model.weights] == [False, False, True, True, False, False]
    assert len(model.trainable_variables) == 2 and len(model.non_trainable_variables) == 4
    outer = Sequential([Input((4,)), Sequential([Dense(2, name="inside")], name="base")])
    assert [w.path for w in outer.weights] == ["base/inside/kernel", "base/inside/bias"]


def test_a_weight_by_its_name_is_the_layer_s_own():
    dense = Dense(3)
    with pytest.raises(AttributeError, match="'kernel'; a layer has its weights once it is built"):
        dense.kernel  # noqa: B018
    x = np.ones((1, 2), np.float32)
    dense(x)
    dense.kernel.assign(np.full((2, 3), 2.0))
    dense.bias.assign_add([1, 2, 3])
    dense.bias.assign_sub(1)
    np.testing.assert_array_equal(dense(x), [[4, 5, 6]])
    dense.kernel[0] = 0
    np.testing.assert_array_equal(dense(x), [[2, 3, 4]])
    assert dense.kernel.shape == (2, 3) and type(dense.kernel.numpy()) is np.ndarray and type(dense.kernel * 2) is np.ndarray
    assert all(type(w) is np.ndarray for w in dense.get_weights())  # copies, that are no views of the layer any more
    copied = dense.kernel.numpy()
    copied[...] = 9
    assert dense.kernel.value.max() == 2
    with pytest.raises(ValueError, match=r"weight 'dense/kernel': expected shape \(2, 3\), got \(3, 2\)"):
        dense.kernel.assign(np.ones((3, 2)))
    assert Dense(3, use_bias=False).bias is None and BatchNormalization(scale=False).gamma is None
    with pytest.raises(AttributeError, match="no attribute 'kernal'"):
        dense.kernal  # noqa: B018


@pytest.mark.parametrize(
    ("layer", "shape", "names"),
    [
        (Embedding(5, 2), (3,), ["embeddings"]),
        (DepthwiseConv2D(3), (5, 5, 2), ["depthwise_kernel", "bias"]),
        (LSTM(2), (3, 2), ["kernel", "recurrent_kernel", "bias"]),
        (BatchNormalization(), (2,), ["gamma", "beta", "moving_mean", "moving_variance"]),
    ],
)
def test_every_weight_is_an_attribute(layer, shape, names):
    Sequential([Input(shape), layer])
    for name in names:
        found = getattr(layer, name)
        assert np.shares_memory(found, {**layer.parameters, **layer.state}[name]) and found.name == name


def test_training_and_saving_see_what_was_assigned(tmp_path):
    model = Sequential([Input((4,)), Dense(1, use_bias=False)])
    model.layers[0].kernel.assign(np.ones((4, 1)))
    model.compile("sgd", "mse")
    kernel = model.layers[0].kernel
    model.fit(np.eye(4, dtype=np.float32), np.zeros((4, 1)), verbose=0)
    assert kernel.max() < 1  # the same memory after training
    model.save_weights(tmp_path / "w.npz")
    kernel.assign(np.zeros((4, 1)))
    model.load_weights(tmp_path / "w.npz")
    assert kernel.min() > 0


def test_a_layer_of_one_s_own_changes_its_state():
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    layer = Counting()
    model = Sequential([Input((3,)), layer, Dense(1)])
    layer.total.assign(np.zeros(3))
    model.compile("sgd", "mse")
    model.fit(x, x[:, :1], batch_size=10, epochs=2, verbose=0)
    np.testing.assert_allclose(layer.total, 2 * x.sum(axis=0), rtol=1e-5)
    assert np.abs(layer.scale - 1).max() > 1e-4 and layer.scale.array is layer.parameters["scale"]


@pytest.mark.parametrize("way", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer)), lambda m: m.astype("float64")])
def test_copies_of_a_layer_hold_their_own_weights(way):
    model = Sequential([Input((3,)), Counting()])
    copied = way(model)
    layer = copied.layers[0]
    assert layer.scale.array is layer.parameters["scale"] and layer.scale.dtype == layer.dtype
    layer.scale.assign(np.full(3, 5.0))
    assert copied.predict(np.ones((1, 3)), verbose=0).tolist() == [[5, 5, 5]]
    if copied is not model:
        assert model.predict(np.ones((1, 3)), verbose=0).tolist() == [[1, 1, 1]]


class Seen(Metric):
    """How many samples, and the sum of the largest error of each batch."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.samples = self.add_weight(name="samples", initializer="zeros")
        self.errors = self.add_weight("errors", shape=(2,), initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.samples.assign_add(len(y_true))
        self.errors.assign_add([np.abs(y_true - y_pred).max(), 1])

    def result(self):
        return self.samples


def test_a_metric_of_one_s_own_counts_in_weights():
    metric = Seen()
    assert metric.name == "seen" and [v.name for v in metric.variables] == ["samples", "errors"]
    model = Sequential([Input((2,)), Dense(1)])
    model.compile("sgd", "mse", metrics=[metric])
    x = np.ones((30, 2), np.float32)
    found = model.fit(x, x[:, :1], epochs=2, batch_size=10, validation_data=(x[:7], x[:7, :1]), verbose=0).history
    assert found["seen"] == [30, 30] and found["val_seen"] == [7, 7] and all(type(n) is float for n in found["seen"])
    metric.reset_state()
    assert metric.result() == 0 and metric.errors.tolist() == [0, 0]


def test_a_metric_is_called_and_shows_what_it_counts():
    precision = Precision()
    assert precision([0, 1, 1], [1, 1, 0]) == 0.5 and precision([0, 1, 1], [1, 1, 1]) == pytest.approx(0.6)
    assert {float(v.sum()) for v in precision.variables} >= {3.0, 2.0}  # hits and false alarms
    assert AUC()([0, 1], [0.2, 0.8]) == 1


def test_metrics_and_others_by_the_names_of_their_classes():
    model = Sequential([Input((2,)), Dense(1, kernel_initializer="HeNormal", kernel_regularizer="L2")])
    model.compile("Adam", "MeanSquaredError", metrics=["RootMeanSquaredError", "MeanAbsoluteError"])
    found = model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0).history
    assert set(found) == {"loss", "root_mean_squared_error", "mean_absolute_error"}
    with pytest.raises(ValueError, match="unknown metric 'RootMeanSquareError'"):
        model.compile("adam", "mse", metrics=["RootMeanSquareError"])


def test_models_of_shared_layers_name_each_weight_once():
    x = Input((3,))
    shared = Dense(3, name="shared")
    model = Model(x, shared(shared(x)))
    assert [w.path for w in model.weights] == ["shared/kernel", "shared/bias"]
    assert [w.path for w in clone_model(model).weights] == ["shared/kernel", "shared/bias"]


def test_the_same_object_every_time():
    layer = Dense(2)
    layer(np.ones((1, 3)))
    assert layer.weights == [layer.kernel, layer.bias] and layer.kernel is layer.kernel
    before = layer.kernel
    layer.astype("float64")
    assert layer.kernel is not before and layer.kernel.array is layer.parameters["kernel"]
    other = copy.deepcopy(layer)
    other.kernel.assign(np.zeros((3, 2)))
    assert layer.kernel.any() and not other.kernel.any()
    layer.trainable = False
    assert not layer.kernel.trainable and layer.trainable_weights == []


def test_a_variable_by_itself():
    array = np.ones((2, 2), np.float32)
    kernel = Variable.of(array, "kernel")
    assert (kernel.name, kernel.path, kernel.trainable) == ("kernel", "kernel", True) and kernel.array is array
    frozen = Variable.of(array, "kernel", "dense", False)
    assert (frozen.path, frozen.trainable) == ("dense/kernel", False)
    part = kernel[0]  # which is no weight, though it lies in one
    assert (part.array, part.name, part.path, part.trainable) == (None, None, None, False) and np.shares_memory(part, array)
    assert kernel.assign(3 * array) is kernel and kernel.assign_add(1) is kernel and kernel.assign_sub(2) is kernel
    np.testing.assert_array_equal(array, np.full((2, 2), 2.0))
    same = kernel
    kernel += 1
    assert kernel is same and np.add(kernel, 1, out=kernel) is kernel and array_of(kernel) is array
    np.testing.assert_array_equal(array, np.full((2, 2), 4.0))
    fractions, whole = (Variable.of(np.zeros(2, np.float32), name) for name in ("fractions", "whole"))
    made = np.modf(np.float32([1.5, 2.25]), out=(fractions, whole))
    assert made[0] is fractions and made[1] is whole and array_of(part) is part and array_of(7) == 7
    np.testing.assert_array_equal([fractions, whole], [[0.5, 0.25], [1, 2]])
    assert [type(x) for x in (kernel + kernel, np.add.reduce(kernel), kernel.value)] == [np.ndarray] * 3


class Weighted(Layer):
    def build(self, input_shape):
        self.first = self.add_weight((3,), initializer="ones")
        self.second = self.add_weight(shape=(2,), initializer="ones", trainable=False)
        self.third = self.add_weight((1,), "ones", name="named", constraint=MaxNorm(1.0))

    def call(self, x):
        return x * 1.0


def test_weights_without_a_name_and_with_the_shape_in_front():
    layer = Weighted()
    layer(ROWS)
    assert list(layer.parameters) == ["weight", "named"] and list(layer.state) == ["weight_1"]
    assert [w.shape for w in layer.get_weights()] == [(3,), (1,), (2,)]
    assert list(layer.constraints) == ["named"] and len(layer.trainable_weights) == 2
    layer.trainable = False
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 3


@pytest.mark.parametrize("positional", [
    lambda layer: layer.add_weight((4, 2), "ones", "float32", False, name="w", regularizer="l2"),  # Keras 3
    lambda layer: layer.add_weight((4, 2), initializer="ones", trainable=False, name="w", regularizer="l2", aggregation="mean"),
    lambda layer: layer.add_weight("w", (4, 2), "ones", "l2", False),
    lambda layer: layer.add_weight(name="w", shape=(4, 2), initializer="ones", regularizer="l2", trainable=False, dtype=None),
])  # fmt: skip
def test_the_orders_of_a_weight_s_settings(positional):
    layer = Weighted()
    weight = positional(layer)
    assert weight.tolist() == [[1, 1]] * 4 and list(layer.state) == ["w"] and list(layer.regularizers) == ["w"]


def test_settings_that_no_weight_has():
    with pytest.raises(TypeError, match=r"add_weight takes name, shape, .*, constraint, got initialiser"):
        Weighted().add_weight("w", (2,), initialiser="ones")
    with pytest.raises(TypeError, match=r"layer Weighted: add_weight takes shape, initializer, .*, name, got"):
        Weighted().add_weight((2,), *["ones"] * 9)
    layer = Weighted()
    assert layer.add_weight("w", 3, initializer=None, trainable=None).shape == (3,) and list(layer.parameters) == ["w"]


class Largest(Metric):
    def __init__(self, name="largest"):
        super().__init__(name)
        self.seen = self.add_weight((2,), initializer="zeros")
        self.number = self.add_weight(name="number", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.seen.assign(np.maximum(self.seen.numpy(), np.max(y_pred, axis=0)))
        self.number.assign_add(1.0)

    def result(self):
        return float(self.seen.numpy().max())


def test_variables_of_a_metric_go_on_from_a_state():
    metric, other = Largest(), Largest()
    assert metric.seen.shape == (2,) and metric.number.shape == ()
    metric.update_state(TARGETS, TARGETS)
    state = copy.deepcopy(metric.get_state())
    other.set_state(state)
    assert other.result() == metric.result() == TARGETS.max() and float(other.number.numpy()) == float(metric.number.numpy())
