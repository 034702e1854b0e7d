"""The book and the engine agree, on generated shapes, strides, paddings and odd sizes."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import CASES, forward_arguments
from hypothesis import given, settings
from hypothesis import strategies as st

from minitl.kernels import simd
from minitl.kernels.processor import ROWS, VECTOR_BYTES, VECTORS
from minitl.kernels.simd import panels, pooled_tile, tile
from minitl.kernels.simd.addresses import address_of

JIT = os.environ.get("NUMBA_DISABLE_JIT") != "1"


def close(a, b, dtype):
    assert a.shape == b.shape
    assert a.dtype == b.dtype == dtype
    scale = max(1.0, float(np.abs(a).max(initial=0)))
    np.testing.assert_allclose(b, a, rtol=0, atol=scale * (2e-5 if dtype == np.float32 else 1e-12))


def arrays(result):
    return [r for r in (result if isinstance(result, tuple) else (result,)) if r is not None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(CASES))
@given(data=st.data())
def test_book_and_engine_agree(name, dtype, data):
    book, engine = (importlib.import_module(f"minitl.{folder}.{name}") for folder in ("ops", "kernels"))
    arguments = data.draw(CASES[name](dtype, ties=data.draw(st.booleans())))
    kept = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    y, cache = book.forward(*forward_arguments(name, arguments))
    y2, cache2 = engine.forward(*forward_arguments(name, arguments))
    if np.ndim(y) == 0:
        assert y2 == pytest.approx(y, rel=1e-5 if dtype == np.float32 else 1e-12, abs=1e-6)
        dy = 0.7
    else:
        close(y, y2, dtype)
        dy = np.random.default_rng(0).standard_normal(y.shape).astype(dtype)
    expected = book.backward(dy, cache)
    # Caches are the same: each house's backward takes what the other's forward kept.
    for dx in (engine.backward(dy, cache2), engine.backward(dy, cache), book.backward(dy, cache2)):
        for a, b in zip(arrays(expected), arrays(dx), strict=True):
            close(a, b, dtype)
    for before, after in zip(kept, arguments, strict=True):
        np.testing.assert_array_equal(before, after)  # nobody writes to an argument


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [3, 20])
@pytest.mark.parametrize("ceiling", [0, 1])
@pytest.mark.parametrize("skips", [False, True])
def test_a_normalisation_with_a_relu_behind_is_both_in_the_book(dtype, channels, ceiling, skips):
    book, engine = (importlib.import_module(f"minitl.{folder}.batch_norm") for folder in ("ops", "kernels"))
    drawn = np.random.default_rng(0)
    x, skip, dy = (drawn.standard_normal((3, 4, 5, channels)).astype(dtype) for _ in range(3))
    gamma, beta = (drawn.uniform(0.3, 2.5, channels).astype(dtype) * sign for sign in (1, -1))
    constants = (gamma, beta, *engine.statistics(x), 1e-3, True)
    z, cache = book.forward(x, *constants)
    y, kept, before = engine.normalise(x, *constants, relu=True, ceiling=ceiling, skip=skip if skips else None)
    z = z + skip if skips else z
    close(np.clip(z, 0, ceiling or np.inf), y, dtype)
    dz = dy * ((z > 0) & ((z < ceiling) | (ceiling == 0)))
    if skips:
        found, sums = engine.behind_skip(dy, None, kept, y, ceiling)
        close(dz, found, dtype)
        found = engine.gradients(found, kept, None, True, True, sums=sums)
    else:
        found = engine.gradients(dy, kept, before, True, True, ceiling)
    for expected, gradient in zip(book.backward(dz, cache), found, strict=True):
        close(expected, gradient, dtype)


@pytest.mark.parametrize("folder", ["ops", "kernels"])
@pytest.mark.parametrize("name", sorted(CASES))
@given(data=st.data())
@settings(max_examples=3)
def test_a_gradient_of_another_shape_is_refused(name, folder, data):
    module = importlib.import_module(f"minitl.{folder}.{name}")
    arguments = data.draw(CASES[name](np.float64))
    y, cache = module.forward(*forward_arguments(name, arguments))
    if np.ndim(y):
        for shape in ((*y.shape, 1), (y.shape[0] + 1, *y.shape[1:]), (*y.shape[:-1], y.shape[-1] + 1)):
            with pytest.raises(ValueError, match=re.escape(f"dy must have shape {y.shape}, got {shape}")):
                module.backward(np.ones(shape), cache)


@pytest.mark.parametrize("name", ["conv2d", "dense", "batch_norm", "depthwise_conv2d", "conv2d_transpose", "group_norm"])
@given(data=st.data())
def test_what_is_not_needed_is_not_given(name, data):
    arguments = data.draw(CASES[name](np.float64))
    for folder in ("ops", "kernels"):
        module = importlib.import_module(f"minitl.{folder}.{name}")
        y, cache = module.forward(*arguments)
        full = module.backward(np.ones_like(y), cache)
        dx, *none = module.backward(np.ones_like(y), cache, need_dparameters=False)
        assert none == [None, None]
        np.testing.assert_array_equal(dx, full[0])
        nothing, *parameters = module.backward(np.ones_like(y), cache, need_dx=False)
        assert nothing is None
        for a, b in zip(parameters, full[1:], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 1, 40), (70, 1, 1, 3), (1, 33, 1, 2), (2, 40, 37, 3)])
@pytest.mark.parametrize("filters", [1, 15, 16, 17, 64, 65, 100])
def test_convolution_at_the_tile_s_edges(shape, filters):
    from minitl.kernels import conv2d as engine
    from minitl.ops import conv2d as book

    generator = np.random.default_rng(0)
    x, kernel = generator.standard_normal(shape), generator.standard_normal((1, 1, shape[3], filters))
    y, cache = book.forward(x, kernel)
    dy = generator.standard_normal(y.shape)
    y2, cache2 = engine.forward(x, kernel)
    np.testing.assert_allclose(y2, y, atol=1e-12)
    for a, b in zip(arrays(book.backward(dy, cache)), arrays(engine.backward(dy, cache2)), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-11)


LARGE = {  # x, kernel, strides
    "a turned product": ((50, 1, 1, 200), (1, 1, 200, 40), (1, 1)),
    "pieces of a row": ((2, 9, 9, 50), (5, 5, 50, 70), (1, 1)),
    "pieces of several rows": ((2, 30, 31, 3), (9, 9, 3, 70), (2, 3)),
    "bands of an image": ((2, 40, 60, 5), (3, 3, 5, 20), (1, 1)),
    "groups of entries": ((5, 12, 12, 24), (3, 3, 24, 24), (1, 1)),
    "copied pixels of an image each": ((1500, 1, 1, 70), (1, 1, 70, 90), (1, 1)),
    "copied rows of images": ((3, 21, 21, 71), (1, 1, 71, 65), (1, 1)),
    "more copied channels than stay near": ((1, 33, 33, 2100), (1, 1, 2100, 64), (1, 1)),
}


@pytest.mark.skipif(not JIT, reason="too slow in plain Python")
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_convolutions_that_are_cut(name, dtype, padding):
    from minitl.kernels import conv2d as engine
    from minitl.kernels import fused
    from minitl.ops import conv2d as book

    shape, window, strides = LARGE[name]
    generator = np.random.default_rng(0)
    x, kernel = generator.standard_normal(shape).astype(dtype), (generator.standard_normal(window) / 30).astype(dtype)
    bias = generator.standard_normal(window[3]).astype(dtype)
    y, cache = book.forward(x, kernel, bias, strides, padding)
    dy = generator.standard_normal(y.shape).astype(dtype)
    wanted = y, *book.backward(dy, cache)
    y, cache = engine.forward(x, kernel, bias, strides, padding)
    for ours, exact in zip((y, *engine.backward(dy, cache)), wanted, strict=True):
        np.testing.assert_allclose(ours, exact, rtol=0, atol=np.abs(exact).max() * (1e-5 if dtype == np.float32 else 1e-13))
    relu, _ = fused.forward(x, kernel, bias, strides, padding, False)
    np.testing.assert_array_equal(relu, np.maximum(y, 0))


@pytest.mark.parametrize("folder", ["ops", "kernels"])
@pytest.mark.parametrize(
    ("name", "x", "kernel"),
    [
        ("dense", (5,), (5, 7)),
        ("conv2d", (6, 6, 3), (3, 3, 3, 7)),
        ("conv2d", (6, 6, 3), (1, 1, 3, 7)),
        ("depthwise_conv2d", (6, 6, 3), (3, 3, 3, 2)),
        ("conv2d_transpose", (6, 6, 3), (3, 3, 7, 3)),
    ],
)
def test_a_batch_of_nothing(folder, name, x, kernel):
    module = importlib.import_module(f"minitl.{folder}.{name}")
    x, kernel = np.empty((0, *x), np.float32), np.ones(kernel, np.float32)
    y, cache = module.forward(x, kernel, np.ones(7 if name != "depthwise_conv2d" else 6, np.float32))
    dx, dkernel, dbias = module.backward(y, cache)
    assert y.shape[0] == 0 and dx.shape == x.shape
    assert dkernel.shape == kernel.shape and not dkernel.any() and not dbias.any()


def test_non_contiguous_and_mixed_arguments():
    from minitl.kernels import conv2d as engine
    from minitl.ops import conv2d as book

    generator = np.random.default_rng(0)
    x = generator.standard_normal((3, 4, 5, 6)).transpose(1, 2, 3, 0)[::-1]
    kernel = np.asfortranarray(generator.standard_normal((2, 2, 3, 4)).astype(np.float32))
    np.testing.assert_allclose(engine.forward(x, kernel)[0], book.forward(x, kernel)[0], atol=1e-12)


@pytest.mark.parametrize("dtype", [np.int32, np.float16, np.complex128])
def test_kernels_refuse_other_dtypes(dtype):
    from minitl.kernels import relu

    with pytest.raises(TypeError, match="float32 and float64"):
        relu.forward(np.ones(3, dtype))


@pytest.mark.parametrize("folder", ["ops", "kernels"])
def test_nan_passes_through(folder):
    x = np.full((1, 4, 4, 1), np.nan)
    for name, arguments in (("relu", ()), ("max_pool2d", ((2, 2), (2, 2))), ("tanh", ()), ("softmax", ())):
        y, _ = importlib.import_module(f"minitl.{folder}.{name}").forward(x, *arguments)
        assert np.isnan(y).all(), name


@pytest.mark.parametrize("folder", ["ops", "kernels"])
@pytest.mark.parametrize("from_logits", [True, False])
def test_a_loss_of_nan_is_nan(folder, from_logits):
    y_pred = np.array([[0.5, np.nan, 0.2]])
    one_hot = np.array([[0.0, 1.0, 0.0]])
    for name, targets in (("sparse_", np.array([1])), ("", one_hot)):
        module = importlib.import_module(f"minitl.{folder}.{name}categorical_cross_entropy")
        assert np.isnan(module.forward(y_pred, targets, None, from_logits)[0])
    binary = importlib.import_module(f"minitl.{folder}.binary_cross_entropy")
    assert np.isnan(binary.forward(y_pred, one_hot, None, from_logits)[0])


@pytest.mark.parametrize("folder", ["ops", "kernels"])
@pytest.mark.parametrize("name", ["binary_cross_entropy", "categorical_cross_entropy", "sparse_categorical_cross_entropy"])
def test_the_slope_where_a_logarithm_is_cut_off(folder, name):
    """Probabilities nearer to 0, or to 1, than 1e-7: against differences of the loss on that side of the edge."""
    module = importlib.import_module(f"minitl.{folder}.{name}")
    near = 5e-8
    p = np.array([[near, 0.4, 0.6 - near], [0.3, near, 0.7 - near], [1 - near, near / 2, near / 2], [near, 1 - near, near]])
    classes = np.array([0, 0, 1, 2])
    targets = classes if name.startswith("sparse") else np.eye(3)[classes]
    _, cache = module.forward(p, targets, None, False)
    slope = module.backward(1.0, cache)
    for place in np.ndindex(p.shape):
        step = np.zeros_like(p)
        step[place] = 1e-9
        above, below = (module.forward(p + sign * step, targets, None, False)[0] for sign in (1, -1))
        assert slope[place] == pytest.approx((above - below) / 2e-9, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("folder", ["ops", "kernels"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saturated_logits(folder, dtype):
    z = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 1e4]], dtype)
    sparse = importlib.import_module(f"minitl.{folder}.sparse_categorical_cross_entropy")
    full = importlib.import_module(f"minitl.{folder}.categorical_cross_entropy")
    binary = importlib.import_module(f"minitl.{folder}.binary_cross_entropy")
    one_hot = np.eye(3, dtype=dtype)[[1, 0]]
    for module, targets in ((sparse, np.array([1, 0])), (full, one_hot), (binary, one_hot)):
        loss, cache = module.forward(z, targets, None, True)
        assert np.isfinite(loss) and loss > 100
        gradient = module.backward(1.0, cache)
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0.1


@pytest.mark.parametrize("folder", ["ops", "kernels"])
def test_conventions_at_kinks(folder):
    relu = importlib.import_module(f"minitl.{folder}.relu")
    _, cache = relu.forward(np.array([0.0, -0.0, 1.0]))
    np.testing.assert_array_equal(relu.backward(np.ones(3), cache), [0, 0, 1])
    pool = importlib.import_module(f"minitl.{folder}.max_pool2d")
    _, cache = pool.forward(np.zeros((1, 2, 2, 1)), (2, 2), (2, 2))
    np.testing.assert_array_equal(pool.backward(np.ones((1, 1, 1, 1)), cache).reshape(-1), [1, 0, 0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 7, 8, 9, 16, 37])
@pytest.mark.parametrize(
    ("window", "strides", "padding"),
    [((2, 2), (2, 2), "valid"), ((3, 3), (2, 2), "same"), ((3, 2), (1, 3), "same"), ((5, 5), (1, 1), ((2, 3), (4, 1)))],
)
def test_the_largest_of_any_window(dtype, channels, window, strides, padding):
    generator = np.random.default_rng(channels)
    x = generator.integers(-3, 3, (2, 9, 11, channels)).astype(dtype)
    x[generator.random(x.shape) > 0.9] = np.nan
    x[generator.random(x.shape) > 0.8] = -np.inf
    x[0, :4, :4] = -np.inf
    (y, (winner, *_)), (expected, (won, *_)) = (
        importlib.import_module(f"minitl.{folder}.max_pool2d").forward(x, window, strides, padding)
        for folder in ("kernels", "ops")
    )
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(winner, won)


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, -1e-30, 1e-9, -1e-9, -1e-3, 3.0, -3.0, 89.0, -105.0, 710.0, -800.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "settings"),
    [("elu", ()), ("elu", (1.67, 1.05)), ("softplus", ()), ("hard_sigmoid", ()), ("gated", ("sigmoid",)),
     ("gated", ("hard_sigmoid",)), ("gated", ("normal_tanh",)), ("gated", ("normal",))],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_element_by_element_from_end_to_end(name, settings, dtype):
    """Every size of numbers, and what is none."""
    book, engine = (importlib.import_module(f"minitl.{folder}.{name}") for folder in ("ops", "kernels"))
    x = np.concatenate([SPECIAL, np.linspace(-20, 20, 4001)]).astype(dtype)
    (expected, kept), (y, cache) = book.forward(x, *settings), engine.forward(x, *settings)
    tolerance = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=20 * tolerance)
    np.testing.assert_allclose(y[1000:3000] / x[1000:3000], expected[1000:3000] / x[1000:3000], rtol=tolerance, atol=tolerance)
    dy, plain = np.ones(len(x), dtype), np.isfinite(x)
    np.testing.assert_allclose(
        engine.backward(dy, cache)[plain], book.backward(dy, kept)[plain], rtol=tolerance, atol=20 * tolerance
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "groups", "axes"),
    [((3, 13, 11, 48), 4, "all"), ((2, 200, 21), 3, "all"), ((5, 7, 259), 1, "last"), ((400, 16), 16, "all"),
     ((1, 1, 1), 1, "all"), ((2, 9, 64), 8, "last"), ((0, 4, 4, 6), 2, "all")],
)  # fmt: skip
def test_groups_of_any_size(shape, groups, axes, dtype):
    book, engine = (importlib.import_module(f"minitl.{folder}.group_norm") for folder in ("ops", "kernels"))
    generator = np.random.default_rng(0)
    x = (5 + generator.standard_normal(shape)).astype(dtype)
    dy, gamma = generator.standard_normal(shape).astype(dtype), generator.standard_normal(shape[-1]).astype(dtype)
    tolerance = {"rtol": 1e-4, "atol": 2e-4} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-9}
    (expected, kept), (y, cache) = (house.forward(x, gamma, gamma[::-1], groups, 1e-3, axes) for house in (book, engine))
    np.testing.assert_allclose(y, expected, **tolerance)
    for ours, theirs in zip(engine.backward(dy, cache), book.backward(dy, kept), strict=True):
        np.testing.assert_allclose(ours, theirs, **tolerance)


def test_the_mean_of_many_pixels_is_exact():
    from minitl.kernels import group_norm

    x = np.full((1, 300, 300, 2), 1000.0, np.float32)
    x[0, ::2] += 1
    y, _ = group_norm.forward(x, np.ones(2, "f4"), np.zeros(2, "f4"), 1, 0.0)
    np.testing.assert_allclose(np.abs(y), 1, rtol=1e-3)


@pytest.mark.parametrize("shape", [(3, 5, 7, 9), (4, 5000), (1, 1), (0, 3)])
@pytest.mark.parametrize("shared", [False, True])
def test_slopes_of_any_size(shape, shared):
    book, engine = (importlib.import_module(f"minitl.{folder}.prelu") for folder in ("ops", "kernels"))
    generator = np.random.default_rng(0)
    x, dy = generator.standard_normal((2, *shape))
    alpha = generator.standard_normal((*(1 for _ in shape[1:-1]), shape[-1]) if shared else shape[1:])
    (expected, kept), (y, cache) = book.forward(x, alpha), engine.forward(x, alpha)
    np.testing.assert_array_equal(y, expected)
    for ours, theirs in zip(engine.backward(dy, cache), book.backward(dy, kept), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def product_settings(draw, columns):
    """How k runs, whether each row starts with sums of its own, the floor, and a generator; the compiled products are ready."""
    simd.ready(np.dtype(np.float64))
    counters = tuple((draw(st.integers(1, 4)), draw(st.integers(0, 3)), draw(st.integers(0, 2)) * 16) for _ in range(3))
    step, floor = draw(st.sampled_from([0, columns])), draw(st.sampled_from([0.0, -np.inf]))
    return counters, step, floor, np.random.default_rng(draw(st.integers(0, 99)))


def drawn_product(draw, to):
    """What a product takes in front of c and behind it, where c begins at `to`; how many numbers c has; and a generator."""
    rows, columns = draw(st.integers(1, 14)), draw(st.integers(1, 100))
    counters, step, floor, generator = product_settings(draw, columns)
    a, b = generator.standard_normal(2000), generator.standard_normal(4000)
    a_rows, c_rows = generator.integers(0, 900, rows), generator.permutation(rows) * columns
    front = a, 5, a_rows, 0, b, 7, counters, generator.standard_normal(rows * columns), 0, step
    return front, (to, c_rows, 0, rows, columns, floor), to + rows * columns, generator


@pytest.mark.skipif(not JIT, reason="compares compiled code with its definition")
@given(data=st.data())
def test_the_tile_does_what_its_definition_says(data):
    front, behind, size, _ = drawn_product(data.draw, 0)
    results = []
    for product, more in (
        (_compiled_product, ()),
        (_compiled_finished_product, (True, 0, False, np.zeros(1), 0)),
        (tile.product_in_numpy, ()),
    ):
        c = np.full(size, np.nan)
        product(*front, c, *behind, *more)
        results.append(c)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_allclose(*results[1:], atol=1e-12)


@pytest.mark.skipif(not JIT, reason="compares compiled code with its definition")
@given(data=st.data())
def test_the_tile_that_finishes_does_what_its_definition_says(data):
    front, behind, size, generator = drawn_product(data.draw, 3)
    skip = 3 * generator.standard_normal(size)
    skip[generator.random(size) < data.draw(st.sampled_from([0, 0.01]))] = np.nan
    more = data.draw(st.booleans()), data.draw(st.sampled_from([0, 2])), data.draw(st.booleans()), skip, 0
    results = []
    for product in (_compiled_finished_product, tile.finished_product_in_numpy):
        c = np.full(size, np.pi)
        product(*front, c, *behind, *more)
        results.append(c)
    np.testing.assert_allclose(*results, atol=1e-12)


@pytest.mark.skipif(not JIT, reason="a walk changes no result, so that only compiled code has one")
@pytest.mark.parametrize("skips", [False, True])
def test_tiles_take_a_walk_along(skips):
    """Two products, of two tiles that walk and one that has fewer rows, with a row's end on the way; and one with no walk."""
    simd.ready(np.dtype(np.float64))
    rows, columns, terms, step = 3 * ROWS - 1, VECTORS * VECTOR_BYTES // 8, 7, 16
    generator, far = np.random.default_rng(0), np.zeros(5000)
    a, b, skip = (generator.standard_normal(size) for size in (rows * terms, terms * columns, rows * columns))
    a_rows, c_rows, counters = np.arange(rows) * terms, np.arange(rows) * columns, ((1, 0, 0), (1, 0, 0), (terms, 1, columns))
    results = []
    for first_step in (step, 0):
        c = np.full(rows * columns, np.nan)
        product = a, 0, a_rows, 0, b, 0, counters, np.zeros(columns), 0, 0, c, 0, c_rows, 0, rows, columns, 0.0
        at, left = _walk_through(far, 3, 20, 30, first_step, *product, True, 0, skips, skip)
        results.append(c)
        numbers = 2 * 2 * terms * first_step // 8  # two products, two tiles
        assert at == (numbers // 20 * 30 + numbers % 20 if first_step else 0)
        assert left == (20 - numbers % 20 if first_step else 0)
    np.testing.assert_array_equal(*results)
    expected = a.reshape(rows, terms) @ b.reshape(terms, columns) + skips * skip.reshape(rows, columns)
    np.testing.assert_allclose(results[0], np.maximum(expected, 0).reshape(-1), atol=1e-12)


@pytest.mark.skipif(not JIT, reason="compares compiled code with its definition")
@given(data=st.data())
def test_the_pooled_tile_does_what_its_definition_says(data):
    windows, columns = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 80))
    counters, step, floor, generator = product_settings(data.draw, columns)
    # Whole numbers, so that no rounding decides who wins, and there are ties; a few NaN.
    a, b = (generator.integers(-2, 3, size).astype(np.float64) for size in (2000, 4000))
    a[generator.random(len(a)) < data.draw(st.sampled_from([0, 0.01]))] = np.nan
    a_rows, c_rows = generator.integers(0, 900, 4 * windows), generator.permutation(windows) * columns
    start = generator.integers(-9, 9, 4 * windows * columns).astype(np.float64)
    results = []
    for product in (_compiled_pooled_product, pooled_tile.pooled_product_in_numpy):
        for winner in (np.full(windows * columns + 3, 9, np.uint8), None):
            c = np.full(windows * columns + 3, np.pi)
            arguments = a, 5, a_rows, 0, b, 7, counters, start, 0, step, c, 2, c_rows, 0, 4 * windows, columns, floor
            product(*arguments, winner)
            results.append((c, winner))
    for ours, expected in zip(results[:2], results[2:], strict=True):
        np.testing.assert_array_equal(ours[0], expected[0])
        np.testing.assert_array_equal(ours[1], expected[1])


@pytest.mark.skipif(not JIT, reason="compares compiled code with its definition")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize(("count", "rows", "vectors"), [(3, 20, 4), (1, 1, 1), (2, 5, 3), (0, 4, 2), (2, 0, 2)])
def test_panels_are_laid_out_as_their_definition_says(count, rows, vectors, scaled, dtype):
    generator, width = np.random.default_rng(0), vectors * VECTOR_BYTES // np.dtype(dtype).itemsize
    step, panel = count * width + 5, (rows + 2) * width
    b, scale = (generator.standard_normal(size).astype(dtype) for size in (3 + rows * step, 2 + count * width))
    results = []
    for copy in (_compiled_copy_panels, panels.copy_panels_in_numpy):
        results.append(np.full(7 + count * panel + width, np.pi, dtype))
        copy(b, 3, step, scale if scaled else None, 2, results[-1], 7, panel, width, count, rows)
    np.testing.assert_array_equal(*results)
    untouched = len(results[0]) - count * rows * width
    assert (results[0] == np.dtype(dtype).type(np.pi)).sum() == untouched


if JIT:
    from numba import njit

    @njit
    def _compiled_copy_panels(b, at, step, scale, left, target, to, panel, width, count, rows):
        simd.copy_panels(b, at, step, scale, left, target, to, panel, width, count, rows)

    @njit
    def _compiled_product(
        a, a_at, a_rows, a_row, b, b_at, counters, start, s_at, s_step, c, c_at, c_rows, c_row, rows, columns, floor
    ):
        simd.product(a, a_at, a_rows, a_row, b, b_at, counters, start, s_at, s_step, c, c_at, c_rows, c_row, rows, columns, floor)

    @njit
    def _compiled_finished_product(
        a, a_at, a_rows, a_row, b, b_at, counters, start, s_at, s_step, c, c_at, c_rows, c_row, rows, columns, floor,
        far, ceiling, skips, skip, walk,
    ):  # fmt: skip
        simd.finished_product(
            a, a_at, a_rows, a_row, b, b_at, counters, start, s_at, s_step, c, c_at, c_rows, c_row, rows, columns, floor,
            far, ceiling, skips, skip, walk,
        )  # fmt: skip

    @njit
    def _walk_through(
        source, start_of_walk, count, row, step,
        a, a_at, a_rows, a_row, b, b_at, counters, start, s_at, s_step, c, c_at, c_rows, c_row, rows, columns, floor,
        far, ceiling, skips, skip,
    ):  # fmt: skip
        """How many numbers a walk goes through in two products, and how many are left of its row."""
        walk = simd.begin_walk(source, start_of_walk, count, row, step)
        for _ in range(2):
            simd.finished_product(
                a, a_at, a_rows, a_row, b, b_at, counters, start, s_at, s_step, c, c_at, c_rows, c_row, rows, columns, floor,
                far, ceiling, skips, skip, walk,
            )  # fmt: skip
        if walk == 0:
            return 0, 0
        numbers = simd.as_array(walk, 2, a_rows)
        return (numbers[0] - address_of(source)) // 8 - start_of_walk, numbers[1] // 8

    @njit
    def _compiled_pooled_product(
        a, a_at, a_rows, a_row, b, b_at, counters, start, s_at, s_step, c, c_at, c_rows, c_row, rows, columns, floor, winner
    ):
        simd.pooled_product(
            a, a_at, a_rows, a_row, b, b_at, counters, start, s_at, s_step, c, c_at, c_rows, c_row, rows, columns, floor, winner
        )


@pytest.mark.skipif(not JIT, reason="this is that run")
def test_kernels_run_uncompiled_too():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    wanted = "test_book_and_engine_agree and float64 and (relu or softmax or pool or batch or cross or squared)"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        str(Path(__file__)),
        str(Path(__file__).with_name("test_winograd.py")),
        "-k",
        f"({wanted}) or test_conventions",
    ]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0 and " passed" in result.stdout, result.stdout[-3000:]


@pytest.mark.skipif(JIT, reason="small convolutions in plain Python; run with NUMBA_DISABLE_JIT=1")
def test_conventions_of_the_uncompiled_product():
    from minitl.kernels import conv2d as engine
    from minitl.ops import conv2d as book

    generator = np.random.default_rng(0)
    x, kernel, bias = generator.standard_normal((2, 4, 5, 2)), generator.standard_normal((2, 3, 2, 3)), np.ones(3)
    y, cache = book.forward(x, kernel, bias, (2, 1), "same")
    y2, cache2 = engine.forward(x, kernel, bias, (2, 1), "same")
    np.testing.assert_allclose(y2, y, atol=1e-12)
    for a, b in zip(arrays(book.backward(y, cache)), arrays(engine.backward(y, cache2)), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "gates"), [("lstm", 4), ("gru", 3), ("simple_rnn", 1)])
def test_recurrent_layers_wider_than_a_panel(name, gates, dtype):
    drawn, units = np.random.default_rng(0), 147  # more than a panel has columns, and than stay near at a time; no whole vectors
    x = drawn.normal(size=(5, 4, gates * units)).astype(dtype)
    recurrent = (drawn.normal(size=(units, gates * units)) / units**0.5).astype(dtype)
    dy = drawn.normal(size=(5, 4, units)).astype(dtype)
    found = {}
    for house in ("ops", "kernels"):
        module = importlib.import_module(f"minitl.{house}.{name}")
        y, cache = module.forward(x, recurrent)
        found[house] = [y, *(g for g in module.backward(dy, cache) if g is not None)]
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    for engine, book in zip(found["kernels"], found["ops"], strict=True):
        assert engine.shape == book.shape
        np.testing.assert_allclose(engine, book, rtol=0, atol=tolerance * max(1, np.abs(book).max()))


def test_a_prelu_at_zero():
    x, alpha, dy = np.array([[0.0, -0.0, 1.0, -1.0]]), np.array([0.25, 0.5, 0.75, 2.0]), np.array([[1.0, 2.0, 3.0, 4.0]])
    for house in ("ops", "kernels"):
        module = importlib.import_module(f"minitl.{house}.prelu")
        dx, dalpha = module.backward(dy, module.forward(x, alpha)[1])
        assert dx.tolist() == [[0.25, 1, 3, 8]] and dalpha.tolist() == [0, 0, 0, -4]


@pytest.mark.parametrize(
    ("size", "strides", "channels"), [((3, 3), (2, 2), 16), ((2, 3), (2, 2), 16), ((3, 2), (2, 2), 16), ((2, 2), (2, 2), 3)]
)
def test_no_old_numbers_stand_in_a_rotated_kernel(size, strides, channels):
    from minitl.kernels.input_gradient import rotated

    kernel = np.random.default_rng(0).normal(size=(*size, channels, 5))
    rotated(kernel, strides)[...] = np.nan  # a place that the next call gets again
    weights = rotated(kernel, strides)
    assert np.isfinite(weights).all() and np.isclose(np.abs(weights).sum(), np.abs(kernel).sum())


IMAGES, KERNEL = np.ones((2, 5, 5, 3)), np.ones((2, 2, 4, 3))
ROW = np.ones(3)
NO_IMAGES = r"expected images of shape \(N, H, W, C\), got shape \(5, 5, 3\)"
OTHER_SHAPES = [
    ("global_average_pool2d", (IMAGES[0],), NO_IMAGES),
    ("upsample2d", (IMAGES[0], (2, 2)), NO_IMAGES),
    ("average_pool2d", (IMAGES[0], (2, 2), (2, 2)), NO_IMAGES),
    ("max_pool2d", (IMAGES[0], (2, 2), (2, 2)), NO_IMAGES),
    ("conv2d", (IMAGES[0], np.ones((2, 2, 3, 4)), None, (1, 1), "valid"), NO_IMAGES),
    ("conv2d_transpose", (IMAGES[0], KERNEL), NO_IMAGES),
    ("conv2d_transpose", (IMAGES, KERNEL, np.ones(1)), r"bias must have shape \(4,\), got \(1,\)"),
    ("batch_norm", (IMAGES, np.ones(1), ROW, ROW, ROW, 1e-3, True), r"gamma must have shape \(3,\), got \(1,\)"),
    ("group_norm", (IMAGES, np.ones(1), np.ones(1), 3, 1e-3), r"gamma and beta must have shape \(3,\), got \(1,\)"),
    ("mean_squared_error", (IMAGES, IMAGES, np.ones(2)), r"weights must have shape \(2, 5, 5, 3\), got \(2,\)"),
    ("mean_squared_error", (IMAGES, IMAGES[..., :1]), r"y_true must have shape \(2, 5, 5, 3\), got \(2, 5, 5, 1\)"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), OTHER_SHAPES)
@pytest.mark.parametrize("folder", ["ops", "kernels"])
def test_shapes_that_numpy_would_broadcast_are_refused(name, arguments, message, folder):
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        importlib.import_module(f"minitl.{folder}.{name}").forward(*arguments)


@pytest.mark.parametrize("folder", ["ops", "kernels"])
def test_moving_statistics_may_move_between_the_passes(folder):
    batch_norm, random = importlib.import_module(f"minitl.{folder}.batch_norm"), np.random.default_rng(0)
    x, dy, gamma, mean = (random.normal(size=shape) for shape in ((4, 3), (4, 3), (3,), (3,)))
    expected = (dy * (x - mean)).sum(axis=0) / np.sqrt(2.0)
    _, cache = batch_norm.forward(x, gamma, ROW, mean, 2 * ROW, 0.0, False)
    mean += 5
    np.testing.assert_allclose(batch_norm.backward(dy, cache)[1], expected, rtol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_of_equal_entries_the_first_gets_the_gradient(sign):
    x, dy = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])
    maximum = importlib.import_module("minitl.ops.maximum")
    first, second = maximum.backward(dy, maximum.forward(x, x.copy(), sign=sign)[1])
    assert first.tolist() == dy.tolist() and not second.any()
