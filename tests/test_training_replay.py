"""Training passes that are run again launch by launch: to the bit what the steps give, whatever has changed meanwhile."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest
from networks import inception, mobilenet_v2, random_graph, resnet20, siamese, unet
from test_replay import NETWORKS, block, chain, drawn

import minitl
from minitl.backend import use_backend
from minitl.graph import training_replay
from minitl.graph.run import Run
from minitl.graph.steps import JointStep
from minitl.kernels import memory
from minitl.kernels.launch import INTERPRETED
from minitl.layers import (
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    ChannelPadding,
    Concatenate,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Input,
    LayerNormalization,
    MaxPooling2D,
    Multiply,
    Normalization,
    ReLU,
    Rescaling,
    Reshape,
    Softmax,
    SpatialDropout1D,
    SpatialDropout2D,
    UpSampling2D,
    ZeroPadding2D,
)
from minitl.models import Model, Sequential

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is recorded in plain Python")


def two_outputs():
    inputs = Input((6, 6, 8))
    x = Conv2D(8, 3, padding="same")(inputs)
    return Model(inputs, [Dense(3, activation="softmax")(Flatten()(x)), Dense(2)(Flatten()(Add()([x, inputs])))])


def shared():
    layer, inputs = Conv2D(8, 3, padding="same", activation="relu"), Input((6, 6, 8))
    return Model(inputs, Dense(2)(Flatten()(layer(layer(layer(inputs))))))


MORE = {
    "Inception": inception,
    "U-Net": unet,
    "siamese": siamese,
    "two outputs": two_outputs,
    "one layer, three times": shared,
    "dropped out": lambda: chain(
        *(Conv2D(8, 3), Dropout(0.5), SpatialDropout2D(0.2), Dropout(0.1, (None, 1, 1, 1)), Reshape((-1, 8))),
        *(SpatialDropout1D(0.3), Flatten(), Dropout(0.1), Dense(3), Dropout(0)),
    ),
    "prepared in front": lambda: chain(
        Rescaling(0.5, 1.0), Normalization(mean=0.1, variance=2.0), Conv2D(4, 3), Flatten(), Dense(2)
    ),
    "all of an image": lambda: chain(Conv2D(20, 2), GlobalMaxPooling2D(keepdims=True), Flatten(), Dense(3, activation="sigmoid")),
    "5x5 and 7x7": lambda: chain(
        Conv2D(16, 5, padding="same"), Conv2D(32, 7, padding="same"), Conv2D(8, 5, 2), Flatten(), Dense(2)
    ),
    "pooled": lambda: chain(
        *(Conv2D(8, 2), AveragePooling2D(2, 1, "same"), Conv2D(16, 2), MaxPooling2D(3, 2, "same")),
        GlobalAveragePooling2D(keepdims=True),
    ),
    "products of three": lambda: products(),
    "other activations": lambda: chain(
        *(Conv2D(7, 2, activation="silu"), ReLU(5.0, 0.1, 0.2), Activation("gelu"), Dense(5, activation="relu6")),
        *(Reshape((-1, 5)), Dense(6, activation="tanh"), Dense(4, activation="sigmoid"), Activation("leaky_relu"), Softmax()),
        Activation("softmax"),
    ),
    "pieces of a concatenation": lambda: concatenated(2),
    "channels of a concatenation": lambda: concatenated(-1),
    "zeros inside": lambda: chain(
        *(Conv2D(8, 1), ZeroPadding2D(((1, 0), (0, 2))), ZeroPadding2D(1), DepthwiseConv2D(3, 2), BatchNormalization()),
        *(ReLU(6.0), ChannelPadding((2, 3)), Flatten(), Dense(2)),
    ),
}  # fmt: skip


def products():
    inputs = Input((6, 6, 8))
    parts = [Conv2D(8, 3, padding="same")(inputs), inputs, Conv2D(8, 1)(inputs)]
    return Model(inputs, Dense(2)(Flatten()(Multiply()([*parts, GlobalAveragePooling2D(keepdims=True)(parts[0])]))))


def concatenated(axis):
    inputs = Input((6, 6, 8))
    parts = [Conv2D(8, 3, padding="same")(inputs), MaxPooling2D(1)(Conv2D(8, 1)(inputs))]
    return Model(inputs, Dense(2)(Flatten()(Concatenate(axis)(parts))))


ALL = {**{name: build for name, build in NETWORKS.items() if name not in ("average of all", "pooling")}, **MORE}
NOT_RECORDED = {"prepared inside", "random while training", "siamese"}


def without_replays(monkeypatch):
    monkeypatch.setattr("minitl.models.planning.training_replays_of", lambda steps: None)


def recordings(model):
    """The recorded steps of a model."""
    found = [plan.replays.known for _, plan in model._plans.values() if isinstance(plan.replays, training_replay.TrainingReplays)]
    return [step for known in found for step in known.values() if step is not None]


def trained(build, dtype="float32", steps=5, loss="mse", change=None, batches=(3,), settings=None):
    """Losses and weights after every step, on other data each time."""
    minitl.set_random_seed(0)
    model, generator, seen = build().astype(dtype), np.random.default_rng(0), []
    model.compile("sgd", loss)
    for number in range(steps):
        batch = batches[number % len(batches)]
        x = drawn(model, generator, batch)
        y = [generator.normal(size=(batch, *value.shape[1:])).astype(dtype) for value in model.outputs]
        if loss == "categorical_crossentropy":
            y = [np.eye(part.shape[1], dtype=dtype)[part.argmax(axis=1)] for part in y]
        seen.append(np.atleast_1d(model.train_on_batch(x, y if len(y) > 1 else y[0])))
        seen += [array.copy() for array in model.weights]
        if change is not None:
            change(model, number)
    return model, seen


def same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def no_walks(monkeypatch, allowed):
    """Let no pass but the first ones go step by step, in either direction."""
    walks = {"walk": 0, "walk_back": 0}
    for name in walks:
        original = getattr(Run, name)

        def counted(run, *given, name=name, original=original):
            walks[name] += 1
            assert walks[name] <= allowed, f"{name}: the pass was not played"
            return original(run, *given)

        monkeypatch.setattr(Run, name, counted)
    return walks


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_steps_that_are_played_have_the_same_bits(name, dtype, monkeypatch):
    with monkeypatch.context() as patch:
        without_replays(patch)
        model, expected = trained(ALL[name], dtype)
        assert not recordings(model)
    if name not in NOT_RECORDED:
        walks = no_walks(monkeypatch, 2)
    model, found = trained(ALL[name], dtype)
    same(found, expected)
    if name not in NOT_RECORDED:
        assert walks == {"walk": 2, "walk_back": 2} or not model.weights
    assert bool(recordings(model)) == (name not in NOT_RECORDED)


@pytest.mark.parametrize("build", [resnet20, mobilenet_v2, lambda: chain(Flatten(), Dense(10), Dense(4, activation="softmax"))])
def test_logits_that_are_joined_to_their_loss(build, monkeypatch):
    with monkeypatch.context() as patch:
        without_replays(patch)
        _, expected = trained(build, loss="categorical_crossentropy")
    no_walks(monkeypatch, 2)
    model, found = trained(build, loss="categorical_crossentropy")
    same(found, expected)
    assert any(type(step) is JointStep for _, plan in model._plans.values() for step in plan.steps)


@pytest.mark.parametrize("seed", range(60))
def test_generated_graphs(seed, monkeypatch):
    with monkeypatch.context() as patch:
        without_replays(patch)
        _, expected = trained(lambda: random_graph(seed))
    _, found = trained(lambda: random_graph(seed))
    same(found, expected)


def test_what_is_covered_is_what_may_be_recorded():
    plans = [build().new_run(keep=True, training=True).plan for build in ALL.values()]
    played = [plan for plan in plans if plan.replays is not None]
    alone = {type(step.layers[0]) for plan in played for step in plan.steps if len(step.layers) == 1}
    assert alone >= training_replay.ALONE | training_replay.FORWARD
    assert {type(step) for plan in played for step in plan.steps} >= training_replay.TOGETHER


def test_layers_that_compute_otherwise_are_not_recorded():
    inputs, row = Input((4, 4, 3)), Input((1, 4, 3))
    for layer in (
        *(
            Conv2D(6, 1, groups=3),
            Conv2D(4, 2, dilation_rate=2),
            Activation("exponential"),
            GaussianNoise(0.1),
            LayerNormalization(),
        ),
        *(Reshape((3, 4, 4), channels_first=True), UpSampling2D(interpolation="bilinear")),
    ):
        assert Model(inputs, layer(inputs)).new_run(keep=True, training=True).plan.replays is None
    assert Model([inputs, row], Add()([inputs, row])).new_run(keep=True, training=True).plan.replays is None
    open_axis = Input((None, 8))
    assert Model(open_axis, Add()([open_axis, Dense(8)(open_axis)])).new_run(keep=True, training=True).plan.replays is None
    scaled = Model(inputs, Rescaling(0.5)(inputs))
    assert scaled.new_run(keep=True, training=True).plan.replays is not None
    assert scaled.new_run(keep=True, need_dx=True, training=True).plan.replays is None  # whose gradient is NumPy's
    plain = Model(inputs, Conv2D(4, 3)(inputs))
    assert plain.new_run(keep=True, training=True).plan.replays is not None
    assert plain.new_run(keep=True, training=True, fuse=False).plan.replays is None
    with use_backend("numpy"):
        assert plain.new_run(keep=True, training=True).plan.replays is None


def started(model, x):
    """A run of a step that is recorded, with the outputs."""
    run = model.new_run(keep=True, need_dx=True, training=True)
    return run, run.forward([x], training=True)


def small():
    """A model whose training pass is recorded, and data for it."""
    minitl.set_random_seed(0)
    model, generator = chain(Conv2D(16, 3, activation="relu"), BatchNormalization(momentum=1.0), ReLU()), np.random.default_rng(0)
    for _ in range(2):
        run, (y,) = started(model, drawn(model, generator, 3))
        run.backward([np.ones_like(y)])
        del run, y
    assert len(recordings(model)) == 1
    return model, generator


def by_steps(model, x, dy):
    """Output, dx and gradients without a recording."""
    run = model.new_run(keep=True, need_dx=True, training=True)
    (y,) = run.walk([x], True)
    (dx,) = run.walk_back([dy])
    return [y, dx, *(g for named in run.gradients.values() for g in named.values())]


def given(run, y, dx):
    return [y, dx, *(g for named in run.gradients.values() for g in named.values())]


def test_what_the_caller_holds_is_not_written_over():
    model, generator = small()
    x, dy = drawn(model, generator, 3), generator.normal(size=(3, 7, 6, 16)).astype(np.float32)
    expected = by_steps(model, x, dy)
    for hold in range(len(expected)):
        run, (y,) = started(model, x)
        (dx,) = run.backward([dy])
        held = given(run, y, dx)[hold][:1]  # a part of it
        del run, y, dx
        for _ in range(2):  # which therefore walk
            run, (y,) = started(model, x + 1)
            run.backward([dy])
            assert run.recorded is None
        np.testing.assert_array_equal(held, expected[hold][:1])
        del held
    run, (y,) = started(model, x)
    assert run.recorded is not None
    same(given(run, y, *run.backward([dy])), expected)


def test_two_runs_at_once_and_one_that_never_goes_back():
    model, generator = small()
    data = [(drawn(model, generator, 3), generator.normal(size=(3, 7, 6, 16)).astype(np.float32)) for _ in range(3)]
    started(model, data[0][0])  # and forgotten
    runs = [started(model, x) for x, _ in data]
    assert [run.recorded is not None for run, _ in runs] == [True, False, False]
    for (run, (y,)), (x, dy) in reversed(list(zip(runs, data, strict=True))):
        same(given(run, y, *run.backward([dy])), by_steps(model, x, dy))


def test_going_back_twice_with_other_gradients_or_without_any():
    model, generator = small()
    x, dy = drawn(model, generator, 3), generator.normal(size=(3, 7, 6, 16)).astype(np.float32)
    run, (y,) = started(model, x)
    first = given(run, y, *run.backward([dy]))
    kept = [array.copy() for array in first]
    second = given(run, y, *run.backward([2 * dy]))
    same(second[2:], by_steps(model, x, 2 * dy)[2:])
    same(first, kept)
    del run, y, first, second
    run, (y,) = started(model, x + 1)
    assert run.backward([None]) == [None] and run.gradients == {}
    same(given(run, y, *run.backward([dy])), by_steps(model, x + 1, dy))


def test_gradients_are_told_layer_by_layer_where_somebody_asks():
    model, generator = small()
    x, dy = drawn(model, generator, 3), generator.normal(size=(3, 7, 6, 16)).astype(np.float32)
    run, (y,) = started(model, x)
    told = []
    run.tell = lambda layer, gradients: told.append(layer)
    same(given(run, y, *run.backward([dy])), by_steps(model, x, dy))
    assert told == [model.layers[1], model.layers[0]]


def test_the_book_goes_back_where_it_is_asked_to():
    model, generator = small()
    x, dy = drawn(model, generator, 3), generator.normal(size=(3, 7, 6, 16)).astype(np.float32)
    expected = by_steps(model, x, dy)
    run, (y,) = started(model, x)
    with use_backend("numpy"):
        run.backward([dy])
    for a, b in zip(given(run, y, expected[1]), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_inputs_are_read_where_they_are():
    model, generator = small()
    dy = generator.normal(size=(3, 7, 6, 16)).astype(np.float32)
    wide, x = generator.normal(size=(3, 9, 8, 32)).astype(np.float32), drawn(model, generator, 3)
    unaligned = np.ndarray(x.shape, x.dtype, np.zeros(x.nbytes + 1, np.uint8), 1)
    unaligned[...] = x
    (step,) = recordings(model)
    assert step.places[0]
    for part in (x, wide[..., ::2], x[::-1], np.asfortranarray(x), unaligned):
        run, (y,) = started(model, part)
        assert run.recorded is step
        same(given(run, y, *run.backward([dy])), by_steps(model, np.array(part), dy))
        del run, y


CHANGES = {
    "momentum": lambda model, number: setattr(model.layers[1], "momentum", 0.9 - 0.2 * number),
    "epsilon": lambda model, number: setattr(model.layers[1], "epsilon", 0.1 * number),
    "rate": lambda model, number: setattr(model.layers[3], "rate", 0.1 * number),
    "generator": lambda model, number: setattr(model.layers[3], "generator", np.random.default_rng(number)),
    "frozen and not": lambda model, number: setattr(model.layers[number % 2], "trainable", number % 3 > 0),
    "other weights": lambda model, number: model.layers[0].parameters.update(kernel=model.layers[0].parameters["kernel"] * 2),
    "weights in another order": lambda model, number: model.layers[0].parameters.update(
        kernel=np.asfortranarray(model.layers[0].parameters["kernel"])
    ),
    "set weights": lambda model, number: model.set_weights([array * 0.9 for array in model.get_weights()]),
    "other statistics": lambda model, number: model.layers[1].state.update(moving_mean=np.full(8, 0.5, np.float32)),
    "predictions": lambda model, number: model.predict_on_batch(np.ones((3, 9, 8, 16), np.float32)),
    "unfused": lambda model, number: setattr(model, "fuse", number % 2 > 0),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("at", [(2,), (3, 4), range(9)])
def test_what_changes_between_two_steps(name, at, monkeypatch):
    def build():
        return chain(Conv2D(8, 3), BatchNormalization(), ReLU(), Dropout(0.5), Flatten(), Dense(3, activation="softmax"))

    def change(model, number):
        if number in at:
            CHANGES[name](model, number)

    with monkeypatch.context() as patch:
        without_replays(patch)
        _, expected = trained(build, steps=9, change=change)
    _, found = trained(build, steps=9, change=change)
    same(found, expected)


def test_batches_of_several_sizes(monkeypatch):
    batches = [4, 4, 4, 1, 4, 4, 4, 1, 2, 2, 3, 3, 5, 5, 6, 6, 7, 7, 4, 4]
    build = lambda: chain(*block(8, 3), Flatten(), Dense(3))  # noqa: E731
    with monkeypatch.context() as patch:
        without_replays(patch)
        _, expected = trained(build, steps=20, batches=batches)
    model, found = trained(build, steps=20, batches=batches)
    same(found, expected)
    replays = next(plan.replays for _, plan in model._plans.values())
    assert len(replays.known) <= training_replay.MANY and not any(shapes[0][0][0] == 1 for shapes in replays.known)


def test_a_pass_after_which_nobody_goes_back_is_recorded_a_few_times(monkeypatch):
    model, x = chain(Conv2D(8, 3)), np.ones((2, 9, 8, 16), np.float32)
    made = []
    original = training_replay.RecordedStep.__init__
    monkeypatch.setattr(training_replay.RecordedStep, "__init__", lambda step, *given: made.append(1) or original(step, *given))
    for _ in range(3 * training_replay.PATIENCE + 2):
        started(model, x)
    assert len(made) == training_replay.PATIENCE and not recordings(model)


@pytest.mark.parametrize("where", [(Conv2D, "linear"), (Dense, "backpropagate")])
def test_training_that_was_interrupted_is_recorded_when_it_goes_on(where, monkeypatch):
    model = chain(Conv2D(8, 3), Flatten(), Dense(2))
    model.compile("sgd", "mse")
    x, y = np.ones((2, 9, 8, 16), np.float32), np.ones((2, 2), np.float32)
    model.train_on_batch(x, y)
    with monkeypatch.context() as patch:
        patch.setattr(*where, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            model.train_on_batch(x, y)
    gc.collect()
    for _ in range(3):
        model.train_on_batch(x, y)
    assert recordings(model)[0].gradients is not None


def test_a_step_that_fails_in_the_middle_leaves_nothing_behind(monkeypatch):
    model = chain(Conv2D(8, 3), Flatten(), Dense(2))
    model.compile("sgd", "mse")
    x, y = np.ones((2, 9, 8, 16), np.float32), np.ones((2, 2), np.float32)
    model.train_on_batch(x, y)
    with monkeypatch.context() as patch:
        patch.setattr(Dense, "backpropagate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            model.train_on_batch(x, y)
    gc.collect()
    assert memory.local.arena is None
    weights = model.get_weights()
    for _ in range(3):
        model.train_on_batch(x, y)
    found = model.get_weights()
    model.set_weights(weights)
    without_replays(monkeypatch)
    model._plans.clear()
    for _ in range(3):
        model.train_on_batch(x, y)
    same(found, model.get_weights())


def test_two_models_in_turn_and_one_after_another():
    data = np.random.default_rng(0)
    models = [chain(Conv2D(8, 3), Flatten(), Dense(2)) for _ in range(3)]
    for model in models:
        model.compile("sgd", "mse")

    def step(model):
        model.train_on_batch(drawn(model, data, 2), data.normal(size=(2, 2)))

    for _ in range(4):
        step(models[0])
        step(models[1])
    (first,), (second,) = recordings(models[0]), recordings(models[1])
    assert first.recording is not None and second.recording is not None
    step(models[0])
    assert recordings(models[0]) == [first]
    for _ in range(3):
        step(models[2])  # another training begins, and the others are over
    assert first.recording is None and second.recording is None and recordings(models[2])[0].recording is not None
    for _ in range(3):
        step(models[0])
    assert recordings(models[0])[0].recording is not None


def test_recordings_share_a_limit(monkeypatch):
    model, other = (chain(Conv2D(8, 3), Flatten(), Dense(2)) for _ in range(2))
    for each in (model, other):
        each.compile(minitl.optimizers.SGD(1e-4), "mse")

    def step(model):
        model.train_on_batch(np.ones((64, 9, 8, 16), np.float32), np.ones((64, 2), np.float32))

    for _ in range(3):
        step(model)
    (kept,) = recordings(model)
    size = kept.recording.size
    monkeypatch.setattr(memory, "SHELF_LIMIT", size + size // 2)
    for _ in range(2):
        step(model)
        step(other)
    assert kept.recording is None and recordings(other)[0].recording is not None  # the one that was used last stays
    monkeypatch.setattr(memory, "SHELF_LIMIT", size // 2)
    model._plans.clear()
    for _ in range(4):
        step(model)
    assert not recordings(model)


def test_only_what_is_too_much_is_dropped(monkeypatch):
    models = [chain(Conv2D(8, 3), Flatten(), Dense(2)) for _ in range(4)]
    for model in models:
        model.compile(minitl.optimizers.SGD(1e-4), "mse")

    def step(model):
        model.train_on_batch(np.ones((64, 9, 8, 16), np.float32), np.ones((64, 2), np.float32))

    for _ in range(3):
        for model in models[:3]:
            step(model)
    kept = [recordings(model)[0] for model in models[:3]]
    monkeypatch.setattr(memory, "SHELF_LIMIT", int(3.5 * max(one.recording.size for one in kept)))
    for model in (models[3], *models[:3], models[3]):  # in turn, so that none is over
        step(model)
    assert [one.recording is None for one in kept] == [True, False, False] and recordings(models[3])[0].recording is not None


def test_what_another_thread_plays_is_not_dropped():
    model, _ = small()
    (step,) = recordings(model)
    plays, goes_on = threading.Event(), threading.Event()

    def play():
        with step.lock:
            plays.set()
            goes_on.wait(10)

    thread = threading.Thread(target=play)
    thread.start()
    plays.wait()
    begun = time.monotonic()
    step.drop()
    assert time.monotonic() - begun < 5 and step.recording is not None
    goes_on.set()
    thread.join()
    step.drop()
    assert step.recording is None


def test_inputs_that_have_to_be_converted_are_tried_once(monkeypatch):
    model, x = chain(Conv2D(8, 3)), np.ones((2, 9, 8, 16), np.float32)
    model.layers[0].parameters["kernel"] = np.asfortranarray(model.layers[0].parameters["kernel"])
    asked = []
    original = training_replay.may_be_recorded
    monkeypatch.setattr(training_replay, "may_be_recorded", lambda *given: asked.append(1) or original(*given))
    for _ in range(5):
        run, (y,) = started(model, x)
        run.backward([np.ones_like(y)])
    assert asked == [1] and run.recorded is None


def test_models_inside_models(monkeypatch):
    def build():
        inner = Sequential([Input((9, 8, 16)), Conv2D(8, 3), BatchNormalization(), ReLU()])
        inputs = Input((9, 8, 16))
        return Model(inputs, Dense(3)(GlobalAveragePooling2D()(Add()([inner(inputs), inner(inputs)]))))

    with monkeypatch.context() as patch:
        without_replays(patch)
        _, expected = trained(build)
    model, found = trained(build)
    same(found, expected)
    assert recordings(model.layers[1])


def test_parts_of_a_batch(monkeypatch):
    def fitted():
        minitl.set_random_seed(0)
        model = chain(Conv2D(8, 3), BatchNormalization(), ReLU(), Flatten(), Dense(2))
        model.compile("adam", "mse")
        generator = np.random.default_rng(0)
        x, y = drawn(model, generator, 24), generator.normal(size=(24, 2)).astype(np.float32)
        model.fit(x, y, batch_size=8, epochs=3, verbose=0, accumulate=2)
        return model.get_weights()

    with monkeypatch.context() as patch:
        without_replays(patch)
        expected = fitted()
    same(fitted(), expected)


def test_two_threads_train_one_model_without_harm():
    model, generator = small()
    x, dy = drawn(model, generator, 3), generator.normal(size=(3, 7, 6, 16)).astype(np.float32)
    expected, wrong = by_steps(model, x, dy), []

    def go():
        for _ in range(200):
            run, (y,) = started(model, x)
            found = given(run, y, *run.backward([dy]))
            if not all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)):
                wrong.append(1)

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_memory_goes_with_the_model():
    model, _ = small()
    (step,) = recordings(model)
    gone = weakref.ref(step)
    del model, step
    gc.collect()
    assert gone() is None
