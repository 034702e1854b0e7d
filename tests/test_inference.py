"""At inference: what a convolution takes along, and that it is what the layers give one after another."""

import numpy as np
import pytest

import minitl
from minitl.graph.rules import Folded
from minitl.kernels import convolution, fused, padding
from minitl.kernels.matrix_product import multiply
from minitl.layers import Add, BatchNormalization, Conv2D, Dense, GlobalAveragePooling2D, Input, ReLU, ZeroPadding2D
from minitl.models import Model

ROUTES = {  # images, kernel, strides: each takes another way through the engine
    "product": ((2, 9, 9, 32), (1, 1, 32, 80), (1, 1)),
    "product, long rows": ((1, 7, 7, 200), (1, 1, 200, 520), (1, 1)),
    "product, many rows": ((3, 20, 20, 16), (1, 1, 16, 96), (1, 1)),
    "product of some pixels": ((2, 9, 8, 32), (1, 1, 32, 64), (2, 3)),
    "Winograd, one block": ((1, 7, 7, 64), (3, 3, 64, 128), (1, 1)),
    "Winograd, one block, some channels at once": ((1, 8, 8, 160), (3, 3, 160, 512), (1, 1)),
    "Winograd, blocks": ((3, 16, 18, 32), (3, 3, 32, 48), (1, 1)),
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


@pytest.mark.parametrize("route", ["Winograd, blocks", "definition"])
def test_factors_of_filters_in_front_of_a_pooling(route):
    images, kernel, _ = ROUTES[route]
    drawn = np.random.default_rng(1)
    x, kernel, bias, scale = (drawn.normal(size=s).astype("float32") for s in (images, kernel, kernel[-1:], kernel[-1:]))
    y = fused.forward(x, kernel, bias, (1, 1), "same", True, keep=False, scale=scale)[0]
    np.testing.assert_array_equal(y, fused.forward(x, kernel * scale, bias, (1, 1), "same", True, keep=False)[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "depth", "columns"), [(300, 260, 100), (13, 300, 530), (1, 40, 8), (5, 7, 3), (2000, 5, 70)])
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
    steps = [step for kept in model._plans.values() for step, *_ in kept[1].program]
    assert sum(type(step) is Folded and step.skips for step in steps) == 1
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
