"""Passes that are run again launch by launch: to the bit what the steps give, whatever has changed meanwhile."""

import copy
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import mobilenet_v2, random_graph, resnet20

import minitl
from minitl.activations import NAMED
from minitl.graph import replay
from minitl.graph.run import Run
from minitl.kernels import add
from minitl.kernels import pool as pools
from minitl.kernels.launch import INTERPRETED
from minitl.kernels.processor import NEAR, THREADS
from minitl.kernels.recording import Recording
from minitl.layers import (
    Activation,
    Add,
    AlphaDropout,
    AveragePooling2D,
    BatchNormalization,
    ChannelPadding,
    Concatenate,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GaussianDropout,
    GaussianNoise,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Input,
    MaxPooling2D,
    Multiply,
    Normalization,
    RandomContrast,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
    ReLU,
    Rescaling,
    Reshape,
    SeparableConv2D,
    Softmax,
    SpatialDropout1D,
    SpatialDropout2D,
    ZeroPadding2D,
)
from minitl.models import Model, Sequential

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is recorded in plain Python")


def chain(*layers, shape=(9, 8, 16)):
    return Sequential([Input(shape), *layers])


def block(filters, kernel, strides=1, padding="same", ceiling=None, bias=True):
    """A convolution with all that inference folds into it."""
    convolution = Conv2D(filters, kernel, strides, padding, use_bias=bias, bias_initializer="normal")
    return convolution, BatchNormalization(), ReLU(ceiling) if ceiling else ReLU()


def with_skip(relu):
    inputs = Input((8, 8, 32))
    total = Add()([BatchNormalization()(Conv2D(32, 3, padding="same")(inputs)), inputs])
    return Model(inputs, ReLU()(total) if relu else total)


def normalised_with_skip():
    inputs = Input((8, 8, 12))
    return Model(inputs, ReLU()(Add()([BatchNormalization()(MaxPooling2D(3, 1, "same")(inputs)), inputs])))


def side_by_side():
    inputs = Input((9, 9, 16))
    parts = [Conv2D(16, k, padding="same", activation="relu")(inputs) for k in (1, 3, 2)]
    return Model(inputs, GlobalAveragePooling2D()(Concatenate()([*parts, inputs])))


def concatenated(axis):
    inputs = Input((5, 6, 8))
    return Model(inputs, Flatten()(Concatenate(axis)([Conv2D(8, 3, padding="same")(inputs), inputs, MaxPooling2D(1)(inputs)])))


def squeeze_and_excitation():
    inputs = Input((6, 5, 16))
    gate = Dense(16, activation="sigmoid")(Reshape((1, 1, 16))(GlobalAveragePooling2D()(inputs)))
    return Model(inputs, Multiply()([inputs, gate, Conv2D(16, 1)(inputs)]))


def two_inputs():
    inputs = [Input((6, 6, 8)), Input((6, 6, 8))]
    total = Add()(inputs)
    return Model(inputs, [total, Dense(3, activation="softmax")(Flatten()(total))])


NETWORKS = {
    "ResNet": lambda: resnet20(),
    "MobileNetV2": lambda: mobilenet_v2(),
    "1x1": lambda: chain(*block(40, 1)),
    "1x1, of some pixels": lambda: chain(*block(32, 1, 2)),
    "1x1, ReLU6": lambda: chain(*block(40, 1, ceiling=6)),
    "Winograd": lambda: chain(*block(32, 3)),
    "Winograd, large tiles": lambda: chain(*block(128, 3), shape=(16, 16, 128)),
    "Winograd, 5x5": lambda: chain(*block(32, 5, bias=False)),
    "Winograd, channels that fill no vector": lambda: chain(*block(32, 3, padding="valid"), shape=(18, 18, 24)),
    "definition": lambda: chain(*block(20, 3, 2), shape=(9, 9, 5)),
    "definition, ReLU6": lambda: chain(*block(20, 3, ceiling=6), shape=(9, 9, 5)),
    "convolution, ReLU and pooling": lambda: chain(Conv2D(32, 3, activation="relu"), MaxPooling2D()),
    "folded, with pooling": lambda: chain(*block(32, 3), MaxPooling2D()),
    "folded, with pooling, by the definition": lambda: chain(*block(7, 2), MaxPooling2D()),
    "depthwise": lambda: chain(DepthwiseConv2D(3, padding="same"), BatchNormalization(), ReLU(6.0)),
    "depthwise, several per channel": lambda: chain(DepthwiseConv2D(3, 2, depth_multiplier=3), BatchNormalization()),
    "zeros in front": lambda: chain(
        *(Conv2D(16, 1, activation="relu"), ZeroPadding2D(1), MaxPooling2D(3, 2), ZeroPadding2D(((0, 1), (1, 0)))),
        *(DepthwiseConv2D(3), BatchNormalization(), ReLU(6.0), Conv2D(24, 1, 2), BatchNormalization(), Conv2D(8, 1, 2)),
        shape=(20, 20, 8),
    ),
    "zeros and a depthwise convolution, by themselves": lambda: chain(
        *(ZeroPadding2D(((0, 1), (2, 0))), DepthwiseConv2D(3, 2), ReLU()), shape=(9, 10, 16)
    ),
    "depthwise and 1x1": lambda: chain(
        *(Conv2D(16, 1), DepthwiseConv2D(3, padding="same"), BatchNormalization()),
        *(Conv2D(24, 1), BatchNormalization(), ReLU(6.0)),
        shape=(20, 20, 8),
    ),
    "depthwise, by itself": lambda: chain(DepthwiseConv2D(3, dilation_rate=2, activation="tanh")),
    "skip": lambda: with_skip(False),
    "skip and ReLU": lambda: with_skip(True),
    "side by side": side_by_side,
    "two inputs, two outputs": two_inputs,
    "concatenated": lambda: concatenated(-1),
    "concatenated, rows": lambda: concatenated(1),
    "separable": lambda: chain(SeparableConv2D(24, 3, padding="same", activation="relu"), SeparableConv2D(7, 2)),
    "squeeze and excitation": squeeze_and_excitation,
    "prepared inside": lambda: chain(
        *(Rescaling([0.5, 2.0, 3.0], 1.0), Normalization(mean=[0.1, 0.2, 0.3], variance=2.0), Rescaling(0.1), Reshape((3, 64))),
        *(Normalization(mean=0.1, variance=0.5, invert=True), Reshape((2, 8, 12), channels_first=True)),
        shape=(8, 8, 3),
    ),
    "random while training": lambda: chain(
        *(RandomFlip(), RandomRotation(0.1), RandomZoom(0.1), RandomTranslation(0.1, 0.1), RandomContrast(0.1), Dense(6)),
        *(GaussianNoise(0.1), GaussianDropout(0.1), SpatialDropout2D(0.1), AlphaDropout(0.1), Reshape((-1, 6))),
        SpatialDropout1D(0.1),
    ),
    "other activations": lambda: chain(
        *(Activation("gelu"), Conv2D(7, 2, activation="silu"), ReLU(5.0, 0.1, 0.2), Dense(5, activation="relu6")),
        *(Activation("leaky_relu"), Dense(4, activation="leaky_relu")),
    ),
    "every activation": lambda: chain(
        *(layer for name in NAMED for layer in (Dense(5, activation=name), BatchNormalization(), Activation(name))
          if name != "exponential"), shape=(5,),
    ),
    "normalisation": lambda: chain(
        BatchNormalization(scale=False), Conv2D(8, 3, activation="relu"), BatchNormalization(center=False)
    ),
    "normalisation and ReLU": lambda: chain(
        BatchNormalization(), ReLU(), Conv2D(20, 3), ReLU(), BatchNormalization(), ReLU(1.0)
    ),
    "normalisation and GELU": lambda: chain(MaxPooling2D(), BatchNormalization(), Activation("gelu"), Flatten()),
    "normalisation and skip": normalised_with_skip,
    "normalisation of many channels": lambda: chain(BatchNormalization(), ReLU(), shape=(2, 2, 600)),
    "pooling": lambda: chain(MaxPooling2D(3, 2, "same"), AveragePooling2D(2, 1), GlobalMaxPooling2D()),
    "average of all": lambda: chain(GlobalAveragePooling2D(keepdims=True), Flatten(), Softmax()),
    "padding": lambda: chain(ZeroPadding2D(((1, 0), (0, 2))), ChannelPadding((2, 3)), ReLU(), Activation("relu"), Dropout(0.5)),
    "perceptron": lambda: chain(Dense(40, activation="relu"), Dense(7, activation="sigmoid"), shape=(13,)),
    "dense with softmax": lambda: chain(Flatten(), Dense(10), Activation("tanh"), Dense(200, activation="softmax")),
}  # fmt: skip


def plan_of(model):
    return model.new_run().plan


def walked(model, x):
    """The outputs without a recording."""
    plan = plan_of(model)
    replays, plan.replays = plan.replays, None
    way, model.shortcut.way = model.shortcut.way, None
    try:
        return listed(model(x, training=False))
    finally:
        plan.replays, model.shortcut.way = replays, way


def played(model, x, monkeypatch):
    """The outputs of a recording, which must be there; by the shortcut, if there is one, they are the same."""
    with monkeypatch.context() as patch:
        patch.setattr(Run, "walk", lambda *_: pytest.fail("the pass was not played"))
        outputs = listed(model(x, training=False))
        same(outputs, model.new_run().forward(model.prepare(x)))
    return outputs


def listed(outputs):
    return outputs if isinstance(outputs, list) else [outputs]


def drawn(model, generator, batch=2):
    x = [generator.normal(size=(batch, *value.shape[1:])).astype(model.dtype) for value in model.inputs]
    return x if len(x) > 1 else x[0]


def change_weights(model, generator):
    for array in model.weights:
        array[...] *= generator.uniform(0.5, 1.5, array.shape).astype(array.dtype)
        array[...] += 0.01  # what begins as zeros


def recorded(model, x):
    for _ in range(2):
        model(x, training=False)
    return model


def same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_other_inputs_and_other_weights(name, dtype, monkeypatch):
    generator, model = np.random.default_rng(0), NETWORKS[name]().astype(dtype)
    change_weights(model, generator)
    x = drawn(model, generator)
    first = walked(model, x)
    recorded(model, x)
    same(played(model, x, monkeypatch), first)
    for _ in range(2):
        x = drawn(model, generator)
        change_weights(model, generator)
        outputs = played(model, x, monkeypatch)
        same(outputs, walked(model, x))
        assert not any(np.array_equal(a, b) for a, b in zip(outputs, first, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_large_batch_goes_through_in_parts(name, monkeypatch):
    generator, model = np.random.default_rng(0), NETWORKS[name]()
    change_weights(model, generator)
    x = drawn(model, generator, 10)
    replays = plan_of(model).replays
    replays.at_once = 3
    recorded(model, x)
    for _ in range(2):
        same(played(model, x, monkeypatch), walked(model, x))  # the second is the whole batch at once
        change_weights(model, generator)
        x = drawn(model, generator, 10)
    assert [shapes[0][0][0] for shapes in replays.known] == [2, 3]
    direct = all(one.rows is not None for one in replays.known.values())
    assert len(model.shortcut.way.parts) == 4 if direct else model.shortcut.way is None
    for batch in (3, 4, 1):  # parts of known sizes and of others
        x = drawn(model, generator, batch)
        same(listed(model(x, training=False)), walked(model, x))


def test_what_is_not_finite_in_the_last_part_is_refused():
    model, generator = chain(Conv2D(8, 3), Flatten()), np.random.default_rng(0)
    plan_of(model).replays.at_once = 2
    x = drawn(model, generator, 6)
    assert len(recorded(recorded(model, x), x).shortcut.way.parts) == 3
    x[5] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        model.predict_on_batch(x)
    same([model(x, training=False)], walked(model, x))


def test_parts_are_as_large_as_stays_in_the_caches():
    model = chain(Conv2D(8, 3, padding="same"), DepthwiseConv2D(3), Flatten(), shape=(10, 10, 4))
    steps = plan_of(model).steps
    largest = 4 * (10 * 10 * 8 + 8 * 8 * 8)  # bytes of the depthwise step's input and output
    assert [replay.samples_at_once(steps, near) for near in (largest - 1, 2 * largest - 1, 2 * largest)] == [1, 1, 2]
    assert replay.samples_at_once(plan_of(chain(Conv2D(8, 3), shape=(None, 10, 4))).steps, largest) is None
    numbers = 100 + 3
    heavy = chain(Dense(3), shape=(100,))  # its weights are 303 numbers, a sample 103
    assert replay.samples_at_once(plan_of(heavy).steps, 4 * numbers * 8) is None  # 8 of them are fewer than three times 303
    assert replay.samples_at_once(plan_of(heavy).steps, 4 * numbers * 9) == 9
    assert plan_of(model).replays.at_once == NEAR // largest
    inputs = Input((3,))
    nothing, x = Model(inputs, inputs), np.ones((5, 3), np.float32)
    assert replay.samples_at_once(plan_of(nothing).steps, NEAR) == NEAR
    same([nothing(x, training=False) for _ in range(3)], [x] * 3)


def test_what_is_covered_is_what_may_be_recorded():
    built = [build() for build in NETWORKS.values()]
    alone = {type(step.layers[0]) for model in built for step in plan_of(model).steps if len(step.layers) == 1}
    assert alone >= replay.ALONE - {Conv2D, Add}  # which are among those that run together too
    assert {type(step).__name__ for model in built for step in plan_of(model).steps} >= {"Folded", "Fused", "Joined"}


@pytest.mark.parametrize("seed", range(60))
def test_generated_graphs(seed):
    model, generator = random_graph(seed), np.random.default_rng(seed)
    for _ in range(4):
        x = drawn(model, generator)
        same(listed(model.predict_on_batch(x)), walked(model, x))
        change_weights(model, generator)


def test_layers_that_compute_otherwise_are_not_recorded():
    inputs = Input((4, 4, 3))
    for layer in (
        *(Conv2D(4, 3, dilation_rate=2, padding="same"), Conv2D(6, 1, groups=3), Activation("exponential")),
        *(BatchNormalization(), Dropout(0.5)),
    ):
        output = layer(inputs, training=True) if isinstance(layer, (BatchNormalization, Dropout)) else layer(inputs)
        assert plan_of(Model(inputs, output)).replays is None
    stretched = Model([inputs, row := Input((1, 4, 3))], Add()([inputs, row]))
    opened = Model([a := Input((None, None, 3)), b := Input((None, None, 3))], Add()([a, b]))
    assert plan_of(stretched).replays is None and plan_of(opened).replays is None
    plain = Model(inputs, Conv2D(4, 3)(inputs))
    assert plan_of(plain).replays is not None
    plain.fuse = False
    assert plan_of(plain).replays is None
    with minitl.use_backend("numpy"):
        assert plan_of(plain).replays is None


def test_weights_that_are_other_arrays(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    model = chain(*block(32, 3), Flatten(), Dense(3, activation="softmax"))
    x = drawn(model, generator)
    recorded(model, x)
    convolution = model.layers[0]
    convolution.parameters["kernel"] = generator.normal(size=(3, 3, 16, 32)).astype(np.float32)
    same(listed(model(x, training=False)), walked(model, x))
    same(played(model, x, monkeypatch), walked(model, x))
    model.save_weights(tmp_path / "weights.npz")
    change_weights(model, generator)
    before = played(model, x, monkeypatch)
    model.load_weights(tmp_path / "weights.npz")
    after = listed(model(x, training=False))
    same(after, walked(model, x))
    assert not np.array_equal(before[0], after[0])
    convolution.parameters["kernel"] = np.asfortranarray(convolution.parameters["kernel"])  # which is copied at every pass
    for _ in range(3):
        change_weights(model, generator)
        same(listed(model(x, training=False)), walked(model, x))


@pytest.mark.parametrize("layer", [0, 1])
def test_layers_of_another_dtype(layer):
    model, generator = chain(Conv2D(16, 3), Activation("tanh")), np.random.default_rng(0)
    model.layers[layer].astype("float64")
    for _ in range(4):
        x = drawn(model, generator)
        change_weights(model, generator)
        same([model(x, training=False)], walked(model, x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", [lambda: DepthwiseConv2D(3), lambda: Conv2D(20, 3, 2), lambda: Conv2D(8, 1)])
def test_a_normalisation_of_another_dtype_is_folded(layer, dtype):
    other = {"float32": "float64", "float64": "float32"}[dtype]
    model, generator = chain(layer(), BatchNormalization(), ReLU(), shape=(6, 6, 8)).astype(dtype), np.random.default_rng(0)
    model.layers[1].astype(other)
    for _ in range(3):
        x = drawn(model, generator)
        change_weights(model, generator)
        y = model(x, training=False)
        model.fuse = False
        np.testing.assert_allclose(y, model(x, training=False), rtol=0, atol=1e-5)
        model.fuse = True


def test_inputs_of_different_batches():
    model, generator = two_inputs(), np.random.default_rng(0)
    for _ in range(4):
        x = [generator.normal(size=(batch, 6, 6, 8)).astype(np.float32) for batch in (1, 3)]
        same(model(x, training=False), walked(model, x))


def test_a_setting_that_changes():
    generator = np.random.default_rng(0)
    model = chain(*block(20, 3), MaxPooling2D(3, 2), ZeroPadding2D(1), Dense(4, activation="relu"), shape=(None, None, 16))
    x = generator.normal(size=(2, 11, 12, 16)).astype(np.float32)
    changes = [
        lambda: setattr(model.layers[0], "padding", "valid"),
        lambda: setattr(model.layers[0], "strides", (2, 1)),
        lambda: setattr(model.layers[1], "epsilon", 1.0),
        lambda: setattr(model.layers[3], "pool_size", (2, 2)),
        lambda: setattr(model.layers[4], "border", ((0, 2), (1, 0))),
        lambda: setattr(model.layers[5], "activation", "tanh"),
    ]
    before = recorded(model, x)(x, training=False)
    for change in changes:
        change()
        for _ in range(3):
            after = model(x, training=False)
            same([after], walked(model, x))
        assert before.shape != after.shape or not np.array_equal(before, after)
        before = after


def test_training_between_two_predictions(monkeypatch):
    model = resnet20()
    x = drawn(model, np.random.default_rng(0), 4)
    model.compile("adam", "categorical_crossentropy")
    y = np.eye(10)[np.arange(4)]
    recorded(model, x)
    before = played(model, x, monkeypatch)
    model.fit(x, y, epochs=2, verbose=0)
    after = played(model, x, monkeypatch)
    same(after, walked(model, x))
    assert not np.array_equal(before[0], after[0])


def test_outputs_belong_to_the_caller_and_inputs_stay(monkeypatch):
    model, generator = chain(Conv2D(32, 3, padding="same"), ReLU()), np.random.default_rng(0)
    x = drawn(model, generator)
    first = recorded(model, x)(x, training=False)
    kept, x_kept = first.copy(), x.copy()
    other = np.flip(drawn(model, generator), 0)  # not contiguous
    second = played(model, other, monkeypatch)
    same(second, walked(model, np.ascontiguousarray(other)))
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(x, x_kept)


def test_only_a_few_and_small_passes_are_kept(monkeypatch):
    model, generator = chain(Dense(8, activation="relu"), shape=(5,)), np.random.default_rng(0)
    for batch in range(1, 20):
        recorded(model, drawn(model, generator, batch))
    known = plan_of(model).replays.known
    assert len(known) == replay.MANY and {shapes[0][0][0] for shapes in known} == {16, 17, 18, 19}
    recorded(model, drawn(model, generator, 16))  # has other weights, and becomes the latest
    model.layers[0].parameters["kernel"] = model.layers[0].parameters["kernel"].copy()
    model(drawn(model, generator, 16), training=False)
    recorded(model, drawn(model, generator, 20))
    assert {shapes[0][0][0] for shapes in plan_of(model).replays.known} == {16, 18, 19, 20}
    assert replay.LARGEST == 64 << 20
    monkeypatch.setattr(replay, "LARGEST", 3 << 19)
    model, walks = chain(Conv2D(16, 3), shape=(64, 64, 16)), []
    walk = Run.walk
    monkeypatch.setattr(Run, "walk", lambda run, *given: walks.append(1) or walk(run, *given))
    for _ in range(5):
        recorded(model, drawn(model, generator, 8))  # 2 MiB come out
    assert len(walks) == 10 and list(plan_of(model).replays.known.values()) == [None]
    for batch in (1, 2, 3, 4, 1):
        recorded(model, drawn(model, generator, batch))
    kept = [one.recording.size for one in plan_of(model).replays.known.values() if isinstance(one, replay.Recorded)]
    assert 1 <= len(kept) < 4 and sum(kept) <= 3 << 19


@pytest.mark.parametrize("name", NETWORKS)
def test_a_single_sample(name, monkeypatch):
    generator, model = np.random.default_rng(0), NETWORKS[name]()
    change_weights(model, generator)
    recorded(model, drawn(model, generator, 1))
    x = drawn(model, generator, 1)
    same(played(model, x, monkeypatch), walked(model, x))


def test_launches_may_read_an_input_from_the_middle_on():
    recording, first, second = Recording(), np.arange(6, dtype=np.float32), np.arange(10, 16, dtype=np.float32)
    with recording:
        x = recording.empty((6,), np.dtype(np.float32))
        y = add.forward(x[1:4], x[3:])[0]
    places = recording.places_of(x)
    for given in (first, second):
        recording.point(places, given)
        recording.play()
        np.testing.assert_array_equal(y, given[1:4] + given[3:])


def test_sums_of_stretched_or_open_shapes_are_not_recorded():
    inputs, open_axis = Input((6, 6, 8)), Input((None, 8))
    stretched = Add()([inputs, GlobalAveragePooling2D(keepdims=True)(inputs)])
    for model in (Model(inputs, stretched), Model(open_axis, Add()([open_axis, Dense(8)(open_axis)]))):
        assert plan_of(model).replays is None
    assert plan_of(Model(inputs, Add()([inputs, Dense(8)(inputs)]))).replays is not None


def test_the_threads_are_woken_while_it_is_made_sure_that_a_pass_may_be_played(monkeypatch):
    model, generator = chain(Conv2D(8, 3), shape=(6, 6, 3)), np.random.default_rng(0)
    recorded(model, drawn(model, generator))
    calls = []
    monkeypatch.setattr(pools.Pool, "rouse", lambda pool: calls.append("woken"))
    monkeypatch.setattr(replay.Recorded, "is_current", lambda one: calls.append("current") or True)
    monkeypatch.setattr(replay.Recorded, "play", lambda one, arrays: calls.append("played") or [])
    model.new_run().forward([drawn(model, generator)])
    assert calls == ["woken", "current", "played"]


def test_inputs_are_read_where_they_are(monkeypatch):
    model, generator = chain(Conv2D(8, 3, activation="relu"), shape=(64, 64, 8)), np.random.default_rng(0)
    x = drawn(model, generator, 4)
    recorded(model, x)
    one = next(iter(plan_of(model).replays.known.values()))
    assert one.inputs == [None] and one.places[0] and one.recording.size < 1.2 * x.nbytes  # what comes out, and nothing for x
    wide = generator.normal(size=(4, 64, 64, 16)).astype("float32")
    bytes_of = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = np.ndarray(x.shape, x.dtype, bytes_of, 1)
    unaligned[...] = x
    for given in (x + 1, wide[..., ::2], wide[..., 8:], np.asfortranarray(x), unaligned, x[::-1]):
        before = given.copy()
        same(played(model, given, monkeypatch), walked(model, np.ascontiguousarray(before)))
        np.testing.assert_array_equal(given, before)
    held = weakref.ref(given := x + 2)
    model(given, training=False)
    del given
    assert held() is None


@pytest.mark.parametrize("kinds", ["Flatten", "Dropout", "Reshape", "Flatten Reshape"])
def test_outputs_that_look_into_an_input_are_copies(kinds):
    made = {"Flatten": Flatten, "Dropout": lambda: Dropout(0.5), "Reshape": lambda: Reshape((12, 2))}
    model, generator = chain(*(made[kind]() for kind in kinds.split()), shape=(4, 6)), np.random.default_rng(0)
    recorded(model, drawn(model, generator))
    for _ in range(2):
        x = drawn(model, generator)
        (y,) = listed(model(x, training=False))
        same([y.reshape(x.shape)], [x])
        assert not np.may_share_memory(x, y)


@pytest.mark.parametrize("batch", [1, 5])
def test_threads_that_predict_at_once(batch):
    model, generator = resnet20(), np.random.default_rng(0)
    plan_of(model).replays.at_once = 2
    images = [drawn(model, generator, batch) for _ in range(8)]
    expected = [walked(model, x)[0] for x in images]

    def predict(k):
        for _ in range(100 // batch):
            np.testing.assert_array_equal(model(images[k], training=False), expected[k])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(predict, range(8)))
    assert any(isinstance(one, replay.Recorded) for one in plan_of(model).replays.known.values())


def test_a_pass_walks_while_another_thread_plays(monkeypatch):
    model, generator = chain(Conv2D(16, 3)), np.random.default_rng(0)
    x = drawn(model, generator)
    expected = recorded(model, x)(x, training=False)
    with plan_of(model).replays.lock:
        same([model(x, training=False)], [expected])
    same(played(model, x, monkeypatch), [expected])


def test_a_played_pass_starts_the_pool_and_gives_it_back(monkeypatch):
    model, generator = chain(Conv2D(32, 3), Flatten(), Dense(3)), np.random.default_rng(0)
    x = drawn(model, generator, 8)
    expected = recorded(model, x)(x, training=False)
    monkeypatch.setattr(pools, "pool", pools.Pool())
    same(played(model, x, monkeypatch), [expected])
    assert pools.pool.started == (THREADS > 1) and not pools.pool.lock.locked()
    with pools.pool.lock:  # in use: this thread alone
        same(played(model, x, monkeypatch), [expected])
    assert not pools.pool.lock.locked()
    pools.pool.stop()


def test_a_model_inside_another(monkeypatch):
    inner = chain(*block(32, 3), GlobalAveragePooling2D())
    model, generator = Sequential([inner, Dense(3, activation="softmax")]), np.random.default_rng(0)
    for _ in range(4):
        x = drawn(model, generator)
        got = model(x, training=False)
        plan = plan_of(inner)
        replays, plan.replays = plan.replays, None
        same([got], [model(x, training=False)])
        plan.replays = replays
        change_weights(model, generator)
    assert any(isinstance(one, replay.Recorded) for one in replays.known.values())


def test_errors_are_the_same_and_leave_nothing_under_way():
    model, generator = chain(Conv2D(16, 3), MaxPooling2D(), shape=(None, None, 3)), np.random.default_rng(0)
    small = generator.normal(size=(1, 3, 3, 3)).astype(np.float32)
    for _ in range(4):
        with pytest.raises(ValueError, match="does not fit"):
            model(small, training=False)
    x = generator.normal(size=(1, 8, 8, 3)).astype(np.float32)
    for _ in range(4):
        same([model(x, training=False)], walked(model, x))


def test_copies_and_the_end_of_a_model():
    model, generator = chain(*block(32, 3)), np.random.default_rng(0)
    x = drawn(model, generator)
    expected = recorded(model, x)(x, training=False)
    twin = copy.deepcopy(model)
    change_weights(twin, generator)
    np.testing.assert_array_equal(model(x, training=False), expected)
    same([recorded(twin, x)(x, training=False)], walked(twin, x))
    recording = weakref.ref(next(iter(plan_of(model).replays.known.values())).recording)
    del model
    gc.collect()
    assert recording() is None
