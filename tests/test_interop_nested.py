"""Models inside models, in Keras's files and out of them: their weights, whatever was frozen, and films."""

import json

import numpy as np
import pytest

import minitl
from minitl import Model, Sequential, layers
from minitl.interop import export_onnx, import_onnx, load_keras_weights, save_keras_weights
from minitl.layers import Dense, Input
from minitl.models import load_model, model_from_json

h5py = pytest.importorskip("h5py", reason="interchange needs the extra interop")
IMAGES = np.random.default_rng(0).random((3, 8, 8, 2), dtype=np.float32)
FILMS = np.random.default_rng(1).random((3, 4, 8, 8, 2), dtype=np.float32)


def features(kinds, scaled: bool = True):
    """A network in which several weights have one shape, so that a wrong order would fit."""
    return [
        kinds.Input((8, 8, 2)), *([kinds.Normalization(mean=[0.4, 0.5], variance=[0.2, 0.3])] if scaled else []),
        kinds.Conv2D(4, 3, activation="relu"), kinds.BatchNormalization(), kinds.BatchNormalization(),
        kinds.GlobalAveragePooling2D(),
    ]  # fmt: skip


def random_weights(model) -> None:
    rng = np.random.default_rng(2)
    for layer in model.layers:
        for leaf in getattr(layer, "layers", [layer]):
            if type(leaf).__name__ != "Normalization":  # its count is a whole number
                leaf.set_weights([rng.uniform(0.2, 0.6, w.shape).astype(w.dtype) for w in leaf.get_weights()])


def freeze(model, what: str) -> None:
    if what == "all":
        model.layers[0].trainable = False
    elif what == "one":
        next(layer for layer in model.layers[0].layers if type(layer).__name__ == "BatchNormalization").trainable = False


@pytest.fixture
def keras():
    pytest.importorskip("torch")
    return pytest.importorskip("keras")


@pytest.mark.parametrize("what", ["nothing", "all", "one"])
@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_weights_of_a_model_inside_go_both_ways_whatever_is_frozen(what, ending, keras, tmp_path):
    inside = keras.Sequential(features(keras.layers), name="features")
    theirs = keras.Sequential([keras.Input((8, 8, 2)), inside, keras.layers.Dense(2, name="top")])
    freeze(theirs, what)
    random_weights(theirs)
    y = np.asarray(theirs.predict(IMAGES, verbose=0))
    theirs.save(tmp_path / f"theirs{ending}")
    loaded = load_model(tmp_path / f"theirs{ending}")
    assert np.allclose(loaded.predict(IMAGES), y, atol=1e-5)
    assert len(loaded.trainable_weights) == len(theirs.trainable_weights)
    random_weights(loaded)
    want = loaded.predict(IMAGES)
    loaded.save(tmp_path / f"ours{ending}")
    assert np.allclose(keras.saving.load_model(tmp_path / f"ours{ending}").predict(IMAGES, verbose=0), want, atol=1e-5)
    assert np.allclose(load_model(tmp_path / f"ours{ending}").predict(IMAGES), want, atol=1e-6)


@pytest.mark.parametrize(("there", "here"), [("nothing", "all"), ("all", "nothing"), ("one", "one")])
def test_lists_of_other_names_are_read_in_the_order_that_fits(there, here, keras, tmp_path):
    parts = features(keras.layers)
    for number, layer in enumerate(parts[1:]):
        layer.name = f"part_{number}"
    theirs = keras.Sequential(
        [keras.Input((8, 8, 2)), keras.Sequential(parts, name="features"), keras.layers.Dense(2, name="top")]
    )
    ours = Sequential([Sequential(features(layers), name="features"), Dense(2, name="top")])
    freeze(theirs, there)
    freeze(ours, here)
    random_weights(theirs)
    theirs.save(tmp_path / "theirs.h5")
    ours.load_weights(tmp_path / "theirs.h5")
    assert np.allclose(ours.predict(IMAGES), theirs.predict(IMAGES, verbose=0), atol=1e-5)


def films(kinds, sequential, scaled: bool = True):
    """A network of images at every step of a film; batch normalisation as a step's layer, too."""
    return sequential([
        kinds.Input((4, 8, 8, 2)), kinds.TimeDistributed(kinds.BatchNormalization()),
        kinds.TimeDistributed(sequential(features(kinds, scaled), name="features"), name="frames"), kinds.LSTM(3), kinds.Dense(2),
    ])  # fmt: skip


def test_films_go_to_keras_and_onnx_and_come_back(keras, tmp_path):
    theirs, ours = films(keras.layers, keras.Sequential), films(layers, Sequential)
    for layer in (theirs.layers[1].layer, ours.layers[1].layer):
        random_weights(layer)
    y = np.asarray(theirs.predict(FILMS, verbose=0))
    for ending in (".keras", ".h5"):
        theirs.save(tmp_path / f"theirs{ending}")
        loaded = load_model(tmp_path / f"theirs{ending}")
        assert isinstance(loaded.layers[1], layers.TimeDistributed) and loaded.layers[1].name == "frames"
        assert np.allclose(loaded.predict(FILMS), y, atol=1e-5)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    load_keras_weights(ours, tmp_path / "theirs.weights.h5")
    assert np.allclose(ours.predict(FILMS), y, atol=1e-5)
    ours.set_weights([w * np.float32(1.1) for w in ours.get_weights()])
    y = ours.predict(FILMS)
    for ending in (".keras", ".h5"):
        ours.save(tmp_path / f"ours{ending}")
        assert np.allclose(keras.saving.load_model(tmp_path / f"ours{ending}").predict(FILMS, verbose=0), y, atol=1e-5)
    export_onnx(ours, tmp_path / "ours.onnx")
    assert np.allclose(import_onnx(tmp_path / "ours.onnx").predict(FILMS), y, atol=1e-5)
    theirs, ours = films(keras.layers, keras.Sequential, False), films(layers, Sequential, False)
    y = ours.predict(FILMS)
    save_keras_weights(ours, tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    assert np.allclose(theirs.predict(FILMS, verbose=0), y, atol=1e-5)


def test_sentences_of_keras_keep_their_masks(keras, tmp_path):
    k = keras.layers
    words, text = keras.Input((5,)), keras.Input((3, 5))
    sentence = keras.Model(words, k.LSTM(4)(k.Embedding(9, 3, mask_zero=True)(words)))
    theirs = keras.Model(text, k.GRU(2)(k.TimeDistributed(sentence)(text)))
    x = np.random.default_rng(3).integers(1, 9, (4, 3, 5))
    x[:, :, 3:] = x[0, 2] = 0
    theirs.save(tmp_path / "text.keras")
    assert np.allclose(load_model(tmp_path / "text.keras").predict(x), theirs.predict(x, verbose=0), atol=1e-6)


@pytest.mark.parametrize("uses", [1, 2, 3])
def test_outputs_of_models_inside_that_are_used_several_times(uses, keras, tmp_path):
    def built(kinds, model):
        a, b = kinds.Input((3,)), kinds.Input((3,))
        inside = model(a, kinds.Dense(3, activation="tanh", name="step")(a), name="inside")
        y = [b]
        for _ in range(uses):
            y.append(inside(y[-1]))
        return model(b, [kinds.Add(name="sum")([y[1], b]), y[-1]], name="outside")

    x = np.random.default_rng(4).random((4, 3))
    theirs, ours = built(keras.layers, keras.Model), built(layers, Model)
    for ending in (".keras", ".h5"):
        theirs.save(tmp_path / f"theirs{ending}")
        for y, want in zip(load_model(tmp_path / f"theirs{ending}").predict(x), theirs.predict(x, verbose=0), strict=True):
            assert np.allclose(y, want, atol=1e-6)
        ours.save(tmp_path / f"ours{ending}")
        read = keras.saving.load_model(tmp_path / f"ours{ending}", compile=False)
        for y, want in zip(read.predict(x, verbose=0), ours.predict(x), strict=True):
            assert np.allclose(y, want, atol=1e-6)


@pytest.mark.parametrize("start", [0, 1])
def test_keras_2_counts_the_making_of_a_model_as_its_first_use(start):
    """In its JSON ["inside", 1, 0, {}] is the first use in the model outside; of a Sequential that came without shape it is 0."""

    def entry(kind, name, nodes, **config):
        return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}

    def functional(name, entries, begin, end):
        return {"name": name, "layers": entries, "input_layers": [begin], "output_layers": [end]}

    def entrance(name):
        return entry("InputLayer", name, [], batch_input_shape=[None, 3], dtype="float32")

    dense = entry("Dense", "step", [[["a", 0, 0, {}]]], units=3, activation="tanh", use_bias=False)
    inside = functional("inside", [entrance("a"), dense], ["a", 0, 0], ["step", 0, 0])
    twice = [[["b", 0, 0, {}]], [["inside", start, 0, {}]]]
    outside = functional(
        "outside",
        [
            entrance("b"),
            {"class_name": "Functional", "name": "inside", "config": inside, "inbound_nodes": twice},
            entry("Subtract", "less", [[["inside", start + 1, 0, {}], ["b", 0, 0, {}]]]),
        ],
        ["b", 0, 0],
        ["less", 0, 0],
    )
    model = model_from_json(json.dumps({"class_name": "Functional", "config": outside, "keras_version": "2.9.0"}))
    x = np.random.default_rng(5).random((2, 3)).astype(np.float32)
    kernel = model.weights[0]
    assert np.allclose(model.predict(x), np.tanh(np.tanh(x @ kernel) @ kernel) - x, atol=1e-6)
    outside["output_layers"] = [["inside", start + 1, 0]]
    outside["layers"].pop()
    again = model_from_json(json.dumps({"class_name": "Functional", "config": outside, "keras_version": "2.9.0"}))
    again.set_weights(model.get_weights())
    assert np.allclose(again.predict(x), np.tanh(np.tanh(x @ kernel) @ kernel), atol=1e-6)


@pytest.mark.parametrize("mode", ["concat", "ave", "mul"])
@pytest.mark.parametrize("first", ["SimpleRNN", "GRU", "none"])
@pytest.mark.parametrize("last", ["both ways", "one way", "mean"])
def test_masks_pass_through_several_recurrent_layers_of_keras(mode, first, last, keras, tmp_path):
    k = keras.layers
    steps = keras.Input((6, 3))
    h = k.Masking()(steps)
    if first != "none":
        h = getattr(k, first)(3, return_sequences=True)(h)
    h = k.Bidirectional(k.LSTM(2, return_sequences=True), merge_mode=mode)(h)
    ends = {"both ways": lambda: k.Bidirectional(k.GRU(2)), "one way": lambda: k.SimpleRNN(2), "mean": k.GlobalAveragePooling1D}
    theirs = keras.Model(steps, ends[last]()(h))
    rng = np.random.default_rng(6)
    theirs.set_weights([rng.uniform(-0.9, 0.9, w.shape).astype("float32") for w in theirs.get_weights()])
    x = rng.normal(size=(3, 6, 3)).astype("float32")
    x[:2, 4:] = x[1, 1] = 0
    theirs.save(tmp_path / "theirs.keras")
    assert np.allclose(load_model(tmp_path / "theirs.keras").predict(x), theirs.predict(x, verbose=0), atol=1e-6)


def test_masks_of_sequences_in_reverse_order(keras, tmp_path):
    """Keras hands a mask on as it was."""
    k, steps = keras.layers, keras.Input((6, 3))
    back = k.GRU(3, return_sequences=True, go_backwards=True)(k.Masking()(steps))
    x = np.random.default_rng(7).normal(size=(2, 6, 3)).astype("float32")
    x[:, 4:] = 0
    for theirs in (keras.Model(steps, k.GRU(2)(back)), keras.Model(steps, k.Dense(2)(back))):
        theirs.save(tmp_path / "model.keras")
        assert np.allclose(load_model(tmp_path / "model.keras").predict(x), theirs.predict(x, verbose=0), atol=1e-6)
    zeros = k.GRU(3, return_sequences=True, go_backwards=True, zero_output_for_mask=True)(k.Masking()(steps))
    keras.Model(steps, k.GRU(2)(zeros)).save(tmp_path / "zeros.keras")
    with pytest.raises(ValueError, match="returns its steps in reverse order, and Keras hands their mask on as it was"):
        load_model(tmp_path / "zeros.keras")


def blocks(lib, seed=0):
    """A network of layers of one's own that hold layers, alone, as a model, in lists and dictionaries; and their class."""
    kind = lib.layers

    class Block(kind.Layer):
        def __init__(self, units=4, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.second, self._last = kind.Dense(units), kind.Dense(units)
            self.inner = lib.Sequential([kind.Dense(units + 1), kind.Dense(units)])
            self.norms = [kind.LayerNormalization() for _ in range(2)]
            self.named = {"b": kind.Dense(units), "a": kind.Dense(units)}
            self.again = self.second

        def build(self, input_shape):
            self.factor = self.add_weight(name="factor", shape=(self.units,), initializer="ones")

        def call(self, x):
            x = self.norms[0](self.inner(self.second(x)) * self.factor + x)
            return self.norms[1](self._last(self.named["a"](self.named["b"](x))))

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    lib.utils.set_random_seed(seed)
    x = kind.Input((4,))
    model = lib.Model(x, kind.Dense(2)(Block()(lib.Sequential([kind.Input((4,)), Block(), kind.Dense(4)])(kind.Dense(4)(x)))))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=w.shape).astype("float32") for w in model.get_weights()])
    return model, Block


def test_layers_that_hold_layers_are_written_whole(tmp_path):
    (model, _), (other, _), x = blocks(minitl), blocks(minitl, 1), np.random.default_rng(2).normal(size=(3, 4)).astype("float32")
    model.save_weights(tmp_path / "m.weights.h5")
    assert abs(other(x) - model(x)).max() > 0.1
    other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(other(x), model(x))
    assert all(np.array_equal(a, b) for a, b in zip(other.get_weights(), model.get_weights(), strict=True))


def test_layers_that_hold_layers_as_keras_keeps_them(tmp_path):
    keras = pytest.importorskip("keras")
    (theirs, _), (ours, Block) = blocks(keras), blocks(minitl, 1)
    x = np.random.default_rng(2).normal(size=(3, 4)).astype("float32")
    expected = keras.ops.convert_to_numpy(theirs(x))
    theirs.save_weights(str(tmp_path / "theirs.weights.h5"))
    ours.load_weights(tmp_path / "theirs.weights.h5")
    np.testing.assert_allclose(ours(x), expected, rtol=1e-5, atol=1e-6)
    theirs.save(str(tmp_path / "theirs.keras"))
    again = load_model(tmp_path / "theirs.keras", custom_objects={"Block": Block})
    np.testing.assert_allclose(again(x), expected, rtol=1e-5, atol=1e-6)
    ours, _ = blocks(minitl, 3)
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.load_weights(str(tmp_path / "ours.weights.h5"))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(theirs(x)), ours(x), rtol=1e-5, atol=1e-6)


def test_the_state_of_a_generator_is_no_weight(tmp_path):
    model = minitl.Sequential([Input((4,)), layers.Dropout(0.5), Dense(2)])
    model.save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5", "a") as file:  # as Keras on TensorFlow writes it
        file["layers/dropout/seed_generator/vars/0"] = np.array([3, 4], np.uint32)
    before = model.get_weights()
    model.set_weights([w + 1 for w in before])
    model.load_weights(tmp_path / "m.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


def a_class(lib, seed=0):
    """A model that is a class, with layers by attribute, in lists within lists, and models; and the classes in it."""
    kind = lib.layers

    class Block(kind.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.cell, self.after = kind.Dense(units, activation="tanh"), [[kind.Dense(units)], kind.Dropout(0.5)]
            self.layer = Inner(units)

        def call(self, x):
            return self.layer(self.after[0][0](self.cell(x))) + x

    class Inner(lib.Model):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.way, self.first = kind.Dense(units), kind.Dense(units, activation="tanh")

        def call(self, x):
            return self.way(self.first(x))

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    class Net(lib.Model):
        def __init__(self, units=4, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.out, self.bn = kind.Dense(2), kind.BatchNormalization()
            self.blocks, self.inners = [Block(units), Block(units)], [Inner(units), kind.Dense(units), Inner(units)]
            self.named = {"b": kind.Dense(units), "a": kind.Dense(units)}
            self._hidden, self.inner = kind.Dense(units), Inner(units)
            self.sequence = lib.Sequential([kind.Dense(units), kind.LSTM(units)])
            self.deep = [[kind.Dense(units)], (kind.Dense(units), kind.Dense(units + 1))]  # the last one has no use
            self.again = self.out
            x = kind.Input((units,))
            self.graph_of_its_own = lib.Model(x, Inner(units)(kind.Dense(units)(x)))

        def call(self, x):
            for block in self.blocks:
                x = block(x)
            for model in self.inners:
                x = model(x)
            x = self.named["a"](self.named["b"](self.bn(x)))
            x = self.deep[0][0](self.deep[1][0](self.inner(self._hidden(x))))
            return self.out(self.graph_of_its_own(self.sequence(x)))

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    lib.utils.set_random_seed(seed)
    model = Net()
    model.build((None, 3, 4))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=w.shape).astype("float32") ** 2 + 0.1 for w in model.get_weights()])
    return model, {"Net": Net, "Inner": Inner}


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a graph"])
def test_a_class_with_a_call_as_keras_keeps_it(inside, tmp_path):
    keras = pytest.importorskip("keras")
    theirs, (ours, classes) = a_class(keras)[0], a_class(minitl, 1)
    if inside:
        theirs, ours = (lib.Model(x := lib.layers.Input((3, 4)), lib.layers.Dense(3)(net(lib.layers.Dense(4)(x))))
                        for lib, net in ((keras, theirs), (minitl, ours)))  # fmt: skip
    x = np.random.default_rng(2).normal(size=(3, 3, 4)).astype("float32")
    expected = keras.ops.convert_to_numpy(theirs(x))
    theirs.save_weights(str(tmp_path / "theirs.weights.h5"))
    ours.load_weights(tmp_path / "theirs.weights.h5")
    np.testing.assert_allclose(ours(x), expected, rtol=1e-4, atol=1e-5)
    if inside:
        theirs.save(str(tmp_path / "theirs.keras"))
        np.testing.assert_allclose(load_model(tmp_path / "theirs.keras", classes)(x), expected, rtol=1e-4, atol=1e-5)
    ours.set_weights([w * 0.9 for w in ours.get_weights()])
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.load_weights(str(tmp_path / "ours.weights.h5"))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(theirs(x)), ours(x), rtol=1e-4, atol=1e-5)


def test_files_of_a_class_with_a_call_are_read_with_the_class(tmp_path):
    keras = pytest.importorskip("keras")
    theirs, (_, classes) = a_class(keras)[0], a_class(minitl, 1)
    x = np.random.default_rng(2).normal(size=(3, 3, 4)).astype("float32")
    theirs.compile("adam", "mse")
    theirs.fit(x, x[:, 0, :2], verbose=0)  # an optimizer with memory
    theirs.save(str(tmp_path / "theirs.keras"))
    theirs.save_weights(str(tmp_path / "theirs.weights.h5"))
    expected = theirs.predict(x, verbose=0)
    again = load_model(tmp_path / "theirs.keras", custom_objects=classes)
    assert isinstance(again, classes["Net"]) and type(again.optimizer).__name__ == "Adam"
    np.testing.assert_allclose(again.predict(x), expected, rtol=1e-4, atol=1e-5)
    ours = a_class(minitl, 1)[0]
    for ending in ("keras", "weights.h5"):
        ours.set_weights([0 * w for w in ours.get_weights()])
        ours.load_weights(tmp_path / f"theirs.{ending}")
        np.testing.assert_allclose(ours.predict(x), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(
        ValueError, match="describes a Net, no Functional or Sequential model; your own classes go into custom_objects"
    ):
        load_model(tmp_path / "theirs.keras")


def test_a_class_with_a_call_is_written_whole_as_a_graph(tmp_path):
    keras = pytest.importorskip("keras")

    class Net(minitl.Model):
        def __init__(self):
            super().__init__()
            self.last, self.first = Dense(2), Dense(4, activation="relu")
            self.inner = Inner()

        def call(self, x):
            return self.last(self.inner(self.first(x)))

    class Inner(minitl.Model):
        def __init__(self):
            super().__init__()
            self.b, self.a = Dense(4), Dense(4)

        def call(self, x):
            return self.b(self.a(x))

    model, x = Net(), np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    y = model.predict(x)
    model.save(tmp_path / "ours.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "ours.keras").predict(x, verbose=0), y, rtol=1e-5, atol=1e-6)
    other = Net()
    other.build((None, 4))
    other.load_weights(tmp_path / "ours.keras")
    np.testing.assert_array_equal(other.predict(x), y)
    np.testing.assert_array_equal(load_model(tmp_path / "ours.keras").predict(x), y)


def classes_of_several_inputs(lib):
    kind = lib.layers

    class Listed(lib.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.a, self.b, self.join, self.z = kind.Dense(4), kind.Dense(4), kind.Concatenate(), kind.Dense(2)

        def call(self, inputs):
            x, y = inputs
            return self.z(self.join([self.a(x), self.b(y)]))

    class Named(Listed):
        def call(self, inputs):
            return super().call([inputs["x"], inputs["y"]])

    class OfValues(lib.Model):
        def __init__(self, units=3, **kwargs):
            x = kind.Input((4,))
            super().__init__(x, kind.Dense(units)(x), **kwargs)

        def get_config(self):
            return {"units": 2}

    return Listed, Named, OfValues


@pytest.mark.parametrize("which", range(3), ids=["a list", "a dictionary", "a graph of its own"])
def test_the_shapes_of_inputs_come_from_the_file(which, tmp_path):
    keras = pytest.importorskip("keras")
    there, here = classes_of_several_inputs(keras)[which], classes_of_several_inputs(minitl)[which]
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    x = ([a, b], {"x": a, "y": b}, a)[which]
    theirs = there(**({"units": 2} if which == 2 else {}))
    y = theirs.predict(x, verbose=0)
    theirs.save(str(tmp_path / "theirs.keras"))
    again = load_model(tmp_path / "theirs.keras", custom_objects={here.__name__: here})
    assert type(again) is here
    np.testing.assert_allclose(again.predict(x), y, rtol=1e-4, atol=1e-5)


def test_a_class_is_not_built_for_inputs_that_no_file_names():
    class Net(Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.out = Dense(2)

        def call(self, x):
            return self.out(x)

    entry = {"class_name": "Net", "config": {"name": "net"}, "build_config": {"input_shape": None}, "keras_version": "3.9.0"}
    with pytest.raises(ValueError, match="does not say for what inputs its Net was built; build one and load_weights"):
        model_from_json(json.dumps(entry), {"Net": Net})
    with pytest.raises(ValueError, match="describes a Dense, which is no model here"):
        model_from_json(json.dumps({**entry, "class_name": "Dense", "config": {"units": 2}}), {"Dense": Dense})


def test_layers_that_keras_has_in_single_applications(tmp_path):
    keras = pytest.importorskip("keras")
    convnext = pytest.importorskip("keras.src.applications.convnext")
    inception = pytest.importorskip("keras.src.applications.inception_resnet_v2")
    x = keras.Input((4, 6))
    h = convnext.LayerScale(0.5, 6)(keras.layers.Dense(6)(x))
    h = inception.CustomScaleLayer(0.17)([x, h])
    theirs = keras.Model(x, keras.layers.Dense(3)(h))
    theirs.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in theirs.get_weights()])
    given = np.random.default_rng(1).normal(size=(2, 4, 6)).astype("float32")
    y = theirs.predict(given, verbose=0)
    for ending in (".keras", ".h5"):
        theirs.save(str(tmp_path / f"theirs{ending}"))
        ours = load_model(tmp_path / f"theirs{ending}")
        assert any(isinstance(layer, layers.LayerScale) for layer in ours.layers)
        np.testing.assert_allclose(ours.predict(given), y, rtol=1e-4, atol=1e-5)
        ours.save(tmp_path / f"ours{ending}")
        again = keras.saving.load_model(str(tmp_path / f"ours{ending}"), compile=False)
        np.testing.assert_allclose(again.predict(given, verbose=0), y, rtol=1e-4, atol=1e-5)


def test_a_layer_scale_begins_small_and_learns():
    layer = layers.LayerScale(1e-3, 3)
    y = layer(np.ones((2, 4, 3), np.float32))
    np.testing.assert_allclose(y, 1e-3, rtol=1e-6)
    model = Sequential([Input((4, 3)), layer])
    model.compile("sgd", "mse")
    model.fit(np.ones((2, 4, 3)), 2 * np.ones((2, 4, 3)), epochs=200, verbose=0)
    assert np.all(layer.gamma > 0.5) and layer.get_config()["projection_dim"] == 3
    with pytest.raises(ValueError, match=r"has factors for 3 channels, got inputs of shape \(None, 4, 2\)"):
        layers.LayerScale(1.0, 3)(Input((4, 2)))
    with pytest.raises(ValueError, match="projection_dim must be a whole number of at least 1, got 0"):
        layers.LayerScale(1.0, 0)


def test_nodes_without_settings_are_those_of_keras_1():
    """[layer, node, tensor], where Keras 2 adds a dictionary."""
    dense = {"class_name": "Dense", "name": "d", "config": {"name": "d", "units": 2}, "inbound_nodes": [[["a", 0, 0]]]}
    entrance = {
        "class_name": "InputLayer",
        "name": "a",
        "config": {"name": "a", "batch_input_shape": [None, 3]},
        "inbound_nodes": [],
    }
    config = {"name": "m", "layers": [entrance, dense], "input_layers": [["a", 0, 0]], "output_layers": [["d", 0, 0]]}
    model = model_from_json(json.dumps({"class_name": "Model", "config": config, "keras_version": "1.2.2"}))
    assert model.output_shape == (None, 2)


def test_a_layer_scale_has_a_name_and_hands_masks_on():
    assert layers.LayerScale(1.0, 3, name="mine").name == "mine"
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    x[:, 3:] = 0
    steps = Input((5, 3))
    model = Model(steps, layers.LSTM(2)(layers.LayerScale(1.0, 3)(layers.Masking()(steps))))
    twin = Sequential([Input((3, 3)), layers.LSTM(2)])
    twin.set_weights(model.get_weights()[1:])
    np.testing.assert_allclose(model.predict(x), twin.predict(x[:, :3]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5", ".keras"])
@pytest.mark.parametrize("given", [True, False])
def test_given_means_and_variances_are_settings_and_adapted_ones_weights(given, ending, keras, tmp_path):
    def made(sequential, kinds):
        numbers = {"mean": [0.4, 0.5], "variance": [0.2, 0.3]} if given else {}
        scaling = kinds.Normalization(**numbers)
        if not given:
            scaling.adapt(IMAGES)
        return sequential([kinds.Input((8, 8, 2)), scaling, kinds.Flatten(), kinds.Dense(3)])

    ours, theirs = made(Sequential, layers), made(keras.Sequential, keras.layers)
    assert ours.count_params() == theirs.count_params() - (0 if given else 1)  # Keras counts batches
    expected, other = ours.predict(IMAGES), made(Sequential, layers)
    if "weights" in ending:
        ours.save_weights(tmp_path / f"ours{ending}")
        theirs.load_weights(tmp_path / f"ours{ending}")
        theirs.save_weights(tmp_path / f"theirs{ending}")
        other.load_weights(tmp_path / f"theirs{ending}")
    else:
        ours.save(tmp_path / f"ours{ending}")
        theirs = keras.models.load_model(tmp_path / f"ours{ending}")
        theirs.save(tmp_path / f"theirs{ending}")
        other = load_model(tmp_path / f"theirs{ending}")
    np.testing.assert_allclose(theirs.predict(IMAGES, verbose=0), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(other.predict(IMAGES), expected)
