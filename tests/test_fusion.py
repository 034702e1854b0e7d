"""Layers that run together give what they give alone; and compiled update rules what their NumPy lines give."""

import gc
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import plain_conv2d
from hypothesis import given
from hypothesis import strategies as st

import minitl
from minitl.gradcheck import check_gradients
from minitl.graph.together import PaddedDepthwise
from minitl.kernels import arrays, fused, memory
from minitl.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    Input,
    MaxPooling2D,
    ReLU,
    ZeroPadding2D,
)
from minitl.models import Model, Sequential
from minitl.ops import conv2d, max_pool2d, relu
from minitl.optimizers import SGD, Adam, AdamW, RMSprop


def one_after_another(x, kernel, bias, strides, padding, pool):
    """The book's operations in a row, and the way back."""
    z, kept = conv2d.forward(x, kernel, bias, strides, padding)
    y, mask = relu.forward(z)
    if pool:
        y, winners = max_pool2d.forward(y, (2, 2), (2, 2))

    def backward(dy):
        if pool:
            dy = max_pool2d.backward(dy, winners)
        return conv2d.backward(relu.backward(dy, mask), kept)

    return y, backward


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_fused_is_one_after_another(dtype, data):
    arguments = data.draw(plain_conv2d(dtype))
    out = conv2d.forward(*arguments)[0].shape
    pool = data.draw(st.booleans()) and min(out[1:3]) >= 2
    y, backward = one_after_another(*arguments, pool)
    y2, cache = fused.forward(*arguments, pool)
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    scale = max(1.0, np.abs(y).max())
    assert y2.dtype == dtype
    np.testing.assert_allclose(y2, y, rtol=0, atol=tolerance * scale)
    np.testing.assert_array_equal(fused.forward(*arguments, pool, keep=False)[0], y2)
    dy = np.random.default_rng(0).standard_normal(y.shape).astype(dtype)
    gradients = fused.backward(dy, cache)
    for a, b in zip(gradients[1:], fused.backward(dy, cache, need_dx=False)[1:], strict=True):
        np.testing.assert_array_equal(a, b)  # a first layer's, made without dz
    if dtype == np.float32:
        return  # a rounding difference may change a winner; in float64 it practically never does
    for a, b in zip(backward(dy), gradients, strict=True):
        if a is not None:
            np.testing.assert_allclose(b, a, rtol=0, atol=1e-11 * max(1.0, np.abs(a).max()))


def test_ties_and_zeros_go_where_the_book_says():
    generator = np.random.default_rng(0)
    x = generator.integers(-1, 2, (4, 9, 8, 2)).astype(np.float64)
    kernel = generator.integers(-1, 2, (2, 2, 2, 5)).astype(np.float64)
    y, backward = one_after_another(x, kernel, None, (1, 1), "valid", True)
    y2, cache = fused.forward(x, kernel, None, (1, 1), "valid", True)
    np.testing.assert_array_equal(y2, y)
    dy = generator.integers(1, 4, y.shape).astype(np.float64)
    for a, b in zip(backward(dy)[:2], fused.backward(dy, cache)[:2], strict=True):
        np.testing.assert_array_equal(b, a)


def test_nan_is_not_swallowed():
    x = np.ones((1, 5, 5, 1))
    x[0, 2, 2, 0] = np.nan
    for pool in (False, True):
        y, _ = fused.forward(x, np.ones((2, 2, 1, 20)), None, (1, 1), "valid", pool)
        assert np.isnan(y).any()


@pytest.mark.parametrize("pool", [False, True])
def test_a_dy_of_another_shape_never_reaches_the_kernel(pool):
    y, cache = fused.forward(np.ones((2, 6, 6, 1)), np.ones((3, 3, 1, 4)), None, (1, 1), "valid", pool)
    for wrong in (np.ones((3, *y.shape[1:])), np.ones((*y.shape[:3], 5))):
        with pytest.raises(ValueError, match="dy must have shape"):
            fused.backward(wrong, cache)


def network():
    return Sequential(
        [
            Input((14, 13, 3)),
            Conv2D(5, 3, activation="relu", kernel_regularizer="l2"),
            MaxPooling2D(),
            Conv2D(6, 3, padding="same", strides=(1, 2), activation="relu", use_bias=False),
            BatchNormalization(),
            ReLU(),
            Conv2D(7, 2, activation="relu"),
            AveragePooling2D(),
            Flatten(),
            Dense(8, activation="relu"),
            Dense(4, activation="softmax"),
        ]
    )


X = np.random.default_rng(0).standard_normal((9, 14, 13, 3)).astype(np.float32)
Y = np.arange(9) % 4


def plan_of(model, keep=True):
    return model.new_run(keep=keep).plan.steps


def test_the_plan():
    model = network()
    steps = [(type(step).__name__, [layer.name for layer in step.layers]) for step in plan_of(model)]
    assert steps[:3] == [
        ("Fused", ["conv2d", "max_pooling2d"]),
        ("Fused", ["conv2d_1"]),
        ("FusedNormalization", ["batch_normalization", "re_lu"]),
    ]
    assert steps[-2:] == [("Fused", ["dense"]), ("LayerStep", ["dense_1"])]
    model.fuse = False
    assert all(len(step.nodes) == 1 for step in plan_of(model))
    model.fuse = True
    with minitl.use_backend("numpy"):
        assert all(type(step).__name__ == "LayerStep" for step in plan_of(model))

    class Mine(Conv2D):
        def forward(self, x, training=False):
            return super().forward(x, training) * 2

    mine = Sequential([Input((9, 9, 3)), Mine(3, 3, activation="relu"), MaxPooling2D()])
    assert [type(step).__name__ for step in plan_of(mine)] == ["UserStep", "LayerStep"]
    x = np.random.default_rng(0).standard_normal((2, 9, 9, 3))
    assert check_gradients(mine, x).ok is False  # it says nothing of the factor in its backward


@pytest.mark.parametrize("frozen", [[], ["conv2d"], ["conv2d_1", "dense"], ["batch*", "conv2d_2"], ["conv*", "batch*"]])
def test_a_fused_model_trains_like_an_unfused_one(frozen):
    results = []
    for fuse in (True, False):
        minitl.set_random_seed(0)
        model = network().astype(np.float64)
        model.fuse = fuse
        minitl.transfer.freeze(model, frozen)
        model.compile(SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy")
        model.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0)
        results.append([*model.get_weights(), model.predict(X)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_a_plan_follows_its_model():
    import copy

    model = network()
    before = model.predict(X)
    twin = copy.deepcopy(model)
    twin.layers[0].parameters["kernel"][:] = 0
    assert (twin.predict(X) != before).any()
    np.testing.assert_array_equal(model.predict(X), before)
    model.layers[0].activation = "tanh"
    changed = model.predict(X)
    model.fuse = False
    np.testing.assert_allclose(changed, model.predict(X), atol=1e-6)
    assert (changed != before).any()
    model.pop()
    assert model.predict(X).shape == (9, 8)
    with pytest.raises(ValueError, match="needs a forward pass"):
        network().backward(np.ones((9, 4)))
    with pytest.raises(ValueError, match="needs a forward pass"):
        network().new_run(keep=True).backward([np.ones((9, 4))])


@pytest.mark.parametrize("use_bias", [True, False])
def test_normalisation_folds_into_the_convolution_at_inference(use_bias):
    model = Sequential([Input((14, 13, 3))])
    for tail in ([ReLU(), MaxPooling2D()], [Activation("relu")], [MaxPooling2D()], []):
        model.add(Conv2D(5, 3, padding="same", use_bias=use_bias, bias_initializer="ones"))
        model.add(BatchNormalization(momentum=0.5, scale=bool(tail)))
        for layer in tail:
            model.add(layer)
    model.astype(np.float64)
    for _ in range(3):
        model(X, training=True)
    folded = [type(step).__name__ for step in plan_of(model, keep=False)]
    assert folded == ["Folded", "Folded", "Folded", "LayerStep", "Folded"]
    with_folding = model.predict(X)
    model.fuse = False
    np.testing.assert_allclose(with_folding, model.predict(X), atol=1e-12)
    assert with_folding.std() > 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("border", [((0, 1), (0, 1)), ((2, 0), (1, 2)), ((0, 0), (0, 0))])
@pytest.mark.parametrize("strides", [1, 2])
def test_zeros_in_front_of_a_depthwise_convolution_need_not_be_there(strides, border, dtype):
    inputs = Input((9, 8, 16))
    x = DepthwiseConv2D(3, strides)(ZeroPadding2D(border)(BatchNormalization()(inputs)))
    model = Model(inputs, DepthwiseConv2D(3, depth_multiplier=2)(ZeroPadding2D(border)(x))).astype(dtype)
    generator, results = np.random.default_rng(0), []
    images = generator.normal(size=(5, 9, 8, 16)).astype(dtype)
    for fuse in (True, False):
        model.fuse = fuse
        run = model.new_run(keep=True, need_dx=(True,))
        kinds = [type(step).__name__ for step in run.plan.steps]
        assert kinds.count("PaddedDepthwise") == (2 if fuse else 0)
        (y,) = run.forward([images], training=True)
        dx = run.backward([np.random.default_rng(1).normal(size=y.shape).astype(dtype)])
        results.append([y, *dx, *(array for layer in model.layers for _, array in sorted(run.gradients.get(layer, {}).items()))])
    assert len(results[0]) == 2 + 2 + 4
    for together, alone in zip(*results, strict=True):
        np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("layer", [Conv2D(4, 3), DepthwiseConv2D(3, padding="same"), DepthwiseConv2D(3, activation="relu")])
def test_zeros_that_something_else_needs_are_there(layer):
    inputs = Input((6, 6, 8))
    for border in (1, 3):
        padded = ZeroPadding2D(border)(inputs)
        plans = [Model(inputs, layer(padded)), Model(inputs, [DepthwiseConv2D(3)(padded), padded])]
        plans += [Model(inputs, DepthwiseConv2D(3)(padded))] if border == 3 else []
        for model in plans:
            assert not any(type(step) is PaddedDepthwise for step in model.new_run(keep=True).plan.steps)


def test_gradients_through_the_fused_paths():
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    report = check_gradients(model, X, y=Y, samples=40)
    assert report.ok, report


def test_a_fused_step_at_the_top():
    model = Sequential([Input((14, 13, 3)), Conv2D(3, 3, activation="relu"), MaxPooling2D()])
    model.compile("sgd", "mse")
    y = model.predict(X)
    assert model.train_on_batch(X, y * 0 + 1) > 0
    assert check_gradients(model, X, samples=50).ok


@pytest.mark.parametrize(
    "make",
    [
        lambda: SGD(0.1, weight_decay=0.01),
        lambda: SGD(0.1, momentum=0.9),
        lambda: SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda: Adam(0.1),
        lambda: AdamW(0.1, weight_decay=0.1),
        lambda: RMSprop(0.1),
        lambda: RMSprop(0.1, momentum=0.5, weight_decay=0.1, clipnorm=0.5),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_updates_follow_the_formulas(make, dtype):
    results = []
    for backend in ("numpy", "numba"):
        generator = np.random.default_rng(0)
        weights = [generator.standard_normal(shape).astype(dtype) for shape in ((3,), (130, 140), (1, 1), (7, 5, 3))]
        optimizer = make()
        with minitl.use_backend(backend):
            for _ in range(4):
                gradients = [generator.standard_normal(w.shape).astype(dtype) for w in weights]
                optimizer.apply([(str(i), w, g) for i, (w, g) in enumerate(zip(weights, gradients, strict=True))])
        assert optimizer.iterations == 4
        results.append(weights)
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6 if dtype == np.float32 else 0)


def test_an_optimizer_of_one_s_own_is_asked():
    class Backwards(SGD):
        def update(self, w, g, memory, rate):
            w += rate * g

    w = np.zeros(3, np.float32)
    Backwards(1.0).apply([("w", w, np.ones(3, np.float32))])
    np.testing.assert_array_equal(w, 1)


def test_memory_is_used_again_but_never_while_it_is_held():
    def address(array):
        return array.__array_interface__["data"][0]

    gc.collect()
    first = memory.empty((100, 200), np.float32)
    assert address(first) % memory.ALIGNMENT == 0
    held = address(first)
    view = first[10:20].T
    del first
    assert address(memory.empty((100, 200), np.float32)) != held  # the view still looks into it
    view[:] = 7
    other = memory.empty((100, 200), np.float32)
    other[:] = 0
    assert (view == 7).all()
    del view
    assert held in {address(a) for a in [memory.empty((100, 200), np.float32) for _ in range(3)]} or held == address(other)
    zeros = arrays.zeros((300, 100), np.float64)
    assert zeros.shape == (300, 100) and zeros.dtype == np.float64 and not zeros.any()


def test_shelves_are_bounded(monkeypatch):
    monkeypatch.setattr(memory, "_shelf", {})
    monkeypatch.setattr(memory, "_arenas", weakref.WeakSet())
    monkeypatch.setattr(memory, "SHELF_LIMIT", 160_000)
    arrays = [memory.empty((64, 1000), np.uint8) for _ in range(5)]
    assert memory._held() <= 160_000
    assert len({array.__array_interface__["data"][0] for array in arrays}) == 5
    assert sum(map(len, memory._shelf.values())) == 2
    kept = arrays[0]
    del arrays
    larger = memory.empty((90, 1000), np.uint8)  # there is room for it once the unused block is given back
    assert sorted(map(len, memory._shelf.values())) == [1, 1]
    kept[:], larger[:] = 1, 2
    assert (kept == 1).all() and memory._held() <= 160_000
    del kept, larger
    arena = memory.Arena()
    own = arena.empty((64, 1000), np.dtype(np.uint8))  # off the shelf
    assert sum(map(len, memory._shelf.values())) == 1 and memory._held() <= 160_000
    for _ in range(3):
        memory.empty((60, 1000), np.uint8)
    assert memory._held() <= 160_000
    size = arena.size
    del arena, own
    assert memory._held() <= 160_000 - size
    arena = memory.Arena()
    arrays = [arena.empty((rows, 1000), np.dtype(np.uint8)) for rows in (40, 60)]
    arena.give_back(arrays.pop())
    assert arena.size == sum(len(block) - memory.ALIGNMENT for block, _ in arena.blocks) and len(arena.blocks) == 1
    arena.give_back(arrays.pop())
    assert arena.size == 0 and not arena.blocks


def test_threads_never_share_a_block():
    def work(mark):
        for _ in range(200):
            a, b = memory.empty((100, 200), np.float32), memory.empty((100, 200), np.float32)
            a[:], b[:] = mark, -mark
            time.sleep(0)
            assert (a == mark).all() and (b == -mark).all()

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, mark) for mark in range(1, 9)]:
            done.result()
