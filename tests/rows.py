"""A few rows of numbers, targets for them, and a small network: for tests in which any would do."""

import numpy as np

from minitl import set_random_seed
from minitl.layers import Dense, Input
from minitl.models import Sequential

ROWS = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
TARGETS = np.random.default_rng(1).normal(size=(12, 2)).astype("float32")


def small(**settings):
    """The network, drawn anew from the same seed; the settings are its last layer's."""
    set_random_seed(0)
    return Sequential([Input((4,)), Dense(3, activation="tanh"), Dense(2, **settings)])
