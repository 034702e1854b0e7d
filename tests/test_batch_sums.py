"""Sums over a batch, channel by channel, and what comes of them: by their formulas, for few and many rows and channels."""

import itertools

import numpy as np
import pytest

from minitl.kernels import batch_norm, batch_sums, slices
from minitl.kernels.batch_sums import SLICE
from minitl.kernels.processor import TASKS, VECTOR_BYTES
from minitl.ops import batch_norm as book

SHAPES = [
    *itertools.product((1, 5, SLICE, SLICE + 1, 3 * SLICE - 2), (1, 3, 16, 64, 130, 300)), (17 * SLICE + 9, 5), (16 * SLICE, 70)
]  # fmt: skip


def drawn(rows, channels, dtype=np.float64):
    """dy, more, x, y, mean, r; and what is taken from x, the factor, and what is added, three times repeated."""
    generator = np.random.default_rng(rows * 1000 + channels)
    dy, more, x, y = (generator.integers(-4, 5, (rows, channels)).astype(dtype) for _ in range(4))  # ties and zeros
    mean, r = generator.normal(size=channels).astype(dtype), generator.uniform(0.5, 2, channels).astype(dtype)
    constants = generator.integers(-2, 3, (3, channels)).astype(dtype)
    return dy, more, x, y, mean, r, np.ascontiguousarray(np.repeat(constants[:, None], 3, axis=1))


def by_slices(array):
    return np.array([array[first : first + SLICE].sum(axis=0) for first in range(0, len(array), SLICE)])


def filled(monkeypatch):
    """Memory that holds something else before it is used."""
    monkeypatch.setattr(batch_sums.memory, "empty", lambda shape, dtype: np.full(shape, 7.5, dtype))


@pytest.mark.parametrize(("rows", "channels"), SHAPES)
def test_moments(rows, channels, monkeypatch):
    filled(monkeypatch)
    x = drawn(rows, channels)[2]
    sums, squares = batch_sums.sum_moments(x.reshape(-1), channels)
    np.testing.assert_array_equal(sums, by_slices(x))  # whole numbers
    for s, first in enumerate(range(0, rows, SLICE)):
        part = x[first : first + SLICE]
        np.testing.assert_allclose(squares[s], ((part - part.mean(axis=0)) ** 2).sum(axis=0), atol=1e-10)
    mean, variance = slices.join_moments(sums, squares, rows, SLICE)
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=1e-13)
    np.testing.assert_allclose(variance, x.var(axis=0), atol=1e-12)


@pytest.mark.parametrize("ceiling", [None, 0, 2])
@pytest.mark.parametrize(("rows", "channels"), SHAPES)
def test_products(rows, channels, ceiling, monkeypatch):
    """None is no ReLU, 0 one without a ceiling."""
    filled(monkeypatch)
    dy, _, x, _, mean, r, before = drawn(rows, channels)
    z = (x - before[0, 0]) * before[1, 0] + before[2, 0]
    passes = True if ceiling is None else (z > 0) & (z < (ceiling or np.inf))
    g = np.where(passes, dy, 0)
    more = () if ceiling is None else (before, ceiling)
    sums = batch_sums.sum_products(dy.reshape(-1), x.reshape(-1), mean, r, *more)
    np.testing.assert_array_equal(sums[0], by_slices(g))
    np.testing.assert_allclose(sums[1], by_slices(g * (x - mean) * r), atol=1e-10)


@pytest.mark.parametrize("ceiling", [0, 2])
@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize(("rows", "channels"), SHAPES)
def test_masked_sums(rows, channels, two, ceiling, monkeypatch):
    filled(monkeypatch)
    dy, more, x, y, mean, r, _ = drawn(rows, channels)
    flat = [array.reshape(-1) for array in (dy, more, y, x)]
    dz, sums = batch_sums.mask_and_sum(flat[0], flat[1] if two else None, *flat[2:], mean, r, ceiling)
    expected = np.where((y > 0) & (y < (ceiling or np.inf)), dy + more if two else dy, 0)
    np.testing.assert_array_equal(dz.reshape(dy.shape), expected)
    np.testing.assert_array_equal(sums[0], by_slices(expected))
    np.testing.assert_allclose(sums[1], by_slices(expected * (x - mean) * r), atol=1e-10)


def test_what_is_not_a_number_does_not_pass():
    dy, _, x, y, mean, r, before = drawn(SLICE, 16)
    x[3, 2] = y[3, 2] = np.nan
    with np.errstate(invalid="ignore"):
        passes = (x - before[0, 0]) * before[1, 0] + before[2, 0] > 0
    sums = batch_sums.sum_products(dy.reshape(-1), x.reshape(-1), mean, r, before, 0)
    np.testing.assert_array_equal(sums[0, 0], np.where(passes, dy, 0).sum(axis=0))
    dz, _ = batch_sums.mask_and_sum(dy.reshape(-1), None, y.reshape(-1), x.reshape(-1), mean, r, 0)
    assert dz.reshape(dy.shape)[3, 2] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "channels"), [(1, 3), (40, 5), (SLICE + 3, 16), (700, 600)])
def test_the_book_has_the_same(rows, channels, dtype):
    generator = np.random.default_rng(rows)
    x, dy = (generator.normal(size=(rows, 1, channels)).astype(dtype) for _ in range(2))
    gamma, beta = (generator.normal(size=channels).astype(dtype) for _ in range(2))
    close = {"rtol": 1e-4, "atol": 2e-4} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-10}
    moving = {house: generator.normal(size=channels).astype(dtype) for house in (batch_norm, book)}
    moving[book][...] = moving[batch_norm]
    found = {}
    for house in (batch_norm, book):
        mean, variance = house.statistics(x)
        house.follow(moving[house], mean, 0.7)
        y, cache = house.forward(x, gamma, beta, mean, variance, 1e-3, True)
        found[house] = [mean, variance, moving[house], y, *house.backward(dy, cache)]
        given = mean + 1, variance + 1, 1e-3, False
        y, cache = house.forward(x, gamma, beta, *given)
        found[house] += [y, *house.backward(dy, cache), *house.backward(dy, cache, need_dx=False)[1:]]
        assert house.backward(dy, cache, need_dparameters=False)[1:] == (None, None)
    for ours, expected in zip(found[batch_norm], found[book], strict=True):
        np.testing.assert_allclose(ours, expected, **close)


def test_statistics_that_are_no_row_of_numbers_follow_too():
    wide = np.arange(12, dtype=np.float32)
    batch_norm.follow(wide[::2], np.ones(6, np.float32), 0.5)
    np.testing.assert_array_equal(wide, [0.5, 1, 1.5, 3, 2.5, 5, 3.5, 7, 4.5, 9, 5.5, 11])


def test_few_slices_are_shared_out_by_channels():
    lanes = VECTOR_BYTES // 4
    for rows in (SLICE // 2, SLICE + 32, 5 * SLICE, 15 * SLICE):
        tasks, plan = batch_sums._plan(rows, 960, False, 0, 0, False, np.dtype(np.float32))
        assert plan.slices == -(-rows // SLICE) and tasks == plan.slices * -(-960 // plan.chunk)
        assert plan.chunk % lanes == 0 and batch_sums.CHUNK <= plan.chunk < 960
        assert tasks >= TASKS - plan.slices and tasks <= 2 * TASKS
    assert batch_sums._plan(SLICE, 96, False, 0, 0, False, np.dtype(np.float32))[1].chunk == batch_sums.CHUNK
    for rows in (16 * SLICE, 100 * SLICE):  # tasks enough
        tasks, plan = batch_sums._plan(rows, 960, False, 0, 0, False, np.dtype(np.float32))
        assert tasks == rows // SLICE and plan.chunk == 960
