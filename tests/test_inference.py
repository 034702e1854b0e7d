"""At inference: what a convolution takes along, and that it is what the layers give one after another."""

import numpy as np
import pytest

import minitl
from minitl.graph.steps import LayerStep
from minitl.graph.together import Folded, Joined, Separable
from minitl.kernels import convolution, fused, global_average_pool2d, padding, separable
from minitl.kernels.matrix_product import multiply
from minitl.kernels.processor import LEVEL_1, THREADS
from minitl.layers import (
    Activation,
    Add,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
    ReLU,
    ZeroPadding2D,
)
from minitl.models import Model
from minitl.ops.window import slide2d
from minitl.regularizers import L2

ROUTES = {  # images, kernel, strides: each takes another way through the engine
    "product": ((2, 9, 9, 32), (1, 1, 32, 80), (1, 1)),
    "product, long rows": ((1, 7, 7, 200), (1, 1, 200, 520), (1, 1)),
    "product, many rows": ((3, 20, 20, 16), (1, 1, 16, 96), (1, 1)),
    "product of some pixels": ((2, 9, 8, 32), (1, 1, 32, 64), (2, 3)),
    "Winograd, one block": ((1, 7, 7, 64), (3, 3, 64, 128), (1, 1)),
    "Winograd, one block, some channels at once": ((1, 8, 8, 160), (3, 3, 160, 512), (1, 1)),
    "Winograd, blocks": ((3, 16, 18, 32), (3, 3, 32, 48), (1, 1)),
    "Winograd, large tiles": ((2, 15, 18, 128), (3, 3, 128, 128), (1, 1)),
    "Winograd, large tiles in bands": ((1, 32, 32, 16), (3, 3, 16, 16), (1, 1)),
    "Winograd, channels that fill no vector": ((2, 16, 15, 24), (3, 3, 24, 32), (1, 1)),
    "Winograd, 5x5": ((1, 8, 8, 32), (5, 5, 32, 64), (1, 1)),
    "definition": ((2, 9, 9, 5), (3, 3, 5, 20), (2, 2)),
}


@pytest.fixture(params=ROUTES)
def arguments(request):
    images, kernel, strides = ROUTES[request.param]
    drawn = np.random.default_rng(1)
    return drawn.normal(size=images), drawn.normal(size=kernel), drawn.normal(size=kernel[-1]), strides


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("relu", [False, True])
def test_factors_of_filters_are_those_of_a_scaled_kernel_bit_for_bit(arguments, dtype, relu):
    x, kernel, bias, strides = arguments
    x, kernel, bias = x.astype(dtype), kernel.astype(dtype), bias.astype(dtype)
    scale = np.random.default_rng(2).normal(size=len(bias)).astype(dtype)
    y = convolution.convolve(x, kernel, bias, strides, "same", relu, scale)
    np.testing.assert_array_equal(y, convolution.convolve(x, kernel * scale, bias, strides, "same", relu))
    assert np.abs(y - convolution.convolve(x, kernel, bias, strides, "same", relu)).max() > 0.1
    with minitl.use_backend("numpy"):
        z = minitl.backend.op("conv2d").forward(x, kernel * scale, bias, strides, "same")[0]
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(y, np.maximum(z, 0) if relu else z, rtol=0, atol=tolerance * np.abs(z).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("relu", [False, True])
def test_a_skip_is_what_an_addition_behind_gives_bit_for_bit(arguments, dtype, relu):
    x, kernel, bias, strides = arguments
    x, kernel, bias = x.astype(dtype), kernel.astype(dtype), bias.astype(dtype)
    alone = convolution.convolve(x, kernel, bias, strides, "same", False)
    skip = np.random.default_rng(2).normal(size=alone.shape).astype(dtype)
    y = convolution.convolve(x, kernel, bias, strides, "same", relu, skip=skip)
    np.testing.assert_array_equal(y, np.maximum(alone + skip, 0) if relu else alone + skip)
    with pytest.raises(ValueError, match="skips with"):
        convolution.convolve(x, kernel, bias, strides, "same", relu, skip=skip[:, :-1])


@pytest.mark.parametrize("route", ["Winograd, blocks", "definition"])
def test_factors_of_filters_in_front_of_a_pooling(route):
    images, kernel, _ = ROUTES[route]
    drawn = np.random.default_rng(1)
    x, kernel, bias, scale = (drawn.normal(size=s).astype("float32") for s in (images, kernel, kernel[-1:], kernel[-1:]))
    y = fused.forward(x, kernel, bias, (1, 1), "same", True, keep=False, scale=scale)[0]
    np.testing.assert_array_equal(y, fused.forward(x, kernel * scale, bias, (1, 1), "same", True, keep=False)[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("rows", "depth", "columns"), [(300, 260, 100), (13, 300, 530), (1, 40, 8), (5, 7, 3), (2000, 5, 70), (20, 2200, 260)]
)
def test_a_product_with_a_skip_and_a_ceiling(dtype, rows, depth, columns):
    drawn = np.random.default_rng(0)
    a, b, start, skip = (drawn.normal(size=s).astype(dtype) for s in ((rows, depth), (depth, columns), columns, (rows, columns)))
    plain = multiply(a, b, start)
    np.testing.assert_allclose(plain, a @ b + start, rtol=0, atol=(1e-4 if dtype == np.float32 else 1e-11) * depth**0.5)
    np.testing.assert_array_equal(multiply(a, b, start, skip=skip), plain + skip)
    np.testing.assert_array_equal(multiply(a, b, start, True, skip=skip), np.maximum(plain + skip, 0))
    np.testing.assert_array_equal(multiply(a, b, start, True, ceiling=1), np.clip(plain, 0, 1))
    skip[0, 0] = np.nan
    assert np.isnan(multiply(a, b, start, True, skip=skip, ceiling=1)[0, 0])


def listed(outputs):
    return outputs if isinstance(outputs, list) else [outputs]


def steps_of(model):
    return [step for kept in model._plans.values() for step, *_ in kept[1].program]


def residual(kernel, relu, shape=(12, 12, 16)):
    inputs = Input(shape)
    x = BatchNormalization()(Conv2D(16, kernel, padding="same", name="below")(inputs))
    y = BatchNormalization()(Conv2D(16, kernel, padding="same", use_bias=False, name="above")(x))
    y = Add()([x, y])
    y = ReLU()(y) if relu else y
    return Model(inputs, Dense(3)(GlobalAveragePooling2D()(y)))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("kernel", [1, 3])
def test_the_end_of_a_residual_block(kernel, relu):
    model = residual(kernel, relu)
    drawn = np.random.default_rng(0)
    for _, layer in model.named_layers():
        for array in layer.state.values():
            array[...] = drawn.uniform(0.5, 1.5, array.shape)
    x = drawn.normal(size=(3, 12, 12, 16)).astype("float32")
    together = model.predict(x, verbose=0)
    assert sum(type(step) is Folded and step.skips for step in steps_of(model)) == 1
    model.fuse = False
    np.testing.assert_allclose(together, model.predict(x, verbose=0), rtol=0, atol=1e-4)
    for _, layer in model.named_layers():  # weights are read at every call
        for array in layer.parameters.values():
            array *= 1.5
    model.fuse = True
    changed = model.predict(x, verbose=0)
    model.fuse = False
    np.testing.assert_allclose(changed, model.predict(x, verbose=0), rtol=1e-4, atol=1e-4)
    assert np.abs(changed - together).max() > 1e-2


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("fuse", [False, True])
def test_shapes_that_differ_only_at_run_time_are_named(kernel, relu, fuse):
    inputs = Input((None, None, 8))
    x = BatchNormalization()(Conv2D(8, kernel)(inputs))
    y = Add(name="add")([x, inputs if kernel == 3 else Conv2D(8, 3)(inputs)])
    model = Model(inputs, ReLU()(y) if relu else y)
    model.fuse = fuse
    with pytest.raises(ValueError, match=r"'add' \(Add\).*\(2, [79], [79], 8\).*\(2, [79], [79], 8\)"):
        model.predict(np.ones((2, 9, 9, 8), "float32"), verbose=0)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"'add' \(Add\).*\(2, [79], [79], 8\).*\(2, [79], [79], 8\)"):
        model.train_on_batch(np.ones((2, 9, 9, 8), "float32"), np.ones((2, 7, 7, 8) if kernel == 3 else (2, 9, 9, 8), "float32"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("border", [((1, 2), (0, 3)), ((0, 0), (0, 0)), ((5, 0), (0, 1))])
def test_zeros_around_images(dtype, border):
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(dtype)
    expected = np.pad(x, ((0, 0), *border, (0, 0)))
    np.testing.assert_array_equal(padding.surrounded(x, *zip(*border, strict=True)), expected)
    layer = ZeroPadding2D(border)
    y = layer(x)
    np.testing.assert_array_equal(y, expected.astype("float32"))
    np.testing.assert_array_equal(layer(x), y)  # it has memory of its own
    assert not np.shares_memory(layer(x), y)


@pytest.mark.parametrize(
    "settings", [{"max_value": 6}, {"max_value": 6, "negative_slope": 0.5}, {"max_value": 2, "threshold": 1}]
)
@pytest.mark.parametrize("below", ["normalisation", "convolution", "depthwise"])
def test_every_kind_of_relu_behind_a_normalisation(settings, below):
    inputs = Input((6, 6, 16))
    layers = {"normalisation": [], "convolution": [Conv2D(16, 1)], "depthwise": [DepthwiseConv2D(3, padding="same")]}[below]
    x = inputs
    for layer in layers:
        x = layer(x)
    model = Model(inputs, ReLU(**settings)(BatchNormalization()(x)))
    drawn = 6 * np.random.default_rng(0).normal(size=(2, 6, 6, 16)).astype("float32")
    together = model.predict(drawn, verbose=0)
    model.fuse = False
    alone = model.predict(drawn, verbose=0)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-4)
    assert alone.max() == settings["max_value"]


def mobile(
    size, channels, filters, strides=1, expansion=2, zeros=None, skip=False, activation="relu6", norm=True, dtype="float32"
):
    """A depthwise and a 1x1 convolution with what may stand around them; the numbers of their normalisations are drawn."""
    generator, inputs = np.random.default_rng(0), Input((*size, channels))
    x = ReLU()(BatchNormalization()(Conv2D(expansion * channels, 1, use_bias=False)(inputs)))
    if zeros is not None:
        x = ZeroPadding2D(zeros)(x)
    x = DepthwiseConv2D(3, strides, "valid" if zeros is not None else "same")(x)
    x = BatchNormalization()(x)
    x = Activation(activation)(x) if activation else x
    x = Conv2D(filters, 1)(x)
    x = BatchNormalization()(x) if norm else x
    x = Add()([x, inputs]) if skip else x
    model = Model(inputs, ReLU()(x) if norm else x).astype(dtype)
    for array in model.weights:
        signs = np.where(generator.random(array.shape) < 0.5 * (array.ndim == 4), -1, 1)  # but for variances
        array[...] = generator.uniform(0.2, 1, array.shape) * signs
    return model


MOBILE = {
    "plain": {"size": (16, 15), "channels": 16, "filters": 24},
    "skip": {"size": (16, 15), "channels": 24, "filters": 24, "skip": True},
    "zeros in front": {"size": (26, 24), "channels": 16, "filters": 70, "strides": 2, "zeros": ((0, 1), (0, 1))},
    "zeros, more": {"size": (16, 14), "channels": 16, "filters": 8, "zeros": ((2, 0), (1, 2)), "activation": "relu"},
    "no normalisation behind": {"size": (16, 16), "channels": 16, "filters": 16, "norm": False},
    "odd channels": {"size": (17, 15), "channels": 5, "filters": 7},
    "nothing cut off between": {"size": (16, 15), "channels": 16, "filters": 24, "activation": None},
    "many pixels": {"size": (38, 40), "channels": 16, "filters": 24, "expansion": 1},
    "many channels": {"size": (14, 14), "channels": 96, "filters": 130, "expansion": 6},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", MOBILE)
def test_a_depthwise_and_a_1x1_convolution_in_one_pass_are_the_two_to_the_bit(name, batch, dtype, monkeypatch):
    settings = MOBILE[name]
    model, shape = mobile(**settings, dtype=dtype), (batch, *settings["size"], settings["channels"])
    x = np.random.default_rng(1).normal(size=shape).astype(dtype)
    assert any(type(step) is Separable for step in model.new_run().plan.steps) is settings.get("norm", True)
    assert not any(type(step.layers[0]) is ZeroPadding2D for step in model.new_run().plan.steps if type(step) is LayerStep)
    together = model(x, training=False)
    with monkeypatch.context() as patch:
        patch.setattr(separable, "PIXELS", 10**9)
        separable._plan.cache_clear()
        np.testing.assert_array_equal(model.new_run().walk([x])[0], together)
    separable._plan.cache_clear()
    if not settings.get("norm", True):
        return
    calls = []
    monkeypatch.setattr(separable, "pointwise", lambda *_: calls.append(1))
    model.new_run().walk([x])
    assert not calls or (batch == 1 and THREADS > 2)  # it was one pass, unless a single image is cut into too small pieces
    model.fuse = False
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(together, model(x, training=False), rtol=tolerance, atol=tolerance * np.abs(together).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MOBILE)
def test_a_mean_behind_them_is_that_of_what_they_give_to_the_bit(name, dtype, monkeypatch):
    settings, keepdims = MOBILE[name], name in ("plain", "skip")
    images = mobile(**settings, dtype=dtype)
    model = Model(images.inputs, GlobalAveragePooling2D(keepdims=keepdims)(images.outputs[0])).astype(dtype)
    x = np.random.default_rng(1).normal(size=(2 * THREADS + 1, *settings["size"], settings["channels"])).astype(dtype)
    expected = images(x, training=False)
    expected, _ = global_average_pool2d.forward(np.asarray(expected))
    alone = []
    monkeypatch.setattr(separable.global_average_pool2d, "forward", lambda y: alone.append(len(y)) or (y.mean((1, 2)), None))
    found = {batch: model.new_run().walk([x[:batch]])[0] for batch in (len(x), 2 * THREADS - 1)}
    assert found[len(x)].shape == ((len(x), 1, 1, settings["filters"]) if keepdims else (len(x), settings["filters"]))
    if not settings.get("norm", True):
        return
    if not settings.get("skip"):
        np.testing.assert_array_equal(found[len(x)].reshape(expected.shape), expected)
    assert alone == [len(x)] * settings.get("skip", False) + [2 * THREADS - 1]  # few images are cut into pieces first


def test_a_mean_whose_input_is_needed_or_that_has_a_penalty_stays_by_itself():
    inputs = Input((16, 16, 8))
    y = BatchNormalization()(DepthwiseConv2D(3, padding="same")(inputs))
    y = BatchNormalization()(Conv2D(16, 1)(y))
    x = np.random.default_rng(0).normal(size=(2 * THREADS, 16, 16, 8)).astype("float32")
    penalised = Model(inputs, GlobalAveragePooling2D(activity_regularizer="l2")(y))
    penalised.compile("sgd", "mse")
    mean = penalised.predict(x, verbose=0)
    penalty = 0.01 * (mean.astype("float64") ** 2).sum() / len(x)
    assert penalised.evaluate(x, mean, batch_size=len(x), verbose=0) == pytest.approx(penalty, rel=1e-5)
    both = Model(inputs, [GlobalAveragePooling2D()(y), y])(x, training=False)
    np.testing.assert_array_equal(both[0], mean)
    np.testing.assert_allclose(both[1].mean((1, 2)), mean, rtol=1e-4, atol=1e-5)


def test_how_a_depthwise_and_a_1x1_convolution_are_cut():
    def plan(images, width, channels, filters=64):
        x, kernel = (images, width, width, channels), (3, 3, channels, 1)
        axes = slide2d(x, kernel[:2], (1, 1), "same")
        window = kernel, (1, 1), (1, 1), *axes, (True, 6)
        return separable._plan(x, *window, filters, (False, 0, False), np.dtype("float32"))

    tasks, scratch, packed = plan(16, 56, 144)  # rows of 32,256 bytes, of which 8 stay in the level-2 cache
    assert (tasks, packed.plan.chunks, scratch) == (16 * 7, 7, 8 * 56 * 144)
    assert plan(1, 48, 16)[0] == min(48, 2 * THREADS) and plan(2 * THREADS, 48, 16)[0] == 2 * THREADS
    assert [plan(images, 7, 960)[2] is None for images in (1, 2 * THREADS)] == [True, False]  # too few pixels per task
    fits, larger = plan(1, 1024, 128), plan(1, 1025, 128)  # a row of 512 KiB, and one that is longer
    assert fits[2] is not None and larger[2] is None
    deep = plan(2 * THREADS, 14, 960)[2].plan
    assert deep.terms * deep.panel_columns * 4 <= LEVEL_1 < 2 * deep.terms * deep.panel_columns * 4


@pytest.mark.parametrize("second", [Conv2D(8, 1, 2), Conv2D(8, 2), Dense(8)], ids=["strided", "wider", "dense"])
def test_what_is_no_depthwise_and_1x1_convolution_stays_two(second):
    inputs = Input((12, 12, 16))
    between = ReLU()(BatchNormalization()(DepthwiseConv2D(3, padding="same")(inputs)))
    x = np.random.default_rng(0).normal(size=(3, 12, 12, 16)).astype("float32")
    for outputs in (second(between), [Conv2D(8, 1)(between), between], [Conv2D(8, 1)(between), Conv2D(8, 1)(between)]):
        model = Model(inputs, outputs)
        found = listed(model(x, training=False))
        assert not any(type(step) is Separable for step in model.new_run().plan.steps)
        model.fuse = False
        for a, b in zip(found, listed(model(x, training=False)), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)


def test_zeros_that_a_window_does_not_reach_beyond_or_that_are_needed_elsewhere_are_there():
    inputs = Input((6, 6, 16))
    for border, two in (((3, 0), (0, 0)), False), ((1, 1), True):
        padded = ZeroPadding2D(border)(inputs)
        y = BatchNormalization()(DepthwiseConv2D(3)(padded))
        model = Model(inputs, [y, padded] if two else y)
        found = listed(model(np.ones((2, 6, 6, 16), "float32"), training=False))
        assert any(type(step.layers[0]) is ZeroPadding2D for step in model.new_run().plan.steps if type(step) is LayerStep)
        model.fuse = False
        for a, b in zip(found, listed(model(np.ones((2, 6, 6, 16), "float32"), training=False)), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)


def chosen(kind, inputs):
    """What stands in front of a padding and a pooling, and whether none of it is below zero."""
    relu = Conv2D(8, 1, activation="relu")(inputs)
    return {
        "a ReLU": (ReLU()(BatchNormalization()(inputs)), True),
        "a convolution's": (relu, True),
        "a concatenation": (Concatenate()([relu, ReLU(6)(inputs)]), True),
        "a pooling": (MaxPooling2D(1)(relu), True),
        "anything": (Conv2D(8, 1)(inputs), False),
        "a leaky one": (ReLU(negative_slope=0.1)(inputs), False),
        "a mixture": (Concatenate()([relu, inputs]), False),
        "the input": (inputs, False),
    }[kind]


KINDS = ["a ReLU", "a convolution's", "a concatenation", "a pooling", "anything", "a leaky one", "a mixture", "the input"]


@pytest.mark.parametrize("border", [((1, 1), (0, 2)), ((3, 0), (0, 0))])
@pytest.mark.parametrize("kind", KINDS)
def test_zeros_in_front_of_a_pooling_that_never_chooses_them_need_not_be_there(kind, border):
    inputs = Input((7, 8, 4))
    value, positive = chosen(kind, inputs)
    model = Model(inputs, MaxPooling2D(3, 2)(ZeroPadding2D(border)(value)))
    x = np.random.default_rng(0).normal(size=(3, 7, 8, 4)).astype("float32") - 1
    together = model(x, training=False)
    kinds = [type(step).__name__ for step in model.new_run().plan.steps]
    assert ("PaddedPooling" in kinds) is (positive and border[0][0] < 3)
    assert "PaddedPooling" not in [type(step).__name__ for step in model.new_run(keep=True).plan.steps]
    model.fuse = False
    np.testing.assert_allclose(together, model(x, training=False), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("norm", [True, False])
def test_a_penalty_on_padded_images_is_counted(norm):
    inputs = Input((9, 9, 16))
    y = DepthwiseConv2D(3)(ZeroPadding2D(1, activity_regularizer=L2(0.5))(inputs))
    model = Model(inputs, BatchNormalization()(y) if norm else y)
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(4, 9, 9, 16)).astype("float32")
    losses = []
    for model.fuse in (True, False):
        losses.append(model.evaluate(x, np.zeros_like(x), verbose=0))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] > 0.5 * (x**2).sum() / len(x)


def test_a_padding_that_changes_between_two_calls_is_noticed():
    model = mobile((8, 8), 16, 8, strides=2, zeros=((0, 1), (0, 1)))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 16)).astype("float32")
    assert model(x, training=False).shape == (2, 4, 4, 8)
    layer = next(layer for layer in model.layers if type(layer) is ZeroPadding2D)
    layer.padding, layer.border = 2, ((2, 2), (2, 2))
    assert model(x, training=False).shape == (2, 5, 5, 8)


def test_images_of_another_shape_are_refused_by_the_layer_in_front():
    inputs = Input((None, None, 8))
    y = BatchNormalization()(DepthwiseConv2D(3)(ZeroPadding2D(1, name="zeros")(inputs)))
    model = Model(inputs, BatchNormalization()(Conv2D(4, 1)(y)))
    assert any(type(step) is Separable for step in model.new_run().plan.steps)
    with pytest.raises(ValueError, match=r"'zeros' \(ZeroPadding2D\)"):
        model.new_run().forward([np.ones((2, 9, 9, 4), "float32")])


def branches(shape=(9, 9, 16)):
    """What an Inception module has: parts that take every way through the engine, and one that no convolution made."""
    inputs = Input(shape)
    pointwise = Conv2D(24, 1, activation="relu")(inputs)
    winograd = Conv2D(32, 3, padding="same", activation="relu")(inputs)
    definition = Conv2D(5, 3, padding="same", activation="relu")(inputs)
    folded = ReLU()(BatchNormalization()(Conv2D(48, 1, use_bias=False)(inputs)))
    linear = BatchNormalization()(Conv2D(32, 5, padding="same")(inputs))
    return inputs, [pointwise, winograd, definition, inputs, folded, linear]


@pytest.mark.parametrize("batch", [1, 7])
def test_convolutions_write_their_parts_of_a_concatenation(batch, monkeypatch):
    inputs, parts = branches()
    model = Model(inputs, Concatenate()(parts))
    x = np.random.default_rng(0).normal(size=(batch, 9, 9, 16)).astype("float32")
    with monkeypatch.context() as patch:
        patch.setattr(Concatenate, "compute", None)
        together = model.predict(x, verbose=0)
    joined = [step for step in steps_of(model) if type(step) is Joined]
    assert len(joined) == 1
    assert len(steps_of(model)) == 1
    assert sum(part is not None for part in joined[0].parts) == 5
    first = 0
    for value in parts:  # each is, bit for bit, what its layers give alone
        alone = Model(inputs, value).predict(x, verbose=0) if value is not inputs else x
        np.testing.assert_array_equal(together[..., first : first + alone.shape[-1]], alone)
        first += alone.shape[-1]
    assert first == together.shape[-1]
    model.fuse = False
    np.testing.assert_allclose(together, model.predict(x, verbose=0), rtol=0, atol=1e-4)


def test_parts_that_are_needed_elsewhere_or_lie_along_another_axis_are_not_written_in_place():
    inputs, parts = branches()
    x = np.random.default_rng(0).normal(size=(2, 9, 9, 16)).astype("float32")
    for outputs in (
        [Concatenate()([parts[0], parts[1]]), parts[0], parts[1]],
        Concatenate(axis=1)([parts[1], parts[5]]),
        Concatenate()([inputs, inputs]),
    ):
        model = Model(inputs, outputs)
        found = model.predict(x, verbose=0)
        assert not any(type(step) is Joined for step in steps_of(model))
        model.fuse = False
        for a, b in zip(*(r if isinstance(r, list) else [r] for r in (found, model.predict(x, verbose=0))), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)
    one_value_twice = Model(inputs, Concatenate()([parts[0], parts[0], parts[1]]))
    y = one_value_twice.predict(x, verbose=0)
    np.testing.assert_array_equal(y[..., :24], y[..., 24:48])


def test_an_axis_that_changes_between_two_calls_is_noticed():
    inputs, parts = branches()
    layer = Concatenate()
    model = Model(inputs, layer([parts[1], parts[5]]))
    x = np.ones((2, 9, 9, 16), "float32")
    assert model.predict(x, verbose=0).shape == (2, 9, 9, 64)
    layer.axis = 1
    assert model.predict(x, verbose=0).shape == (2, 18, 9, 32)


def test_parts_of_other_sizes_at_run_time_are_named():
    inputs = Input((None, None, 8))
    model = Model(inputs, Concatenate(name="side")([Conv2D(8, 3, activation="relu")(inputs), inputs]))
    with pytest.raises(ValueError, match="side"):
        model.predict(np.ones((2, 9, 9, 8), "float32"), verbose=0)


@pytest.mark.parametrize("norm", [True, False])
def test_a_sum_of_two_shapes_is_no_end_of_a_block(norm):
    inputs = Input((6, 6, 16))
    x = Conv2D(8, 3)(inputs)
    x = BatchNormalization()(x) if norm else x
    model = Model(inputs, ReLU()(Add()([x, Dense(8)(GlobalAveragePooling2D(keepdims=True)(inputs))])))
    images = np.random.default_rng(0).normal(size=(3, 6, 6, 16)).astype("float32")
    together = model(images, training=False)
    assert any(type(step.layers[0]) is Add for step in steps_of(model))
    model.fuse = False
    np.testing.assert_allclose(together, model(images, training=False), rtol=0, atol=1e-5)


def test_both_branches_of_a_sum_are_folded():
    inputs = Input((8, 8, 16))
    main = BatchNormalization()(Conv2D(32, 3, padding="same")(inputs))
    projection = BatchNormalization()(Conv2D(32, 1)(inputs))
    model = Model(inputs, ReLU()(Add()([projection, main])))
    for layer in model.layers:
        if type(layer) is BatchNormalization:
            layer.set_weights([np.random.default_rng(k).uniform(0.5, 1.5, 32).astype("float32") for k in range(4)])
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 16)).astype("float32")
    together = model.predict(x, verbose=0)
    assert [type(step) for step in steps_of(model)] == [Folded, Folded]
    assert [step.skips for step in steps_of(model)] in ([False, True], [True, False])
    model.fuse = False
    np.testing.assert_allclose(together, model.predict(x, verbose=0), rtol=0, atol=1e-4)
