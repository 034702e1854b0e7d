"""The first test: if this fails, nothing else matters. A tiny network must learn eight pictures by heart."""

import numpy as np

from minitl.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from minitl.models import Sequential


def test_a_tiny_network_overfits(backend):
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((8, 8, 8, 2)), np.arange(8) % 4
    model = Sequential(
        [
            Input((8, 8, 2)),
            Conv2D(4, 3, activation="relu"),
            MaxPooling2D(),
            Flatten(),
            Dense(16, activation="tanh"),
            Dense(4, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.learning_rate = 0.02
    first, _ = model.evaluate(x, y)
    history = model.fit(x, y, batch_size=4, epochs=60, verbose=0)
    loss, accuracy = model.evaluate(x, y)
    assert len(history.history["loss"]) == 60
    assert accuracy == 1.0
    assert loss < 0.05 < first


def test_plans_of_two_kernels_with_the_same_numbers_are_kept_apart():
    """Tuples of different classes are equal; a kernel in plain Python would get the other's names."""
    from typing import NamedTuple

    from minitl.kernels import launch

    class First(NamedTuple):
        rows: int
        columns: int

    class Second(NamedTuple):
        pixels: int
        filters: int

    assert First(4, 5) == Second(4, 5)
    kept = [launch._packed_alone(plan) for plan in (First(4, 5), Second(4, 5), First(4, 5))]
    assert [type(one.plan) for one in kept] == [First, Second, First] and kept[0] is kept[2]
