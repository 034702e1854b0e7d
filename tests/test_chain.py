"""A chain of labels by its definition: the score of every sequence of labels, and the probability of the right one among all."""

import itertools

import numpy as np
import pytest

from minitl.backend import use_backend
from minitl.layers import Transitions
from minitl.losses import ChainCrossentropy
from minitl.ops import crf

N, T, K = 3, 4, 3
RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(N, T, K))
LABELS = np.array([[0, 2, 1, 1], [2, 2, 0, -1], [1, -1, -1, -1]])
LENGTHS = (LABELS >= 0).sum(axis=1)


def layer():
    made = Transitions("glorot_uniform", dtype="float64")
    made(SCORES)
    made.set_weights([RNG.normal(size=(K, K)), RNG.normal(size=K)])
    return made


def score(x, transitions, start, labels):
    """start and the steps' own scores, and one transition between any two steps."""
    steps = sum(x[t, label] for t, label in enumerate(labels))
    return steps + start[labels[0]] + sum(transitions[a, b] for a, b in itertools.pairwise(labels))


def expected(made):
    """Minus the logarithm of the share of the right sequence, by going through all."""
    transitions, start = made.get_weights()
    found = []
    for x, labels, length in zip(SCORES, LABELS, LENGTHS, strict=True):
        all_scores = [score(x, transitions, start, each) for each in itertools.product(range(K), repeat=int(length))]
        found.append(np.log(np.sum(np.exp(all_scores))) - score(x, transitions, start, labels[:length]))
    return np.array(found)


def test_potentials_are_what_each_step_adds():
    made = layer()
    transitions, start = made.get_weights()
    y = made(SCORES)
    for i, j in itertools.product(range(K), repeat=2):
        np.testing.assert_allclose(y[:, 0, i, j], SCORES[:, 0, j] + start[j])
        np.testing.assert_allclose(y[:, 1:, i, j], SCORES[:, 1:, j] + transitions[i, j])
    assert made.compute_output_shape((None, T, K)) == (None, T, K, K) and y.shape == (N, T, K, K)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_the_loss_is_minus_the_logarithm_of_the_right_sequence_s_share(backend):
    made = layer()
    with use_backend(backend):
        potentials = made(SCORES)
        np.testing.assert_allclose(ChainCrossentropy(reduction=None)(LABELS, potentials), expected(made), rtol=1e-10)
        assert ChainCrossentropy()(LABELS, potentials) == pytest.approx(expected(made).mean(), rel=1e-10)
        weights = np.array([1.0, 0.0, 3.0])
        weighed = ChainCrossentropy()(LABELS, potentials, sample_weight=weights)
        assert weighed == pytest.approx((weights * expected(made)).mean(), rel=1e-10)


def test_the_gradients_are_sums_of_what_each_weight_was_added_to():
    made = layer()
    dy = RNG.normal(size=(N, T, K, K))
    made.forward(SCORES, True)
    dx = made.backward(dy)
    np.testing.assert_allclose(dx, dy.sum(axis=2))
    np.testing.assert_allclose(made.gradients["transitions"], dy[:, 1:].sum(axis=(0, 1)))
    np.testing.assert_allclose(made.gradients["start"], dy[:, 0].sum(axis=(0, 1)))


def test_what_fits_to_no_chain():
    with pytest.raises(ValueError, match=r"expected shape \(3, 4\), got \(3, 3\); one label per step, -1 behind the end"):
        ChainCrossentropy()(LABELS[:, :3], layer()(SCORES))
    with pytest.raises(ValueError, match=r"needs scores \(N, T, K\) with known K, got \(2, 4\)"):
        Transitions()(np.ones((2, 4)))


def test_the_best_labels_are_those_of_the_highest_score():
    made = layer()
    transitions, start = made.get_weights()
    lengths = np.array([4, 2, 1])
    found = crf.decode(made(SCORES), lengths)
    for x, labels, length in zip(SCORES, found, lengths, strict=True):
        best = max(itertools.product(range(K), repeat=int(length)), key=lambda each: score(x, transitions, start, each))
        np.testing.assert_array_equal(labels, [*best, *[-1] * (T - length)])
    np.testing.assert_array_equal(crf.decode(made(SCORES))[0], found[0])
