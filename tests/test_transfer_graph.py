"""Transfer on networks with branches and with models inside: cutting, freezing, features, strategies, measures."""

from __future__ import annotations

import numpy as np
import pytest

from minitl import Input, Model, Sequential, set_random_seed
from minitl.explain import grad_cam
from minitl.layers import (
    LSTM,
    Add,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAveragePooling2D,
    MaxPooling2D,
    RandomFlip,
    ReLU,
    Softmax,
)
from minitl.models import load_model
from minitl.transfer import (
    STRATEGIES,
    batch_norm,
    extract_features,
    feature_extractor,
    fine_tune,
    freeze,
    layer_similarity,
    linear_cka,
    replace_head,
    truncate,
    unfreeze,
    weight_distance,
)
from minitl.units import feature_maps

X = np.random.default_rng(0).random((24, 8, 8, 3), np.float32)
Y = np.arange(24) % 3


def residual() -> Model:
    """Two convolutions with a skip, pooled, and two Dense layers."""
    x = Input((8, 8, 3))
    stem = Conv2D(4, 3, padding="same", activation="relu", name="stem")(x)
    branch = BatchNormalization(name="normal")(Conv2D(4, 3, padding="same", name="branch")(stem))
    joined = ReLU(name="joined")(Add(name="add")([stem, branch]))
    features = Dense(6, activation="relu", name="features")(GlobalAveragePooling2D(name="pool")(joined))
    return Model(x, Dense(5, activation="softmax", name="head")(features))


def nested() -> Sequential:
    """A model inside another, with a head of two layers of which one lies inside."""
    inside = Sequential(
        [Input((8, 8, 3)), Conv2D(4, 3, activation="relu"), MaxPooling2D(), Flatten(), Dense(6, activation="relu")]
    )
    return Sequential([Input((8, 8, 3)), inside, Dense(3, activation="softmax", name="top")])


def bits(model, but=()):
    return {
        path: [w.tobytes() for w in layer.weights]
        for path, layer in model.named_layers()
        if layer.weights and not path.startswith(tuple(but))
    }


@pytest.fixture
def model():
    set_random_seed(3)
    return residual()


def test_a_head_on_a_network_with_branches(model):
    before = bits(model)
    new = replace_head(model, 3)
    assert new.output_shape == (None, 3)
    np.testing.assert_allclose(new.predict(X, verbose=0), 1 / 3, rtol=1e-6)
    assert bits(new, ["dense"]) == bits(model, ["head"])
    fine_tune(new, (X, Y), "full", epochs=1)
    assert bits(model) == before
    assert bits(new, ["dense"]) != bits(model, ["head"])
    shared = replace_head(model, 3, copy=False)
    assert shared.get_layer("stem") is model.get_layer("stem")


def test_cutting_where_branches_meet(model):
    with pytest.raises(ValueError, match=r"'add' .* takes 2 values; cut with truncate"):
        replace_head(model, 3, remove=5)
    two = Model(model.input, [model.output, model.get_layer("features").output])
    with pytest.raises(ValueError, match="2 outputs"):
        replace_head(two, 3)
    part = truncate(model, "add")
    assert part.output_shape == (None, 8, 8, 4) and part.get_layer("stem") is not model.get_layer("stem")
    expected = Model(model.input, model.get_layer("add").output).predict(X, verbose=0)
    np.testing.assert_array_equal(part.predict(X, verbose=0), expected)


def test_a_cut_leaves_inputs_that_are_not_needed():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    left = Dense(3, name="left")(a)
    model = Model([a, b], Dense(2)(Concatenate()([left, Dense(3, name="right")(b)])))
    assert truncate(model, "left").input_names == ["a"]


def test_a_cut_inside_a_model_inside():
    model = nested()
    inside = model.layers[0]
    part = truncate(model, f"{inside.name}/flatten")
    expected = Model(inside.input, inside.get_layer("flatten").output).predict(X, verbose=0)
    np.testing.assert_array_equal(part.predict(X, verbose=0), expected)
    with pytest.raises(ValueError, match="layer"):
        truncate(model, f"{inside.name}/flat")


def test_freezing_by_height(model):
    assert freeze(model, upto="add") == ["stem", "branch", "normal", "add"]
    unfreeze(model)
    assert freeze(model, depth=2) == ["stem", "branch"]


def test_features_of_a_network_with_branches(model):
    extractor = feature_extractor(model)
    assert extractor.output_shape == (None, 6) and not extractor.trainable and model.trainable
    expected = Model(model.input, model.get_layer("features").output)
    expected.fold = False
    np.testing.assert_array_equal(extract_features(model, X), expected.predict(X, verbose=0))


@pytest.mark.parametrize("make", [residual, nested])
@pytest.mark.parametrize("head", [1, 2])
def test_a_head_on_cached_features_is_the_head_on_the_frozen_base(make, head):
    results = []
    for cached in (False, True):
        set_random_seed(5)
        model = make()
        labels = Y if make is nested else np.arange(24) % 5
        fine_tune(model, (X, labels), "linear probe", head=head, epochs=2, cached=cached)
        results.append(bits(model))
    assert results[0] == results[1]


def test_a_model_inside_that_is_called_with_training_off_stays_so_when_it_is_opened():
    results = []
    for cached in (False, True):
        set_random_seed(5)
        inputs = Input((8, 8, 3))
        inside = Sequential([Conv2D(4, 3), BatchNormalization(), Flatten(), Dense(6), BatchNormalization()])
        model = Model(inputs, Dense(3, activation="softmax")(inside(inputs, training=False)))
        fine_tune(model, (X, Y), "linear probe", head=3, epochs=2, cached=cached)
        results.append(bits(model))
    assert results[0] == results[1]


def test_features_cannot_stand_for_two_values(model):
    with pytest.raises(ValueError, match="2 values go from the base into the head"):
        fine_tune(model, (X, np.arange(24) % 5), "linear probe", head=3, cached=True)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_layer_that_the_user_froze_stays_frozen(strategy, model):
    freeze(model, "stem")
    before = bits(model)
    settings = {"block": "branch"} if strategy == "surgical" else {}
    fine_tune(model, (X, np.arange(24) % 5), strategy, epochs=4, **settings)
    after = bits(model)
    assert after["stem"] == before["stem"] and after["head"] != before["head"]
    assert (after["branch"] == before["branch"]) == (strategy in ("linear probe", "reinitialize"))
    assert [path for path, layer in model.named_layers() if not layer.trainable] == ["stem"]


def test_what_cannot_learn_is_refused(model):
    freeze(model, "stem")
    with pytest.raises(ValueError, match="stem: frozen before"):
        fine_tune(model, (X, np.arange(24) % 5), "surgical", block="stem")
    freeze(model, "head")
    with pytest.raises(ValueError, match="the head is frozen"):
        fine_tune(model, (X, np.arange(24) % 5), "full")


@pytest.mark.parametrize("make", [residual, nested])
def test_measures(make):
    set_random_seed(4)
    before = make()
    after = replace_head(before, 3)
    fine_tune(after, (X, Y), "full", epochs=2)
    moved = weight_distance(before, after)
    assert moved and all(distance > 0 for distance in moved.values())
    alike = layer_similarity(before, after, X)
    assert alike and all(0.3 < value <= 1 + 1e-6 for value in alike.values())


def test_similarity_of_a_layer_that_is_used_twice_or_gives_several_outputs():
    def shared():
        x = Input((8, 8, 3))
        twice = Conv2D(4, 3, padding="same", name="twice")
        small = twice(Conv2D(3, 1, name="between")(MaxPooling2D()(x)))
        return Model(x, Dense(3)(Flatten()(Concatenate(axis=1)([Flatten()(twice(x)), Flatten()(small)]))))

    before, after = shared(), shared()
    after.set_weights(before.get_weights())
    after.get_layer("between").parameters["kernel"][:] = 0
    alike = layer_similarity(before, after, X, batch_size=10)
    whole, half = (np.hstack(parts) for parts in (_uses(before), _uses(after)))
    assert alike["twice"] == pytest.approx(linear_cka(whole, half), abs=1e-5) and 0 < alike["twice"] < 0.999

    steps = Input((8, 6))
    outputs, *states = LSTM(4, return_sequences=True, return_state=True, name="lstm")(steps)
    states_too = Model(steps, [Flatten()(outputs), *states])
    x = X.reshape(24, 8, 24)[..., :6]
    assert layer_similarity(states_too, states_too, x, batch_size=7)["lstm"] == pytest.approx(1)


def _uses(model: Model) -> list[np.ndarray]:
    layer = model.get_layer("twice")
    values = [node.outputs[0] for node in model.graph.nodes if node.layer is layer]
    return [Model(model.input, value).predict(X, verbose=0).reshape(24, -1) for value in values]


FACTS = np.random.default_rng(1).random((24, 5), np.float32)


def of_two_inputs() -> Model:
    image, facts = Input((8, 8, 3), name="image"), Input((5,), name="facts")
    seen = GlobalAveragePooling2D()(Conv2D(4, 3, activation="relu", name="conv")(image))
    joined = Concatenate()([seen, Dense(4, name="known")(facts)])
    return Model([image, facts], Dense(3, activation="softmax", name="head")(Dense(6, name="features")(joined)))


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_fine_tuning_of_several_inputs(strategy):
    settings = {"block": "conv"} if strategy == "surgical" else {}
    results = []
    for x in ([X, FACTS], (X, FACTS), {"facts": FACTS, "image": X}):
        set_random_seed(5)
        model = of_two_inputs()
        before = bits(model)
        _, history = fine_tune(model, (x, Y), strategy, epochs=4, batch_size=10, **settings)
        assert len(history.history["loss"]) == 4
        results.append(bits(model))
        assert results[-1]["head"] != before["head"] and results[-1] == results[0]


def test_fine_tuning_of_several_inputs_goes_down_to_a_rate_of_zero():
    model = of_two_inputs()
    fine_tune(model, ({"image": X, "facts": FACTS}, Y), "full", epochs=2, batch_size=10)
    rate = model.optimizer.learning_rate
    assert rate(6) == 0 < rate(5)  # three batches in each of two epochs


def test_two_batches_of_several_inputs_are_no_pair_of_x_and_y():
    batches = [((X[:12], FACTS[:12]), Y[:12]), ((X[12:], FACTS[12:]), Y[12:])]
    first, second = of_two_inputs(), of_two_inputs()
    second.set_weights(first.get_weights())
    fine_tune(first, batches, "full", epochs=1)
    second.compile(type(first.optimizer).from_config(first.optimizer.get_config()), first.loss)
    for batch in batches:
        second.train_on_batch(*batch)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_features_of_several_inputs(tmp_path):
    results = []
    for cached in (False, True):
        set_random_seed(5)
        model = of_two_inputs()
        fine_tune(model, ([X, FACTS], Y), "linear probe", epochs=2, cached=cached, validation_split=0.25)
        results.append(bits(model))
    assert results[0] == results[1]
    kept = extract_features(model, [X, FACTS], cache=tmp_path)
    np.testing.assert_array_equal(kept, extract_features(model, [X, FACTS], cache=tmp_path))
    assert len(list(tmp_path.iterdir())) == 1
    others = extract_features(model, [X, FACTS[::-1]], cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2 and not np.array_equal(kept, others)
    other = of_two_inputs()
    alike = layer_similarity(model, other, {"facts": FACTS, "image": X}, batch_size=24)
    assert alike == layer_similarity(model, other, [X, FACTS]) and {"conv", "known", "head"} <= set(alike)


def test_statistics_of_several_inputs():
    def network():
        set_random_seed(5)
        image, facts = Input((8, 8, 3), name="image"), Input((5,), name="facts")
        joined = Concatenate()([Flatten()(image), facts])
        return Model([image, facts], Dense(2)(BatchNormalization(momentum=0.5, name="normal")(joined)))

    found = []
    for x in ([X, FACTS], {"facts": FACTS, "image": X}):
        model = network()
        set_random_seed(6)
        batch_norm(model, "statistics", x, batch_size=10, passes=8)
        found.append(model.get_layer("normal").state["moving_mean"])
    np.testing.assert_array_equal(*found)
    whole = np.hstack([X.reshape(24, -1), FACTS]).mean(axis=0)
    np.testing.assert_allclose(found[0], whole, atol=0.15)
    assert np.abs(found[0]).min() > 0.2


def test_the_name_of_a_model_inside_stands_for_its_layers():
    model = nested()
    inside = [path for path, _ in model.named_layers()][:-1]
    assert all(path.startswith(f"{model.layers[0].name}/") for path in inside)
    assert freeze(model, model.layers[0].name) == inside == unfreeze(model, upto=model.layers[0].name)
    assert freeze(model, upto=inside[0]) == inside[:1]
    with pytest.raises(ValueError, match="unknown layer name or pattern 'inside'"):
        freeze(model, "inside")


def test_layers_of_the_same_name_in_a_model_inside(tmp_path):
    def network(inner, pool, conv):
        inside = Sequential([Input((8, 8, 3)), Conv2D(4, 3, name=conv), GlobalAveragePooling2D(name=pool), Dense(6, name=inner)])
        head = Dense(3, activation="softmax", name="dense")
        return Sequential([Input((8, 8, 3)), Conv2D(3, 1, name="conv"), inside, Dense(4, name="pool"), head])

    one, other = network("dense", "pool", "conv"), network("a", "b", "c")
    one.set_weights(other.get_weights())
    inside, known = one.layers[1].name, other.layers[1].name
    for model in (one, other):
        set_random_seed(0)
        fine_tune(model, (X, Y), "linear probe", head=2, epochs=2, cached=True)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(grad_cam(one, X), grad_cam(other, X))
    part = truncate(one, f"{inside}/conv")
    assert [path for path, _ in part.named_layers()] == ["conv", "conv_1"]
    expected = truncate(other, f"{known}/c").predict(X, verbose=0)
    part.save(tmp_path / "part.npz")
    for cut in (part, load_model(tmp_path / "part.npz")):
        np.testing.assert_array_equal(cut.predict(X, verbose=0), expected)
    np.testing.assert_array_equal(feature_maps(one, X, f"{inside}/conv"), expected)


def test_a_head_whose_softmax_stands_apart_is_compared_with_the_labels():
    apart = Sequential([Input((8, 8, 3)), Flatten(), Dense(6), Dense(5, name="logits"), Softmax()])
    with pytest.raises(ValueError, match="the head 'logits' has 5 classes, the labels have 3"):
        fine_tune(apart, (X, Y), "full", epochs=1)
    fine_tune(apart, (X, Y), "full", epochs=1, classes=5)
    scores = Sequential([Input((8, 8, 3)), Flatten(), Dense(6), Dense(5)])  # no classes to compare with
    scores.compile("adam", "mse")
    fine_tune(scores, (X, np.zeros((24, 5), np.float32)), "full", epochs=1)


def test_a_misspelt_setting_names_the_known_ones(model):
    with pytest.raises(ValueError, match=r"unknown setting of 'lp-ft' 'epoch'.*epochs"):
        fine_tune(model, (X, Y), "lp-ft", epoch=3)


def test_every_way_in_checks_how_images_were_prepared(model):
    from minitl.preprocessing import Preprocessing
    from minitl.preprocessing.image import ImageDataGenerator

    model.preprocessing = Preprocessing()
    model.compile("sgd", "sparse_categorical_crossentropy")
    raw, labels = X * 255, np.arange(24) % 5
    ways = [
        lambda: model.fit(raw, labels, verbose=0),
        lambda: model.evaluate(raw, labels, verbose=0),
        lambda: model.predict(raw, verbose=0),
        lambda: model.train_on_batch(raw, labels),
        lambda: model.test_on_batch(raw, labels),
        lambda: model.predict_on_batch(raw),
        lambda: fine_tune(model, ImageDataGenerator().flow(raw, labels, batch_size=8), "full", epochs=1),
        lambda: fine_tune(model, (raw, labels), "full", epochs=1),
    ]
    before = bits(model)
    for way in ways:
        with pytest.raises(ValueError, match="prepare the pictures as it was trained"):
            way()
    assert bits(model) == before
    model.predict_on_batch(X)


@pytest.mark.parametrize("layer", [Dropout(0.2), GaussianNoise(0.1), RandomFlip("horizontal")])
def test_features_of_a_base_that_draws_random_numbers_are_refused(layer):
    inputs = Input((8, 8, 3))
    model = Model(inputs, Dense(3, activation="softmax")(Flatten()(layer(inputs))))
    with pytest.raises(ValueError, match=rf"{type(layer).__name__}\) draws other random numbers"):
        extract_features(model, X)
    quiet = Model(inputs, Dense(3, activation="softmax")(Flatten()(Dropout(0.0)(inputs))))
    assert extract_features(quiet, X).shape == (24, 192)


def test_a_layer_that_stands_twice_cannot_be_cut_at():
    inputs, shared = Input((4,)), Dense(4, name="shared")
    model = Model(inputs, Dense(2)(shared(shared(inputs))))
    with pytest.raises(ValueError, match=r"the layer 'shared' gives 2 values; use Model\(inputs, the one that you want\)"):
        truncate(model, "shared")
