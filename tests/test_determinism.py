"""Same seed, same bits: between runs, between numbers of threads, between processes."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minitl
from minitl.layers import Add, BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D, ReLU
from minitl.models import Model, Sequential


def trained_weights(seed=3):
    minitl.set_random_seed(seed)
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((150, 14, 14, 3)).astype(np.float32), np.arange(150) % 10
    model = Sequential(
        [
            Input((14, 14, 3)),
            Conv2D(20, 3, padding="same", activation="relu"),
            BatchNormalization(),
            MaxPooling2D(),
            Conv2D(40, 3, activation="relu"),
            Flatten(),
            Dropout(0.5),
            Dense(70, activation="relu"),
            Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=32, epochs=2, verbose=0)
    return hashlib.sha256(b"".join(w.tobytes() for w in model.weights)).hexdigest()


def trained_residual_network():
    """What runs as Winograd's convolution, with tiles of both sizes; the last batch is one image, and so is one prediction."""
    minitl.set_random_seed(3)
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((97, 16, 16, 16)).astype(np.float32), np.arange(97) % 10
    inputs = Input((16, 16, 16))
    main = Conv2D(16, 3, padding="same")(Conv2D(16, 3, padding="same", activation="relu")(inputs))
    block = ReLU()(Add()([BatchNormalization()(main), inputs]))
    pooled = MaxPooling2D()(Conv2D(128, 3, padding="same", activation="relu")(Conv2D(128, 5, activation="relu")(block)))
    model = Model(inputs, Dense(10, activation="softmax")(Flatten()(pooled)))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=32, epochs=2, verbose=0)
    results = [*model.weights, model.predict(x[:1], verbose=0), model.predict(x, verbose=0)]
    return hashlib.sha256(b"".join(array.tobytes() for array in results)).hexdigest()


def test_the_same_seed_gives_the_same_bits(backend):
    assert trained_weights() == trained_weights()


def test_another_seed_gives_other_weights():
    assert trained_weights(1) != trained_weights(2)


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="needs threads")
@pytest.mark.parametrize("network", ["trained_weights", "trained_residual_network"])
def test_threads_do_not_change_a_bit(network):
    hashes = set()
    for threads in ("1", "2", "3", "8"):
        program = f"import test_determinism as t; print(t.{network}())"
        environment = {**os.environ, "NUMBA_NUM_THREADS": threads, "PYTHONPATH": str(Path(__file__).parent)}
        result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
        hashes.add(result.stdout.strip())
    assert len(hashes) == 1


def test_names_do_not_depend_on_what_was_built_before():
    names = []
    for _ in range(2):
        model = Sequential([Input((8, 8, 1)), Conv2D(2, 3), Conv2D(2, 3), Flatten(), Dense(2), Dense(2)])
        names.append([layer.name for layer in model.layers])
    assert names[0] == names[1] == ["conv2d", "conv2d_1", "flatten", "dense", "dense_1"]


def test_drawing_more_in_one_place_changes_nothing_in_another():
    minitl.set_random_seed(5)
    a = minitl.random.new_generator()
    a.random(100)
    b = minitl.random.new_generator().random(3)
    minitl.set_random_seed(5)
    minitl.random.new_generator()
    np.testing.assert_array_equal(minitl.random.new_generator().random(3), b)
