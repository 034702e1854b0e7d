"""What programs for older versions of Keras call: functions on one image, on series and words, `numpy()` of what comes out."""

import importlib
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

import minitl
from minitl import activations, losses, metrics
from minitl.layers import Dense, Flatten, Input, SeparableConv2D, TextVectorization
from minitl.models import Sequential
from minitl.preprocessing import image, sequence, text
from minitl.utils import get_file

X = np.random.default_rng(0).random((12, 8, 8, 3)).astype(np.float32)
Y = np.arange(12) % 3


def theirs(module):
    pytest.importorskip("keras")
    pytest.importorskip("scipy")
    return importlib.import_module(f"keras.src.legacy.preprocessing.{module}")


def network():
    model = Sequential([Input((8, 8, 3)), Flatten(), Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_results_have_numpy():
    model = network()
    for found in (Dense(2)(X), model(X), model.predict(X, verbose=0), model.predict_on_batch(X)):
        assert type(found.numpy()) is np.ndarray and np.array_equal(found.numpy(), found)
        assert type(found + 1) is np.ndarray and type(found.mean(axis=0)) is not type(found)
        assert type(pickle.loads(pickle.dumps(found))) is np.ndarray
        out = np.zeros_like(found)
        assert np.add(found, 1, out=out) is out and np.array_equal(out, found.numpy() + 1)
    metric = metrics.SparseCategoricalAccuracy()
    metric.update_state(Y, model(X))
    for number in (metric.result(), losses.MeanSquaredError()(X, X + 1), metrics.AUC()([0, 1], [0.0, 1.0])):
        assert isinstance(number, float) and number.numpy() == np.float32(number)
    per_class = metrics.F1Score()
    per_class.update_state(np.eye(3), np.eye(3))
    assert type(per_class.result().numpy()) is np.ndarray
    vectorize = TextVectorization()
    vectorize.adapt(["a b"])
    assert vectorize(["b"]).numpy().tolist() == [[2]]


def test_series_become_windows_as_in_keras():
    of_keras = theirs("sequence")
    data, targets = np.arange(60.0).reshape(30, 2), np.arange(30)
    for settings in (
        {"length": 5}, {"length": 6, "sampling_rate": 2, "stride": 3, "batch_size": 4},
        {"length": 3, "start_index": 4, "end_index": 20, "reverse": True, "batch_size": 7},
    ):  # fmt: skip
        ours, reference = (kind.TimeseriesGenerator(data, targets, **settings) for kind in (sequence, of_keras))
        assert len(ours) == len(reference)
        for k in range(len(ours)):
            for mine, other in zip(ours[k], reference[k], strict=True):
                np.testing.assert_array_equal(mine, other)
    model = Sequential([Input((5, 2)), Flatten(), Dense(1)])
    model.compile("sgd", "mse")
    assert len(model.fit(sequence.TimeseriesGenerator(data, targets, 5), epochs=2, verbose=0).history["loss"]) == 2
    drawn = sequence.TimeseriesGenerator(data, targets, 5, shuffle=True, batch_size=8)
    windows, after = drawn[0]
    assert windows.shape == (8, 5, 2) and (windows[:, -1, 0] == 2 * (after - 1)).all() and len(set(after)) > 2
    for arguments, message in (((data, targets[1:], 3), "30 steps and 29 targets"), ((data, targets, 40), "leaves no target")):
        with pytest.raises(ValueError, match=message):
            sequence.TimeseriesGenerator(*arguments)


def test_pairs_of_words():
    of_keras = theirs("sequence")
    np.testing.assert_allclose(sequence.make_sampling_table(50, 1e-3), of_keras.make_sampling_table(50, 1e-3))
    words = [1, 2, 0, 3, 4]
    pairs, labels = sequence.skipgrams(words, 9, window_size=1, negative_samples=0, shuffle=False)
    assert (pairs, labels) == of_keras.skipgrams(words, 9, window_size=1, negative_samples=0, shuffle=False)
    pairs, labels = sequence.skipgrams(words, 9, 2, 2.0, categorical=True, seed=3)
    assert (pairs, labels) == sequence.skipgrams(words, 9, 2, 2.0, categorical=True, seed=3)
    assert labels.count([0, 1]) * 2 == labels.count([1, 0]) and all(1 <= other < 9 for _, other in pairs)
    assert labels != sorted(labels)
    assert sequence.skipgrams(words, 9, sampling_table=np.zeros(9)) == ([], [])


def test_words_become_numbers_by_hashing():
    settings = {"hash_function": "md5", "filters": "!"}
    assert text.hashing_trick("A b! a", 20, **settings) == theirs("text").hashing_trick("A b! a", 20, **settings)
    assert text.hashing_trick("a bb ccc", 10, hash_function=len, analyzer=lambda t: t.split()) == [2, 3, 4]
    assert text.hashing_trick("a b", 30) == text.hashing_trick("a b", 30, "md5")


@pytest.mark.parametrize("axes", [{}, {"row_axis": 0, "col_axis": 1, "channel_axis": 2}], ids=["channels first", "last"])
def test_an_image_is_moved_as_in_keras(axes):
    x = np.random.default_rng(1).random((3, 12, 12) if not axes else (12, 12, 3))
    change = {"theta": 20, "tx": 1.5, "ty": -2, "shear": 10, "zx": 0.8, "zy": 1.3}
    for settings in ({}, {"fill_mode": "constant", "cval": 0.5}, {"fill_mode": "reflect", "order": 0}):
        ours, reference = (kind.apply_affine_transform(x, **change, **axes, **settings) for kind in (image, theirs("image")))
        np.testing.assert_allclose(ours, reference, atol=1e-9)


def test_drawn_changes_of_one_image():
    of_last = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}
    x = np.random.default_rng(2).random((9, 9, 3))
    for function, arguments in (
        (image.random_rotation, (30,)), (image.random_shift, (0.3, 0.2)), (image.random_shear, (20,)),
        (image.random_zoom, ((0.5, 0.8),)),
    ):  # fmt: skip
        minitl.set_random_seed(5)
        by_name = function(x, *arguments, **of_last)
        minitl.set_random_seed(5)
        np.testing.assert_array_equal(by_name, function(x, *arguments, 0, 1, 2))
        assert by_name.shape == x.shape and not np.allclose(by_name, x)
    assert np.array_equal(image.random_zoom(x, (1, 1), **of_last), x)
    brighter = image.random_channel_shift(x, 0.3, 2)
    assert brighter.min() >= x.min() and brighter.max() <= x.max() and not np.allclose(brighter, x)
    photograph = (255 * x).round()
    np.testing.assert_array_equal(image.flip_axis(x, 1), x[:, ::-1])
    np.testing.assert_allclose(
        image.apply_brightness_shift(photograph, 0.5, scale=False),
        theirs("image").apply_brightness_shift(photograph, 0.5, scale=False), atol=1,
    )  # fmt: skip
    assert image.random_brightness(photograph, (0.2, 0.4)).mean() < 0.5 * photograph.mean()
    for function in (image.random_zoom, image.random_brightness):
        with pytest.raises(ValueError, match=r"must be \(low, high\), got 3"):
            function(x, 3)
    assert image.smart_resize(x, (4, 6)).shape == (4, 6, 3) and image.smart_resize(X, (4, 4)).shape == (12, 4, 4, 3)


def test_smart_resize_is_keras_s():
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(1).random((20, 13, 3)).astype(np.float32)
    expected = keras.preprocessing.image.smart_resize(x, (8, 9))
    np.testing.assert_allclose(image.smart_resize(x, (8, 9)), np.asarray(expected), atol=1e-5)


def test_modules_and_arguments_of_older_programs():
    from minitl.keras_preprocessing.image import ImageDataGenerator
    from minitl.keras_preprocessing.sequence import TimeseriesGenerator, pad_sequences
    from minitl.keras_preprocessing.text import Tokenizer

    assert ImageDataGenerator is image.ImageDataGenerator and Tokenizer is text.Tokenizer
    assert TimeseriesGenerator is sequence.TimeseriesGenerator and pad_sequences is text.pad_sequences
    assert minitl.layers.experimental.preprocessing.Rescaling is minitl.layers.Rescaling
    iterator = ImageDataGenerator().flow(X, Y, batch_size=4)
    assert iterator.next()[0].shape == (4, 8, 8, 3)
    with pytest.warns(FutureWarning, match="never did anything"):
        layer = SeparableConv2D(2, 3, kernel_regularizer="l2", kernel_initializer="he_normal")
    assert layer.depthwise_regularizer is None
    with pytest.warns(FutureWarning, match="a weight per class"):
        network().fit(X, Y, class_weight="auto", verbose=0)
    softmax = type("Function", (), {"__name__": "softmax_v2", "__module__": "tensorflow.python.ops.nn_ops", "__call__": None})()
    assert activations.name_of(softmax) == "softmax"
    for module in (image, text):
        with pytest.raises(AttributeError, match="has no attribute 'no_such_function'"):
            module.no_such_function  # noqa: B018


def test_archives_are_found_where_programs_look_for_them(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    address = (tmp_path / "cats.zip").as_uri()
    with zipfile.ZipFile(tmp_path / "cats.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "cats_filtered/train/a.png")
    (folder := tmp_path / "mine" / "sets").mkdir(parents=True)
    (tmp_path / "cats.zip").rename(folder / "cats.zip")  # as if it had been fetched
    path = get_file("cats.zip", address, untar=True, extract=True, cache_subdir="sets", cache_dir=tmp_path / "mine")
    assert path == str(folder / "cats")
    assert (folder / "cats/cats_filtered/train/a.png").is_file()  # Keras 3: inside
    assert (folder / "cats_filtered/train/a.png").is_file()  # Keras 2: beside
    assert get_file("cats.zip", address, cache_subdir="sets", cache_dir=tmp_path / "mine", extract=True) == path
