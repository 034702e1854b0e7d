"""Pictures: files of every odd kind, folders, augmentation as in Keras, batches that depend on the seed alone."""

import os
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

import minitl
from minitl import plot
from minitl.gradcheck import check_gradients
from minitl.layers import CenterCrop, Conv2D, Dense, Flatten, Input, MaxPooling2D, Normalization, Resizing
from minitl.models import Sequential, load_model
from minitl.preprocessing.image import (
    BadImageError,
    ImageDataGenerator,
    alternating_flip,
    array_to_img,
    augmented,
    compose,
    cutout,
    img_to_array,
    label_smoothing,
    load_img,
    mixup,
    pad_and_crop,
    save_img,
    transforms,
)
from minitl.preprocessing.image.dataset import targets_of
from minitl.utils import image_dataset_from_directory, set_random_seed, to_categorical

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (9, 12, 3), np.uint8)
X = RANDOM.integers(0, 256, (20, 8, 8, 3), np.uint8)
Y = np.arange(20) % 4
ALL = {
    "rotation_range": 30, "width_shift_range": 0.2, "height_shift_range": 2, "shear_range": 10, "zoom_range": 0.3,
    "horizontal_flip": True, "vertical_flip": True,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Three classes of six pictures each, sizes all different."""
    root = tmp_path / "train"
    for c, name in enumerate(("ant", "bee", "猫")):
        (root / name).mkdir(parents=True)
        for i in range(6):
            picture = RANDOM.integers(0, 80, (8 + i, 10, 3), np.uint8)
            picture[..., c] += 150
            Image.fromarray(picture).save(root / name / f"图{i}.png")
    return root


def model(classes, size=8):
    net = Sequential(
        [Input((size, size, 3)), Conv2D(8, 3, activation="relu"), MaxPooling2D(), Flatten(), Dense(classes, activation="softmax")]
    )
    net.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return net


# Files.


def test_files_are_read_as_pillow_reads_them(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    np.testing.assert_array_equal(img_to_array(load_img(tmp_path / "a.png")), PICTURE)
    for size in ((4, 7), (30, 20)):
        for name in ("nearest", "bilinear", "box"):
            expected = Image.fromarray(PICTURE).resize(size[::-1], getattr(Image.Resampling, name.upper()))
            np.testing.assert_array_equal(img_to_array(load_img(tmp_path / "a.png", "rgb", size, name)), np.asarray(expected))
    grey = img_to_array(load_img(tmp_path / "a.png", "grayscale"))
    np.testing.assert_array_equal(grey[..., 0], np.asarray(Image.fromarray(PICTURE).convert("L")))
    assert img_to_array(load_img(tmp_path / "a.png", "rgba")).shape == (9, 12, 4)
    square = load_img(tmp_path / "a.png", target_size=(9, 9), keep_aspect_ratio=True)
    middle = Image.fromarray(PICTURE).resize((9, 9), Image.Resampling.NEAREST, (1.5, 0, 10.5, 9))
    np.testing.assert_array_equal(img_to_array(square), np.asarray(middle))


@pytest.mark.parametrize(
    ("shape", "target", "part"),
    [
        ((20, 40), (20, 20), np.s_[:, 10:30]),
        ((40, 20), (20, 20), np.s_[10:30]),
        ((40, 40), (20, 40), np.s_[10:30]),
        ((40, 40), (40, 10), np.s_[:, 15:25]),
    ],
)
def test_the_middle_of_a_picture_is_what_is_kept(tmp_path, shape, target, part):
    picture = RANDOM.integers(0, 256, (*shape, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    kept = load_img(tmp_path / "a.png", target_size=target, keep_aspect_ratio=True)
    np.testing.assert_array_equal(img_to_array(kept), picture[part])


@pytest.mark.parametrize(
    ("values", "expected"), [([0, 0.5, 1], [0, 128, 255]), ([0, 100, 300], [0, 100, 255]), ([-3, 0.25, 2], [0, 0, 2])]
)
def test_numbers_with_a_point_become_bytes(tmp_path, values, expected):
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(img_to_array(load_img(tmp_path / "a.tif", "grayscale"))[0, :, 0], expected)


def test_how_many_pixels_a_file_may_have_depends_on_its_size(tmp_path, monkeypatch):
    noise, flat = RANDOM.integers(0, 256, (40, 40, 3), np.uint8), np.zeros((200, 200, 3), np.uint8)
    for name, picture in (("noise", noise), ("flat", flat)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    monkeypatch.setattr("minitl.preprocessing.image.files.PIXELS_OF_ANY_FILE", 100)
    assert img_to_array(load_img(tmp_path / "noise.png")).shape == (40, 40, 3)  # 1,600 pixels in 5 kB
    with pytest.raises(BadImageError, match="200 x 200 pixels are too many"):
        load_img(tmp_path / "flat.png")
    monkeypatch.setattr("minitl.preprocessing.image.files.LARGEST", 1599)
    with pytest.raises(BadImageError, match="too many"):
        load_img(tmp_path / "noise.png")


@pytest.mark.parametrize("mode", ["CMYK", "P", "L", "LA", "RGBA", "1"])
def test_other_colour_modes_are_converted(tmp_path, mode):
    image = Image.fromarray(PICTURE).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    np.testing.assert_array_equal(img_to_array(load_img(path)), np.asarray(image.convert("RGB")))


def test_sixteen_bits_become_eight(tmp_path):
    values = PICTURE[..., 0].astype(np.uint16) * 257
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(img_to_array(load_img(tmp_path / "a.png", "grayscale"))[..., 0], PICTURE[..., 0])
    np.testing.assert_array_equal(img_to_array(load_img(tmp_path / "a.png"))[..., 1], PICTURE[..., 0])


def test_animations_give_their_first_frame_and_photographs_stand_upright(tmp_path):
    frames = [Image.fromarray(np.full((4, 4, 3), v, np.uint8)) for v in (200, 10)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (img_to_array(load_img(tmp_path / "a.gif")) == 200).all()
    smooth = np.tile(np.linspace(0, 255, 16)[:, None, None], (1, 8, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(smooth).save(tmp_path / "a.jpg", exif=exif, quality=95)
    turned = img_to_array(load_img(tmp_path / "a.jpg"))
    assert turned.shape == (8, 16, 3)
    np.testing.assert_allclose(turned, np.rot90(smooth, -1), atol=12)


def bad_files(root):
    Image.fromarray(np.tile(PICTURE, (20, 20, 1))).save(root / "cut.jpg")
    whole = (root / "cut.jpg").read_bytes()
    (root / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "text.png").write_text("this is no picture")
    (root / "empty.png").write_bytes(b"")
    Image.new("1", (10000, 10000)).save(root / "bomb.png")
    return ("cut.jpg", "text.png", "empty.png", "bomb.png")


def test_bad_files_are_named(tmp_path):
    for name in bad_files(tmp_path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(BadImageError, match=f"{name}.*10000 x 10000 pixels" if name == "bomb.png" else name):
                load_img(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load_img(tmp_path / "nothing.png")
    with pytest.raises(ValueError, match="did you mean 'rgb'"):
        load_img(tmp_path / "cut.jpg", "rbg")
    with pytest.raises(ValueError, match="did you mean"):
        load_img(tmp_path / "cut.jpg", interpolation="bilinea")


def test_one_bad_file_does_not_cost_the_run(folder):
    names = bad_files(folder / "bee")
    data = ImageDataGenerator(rescale=1 / 255).flow_from_directory(folder, (8, 8), batch_size=4, seed=0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        history = model(3).fit(data, epochs=2, verbose=0)
    texts = [str(w.message) for w in told if "left out" in str(w.message)]
    assert len(texts) == 4 and all(any(name in t for t in texts) for name in names)
    assert sorted(p.rpartition("/")[2] for p in data.bad_files) == sorted(names)
    assert len(history.history["loss"]) == 2
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ordered = ImageDataGenerator().flow_from_directory(folder, (8, 8), batch_size=5, shuffle=False)
        rows = np.concatenate([x for x, _ in ordered.one_pass()])
    assert sum("row is blank" in str(w.message) for w in told) == 4
    assert len(rows) == len(ordered.filenames) == 22
    blank = [i for i, name in enumerate(ordered.filenames) if name.endswith(names)]
    assert (rows[blank] == 0).all() and rows.reshape(22, -1).any(axis=1).sum() == 18


def test_arrays_become_files_and_back(tmp_path):
    save_img(tmp_path / "a.png", PICTURE, scale=False)
    np.testing.assert_array_equal(img_to_array(load_img(tmp_path / "a.png")), PICTURE)
    stretched = np.asarray(array_to_img(PICTURE / 7.0 - 3))
    assert stretched.min() == 0 and stretched.max() == 255
    save_img(tmp_path / "g.jpg", PICTURE[..., :1])
    with pytest.raises(ValueError, match="shape"):
        array_to_img(np.zeros((3, 3, 2)))
    with pytest.raises(ValueError, match="ending"):
        save_img(tmp_path / "noending", PICTURE)
    with pytest.raises(ValueError, match="channels_last"):
        img_to_array(PICTURE, "channels_first")


# Transformations.


def test_the_identity_is_exact_and_flips_exchange_pixels(backend):
    generator = ImageDataGenerator()
    np.testing.assert_array_equal(generator.apply_transform(PICTURE, {}), PICTURE)
    np.testing.assert_array_equal(generator.apply_transform(PICTURE, {"flip_horizontal": True}), PICTURE[:, ::-1])
    np.testing.assert_array_equal(generator.apply_transform(PICTURE, {"flip_vertical": True}), PICTURE[::-1])
    square = PICTURE[:9, :9]
    for turns in (1, 2, 3):
        turned = generator.apply_transform(square, {"theta": 90 * turns})
        np.testing.assert_allclose(turned, np.rot90(square, turns), atol=1e-3)


@pytest.mark.parametrize(
    ("mode", "left"), [("constant", [7, 7]), ("nearest", [0, 0]), ("reflect", [1, 0]), ("wrap", [None, None])]
)
def test_fill_modes(mode, left, backend):
    x = np.arange(6, dtype=np.float32).reshape(1, 6, 1) * np.ones((3, 1, 1), np.float32)
    # Keras's tx, with its axes exchanged, moves along the columns: a negative one takes pixels from further left.
    y = ImageDataGenerator(fill_mode=mode, cval=7).apply_transform(x, {"tx": -2})[1, :, 0]
    if left[0] is not None:
        np.testing.assert_allclose(y[:2], left)
    else:  # the ends are one point: two to the left of 0 is 3
        np.testing.assert_allclose(y[:2], [3, 4])
    np.testing.assert_allclose(y[2:], [0, 1, 2, 3])


@pytest.mark.parametrize("mode", transforms.FILL_MODES)
@pytest.mark.parametrize("order", [0, 1])
def test_the_compiled_warp_is_the_book_s(mode, order):
    random = np.random.default_rng(1)
    for source in (X, X.astype(np.float32), X[:, :1, :, :1], X[..., :1], np.concatenate([X, X[..., :2]], axis=-1)):
        m = transforms.matrices(
            *source.shape[1:3], theta=random.uniform(-90, 90, 20), tx=random.uniform(-9, 9, 20), ty=random.uniform(-40, 40, 20),
            zx=random.uniform(0.5, 2, 20), shear=random.uniform(-40, 40, 20), flip_horizontal=random.random(20) < 0.5,
        )  # fmt: skip
        results = []
        for backend in ("numba", "numpy"):
            with minitl.use_backend(backend):
                results.append(transforms.warp(source, np.arange(20), m, mode, 3.0, order, 0.5, np.float32))
        np.testing.assert_allclose(*results, atol=1e-3)


def test_parameters_are_drawn_as_keras_draws_them():
    """The numbers of Keras 3.15 for the same arguments and seed."""
    p = ImageDataGenerator(rotation_range=40, shear_range=20, zoom_range=0.3).get_random_transform((8, 8, 3), seed=3)
    assert p["theta"] == pytest.approx(4.063832205966037)
    assert p["shear"] == pytest.approx(8.325912904724191)
    assert (p["zx"], p["zy"]) == pytest.approx((0.8745428433477666, 1.0064965631185978))


def test_pictures_are_keras_s():
    keras = pytest.importorskip("keras.src.legacy.preprocessing.image")
    pytest.importorskip("scipy")
    x = PICTURE.astype(np.float32)
    for mode in transforms.FILL_MODES:
        for order in (0, 1):
            how = {
                **ALL,
                "fill_mode": mode,
                "interpolation_order": order,
                "channel_shift_range": 30.0,
                "brightness_range": (0.5, 1.5),
            }
            theirs, ours = keras.ImageDataGenerator(**how), ImageDataGenerator(**how)
            for seed in range(10):
                p = theirs.get_random_transform(x.shape, seed=seed)
                assert {k: float(v) for k, v in p.items()} == {
                    k: float(v) for k, v in ours.get_random_transform(x.shape, seed=seed).items()
                }
                # Brightness cuts to whole numbers: a difference in the last bit can become 1.
                np.testing.assert_allclose(ours.apply_transform(x, p), theirs.apply_transform(x.copy(), p), atol=1.01)


def test_shifts_in_shares_pixels_and_lists():
    for wanted, allowed in ((3, {-2, -1, 0, 1, 2}), ([2, 5], {-5, -2, 2, 5})):
        generator = ImageDataGenerator(width_shift_range=wanted)
        assert {generator.get_random_transform((9, 9, 3), seed=s)["ty"] for s in range(60)} == allowed
    nothing = ImageDataGenerator().get_random_transform((9, 9, 3), seed=0)
    assert nothing == {**dict.fromkeys(nothing, 0), "zx": 1, "zy": 1, "channel_shift_intensity": None, "brightness": None}
    np.testing.assert_array_equal(transforms.matrices(8, 8), [[[1, 0, 0], [0, 1, 0]]])
    values = [ImageDataGenerator(height_shift_range=0.5).get_random_transform((10, 9, 3), seed=s)["tx"] for s in range(60)]
    assert 4 < max(values) < 5 and -5 < min(values) < -4


def test_colours():
    generator = ImageDataGenerator()
    shifted = generator.apply_transform(PICTURE, {"channel_shift_intensity": 40.0})
    np.testing.assert_array_equal(shifted, np.clip(PICTURE + 40.0, PICTURE.min(), PICTURE.max()))
    from PIL import ImageEnhance

    for factor in (0.4, 1.7):
        expected = np.asarray(ImageEnhance.Brightness(Image.fromarray(PICTURE)).enhance(factor))
        np.testing.assert_allclose(generator.apply_transform(PICTURE, {"brightness": factor}), expected, atol=1)


def test_standardization(backend):
    x = X.astype(np.float32)
    generator = ImageDataGenerator(featurewise_std_normalization=True)
    with pytest.warns(UserWarning, match="call fit"):
        generator.standardize(x[0])
    generator.fit(x)
    rows, _ = next(generator.flow(x, Y, batch_size=20, shuffle=False))
    np.testing.assert_allclose(rows.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(axis=(0, 1, 2)), 1, atol=1e-4)
    rows = next(ImageDataGenerator(samplewise_std_normalization=True, rescale=1 / 255).flow(x, batch_size=20))
    np.testing.assert_allclose(rows.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(axis=(1, 2, 3)), 1, atol=1e-3)
    many = RANDOM.random((300, 4, 4, 1)).astype(np.float32)
    zca = ImageDataGenerator(zca_whitening=True, zca_epsilon=1e-9)
    zca.fit(many)
    white = np.stack([zca.standardize(a) for a in many]).reshape(300, -1)
    np.testing.assert_allclose(white.T @ white / 300, np.eye(16), atol=1e-3)
    assert (x == X).all()
    doubled = next(ImageDataGenerator(preprocessing_function=lambda a: 2 * a, rescale=0.5).flow(x, shuffle=False, batch_size=20))
    np.testing.assert_allclose(doubled, x)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fill_mode": "mirror"}, "fill_mode"),
        ({"interpolation_order": 3}, "0 .nearest. or 1"),
        ({"zoom_range": (1, 2, 3)}, "zoom_range"),
        ({"brightness_range": 0.3}, "brightness_range"),
        ({"validation_split": 1.5}, "validation_split"),
        ({"data_format": "channels_first"}, "channels_last"),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        ImageDataGenerator(**wrong)


# Batches.


def batches_of(data, passes=2):
    return [b.tobytes() for _ in range(passes) for x, y in data.one_pass() for b in (x, y)]


def test_batches_depend_on_the_seed_alone(folder):
    def files(**how):
        data = ImageDataGenerator(**ALL, rescale=1 / 255).flow_from_directory(folder, (8, 8), batch_size=4, seed=3, **how)
        return data

    for make in (files, lambda **_: ImageDataGenerator(**ALL).flow(X, Y, batch_size=6, seed=3)):
        reference = batches_of(make())
        assert reference != batches_of(ImageDataGenerator(**ALL).flow(X, Y, batch_size=6, seed=4))
        alone = make()
        alone.ahead = False
        assert batches_of(alone) == reference
        one_by_one = make()
        half = [b.tobytes() for i in range(len(one_by_one)) for b in one_by_one[i]]
        assert half == reference[: len(half)]
        endless = make()
        assert [b.tobytes() for _ in range(2 * len(endless)) for b in next(endless)] == reference
        assert reference[: len(half)] != reference[len(half) :]
    assert batches_of(files(cache_bytes=0)) == batches_of(files())


def test_the_second_pass_reads_no_file(folder, monkeypatch):
    data = ImageDataGenerator().flow_from_directory(folder, (8, 8), batch_size=4, seed=0)
    list(data.one_pass())
    monkeypatch.setattr("minitl.preprocessing.image.iterators.load_img", lambda *a: pytest.fail("read again"))
    assert sum(len(x) for x, _ in data.one_pass()) == 18


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("minitl")]


def test_stopping_leaves_no_thread_and_a_generator_restarts(folder):
    data = ImageDataGenerator(**ALL).flow_from_directory(folder, (8, 8), batch_size=2, seed=0)
    passing = data.one_pass()
    next(passing)
    assert threads()
    passing.close()
    assert not threads()
    net = model(3)

    class Stop(minitl.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(data, epochs=1, verbose=0, callbacks=[Stop()])
    assert not threads()
    assert len(net.fit(data, epochs=1, verbose=0).history["loss"]) == 1
    net.fit(data, epochs=1, steps_per_epoch=4, verbose=0)
    assert not threads()


def test_prefetch_hands_errors_over_in_their_place():
    from minitl.prefetch import prefetch

    def source():
        yield 1
        yield 2
        raise OSError("broken disk")

    items = prefetch(source())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(OSError, match="broken disk"):
        next(items)
    assert not threads()


def test_steps_go_on_into_the_next_pass(folder):
    data = ImageDataGenerator().flow_from_directory(folder, (8, 8), batch_size=4, seed=0)
    assert len(data) == 5
    history = model(3).fit_generator(data, steps_per_epoch=7, epochs=2, workers=4, use_multiprocessing=True, verbose=0)
    assert len(history.history["loss"]) == 2
    assert data.passes >= 2


def test_predictions_stand_in_the_order_of_the_files(folder):
    set_random_seed(0)
    net = model(3)
    train = ImageDataGenerator(rescale=1 / 255, horizontal_flip=True).flow_from_directory(folder, (8, 8), batch_size=4, seed=0)
    net.fit(train, epochs=20, verbose=0)
    ordered = ImageDataGenerator(rescale=1 / 255).flow_from_directory(folder, (8, 8), batch_size=4, shuffle=False)
    expected = net.predict(np.concatenate([x for x, _ in ordered.one_pass()]))
    np.testing.assert_array_equal(net.predict(ordered), expected)
    # A generator that shuffles and augments is put in order for this.
    np.testing.assert_array_equal(net.predict(train), expected)
    assert net.evaluate(train, verbose=0) == net.evaluate(ordered, verbose=0)
    assert net.evaluate(ordered, verbose=0)[1] == 1.0
    assert (expected.argmax(axis=1) == ordered.classes).all()
    assert [name.split("/")[0] for name in ordered.filenames] == ["ant"] * 6 + ["bee"] * 6 + ["猫"] * 6


def test_class_folders_that_differ_are_refused(folder, tmp_path):
    other = tmp_path / "test"
    for name in ("ant", "bee", "cow"):
        (other / name).mkdir(parents=True)
        Image.fromarray(PICTURE).save(other / name / "a.png")
    make = ImageDataGenerator().flow_from_directory
    with pytest.raises(ValueError, match="cow"):
        model(3).fit(make(folder, (8, 8)), validation_data=make(other, (8, 8)), verbose=0)


def test_folders(folder, tmp_path):
    make = ImageDataGenerator(validation_split=0.34).flow_from_directory
    assert make(folder, (8, 8)).class_indices == {"ant": 0, "bee": 1, "猫": 2}
    training, validation = (make(folder, (8, 8), subset=s) for s in ("training", "validation"))
    assert (training.samples, validation.samples) == (12, 6)
    assert not set(training.filenames) & set(validation.filenames)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        make(tmp_path / "nowhere")
    (tmp_path / "hollow" / "a").mkdir(parents=True)
    with pytest.warns(UserWarning, match="holds no pictures"), pytest.raises(ValueError, match="no pictures"):
        make(tmp_path / "hollow")
    (folder / "empty").mkdir()
    with pytest.warns(UserWarning, match="empty holds no pictures"):
        assert make(folder, (8, 8)).num_classes == 4
    with pytest.raises(ValueError, match="did you mean 'ant'"):
        make(folder, classes=["amt"])
    with pytest.raises(ValueError, match="two classes"):
        make(folder, classes=["ant", "bee", "猫"], class_mode="binary")
    with pytest.raises(ValueError, match="class_mode"):
        make(folder, class_mode="categorial")
    with pytest.raises(ValueError, match="subset"):
        make(folder, classes=["ant"], subset="train")


@pytest.mark.parametrize(
    ("mode", "shape"), [("categorical", (4, 2)), ("binary", (4,)), ("sparse", (4,)), ("input", (4, 8, 6, 1)), (None, None)]
)
def test_class_modes_and_grey_pictures_of_uneven_size(folder, mode, shape):
    make = ImageDataGenerator().flow_from_directory
    batch = next(make(folder, (8, 6), classes=["ant", "bee"], class_mode=mode, color_mode="grayscale", batch_size=4))
    x, y = batch if shape else (batch, None)
    assert x.shape == (4, 8, 6, 1) and x.dtype == np.float32
    assert shape is None or y.shape == shape


def test_pictures_are_shuffled_unless_that_is_declined(folder):
    make = ImageDataGenerator().flow_from_directory
    orders = [next(make(folder, (8, 6), batch_size=18, class_mode="sparse", seed=seed))[1].tolist() for seed in (1, 2)]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]) == make(folder, shuffle=False).classes.tolist()


def test_one_class_is_a_column_of_ones():
    np.testing.assert_array_equal(targets_of("categorical", np.zeros(3, int), 1, "a folder"), np.ones((3, 1)))


def test_pictures_with_their_transparency(folder):
    x, _ = next(ImageDataGenerator().flow_from_directory(folder, (8, 6), classes=["ant", "bee"], color_mode="rgba", batch_size=4))
    assert x.shape == (4, 8, 6, 4) and (x[..., 3] == 255).all()


def test_tables(folder):
    names = [f"ant/图{i}.png" for i in range(6)] + [f"bee/图{i}.png" for i in range(6)] + ["bee/gone.png"]
    table = {"filename": names, "class": ["a"] * 6 + ["b"] * 7, "size": list(range(13)), "w": [0.5] * 13}
    make = ImageDataGenerator().flow_from_dataframe
    with pytest.warns(UserWarning, match="gone"):
        data = make(table, folder, target_size=(8, 8), batch_size=12, weight_col="w", shuffle=False)
    x, y, w = next(data)
    assert x.shape == (12, 8, 8, 3) and y.shape == (12, 2) and (w == 0.5).all()
    assert data.class_indices == {"a": 0, "b": 1}
    with pytest.warns(UserWarning, match="gone"):
        raw = make(table, folder, y_col="size", class_mode="raw", target_size=(8, 8), batch_size=12, shuffle=False)
    np.testing.assert_array_equal(next(raw)[1], np.arange(12))
    known = {name: column[:12] for name, column in table.items()}
    assert next(make(known, folder, target_size=(8, 8), class_mode="binary"))[1].shape == (12,)
    only = make(known, folder, target_size=(8, 8), classes=["b"], shuffle=False)
    assert only.filenames == names[6:12] and (next(only)[1] == 1).all()  # one class, one-hot
    with pytest.raises(ValueError, match="the table has 3"):
        make({**known, "class": ["a", "b", "c"] * 4}, folder, class_mode="binary")
    mixed = make(known, folder, y_col="size", class_mode="raw", target_size=(8, 8), batch_size=12, seed=3)
    order = next(mixed)[1].tolist()  # in some order, unless told otherwise
    assert order != sorted(order) == list(range(12))
    known["w"] = [0.25 * k for k in range(12)]
    part = ImageDataGenerator(validation_split=0.25).flow_from_dataframe
    for subset, expected in (("validation", known["w"][:3]), ("training", known["w"][3:])):
        data = part(known, folder, target_size=(8, 8), weight_col="w", subset=subset, shuffle=False)
        np.testing.assert_array_equal(next(data)[2], expected)
    with pytest.raises(ValueError, match="did you mean 'filename'"):
        make(table, folder, x_col="filenames")
    with pytest.warns(UserWarning, match="13 of 13"), pytest.raises(ValueError, match="none of the 13"):
        make(table, folder / "ant")


def test_arrays_that_do_not_fit():
    flow = ImageDataGenerator().flow
    with pytest.raises(ValueError, match="pictures"):
        flow(X[0])
    with pytest.raises(ValueError, match="20 pictures, y 3"):
        flow(X, Y[:3])
    with pytest.raises(ValueError, match="validation_split"):
        flow(X, Y, subset="training")
    with pytest.raises(ValueError, match="different classes"):
        ImageDataGenerator(validation_split=0.2).flow(X, np.sort(Y), subset="training")
    x, y, w = next(flow(X, Y, sample_weight=np.ones(20), batch_size=7))
    assert len(x) == len(y) == len(w) == 7


def test_augmented_pictures_can_be_saved(tmp_path):
    next(ImageDataGenerator(horizontal_flip=True).flow(X, batch_size=5, save_to_dir=tmp_path, save_prefix="a", save_format="jpg"))
    assert len(list(tmp_path.glob("a_*.jpg"))) == 5


def test_image_dataset_from_directory(folder):
    data = image_dataset_from_directory(folder, image_size=(8, 8), batch_size=4, seed=1)
    assert data.class_names == ["ant", "bee", "猫"] and len(data) == 5
    x, y = next(iter(data))
    assert x.shape == (4, 8, 8, 3) and x.dtype == np.float32 and y.dtype == np.int32
    assert sum(len(x) for x, _ in data) == sum(len(x) for x, _ in data) == 18
    how = {"image_size": (8, 8), "seed": 1, "validation_split": 0.34, "label_mode": "categorical"}
    training, validation = image_dataset_from_directory(folder, subset="both", **how)
    assert (training.n, validation.n) == (12, 6) and not set(training.file_paths) & set(validation.file_paths)
    assert image_dataset_from_directory(folder, subset="validation", **how).file_paths == validation.file_paths
    model(3).fit(training, validation_data=validation, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="belong together"):
        image_dataset_from_directory(folder, subset="training")
    with pytest.raises(ValueError, match="give a seed"):
        image_dataset_from_directory(folder, subset="training", validation_split=0.2)
    with pytest.raises(ValueError, match="18 files"):
        image_dataset_from_directory(folder, labels=[1, 2])
    for split in (0.01, 1.0):  # one side would have no picture
        with pytest.raises(ValueError, match=f"validation_split={split} leaves nothing on one side"):
            image_dataset_from_directory(folder, subset="both", validation_split=split, seed=1)


def test_what_was_found_is_said_unless_it_is_not_wanted(folder, capsys):
    image_dataset_from_directory(folder)
    assert capsys.readouterr().out == "Found 18 files belonging to 3 classes.\n"
    image_dataset_from_directory(folder, verbose=False)
    assert capsys.readouterr().out == ""


# Recipes.


def run(step, x, y=None, epoch=0):
    return step(x, y, np.arange(len(x)), epoch, np.random.default_rng(0))


def test_pad_and_crop_shifts_whole_pixels():
    x, _ = run(pad_and_crop(2), X)
    padded = np.pad(X, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    for i in range(len(X)):
        assert any((padded[i, a : a + 8, b : b + 8] == x[i]).all() for a in range(5) for b in range(5))
    np.testing.assert_array_equal(run(pad_and_crop(), X)[0], run(pad_and_crop(4, "reflect"), X)[0])


def test_alternating_flip_shows_both_sides_in_two_epochs():
    first, second = (run(alternating_flip(), X, epoch=e)[0] for e in (0, 1))
    turned = [(first[i] != X[i]).any() for i in range(20)]
    assert 4 < sum(turned) < 16
    np.testing.assert_array_equal(second, first[:, :, ::-1])
    np.testing.assert_array_equal(run(alternating_flip(), X, epoch=2)[0], first)


def test_cutout_fills_a_square():
    x, _ = run(cutout(4, value=300), X.astype(np.float32))
    counts = (x == 300).all(axis=-1).sum(axis=(1, 2))
    assert counts.max() == 16 and counts.min() >= 4
    assert (x[x != 300] == X[x != 300]).all()


def test_mixup_and_label_smoothing_keep_the_sum_of_targets():
    one_hot = to_categorical(Y)
    x, y = run(compose(mixup(0.4), label_smoothing(0.1)), X.astype(np.float32), one_hot)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    assert y.min() == pytest.approx(0.025) and (x != X).any()
    for step in (mixup(), label_smoothing()):
        with pytest.raises(ValueError, match="one-hot"):
            run(step, X.astype(np.float32), Y)


def test_recipes_train_and_are_left_out_in_evaluation():
    x, y = X.astype(np.float32) / 255, to_categorical(Y)
    data = augmented(x, y, compose(pad_and_crop(2), alternating_flip(), cutout(3), mixup()), batch_size=6, seed=5)
    net = model(4)
    net.fit(data, epochs=2, verbose=0)
    np.testing.assert_array_equal(net.predict(data), net.predict(x, batch_size=6))
    again = augmented(x, y, data.recipe, batch_size=6, seed=5)
    again.ahead = False
    assert batches_of(again) == batches_of(augmented(x, y, data.recipe, batch_size=6, seed=5))


def test_sheets(tmp_path, folder):
    plot.augmentation(ImageDataGenerator(**ALL), PICTURE, path=tmp_path / "a.png")
    plot.augmentation(ImageDataGenerator(**ALL).flow_from_directory(folder, (8, 8)), path=tmp_path / "b.png")
    plot.dataset(X, Y, ["a", "b", "c", "d"], path=tmp_path / "c.png")
    assert all((tmp_path / f"{n}.png").stat().st_size > 5000 for n in "abc")
    with pytest.raises(TypeError, match="iterator"):
        plot.augmentation(ImageDataGenerator())


def test_a_comparison_draws_every_method(tmp_path):
    results = {f"method {i}": np.random.default_rng(i).random((2, 3)) for i in range(12)}
    figure = plot.comparison([1, 10], results, "x", "y", "title", tmp_path / "c.png")
    labels = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    assert set(labels) == set(results)
    low, high = figure.axes[0].get_ylim()
    heights = sorted(labels.values())
    assert (np.diff(heights) > 0.05 * (high - low)).all()  # none lies on another
    assert heights[-1] <= high
    ends = sorted(results, key=lambda name: results[name][-1].mean())
    assert sorted(labels, key=labels.get) == ends


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="compares compiled code with its definition")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blending_is_what_its_definition_says(dtype):
    from numba import njit

    from minitl.kernels.simd import blend
    from minitl.kernels.simd.blending import _blend_in_numpy

    @njit
    def compiled(picture, place, down, right, made):
        blend(picture, place, down, right, 15, 3, made, 2, 7)

    generator = np.random.default_rng(0)
    picture, place = generator.standard_normal(61).astype(dtype), generator.integers(0, 13, 7) * 3
    down, right = generator.random((2, 7)).astype(dtype)
    ours, expected = np.full(24, 9, dtype), np.full(24, 9, dtype)
    compiled(picture, place, down, right, ours)
    _blend_in_numpy(picture, place, down, right, 15, 3, expected, 2, 7)
    np.testing.assert_allclose(ours, expected, atol=1e-6)  # and nothing behind the last pixel is written


@pytest.mark.parametrize("size", [(13, 20), (20, 13), (16, 16), (5, 2)])
@pytest.mark.parametrize("target", [(8, 8), (10, 4), (4, 11)])
@pytest.mark.parametrize("way", [{"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True, "fill_value": 7.0}])
def test_resizing_keeps_proportions_as_keras_does(size, target, way):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype(np.float32)
    theirs = keras.ops.convert_to_numpy(keras.layers.Resizing(*target, **way)(x))
    layer = Resizing(*target, **way)
    np.testing.assert_allclose(layer(x), theirs, atol=1e-3)
    assert check_gradients(layer, x.astype(float)) and Resizing.from_config(layer.get_config())(x).shape == theirs.shape


def test_resizing_refuses_two_ways_at_once(tmp_path):
    with pytest.raises(ValueError, match="exclude one another"):
        Resizing(4, 4, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True)


def test_how_random_layers_fill_is_read_from_keras_s_files(tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    layers = [keras.layers.RandomRotation(0.1, fill_mode="constant", fill_value=5.0), keras.layers.Resizing(4, 4)]
    keras.Sequential([keras.Input((8, 8, 3)), *layers]).save(tmp_path / "k.keras")
    rotation = load_model(str(tmp_path / "k.keras")).layers[0]
    assert rotation.fill_mode == "constant" and rotation.fill_value == 5.0  # both were left out once


def test_arrays_stay_what_they_are_where_that_is_possible():
    for dtype, kept in (
        ("uint8", "uint8"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("int64", "float32"),
        ("int16", "float32"),
    ):
        flow = ImageDataGenerator().flow(np.arange(48).reshape(1, 4, 4, 3).astype(dtype), [1])
        assert flow.x.dtype == kept and next(flow)[0].dtype == np.float32


@pytest.mark.parametrize("way", ["bilinear", "bicubic", "lanczos3"])
@pytest.mark.parametrize("target", [(5, 9), (20, 7), (16, 30)])
def test_interpolations_are_pillow_s(way, target):
    x = np.random.default_rng(0).random((16, 12)).astype(np.float32)
    pillow = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC, "lanczos3": Image.Resampling.LANCZOS}
    expected = np.asarray(Image.fromarray(x).resize(target[::-1], pillow[way]))
    layer = Resizing(*target, way, antialias=True)
    np.testing.assert_allclose(layer(x[None, :, :, None])[0, :, :, 0], expected, atol=1e-5)
    if target == (16, 30):  # nothing becomes smaller
        np.testing.assert_allclose(Resizing(*target, way)(x[None, :, :, None])[0, :, :, 0], expected, atol=1e-5)
    assert check_gradients(layer, x[None, :, :, None].astype(float)) and Resizing.from_config(layer.get_config()).antialias


def test_areas_and_wide_windows():
    x = np.random.default_rng(0).random((6, 8, 2)).astype(np.float32)
    means = x.reshape(3, 2, 2, 4, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(Resizing(3, 2, "area")(x), means, rtol=1e-6)
    np.testing.assert_allclose(Resizing(4, 8, "area")(x)[0], x[0] * 2 / 3 + x[1] / 3, rtol=1e-5)
    from minitl.preprocessing.resampling import INTERPOLATIONS, resizing_matrix

    for way in INTERPOLATIONS:
        for size, target in ((7, 3), (4, 11), (5, 5)):
            for antialias in (False, True):
                weights = resizing_matrix(size, target, way, antialias)
                np.testing.assert_allclose(weights.sum(axis=1), 1)
                if size == target:
                    np.testing.assert_allclose(weights, np.eye(5), atol=1e-12)
    assert np.count_nonzero(np.abs(resizing_matrix(40, 40, "lanczos5")[20] - np.eye(40)[20]) > 1e-12) == 0
    assert np.count_nonzero(resizing_matrix(40, 80, "lanczos5")[40]) == 10


def test_the_middle_of_images_that_are_too_small():
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(0).random((2, 8, 10, 3)).astype(np.float32)
    for size in ((12, 12), (6, 12), (12, 4), (8, 10), (4, 4)):
        theirs = keras.ops.convert_to_numpy(keras.layers.CenterCrop(*size)(x))
        layer = CenterCrop(*size)
        np.testing.assert_allclose(layer(x), theirs, atol=1e-5)
        np.testing.assert_array_equal(layer(x[0]), layer(x)[0])  # one image
        assert check_gradients(CenterCrop(*size), x.astype(float))


def test_numbers_per_row_and_channel_are_normalised():
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(0).random((20, 4, 5, 3)).astype(np.float32)
    for axis in ((1, 3), (3, 1), 2, (-1,), None, (1, 2, 3)):
        theirs, ours = keras.layers.Normalization(axis=axis), Normalization(axis=axis)
        theirs.adapt(x), ours.adapt(x)
        np.testing.assert_allclose(ours(x), keras.ops.convert_to_numpy(theirs(x)), rtol=1e-4, atol=1e-5)
        model = Sequential([Input((4, 5, 3)), ours])
        assert check_gradients(model, x[:2].astype(float))
        clone = Normalization.from_config(ours.get_config())
        clone.build((None, 4, 5, 3))
        clone.set_weights(ours.get_weights())
        np.testing.assert_array_equal(clone(x), ours(x))
    given = Normalization(axis=(1, 3), mean=np.zeros((4, 3)), variance=np.full((4, 3), 4.0))
    np.testing.assert_allclose(given(x), x / 2, rtol=1e-6)
    with pytest.raises(ValueError, match="axis must be among"):
        Normalization(axis=(0, 3)).adapt(x)
    with pytest.raises(ValueError, match="needs inputs of a known length"):
        Normalization(axis=(1, 3))(Input((None, 5, 3)))
