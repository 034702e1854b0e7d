"""Attention against Keras's, against numerical gradients, and inside layers of one's own; calls with several arguments."""

import numpy as np
import pytest

from minitl import Input, Model, ops
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
    with pytest.raises(ValueError, match="attention is not written to files of Keras"):
        ours.save(str(tmp_path / "m.keras"))
    with pytest.raises(ValueError, match="ONNX has nothing for this layer"):
        export_onnx(ours, tmp_path / "m.onnx")
    theirs.save(tmp_path / "k.keras")
    with pytest.raises(ValueError, match="attention is not read from files of Keras"):
        load_model(str(tmp_path / "k.keras"))


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
        (lambda: MultiHeadAttention(1, 3, dropout=1), r"dropout must be a number in \[0, 1\)"),
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
