"""Padded steps: they count neither in losses nor in metrics, wherever the layers between treat each step alone."""

import numpy as np
import pytest
from there_and_back import there_and_back

from minitl import backend, layers
from minitl.gradcheck import check_gradients
from minitl.interop import export_onnx
from minitl.layers import (
    LSTM,
    Activation,
    Add,
    Attention,
    Bidirectional,
    Concatenate,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    Masking,
    Maximum,
    Minimum,
    Normalization,
    PReLU,
    ReLU,
    RMSNormalization,
    TimeDistributed,
)
from minitl.layers.masking import LeaveOut, marks_of
from minitl.masks import masks_of
from minitl.models import Model, Sequential, load_model
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
        "of two kinds": (Add()([x, Masking(9.0)(steps)]), REAL | (np.arange(4) > np.zeros((3, 1)))),
        "side by side": (Concatenate()([x, Masking(9.0)(steps)]), REAL | (np.arange(4) > np.zeros((3, 1)))),
        "from a given state": (LSTM(3, return_sequences=True)(x, initial_state=[Dense(3)(Flatten()(x))] * 2), REAL),
        "step by step through a model": (TimeDistributed(Sequential([Input((5,)), Dense(2)]))(x), REAL),
        "of a query": (Attention()([x, Dense(5)(steps)]), REAL),
        "beside steps that all count": (Add()([x, Dense(5)(steps)]), None),
        "one behind the other": (Concatenate(axis=1)([x, Activation("relu")(x)]), None),
        "the larger": (Maximum()([x, Dense(5)(x)]), REAL),
        "the smaller": (Minimum()([x, Dense(5)(x)]), REAL),
        "by given numbers": (Normalization(mean=0.5, variance=2.0)(x), REAL),
        "slopes of its own": (PReLU(shared_axes=[1])(x), REAL),
        "cut off": (ReLU()(x), REAL),
        "squares": (RMSNormalization()(x), None),
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


def test_what_is_left_out_keeps_the_values_kind_of_numbers():
    values, words = Input((4, 3)), Input((4,), dtype="int64")
    assert LeaveOut(0)([values, words]).dtype == np.float32


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


BEHIND = {
    "dense": lambda l, v: l.LSTM(4)(l.Dense(2, activation="relu")(v)),
    "normalised": lambda l, v: l.Bidirectional(l.GRU(3))(l.LayerNormalization()(v)),
    "recurrent": lambda l, v: l.LSTM(3)(l.Dense(4)(l.LSTM(4, return_sequences=True)(v))),
    "two in a row": lambda l, v: l.LSTM(3)(l.LSTM(4, return_sequences=True)(v)),
    "backwards": lambda l, v: l.LSTM(3)(l.Dense(4)(l.LSTM(4, return_sequences=True, go_backwards=True)(v))),
    "mean": lambda l, v: l.GlobalAveragePooling1D()(
        l.Dense(4, activation="tanh")(l.Bidirectional(l.SimpleRNN(4, return_sequences=True))(v))
    ),
    "step by step": lambda l, v: l.GRU(3)(l.TimeDistributed(l.Dense(4))(v)),
    "a way around": lambda l, v: l.LSTM(3)(l.Add()([v, l.Dense(5)(v)])),
    "batches": lambda l, v: l.LSTM(3)(l.Dropout(0.0)(l.BatchNormalization()(v))),
    "answers": lambda l, v: l.Dense(2)(l.GRU(3, return_sequences=True)(l.Activation("sigmoid")(v))),
    "slopes": lambda l, v: l.LSTM(3)(l.Dense(3)(l.PReLU(shared_axes=[1])(v))),
    "the last": lambda l, v: l.LSTM(3)(v),
    "the larger": lambda l, v: l.LSTM(3)(l.Maximum()([v, l.Dense(5)(v)])),
    "the smaller": lambda l, v: l.LSTM(3)(l.Minimum()([v, l.Dense(5)(v)])),
    "numbers that are given": lambda l, v: l.LSTM(3)(l.Normalization(mean=0.5, variance=2.0)(v)),
}


@pytest.mark.parametrize("name", BEHIND)
def test_masks_go_where_keras_s_go(name, tmp_path):
    keras = pytest.importorskip("keras")
    from minitl import layers

    random = np.random.default_rng(3)
    words = random.integers(1, 9, (6, 7))
    for row, length in enumerate((4, 2, 6, 1)):
        words[row, length:] = 0
    ours, theirs = Input((7,), dtype="int32"), keras.Input((7,), dtype="int32")
    a = Model(ours, BEHIND[name](layers, Embedding(9, 5, mask_zero=True)(ours)))
    b = keras.Model(theirs, BEHIND[name](keras.layers, keras.layers.Embedding(9, 5, mask_zero=True)(theirs)))
    weights = [
        np.abs(random.normal(size=w.shape)) / 2 + random.normal(size=w.shape) * ("variance" not in w.path) / 3 for w in b.weights
    ]
    a.set_weights(weights)
    b.set_weights(weights)
    counts = words != 0 if len(a.output_shape) == 3 else slice(None)
    expected = np.asarray(b.predict(words, verbose=0))

    def same(model):
        y = np.asarray(model.predict(words, verbose=0))
        np.testing.assert_allclose(y[counts], expected[counts], atol=2e-6)

    same(a)
    there_and_back(a, b, tmp_path, same)
    if name == "batches":  # Keras's statistics leave padded steps out, ours do not
        return
    targets = random.normal(size=expected.shape)
    a.compile(SGD(0.1), "mse")
    b.compile(keras.optimizers.SGD(0.1), "mse")
    losses = [m.fit(words, targets, epochs=2, shuffle=False, batch_size=3, verbose=0).history["loss"] for m in (a, b)]
    np.testing.assert_allclose(*losses, rtol=1e-5)


OF_TWO = {
    "side by side": lambda l, a, b: l.LSTM(3)(l.Concatenate()([a, b])),
    "sums": lambda l, a, b: l.LSTM(3)(l.Dense(4)(l.Add()([a, b]))),
    "differences, tagged": lambda l, a, b: l.Dense(2)(l.Bidirectional(l.GRU(3, return_sequences=True))(l.Subtract()([a, b]))),
    "means": lambda l, a, b: l.GlobalAveragePooling1D()(l.Average()([a, b])),
    "mean squares": lambda l, a, b: l.LSTM(3)(l.RMSNormalization()(l.Add()([a, b]))),
    "judged where one is": lambda l, a, b: l.Dense(2)(l.Dense(3, activation="relu")(l.Concatenate()([a, b]))),
    "products": lambda l, a, b: l.GlobalAveragePooling1D()(l.Multiply()([a, b])),
    "products of the same steps": lambda l, a, b: l.Concatenate()(
        [l.GlobalMaxPooling1D()(l.Multiply()([a, l.Dense(5)(a)])), l.GlobalAveragePooling1D()(b)]
    ),
    "shares of steps": lambda l, a, b: l.Flatten()(
        l.Multiply()([a, l.Permute((2, 1))(l.RepeatVector(5)(l.Softmax()(l.Flatten()(l.Dense(1, activation="tanh")(b)))))])
    ),
    "steps looked up": lambda l, a, b: l.GlobalAveragePooling1D()(l.Attention()([a, b])),
    "operators": lambda l, a, b: l.LSTM(3)(l.Dense(4)(a * b + a)),
    "one of them": lambda l, a, b: l.LSTM(3)(l.Concatenate()([a, l.Conv1D(5, 3, padding="same")(b)])),
    "one of them, added": lambda l, a, b: l.LSTM(3)(l.Add()([a, l.Conv1D(5, 3, padding="same")(b)])),
}


@pytest.mark.parametrize("name", OF_TWO)
def test_masks_of_two_inputs_as_in_keras(name, tmp_path):
    keras = pytest.importorskip("keras")
    random = np.random.default_rng(4)
    words, kinds = random.integers(1, 9, (2, 5, 7))
    for row, (length, other) in enumerate([(4, 2), (2, 5), (6, 6), (1, 3)]):
        words[row, length:] = kinds[row, other:] = 0
    a, b, table = keras.Input((7,), dtype="int32"), keras.Input((7,), dtype="int32"), keras.layers.Embedding(9, 5, mask_zero=True)
    theirs = keras.Model([a, b], OF_TWO[name](keras.layers, table(a), table(b)))
    theirs.set_weights([random.normal(size=weight.shape) for weight in theirs.weights])
    expected = np.asarray(theirs.predict([words, kinds], verbose=0))
    counts = (words != 0) | (kinds != 0) if expected.ndim == 3 else slice(None)
    for ending in (".h5", ".keras"):
        theirs.save(tmp_path / f"theirs{ending}")
        ours = load_model(tmp_path / f"theirs{ending}")
        y = ours.predict([words, kinds], verbose=0)
        np.testing.assert_allclose(y[counts], expected[counts], atol=2e-6)
    ours.save(tmp_path / "ours.npz")
    np.testing.assert_array_equal(load_model(tmp_path / "ours.npz").predict([words, kinds], verbose=0), y)
    for ending in (".keras", ".h5"):
        ours.save(tmp_path / f"ours{ending}")
        there = keras.models.load_model(tmp_path / f"ours{ending}")
        np.testing.assert_allclose(there.predict([words, kinds], verbose=0)[counts], expected[counts], atol=2e-6)
    if name in ("means", "products", "shares of steps"):
        assert check_gradients(ours, [words, kinds]).ok
        ort = pytest.importorskip("onnxruntime")
        export_onnx(ours, tmp_path / "ours.onnx")
        session = ort.InferenceSession(tmp_path / "ours.onnx")
        fed = {one.name: x.astype(np.int32) for one, x in zip(session.get_inputs(), (words, kinds), strict=True)}
        np.testing.assert_allclose(session.run(None, fed)[0], y, atol=2e-6)
    if expected.ndim == 3:
        targets = random.normal(size=expected.shape)
        ours.compile(SGD(0.1), "mse")
        theirs.compile(keras.optimizers.SGD(0.1), "mse")
        losses = [m.fit([words, kinds], targets, epochs=2, shuffle=False, verbose=0).history["loss"] for m in (ours, theirs)]
        np.testing.assert_allclose(*losses, rtol=1e-5)


def test_masks_one_behind_the_other_are_refused_in_files_of_keras(tmp_path):
    keras = pytest.importorskip("keras")
    l, a, b = keras.layers, keras.Input((7,), dtype="int32"), keras.Input((7,), dtype="int32")
    table = l.Embedding(9, 5, mask_zero=True)
    joined = l.Concatenate(axis=1)([table(a), table(b)])
    keras.Model([a, b], l.LSTM(3)(l.Dense(2)(joined))).save(tmp_path / "asked.keras")
    with pytest.raises(ValueError, match=r"lstm.*: the masks of sequences that layer 'concatenate.* puts one behind the other"):
        load_model(tmp_path / "asked.keras")
    theirs, words = keras.Model([a, b], l.Flatten()(joined)), np.array([[3, 1, 4, 1, 5, 0, 0]])
    theirs.save(tmp_path / "flat.keras")
    expected = theirs.predict([words, words[:, ::-1]], verbose=0)
    found = load_model(tmp_path / "flat.keras").predict([words, words[:, ::-1]], verbose=0)
    np.testing.assert_array_equal(found, expected)


def test_a_real_step_of_zeros_is_not_left_out():
    value = Input((3, 2))
    source = Input((3,), dtype="int32")
    model = Model([value, source], LeaveOut()([value, source]))
    x = np.zeros((1, 3, 2), np.float32)
    x[0, 1] = 5
    y = model.predict([x, np.array([[1, 0, 0]])], verbose=0)
    assert y[0].any(axis=-1).tolist() == [True, False, False] and 0 < y[0, 0, 0] < 1e-37
    x[0] = [[1, 2], [3, 4], [5, 6]]
    assert check_gradients(model, [x, np.array([[1, 0, 1]])]).ok
    steps = Input((None, 2))
    masked = Model(steps, LSTM(2)(Dense(3, activation="relu")(Masking(-1.0)(steps))))
    x[0, 2] = -1
    assert check_gradients(masked, x).ok
    np.testing.assert_allclose(masked.predict(x, verbose=0), masked.predict(x[:, :2], verbose=0), atol=1e-7)


def test_gradients_behind_a_dense_layer():
    words = Input((4,), dtype="int32")
    model = Model(words, LSTM(2)(Dense(3, activation="tanh")(Embedding(9, 5, mask_zero=True)(words))))
    assert check_gradients(model, WORDS).ok
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "Embedding", "Dense", "LSTM"]
    assert [type(node.layer).__name__ for node in model.graph.nodes] == ["Embedding", "Dense", "LeaveOut", "LSTM"]
    longer = np.concatenate([WORDS, np.zeros((3, 2), int)], axis=1)
    free = Input((None,), dtype="int32")
    open_ = Model(free, LSTM(2)(Dense(3)(Embedding(9, 5, mask_zero=True)(free))))
    np.testing.assert_allclose(open_.predict(longer, verbose=0), open_.predict(WORDS, verbose=0), atol=1e-7)


def test_layers_of_ones_own_behind_a_dense_layer():
    from minitl.layers import Layer

    class Mean(Layer):
        def call(self, x, mask=None):
            counts = mask.astype("float32")[..., None]
            return (x * counts).sum(axis=1) / counts.sum(axis=1)

    words = Input((4,), dtype="int32")
    dense = Dense(3)(Embedding(9, 5, mask_zero=True)(words))
    steps, means = Model(words, dense).predict(WORDS, verbose=0), Model(words, Mean()(dense)).predict(WORDS, verbose=0)
    np.testing.assert_allclose(means, [row[real].mean(axis=0) for row, real in zip(steps, REAL, strict=True)], rtol=1e-5)


def test_marks_are_found_behind_many_layers():
    words = Input((4,), dtype="int32")
    embedding = Embedding(9, 3, mask_zero=True)
    value = embedding(words)
    for _ in range(1500):
        value = Add()([value, Activation("tanh")(value)])
    assert marks_of(value) == ((embedding, words),)
    other_words = Input((4,), dtype="int32")
    other = embedding(other_words)
    assert marks_of(Add()([value, other, value])) == ((embedding, words), (embedding, other_words))
    assert marks_of(Add()([value, Conv1D(3, 1)(value)])) == () == marks_of(Conv1D(3, 2)(value))


class Weighing(layers.Layer):
    """Attention of steps to each other, with a mask of its own or of its caller."""

    def __init__(self, units):
        super().__init__()
        self.dense = layers.Dense(units)

    def call(self, x, mask=None):
        scores = x @ np.transpose(x, (0, 2, 1))
        if mask is not None:
            count, steps, _ = np.shape(x)
            windows = mask.shape[0]
            scores = np.reshape(np.reshape(scores, (count // windows, windows, steps, steps)) + mask, (count, steps, steps))
        return backend.softmax(scores) @ self.dense(x)


class OfWindows(layers.Layer):
    """Halves of a sequence as samples of their own, as in networks of windows: a mask there is the caller's, and no input."""

    def __init__(self, mask):
        super().__init__()
        self.mask, self.inner = mask, Weighing(3)

    def call(self, x):
        count, steps, channels = np.shape(x)
        halves = self.inner(np.reshape(x, (2 * count, steps // 2, channels)), mask=self.mask)
        return np.reshape(halves, (count, steps, 3))


def test_a_mask_that_a_call_gives_to_a_layer_inside():
    x = np.random.default_rng(0).normal(size=(3, 6, 4)).astype(np.float32)
    mask = np.where(np.arange(3) > np.arange(3)[:, None], -100.0, 0.0) * np.array([0, 1])[:, None, None]
    masked, plain = OfWindows(mask.astype(np.float32)), OfWindows(None)
    y = masked(x)
    plain(x)
    plain.set_weights(masked.get_weights())
    free = plain(x)
    np.testing.assert_allclose(y[:, :3], free[:, :3], atol=1e-6)  # the first window sees all
    kernel, bias = masked.get_weights()
    np.testing.assert_allclose(y[:, 3], x[:, 3] @ kernel + bias, atol=1e-5)  # the second one only what is before
    assert np.abs(y[:, 4] - free[:, 4]).max() > 1e-3
    assert check_gradients(OfWindows(mask.astype(np.float32)), x).ok and check_gradients(plain, x).ok
    inputs = Input((6, 4))
    assert Model(inputs, masked(inputs)).predict(x, verbose=0) == pytest.approx(y, abs=1e-6)
    with pytest.raises(TypeError, match=r"weighing.*mask= takes an array, inside a call|Weighing.*mask= takes an array"):
        Weighing(2)(inputs, mask=np.zeros((1, 6, 6)))
