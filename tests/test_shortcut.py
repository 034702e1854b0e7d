"""The shortcut to a recorded pass: taken only as long as nothing has changed, and then to the bit what the ordinary way gives."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import resnet20
from test_replay import block, chain, change_weights, drawn, listed, recorded, same, walked

import minitl
from minitl import channels
from minitl.graph import changes, replay
from minitl.kernels import pool as pools
from minitl.kernels.launch import INTERPRETED
from minitl.layers import Add, BatchNormalization, Conv2D, Dense, Flatten, Input, Layer, ReLU
from minitl.models import Model, Sequential

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is recorded in plain Python")


@pytest.fixture
def network():
    """A small network that has a shortcut, an input for it, and the output."""
    model = chain(*block(32, 3), Flatten(), Dense(3))
    change_weights(model, np.random.default_rng(1))
    x = drawn(model, np.random.default_rng(0))
    recorded(model, x)
    return model, x, model.predict_on_batch(x)


def straight(model, x):
    """The output by the shortcut, which must be there."""
    y = model.shortcut.output(model, x)
    assert y is not None
    return y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_taken_for_arrays_like_the_last_one(dtype, monkeypatch):
    model, generator = resnet20().astype(dtype), np.random.default_rng(0)
    recorded(model, drawn(model, generator))
    ways = [model.predict_on_batch, lambda x: model(x, training=False), lambda x: model.predict(x, verbose=0)]
    for way in ways:
        change_weights(model, generator)
        x = drawn(model, generator)
        expected = walked(model, x)
        with monkeypatch.context() as patch:
            patch.setattr(Model, "new_run", lambda *_, **__: pytest.fail("the ordinary way was taken"))
            y = way(x)
        same([y], expected)
        assert y.base.flags.owndata or way is ways[2]
        x[:] = 0
        same([y], expected)


CHANGES = {
    "a setting": lambda model: setattr(model.layers[0], "padding", "valid" if model.layers[0].padding == "same" else "same"),
    "any attribute": lambda model: setattr(model.layers[0], "note", 1),
    "of another layer": lambda model: setattr(Dense(1), "note", 1),
    "a weight": lambda model: model.layers[0].parameters.update(kernel=model.layers[0].parameters["kernel"] * 2),
    "a state": lambda model: model.layers[1].state.update(moving_mean=model.layers[1].state["moving_mean"] + 1),
    "all weights": lambda model: setattr(model.layers[0], "parameters", copy.deepcopy(model.layers[0].parameters)),
    "one weight more": lambda model: model.layers[1].state.update(more=np.zeros(1, np.float32)),
    "fuse": lambda model: setattr(model, "fuse", False),
    "fold": lambda model: setattr(model, "fold", False),
    "frozen": lambda model: setattr(model, "trainable", False),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_the_ordinary_way_is_taken_once(change):
    model, generator = chain(*block(32, 3), shape=(6, 6, 16)), np.random.default_rng(0)
    change_weights(model, generator)
    x = drawn(model, generator)
    recorded(model, x)
    straight(model, x)
    CHANGES[change](model)
    assert model.shortcut.output(model, x) is None
    for _ in range(4):
        same([model.predict_on_batch(x)], walked(model, x))
    if change not in ("fuse", "fold"):
        straight(model, x)


def test_switches_that_are_no_layers(network, monkeypatch):
    model, x, y = network
    with minitl.use_backend("numpy"):
        assert model.shortcut.output(model, x) is None
    same([straight(model, x)], [y])
    channels.set_first(True)
    try:
        assert model.shortcut.output(model, x) is None
    finally:
        channels.set_first(False)
    same([straight(model, x)], [y])
    for switch in ("fuse", "fold"):
        switched = type("Switched", (Sequential,), {switch: property(lambda _: False, lambda *_: None)})
        monkeypatch.setattr(model, "__class__", switched)
        model.shortcut.way = model.shortcut.way._replace(token=changes.latest)
        assert model.shortcut.output(model, x) is None
        monkeypatch.undo()


def test_weights_that_are_changed_in_place(network):
    model, x, y = network
    change_weights(model, np.random.default_rng(2))
    after = straight(model, x)
    same([after], walked(model, x))
    assert not np.array_equal(after, y)


OTHERS = {
    "list": lambda x: x.tolist(),
    "dtype": lambda x: x.astype("float64"),
    "bytes": lambda x: (255 * abs(x)).astype("uint8"),
    "byte order": lambda x: x.astype(">f4"),
    "batch": lambda x: np.concatenate([x, x]),
    "shape": lambda x: x.reshape(2, 8, 9, 16),
    "not contiguous": lambda x: np.asfortranarray(x),
    "every second": lambda x: np.repeat(x, 2, axis=3)[..., ::2],
    "subclass": lambda x: x.view(type("Own", (np.ndarray,), {})),
    "masked": np.ma.masked_less_equal,
    "infinite": lambda x: np.where(x == x.max(), np.inf, x),
    "not a number": lambda x: np.where(x == x.max(), np.nan, x),
}  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_what_it_does_not_take(network, other):
    model, x, _ = network
    given = np.ma.masked_less(x, 0) if other == "masked" else OTHERS[other](x)
    assert model.shortcut.output(model, given) is None
    fresh = pickle.loads(pickle.dumps(model))
    outcomes = []
    for one in (model, fresh):
        try:
            outcomes.append(one.predict_on_batch(given))
        except (TypeError, ValueError) as error:
            outcomes.append((type(error), str(error)))
    first, second = outcomes
    assert first == second if isinstance(first, tuple) else np.array_equal(first, second)
    same([model.predict_on_batch(x)], walked(model, x))


def test_an_input_that_may_not_be_written_and_one_that_does_not_begin_with_a_word(network):
    model, x, y = network
    x.flags.writeable = False
    same([straight(model, x)], [y])
    unaligned = np.ndarray(x.shape, x.dtype, np.zeros(x.nbytes + 1, np.uint8), 1)
    unaligned[...] = x
    assert model.shortcut.output(model, unaligned) is None
    same([model.predict_on_batch(unaligned)], [y])


def test_what_is_not_finite_is_given_by_a_call_and_refused_by_predict(network):
    model, x, _ = network
    for number in (np.nan, np.inf, -np.inf):
        x[0, 0, 0, 0] = number
        same(listed(model(x, training=False)), walked(model, x))
        with pytest.raises(ValueError, match="not finite"):
            model.predict_on_batch(x)


def test_a_change_while_the_ordinary_way_is_taken(network, monkeypatch):
    """Whatever is set after the plan was looked for is noticed at the next pass."""
    model, x, _ = network
    outputs = replay.Replays.outputs

    def changed_meanwhile(replays, run, arrays):
        result = outputs(replays, run, arrays)
        model.layers[1].epsilon = 0.5
        return result

    model.shortcut.way = None
    monkeypatch.setattr(replay.Replays, "outputs", changed_meanwhile)
    before = model.predict_on_batch(x)
    monkeypatch.undo()
    after = model.predict_on_batch(x)
    same([after], walked(model, x))
    assert not np.array_equal(before, after)


def test_networks_without_one():
    inputs, other = Input((6, 6, 16)), Input((6, 6, 16))
    several = Model([inputs, other], Add()([Conv2D(16, 3, padding="same")(inputs), other]))
    both = Model(inputs, [Conv2D(16, 3)(inputs), Conv2D(4, 1)(inputs)])
    copied = Model(inputs, ReLU()(BatchNormalization()(inputs)))

    class Own(Layer):
        def call(self, x):
            return 2 * x

    generator = np.random.default_rng(0)
    for model in (several, both, Sequential([Input((6, 6, 16)), Conv2D(16, 3), Own()])):
        x = drawn(model, generator)
        for _ in range(4):
            same(listed(model.predict_on_batch(x)), walked(model, x))
        assert model.shortcut.way is None
    x = drawn(copied, generator)
    for _ in range(4):
        same([copied.predict_on_batch(x)], walked(copied, x))


def test_a_pass_that_goes_on_in_training_is_another_one():
    model = chain(Conv2D(16, 3), BatchNormalization(), shape=(6, 6, 16))
    x = drawn(model, np.random.default_rng(0))
    recorded(model, x)
    straight(model, x)
    change_weights(model, np.random.default_rng(1))
    assert not np.array_equal(model(x, training=True), model(x, training=False))


def test_copies_have_none(network):
    model, x, y = network
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.shortcut.way is None and twin.shortcut is not model.shortcut
        change_weights(twin, np.random.default_rng(3))
        recorded(twin, x)
        same([straight(twin, x)], walked(twin, x))
    same([model.predict_on_batch(x)], [y])


def test_a_network_that_gets_another_layer(network):
    model, x, y = network
    model.add(Dense(2))
    for _ in range(4):
        after = model.predict_on_batch(x)
        assert after.shape == (2, 2)
        same([after], walked(model, x))
    model.pop()
    same([model.predict_on_batch(x)], [y])


def test_threads_that_predict_while_layers_are_changed(network):
    model, x, _ = network
    expected = {}
    for epsilon in (1e-3, 0.5):
        model.layers[1].epsilon = epsilon
        expected[epsilon] = walked(model, x)[0]
    over = threading.Event()

    def change():
        for k in range(300):
            model.layers[1].epsilon = (1e-3, 0.5)[k % 2]
        over.set()

    def predict():
        while not over.is_set():
            y = model.predict_on_batch(x)
            assert any(np.array_equal(y, one) for one in expected.values())

    with ThreadPoolExecutor(4) as threads:
        for done in [*(threads.submit(predict) for _ in range(3)), threads.submit(change)]:
            done.result()
    for _ in range(3):
        same([model.predict_on_batch(x)], [expected[0.5]])


def test_it_waits_for_nobody(network):
    model, x, y = network
    with model.shortcut.way.lock:
        assert model.shortcut.output(model, x) is None
        same([model.predict_on_batch(x)], [y])
    same([straight(model, x)], [y])
    with pools.pool.lock:  # the threads are another launch's: this one alone
        same([straight(model, x)], [y])
    assert not pools.pool.lock.locked() and not model.shortcut.way.lock.locked()


def test_what_fails_on_the_way_leaves_no_lock(network, monkeypatch):
    model, x, y = network

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(model.shortcut.way.recording), "play_for", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.predict_on_batch(x)
    monkeypatch.undo()
    same([straight(model, x)], [y])
