"""A guard against slow kernels: each is compared with a plain compiled loop in the same process, with room to spare.

Never an absolute time: machines differ and drift. The benchmarks measure; this only notices when something has broken.
"""

import os
import time

import numpy as np
import pytest

from minitl.kernels import conv2d

pytestmark = [pytest.mark.timing, pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="needs compiled code")]


def fastest(call, rounds=5):
    call()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def plain_loop():
    from numba import njit, prange

    @njit(parallel=True, error_model="numpy")
    def convolution(x, kernel, y):
        for n in prange(len(x)):
            for i in range(y.shape[1]):
                for j in range(y.shape[2]):
                    for a in range(kernel.shape[0]):
                        for b in range(kernel.shape[1]):
                            for c in range(kernel.shape[2]):
                                for f in range(kernel.shape[3]):
                                    y[n, i, j, f] += x[n, i + a, j + b, c] * kernel[a, b, c, f]

    return convolution


def test_convolution_beats_a_plain_loop_by_far():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((32, 14, 14, 64), dtype=np.float32)
    kernel = generator.standard_normal((3, 3, 64, 64), dtype=np.float32)
    y, cache = conv2d.forward(x, kernel)
    loop = plain_loop()
    reference = fastest(lambda: loop(x, kernel, np.zeros_like(y)))
    np.testing.assert_allclose(loop(x, kernel, z := np.zeros_like(y)) or z, y, rtol=1e-3, atol=1e-3)
    assert fastest(lambda: conv2d.forward(x, kernel)) < reference / 2
    assert fastest(lambda: conv2d.backward(y, cache, need_dx=False)) < reference / 2
    assert fastest(lambda: conv2d.backward(y, cache, need_dparameters=False)) < reference / 2


def test_a_frozen_base_saves_most_of_the_step():
    from minitl.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
    from minitl.models import Sequential
    from minitl.transfer import freeze

    model = Sequential([Input((32, 32, 3))])
    for filters in (32, 64):
        model.add(Conv2D(filters, 3, activation="relu"))
        model.add(MaxPooling2D())
    model.add(Flatten())
    model.add(Dense(10, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = np.random.default_rng(0).standard_normal((64, 32, 32, 3), dtype=np.float32), np.arange(64) % 10
    full = fastest(lambda: model.train_on_batch(x, y))
    freeze(model, "conv*")
    assert fastest(lambda: model.train_on_batch(x, y)) < full / 1.5
