"""A model, or a layer of one's own, for every step of a sequence."""

import copy

import numpy as np
import pytest
from rows import small

from minitl import Model, Sequential, callbacks, explain, transfer
from minitl.gradcheck import check_gradients
from minitl.layers import (
    GRU,
    LSTM,
    Add,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    Input,
    IntegerLookup,
    Layer,
    Masking,
    MaxPooling2D,
    TimeDistributed,
)
from minitl.models import clone_model, load_model
from minitl.serialization import encode

FILMS = np.random.default_rng(0).random((6, 3, 8, 8, 2), dtype=np.float32)


def frames() -> Sequential:
    return Sequential(
        [
            Input((8, 8, 2)),
            Conv2D(3, 3, activation="relu"),
            BatchNormalization(),
            MaxPooling2D(),
            Flatten(),
            Dense(4, activation="tanh"),
        ]
    )


def films(network: Sequential) -> Sequential:
    return Sequential([TimeDistributed(network, input_shape=(3, 8, 8, 2)), LSTM(5), Dense(2, activation="softmax")])


class Scale(Layer):
    def build(self, input_shape):
        self.gamma = self.add_weight("gamma", input_shape[-1:], "ones")

    def call(self, x):
        return x * self.gamma


def test_every_step_is_the_model_s_and_gradients_are_right():
    network = frames()
    model = films(network)
    each = np.stack([network.predict(FILMS[:, t]) for t in range(3)], axis=1)
    assert np.array_equal(model.layers[0](FILMS), each)
    assert isinstance(model.layers[0], TimeDistributed) and model.layers[0].layer is network
    assert model.layers[0].name == "time_distributed" and model.layers[0].output_shape == (None, 3, 4)
    assert check_gradients(model, FILMS[:2]).ok


def test_a_step_of_training_is_that_of_the_frames_as_images_of_one_batch():
    model = films(frames())
    copied = copy.deepcopy(model)
    dy = np.random.default_rng(5).random((6, 2), dtype=np.float32)
    y = model.forward(FILMS, True)
    dx = model.backward(dy)
    inside, top = copied.layers[0].layer, Sequential(copied.layers[1:])
    top.build((None, 3, 4))
    found = top.forward(inside.forward(FILMS.reshape(18, 8, 8, 2), True).reshape(6, 3, 4), True)
    back = inside.backward(top.backward(dy).reshape(18, 4))
    assert np.array_equal(found, y) and np.array_equal(back.reshape(FILMS.shape), dx)
    by_hand = [*inside.named_layers(), *top.named_layers()]
    for (_, leaf), (_, other) in zip(model.named_layers(), by_hand, strict=True):
        assert leaf.gradients.keys() == other.gradients.keys() == leaf.parameters.keys()
        assert all(np.array_equal(leaf.gradients[name], other.gradients[name]) for name in leaf.gradients)
    for ours, theirs in zip(model.weights, copied.weights, strict=True):  # moving statistics
        assert np.array_equal(ours, theirs)


def test_it_is_saved_cloned_and_copied(tmp_path):
    model = films(frames())
    model.layers[0].layer.layers[0].trainable = False
    y = model.predict(FILMS)
    model.save(tmp_path / "m.npz")
    loaded = load_model(tmp_path / "m.npz")
    assert np.array_equal(loaded.predict(FILMS), y)
    assert isinstance(loaded.layers[0], TimeDistributed) and not loaded.layers[0].layer.layers[0].trainable
    assert len(loaded.trainable_weights) == len(model.trainable_weights)
    clone = clone_model(model)
    clone.set_weights(model.get_weights())
    assert np.array_equal(clone.predict(FILMS), y) and clone.layers[0].layer is not model.layers[0].layer
    model.save_weights(tmp_path / "w.npz")
    fresh = films(frames())
    fresh.load_weights(tmp_path / "w.npz")
    assert np.array_equal(fresh.predict(FILMS), y)


def test_what_describes_it_holds_its_dtype_and_the_shape_that_was_declared(tmp_path):
    alone = TimeDistributed(frames(), input_shape=(3, 8, 8, 2))
    again = type(alone).from_config(alone.get_config() | {"layer": films(frames()).layers[0].get_config()["layer"]})
    assert alone.get_config()["input_shape"] == (None, 3, 8, 8, 2) == again.input_shape
    model = films(frames()).astype("float64")
    model.save(tmp_path / "m.npz")
    loaded = load_model(tmp_path / "m.npz")
    assert loaded.layers[0].dtype == np.float64 == loaded.predict(FILMS).dtype


def test_a_pretrained_network_is_frozen_and_fine_tuned_in_films():
    network = frames()
    model = films(network)
    transfer.freeze(model, "time_distributed")
    assert not any(layer.trainable for layer in network.layers if layer.weights)
    before = [w.copy() for w in network.weights]
    y = np.array([0, 1, 0, 1, 1, 0])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(FILMS, y, epochs=1, verbose=0)
    assert all(np.array_equal(w, old) for w, old in zip(network.weights, before, strict=True))
    network.trainable = True
    tuned, _ = transfer.fine_tune(model, (FILMS, y), strategy="full", epochs=1, head=1, verbose=0)
    assert any(not np.array_equal(w, old) for w, old in zip(tuned.layers[0].layer.weights, before, strict=True))


def test_sentences_of_a_text_with_padded_words_and_a_backup(tmp_path):
    words = Input((5,), dtype="int32")
    sentence = Model(words, GRU(4)(Embedding(9, 3, mask_zero=True)(words)))
    text = Input((None, 5), dtype="int32")
    model = Model(text, Dense(1)(GlobalAveragePooling1D()(TimeDistributed(sentence, name="sentences")(text))))
    x = np.random.default_rng(1).integers(1, 9, (4, 3, 5))
    longer = np.pad(x, [(0, 0), (0, 0), (0, 2)])[:, :, :5].copy()
    longer[:, :, 3:] = 0
    assert model.inputs[0].dtype == sentence.inputs[0].dtype
    short = np.stack([sentence.predict(longer[:, t]) for t in range(3)], axis=1)
    assert np.array_equal(model.get_layer("sentences")(longer), short)
    assert model.predict(x[:, :2]).shape == model.predict(x).shape == (4, 1)
    assert check_gradients(model, x).ok
    model.compile("adam", "mse")
    backup = callbacks.BackupAndRestore(tmp_path / "backup")
    model.fit(x, np.ones((4, 1)), epochs=2, verbose=0, callbacks=[backup])


def test_marks_of_steps_pass_it_and_count_in_losses():
    step = Sequential([Input((3,)), Dense(2)])
    x = np.random.default_rng(2).random((3, 4, 3))
    x[:, 2:] = 0
    masked = Sequential([Input((4, 3)), Masking(), TimeDistributed(step)])
    masked.compile("sgd", "mse")
    y = np.ones((3, 4, 2))
    y[:, 2:] = 1e6  # no step that counts
    want = float(np.mean((masked.predict(x)[:, :2] - 1) ** 2))
    assert masked.evaluate(x, y, verbose=0) == pytest.approx(want, rel=1e-5)


def test_it_has_the_input_and_output_of_a_layer():
    model = films(frames())
    parts = Model(model.input, [layer.output for layer in model.layers])
    each, states, y = parts.predict(FILMS)
    assert each.shape == (6, 3, 4) and states.shape == (6, 5) and np.array_equal(y, model.predict(FILMS))
    assert model.layers[0].input is model.input
    alone = TimeDistributed(frames())
    alone.build((None, 3, 8, 8, 2))
    assert Model(alone.input, alone.output).predict(FILMS).shape == (6, 3, 4)


def test_explanations_of_films():
    network = frames()
    model = films(network)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(FILMS, np.array([0, 1, 0, 1, 1, 0]), epochs=1, verbose=0)
    cam = explain.grad_cam(model, FILMS, classes=1, layer="time_distributed/sequential/conv2d")
    assert cam.shape == (6, 3, 8, 8)
    one = explain.grad_cam(model, FILMS[2:3], classes=1, layer="time_distributed/sequential/conv2d")
    assert np.allclose(cam[2:3], one, rtol=1e-4, atol=1e-9)
    where = explain.occlusion(model, FILMS, classes=0, window=4, stride=4)
    covered = FILMS.copy()
    covered[:, :, 4:, :4] = 0
    fall = model.predict(FILMS)[:, 0] - model.predict(covered)[:, 0]
    assert where.shape == (6, 8, 8) and np.allclose(where[:, 5, 2], fall, atol=1e-6)
    assert explain.saliency(model, FILMS).shape == (6, 3, 8, 8)


def test_layers_of_your_own_several_inputs_and_outputs_and_models_in_it_twice(tmp_path):
    own = Sequential([TimeDistributed(Scale(), input_shape=(4, 3)), Flatten(), Dense(2)])
    assert check_gradients(own, np.random.default_rng(3).random((2, 4, 3))).ok
    own.save(tmp_path / "own.npz")
    assert load_model(tmp_path / "own.npz", custom_objects={"Scale": Scale}).count_params() == own.count_params()
    a, b = Input((3,)), Input((2,))
    two = Model([a, b], [Concatenate()([a, Dense(2)(b)]), Dense(1)(a)])
    s, t = Input((4, 3)), Input((4, 2))
    model = Model([s, t], TimeDistributed(two)([s, t]))
    rng = np.random.default_rng(4)
    x = [rng.random((2, 4, 3)), rng.random((2, 4, 2))]
    assert [y.shape for y in model.predict(x)] == [(2, 4, 5), (2, 4, 1)]
    assert check_gradients(model, x).ok
    deep = Sequential([Input((2, 3, 8, 8, 2)), TimeDistributed(TimeDistributed(frames())), TimeDistributed(GRU(2))])
    y = deep.predict(np.stack([FILMS, FILMS[::-1]], axis=1))
    deep.save(tmp_path / "deep.npz")
    assert y.shape == (6, 2, 2) and np.array_equal(
        load_model(tmp_path / "deep.npz").predict(np.stack([FILMS, FILMS[::-1]], axis=1)), y
    )


@pytest.mark.parametrize("wrong", [3, Dense, LSTM(2, return_state=True), Add()], ids=["number", "class", "states", "merge"])
def test_what_is_no_layer_for_one_step_is_refused(wrong):
    with pytest.raises(TypeError, match="TimeDistributed: takes a layer of one input and one output, or a model, got"):
        TimeDistributed(wrong)


def test_subclasses_and_descriptions_do_not_take_models():
    class Own(TimeDistributed):
        pass

    for make in (lambda: Own(frames()), lambda: Own(Scale()), lambda: TimeDistributed(encode(frames()))):
        with pytest.raises(TypeError, match="takes minitl's layers alone"):
            make()
    assert Own(Dense(2)).layer.units == 2


def test_inputs_that_are_no_sequences_of_what_it_takes_are_refused():
    with pytest.raises(ValueError, match=r"TimeDistributed.*: needs inputs \(N, T, ...\), got \(None, 5\)"):
        Sequential([Input((5,)), TimeDistributed(frames())])
    with pytest.raises(ValueError, match=r"expected shape \(None, 8, 8, 2\), got \(None, 9, 9, 2\)"):
        Sequential([Input((4, 9, 9, 2)), TimeDistributed(frames())])


def test_models_over_steps():
    frozen = TimeDistributed(small(), trainable=False)
    assert frozen.trainable is False
    with pytest.raises(ValueError, match="the input shape is not known; call it on data, or build"):
        TimeDistributed(small()).build()
    model = TimeDistributed(small())
    model.build((None, 5, 4))
    graph = model.graph
    model.build((None, 5, 4))
    assert model.graph is graph  # it stays what it was


def test_whole_numbers_stay_whole():
    """Neighbours beyond 2^24, which are one number in float32."""
    looked_up = Sequential([Input((3,), dtype="int64"), IntegerLookup(vocabulary=[2**24, 2**24 + 1])])
    steps = Input((2, 3), dtype="int64")
    model = Model(steps, TimeDistributed(looked_up)(steps))
    numbers = 2**24 + np.array([[[0, 1, 2], [1, 0, 1]]])
    assert model.predict(numbers, verbose=0).tolist() == [[[1, 2, 0], [2, 1, 2]]]
