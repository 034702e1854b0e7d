"""exp, exp - 1 and tanh of the engine against NumPy's in higher precision, and what is built on them."""

import importlib

import numpy as np
import pytest

from minitl.kernels import sigmoid, softmax, tanh
from minitl.kernels.jit import jit
from minitl.kernels.simd import exp as exp_of_one
from minitl.kernels.simd import expm1 as expm1_of_one
from minitl.kernels.simd import tanh as tanh_of_one
from minitl.ops import softmax as book_softmax

DTYPES = [np.float32, np.float64]
SIZES = [1e-30, 1e-6, 1e-3, 0.1, 1.0, 5.0, 30.0, 100.0, 700.0]


@jit()
def exps(x, y):
    for i in range(len(x)):
        y[i] = exp_of_one(x[i])


@jit()
def expm1s(x, y):
    for i in range(len(x)):
        y[i] = expm1_of_one(x[i])


@jit()
def tanhs(x, y):
    for i in range(len(x)):
        y[i] = tanh_of_one(x[i])


def numbers(dtype):
    generator = np.random.default_rng(0)
    return np.concatenate([generator.standard_normal(2000) * size for size in SIZES]).astype(dtype)


def units_in_the_last_place(y, exact):
    """The largest error among normal numbers, in units of their last place."""
    rounded = exact.astype(y.dtype)
    normal = np.isfinite(rounded) & (np.abs(rounded) > np.finfo(y.dtype).tiny)
    assert normal.sum() > len(y) / 2
    error = np.abs(y.astype(np.longdouble) - exact)[normal]
    return (error / np.spacing(np.abs(rounded[normal])).astype(np.longdouble)).max()


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_and_tanh_are_right_to_the_last_places(dtype):
    x = numbers(dtype)
    y = np.empty_like(x)
    with np.errstate(all="ignore"):
        exps(x, y)
        exact = np.exp(x.astype(np.longdouble))
        assert units_in_the_last_place(y, exact) <= 2
        np.testing.assert_array_equal(np.isinf(y), np.isinf(exact.astype(dtype)))
        small = exact < np.finfo(dtype).tiny  # subnormal, or zero
        np.testing.assert_allclose(y[small], exact[small].astype(dtype), rtol=0, atol=2 * np.finfo(dtype).smallest_subnormal)
        tanhs(x, y)
        assert units_in_the_last_place(y, np.tanh(x.astype(np.longdouble))) <= 4
        below = -np.abs(x)
        expm1s(below, y)
        assert units_in_the_last_place(y, np.expm1(below.astype(np.longdouble))) <= 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_and_tanh_of_special_numbers(dtype):
    x = np.array([0, -0.0, np.inf, -np.inf, np.nan], dtype)
    y = np.empty_like(x)
    exps(x, y)
    np.testing.assert_array_equal(y, [1, 1, np.inf, 0, np.nan])
    tanhs(x, y)
    np.testing.assert_array_equal(y, [0, 0, 1, -1, np.nan])
    assert np.signbit(y[1]) and not np.signbit(y[0])
    expm1s(np.array([0, -0.0, -np.inf, -1e4, np.nan], dtype), y)
    np.testing.assert_array_equal(y, [0, 0, -1, -1, np.nan])


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_numbers_saturate_and_nan_spreads(dtype):
    x = np.array([-1e4, -100, 100, 1e4, np.inf, -np.inf, np.nan], dtype)
    with np.errstate(over="ignore"):
        y = sigmoid.forward(x)[0]
    np.testing.assert_allclose(y, [0, 0, 1, 1, 1, 0, np.nan], rtol=0, atol=1e-40)
    np.testing.assert_array_equal(tanh.forward(x)[0], [-1, -1, 1, 1, 1, -1, np.nan])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [softmax.WIDE - 1, softmax.WIDE, softmax.WIDE + 5, 1000])
def test_wide_rows_of_softmax(dtype, classes):
    z = np.random.default_rng(1).standard_normal((7, classes)).astype(dtype) * 20
    z[1, 3], z[2, 0], z[3, classes - 1] = 1e4, -np.inf, np.nan
    with np.errstate(invalid="ignore"):
        p, wanted = softmax.forward(z)[0], book_softmax.forward(z)[0]
    np.testing.assert_allclose(p, wanted, rtol=20 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)
    assert np.isnan(p[3]).all()
    np.testing.assert_allclose(p[[0, 1, 2, 4, 5, 6]].sum(axis=1), 1, rtol=10 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sparse_categorical_cross_entropy", "categorical_cross_entropy"])
def test_cross_entropy_of_many_classes(dtype, name):
    generator = np.random.default_rng(2)
    z = generator.standard_normal((9, 1000)).astype(dtype) * 10
    labels = generator.integers(0, 1000, 9)
    targets = labels if name.startswith("sparse") else np.eye(1000, dtype=dtype)[labels]
    results = []
    for folder in ("kernels", "ops"):
        module = importlib.import_module(f"minitl.{folder}.{name}")
        loss, cache = module.forward(z, targets, None, True)
        results.append((loss, module.backward(1.0, cache)))
    (loss, dz), (wanted, wanted_dz) = results
    assert float(loss) == pytest.approx(float(wanted), rel=20 * float(np.finfo(dtype).eps))
    np.testing.assert_allclose(dz, wanted_dz, rtol=50 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps / 9)
