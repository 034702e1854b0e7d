"""Attention against Keras's, against numerical gradients, and inside layers of one's own; calls with several arguments."""

import numpy as np
import pytest

from minitl import Input, Model, layers, ops
from minitl.gradcheck import check_gradients
from minitl.interop import export_onnx
from minitl.layers import (
    Add,
    AdditiveAttention,
    Attention,
    Dense,
    Embedding,
    GlobalAveragePooling1D,
    Layer,
    LayerNormalization,
    Masking,
    MultiHeadAttention,
)
from minitl.models import load_model
from minitl.optimizers import SGD

RNG = np.random.default_rng(0)
QUERY, VALUE, KEY = (RNG.normal(size=shape).astype(np.float32) for shape in [(3, 5, 6), (3, 7, 4), (3, 7, 4)])
MASK = RNG.random((3, 5, 7)) > 0.4
MASK[:, :, 0] = True
HEADS = [
    {"num_heads": 2, "key_dim": 3},
    {"num_heads": 3, "key_dim": 2, "value_dim": 5, "output_shape": 7},
    {"num_heads": 1, "key_dim": 4, "use_bias": False},
]


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("torch")
    return pytest.importorskip("keras")


@pytest.mark.parametrize("settings", HEADS)
@pytest.mark.parametrize("inputs", [(QUERY, VALUE), (QUERY, VALUE, KEY), (QUERY, QUERY)], ids=["two", "three", "self"])
@pytest.mark.parametrize("said", [{}, {"use_causal_mask": True}, {"attention_mask": MASK}], ids=["all", "causal", "mask"])
def test_heads_are_keras_s(keras, settings, inputs, said):
    if "attention_mask" in said and inputs[1] is QUERY:
        said = {"attention_mask": MASK[:, :, :5]}
    ours, theirs = MultiHeadAttention(**settings), keras.layers.MultiHeadAttention(**settings)
    theirs(*inputs)
    ours(*inputs, **said)
    weights = [RNG.normal(size=w.shape) for w in ours.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    found = ours(*inputs, **said)
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(theirs(*inputs, **said)), atol=3e-5)
    again = MultiHeadAttention.from_config(ours.get_config())
    again(*inputs, **said)
    again.set_weights(weights)
    np.testing.assert_array_equal(again(*inputs, **{k: v for k, v in said.items() if k != "use_causal_mask"}), found)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Attention", {}), ("Attention", {"use_scale": True}), ("Attention", {"score_mode": "concat", "use_scale": True}),
        ("AdditiveAttention", {}), ("AdditiveAttention", {"use_scale": False}),
    ],
)  # fmt: skip
def test_single_attention_is_keras_s(keras, kind, settings, causal):
    inputs = [QUERY[..., :4], VALUE, KEY]
    ours = {"Attention": Attention, "AdditiveAttention": AdditiveAttention}[kind](**settings)
    theirs = getattr(keras.layers, kind)(**settings)
    ours(inputs)
    theirs(inputs)
    weights = [RNG.normal(size=w.shape) for w in ours.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    expected = keras.ops.convert_to_numpy(theirs(inputs, use_causal_mask=causal))
    np.testing.assert_allclose(ours(inputs, use_causal_mask=causal), expected, atol=1e-5)
    if not causal:
        with pytest.raises(ValueError, match="built for 3 inputs, got 2"):
            ours(inputs[:2])


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (MultiHeadAttention(2, 3), (QUERY, VALUE)),
        (MultiHeadAttention(2, 2, value_dim=3, output_shape=5, use_causal_mask=True), (QUERY, QUERY)),
        (MultiHeadAttention(1, 3), (QUERY, VALUE, KEY)),
        (Attention(use_scale=True, score_mode="concat"), (QUERY[..., :4], VALUE)),
        (AdditiveAttention(), (QUERY[..., :4], VALUE, KEY)),
    ],
)
def test_gradients(layer, inputs):
    assert check_gradients(layer, [x.astype(float) for x in inputs])


def two_sequences(place):
    layers = place.layers
    x, y = place.Input((5, 6)), place.Input((7, 4))
    mixed = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 3)(x, y, use_causal_mask=True)]))
    return place.Model([x, y], layers.Dense(1)(layers.GlobalAveragePooling1D()(mixed)))


def test_training_is_keras_s_and_files_hold_it(keras, tmp_path):
    import minitl

    ours, theirs = two_sequences(minitl), two_sequences(keras)
    theirs.set_weights([np.array(w) for w in ours.get_weights()])
    targets = RNG.normal(size=(3, 1)).astype(np.float32)
    for model, place in ((ours, minitl), (theirs, keras)):
        model.compile(place.optimizers.SGD(0.1), "mse")
        model.fit([QUERY, VALUE], targets, epochs=5, batch_size=3, shuffle=False, verbose=0)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    ours.save(tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.predict([QUERY, VALUE], verbose=0), ours.predict([QUERY, VALUE], verbose=0))


def all_kinds(place, lengths=(5, 7)):
    """Attention in every way in which it is called."""
    layers = place.layers
    q, v, mask = place.Input((lengths[0], 6)), place.Input((lengths[1], 4)), place.Input(lengths)
    masked = layers.MultiHeadAttention(2, 4, value_dim=3, output_shape=9, dropout=0.1, name="m")(q, v, attention_mask=mask)
    three = layers.MultiHeadAttention(2, 4)(q, v, v)
    causal = layers.MultiHeadAttention(2, 4, use_bias=False)(q, q, use_causal_mask=True)
    named = layers.MultiHeadAttention(1, 3)(query=q, value=q, key=causal, attention_mask=None)
    return place.Model([q, v, mask], [
        masked, three, causal, named, layers.Attention(use_scale=True, score_mode="concat")([q, q]),
        layers.Attention(use_scale=True)([q, causal, named]), layers.Attention()([q, q], use_causal_mask=True),
        layers.AdditiveAttention()([q, q, q]), layers.AdditiveAttention(use_scale=False)([q, three], use_causal_mask=True),
    ])  # fmt: skip


def near(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=2e-5)


def moved(model):
    model.set_weights([np.asarray(w) + 0.1 * RNG.normal(size=np.shape(w)) for w in model.get_weights()])
    return model


def test_files_of_keras_both_ways(keras, tmp_path):
    import minitl

    x = [QUERY, VALUE, MASK.astype("float32")]
    ours, theirs = all_kinds(minitl), moved(all_kinds(keras))
    for ending in (".keras", ".h5"):
        theirs.save(tmp_path / f"theirs{ending}")
        near(load_model(tmp_path / f"theirs{ending}").predict(x, verbose=0), theirs.predict(x, verbose=0))
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours.load_weights(tmp_path / "theirs.weights.h5")
    near(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    moved(ours)
    for ending in (".keras", ".h5"):
        ours.save(tmp_path / f"ours{ending}")
        near(keras.saving.load_model(tmp_path / f"ours{ending}").predict(x, verbose=0), ours.predict(x, verbose=0))
        near(load_model(tmp_path / f"ours{ending}").predict(x, verbose=0), ours.predict(x, verbose=0))
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    near(theirs.predict(x, verbose=0), ours.predict(x, verbose=0))


def test_what_files_of_keras_say_and_is_not_known_here(keras, tmp_path):
    x, other, there = keras.Input((5, 6)), keras.Input((2, 5, 6)), keras.Input((5,), dtype="bool")
    for made, message in (
        (lambda: ([x, there], keras.layers.MultiHeadAttention(1, 2)(x, x, query_mask=there)), "is called with query_mask"),
        (lambda: (other, keras.layers.MultiHeadAttention(1, 2, attention_axes=(2,))(other, other)), "attention_axes=.2. is not"),
        (lambda: (x, keras.layers.MultiHeadAttention(1, 2, output_shape=(2, 3))(x, x)), "output_shape must be one number"),
    ):
        keras.Model(*made()).save(tmp_path / "m.keras")
        with pytest.raises(ValueError, match=message):
            load_model(tmp_path / "m.keras")


@pytest.mark.parametrize("kind", ["heads", "dot", "concat", "additive", "scores alone"])
def test_scores_that_are_asked_for_are_keras_s_and_go_into_files(keras, tmp_path, kind):
    def network(package):
        q, v = package.Input((5, 6)), package.Input((5, 6))  # as many of both: Keras says so of the scores of heads in any case
        made = package.layers
        if kind == "heads":
            y, scores = made.MultiHeadAttention(2, 3, dropout=0.1)(q, v, return_attention_scores=True)
        elif kind == "additive":
            y, scores = made.AdditiveAttention()([q, v], return_attention_scores=True)
        else:
            mode = "concat" if kind == "concat" else "dot"
            y, scores = made.Attention(use_scale=True, score_mode=mode)([q, v], return_attention_scores=True)
        outputs = [made.Dense(2)(made.Flatten()(scores))]
        return package.Model([q, v], outputs if kind == "scores alone" else [*outputs, y, scores])

    x = [QUERY, RNG.normal(size=(3, 5, 6)).astype(np.float32)]
    theirs = network(keras)
    theirs.save(tmp_path / "theirs.keras")
    ours = load_model(tmp_path / "theirs.keras")
    alone = kind == "scores alone"
    expected = [theirs.predict(x, verbose=0)] if alone else theirs.predict(x, verbose=0)
    for name in ("ours.keras", "ours.npz", None):
        found = [ours.predict(x)] if alone else ours.predict(x)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        if name:
            ours.save(tmp_path / name)
            ours = load_model(tmp_path / name)
    back = keras.saving.load_model(tmp_path / "ours.keras").predict(x, verbose=0)
    np.testing.assert_allclose(back if alone else back[0], expected[0], rtol=1e-5, atol=1e-6)
    both = [] if alone else [Dense(2)(layers.Flatten()(value)) for value in ours.outputs[1:]]
    checked = Model(ours.inputs, Add()([ours.outputs[0], *both]) if both else ours.outputs[0])
    checked.compile("sgd", "mse")
    assert check_gradients(checked, x, y=np.ones((3, 2)), samples=20).ok


def test_scores_are_asked_for_at_each_call():
    layer = Attention()
    y, shares = layer([QUERY, QUERY], return_attention_scores=True)
    assert shares.shape == (3, 5, 5) and shares.sum(axis=-1) == pytest.approx(np.ones((3, 5)))
    np.testing.assert_array_equal(layer([QUERY, QUERY]), y)
    np.testing.assert_array_equal(Attention.from_config(layer.get_config())([QUERY, QUERY]), y)
    x = Input((5, 6))
    connected = layer([x, x], return_attention_scores=True)
    assert [value.shape for value in connected] == [(None, 5, 6), (None, 5, 5)]
    with pytest.raises(ValueError, match="gives its scores in one place and not in another"):
        layer([x, x], return_attention_scores=False)


def older(layer, class_name, node, taken="qvk"):
    """A file's description as Keras 2 wrote it."""
    inputs = [
        {"class_name": "InputLayer", "name": name, "config": {"batch_input_shape": shape, "name": name}, "inbound_nodes": []}
        for name, shape in (("q", [None, 5, 6]), ("v", [None, 7, 4]), ("k", [None, 7, 4]))
    ]
    entry = {"class_name": class_name, "name": "a", "config": {"name": "a", **layer}, "inbound_nodes": [node]}
    ends = {"input_layers": [[name, 0, 0] for name in taken], "output_layers": [["a", 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "m", "layers": [*inputs, entry], **ends}}


def test_calls_of_attention_as_keras_2_wrote_them():
    from minitl.interop.keras_architecture import rebuilt

    named = {"value": ["v", 0, 0], "key": ["k", 0, 0], "use_causal_mask": True, "attention_mask": None}
    model = rebuilt(older({"num_heads": 2, "key_dim": 3}, "MultiHeadAttention", [["q", 0, 0, named]]))
    layer = model.get_layer("a")
    np.testing.assert_array_equal(model([QUERY, VALUE, KEY]), layer(QUERY, VALUE, KEY))
    assert layer.use_causal_mask and not np.allclose(layer(QUERY, VALUE, KEY), layer(QUERY, VALUE, VALUE))
    with pytest.raises(ValueError, match=r"expected shape keys \(N, S, 6\), got \(None, 7, 4\)"):
        rebuilt(older({}, "Attention", [["q", 0, 0, {}], ["v", 0, 0, {}], ["k", 0, 0, {}]]))
    single = rebuilt(older({}, "AdditiveAttention", [["v", 0, 0, {}], ["v", 0, 0, {}], ["k", 0, 0, {}]], "vk"))
    np.testing.assert_array_equal(single([VALUE, KEY]), single.get_layer("a")([VALUE, VALUE, KEY]))


@pytest.mark.parametrize("lengths", [(5, 7), (None, None)], ids=["known", "open"])
@pytest.mark.parametrize("opset", [17, 18, 21])
def test_onnx_runtime_gives_the_same(lengths, opset, tmp_path):
    import minitl

    runtime = pytest.importorskip("onnxruntime")
    x, model = [QUERY, VALUE, MASK.astype("float32")], moved(all_kinds(minitl, lengths))
    export_onnx(model, tmp_path / "m.onnx", opset=opset)
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    near(session.run(None, dict(zip([i.name for i in session.get_inputs()], x, strict=True))), model.predict(x, verbose=0))


@pytest.mark.parametrize("opset", [17, 18])
def test_what_is_left_out_is_left_out_in_onnx_too(opset, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    words, steps = Input((5,), dtype="int32"), Input((5, 6))
    x, y = layers.Embedding(9, 6, mask_zero=True)(words), layers.Masking(0.5)(steps)
    mean = layers.GlobalAveragePooling1D
    negative = layers.Dense(3, "relu", kernel_initializer="ones", bias_initializer="zeros")(y)
    model = Model([words, steps], [
        mean()(x), mean(keepdims=True)(x), mean()(layers.Dense(3)(x)), MultiHeadAttention(2, 3)(x, x), mean()(negative),
        mean()(MultiHeadAttention(2, 3)(y, y, use_causal_mask=True)), Attention()([layers.Dense(6)(y), y, layers.Dense(6)(x)]),
    ])  # fmt: skip
    numbers, rows = np.array([[3, 0, 5, 0, 0], [1, 2, 3, 4, 5], [0] * 5], "int32"), QUERY.copy()
    rows[0, 2:], rows[1, 3] = 0.5, -1  # some are left out, one counts and is silent
    export_onnx(model, tmp_path / "m.onnx", opset=opset)
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    found = session.run(None, dict(zip([i.name for i in session.get_inputs()], [numbers, rows], strict=True)))
    near(found, model.predict([numbers, rows], verbose=0))


def test_masks_reach_what_stands_behind_attention_as_in_keras(keras):
    import minitl

    numbers = np.array([[3, 5, 0, 0], [1, 2, 3, 4], [2, 0, 1, 0]])
    models = []
    for place in (minitl, keras):
        words = place.Input((4,), dtype="int32")
        x = place.layers.Embedding(9, 4, mask_zero=True)(words)
        outputs = [place.layers.MultiHeadAttention(2, 3)(x, x), place.layers.Attention()([x, x])]
        models.append(place.Model(words, [place.layers.GlobalAveragePooling1D()(y) for y in outputs] + outputs))
    ours, theirs = models
    theirs.set_weights([np.asarray(w) for w in moved(ours).get_weights()])
    found, expected = ours.predict(numbers, verbose=0), theirs.predict(numbers, verbose=0)
    near(found[:2], expected[:2])
    for model in models:  # losses, too, are those of the steps that are there
        model.compile("sgd", "mse")
    targets = [np.ones((3, 4)), np.ones((3, 4)), np.ones((3, 4, 4)), np.ones((3, 4, 4))]
    losses = [model.evaluate(numbers, targets, verbose=0, return_dict=True)["loss"] for model in models]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_padding_is_left_out_behind_an_embedding(keras):
    import minitl

    found = []
    numbers = np.array([[3, 5, 0, 0], [1, 2, 3, 4]])
    table = RNG.normal(size=(9, 4))
    for place in (minitl, keras):
        words = place.Input((4,), dtype="int32")
        x = place.layers.Embedding(9, 4, mask_zero=True)(words)
        model = place.Model(words, place.layers.MultiHeadAttention(2, 3)(x, x))
        shapes = [w.shape for w in model.get_weights()]
        model.set_weights([table, *(np.random.default_rng(k).normal(size=shape) for k, shape in enumerate(shapes[1:]))])
        found.append(np.asarray(model.predict(numbers, verbose=0)))
    np.testing.assert_allclose(found[0][0, :2], found[1][0, :2], atol=1e-5)  # what padding itself asks for is nobody's business
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-5)


class Encoder(Layer):
    def __init__(self, width, heads, **kwargs):
        super().__init__(**kwargs)
        self.width, self.heads = width, heads
        self.attention, self.first = MultiHeadAttention(heads, width // heads), LayerNormalization()
        self.inner, self.outer, self.second = Dense(2 * width, activation="relu"), Dense(width), LayerNormalization()

    def call(self, source, source_mask):
        x = self.attention(query=source, key=source, value=source, attention_mask=source_mask[:, None, :])
        x = self.first(x + source)
        return self.second(self.outer(self.inner(x)) + x)


def transformer():
    words = Input((None,), dtype="int32")
    x = Embedding(30, 8)(words)
    x = Encoder(8, 2)(source=x, source_mask=words != 0)
    return Model(words, Dense(1)(GlobalAveragePooling1D()(x)))


def test_a_transformer_of_one_s_own_layers(tmp_path):
    model = transformer()
    numbers = RNG.integers(0, 30, (32, 9))
    model.compile("adam", "mse")
    losses = model.fit(numbers, (numbers[:, :1] > 15).astype(float), epochs=15, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2 and model.predict(numbers[:, :4], verbose=0).shape == (32, 1)
    model.save(tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz", custom_objects={"Encoder": Encoder})
    np.testing.assert_array_equal(again.predict(numbers, verbose=0), model.predict(numbers, verbose=0))


def test_what_is_masked_changes_nothing():
    model = transformer()
    numbers = np.array([[4, 7, 0, 0], [4, 7, 9, 3]])
    other = Model(model.inputs, model.layers[-3].output)
    before = other.predict(numbers, verbose=0)[0, :2]
    model.layers[1].embeddings.value[0] += 5  # the vector of padding
    np.testing.assert_allclose(other.predict(numbers, verbose=0)[0, :2], before, atol=1e-6)


class Scaled(Layer):
    def call(self, x, factor, shift=None):
        return x * factor if shift is None else x * factor + shift


def test_calls_with_several_arguments():
    x, y = np.full((2, 3), 2.0, np.float32), np.full((2, 3), 5.0, np.float32)
    assert Scaled()(x, y).max() == 10 and Scaled()(factor=y, x=x).max() == 10 and Scaled()(x, y, x).max() == 12
    assert Scaled()(x, factor=y, shift=x).max() == 12 and Scaled()([x, y]).max() == 10
    a, b = Input((3,)), Input((3,))
    model = Model([a, b], Scaled()(a, factor=b))
    assert model.predict([x, y], verbose=0).max() == 10
    with pytest.raises(TypeError, match="takes x, factor, shift, got factors; give each after those before it"):
        Scaled()(x, factors=y)
    with pytest.raises(TypeError, match="give each after those before it"):
        Scaled()(x, shift=y)


class Perhaps(Layer):
    """One input, or two, and what training adds."""

    def call(self, x, shift=None, training=False):
        return (x if shift is None else x + 10 * shift) + (100 if training else 0)


class Both(Layer):
    def call(self, x, shift, training=False):
        return x + 10 * shift + (100 if training else 0)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x: Perhaps()(x), 1), (lambda x: Perhaps()(x, True), 101), (lambda x: Perhaps()(x, False), 1),
        (lambda x: Perhaps()(x, training=True), 101), (lambda x: Perhaps()(x, None), 1), (lambda x: Perhaps()(x, 2 * x), 21),
        (lambda x: Perhaps()(x, 2 * x, training=True), 121), (lambda x: Perhaps()(x, shift=2 * x), 21),
        (lambda x: Perhaps()(x, shift=2 * x, training=True), 121), (lambda x: Perhaps()(x, shift=None), 1),
        (lambda x: Both()(x, 2 * x), 21), (lambda x: Both()(x, 2 * x, training=True), 121),
        (lambda x: Both()([x, 2 * x]), 21), (lambda x: Both()([x, 2 * x], True), 121), (lambda x: Both()((x, 2 * x), False), 21),
        (lambda x: Both()([x, 2 * x], training=True), 121), (lambda x: Both()(shift=2 * x, x=x), 21),
        (lambda x: Model(a := Input((3,)), Perhaps()(a)).predict(x, verbose=0), 1),
        (lambda x: Model([a := Input((3,)), b := Input((3,))], Perhaps()(a, b)).predict([x, 2 * x], verbose=0), 21),
        (lambda x: Model([a := Input((3,)), b := Input((3,))], Perhaps()(a, shift=b))([x, 2 * x], training=True), 121),
        (lambda x: Model([a := Input((3,)), b := Input((3,))], Both()(a, b))([x, 2 * x], training=True), 121),
    ],
)  # fmt: skip
def test_what_a_call_may_be_given(call, expected):
    np.testing.assert_array_equal(call(np.ones((2, 3), np.float32)), np.full((2, 3), expected))


def test_what_a_call_may_not_be_given():
    x = np.ones((2, 3), np.float32)
    for wrong in (lambda: Both()(x, x, x), lambda: Both()(x, x, y=x), lambda: Both()(shift=x)):
        with pytest.raises(TypeError, match=r"takes x, shift, got .*; give each after those before it"):
            wrong()
    once = Perhaps()
    once(x)
    with pytest.raises(ValueError, match="layer Perhaps: was first called with x alone; give it the same inputs at every call"):
        once(x, x)
    for hook in ("convolution_op", "compute_output_spec"):
        with pytest.raises(TypeError, match=rf"nothing here calls {hook}\(\); define call\(\)"):
            type("Hooked", (Layer,), {hook: lambda self: None})


def test_values_compare_with_numbers_and_are_themselves():
    x = Input((3,))
    assert x == x and x in [x] and x != Input((3,)) and x != None and {x: 1}[x] == 1  # noqa: E711
    data = np.array([[0.0, 1.0, 2.0]], np.float32)
    assert Model(x, ops.cast(x != 0, "float32")).predict(data, verbose=0).tolist() == [[0, 1, 1]]
    assert Model(x, ops.cast(x == 1, "float32")).predict(data, verbose=0).tolist() == [[0, 1, 0]]


def test_a_weight_that_is_no_attribute_is_learnt():
    class Plain(Layer):
        def build(self, input_shape):
            self.add_weight("factor", input_shape[-1:], "ones")

        def call(self, x):
            return x * self.factor

    assert check_gradients(Plain(dtype="float64"), QUERY.astype(float))
    layer = Plain()
    model = Model(a := Input((6,)), Dense(1)(layer(Add()([a, a]))))
    model.compile(SGD(0.1), "mse")
    model.fit(QUERY[:, 0], np.ones((3, 1)), verbose=0)
    assert np.abs(layer.factor - 1).max() > 1e-4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiHeadAttention(0, 3), "num_heads must be a whole number of at least 1"),
        (lambda: Attention(score_mode="general"), "unknown score_mode 'general'"),
        (lambda: Attention(dropout=-0.1), r"dropout must be a number in \[0, 1\)"),
        (lambda: AdditiveAttention(dropout=1), r"dropout must be a number in \[0, 1\)"),
        (lambda: MultiHeadAttention(1, 3, dropout=1), r"dropout must be a number in \[0, 1\)"),
        (lambda: Attention()([QUERY, VALUE]), r"expected shape keys \(N, S, 6\), got \(3, 7, 4\)"),
        (lambda: AdditiveAttention()([VALUE, VALUE, QUERY]), r"expected shape keys \(N, 7, ...\), got \(3, 5, 6\)"),
        (lambda: MultiHeadAttention(1, 3, output_shape=(2, 3)), "output_shape must be one number"),
        (lambda: Attention()([QUERY]), r"takes \[query, value\] or \[query, value, key\], got 1 inputs"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_dropout_leaves_out_shares_in_training_only():
    layer = MultiHeadAttention(2, 3, dropout=0.5)
    still = layer(QUERY, QUERY)
    np.testing.assert_array_equal(layer(QUERY, QUERY), still)
    assert np.abs(layer(QUERY, QUERY, training=True) - still).max() > 1e-3


@pytest.mark.parametrize("kind", [Attention, AdditiveAttention])
def test_dropout_of_single_attention_is_drawn_in_training_only(kind):
    layer, x, values = kind(dropout=0.5), np.zeros((2, 3, 4), np.float32), np.ones((2, 200, 4), np.float32)
    np.testing.assert_allclose(layer([x, values]), 1, rtol=1e-5)
    y = layer([x, values], training=True)
    assert y.std() > 0.01 and y.mean() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("kind", [Attention, AdditiveAttention])
def test_there_is_one_key_for_each_value(kind):
    x = np.ones((2, 3, 4), np.float32)
    with pytest.raises(ValueError, match=r"expected shape keys \(N, 5, \.\.\.\), got \(2, 3, 4\); one for each value"):
        kind()([x, np.ones((2, 5, 4), np.float32), x])


def test_queries_and_values_are_masked_each_along_its_own_axis():
    random = np.random.default_rng(3)
    a, b = random.standard_normal((2, 3, 4)), random.standard_normal((2, 5, 4))
    a[:, 2], b[:, 4] = 0, 0
    query, value = Input((3, 4)), Input((5, 4))
    y = Model([query, value], Attention()([Masking()(query), Masking()(value)])).predict([a, b], verbose=0)
    shares = np.exp(a[:, :2] @ b[:, :4].swapaxes(1, 2))
    np.testing.assert_allclose(y[:, :2], shares / shares.sum(axis=-1, keepdims=True) @ b[:, :4], atol=1e-5)


def test_keys_may_be_of_another_width_than_values():
    layer = MultiHeadAttention(2, 3)
    assert layer(np.ones((1, 5, 4)), np.ones((1, 6, 7)), np.ones((1, 6, 2))).shape == (1, 5, 4)
    assert layer.parameters["key_kernel"].shape == (2, 2, 3) and layer.parameters["value_kernel"].shape == (7, 2, 3)


def test_dense_layers_of_equations():
    x = RNG.normal(size=(3, 5, 6)).astype("float32")
    layer = layers.EinsumDense("abc,cde->abde", (None, 2, 4), "relu", "de")
    y = layer(x)
    kernel, bias = layer.get_weights()
    assert kernel.shape == (6, 2, 4) and bias.shape == (2, 4) and y.shape == (3, 5, 2, 4)
    layer.set_weights([kernel, RNG.normal(size=bias.shape)])
    np.testing.assert_allclose(layer(x), np.maximum(np.tensordot(x, kernel, 1) + layer.get_weights()[1], 0), atol=1e-5)
    dense, last = Dense(4), layers.EinsumDense("...x,xy->...y", 4, bias_axes="y")
    dense(x), last(x)
    last.set_weights(dense.get_weights())
    np.testing.assert_allclose(last(x), dense(x), atol=1e-5)
    turned = layers.EinsumDense("abc,bd->adc", (4, None), bias_axes="d")
    assert turned(x).shape == (3, 4, 6) and [w.shape for w in turned.get_weights()] == [(5, 4), (4, 1)]
    again = layers.EinsumDense.from_config(turned.get_config())
    assert again(x).shape == (3, 4, 6)
    ends = layers.EinsumDense("ab...,bc->ac...", 7)
    assert ends(x).shape == (3, 7, 6) and ends.get_weights()[0].shape == (5, 7)
    steps = Input((None, 6))
    free = Model(steps, layers.EinsumDense("abc,cd->abd", (None, 4))(steps))
    assert free.output_shape == (None, None, 4) and free(x[:, :2]).shape == (3, 2, 4) and free(x).shape == (3, 5, 4)


def test_rows_of_one_length():
    assert layers.RMSNormalization(axis=2)(QUERY).shape == QUERY.shape  # the last one, counted from the front
    x = RNG.normal(size=(3, 5, 6)).astype("float32")
    layer = layers.RMSNormalization(epsilon=0.5)
    layer(x)
    layer.set_weights([np.arange(6)])
    np.testing.assert_allclose(layer(x), np.arange(6) * x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 0.5), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.EinsumDense("abc", 3), "equation must be such as 'abc,cd->abd' or '...x,xy->...y', got 'abc'"),
        (lambda: layers.EinsumDense("...a,ab->b", 3), "equation must be such as"),
        (lambda: layers.EinsumDense("abc,cd->abd", 0), "output_shape must be a whole number of at least 1, got 0"),
        (lambda: layers.EinsumDense("abc,cd->abd", 4)(QUERY), r"output_shape=\(4,\) must have a number for each of 'bd'"),
        (lambda: layers.EinsumDense("ab,bc->ac", 4)(QUERY), "expected shape one with the axes ab, got .3, 5, 6."),
        (lambda: layers.EinsumDense("abc,cd->abd", (None, None))(QUERY), "the length of d in abc,cd->abd is not known"),
        (
            lambda: layers.EinsumDense("abc,cd->abd", (None, 2), bias_axes="c")(QUERY),
            "bias_axes='c' are no axes of the output 'abd'",
        ),
        (lambda: layers.RMSNormalization(axis=1)(QUERY), "axis must be the last, -1, got 1"),
        (lambda: layers.RMSNormalization(epsilon=-1), "epsilon must be a number in"),
        (lambda: layers.RMSNormalization()(layers.Input((4, None))), "needs inputs whose last axis is known"),
    ],
)
def test_wrong_equations_and_axes(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_root_mean_squares_of_sequences_of_any_length():
    steps = layers.Input((None, 4))
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    found = Model(steps, layers.RMSNormalization()(steps)).predict(x, verbose=0)
    np.testing.assert_allclose(found, x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6), rtol=1e-4)
