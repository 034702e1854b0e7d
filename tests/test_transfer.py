"""Transfer: what is frozen stays, each strategy does what its recipe says, and wrong use is told."""

import inspect
import re

import numpy as np
import pytest
from rows import ROWS
from test_datasets import needs_cifar

from minitl import layers as all_layers
from minitl import plot
from minitl.applications import card, classic, load
from minitl.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
    ReLU,
    Rescaling,
    Softmax,
)
from minitl.models import Model, Sequential, load_model
from minitl.optimizers import SGD, Adam, RMSprop
from minitl.preprocessing import Preprocessing
from minitl.schedules import SlantedTriangular
from minitl.transfer import (
    STRATEGIES,
    batch_norm,
    draw_again,
    extract_features,
    feature_extractor,
    fine_tune,
    freeze,
    frozen,
    gradient_norms,
    layer_similarity,
    linear_cka,
    pca,
    replace_head,
    truncate,
    unfreeze,
    weight_distance,
)
from minitl.transfer.task import is_one_hot
from minitl.utils import set_random_seed

X = np.random.default_rng(0).random((40, 8, 8, 3)).astype(np.float32)
Y = np.arange(40)[:, None] % 4


def base():
    set_random_seed(1)
    return Sequential(
        [
            Input((8, 8, 3)),
            Conv2D(4, 3, activation="relu"),
            Conv2D(6, 3, activation="relu"),
            MaxPooling2D(),
            Flatten(),
            Dense(10, activation="relu"),
            Dense(7, activation="softmax"),
        ]
    )


def fresh(classes=4):
    return replace_head(base(), classes)


def bits(model, names=None):
    return {p: [w.tobytes() for w in layer.weights] for p, layer in model.named_layers() if names is None or p in names}


# Choosing layers.


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"names": "conv*"}, ["conv2d", "conv2d_1"]),
        ({"names": ["dense", 0]}, ["conv2d", "dense"]),
        ({"names": -1}, ["dense_1"]),
        ({"upto": "conv2d_1"}, ["conv2d", "conv2d_1"]),
        ({"depth": 3}, ["conv2d", "conv2d_1", "max_pooling2d", "flatten", "dense"]),
        ({"depth": 0}, []),
    ],
)
def test_layers_are_chosen_by_name_glob_position_and_depth(choice, expected):
    model = base()
    assert freeze(model, **choice) == expected
    assert [p for p, layer in model.named_layers() if not layer.trainable] == expected
    assert unfreeze(model, **choice) == expected


def test_the_context_manager_restores_every_flag():
    model = base()
    freeze(model, "dense")

    def fails():
        with frozen(model, "conv*") as names:
            assert names == ["conv2d", "conv2d_1"]
            assert not model.layers[0].trainable
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert [p for p, layer in model.named_layers() if not layer.trainable] == ["dense"]


def test_wrong_choices_list_the_names():
    with pytest.raises(ValueError, match="conv2d, conv2d_1, max_pooling2d"):
        freeze(base(), "konv*")
    with pytest.raises(ValueError, match="did you mean"):
        freeze(base(), upto="conv2d_7")
    with pytest.raises(ValueError, match="4 layers with weights"):
        freeze(base(), depth=9)
    with pytest.raises(ValueError, match="outside the 6"):
        freeze(base(), 12)


# Taking apart and putting together.


def test_heads_share_or_copy_the_base():
    old = base()
    shared, copied = replace_head(old, 4, copy=False), replace_head(old, 4)
    assert shared.layers[0] is old.layers[0]
    assert copied.layers[0] is not old.layers[0]
    assert bits(copied, ["conv2d"]) == bits(old, ["conv2d"])
    np.testing.assert_allclose(shared.predict(X), 0.25)  # a zero head
    with pytest.raises(ValueError, match="two classes"):
        replace_head(old, 1)


def chain(shape, layers, functional):
    if not functional:
        return Sequential([Input(shape), *layers])
    value = entry = Input(shape)
    for layer in layers:
        value = layer(value)
    return Model(entry, value)


@pytest.mark.parametrize("functional", [False, True])
def test_a_head_is_its_dense_layer_with_all_that_stands_on_it(functional):
    layers = [Dense(6, activation="relu", name="features"), Dense(5, name="logits"), Rescaling(0.5), Activation("softmax")]
    old = chain((4,), layers, functional)
    new = replace_head(old, 3)
    assert [layer.name for layer in new.layers if layer.parameters] == ["features", new.layers[-1].name]
    assert new.layers[-1].parameters["kernel"].shape == (6, 3)
    assert feature_extractor(old).layers[-1].name == "features"
    assert replace_head(old, 3, remove=1).layers[-1].parameters["kernel"].shape == (5, 3)


@pytest.mark.parametrize("functional", [False, True])
def test_a_network_without_a_head_gets_one_on_top(functional):
    bare = chain((8, 8, 3), [Conv2D(4, 3, name="last"), GlobalAveragePooling2D(name="pooled")], functional)
    with pytest.raises(ValueError, match=r"ends in .*'pooled'.*, not in a Dense layer.*remove=0"):
        replace_head(bare, 2)
    new = replace_head(bare, 2, remove=0)
    assert new.output_shape == (None, 2) and new.get_layer("pooled")
    np.testing.assert_array_equal(extract_features(bare, X), bare.predict(X, verbose=0))


@pytest.mark.parametrize("functional", [False, True])
def test_a_head_that_is_the_whole_network_or_no_head_at_all(functional):
    with pytest.raises(ValueError, match=r"cannot take 1 .*at least one must stay"):
        replace_head(chain((4,), [Dense(3)], functional), 2)
    with pytest.raises(ValueError, match=r"ends in .*'top'.*, not in a Dense layer"):
        replace_head(chain((4,), [ReLU(name="top")], functional), 2)


def test_a_head_on_a_network_that_has_not_seen_its_inputs_yet():
    new = replace_head(Sequential([Dense(4, name="features"), Dense(3), Softmax()]), 2)
    assert new.predict(np.zeros((1, 5), np.float32), verbose=0).shape == (1, 2)
    assert [layer.name for layer in new.layers[:-1]] == ["features"]


def test_effective_gradients_are_those_of_the_formula():
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((7, 5)).astype(np.float32), np.arange(7) % 3
    model = Sequential([Input((5,)), Dropout(0.5), Dense(3, activation="softmax", name="head")])
    model.compile(SGD(0.1), "sparse_categorical_crossentropy")
    kernel, bias = (generator.standard_normal(shape).astype(np.float32) for shape in ((5, 3), (3,)))
    model.layers[-1].set_weights([kernel, bias])
    wrong = model.predict(x, verbose=0) - np.eye(3)[y]  # without dropout
    g = (x.T @ wrong / 7).ravel(), wrong.mean(axis=0)
    expected = np.linalg.norm(np.concatenate(g)) / np.linalg.norm(np.concatenate([kernel.ravel(), bias]))
    assert gradient_norms(model, x, y) == {"head": pytest.approx(expected, rel=1e-5)}
    model.layers[-1].set_weights([0 * kernel, 0 * bias])
    assert gradient_norms(model, x, y) == {"head": float("inf")}


def test_measures_of_what_is_not_shared_or_says_nothing():
    assert linear_cka(np.zeros((4, 3)), np.ones((4, 2))) == 0.0
    one, other = (chain((4,), [Dense(units, name="a"), Dense(2, name="b")], False) for units in (3, 5))
    assert weight_distance(one, other) == {}
    other = chain((4,), [Dense(3, name="a"), Dense(5, name="b")], False)
    assert list(weight_distance(one, other)) == ["a"]


def under(*head):
    return Sequential([Input((8, 8, 3)), Conv2D(4, 3, activation="relu"), *head])


TAGS = np.random.default_rng(0).integers(0, 2, (24, 6, 6))
OUTCOMES = {
    "binary": (lambda: under(Flatten(), Dense(1, activation="sigmoid")), TAGS[:, 0, 0], "binary_crossentropy"),
    "several labels": (lambda: under(Flatten(), Dense(6, activation="sigmoid")), TAGS[:, 0], "binary_crossentropy"),
    "classes": (lambda: under(Flatten(), Dense(2, activation="softmax")), TAGS[:, 0, 0], "sparse_categorical_crossentropy"),
    "shares": (lambda: under(Flatten(), Dense(2), Softmax()), np.eye(2)[TAGS[:, 0, 0]], "categorical_crossentropy"),
    "classes of pixels": (lambda: under(Conv2D(3, 1, activation="softmax")), TAGS, "sparse_categorical_crossentropy"),
    "shares of pixels": (lambda: under(Conv2D(2, 1, activation="softmax")), np.eye(2)[TAGS], "categorical_crossentropy"),
}


@pytest.mark.parametrize("kind", OUTCOMES)
def test_a_head_learns_by_the_loss_that_goes_with_it(kind):
    make, y, loss = OUTCOMES[kind]
    histories = []
    for compiled in (False, True):
        set_random_seed(2)
        model = make()
        if compiled:
            model.compile("sgd", loss, metrics=["accuracy"])
        histories.append(fine_tune(model, (X[:24], y), "full", epochs=2)[1].history)
    assert histories[0] == histories[1] and set(histories[0]) >= {"loss", "accuracy"}


def test_a_head_without_classes_needs_a_loss():
    linear, inputs = (lambda: under(Flatten(), Dense(3))), Input((4,))
    with pytest.raises(ValueError, match=r"does not end in a softmax or a sigmoid; say which loss"):
        fine_tune(linear(), (X, Y), "full", epochs=1)  # class numbers against numbers that are no probabilities
    model = linear()
    model.compile(loss="mse")
    _, history = fine_tune(model, (X, np.zeros((len(X), 3))), "full", epochs=1)
    assert set(history.history) == {"loss"}
    features = Dense(4)(inputs)
    two = Model(inputs, [Dense(3, activation="softmax")(features), Dense(1, activation="sigmoid")(features)])
    with pytest.raises(ValueError, match=r"has 2 outputs; compile\(loss=\[...\]\) it first"):
        fine_tune(two, (X.reshape(len(X), -1)[:, :4], [Y, Y]), "full", epochs=1)


def test_labels_that_are_no_classes():
    for labels, what in ((Y.astype(str), "labels must be numbers"), (Y - 1, "count from 0 on, the labels have -1")):
        with pytest.raises(ValueError, match=what):
            fine_tune(fresh(), (X, labels), "full", epochs=1)


def test_settings_that_are_no_counts():
    for name, value in (("epochs", -1), ("epochs", 1.5), ("head_epochs", True), ("batch_size", 0), ("head", 1.0), ("head", 0)):
        with pytest.raises(ValueError, match=rf"{name} must be a whole number of at least [01], got"):
            fine_tune(fresh(), (X, Y), "lp-ft", **{name: value})
    for strategy, decay in (("gradual", 0), ("discriminative", -2.0)):
        with pytest.raises(ValueError, match="decay must be above 0"):
            fine_tune(fresh(), (X, Y), strategy, epochs=1, decay=decay)
    with pytest.raises(TypeError, match=r"remove must be a whole number of layers, got 1\.0"):
        replace_head(base(), 3, remove=1.0)
    for wrong in (2.5, "3", None):
        with pytest.raises(TypeError, match="expected a number of classes, or layers, got"):
            replace_head(base(), wrong)
    assert replace_head(base(), Y.max() + 1).layers[-1].units == Y.max() + 1


def test_data_that_strategies_cannot_use():
    with pytest.raises(ValueError, match=r"over a known number of batches.*got generator"):
        fine_tune(fresh(), ((X[k : k + 4], Y[k : k + 4]) for k in range(0, 12, 4)), "full", epochs=1)
    with pytest.raises(ValueError, match=r"cached=True computes features once, of arrays"):
        fine_tune(fresh(), [(X[:12], Y[:12])] * 3, "linear probe", epochs=1, cached=True)


def test_truncate_and_feature_extractor():
    model = base()
    assert truncate(model, 1).layers[1] is not model.layers[1]
    part = truncate(model, "conv2d_1", copy=False)
    assert len(part.layers) == 2 and part.layers[1] is model.layers[1]
    extractor = feature_extractor(model)
    assert extractor.layers[-1].name == "dense" and not extractor.trainable
    assert model.trainable
    with pytest.raises(ValueError, match="did you mean"):
        truncate(model, "conv2d_5")


# Strategies.


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_learns_and_marks_its_phases(strategy, tmp_path):
    set_random_seed(3)
    model, history = fine_tune(fresh(), (X, Y), strategy, epochs=8, validation_data=(X, Y))
    assert len(history.epoch) == len(history.history["loss"]) == 8
    assert history.phases[0][1] == 0
    assert history.history["loss"][-1] < history.history["loss"][0]
    history.plot(tmp_path / "h.png")
    assert model.history is history


@pytest.mark.parametrize("strategy", ["linear probe", "lp-ft", "surgical", "reinitialize", "gradual"])
def test_what_a_strategy_freezes_is_bitwise_unchanged(strategy):
    model = fresh()
    kept = {
        "linear probe": ["conv2d", "conv2d_1", "dense"],
        "lp-ft": ["conv2d", "conv2d_1", "dense"],
        "surgical": ["conv2d_1", "dense"],
        "reinitialize": ["conv2d", "conv2d_1"],
        "gradual": ["conv2d", "conv2d_1"],
    }[strategy]
    before = bits(model, kept)
    settings = {"lp-ft": {"head_epochs": 3, "epochs": 3}, "gradual": {"epochs": 2}}.get(strategy, {"epochs": 3})
    fine_tune(model, (X, Y), strategy, **settings)
    assert bits(model, kept) == before
    if strategy not in ("linear probe", "lp-ft", "gradual"):
        assert bits(model) != bits(fresh())


def test_defaults_of_strategies():
    """What the tables of `docs/results.md` were made with."""
    gentle, quick = {"epochs": 10, "rate": 2e-4}, {"epochs": 10, "rate": 1e-3}
    assert {name: settings_of(function) for name, function in STRATEGIES.items()} == {
        "linear probe": {"epochs": 10, "rate": 1e-2, "cached": False},
        "full": gentle,
        "lp-ft": {**gentle, "head_epochs": None, "head_rate": 1e-2, "cached": False},
        "gradual": {**quick, "decay": 2.6},
        "discriminative": {**quick, "decay": 2.6},
        "l2-sp": {**gentle, "strength": 10.0},
        "surgical": {**quick, "block": "conv2d"},
        "reinitialize": {**quick, "layers": 1, "freeze_rest": True},
    }


def settings_of(strategy):
    return {name: each.default for name, each in inspect.signature(strategy).parameters.items() if name != "task"}


@pytest.mark.parametrize(
    ("shape", "one_hot"), [((4,), False), ((4, 5), False), ((4, 5, 3), True), ((4, 5, 1), False), ((4, 1, 3), True)]
)
def test_labels_of_steps(shape, one_hot):
    inputs = Input((None, 2))
    model = Model(inputs, Dense(3, activation="softmax")(inputs))
    assert is_one_hot(model, np.zeros(shape)) == one_hot


def test_lp_ft_begins_with_the_linear_probe():
    set_random_seed(5)
    probe, _ = fine_tune(fresh(), (X, Y), "linear probe", epochs=3)
    set_random_seed(5)
    both, history = fine_tune(fresh(), (X, Y), "lp-ft", head_epochs=3, epochs=3)
    assert bits(both) == bits(probe)
    set_random_seed(5)
    both, history = fine_tune(fresh(), (X, Y), "lp-ft", head_epochs=3, epochs=5)
    assert history.phases == [("head", 0), ("all", 3)]
    assert bits(both) != bits(probe)


def test_l2_sp_of_infinite_strength_leaves_the_base_where_it_was():
    names = ["conv2d", "conv2d_1", "dense"]
    models = {}
    for strength in (0.0, 1e3, float("inf")):
        set_random_seed(5)
        models[strength], _ = fine_tune(fresh(), (X, Y), "l2-sp", epochs=3, rate=1e-2, strength=strength)
    set_random_seed(5)
    plain, _ = fine_tune(fresh(), (X, Y), "full", epochs=3, rate=1e-2)
    assert bits(models[0.0]) == bits(plain)
    assert bits(models[float("inf")], names) == bits(fresh(), names)
    far, near = (weight_distance(fresh(), models[s])["conv2d"] for s in (0.0, 1e3))
    assert 0 < near < 0.5 * far
    with pytest.raises(ValueError, match="strength"):
        fine_tune(fresh(), (X, Y), "l2-sp", strength=-1)


@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9, weight_decay=0.01), Adam(1e-2), RMSprop(1e-2)])
def test_a_multiplier_of_zero_equals_freezing_bitwise(optimizer, backend):
    results = []
    for way in ("multiplier", "frozen"):
        model = fresh()
        set_random_seed(9)
        config = {**optimizer.get_config(), "multipliers": {"conv*": 0.0} if way == "multiplier" else None}
        model.compile(type(optimizer)(**config), "sparse_categorical_crossentropy")
        if way == "frozen":
            freeze(model, "conv*")
        model.fit(X, Y, epochs=2, verbose=0)
        results.append(bits(model))
    assert results[0] == results[1]


def test_multipliers_scale_the_rate(backend):
    moved = {}
    for factor in (1.0, 0.25):
        model = fresh()
        set_random_seed(9)
        model.compile(SGD(0.1, multipliers={"dense": factor}), "sparse_categorical_crossentropy")
        start = model.get_layer("dense").parameters["kernel"].copy()
        model.layers[-1].parameters["kernel"][...] = 0.1 * np.random.default_rng(0).standard_normal((10, 4))
        model.train_on_batch(X, Y)
        moved[factor] = model.get_layer("dense").parameters["kernel"] - start
    np.testing.assert_allclose(moved[0.25], 0.25 * moved[1.0], atol=5e-8)
    with pytest.raises(ValueError, match=r"multipliers\[.*\] must be a number in"):
        SGD(0.1, multipliers={"dense": -1})


def test_discriminative_rates_fall_from_the_top():
    model, _ = fine_tune(fresh(), (X, Y), "discriminative", epochs=1, decay=2.0)
    rates = model.optimizer.multipliers
    assert [rates[n] for n in ("dense_1", "dense", "conv2d_1", "conv2d")] == [1, 0.5, 0.25, 0.125]


def test_gradual_unfreezes_from_the_top():
    _, history = fine_tune(fresh(), (X, Y), "gradual", epochs=8)
    assert [name for name, _ in history.phases] == ["from dense_1", "from dense", "from conv2d_1", "from conv2d"]


def test_slanted_triangular():
    schedule = SlantedTriangular(1.0, 100, rise=0.1, ratio=32)
    rates = [schedule(t) for t in range(101)]
    assert rates[0] == pytest.approx(1 / 32) and max(rates) == rates[10] == 1 and rates[100] == pytest.approx(1 / 32)


def test_drawing_again_keeps_the_arrays():
    model = base()
    kernel = model.layers[0].parameters["kernel"]
    before = kernel.copy()
    assert draw_again(model, "conv2d") == ["conv2d"]
    assert model.layers[0].parameters["kernel"] is kernel
    assert not (kernel == before).all()


def normalised():
    set_random_seed(1)
    return Sequential(
        [Input((8, 8, 3)), Conv2D(4, 3), BatchNormalization(momentum=0.5), ReLU(), Flatten(), Dense(4, activation="softmax")]
    )


def test_batch_normalisation_frozen_statistics_only_or_trained():
    model = normalised()
    assert batch_norm(model, "frozen") == ["batch_normalization"]
    before = bits(model)
    batch_norm(model, "statistics", 5 * X, batch_size=10, passes=3)
    norm = model.layers[1]
    changed = [p for p, w in bits(model).items() if w != before[p]]
    assert changed == ["batch_normalization"] and not norm.trainable
    assert norm.parameters["gamma"].tobytes() == np.ones(4, np.float32).tobytes()
    np.testing.assert_allclose(norm.state["moving_mean"], model.layers[0](5 * X).mean(axis=(0, 1, 2)), atol=0.1)
    batch_norm(model, "trained")
    assert norm.trainable
    with pytest.raises(ValueError, match="needs pictures"):
        batch_norm(model, "statistics")
    with pytest.raises(ValueError, match="no BatchNormalization"):
        batch_norm(base(), "frozen")
    with pytest.raises(ValueError, match="did you mean"):
        batch_norm(model, "frosen")


def test_statistics_are_taken_from_every_image():
    model = normalised()
    model.layers[1].momentum = 0.0  # what the last batch has, and nothing of before
    images = X[:12] + np.arange(12, dtype=X.dtype)[:, None, None, None]
    batch_norm(model, "statistics", images, batch_size=12, passes=1)
    mean = model.layers[0](images).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(model.layers[1].state["moving_mean"], mean, rtol=1e-5)


# Features.


@pytest.mark.parametrize("make", [fresh, lambda: replace_head(normalised(), 4)])
def test_cached_features_give_bitwise_the_same_head(make, backend):
    models = []
    for cached in (False, True):
        models.append(make())
        set_random_seed(2)
        fine_tune(models[-1], (X, Y), "linear probe", epochs=3, cached=cached)
    if backend == "numba":
        assert bits(models[0]) == bits(models[1])
    else:  # BLAS may sum a row of a large batch in another order than a row of a small one
        for a, b in zip(*(model.weights for model in models), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_features_are_cached_by_weights_and_data(tmp_path, monkeypatch):
    model = base()
    first = extract_features(model, X, cache=tmp_path / "kept")
    files = list((tmp_path / "kept").iterdir())
    assert len(files) == 1
    monkeypatch.setattr(Sequential, "predict", lambda *a, **k: pytest.fail("computed again"))
    assert extract_features(model, X, cache=tmp_path / "kept").tobytes() == first.tobytes()
    monkeypatch.undo()
    extract_features(model, X[:20], cache=tmp_path / "kept")
    model.layers[0].parameters["bias"][0] += 1e-6
    extract_features(model, X, cache=tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 3


def test_features_of_other_weights_are_refused(tmp_path):
    model = base()
    extract_features(model, X, cache=tmp_path / "f.npz")
    extract_features(model, X, cache=tmp_path / "f.npz")
    model.layers[0].parameters["bias"][0] += 1e-6
    with pytest.raises(ValueError, match="other weights"):
        extract_features(model, X, cache=tmp_path / "f.npz")


@pytest.mark.parametrize(
    "kind", ["Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D", "SpatialDropout2D"]
)
def test_layers_that_draw_in_training_say_so(kind):
    made = getattr(all_layers, kind)
    assert made(0.5).draws is True and made(0.0).draws is False


def test_features_of_a_base_that_drops_out_are_refused():
    model = Sequential([Input((4,)), Dense(3), Dropout(0.5), Dense(2, activation="softmax")])
    with pytest.raises(ValueError, match=r"dropout \(Dropout\) draws"):
        extract_features(model, np.zeros((2, 4), np.float32))
    assert extract_features(model, np.zeros((2, 4), np.float32), at="dense").shape == (2, 3)


# Measures.


def test_linear_cka():
    generator = np.random.default_rng(0)
    a = generator.standard_normal((200, 5))
    rotation = np.linalg.qr(generator.standard_normal((5, 5)))[0]
    assert linear_cka(a, 3 * a @ rotation + 1) == pytest.approx(1)
    assert linear_cka(a, generator.standard_normal((200, 5))) < 0.1
    c = generator.standard_normal((200, 3))
    centred = [m - m.mean(axis=0) for m in (a, c)]
    norm = np.linalg.norm
    by_features = norm(centred[0].T @ centred[1]) ** 2 / (norm(centred[0].T @ centred[0]) * norm(centred[1].T @ centred[1]))
    assert linear_cka(a, c) == pytest.approx(by_features)
    with pytest.raises(ValueError, match="200 and 3"):
        linear_cka(a, a[:3])


def test_distances_similarities_and_gradients():
    before, after = base(), base()
    assert set(weight_distance(before, after).values()) == {0.0}
    assert all(v == pytest.approx(1) for v in layer_similarity(before, after, X).values())
    after.layers[1].parameters["kernel"] *= 1.1
    after.layers[1].parameters["bias"] *= 1.1
    assert weight_distance(before, after)["conv2d_1"] == pytest.approx(0.1, rel=1e-4)
    after.compile("sgd", "sparse_categorical_crossentropy")
    freeze(after, "conv2d")
    norms = gradient_norms(after, X, Y)
    assert set(norms) == {"conv2d_1", "dense", "dense_1"} and min(norms.values()) > 0
    with pytest.raises(ValueError, match="no layer name"):
        layer_similarity(before, Sequential([Input((8, 8, 3)), Flatten(name="other")]), X)


def test_pca():
    t = np.random.default_rng(0).standard_normal((50, 1))
    rows = t @ np.array([[3.0, 4.0, 0.0]]) + 7
    found = pca(rows, 2)
    np.testing.assert_allclose(np.abs(found[:, 0]), np.abs(5 * (t - t.mean())[:, 0]), atol=1e-10)
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-10)
    np.testing.assert_array_equal(pca(rows), found)
    with pytest.raises(ValueError, match="components"):
        pca(rows, 4)


def test_frozen_layers_are_shown(tmp_path, capsys):
    from matplotlib.colors import to_rgb

    model = base()
    freeze(model, "conv2d")
    model.summary()
    assert capsys.readouterr().out.count("frozen") == 1
    figure = plot.model(model, tmp_path / "m.png")
    blue, orange, grey = map(to_rgb, ("#9ecae1", "#fdd0a2", "#eeeeee"))
    colours = [bar.get_facecolor()[:3] for bar in figure.axes[0].patches if hasattr(bar, "get_width")]
    kinds = [blue if name == "conv2d" else orange if layer.weights else grey for name, layer in model.named_layers()]
    np.testing.assert_allclose(colours, kinds)
    plot.features(extract_features(model, X), Y, path=tmp_path / "f.png")
    assert all((tmp_path / f"{n}.png").stat().st_size > 5000 for n in "mf")


# Wrong use.


def test_a_head_of_another_number_of_classes():
    with pytest.raises(ValueError, match=r"7 classes, the labels have 4; use replace_head\(model, 4\)"):
        fine_tune(base(), (X, Y))
    with pytest.raises(ValueError, match="labels have 4"):
        fine_tune(fresh(3), (X, Y))
    fine_tune(base(), (X, Y), epochs=2, classes=7)
    with pytest.raises(ValueError, match="classes=3 when some of them have no sample"):
        fine_tune(fresh(3), (X, Y))
    with pytest.raises(ValueError, match=r"the labels have 5; use replace_head\(model, 5\)$"):  # it was said how many there are
        fine_tune(fresh(3), (X, Y), classes=5)


def test_other_wrong_uses():
    with pytest.raises(ValueError, match="did you mean"):
        fine_tune(fresh(), (X, Y), "linear prob")
    with pytest.raises(ValueError, match="there must be a base"):
        fine_tune(fresh(), (X, Y), head=4)
    model = fresh()
    freeze(model, "conv2d")
    with pytest.raises(ValueError, match="conv2d: frozen before; unfreeze"):
        fine_tune(model, (X, Y), "surgical", block="conv2d", epochs=1, verbose=0)
    model = fresh()
    freeze(model)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="all layers with parameters are frozen"):
        model.fit(X, Y, verbose=0)


def test_preprocessing_is_kept_and_checked(tmp_path):
    model = base()
    model.preprocessing = Preprocessing(1 / 255, mean=(0.5, 0.4, 0.3), std=0.25, size=(8, 8))
    model.save(tmp_path / "m.npz")
    loaded = replace_head(load_model(tmp_path / "m.npz"), 4)
    assert loaded.preprocessing == model.preprocessing
    pictures = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    prepared = loaded.preprocessing(pictures)
    np.testing.assert_allclose(prepared, (pictures / 255 - [0.5, 0.4, 0.3]) / 0.25, rtol=1e-5, atol=1e-6)
    fine_tune(loaded, (prepared, Y), epochs=2)
    for wrong, message in (
        (pictures, r"model.preprocessing\(x\)"),
        (prepared[:, :4], "resize"),
        (pictures / 255 / 255 - 1.95, "scaled twice"),
    ):
        with pytest.raises(ValueError, match=message):
            fine_tune(loaded, (wrong.astype(np.float32), Y), epochs=2)
    other = Preprocessing(1 / 255, mean=(0.5, 0.4, 0.3), std=0.25, size=(8, 8), channels="bgr")
    for use in (
        lambda: fine_tune(loaded, (prepared, Y), preprocessing=other),
        lambda: extract_features(loaded, prepared, preprocessing=other),
    ):
        with pytest.raises(ValueError, match="channels='bgr'"):
            use()
    with pytest.raises(ValueError, match="prepare the pictures"):
        extract_features(loaded, pictures)
    with pytest.raises(ValueError, match="std"):
        Preprocessing(std=0)


# Pretrained networks.


@pytest.mark.parametrize("name", ["letters", "cifar100_small"])
def test_pretrained_networks_load(name):
    model = load(name)
    assert model.preprocessing == Preprocessing(1 / 255, size=(32, 32))
    assert model.layers[-1].units == {"letters": 26, "cifar100_small": 100}[name]
    assert f"python -m minitl pretrain {name}" in card(name)
    assert [type(a) for a in model.layers] == [type(b) for b in classic(10).layers]
    assert model.weights[0].dtype == np.float32
    with pytest.raises(ValueError, match="did you mean"):
        load("leters")


def test_the_large_base_loads():
    model = load("cifar100")
    assert tuple(model.preprocessing.size) == (32, 32) and len(np.ravel(model.preprocessing.mean)) == 3
    assert [layer.units for layer in model.layers if hasattr(layer, "units")] == [100]
    assert model.weights[0].dtype == np.float32
    text = card("cifar100")
    assert "python -m minitl pretrain cifar100" in text and "test" in text
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
    np.testing.assert_allclose(model.predict(model.preprocessing(images), verbose=0).sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(FileNotFoundError, match="python -m minitl pretrain cifar10 --output"):
        load("cifar10")


@needs_cifar
def test_the_large_base_knows_what_its_card_says():
    from minitl.datasets import cifar100

    model, (_, (x, y)) = load("cifar100"), cifar100.load_data()
    found = model.predict(model.preprocessing(x[:1000]), batch_size=200, verbose=0).argmax(axis=1)
    told = float(re.search(r"Accuracy on 10000 test pictures.*?: ([\d.]+) %", card("cifar100"))[1])
    assert abs(100 * np.mean(found == y[:1000, 0]) - told) < 4


def test_the_letters_know_letters():
    from minitl.datasets import glyphs

    model = load("letters")
    (_, _), (x, y) = glyphs.load_data("letters", 26, 520)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    assert model.evaluate(model.preprocessing(x), y, verbose=0)[1] > 0.75


@needs_cifar
def test_pretraining_by_the_fast_recipe_writes_weights_and_card(tmp_path, monkeypatch):
    from minitl.applications import pretrain
    from minitl.datasets import cifar100

    (x, y), (x_test, y_test) = cifar100.load_data()
    monkeypatch.setattr(cifar100, "load_data", lambda: ((x, y), (x_test[:300], y_test[:300])))
    made = pretrain.pretrain("cifar100", tmp_path, epochs=1, samples=500)
    assert (made.loss.label_smoothing, made.layers[-2].scale) == (0.1, 1 / 3)  # the recipe of a hundred classes
    assert made.output_shape == (None, 100)
    model = load_model(tmp_path / "cifar100.npz")
    for ours, kept in zip(made.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, kept)
        np.testing.assert_array_equal(kept, kept.astype(np.float16).astype(np.float32))
    found = model.predict(model.preprocessing(x_test[:300]), verbose=0).argmax(axis=1)
    assert f": {100 * np.mean(found == y_test[:300, 0]):.2f} %" in (tmp_path / "cifar100.md").read_text()
    text = (tmp_path / "cifar100.md").read_text()
    assert "held-out" not in text and "Recipe: `minitl.applications.fast_cifar`, batch 500." in text


def test_pretraining_writes_weights_and_card(tmp_path, capsys):
    from minitl.__main__ import main

    assert main(["pretrain", "letters", "--output", str(tmp_path), "--epochs", "1", "--samples", "260"]) == 0
    model = load_model(tmp_path / "letters.npz")
    assert model.preprocessing is not None and model.output_shape == (None, 26)
    text = (tmp_path / "letters.md").read_text()
    assert "epoch  1" in text and "Accuracy on" in text and "and on held-out training pictures" in text
    assert "Recipe: batch 32, Adam" in text and "0 .. 255, RGB, 32x32: x / 255." in text
    assert main(["pretrain", "leters", "--output", str(tmp_path)]) == 2


def test_the_whole_base_may_begin_anew():
    set_random_seed(0)
    model = Sequential([Input((4,)), Dense(3, name="one"), Dense(3, name="two"), Dense(2, activation="softmax")])
    before = model.get_weights()
    fine_tune(model, (ROWS, np.arange(12) % 2), "reinitialize", layers=2, epochs=1, verbose=0)
    assert all(layer.trainable for layer in model.layers)
    assert all(abs(a - b).max() > 0.1 for a, b in zip(before[:4:2], model.get_weights()[:4:2], strict=True))


def test_reinitialize_needs_layers_in_the_base():
    model = Sequential([Input((4,)), Dense(3, name="base"), Dense(2, activation="softmax")])
    for layers in (0, 2):
        with pytest.raises(ValueError, match=f"reinitialize: layers={layers} of 1 in the base: base"):
            fine_tune(model, (ROWS, np.arange(12) % 2), "reinitialize", layers=layers, verbose=0)


def test_what_moves_the_whole_base_at_once_moves_it_slowly():
    rates = {
        name: inspect.signature(strategy).parameters["rate"].default for name, strategy in STRATEGIES.items() if name != "lp-ft"
    }
    assert rates["full"] == rates["l2-sp"] == 2e-4
    assert rates["gradual"] == rates["discriminative"] == rates["surgical"] == 1e-3  # less of it, or the lower the slower
