"""What Keras has names for: losses, metrics, optimizers, constraints, schedules, initializers, and where they are found."""

import importlib.util
import json
import warnings

import numpy as np
import pytest

import minitl
from minitl import backend, constraints, initializers, losses, metrics, optimizers, schedules, utils
from minitl.callbacks import RemoteMonitor, TensorBoard
from minitl.gradcheck import check_gradients
from minitl.history import Curves
from minitl.layers import BatchNormalization, Concatenate, Conv2D, Dense, Dropout, Flatten, Input, Lambda
from minitl.legacy import layers as old
from minitl.legacy.modules import PLACES
from minitl.models import Model, Sequential, load_model, model_from_json
from minitl.preprocessing.text import Tokenizer, one_hot, pad_sequences, text_to_word_sequence, tokenizer_from_json

P = np.random.default_rng(0).uniform(0.1, 0.9, (6, 4))
P /= P.sum(axis=1, keepdims=True)
T = np.random.default_rng(1).uniform(0.1, 0.9, (6, 4))
T /= T.sum(axis=1, keepdims=True)
ONE_HOT = np.eye(4)[[0, 1, 2, 3, 0, 1]]
SIGNS = np.where(np.random.default_rng(2).random((6, 4)) > 0.5, 1.0, -1.0)


def focal(right):
    """What a focal loss makes of the probability of the right answer."""
    return -((1 - right) ** 2) * np.log(right)


# Loss, targets, and what it is of P by hand.
LOSSES = {
    "mae": (T, lambda p, t: np.abs(p - t).mean()),
    "mape": (T, lambda p, t: 100 * (np.abs(p - t) / t).mean()),
    "msle": (T, lambda p, t: ((np.log(1 + p) - np.log(1 + t)) ** 2).mean()),
    "huber": (T * 9, lambda p, t: np.where(np.abs(p - t) < 1, (p - t) ** 2 / 2, np.abs(p - t) - 0.5).mean()),
    "logcosh": (T, lambda p, t: np.log(np.cosh(p - t)).mean()),
    "poisson": (T, lambda p, t: (p - t * np.log(p)).mean()),
    "hinge": (SIGNS, lambda p, t: np.maximum(1 - t * p, 0).mean()),
    "squared_hinge": (SIGNS, lambda p, t: (np.maximum(1 - t * p, 0) ** 2).mean()),
    "categorical_hinge": (ONE_HOT, lambda p, t: np.maximum(1 + np.where(t > 0, 0, p).max(1) - p[t > 0], 0).mean()),
    "kl_divergence": (T, lambda p, t: (t * np.log(t / p)).sum(1).mean()),
    "binary_focal_crossentropy": ((SIGNS + 1) / 2, lambda p, t: focal(np.where(t == 1, p, 1 - p)).mean()),
    "categorical_focal_crossentropy": (ONE_HOT, lambda p, t: 0.25 * focal(p[t == 1]).mean()),
    "cosine_similarity": (T, lambda p, t: -((p * t).sum(1) / np.linalg.norm(p, axis=1) / np.linalg.norm(t, axis=1)).mean()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_what_they_say_and_their_gradients_are_right(name):
    targets, by_hand = LOSSES[name]
    loss = losses.get(name)
    assert loss(targets, P) == pytest.approx(by_hand(P, targets), rel=1e-5)
    weights = np.arange(1.0, 7)

    class Pair:
        def forward(self, p, training=False):
            self.cache = loss.compute(targets, p, weights, False)
            return np.array([self.cache[0]])

    value = lambda p: loss.compute(targets, p, weights, False)[0]  # noqa: E731
    gradient = loss.backpropagate(loss.compute(targets, P, weights, False)[1])
    step = 1e-6
    for place in np.ndindex(*P.shape):
        moved = np.zeros(P.shape)
        moved[place] = step
        assert (value(P + moved) - value(P - moved)) / (2 * step) == pytest.approx(gradient[place], rel=1e-4, abs=1e-8)
    each = getattr(losses, name)(targets, P)
    assert each.shape == (6,) and each.mean() == pytest.approx(loss(targets, P), rel=1e-5)
    assert losses.get(getattr(losses, name)).name == loss.name
    assert metrics.get(name).name == name
    metric = metrics.get(name)
    metric.update_state(targets, P)
    sign = -1 if name == "cosine_similarity" else 1  # a loss is the better the lower, this metric the higher, as in Keras
    assert metric.result() == pytest.approx(sign * loss(targets, P), rel=1e-5)


BITS = (SIGNS + 1) / 2
RARE = {
    "balanced": (losses.BinaryFocalCrossentropy(True, 0.3, 1.5), BITS, P, lambda p, t: np.mean(
        np.where(t == 1, 0.3, 0.7) * -((1 - np.where(t == 1, p, 1 - p)) ** 1.5) * np.log(np.where(t == 1, p, 1 - p)))),
    "logits": (losses.BinaryFocalCrossentropy(from_logits=True), BITS, np.log(P / (1 - P)),
               lambda z, t: focal(np.where(t == 1, P, 1 - P)).mean()),
    "smooth": (losses.BinaryFocalCrossentropy(gamma=0, label_smoothing=0.2), BITS, P, lambda p, t: np.mean(
        -(0.8 * t + 0.1) * np.log(p) - (0.9 - 0.8 * t) * np.log(1 - p))),
    "classes, logits": (losses.CategoricalFocalCrossentropy(0.5, 1.0, True), ONE_HOT, np.log(P),
                        lambda z, t: np.mean(-0.5 * (1 - P[t == 1]) * np.log(P[t == 1]))),
    "classes, smooth": (losses.CategoricalFocalCrossentropy(1.0, 0.0, label_smoothing=0.2), ONE_HOT, P,
                        lambda p, t: np.mean(np.sum(-(0.8 * t + 0.05) * np.log(p), axis=1))),
    "dice": (losses.Dice(), BITS, P, lambda p, t: 1 - 2 * (t * p).sum() / (t.sum() + p.sum())),
    "tversky": (losses.Tversky(0.3, 0.9), BITS, P, lambda p, t: 1 - (t * p).sum() / (
        (t * p).sum() + 0.3 * ((1 - t) * p).sum() + 0.9 * (t * (1 - p)).sum())),
}  # fmt: skip


@pytest.mark.parametrize("name", RARE)
def test_losses_of_what_is_rare(name, tmp_path):
    loss, targets, p, by_hand = RARE[name]
    assert loss(targets, p) == pytest.approx(by_hand(p, targets), rel=1e-5)
    gradient = loss.backpropagate(loss.compute(targets, p, None, False)[1])
    for place in np.ndindex(*p.shape):
        moved = np.zeros(p.shape)
        moved[place] = 1e-6
        slope = (loss.compute(targets, p + moved, None, False)[0] - loss.compute(targets, p - moved, None, False)[0]) / 2e-6
        assert slope == pytest.approx(gradient[place], rel=1e-4, abs=1e-7)
    model = Sequential([Input((4,)), Dense(4)])
    model.compile("sgd", loss)
    model.save(tmp_path / "m.npz")
    assert load_model(tmp_path / "m.npz").loss(targets, p) == loss(targets, p)


def test_metrics_that_are_losses_take_the_losses_settings(tmp_path):
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(6, 3)).astype("float32"), np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2]]
    measured = metrics.CategoricalCrossentropy(name="logits", from_logits=True)
    measured.update_state(t[:4], z[:4])
    measured.update_state(t[4:], z[4:])
    rows = [losses.CategoricalCrossentropy(from_logits=True)(t[i : i + 1], z[i : i + 1]) for i in range(6)]
    assert measured.result() == pytest.approx(np.mean(rows), rel=1e-6)
    weighted, weights = metrics.MeanAbsoluteError(), np.arange(6.0)
    weighted.update_state(t, z, weights)
    assert weighted.result() == pytest.approx((weights * np.abs(t - z).mean(axis=1)).sum() / 15, rel=1e-6)
    assert metrics.get(metrics.MeanAbsoluteError).name == metrics.MeanAbsoluteError().name == "mean_absolute_error"
    with pytest.raises(TypeError, match="from_logit"):
        metrics.BinaryCrossentropy(from_logit=True)
    model = Sequential([Dense(3, input_shape=(3,))])
    model.compile("sgd", losses.CategoricalCrossentropy(from_logits=True), metrics=[measured])
    both = model.evaluate(z, t, verbose=0)
    assert both[1] == pytest.approx(both[0], rel=1e-6)
    for name in ("m.npz", *(["m.keras"] if importlib.util.find_spec("h5py") else [])):
        model.save(tmp_path / name)
        assert load_model(tmp_path / name).evaluate(z, t, verbose=0) == pytest.approx(both, rel=1e-6)


def test_metrics_of_one_name_are_kept_apart():
    rng = np.random.default_rng(0)
    x, y, weights = rng.normal(size=(8, 3)), (rng.random((8, 1)) > 0.5).astype("float32"), np.arange(8.0)
    model = Sequential([Dense(1, activation="sigmoid", input_shape=(3,))])
    strict = metrics.BinaryAccuracy(threshold=0.9)
    model.compile(
        "sgd", "binary_crossentropy", metrics=["accuracy", metrics.BinaryAccuracy(), strict], weighted_metrics=["accuracy"]
    )
    found = model.evaluate(x, y, sample_weight=weights, return_dict=True, verbose=0)
    p = model.predict(x)
    right = ((p > 0.5) == y)[:, 0]
    assert list(found) == ["loss", "accuracy", "binary_accuracy", "binary_accuracy_1", "weighted_accuracy"]
    assert found["accuracy"] == found["binary_accuracy"] == right.mean()
    assert found["binary_accuracy_1"] == ((p > 0.9) == y).mean()
    assert found["weighted_accuracy"] == pytest.approx((right * weights).sum() / weights.sum())
    a = Input((3,))
    both = Model(a, [Dense(1, name="one")(a), Dense(1, name="two")(a)])
    shared = metrics.MeanSquaredError()
    both.compile("sgd", "mse", metrics=[[shared], [shared]])
    found = both.evaluate(x, [y, 5 * y], return_dict=True, verbose=0)
    for name, target, predicted in zip(("one", "two"), (y, 5 * y), both.predict(x), strict=True):
        assert found[f"{name}_{shared.name}"] == pytest.approx(((predicted - target) ** 2).mean(), rel=1e-5)


@pytest.mark.parametrize("settings", [{}, {"num_words": 4, "oov_token": "<o>"}, {"char_level": True, "lower": False}])
def test_a_tokenizer_comes_back_from_json_here_and_in_keras(settings):
    texts = ["The cat sat on the mat.", "A dog, a CAT and a bird!", "the end"]
    ours = Tokenizer(**settings)
    ours.fit_on_texts(texts)
    again = [tokenizer_from_json(ours.to_json(indent=1))]
    try:
        from keras.src.legacy.preprocessing import text as theirs
    except ImportError:
        pass
    else:
        other = theirs.Tokenizer(**settings)
        other.fit_on_texts(texts)
        assert json.loads(ours.to_json())["config"].keys() == json.loads(other.to_json())["config"].keys()
        again += [tokenizer_from_json(other.to_json()), theirs.tokenizer_from_json(ours.to_json())]
    for tokenizer in again:
        assert tokenizer.texts_to_sequences(texts) == ours.texts_to_sequences(texts)
        for mode in ("binary", "count", "freq", "tfidf"):
            assert np.array_equal(tokenizer.texts_to_matrix(texts, mode), ours.texts_to_matrix(texts, mode))
        tokenizer.fit_on_texts(["the bird"])  # and goes on counting
    assert again[0].word_counts == {**ours.word_counts, **again[0].word_counts} and again[0].document_count == 4
    for wrong in ("[]", "{}", '{"config": {"num_words": 3}}', "no json", '{"config": 3}'):
        with pytest.raises(ValueError, match="the text describes no Tokenizer"):
            tokenizer_from_json(wrong)


def test_labels_that_are_words_are_refused_with_what_to_do():
    model = Sequential([Dense(3, activation="softmax", input_shape=(4,))])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(TypeError, match=r"targets must be numbers, got dtype <U3; give class numbers, np\.unique"):
        model.fit(np.zeros((4, 4)), np.array(["cat", "dog"] * 2), verbose=0)


def test_metrics_of_numbers():
    for name, by_hand in (
        ("root_mean_squared_error", np.sqrt(((P - T) ** 2).mean())),
        ("r2_score", np.mean(1 - ((P - T) ** 2).sum(0) / ((T - T.mean(0)) ** 2).sum(0))),
        ("cosine_similarity", np.mean((P * T).sum(1) / np.linalg.norm(P, axis=1) / np.linalg.norm(T, axis=1))),
    ):
        metric = metrics.get(name)
        for _ in range(2):
            assert metric.result() == 0
            metric.update_state(T[:2], P[:2])
            metric.update_state(T[2:], P[2:])
            assert metric.result() == pytest.approx(by_hand, rel=1e-9)
            metric.reset_state()
    weighted = metrics.R2Score("variance_weighted_average")
    a = np.arange(1.0, 7)
    weighted.update_state(T, P, a)
    mean = np.average(T, axis=0, weights=a)
    assert weighted.result() == pytest.approx(1 - (a @ (P - T) ** 2).sum() / (a @ (T - mean) ** 2).sum())
    constant = metrics.R2Score()
    constant.update_state(np.ones((3, 1)), [[1.0], [2.0], [3.0]])
    assert constant.result() == 0
    with pytest.raises(ValueError, match="unknown class_aggregation 'mean'"):
        metrics.R2Score("mean")


def test_metrics_of_numbers_in_training(tmp_path):
    model = minitl.Sequential([minitl.Input((3,)), minitl.layers.Dense(2)])
    model.compile("sgd", "mse", metrics=["mse", metrics.RootMeanSquaredError(), "r2_score"])
    x, y = P[:, :3], T[:, :2]
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    assert found["root_mean_squared_error"] == pytest.approx(np.sqrt(found["mse"]), rel=1e-6) and found["r2_score"] < 1
    model.save(tmp_path / "m.npz")
    again = minitl.models.load_model(tmp_path / "m.npz").evaluate(x, y, verbose=0, return_dict=True)
    assert again["loss"] == found["loss"]


def test_targets_of_a_hinge_may_be_0_and_1():
    assert losses.get("hinge")((SIGNS + 1) / 2, P) == losses.get("hinge")(SIGNS, P)


TORCH = {
    "Adagrad": (
        {"learning_rate": 0.1, "initial_accumulator_value": 0.2},
        "Adagrad",
        {"lr": 0.1, "initial_accumulator_value": 0.2},
    ),
    "Adadelta": ({"learning_rate": 1.0}, "Adadelta", {"lr": 1.0, "rho": 0.95, "eps": 1e-7}),
    "Adamax": ({"learning_rate": 0.01}, "Adamax", {"lr": 0.01, "eps": 1e-7}),
    "Nadam": ({"learning_rate": 0.01}, "NAdam", {"lr": 0.01, "momentum_decay": 0.0, "eps": 1e-7}),
}


@pytest.mark.parametrize("name", TORCH)
def test_optimizers_follow_pytorch_s(name):
    torch = pytest.importorskip("torch")
    ours, theirs, settings = TORCH[name]
    if name == "Nadam":
        settings = {**settings, "momentum_decay": 1.0}  # there the exponent is t times it, with base 0.96
    w, v = np.ones((3, 2)), torch.ones((3, 2), dtype=torch.float64, requires_grad=True)
    rule, other = getattr(optimizers, name)(**ours), getattr(torch.optim, theirs)([v], **settings)
    for step in range(6):
        g = np.random.default_rng(step).standard_normal((3, 2))
        rule.apply([("w/kernel", w, g)])
        v.grad = torch.tensor(g)
        other.step()
    np.testing.assert_allclose(w, v.detach().numpy(), rtol=1e-5)


def test_lion_by_hand():
    w, m = np.array([1.0, -1.0]), np.zeros(2)
    rule, expected = optimizers.Lion(0.1, 0.9, 0.99), w.copy()
    for g in (np.array([0.5, -0.1]), np.array([-2.0, 0.3])):
        rule.apply([("w/kernel", w, g)])
        expected -= 0.1 * np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
    np.testing.assert_allclose(w, expected)


def test_decay_of_older_programs():
    rule, w = optimizers.SGD(lr=0.5, decay=0.1), np.zeros(1)
    for _ in range(3):
        rule.apply([("w/kernel", w, np.ones(1))])
    assert w[0] == pytest.approx(-0.5 * (1 + 1 / 1.1 + 1 / 1.2))
    optimizers.Adam(lr=0.001, beta_1=0.9, beta_2=0.999, epsilon=None, decay=0.0, amsgrad=False)
    assert not optimizers.Adam(epsilon=None).amsgrad
    optimizers.Adam(use_ema=False, jit_compile=True, loss_scale_factor=1024.0)
    with pytest.raises(ValueError, match="fused='no' is not known"):
        BatchNormalization(fused="no")


def test_precision_recall_and_area():
    t, p = np.array([0, 0, 1, 1, 1, 0]), np.array([0.1, 0.6, 0.8, 0.4, 0.9, 0.2])
    found = {}
    for metric in (metrics.Precision(), metrics.Recall(), metrics.F1Score(), metrics.AUC(2000)):
        metric.update_state(t[:3], p[:3])
        metric.update_state(t[3:], p[3:])
        found[metric.name] = metric.result()
        metric.reset_state()
        assert metric.result() == 0
    assert found["precision"] == pytest.approx(2 / 3) and found["recall"] == pytest.approx(2 / 3)
    assert found["f1_score"] == pytest.approx(2 / 3)
    pairs = [(a > b) for a in p[t == 1] for b in p[t == 0]]
    assert found["auc"] == pytest.approx(np.mean(pairs), abs=2e-3)
    weighted = metrics.Precision()
    weighted.update_state(t, p, sample_weight=[1, 2, 1, 1, 1, 1])
    assert weighted.result() == pytest.approx(2 / 4)
    overlap = metrics.MeanIoU(2)
    overlap.update_state([0, 0, 1, 1], [0, 1, 1, 1])
    assert overlap.result() == pytest.approx((1 / 2 + 2 / 3) / 2)
    mean = metrics.Mean()
    mean.update_state([1.0, 3.0])
    assert mean.result() == 2


def test_constraints_hold_after_training_and_in_files(tmp_path):
    w = np.array([[3.0, 0.3], [4.0, -0.4]])
    np.testing.assert_allclose(constraints.MaxNorm(2)(w), [[1.2, 0.3], [1.6, -0.4]], rtol=1e-6)
    np.testing.assert_allclose(constraints.UnitNorm()(w), [[0.6, 0.6], [0.8, -0.8]], rtol=1e-5)
    np.testing.assert_allclose(constraints.NonNeg()(w), [[3, 0.3], [4, 0]])
    np.testing.assert_allclose(np.linalg.norm(constraints.MinMaxNorm(1, 2)(w), axis=0), [2, 1], rtol=1e-5)
    lengths = np.linalg.norm(w, axis=0)
    np.testing.assert_allclose(np.linalg.norm(constraints.MinMaxNorm()(w), axis=0), np.minimum(lengths, 1), rtol=1e-5)
    half = np.linalg.norm(constraints.MinMaxNorm(1, 2, rate=0.5)(w), axis=0)
    np.testing.assert_allclose(half, (lengths + np.clip(lengths, 1, 2)) / 2, rtol=1e-5)
    model = Sequential([Input((5,)), Dense(4, kernel_constraint="max_norm", bias_constraint="non_neg"), Dense(2)])
    model.compile(optimizers.SGD(5.0), "mse")
    x, y = np.random.default_rng(0).standard_normal((20, 5)), 9 * np.ones((20, 2))
    model.train_on_batch(x, y)
    kernel, bias = model.layers[0].get_weights()
    assert np.linalg.norm(kernel, axis=0).max() == pytest.approx(2, rel=1e-5) and bias.min() >= 0
    model.save(tmp_path / "m.npz")
    assert load_model(tmp_path / "m.npz").layers[0].constraints["kernel"].max_value == 2


def test_schedules():
    assert schedules.ExponentialDecay(1.0, 10, 0.5)(20) == 0.25
    assert schedules.ExponentialDecay(1.0, 10, 0.5, staircase=True)(19) == 0.5
    assert schedules.InverseTimeDecay(1.0, 10, 0.5)(20) == 0.5
    assert [schedules.PiecewiseConstantDecay([2, 4], [1, 0.5, 0.1])(t) for t in (0, 2, 3, 4, 5)] == [1, 1, 0.5, 0.5, 0.1]
    assert schedules.PolynomialDecay(1.0, 10, 0.0, 2.0)(5) == 0.25
    with pytest.raises(ValueError, match="2 boundaries need 3 values"):
        schedules.PiecewiseConstantDecay([1, 2], [1, 2])


def test_initializers():
    drawn = np.random.default_rng(0)
    q = initializers.get("orthogonal")((3, 3, 2, 5), drawn).reshape(18, 5)
    np.testing.assert_allclose(q.T @ q, np.eye(5), atol=1e-12)
    wide = initializers.Orthogonal(2.0)((3, 7), drawn)
    np.testing.assert_allclose(wide @ wide.T, 4 * np.eye(3), atol=1e-12)
    cut = initializers.TruncatedNormal(1.0, 0.1)((1000,), drawn)
    assert np.abs(cut - 1).max() <= 0.2 and cut.std() == pytest.approx(0.088, abs=0.01)
    np.testing.assert_array_equal(initializers.get("identity")((2, 2), drawn), np.eye(2))
    assert isinstance(initializers.he_normal(seed=3), initializers.HeNormal)


@pytest.mark.parametrize("name", sorted(set(PLACES) - {"ops"}))
def test_old_modules_are_found(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(f"minitl.{name}")
        target = importlib.import_module(f"minitl.{PLACES[name][0]}")
        public = next(
            n for n in dir(target) if (not n.startswith("_") and n[0].isupper()) or n in ("image_data_format", "classes")
        )
        assert getattr(module, public) is getattr(target, public)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_names_are_found_where_older_programs_look():
    from minitl.layers.core import Activation, Lambda, Reshape  # noqa: F401
    from minitl.layers.normalization import BatchNormalization  # noqa: F401
    from minitl.layers.pooling import MaxPooling1D  # noqa: F401
    from minitl.utils import img_to_array, load_img, pad_sequences  # noqa: F401

    with pytest.raises(ImportError):
        from minitl.layers.core import Nothing  # noqa: F401
    with pytest.raises(AttributeError, match="graphics cards"):
        utils.multi_gpu_model  # noqa: B018


def test_merge_of_keras_1():
    a, b = Input((3,)), Input((3,))
    for mode, expected in (("sum", [5, 7, 9]), ("mul", [4, 10, 18]), ("ave", [2.5, 3.5, 4.5]), ("max", [4, 5, 6])):
        model = Model([a, b], old.merge([a, b], mode=mode))
        np.testing.assert_allclose(model([np.array([[1.0, 2, 3]]), np.array([[4.0, 5, 6]])])[0], expected)
    assert Model([a, b], old.merge([a, b], mode="concat", concat_axis=1)).output_shape == (None, 6)
    a, b = Input((5, 6, 3)), Input((5, 6, 2))  # the last axis, unless another one is named
    assert old.merge([a, b], mode="concat").shape == old.Merge(mode="concat")([a, b]).shape == (None, 5, 6, 5)
    a, b = Input((4, 3)), Input((5, 3))
    assert old.merge([a, b], mode="dot").shape == old.Merge(mode="dot")([a, b]).shape == (None, 4, 5)
    with pytest.raises(ValueError, match="unknown mode"):
        old.merge([a, b], mode="cos")
    with pytest.raises(ValueError, match="functional API"):
        old.Merge([1, 2])


def test_windows_of_old_and_new_spellings():
    assert old.Convolution2D(4, 3, 5, subsample=(2, 2), border_mode="same").get_config()["kernel_size"] == (3, 5)
    assert Conv2D(4, 3, 3).strides == (3, 3)
    assert Conv2D(4, 3, 5, border_mode="same").kernel_size == (3, 5)
    assert old.Convolution2D(4, (3, 3), padding="same").kernel_size == (3, 3)
    with pytest.raises(TypeError, match="nonsense"):
        Conv2D(4, 3, nonsense=1)


def test_the_functions_of_keras_s_backend():
    x = np.arange(6.0).reshape(2, 3)
    assert backend.image_data_format() == "channels_last" and backend.floatx() == "float32" and backend.epsilon() == 1e-7
    np.testing.assert_array_equal(backend.mean(x, axis=[0, 1]), 2.5)
    np.testing.assert_array_equal(backend.sum(x, axis=-1, keepdims=True), [[3], [12]])
    np.testing.assert_array_equal(backend.batch_flatten(np.zeros((2, 3, 4))).shape, (2, 12))
    assert backend.int_shape(Input((3, 4))) == (None, 3, 4)
    np.testing.assert_array_equal(backend.in_top_k(x, [2, 0], 1), [True, False])
    backend.set_value(x, 1)
    assert backend.get_value(x).sum() == 6
    for call in (lambda: backend.set_image_data_format("channels_mid"), lambda: backend.set_floatx("float16")):
        with pytest.raises(ValueError, match=r"channels_mid|float16"):
            call()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        backend.nothing  # noqa: B018
    assert backend.placeholder((None, 3, 4)).shape == (None, 3, 4) and backend.placeholder(ndim=2).shape == (None, None)
    assert backend.placeholder(shape=(1, 3), dtype="int32", name="places").dtype == np.int32
    with pytest.raises(ValueError, match=r"K\.placeholder: give shape, or ndim"):
        backend.placeholder()
    samples = Input((3, 4))
    in_rows = backend.function([samples], [backend.batch_flatten(samples)])
    assert in_rows([np.ones((2, 3, 4))])[0].shape == (2, 12)
    with pytest.raises(TypeError, match=r"K\.gradients: expected values"):
        backend.gradients(x, x)


def test_the_mathematics_of_keras_s_backend_is_keras_s():
    keras = pytest.importorskip("keras")
    random = np.random.default_rng(0)
    p = random.uniform(0.05, 0.95, (4, 3)).astype(np.float32)
    t = np.eye(3, dtype=np.float32)[[0, 2, 1, 1]]
    ours = {
        "binary": backend.binary_crossentropy(t, p), "categorical": backend.categorical_crossentropy(t, p),
        "sparse": backend.sparse_categorical_crossentropy(t.argmax(1), p), "length": backend.l2_normalize(p, axis=1),
        "logsumexp": backend.logsumexp(p, axis=1), "rows": backend.one_hot([2, 0], 3),
        "logits": backend.binary_crossentropy(t, 3 * p, from_logits=True),
    }  # fmt: skip
    theirs = {
        "binary": keras.ops.binary_crossentropy(t, p), "categorical": keras.ops.categorical_crossentropy(t, p),
        "sparse": keras.ops.sparse_categorical_crossentropy(t.argmax(1), p),
        "length": keras.ops.normalize(p, axis=1), "logsumexp": keras.ops.logsumexp(p, axis=1),
        "rows": keras.ops.one_hot(np.array([2, 0]), 3), "logits": keras.ops.binary_crossentropy(t, 3 * p, from_logits=True),
    }  # fmt: skip
    for name, found in ours.items():
        np.testing.assert_allclose(found, keras.ops.convert_to_numpy(theirs[name]), rtol=1e-5, atol=1e-6, err_msg=name)
    a, b = random.normal(size=(4, 2, 3)), random.normal(size=(4, 3, 5))
    np.testing.assert_allclose(backend.batch_dot(a, b), a @ b)
    np.testing.assert_allclose(backend.batch_dot(a, b, axes=(2, 1)), a @ b)
    np.testing.assert_allclose(backend.batch_dot(a[:, 0], b[:, :, 0])[:, 0], (a[:, 0] * b[:, :, 0]).sum(1))
    np.testing.assert_array_equal(backend.switch(p > 0.5, p, lambda: 0 * p), np.where(p > 0.5, p, 0))
    np.testing.assert_array_equal(backend.repeat_elements(p, 2, 1), p.repeat(2, 1))
    np.testing.assert_array_equal(backend.gather(p, [1, 1]), p[[1, 1]])


def test_a_function_from_values_to_values():
    model = Sequential([Input((4,)), Dense(3, activation="relu", name="hidden"), Dropout(0.5), Dense(2)])
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    hidden = backend.function([model.input], [model.get_layer("hidden").output])([x])
    np.testing.assert_array_equal(hidden[0], model.layers[0](x))
    dropped = backend.function([model.input, backend.learning_phase()], [model.layers[1].output])
    np.testing.assert_array_equal(dropped([x, 0])[0], hidden[0])
    assert (dropped([x, 1])[0] != hidden[0]).any()
    np.testing.assert_array_equal(backend.function(model.input, model.output)(x), model(x))
    a, b = Input((4,)), Input((4,))
    np.testing.assert_array_equal(backend.function([a, b], [a - 2 * b])([x, x + 1])[0], x - 2 * (x + 1))


def test_gradients_of_values():
    model = Sequential(
        [Input((8, 8, 3)), Conv2D(4, 3, activation="relu", name="conv"), Flatten(), Dense(5, activation="softmax")]
    )
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    model.forward(x)
    dy = np.zeros((2, 5), np.float32)
    dy[:, 3] = 1
    expected = model.backward(dy)
    loss = backend.sum(model.output[:, 3])
    grads = backend.gradients(loss, model.input)[0]
    loss_value, found = backend.function([model.input], [loss, grads])([x])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    assert loss_value == pytest.approx(model(x)[:, 3].sum(), rel=1e-5)
    scaled = grads / (backend.sqrt(backend.mean(backend.square(grads))) + 1e-5)  # as for pictures of filters
    found = backend.function([model.input], [scaled])([x])[0]
    assert np.sqrt((found**2).mean()) == pytest.approx(1, abs=0.05)
    last = model.get_layer("conv").output  # as for Grad-CAM
    pooled = backend.mean(backend.gradients(model.output[:, 3], last)[0], axis=(0, 1, 2))
    weights, maps = backend.function([model.input], [pooled, last[0]])([x])
    assert weights.shape == (4,) and maps.shape == (6, 6, 4)
    head = Model(last, model.output)
    head.forward(model.get_layer("conv")(x))
    np.testing.assert_allclose(weights, head.backward(dy).mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-8)
    with pytest.raises(ValueError, match="which is not among the inputs"):
        backend.gradients(backend.sum(Dense(1)(Input((3,)))), model.input)


def test_small_things_of_older_programs(tmp_path, capsys):
    from minitl import regularizers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert type(optimizers.adam(lr=0.1)) is optimizers.Adam
    assert regularizers.l1_l2(l1=0.1, l2=0.2).l2 == 0.2 and losses.MSE is losses.mse
    assert losses.CategoricalCrossentropy(name="mine", reduction=losses.Reduction.AUTO).name == "mine"
    assert losses.MeanSquaredError(reduction=losses.Reduction.NONE)(np.zeros((2, 3)), np.ones((2, 3))).tolist() == [1, 1]
    model = Sequential([Input((4,)), Dense(2)])
    drawing = utils.model_to_dot(model, show_shapes=True)
    assert b"<svg" in drawing.create(prog="dot", format="svg") and drawing.create_png().startswith(b"\x89PNG")
    drawing.write_png(tmp_path / "model.png")
    assert (tmp_path / "model.png").stat().st_size > 1000
    with pytest.raises(AttributeError, match="has no attribute 'nothing_of_this_name'"):
        _ = backend.nothing_of_this_name
    bar = utils.Progbar(3, stateful_metrics=["rate"])
    for step in range(3):
        bar.add(1, [("loss", step), ("rate", step)])
    assert capsys.readouterr().out.split("\r")[1:] == [
        "1/3 - loss: 0.0000 - rate: 0.0000", "2/3 - loss: 0.5000 - rate: 1.0000", "3/3 - loss: 1.0000 - rate: 2.0000\n"
    ]  # fmt: skip
    for target, settings, told in (
        (None, {}, "2/?"),
        (3, {}, "2/3"),
        (3, {"finalize": True}, "2/3"),
        (2, {"finalize": False}, "2/2"),
    ):
        utils.Progbar(target).update(2, [("loss", 1)], **settings)
        assert capsys.readouterr().out == f"\r{told} - loss: 1.0000" + ("\n" if settings.get("finalize") else "")


def test_objects_that_are_known_everywhere(tmp_path):
    from minitl.utils import get_custom_objects, register_keras_serializable

    @register_keras_serializable()
    def doubled(x):
        return 2 * x

    model = Sequential([Input((4,)), Lambda(doubled), Dense(2)])
    model.save(tmp_path / "model.npz")
    try:
        x = np.ones((1, 4), np.float32)
        np.testing.assert_array_equal(load_model(tmp_path / "model.npz")(x), model(x))
        assert get_custom_objects()["doubled"] is doubled
    finally:
        get_custom_objects().clear()
    with pytest.raises(ValueError, match="doubled"):
        load_model(tmp_path / "model.npz")


def test_rates_are_read_and_set_as_variables():
    model = Sequential([Input((3,)), Dense(2)])
    model.compile(optimizers.SGD(lr=0.5), "mse")
    assert backend.get_value(model.optimizer.lr) == 0.5 == backend.eval(model.optimizer.lr)
    backend.set_value(model.optimizer.lr, 0.25)
    assert model.optimizer.learning_rate == 0.25 and model.optimizer.learning_rate.numpy() == 0.25
    model.optimizer.learning_rate.assign(0.125)
    assert type(model.optimizer.get_config()["learning_rate"]) is float
    w = np.ones(1)
    model.optimizer.apply([("a/kernel", w, np.ones(1))])
    assert w[0] == 0.875


def test_the_estimators_of_older_programs():
    sklearn = pytest.importorskip("sklearn")
    from minitl.wrappers.scikit_learn import KerasClassifier, KerasRegressor

    from minitl.callbacks import History

    def build(units=8, loss="sparse_categorical_crossentropy", outputs=3):
        model = Sequential([Dense(units, activation="relu", input_dim=4), Dense(outputs, activation="softmax")])
        model.compile("adam", loss, metrics=["accuracy"])
        return model

    x = np.random.default_rng(0).standard_normal((90, 4))
    names = np.array(["a", "b", "c"])[x[:, :3].argmax(axis=1)]
    seen = History()
    model = KerasClassifier(build_fn=build, epochs=40, batch_size=10, verbose=0, units=16)
    model.fit(x, names, callbacks=[seen])
    assert (model.predict(x) == names).mean() > 0.8 and model.score(x, names) > 0.8
    assert len(seen.history["loss"]) == 40 and model.predict_proba(x).shape == (90, 3)
    from sklearn.ensemble import VotingClassifier
    from sklearn.model_selection import cross_val_score

    hot = KerasClassifier(build_fn=lambda: build(loss="categorical_crossentropy"), epochs=20, batch_size=10, verbose=0)
    assert cross_val_score(hot, x, names, cv=2, error_score="raise").mean() > 0.4
    pairs = KerasClassifier(build_fn=lambda: build(8, "categorical_crossentropy", 2), epochs=1, verbose=0)
    pairs.fit(x, np.eye(2)[np.arange(90) % 2])
    assert pairs.classes_.tolist() == [0, 1]
    column = KerasClassifier(build_fn=build, epochs=1, verbose=0)
    column.fit(x, np.arange(90)[:, None] % 3 + 4)
    assert column.classes_.tolist() == [4, 5, 6]
    voters = VotingClassifier([("one", model), ("other", hot)], voting="soft").fit(x, names)
    assert (voters.predict(x) == names).mean() > 0.6
    with pytest.raises(ValueError, match="neither build nor fit takes 'size'"):
        KerasClassifier(build, size=3)

    def line():
        model = Sequential([Dense(1, input_dim=4)])
        model.compile("adam", "mse")
        return model

    regressor = KerasRegressor(line, nb_epoch=3, verbose=0)
    regressor.fit(x, x[:, 0])
    assert regressor.predict(x).shape == (90,) and regressor.score(x, x[:, 0]) < 0
    assert sklearn and regressor.get_params()["epochs"] == 3


def test_images_with_their_channels_first_are_turned_at_the_border(tmp_path):
    from minitl.preprocessing.image import ImageDataGenerator

    random = np.random.default_rng(0)
    last = random.normal(size=(24, 10, 8, 3)).astype(np.float32)
    first, labels = np.ascontiguousarray(last.transpose(0, 3, 1, 2)), np.arange(24) % 3

    def built(shape, axis):
        minitl.set_random_seed(0)
        x = Input(shape)
        y = BatchNormalization(axis=axis)(Conv2D(4, 3, padding="same", activation="relu")(x))
        y = Concatenate(axis=axis)([y, Conv2D(2, 1)(x)])
        model = Model(x, Dense(3, activation="softmax")(Flatten()(y)))
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    expected = built((10, 8, 3), -1)
    losses_ = expected.fit(last, labels, epochs=2, verbose=0).history["loss"]
    backend.set_image_dim_ordering("th")
    try:
        assert backend.image_data_format() == "channels_first" and backend.image_dim_ordering() == "th"
        model = built((3, 10, 8), 1)
        assert model.input_shape == (None, 10, 8, 3)
        assert model.fit(first, labels, epochs=2, verbose=0).history["loss"] == losses_
        np.testing.assert_array_equal(model.predict(first, verbose=0), expected.predict(last, verbose=0))
        model.save(tmp_path / "model.npz")
        np.testing.assert_array_equal(
            load_model(tmp_path / "model.npz").predict(first, verbose=0), model.predict(first, verbose=0)
        )
        chain = Sequential([Conv2D(4, 3, input_shape=(3, 10, 8)), Flatten(), Dense(3)])
        chain.save(tmp_path / "chain.npz")
        assert load_model(tmp_path / "chain.npz").input_shape == (None, 10, 8, 3) == chain.input_shape
        coder = Sequential([Conv2D(3, 3, padding="same", input_shape=(3, 10, 8))])
        coder.compile("sgd", "mse", metrics=["mae"])
        wanted = coder.predict(first, verbose=0)
        assert wanted.shape == (24, 3, 10, 8) and coder.predict_on_batch(first[:2]).shape == (2, 3, 10, 8)
        assert max(coder.evaluate(first, wanted, verbose=0)) < 1e-6 and coder.train_on_batch(first, wanted)[0] < 1e-6
        np.testing.assert_array_equal(backend.function([coder.input], [coder.output])([first])[0], wanted)
        batches = ImageDataGenerator(data_format="channels_first").flow(first, labels, batch_size=24, shuffle=False)
        np.testing.assert_allclose(model.predict(batches, verbose=0), model.predict(first, verbose=0), rtol=1e-6)
    finally:
        backend.set_image_data_format("channels_last")
    for wrong in ("channels_first", "channels_mid"):
        with pytest.raises(ValueError, match="said once for the whole program"):
            Conv2D(4, 3, data_format=wrong)


def test_old_arguments_of_layers_without_a_constructor_of_their_own():
    from minitl.layers import LSTM, MaxPooling1D, SimpleRNN

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert MaxPooling1D(pool_length=3).get_config()["pool_size"] in (3, (3,))
        assert SimpleRNN(output_dim=5, init="zeros", inner_init="orthogonal").units == 5
        assert LSTM(output_dim=4, dropout_W=0.25).dropout == 0.25
    assert Input(batch_shape=(16, 10)).shape == (None, 10)


def test_programs_of_the_first_keras():
    from minitl.layers.convolutional import Convolution2D

    from minitl import channels, initializations
    from minitl.layers.core import Merge

    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 1, 12, 10)).astype(np.float32), np.arange(20) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = Sequential([Convolution2D(4, 3, 3, border_mode="valid", input_shape=(1, 12, 10))])
            assert channels.are_first() and model.output_shape == (None, 10, 8, 4)
            for shape, turned in (((2, 4, 6, 5), (2, 6, 5, 4)), ((2, 5, 6, 5), (2, 5, 6, 5)), ((2, 3, 6, 4), (2, 3, 6, 4))):
                assert channels.inner_images(np.ones(shape)).shape == turned  # few channels in front tell
            start = lambda shape, name=None: initializations.normal(shape, scale=0.01, name=name)  # noqa: E731
            model.add(Flatten())
            model.add(Dense(2, init=start, activation="softmax"))
            assert 0.005 < model.layers[-1].get_weights()[0].std() < 0.02
            model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd", class_mode="categorical")
            history = model.fit(x, y, nb_epoch=2, show_accuracy=True, verbose=0)
            assert len(history.history["acc"]) == 2 and len(model.evaluate(x, y, show_accuracy=True, verbose=0)) == 2
            assert callable(Merge)
        finally:
            backend.set_image_data_format("channels_last")
        Convolution2D(4, 3, 3, input_shape=(12, 10, 1))
        assert not channels.are_first()
    assert initializations.get("zero")((2, 3)).shape == (2, 3) and initializations.get("he_normal")((2, 3)).shape == (2, 3)
    assert initializations.identity((3, 3), scale=2).trace() == 6 and initializations.orthogonal((3, 3)).shape == (3, 3)
    twice = initializations.orthogonal((3, 3), scale=2)
    np.testing.assert_allclose(twice @ twice.T, 4 * np.eye(3), atol=1e-5)
    assert initializations.uniform((9, 9), scale=0.5).max() < 0.5 < 1 == initializations.one((2,)).max()


def test_first_weights_of_a_layer():
    kernel, bias = np.arange(6.0).reshape(3, 2), np.array([1.0, -1.0])
    model = Sequential([Dense(2, weights=[kernel, bias], input_shape=(3,))])
    np.testing.assert_array_equal(model.predict(np.ones((1, 3)), verbose=0), kernel.sum(0, keepdims=True) + bias)
    with pytest.raises(ValueError, match="Dense"):
        Sequential([Dense(2, weights=[kernel], input_shape=(3,))])


def test_a_reshape_to_images_with_their_channels_first(tmp_path):
    from minitl.layers import Reshape

    x = np.random.default_rng(0).normal(size=(4, 24)).astype(np.float32)
    backend.set_image_data_format("channels_first")
    try:
        model = Sequential([Input((24,)), Reshape((2, 3, 4))])
        model.add(Conv2D(2, 1))
    finally:
        backend.set_image_data_format("channels_last")
    assert model.layers[0].output_shape == (None, 3, 4, 2)
    np.testing.assert_array_equal(model.layers[0](x), x.reshape(4, 2, 3, 4).transpose(0, 2, 3, 1))
    check_gradients(model, x).raise_if_wrong()
    model.save(tmp_path / "model.npz")
    np.testing.assert_array_equal(load_model(tmp_path / "model.npz")(x), model(x))


def test_what_copied_networks_import():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from minitl.applications.imagenet_utils import _obtain_input_shape, decode_predictions
        from minitl.engine.topology import get_source_inputs

        from minitl.utils import layer_utils

        assert _obtain_input_shape(None, default_size=224, min_size=48, include_top=True) == (224, 224, 3)
        assert _obtain_input_shape((64, 64, 3), 224, 48, None, False) == (64, 64, 3) and callable(decode_predictions)
        with pytest.raises(ValueError, match="too small"):
            _obtain_input_shape((32, 64, 3), 224, 48, None, False)
        a, b = Input((3,)), Input((3,))
        assert set(get_source_inputs(Dense(2)(a + b))) == {a, b}
        assert layer_utils.convert_all_kernels_in_model(None) is None


def test_curves_have_both_names():
    curves = Curves({"accuracy": [1], "loss": [2]})
    assert curves["acc"] == [1] and list(curves) == ["accuracy", "loss"]
    with pytest.raises(KeyError):
        curves["val_acc"]


def test_words():
    assert text_to_word_sequence("Some text, SOME more!") == ["some", "text", "some", "more"]
    assert one_hot("Some some", 50) == one_hot("some some", 50, lower=False) != one_hot("Some some", 50, lower=False)
    tokenizer = Tokenizer(num_words=3, oov_token="?")
    tokenizer.fit_on_texts(["a a b", "a b c"])
    assert tokenizer.word_index == {"?": 1, "a": 2, "b": 3, "c": 4}
    assert tokenizer.texts_to_sequences(["c a"]) == [[1, 2]]
    assert tokenizer.sequences_to_texts([[2, 3]]) == ["a b"]
    plain = Tokenizer()
    plain.fit_on_texts(["a a b", "a b c"])
    np.testing.assert_array_equal(plain.texts_to_matrix(["a a b"], "count"), [[0, 2, 1, 0]])
    np.testing.assert_allclose(plain.texts_to_matrix(["a a b"], "freq"), [[0, 2 / 3, 1 / 3, 0]])
    np.testing.assert_allclose(plain.texts_to_matrix(["c"], "tfidf"), [[0, 0, 0, np.log(1 + 2 / 2)]])
    with pytest.raises(ValueError, match="mode must be"):
        plain.texts_to_matrix(["a"], "odd")
    assert set(one_hot("a b c a", 5)) <= {1, 2, 3, 4}
    np.testing.assert_array_equal(pad_sequences([[1, 2, 3], [4]], 2), [[2, 3], [0, 4]])
    np.testing.assert_array_equal(
        pad_sequences([[1, 2, 3], [4]], 2, padding="post", truncating="post", value=9), [[1, 2], [4, 9]]
    )
    with pytest.raises(ValueError, match="'pre' or 'post'"):
        pad_sequences([[1]], padding="left")


def test_architectures_as_json():
    model = Sequential([Input((4, 4, 3)), Conv2D(2, 3, name="c"), Flatten(), Dense(2)])
    other = model_from_json(model.to_json(indent=1))
    assert [layer.name for layer in other.layers] == [layer.name for layer in model.layers]
    for text in ("[]", "{}", '{"format": 2, "model": {"class_name": "os.system"}}'):
        with pytest.raises(ValueError, match=r"describes no model|unknown layer|no Functional"):
            model_from_json(text)
    with pytest.raises(RuntimeError, match="to_json"):
        model.to_yaml()


def test_small_things(tmp_path, monkeypatch):
    assert utils.to_categorical([0, 2], dtype="int32").dtype == np.int32
    np.testing.assert_allclose(utils.normalize([[3.0, 4.0], [0, 0]]), [[0.6, 0.8], [0, 0]])
    with pytest.raises(ValueError, match="sends nothing over a network"):
        RemoteMonitor()
    model = Sequential([Input((3,)), Dense(2)])
    (tmp_path / "m.npz").write_bytes(b"")
    with pytest.raises(FileExistsError):
        model.save(tmp_path / "m.npz", overwrite=False)
    with pytest.raises(TypeError, match="unknown arguments colour"):
        model.save(tmp_path / "m.npz", colour=1)
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        model.fit(np.ones((4, 3)), np.ones((4, 2)), epoch=3)
    for module in ("tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.warns(UserWarning, match="tensorboardX is not installed"):
        model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0, callbacks=[TensorBoard(tmp_path / "logs")])
    with pytest.raises(ValueError, match="give origin="):
        utils.get_file("x")
    frame = type(
        "Frame", (), {"to_numpy": lambda self: np.ones((4, 3)), "__len__": lambda self: 4, "__iter__": lambda self: iter("abc")}
    )
    model.fit(frame(), np.ones((4, 2)), steps_per_epoch=None, verbose=0)  # a table is no iterable of batches
    assert check_gradients and minitl


def test_private_names_are_not_looked_for_elsewhere():
    from minitl.legacy.modules import elsewhere

    assert elsewhere("layers", "Dense") is Dense
    with pytest.raises(AttributeError, match=r"module 'minitl\.layers' has no attribute '__path__'"):
        elsewhere("layers", "__path__")
