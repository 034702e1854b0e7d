"""Winograd's convolution gives what the definition gives, and so does each of the vector functions that it is built from."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitl.kernels import conv2d as engine
from minitl.kernels import fused, launch, winograd
from minitl.kernels.launch import Numbers, Task
from minitl.kernels.processor import VECTOR_BYTES
from minitl.kernels.simd import moving, pooling, sandwich, square, transformed, transposing
from minitl.kernels.winograd.matrices import KERNEL_4
from minitl.ops import conv2d as book
from minitl.ops import max_pool2d, relu
from minitl.ops.window import slide2d

JIT = os.environ.get("NUMBA_DISABLE_JIT") != "1"
NAMES = ("INPUT", "INPUT_GRADIENT", "KERNEL", "KERNEL_GRADIENT", "OUTPUT", "OUTPUT_GRADIENT")
MATRICES = [*(getattr(winograd.matrices, name + size) for name in NAMES for size in ("_2", "_4")), "1", "1 1 | 1 1 1 1"]


def test_the_books_own_gives_what_the_definition_gives():
    from minitl.ops import winograd as lesson

    random = np.random.default_rng(0)
    x, kernel = random.standard_normal((2, 8, 6, 3)), random.standard_normal((3, 3, 3, 4))
    np.testing.assert_allclose(lesson.convolve(x, kernel), book.forward(x, kernel)[0], atol=1e-12)
    with pytest.raises(ValueError, match="even"):
        lesson.convolve(x[:, 1:], kernel)


@contextlib.contextmanager
def tiles_of(edge):
    """All convolutions by tiles of 2x2, or of 4x4, whatever suits."""
    of_plan = sys.modules[winograd.plan.__module__]
    with mock.patch.object(of_plan, "tile_edge", return_value=edge), mock.patch.object(winograd, "tile_edge", return_value=edge):
        winograd.plan.cache_clear()
        winograd.suits.cache_clear()
        yield
    winograd.plan.cache_clear()
    winograd.suits.cache_clear()


@st.composite
def convolutions(draw, dtype, edge, smallest=1):
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    padding = draw(st.sampled_from(["valid", "same"]))
    sizes = (3, 5, 7) if edge == 2 else (3,)
    window = draw(st.sampled_from(sizes)), draw(st.sampled_from(sizes))
    channels, filters = (lanes * draw(st.integers(1, 3)) for _ in range(2))
    channels -= draw(st.integers(0, lanes - 1)) if edge == 4 else 0  # zeros fill the last vector
    height, width = (draw(st.integers(smallest, 17)) + (w - 1 if padding == "valid" else 0) for w in window)
    generator = np.random.default_rng(draw(st.integers(0, 999)))
    x = generator.standard_normal((draw(st.integers(1, 20)), height, width, channels)).astype(dtype)
    kernel = generator.standard_normal((*window, channels, filters)).astype(dtype)
    return x, kernel, generator.standard_normal(filters).astype(dtype), padding, generator


def agree(ours, expected):
    assert ours.shape == expected.shape and ours.dtype == expected.dtype
    bound = 1e-5 if ours.dtype == np.float32 else 1e-13
    np.testing.assert_allclose(ours, expected, rtol=0, atol=bound * np.abs(expected).max(initial=1e-30))


def compare(x, kernel, bias, padding, generator):
    rows, columns = slide2d(x.shape, kernel.shape[:2], (1, 1), padding)
    before = rows.before, columns.before
    expected, cache = book.forward(x, kernel, bias, (1, 1), padding)
    y, _ = winograd.forward(x, kernel, bias, (rows.out, columns.out), before, relu=False, pooled=False)
    agree(y, expected)
    dy = generator.standard_normal(y.shape).astype(x.dtype)
    dx, dkernel, dbias = book.backward(dy, cache)
    ours = winograd.kernel_gradient(x, dy, None, kernel.shape, before)
    agree(ours[0], dkernel)
    agree(ours[1], dbias)
    agree(winograd.input_gradient(dy, None, kernel, x.shape, before), dx)
    agree(engine.backward(dy, cache, need_dparameters=False)[0], dx)  # perhaps with the kernel turned around, if it suits


@pytest.mark.skipif(not JIT, reason="too slow in plain Python")
@pytest.mark.parametrize("edge", [2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_forward_and_all_gradients(dtype, edge, data):
    with tiles_of(edge):
        compare(*data.draw(convolutions(dtype, edge)))


@pytest.mark.skipif(not JIT, reason="too slow in plain Python")
@pytest.mark.parametrize("edge", [2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_with_relu_and_pooling(dtype, edge, data):
    with tiles_of(edge):
        compare_pooled(dtype, *data.draw(convolutions(dtype, edge, smallest=2)))


def compare_pooled(dtype, x, kernel, bias, padding, generator):
    rows, columns = slide2d(x.shape, kernel.shape[:2], (1, 1), padding)
    before, half = (rows.before, columns.before), (rows.out // 2, columns.out // 2)
    z, cache = book.forward(x, kernel, bias, (1, 1), padding)
    positive, relu_cache = relu.forward(z)
    expected, pool_cache = max_pool2d.forward(positive, (2, 2), (2, 2))
    y, winner = winograd.forward(x, kernel, bias, half, before, relu=True, pooled=True)
    agree(y, expected)
    dy = generator.standard_normal(y.shape).astype(dtype)
    dz = relu.backward(max_pool2d.backward(dy, pool_cache), relu_cache)
    ours = np.zeros_like(z)
    for k in range(4):
        ours[:, k // 2 : 2 * half[0] : 2, k % 2 : 2 * half[1] : 2] = np.where(winner == k, dy, 0)
    # In single precision, rounding may decide between two pixels that are nearly equal.
    assert np.sum(ours != dz) <= (4 + 1e-3 * dz.size if dtype == np.float32 else 0)
    dx, dkernel, dbias = book.backward(ours, cache)
    ours = winograd.kernel_gradient(x, dy, winner, kernel.shape, before)
    agree(ours[0], dkernel)
    agree(ours[1], dbias)
    agree(winograd.input_gradient(dy, winner, kernel, x.shape, before), dx)


@pytest.mark.skipif(not JIT or platform.machine() != "x86_64", reason="compiles for other x86 processors")
@pytest.mark.parametrize(
    ("name", "features"), [("haswell", "+sse4.2,+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+popcnt"), ("x86-64", "+sse2")]
)
def test_shorter_vectors(name, features, tmp_path):
    if name == "haswell" and VECTOR_BYTES <= 32:
        pytest.skip("the vectors of all other tests here are no longer than these")
    environment = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    whole = "float32 and (test_forward or test_with_relu)"
    parts = "is_what_its_definition or transformed or few_tiles or square_products"
    wanted = f"test_the_tile or test_the_pooled_tile or {parts} or {whole}"
    files = [__file__, str(Path(__file__).with_name("test_pairs.py"))]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", wanted, *files]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0 and " passed" in result.stdout, result.stdout[-3000:]


@pytest.mark.skipif(JIT, reason="this one runs under NUMBA_DISABLE_JIT=1")
def test_conventions_of_the_uncompiled_one():
    generator = np.random.default_rng(0)
    lanes = VECTOR_BYTES // 8
    x, kernel = generator.standard_normal((2, 5, 4, lanes)), generator.standard_normal((3, 3, lanes, lanes))
    scale, skip = generator.standard_normal(lanes), generator.standard_normal((2, 5, 4, lanes))
    expected = np.maximum(book.forward(x, kernel * scale, np.ones(lanes), (1, 1), "same")[0] + skip, 0)
    for edge in (2, 4):
        with tiles_of(edge):
            compare(x, kernel, np.ones(lanes), "same", generator)
            agree(winograd.forward(x, kernel, np.ones(lanes), (5, 4), (1, 1), relu=True, scale=scale, skip=skip)[0], expected)


@pytest.mark.skipif(not JIT, reason="too slow in plain Python")
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("height", "falls_apart"), [(26, True), (22, False)])
def test_dilated_convolutions_of_large_images_fall_apart_into_plain_ones(height, falls_apart, groups):
    generator = np.random.default_rng(0)
    x, kernel = generator.standard_normal((2, height, 39, 16 * groups)), generator.standard_normal((3, 3, 16, 32 * groups))
    settings = kernel, generator.standard_normal(32 * groups), (1, 1), "same", (2, 3), groups
    expected, cache = book.forward(x, *settings)
    with mock.patch.object(winograd, "forward", wraps=winograd.forward) as used:
        agree(engine.forward(x, *settings)[0], expected)
    assert used.call_count == (6 * groups if falls_apart else 0)
    dy = generator.standard_normal(expected.shape)
    for ours, theirs in zip(engine.backward(dy, cache), book.backward(dy, cache), strict=True):
        agree(ours, theirs)


@pytest.mark.skipif(not JIT, reason="too slow in plain Python")
@pytest.mark.parametrize("edge", [2, 4])
@pytest.mark.parametrize("images", [1, 9])  # one block, whose tasks take some filters each, and several
def test_factors_and_a_part_of_other_channels(edge, images):
    generator = np.random.default_rng(0)
    x, kernel = generator.standard_normal((images, 9, 14, 64)), generator.standard_normal((3, 3, 64, 128))
    bias, scale = generator.standard_normal((2, 128))
    whole = np.full((images, 9, 14, 150), 7.0)
    with tiles_of(edge):
        y, _ = winograd.forward(x, kernel, bias, (9, 14), (1, 1), relu=True, scale=scale, into=(whole, 20))
        halves, _ = winograd.forward(x, kernel, bias, (4, 7), (1, 1), relu=True, pooled=True, keep=False, scale=scale)
    expected = np.maximum(book.forward(x, kernel * scale, bias, (1, 1), "same")[0], 0)
    agree(np.ascontiguousarray(y[..., 20:148]), expected)
    assert y is whole and (whole[..., :20] == 7).all() and (whole[..., 148:] == 7).all()
    agree(halves, max_pool2d.forward(expected, (2, 2), (2, 2))[0])


@pytest.mark.skipif(not JIT, reason="too slow in plain Python")
def test_large_tiles_round_a_few_times_as_much_as_small_ones():
    generator = np.random.default_rng(0)
    x = np.maximum(generator.standard_normal((8, 16, 16, 128)), 0)
    kernel, bias = generator.standard_normal((3, 3, 128, 128)), np.zeros(128, np.float32)
    exact = book.forward(x, kernel, None, (1, 1), "same")[0]
    errors = []
    for edge in (2, 4):
        with tiles_of(edge):
            y, _ = winograd.forward(x.astype(np.float32), kernel.astype(np.float32), bias, (16, 16), (1, 1), relu=False)
        errors.append(np.sqrt(np.mean((y - exact) ** 2) / np.mean(exact**2)))
    assert errors[0] < 5e-7 and errors[1] < 1.5e-6  # points 1 and 2 instead of the roots: 2e-6


@pytest.mark.skipif(not JIT, reason="too slow in plain Python")
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize(("channels", "filters", "edge"), [(32, 64, 2), (128, 256, 4)])
def test_an_image_s_result_does_not_depend_on_the_batch(pool, channels, filters, edge):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((40, 14, 17, channels), dtype=np.float32)
    kernel, bias = generator.standard_normal((3, 3, channels, filters), dtype=np.float32), np.ones(filters, np.float32)
    assert winograd.suits(kernel.shape, (1, 1), (12, 15), x.dtype) and winograd.tile_edge(kernel.shape, (12, 15)) == edge
    together, _ = fused.forward(x, kernel, bias, (1, 1), "valid", pool)
    for count in (1, 2, 3, 17):
        np.testing.assert_array_equal(fused.forward(x[:count], kernel, bias, (1, 1), "valid", pool)[0], together[:count])


def test_when_it_is_used():
    single = np.dtype(np.float32)
    assert winograd.suits((3, 3, 64, 64), (1, 1), (32, 32), single)
    assert winograd.suits((5, 5, 64, 64), (1, 1), (16, 16), single)
    assert winograd.suits((5, 5, 16, 32), (1, 1), (16, 16), single)
    assert winograd.better_rotated((5, 5, 64, 64), (16, 16), (16, 16))
    assert not winograd.better_rotated((5, 5, 64, 64), (16, 16), (12, 12))
    for kernel, out, edge in (
        ((3, 3, 64, 64), (32, 32), 4),
        ((3, 3, 64, 64), (8, 8), 4),
        ((3, 3, 16, 16), (32, 32), 4),
        ((3, 3, 256, 256), (3, 3), 4),
        ((3, 3, 128, 128), (14, 14), 4),
        ((3, 3, 64, 64), (14, 14), 2),  # a third of the tiles' pixels would be thrown away
        ((3, 3, 32, 64), (12, 12), 2),  # the networks of docs/results.md keep their small tiles, and so their bits
        ((3, 3, 64, 128), (4, 4), 2),
        ((5, 5, 64, 64), (16, 16), 2),
    ):
        assert winograd.suits(kernel, (1, 1), out, single) and winograd.tile_edge(kernel, out) == edge
    for kernel, strides, out in (
        ((3, 3, 3, 64), (1, 1), (32, 32)),  # channels do not fill vectors
        ((3, 3, 64, 50), (1, 1), (32, 32)),
        ((3, 3, 64, 64), (2, 2), (32, 32)),
        ((1, 1, 64, 64), (1, 1), (32, 32)),
        ((4, 4, 64, 64), (1, 1), (32, 32)),
        ((3, 3, 64, 64), (1, 1), (1, 1)),  # three quarters of the only tile would be thrown away
        ((3, 3, 16, 16), (1, 1), (26, 13)),  # transformations would cost more than they save
    ):
        assert not winograd.suits(kernel, strides, out, single)


@pytest.mark.skipif(not JIT, reason="compares compiled code with its definition")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("floor", [0.0, -np.inf, None])
def test_a_sandwich_is_what_its_definition_says(dtype, matrix, add, floor):
    from numba import njit

    from minitl.kernels.simd.sandwich import sandwich_in_numpy

    generator = np.random.default_rng(0)
    count = 3 * VECTOR_BYTES // np.dtype(dtype).itemsize
    source, target = (generator.standard_normal(80 * count).astype(dtype) for _ in range(2))

    if add:

        @njit
        def compiled(source, target):
            sandwich(matrix, 2, source, 5, count * 7, count, target, 7, count * 6 + 1, count, count, floor, True)
    else:

        @njit
        def compiled(source, target):
            sandwich(matrix, 2, source, 5, count * 7, count, target, 7, count * 6 + 1, count, count, floor, False)

    expected, ours = target.copy(), target.copy()
    sandwich_in_numpy(matrix, 2, source, 5, count * 7, count, expected, 7, count * 6 + 1, count, count, floor, add)
    compiled(source, ours)
    np.testing.assert_allclose(ours, expected, atol=1e-5 if dtype == np.float32 else 1e-13)
    assert not np.array_equal(expected, target)


@pytest.mark.skipif(not JIT, reason="compares compiled code with its definition")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_pooling_is_what_its_definition_says(dtype, data):
    count = 2 * VECTOR_BYTES // np.dtype(dtype).itemsize
    generator = np.random.default_rng(data.draw(st.integers(0, 999)))
    source = generator.integers(-2, 3, 6 * count).astype(dtype)  # with ties
    source[generator.random(len(source)) < data.draw(st.sampled_from([0, 0.1]))] = np.nan
    results = []
    for of_sandwich, one in ((_best_of_sandwich, _one), (_defined_best_of_sandwich, pooling._one_of_four_in_numpy)):
        y, winner, dz = np.zeros(count + 1, dtype), np.zeros(count + 2, np.uint8), np.zeros(8 * count, dtype)
        of_sandwich(source, 3, 3 * count, count, y, 1, winner, 2, count)
        one(source, 1, winner, 2, dz, 4, 3 * count, count, count)
        results.append((y, winner, dz))
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.skipif(not JIT, reason="compares compiled code with its definition")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(rows=st.integers(0, 40), columns=st.integers(0, 40))
def test_transposing_is_what_its_definition_says(dtype, rows, columns):
    source = np.arange(3 + rows * (columns + 2), dtype=dtype)
    ours, expected = np.zeros((2, 5 + columns * (rows + 1)), dtype)
    _transpose(source, 3, columns + 2, rows, columns, ours, 5, rows + 1)
    transposing._transpose_in_numpy(source, 3, columns + 2, rows, columns, expected, 5, rows + 1)
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.skipif(not JIT, reason="compares compiled code with its definition")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [-3, 0, 1, 7, 40])
def test_moving_is_what_its_definition_says(dtype, count):
    source, ours, expected = np.arange(60, dtype=dtype), *np.ones((2, 99), dtype)
    _move(source, 5, ours, 2, 50, count)
    moving.copy_in_numpy(source, 5, expected, 2, count)
    moving.clear_in_numpy(expected, 50, count)
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.skipif(not JIT, reason="compares compiled code with its definition")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(rows=st.integers(0, 40), step=st.booleans(), seed=st.integers(0, 99))
def test_square_products_are_what_their_definitions_say(dtype, rows, step, seed):
    size, generator = VECTOR_BYTES // np.dtype(dtype).itemsize, np.random.default_rng(seed)
    a, b, start = (generator.standard_normal((rows + size) * size + 9).astype(dtype) for _ in range(3))
    ours, expected = np.full((2, max(rows, size) * size + 5), np.pi, dtype)
    tolerance = {"atol": 1e-4 if dtype == np.float32 else 1e-13}
    _square_product(a, 3, b, 7, start, 2, ours, 4, rows)
    square.square_product_in_numpy(a, 3, b, 7, start, 2, expected, 4, rows)
    np.testing.assert_allclose(ours, expected, **tolerance)
    _square_sum(a, 3, b, 7, start, 2, size * step, ours, 4, rows)
    square.square_sum_in_numpy(a, 3, b, 7, start, 2, size * step, expected, 4, rows)
    np.testing.assert_allclose(ours, expected, **tolerance)
    assert (expected[:4] == ours[:4]).all() and ours[-1] == expected[-1]


@pytest.mark.skipif(not JIT, reason="compares compiled code with its definition")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("vectors", [1, 3])
def test_transformed_products_are_what_their_definition_says(dtype, vectors):
    lanes, generator = VECTOR_BYTES // np.dtype(dtype).itemsize, np.random.default_rng(0)
    if lanes % transformed.CHANNELS_AT_ONCE:
        pytest.skip("a vector holds fewer channels than are taken at once")
    filters, step = vectors * lanes, vectors * lanes + 3
    entry = lanes * step + 2
    weights = generator.standard_normal(5 + 9 * entry).astype(dtype)
    v = generator.standard_normal(4 + 36 * 4 * lanes).astype(dtype)
    start = generator.standard_normal(9 + 36 * 4 * filters).astype(dtype)
    ours, expected = start.copy(), start.copy()
    given = weights, 5, entry, step, v, 4
    _transformed_product(*given, ours, 6, filters, lanes)
    transformed.transformed_product_in_numpy(KERNEL_4, *given, expected, 6, filters, lanes)
    np.testing.assert_allclose(ours, expected, atol=1e-4 if dtype == np.float32 else 1e-12)
    assert (ours[:6] == start[:6]).all() and (ours[-3:] == start[-3:]).all() and (ours != start).any()


@pytest.mark.skipif(not JIT, reason="too slow in plain Python")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("size", "padding", "pool"), [(7, "same", False), (8, "same", True), (10, "valid", False)])
@pytest.mark.parametrize("scaled", [False, True])
def test_few_tiles_have_the_bits_of_many(dtype, size, padding, pool, scaled):
    generator, lanes = np.random.default_rng(0), VECTOR_BYTES // np.dtype(dtype).itemsize
    x = generator.standard_normal((9, size, size, 128)).astype(dtype)
    kernel, (bias, scale) = (
        generator.standard_normal((3, 3, 128, 192)).astype(dtype),
        generator.standard_normal((2, 192)).astype(dtype),
    )
    out = (size - 2, size - 2) if padding == "valid" else (size, size)
    before, out = (0, 0) if padding == "valid" else (1, 1), (out[0] // 2, out[1] // 2) if pool else out
    shape = kernel.shape
    assert winograd.plan(x[:1].shape, shape, out, before, lanes, pool)[0].few == (lanes % 4 == 0)
    assert not winograd.plan(x.shape, shape, out, before, lanes, pool)[0].few
    skip = None if pool else generator.standard_normal((9, *out, 192)).astype(dtype)
    named = {"relu": True, "pooled": pool, "scale": scale if scaled else None}
    together, winners = winograd.forward(x, kernel, bias, out, before, **named, skip=skip)
    for i in range(2):
        alone, winner = winograd.forward(x[i : i + 1], kernel, bias, out, before, **named, skip=None if pool else skip[i : i + 1])
        np.testing.assert_array_equal(alone[0], together[i])
        np.testing.assert_array_equal(winner[:1], winners[i : i + 1])


@pytest.mark.skipif(not JIT, reason="compiled code has these bits")
@pytest.mark.parametrize("edge", [2, 4])
@pytest.mark.parametrize("batch", [1, 3, 20])
@pytest.mark.parametrize("size", [9, 16])
def test_square_products_have_the_bits_of_the_tile(edge, batch, size):
    lanes = VECTOR_BYTES // 4
    generator = np.random.default_rng(0)
    x, dy = (generator.standard_normal((batch, size, size, lanes)).astype(np.float32) for _ in range(2))
    kernel, bias = generator.standard_normal((3, 3, lanes, lanes)).astype(np.float32), np.ones(lanes, np.float32)
    found = []
    with tiles_of(edge):
        for is_square in (1, 0):
            with mock.patch.object(winograd, "plan", _plan_with(square=is_square)):
                y, _ = winograd.forward(x, kernel, bias, (size, size), (1, 1), relu=True)
                dkernel, dbias = winograd.kernel_gradient(x, dy, None, kernel.shape, (1, 1))
                found.append((y, dkernel, dbias, winograd.input_gradient(dy, None, kernel, x.shape, (1, 1))))
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, expected)


BOTH_GRADIENTS = [  # images, size, channels, filters, window, pooled, padding, together
    (9, 8, 16, 32, 3, False, "same", True),
    (9, 8, 20, 16, 3, False, "same", True),  # channels that do not fill their vectors
    (5, 12, 16, 16, 3, True, "same", True),
    (3, 44, 16, 32, 3, False, "same", True),  # a strip of each image at a time
    (1, 8, 16, 32, 3, False, "same", False),  # nothing to share among threads
    (9, 9, 16, 16, 3, False, "valid", None),  # as the tiles decide
]


@pytest.mark.skipif(not JIT, reason="compiled code has these bits")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("edge", "images", "size", "channels", "filters", "window", "pooled", "padding", "together"),
    [
        *((edge, *rest) for edge in (2, 4) for rest in BOTH_GRADIENTS),
        (2, 9, 8, 16, 16, 5, False, "same", False),  # several windows of 3
    ],
)
def test_both_gradients_at_once_have_the_bits_of_each(
    dtype, edge, images, size, channels, filters, window, pooled, padding, together, monkeypatch
):
    monkeypatch.setattr(winograd, "THREADS", 2)
    generator = np.random.default_rng(0)
    before = window // 2 if padding == "same" else 0
    out = (size - window + 1 + 2 * before) // (2 if pooled else 1)
    x, dy = (generator.standard_normal((images, n, n, c)).astype(dtype) for n, c in ((size, channels), (out, filters)))
    kernel = generator.standard_normal((window, window, channels, filters)).astype(dtype)
    winner = generator.integers(0, 5, dy.shape).astype(np.uint8) if pooled else None
    launched, pads = [], (before, before)
    monkeypatch.setattr(
        winograd, "launch", lambda kernel, *more, **room: launched.append(kernel) or launch.launch(kernel, *more, **room)
    )
    with tiles_of(edge):
        dx, dkernel, dbias = winograd.gradients(x, dy, winner, kernel, pads)
        both, _ = launched.count(winograd.compiled.gradients), launched.clear()
        np.testing.assert_array_equal(dx, winograd.input_gradient(dy, winner, kernel, x.shape, pads))
        for ours, expected in zip((dkernel, dbias), winograd.kernel_gradient(x, dy, winner, kernel.shape, pads), strict=True):
            np.testing.assert_array_equal(ours, expected)
        alone = launched.count(winograd.compiled.gradients)
    assert abs(dx).max() > 0 < abs(dkernel).max()
    assert together is None or ((both, alone) == (1, 2) if together else both == alone)


def test_what_a_plan_says_of_squares_and_of_what_is_fetched():
    lanes = VECTOR_BYTES // 4

    def sizes(batch, edge, channels, filters, window=3):
        out = edge, edge
        return winograd.plan((batch, edge, edge, channels), (window, window, channels, filters), out, (1, 1), lanes, False)[0]

    assert [sizes(8, 16, n * lanes, m * lanes).square for n, m in ((1, 1), (1, 2), (2, 1), (2, 2))] == [1, 0, 0, 0]
    assert not sizes(8, 16, lanes, lanes, window=5).square
    assert sizes(128, 32, 16, 16).block_x == sizes(128, 32, 16, 16).block_y == 32 * 32 * 16  # an image
    assert sizes(128, 16, 32, 32).block_x == 4 * 16 * 16 * 32
    assert sizes(128, 8, 64, 64).block_x == sizes(1, 32, 16, 16).block_x == 0  # no room beside it; nothing follows


def _plan_with(**changed):
    of_plan = winograd.plan

    def plan(*shapes, **settings):
        sizes = of_plan(*shapes, **settings)[0]._replace(**changed)
        return sizes, launch.packed(sizes)

    return plan


def _defined_best_of_sandwich(source, at, row, column, best, to, winner, to_winner, count):
    pooling._best_of_sandwich_in_numpy("1 -1; 1 1", source, at, row, column, best, to, winner, to_winner, count)


if JIT:
    from numba import njit

    @njit
    def _square_product(a, a_at, b, b_at, start, start_at, c, c_at, rows):
        square.square_product(a, a_at, b, b_at, start, start_at, c, c_at, rows)

    @njit
    def _square_sum(a, a_at, b, b_at, start, start_at, start_step, c, c_at, rows):
        square.square_sum(a, a_at, b, b_at, start, start_at, start_step, c, c_at, rows)

    @njit
    def _transformed_product(weights, at, entry, step, v, in_v, m, in_m, filters, channels):
        transformed.transformed_product(KERNEL_4, weights, at, entry, step, v, in_v, m, in_m, filters, channels)

    @njit
    def _best_of_sandwich(source, at, row, column, best, to, winner, to_winner, count):
        pooling.best_of_sandwich("1 -1; 1 1", source, at, row, column, best, to, winner, to_winner, count)

    @njit
    def _transpose(source, at, row, rows, columns, target, to, to_row):
        transposing.transpose(source, at, row, rows, columns, target, to, to_row)

    @njit
    def _move(source, at, target, to, cleared, count):
        moving.copy(source, at, target, to, count)
        moving.clear(target, cleared, count)

    @njit
    def _one(dy, at, winner, in_winner, target, to, row, column, count):
        pooling.one_of_four(dy, at, winner, in_winner, target, to, row, column, count)


class Plan(NamedTuple):
    factor: int
    offset: int


@launch.task_kernel
def _count(task: Task, plan: Plan, x: Numbers, counts: Numbers):
    counts[task] += x[task] * plan.factor + plan.offset


@pytest.mark.parametrize("tasks", [0, 1, 2, 3, 31, 32, 33, 1000])
def test_a_launch_runs_every_task_once_whoever_takes_it(tasks):
    x, counts = np.arange(1001.0), np.zeros(1001)
    for _ in range(100):
        launch.launch(_count, tasks, Plan(7, 1), x, counts)
    np.testing.assert_array_equal(counts[:tasks], 100 * (7 * x + 1)[:tasks])
    np.testing.assert_array_equal(counts[tasks:], 0)


def test_a_task_kernel_says_what_its_parameters_are():
    def wrong(task: Task, plan: Plan, x: np.ndarray):
        pass

    with pytest.raises(TypeError, match="parameter x"):
        launch.task_kernel(wrong)
