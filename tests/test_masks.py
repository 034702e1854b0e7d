"""Padded steps: they count neither in losses nor in metrics, wherever the layers between treat each step alone."""

import numpy as np
import pytest

from minitl.gradcheck import check_gradients
from minitl.layers import (
    LSTM,
    Activation,
    Add,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    Masking,
    TimeDistributed,
)
from minitl.masks import masks_of
from minitl.models import Model, Sequential
from minitl.optimizers import SGD
from minitl.utils import set_random_seed

WORDS = np.array([[3, 1, 4, 1], [5, 2, 0, 0], [6, 0, 0, 0]])
TAGS = np.random.default_rng(0).integers(0, 3, WORDS.shape)
REAL = WORDS != 0


@pytest.fixture
def tagger():
    set_random_seed(0)
    model = Sequential(
        [
            Input((4,), dtype="int32"),
            Embedding(9, 5, mask_zero=True),
            Bidirectional(LSTM(3, return_sequences=True)),
            Dense(6, activation="tanh"),
            Dropout(0.0),
            TimeDistributed(Dense(3, activation="softmax")),
        ]
    )
    model.compile(SGD(0.5), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def by_hand(model, weights=None):
    p = model.predict(WORDS, verbose=0)
    losses = -np.log(np.take_along_axis(p, TAGS[..., None], axis=2)[..., 0])
    if weights is not None:
        losses = losses * weights[:, None]
    return losses[REAL].mean(), (p.argmax(axis=2) == TAGS)[REAL].mean()


def test_losses_and_metrics_are_means_over_the_real_steps(tagger):
    assert tagger.evaluate(WORDS, TAGS, verbose=0) == pytest.approx(by_hand(tagger), rel=1e-6)
    weights = np.array([1.0, 5.0, 0.5])
    assert tagger.evaluate(WORDS, TAGS, sample_weight=weights, verbose=0)[0] == pytest.approx(
        by_hand(tagger, weights)[0], rel=1e-6
    )
    other = np.where(REAL, TAGS, (TAGS + 1) % 3)  # what stands at padded steps makes no difference
    assert tagger.evaluate(WORDS, other, verbose=0) == tagger.evaluate(WORDS, TAGS, verbose=0)
    expected = by_hand(tagger)[0]
    assert tagger.train_on_batch(WORDS, TAGS)[0] == pytest.approx(expected, rel=1e-6)
    assert by_hand(tagger)[0] < expected


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy", "mse", "kl_divergence"])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_gradients(tagger, loss, backend):
    from minitl.backend import use_backend

    y = TAGS if loss.startswith("sparse") else np.eye(3)[TAGS]
    tagger.compile(SGD(0.5), loss)
    with use_backend(backend):
        assert check_gradients(tagger, WORDS, y).ok


def test_a_batch_of_padding_alone_moves_nothing(tagger):
    before = [w.copy() for w in tagger.weights]
    assert tagger.train_on_batch(np.zeros_like(WORDS), TAGS)[0] == 0
    for old, new in zip(before, tagger.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_which_layers_hand_a_mask_on():
    words, steps = Input((4,), dtype="int32"), Input((4, 5))
    x = Embedding(9, 5, mask_zero=True)(words)
    twice = Add()([Dense(5)(x), Activation("relu")(x)])
    inner_input = Input((4, 5))
    inner = Model(inner_input, Activation("tanh")(Dense(5)(inner_input)))
    nested = Sequential([Input((4, 5)), Masking(9.0), inner])
    outputs = {
        "merged": (twice, REAL),
        "through a model inside": (inner(x), REAL),
        "from a model inside": (nested(steps), np.arange(4) > np.zeros((3, 1))),
        "of two kinds": (Add()([x, Masking(9.0)(steps)]), None),
        "neighbouring steps": (Conv1D(5, 3, padding="same")(x), None),
        "no steps any more": (Flatten()(x), None),
        "only the last": (LSTM(3)(x), None),
        "of something made": (Masking()(Dense(5)(steps)), None),
    }
    model = Model([words, steps], [value for value, _ in outputs.values()])
    numbers = np.ones((3, 4, 5), np.float32)
    numbers[:, 0] = 9
    for (name, (_, expected)), found in zip(outputs.items(), masks_of(model.graph, [WORDS, numbers]), strict=True):
        assert (found is None) == (expected is None), name
        if expected is not None:
            np.testing.assert_array_equal(found, expected, err_msg=name)


def test_many_layers_and_joints():
    value = x = Input((4, 2))
    value = Masking()(value)
    for _ in range(1500):
        value = Add()([value, Activation("relu")(value)])
    assert masks_of(Model(x, value).graph, [np.ones((3, 4, 2))])[0].all()


def test_several_outputs_and_accumulated_parts(tagger):
    sentence = Dense(2, activation="softmax", name="sentence")(Flatten()(tagger.output))
    both = Model(tagger.input, [tagger.output, sentence])
    both.compile(SGD(0.1), ["sparse_categorical_crossentropy"] * 2, metrics=[["accuracy"], ["accuracy"]])
    kinds = np.array([0, 1, 1])
    logs = both.evaluate(WORDS, [TAGS, kinds], verbose=0, return_dict=True)
    tags, right = by_hand(tagger)
    assert [logs[key] for key in logs if key.startswith("time_distributed")] == pytest.approx([tags, right], rel=1e-5)
    whole = both.predict(WORDS, verbose=0)[1]
    assert logs["sentence_loss"] == pytest.approx(-np.log(whole[np.arange(3), kinds]).mean(), rel=1e-5)
    history = both.fit(WORDS, [TAGS, kinds], batch_size=3, epochs=2, accumulate=3, verbose=0).history
    assert history["loss"][1] < history["loss"][0]


def test_targets_without_the_steps_are_refused(tagger):
    with pytest.raises(ValueError, match=r"targets of steps: .*\(3, 4\).*\(3, 1\).*one target for every step"):
        tagger.train_on_batch(WORDS, TAGS[:, :1])


def test_as_keras(tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    k = keras.layers
    x = keras.Input((4,), dtype="int32")
    h = k.Bidirectional(k.LSTM(3, return_sequences=True))(k.Embedding(9, 5, mask_zero=True)(x))
    theirs = keras.Model(x, k.Dense(3, activation="softmax")(k.Dense(6, activation="relu")(h)))
    theirs.save(tmp_path / "m.keras")
    from minitl.models import load_model

    ours = load_model(tmp_path / "m.keras")
    theirs.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy", metrics=["sparse_categorical_accuracy"])
    ours.compile(SGD(0.5), "sparse_categorical_crossentropy", metrics=["sparse_categorical_accuracy"])
    for _ in range(5):
        expected = theirs.train_on_batch(WORDS, TAGS[..., None], return_dict=True)
        assert ours.train_on_batch(WORDS, TAGS)[0] == pytest.approx(float(expected["loss"]), rel=1e-5)
    measured = [float(value) for value in theirs.evaluate(WORDS, TAGS[..., None], verbose=0)]
    assert ours.evaluate(WORDS, TAGS, verbose=0) == pytest.approx(measured, rel=1e-5)


def test_lists_of_targets_and_weights(tagger):
    tagger.compile(SGD(0.5), "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    weights = np.array([1.0, 5.0, 0.5])
    expected = tagger.test_on_batch(WORDS, TAGS, sample_weight=weights)
    assert tagger.test_on_batch(WORDS, TAGS.tolist(), sample_weight=weights.tolist()) == expected
    right = (tagger.predict(WORDS, verbose=0).argmax(axis=2) == TAGS) * weights[:, None]
    assert expected[1] == pytest.approx(right[REAL].sum() / np.broadcast_to(weights[:, None], REAL.shape)[REAL].sum())
