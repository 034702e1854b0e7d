"""Categories, intervals and vocabularies: what the layers give, in and out of models, in files, and what they refuse."""

import numpy as np
import pytest

from minitl import layers
from minitl.gradcheck import check_gradients
from minitl.layers import CategoryEncoding, Dense, Discretization, Input, IntegerLookup, StringLookup
from minitl.models import Model, Sequential, load_model

NUMBERS = np.array([[0, 1], [2, 2], [3, 1]])


def test_category_encoding():
    assert CategoryEncoding(4)(NUMBERS).tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1]]
    assert CategoryEncoding(4, "count")(NUMBERS).tolist() == [[1, 1, 0, 0], [0, 0, 2, 0], [0, 1, 0, 1]]
    one = CategoryEncoding(4, "one_hot")
    np.testing.assert_array_equal(one(NUMBERS), np.eye(4)[NUMBERS])
    np.testing.assert_array_equal(CategoryEncoding(4, "one_hot")(NUMBERS[:, :1]), np.eye(4)[NUMBERS[:, 0]])
    assert one(NUMBERS).dtype == np.float32
    np.testing.assert_array_equal(CategoryEncoding(4, "one_hot")(np.array([3, 0])), np.eye(4)[[3, 0]])
    for wrong in ([[4]], [[-1]], [[0.5]]):
        with pytest.raises(ValueError, match=r"is none of the 4 categories 0 \.\. 3"):
            CategoryEncoding(4)(np.array(wrong))


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
@pytest.mark.parametrize("shape", [(1,), (2,), (3, 2)])
def test_shapes_in_a_model_are_those_of_the_arrays(mode, shape):
    x = np.random.default_rng(0).integers(0, 5, (4, *shape))
    value = Input(shape, dtype="int32")
    model = Model(value, CategoryEncoding(5, mode)(value))
    y = model.predict(x, verbose=0)
    assert y.shape == (4, *model.output_shape[1:])
    np.testing.assert_array_equal(y, CategoryEncoding(5, mode)(x))


def test_discretization():
    x = np.array([[-1.5, 1.0], [3.4, 0.5], [0.0, 2.0]])
    numbers = Discretization([0.0, 1.0, 2.0])(x)
    assert numbers.tolist() == [[0, 2], [3, 1], [1, 3]] and numbers.dtype == np.int64
    assert Discretization([0, 1, 2], output_mode="multi_hot")(x).tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [0, 1, 0, 1]]
    layer = Discretization(num_bins=4)
    with pytest.raises(ValueError, match=r"has no boundaries yet; call adapt\(data\)"):
        layer(x)
    data = np.random.default_rng(1).normal(size=1000)
    layer.adapt([data[:300], data[300:]])
    assert np.bincount(layer(data)).tolist() == [250] * 4
    again = Discretization.from_config(layer.get_config())
    np.testing.assert_array_equal(again(data), layer(data))
    for settings, message in (
        ({}, "give bin_boundaries, or num_bins"),
        ({"bin_boundaries": [1], "num_bins": 2}, "give bin_boundaries, or num_bins"),
        ({"bin_boundaries": [1, 1]}, "must ascend"),
        ({"bin_boundaries": [1], "output_mode": "tf_idf"}, "output_mode"),
        ({"bin_boundaries": [1], "sparse": True}, "gives dense arrays"),
    ):
        with pytest.raises(ValueError, match=message):
            Discretization(**settings)
    with pytest.raises(ValueError, match="has its bin_boundaries"):
        Discretization([1]).adapt(data)
    assert Discretization([1], name="ages").name == "ages"
    with pytest.raises(TypeError, match="nonsense"):
        Discretization([1], nonsense=3)


def test_words():
    lookup = StringLookup()
    with pytest.raises(ValueError, match="has no vocabulary yet"):
        lookup(["a"])
    lookup.adapt([["b", "a"], ["c", "b"], [b"a", "b"]])
    assert lookup.get_vocabulary() == ["[UNK]", "b", "a", "c"] and lookup.vocabulary_size() == 4
    assert lookup.get_vocabulary(include_special_tokens=False) == ["b", "a", "c"]
    assert lookup(np.array([["a", "z"], ["c", "b"]])).tolist() == [[2, 0], [3, 1]]
    back = StringLookup(vocabulary=lookup.get_vocabulary(), invert=True)
    assert back([[2, 0], [3, 9]]).tolist() == [["a", "[UNK]"], ["c", "[UNK]"]]
    assert StringLookup(vocabulary=["a", "b"], output_mode="multi_hot")([["a", "z"]]).tolist() == [[1, 1, 0]]
    with pytest.raises(ValueError, match="applies to words, not inside a model"):
        lookup(Input((1,)))
    with pytest.raises(ValueError, match="expected words, got int64"):
        lookup(np.array([1]))


def test_masks_and_limits():
    masked = StringLookup(mask_token="", vocabulary=["a", "b"])
    assert masked.get_vocabulary() == ["", "[UNK]", "a", "b"]
    assert masked(["a", "", "z"]).tolist() == [2, 0, 1]
    assert StringLookup(mask_token="", vocabulary=["a"], output_mode="count")([["a", "", "z"]]).tolist() == [[1, 1]]
    strict = StringLookup(num_oov_indices=0, vocabulary=["a", "b"])
    assert strict(["b", "a"]).tolist() == [1, 0]
    with pytest.raises(ValueError, match="'z' is not in the vocabulary"):
        strict(["a", "z"])
    few = StringLookup(max_tokens=2)
    few.adapt(np.array(["a", "b", "b"]))
    assert few.get_vocabulary() == ["[UNK]", "b"]
    wide = IntegerLookup(max_tokens=5, vocabulary=[7], output_mode="multi_hot", pad_to_max_tokens=True)
    assert wide(np.array([[7, 8]])).tolist() == [[1, 1, 0, 0, 0]]
    for settings, message in (
        ({"vocabulary": ["a", "a"]}, "has 'a' twice"),
        ({"vocabulary": ["a", "b"], "max_tokens": 2}, "2 entries and 1 special ones, max_tokens=2"),
        ({"num_oov_indices": 1.5}, "num_oov_indices must be 0 or more"),
        ({"invert": True, "output_mode": "count"}, "invert=True is for"),
        ({"pad_to_max_tokens": True}, "needs max_tokens"),
    ):
        with pytest.raises(ValueError, match=message):
            StringLookup(**settings)


@pytest.mark.parametrize(("limit", "words"), [(2, []), (3, ["b"]), (4, ["b", "c"]), (None, ["b", "c", "a"])])
def test_the_limit_counts_the_special_entries(limit, words):
    layer = layers.TextVectorization(max_tokens=limit)
    layer.adapt(["a b c b c b"])
    assert layer.get_vocabulary() == ["", "[UNK]", *words]


def test_a_vocabulary_from_a_file(tmp_path):
    (tmp_path / "words.txt").write_text("b\na\n", encoding="utf-8")
    assert StringLookup(vocabulary=tmp_path / "words.txt")(["a", "b"]).tolist() == [2, 1]


def test_in_a_model_that_learns_and_is_saved(tmp_path):
    places = IntegerLookup(output_mode="one_hot")
    places.adapt(np.array([10, 30, 10, 20, 20, 20]))
    assert places.get_vocabulary() == [-1, 20, 10, 30]
    x = np.array([[10], [20], [30], [99]])
    value = Input((1,), dtype="int64")
    model = Model(value, Dense(1)(places(value)))
    model.compile("sgd", "mse")
    model.fit(x, np.ones((4, 1)), epochs=2, verbose=0)
    model.save(tmp_path / "model.npz")
    np.testing.assert_array_equal(load_model(tmp_path / "model.npz").predict(x, verbose=0), model.predict(x, verbose=0))
    below = Sequential([Input((2,)), Dense(2), Discretization([0.0], output_mode="one_hot"), Dense(1)])
    below.compile("sgd", "mse")
    before = below.get_weights()
    below.fit(np.ones((2, 2)), np.ones((2, 2, 1)), verbose=0)
    moved = [not np.array_equal(old, new) for old, new in zip(before, below.get_weights(), strict=True)]
    assert moved == [False, False, True, True]  # the gradient of a step is 0
    with pytest.raises(ValueError, match="invert=True applies to numbers, not inside a model"):
        IntegerLookup(vocabulary=[1], invert=True)(value)


def test_random_crop():
    images = np.arange(2 * 6 * 7 * 1, dtype=np.float32).reshape(2, 6, 7, 1)
    crop = layers.RandomCrop(4, 3, seed=1)
    places = set()
    for _ in range(60):
        part = crop(images, training=True)
        top, left = divmod(int(part[0, 0, 0, 0]), 7)
        np.testing.assert_array_equal(part, images[:, top : top + 4, left : left + 3])
        places.add((top, left))
    assert {top for top, _ in places} == {0, 1, 2} and {left for _, left in places} == {0, 1, 2, 3, 4}
    plain = layers.Resizing(4, 3, crop_to_aspect_ratio=True)(images)
    np.testing.assert_array_equal(crop(images), plain)
    np.testing.assert_array_equal(
        layers.RandomCrop(6, 9)(images, training=True), layers.Resizing(6, 9, crop_to_aspect_ratio=True)(images)
    )
    assert Sequential([Input((6, 7, 1)), layers.RandomCrop(4, 3)]).output_shape == (None, 4, 3, 1)


def test_random_brightness():
    images = np.full((500, 2, 2, 1), 0.5, np.float32)
    lighter = layers.RandomBrightness((0.0, 0.3), value_range=(0, 1), seed=2)
    changed = lighter(images, training=True)
    assert (np.ptp(changed, axis=(1, 2, 3)) == 0).all() and changed.dtype == np.float32
    assert changed.min() >= 0.5 and 0.79 < changed.max() <= 0.8
    np.testing.assert_array_equal(lighter(images), images)
    assert layers.RandomBrightness(1.0)(images * 500, training=True).max() == 255
    with pytest.raises(ValueError, match="value_range must be two numbers"):
        layers.RandomBrightness(0.1, value_range=(1,))


@pytest.mark.parametrize("axis", [-1, (1, 2)])
def test_unit_normalization(axis):
    x = np.random.default_rng(3).normal(size=(3, 4, 5))
    layer = layers.UnitNormalization(axis, dtype="float64")
    y = layer(x)
    np.testing.assert_allclose((y * y).sum(axis=axis), 1)
    assert check_gradients(Sequential([Input((4, 5), dtype="float64"), layer]).astype("float64"), x)
    assert (layers.UnitNormalization()(np.zeros((2, 3))) == 0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: CategoryEncoding(4, "one_hot"),
        lambda: Discretization([0.5, 2.0], output_mode="one_hot"),
        lambda: layers.UnitNormalization(),
        lambda: layers.RandomBrightness(0.3),
    ],
)
def test_files_of_keras(make, tmp_path):
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(0).integers(0, 4, (3, 5, 5, 2))
    value = Input(x.shape[1:], dtype="int32" if isinstance(make(), CategoryEncoding) else "float32")
    model = Model(value, layers.Flatten()(make()(value)))
    model.save(tmp_path / "model.keras")
    theirs = keras.models.load_model(tmp_path / "model.keras")
    theirs.save(tmp_path / "back.keras")
    back = load_model(tmp_path / "back.keras")
    y = np.asarray(theirs.predict(x.astype(value.dtype), verbose=0))
    np.testing.assert_allclose(model.predict(x, verbose=0), y, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(back.predict(x, verbose=0), y, rtol=1e-6, atol=1e-6)


def test_what_models_ask_of_these_layers():
    assert CategoryEncoding(3).input_dtype == np.int32 and IntegerLookup().input_dtype == np.int64
    assert Discretization(num_bins=4, output_mode="one_hot").compute_output_shape((None, 2)) == (None, 2, 4)
    assert CategoryEncoding(4, "one_hot")(NUMBERS[..., None]).shape == (3, 2, 4)
    layer = Discretization([0.0], output_mode="one_hot")
    y = layer.forward(np.ones((2, 3)))
    assert layer.backward(np.ones_like(y)).tolist() == [[0, 0, 0], [0, 0, 0]]
    whole = CategoryEncoding(4, "one_hot")
    whole.forward(NUMBERS)
    assert whole.backward(np.ones((3, 2, 4))) is None


def test_more_of_lookups():
    assert StringLookup(vocabulary=["a", "b"], num_oov_indices=0, invert=True)([1, 0]).tolist() == ["b", "a"]
    with pytest.raises(ValueError, match="has 'a' twice"):
        StringLookup(vocabulary=["b", "a", "a"])
    for name in ("mask_token", "oov_token"):
        with pytest.raises(ValueError, match=f"IntegerLookup: {name} must be a whole number, got 'x'"):
            IntegerLookup(**{name: "x"})
    counts = StringLookup(mask_token="a", vocabulary=["b"], output_mode="count")
    assert counts.get_vocabulary() == ["[UNK]", "b"] and counts([["a", "a", "b", "c"]]).tolist() == [[1, 1]]


def test_edges():
    assert CategoryEncoding(4, "one_hot")(np.array([2])).tolist() == [[0, 0, 1, 0]]
    value = Input((2,))
    assert Discretization([0.0])(value).dtype == np.int64
    assert Discretization([0.0], output_mode="count")(value).dtype == np.float32


def test_what_is_masked_takes_no_place_in_a_vocabulary_of_a_size():
    lookup = StringLookup(mask_token="", max_tokens=3)
    lookup.adapt(["", "", "", "b", "a", "a"])
    assert lookup(["", "a", "b"]).tolist() == [0, 2, 1]


def test_numbers_count_as_much_as_they_weigh():
    x, weights = np.array([[0, 1, 1], [3, 3, 2]]), np.array([[0.5, 1, 2], [1, 1, 0.25]])
    layer = layers.CategoryEncoding(4, output_mode="count")
    np.testing.assert_array_equal(layer(x, count_weights=weights), [[0.5, 3, 0, 0], [0, 0, 0.25, 2]])
    keras = pytest.importorskip("keras")
    theirs = keras.layers.CategoryEncoding(num_tokens=4, output_mode="count")(x, count_weights=weights)
    np.testing.assert_array_equal(layer(x, count_weights=weights), keras.ops.convert_to_numpy(theirs))
    with pytest.raises(ValueError, match="count_weights: expected shape"):
        layer(x, count_weights=weights[:, :2])
    inside = layers.Input((3,))
    for wrong in (lambda: layers.CategoryEncoding(4)(x, count_weights=weights), lambda: layer(inside, count_weights=x)):
        with pytest.raises(ValueError, match="count_weights belong to output_mode='count'"):
            wrong()


def test_what_is_unknown_may_have_several_numbers():
    numbers = layers.IntegerLookup(vocabulary=[10, 20, 30], num_oov_indices=2)
    np.testing.assert_array_equal(numbers(np.array([[10, 30, 4, 7]])), [[2, 4, 0, 1]])
    assert numbers.get_vocabulary() == [-1, -1, 10, 20, 30]
    words = layers.StringLookup(vocabulary=["a", "b"], num_oov_indices=3, mask_token="")
    found = words(np.array([["", "a", "x", "y", "z", "x"]]))[0]
    assert found[0] == 0 and found[1] == 4 and found[2] == found[5]
    assert set(found[2:]) <= {1, 2, 3} and len(set(found[2:])) > 1
    with pytest.raises(ValueError, match="num_oov_indices must be 0 or more, got -1"):
        layers.StringLookup(num_oov_indices=-1)


def test_rare_entries_weigh_more():
    words = layers.StringLookup(vocabulary=["a", "b"], idf_weights=[0.5, 0.75], output_mode="tf_idf", num_oov_indices=2)
    both = words(np.array([["a", "a", "b", "z"]]))[0]
    np.testing.assert_allclose(both[2:], [1.0, 0.75])
    np.testing.assert_allclose(sorted(both[:2]), [0, 0.625])  # the mean of the weights
    padded = layers.StringLookup(max_tokens=6, output_mode="tf_idf", pad_to_max_tokens=True)
    padded.adapt(np.array([["a", "b"], ["a", "a"]]))
    assert padded.get_vocabulary() == ["[UNK]", "a", "b"]
    np.testing.assert_allclose(padded.idf_weights, np.log([1 + 2 / 3, 1 + 2 / 2]))
    np.testing.assert_allclose(padded(np.array([["b", "b"]]))[0], [0, 0, 2 * np.log(2), 0, 0, 0], rtol=1e-6)
    for make in (
        lambda: layers.StringLookup(vocabulary=["a"], output_mode="tf_idf"),
        lambda: layers.StringLookup(vocabulary=["a"], idf_weights=[1.0]),
        lambda: layers.StringLookup(vocabulary=["a"], idf_weights=[1.0, 2.0], output_mode="tf_idf"),
    ):
        with pytest.raises(ValueError, match="needs idf_weights, one per entry"):
            make()


def test_a_text_that_is_not_split_is_one_number():
    vectorize = layers.TextVectorization(split=None)
    vectorize.adapt(["a b", "c"])
    assert vectorize(["a b", "c", "d"]).shape == (3,) and vectorize([["c"], ["d"]]).shape == (2, 1)
    assert layers.TextVectorization(split=None, vocabulary=["c"])("c").shape == ()
    assert layers.TextVectorization(split=None, vocabulary=["c"], output_sequence_length=2)(["c"]).shape == (1, 2)
