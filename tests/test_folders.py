"""Pictures and texts in folders, tables and arrays: what their methods give, and which settings are refused."""

import numpy as np
import pytest
from PIL import Image

from minitl.preprocessing.image import ImageDataGenerator, array_to_img, augmented, img_to_array, load_img, save_img
from minitl.utils import image_dataset_from_directory, text_dataset_from_directory

X = np.random.default_rng(0).integers(0, 256, (10, 6, 5, 3)).astype(np.float32)


@pytest.fixture
def pictures(tmp_path):
    """Three of cats and two of dogs, each of one colour."""
    for name, colours in (("cats", (10, 20, 30)), ("dogs", (40, 50))):
        (tmp_path / name).mkdir()
        for colour in colours:
            Image.new("RGB", (8, 8), (colour,) * 3).save(tmp_path / name / f"{colour}.png")
    return tmp_path


@pytest.fixture
def texts(tmp_path):
    for name, some in (("bad", ("awful",)), ("good", ("fine", "great"))):
        (tmp_path / name).mkdir()
        for text in some:
            (tmp_path / name / f"{text}.txt").write_text(text)
    return tmp_path


def colours(images):
    return sorted(int(image[0, 0, 0]) for image in np.asarray(images))


def test_pictures_without_labels(pictures):
    batch = next(iter(image_dataset_from_directory(pictures, labels=None, image_size=(8, 8), shuffle=False)))
    assert colours(batch) == [10, 20, 30, 40, 50]


def test_pictures_of_another_shape_are_squeezed_unless_a_part_is_asked_for(tmp_path):
    (tmp_path / "one").mkdir()
    pixels = np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[None], 8, axis=0)  # 8 rows, 24 columns, brighter to the right
    Image.fromarray(pixels).save(tmp_path / "one" / "wide.png")
    settings = {"labels": None, "image_size": (8, 8), "color_mode": "grayscale", "shuffle": False, "verbose": False}
    squeezed, cropped = (
        np.asarray(next(iter(image_dataset_from_directory(tmp_path, **settings, **more))))[0, 4, :, 0]
        for more in ({}, {"crop_to_aspect_ratio": True})
    )
    np.testing.assert_allclose(squeezed, np.arange(10, 240, 30), atol=4)  # one in three, and it is in the middle
    np.testing.assert_allclose(cropped, np.arange(80, 160, 10), atol=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_mode": "ints"}, "unknown label_mode 'ints'"),
        ({"validation_split": 0.4, "subset": "test", "seed": 0}, "unknown subset 'test'"),
        ({"labels": [0, 1]}, "2 labels for 5 files, sorted by path"),
        ({"color_mode": "grey"}, "unknown color_mode 'grey'"),
        ({"validation_split": 0.4}, "validation_split and subset belong together"),
        ({"validation_split": 0.4, "subset": "training"}, "give a seed, so that training and validation part do not overlap"),
    ],
)
def test_settings_of_folders(pictures, settings, message):
    with pytest.raises(ValueError, match=message):
        image_dataset_from_directory(pictures, **settings)


def test_folders_that_do_not_do(pictures, tmp_path):
    (tmp_path / "birds").mkdir()
    with pytest.raises(ValueError, match=r"label_mode='binary' needs two classes, .* has 3"):
        image_dataset_from_directory(pictures, label_mode="binary")
    for name in ("cats", "dogs"):
        for file in (pictures / name).iterdir():
            file.unlink()
    with pytest.raises(ValueError, match="no pictures in"):
        image_dataset_from_directory(pictures)


def test_tables(pictures):
    table = {"filename": ["cats/10.png", "dogs/40.png"], "class": ["cat", "dog"], "weight": [2.0, 0.5]}
    generator = ImageDataGenerator()
    itself = generator.flow_from_dataframe(table, pictures, class_mode="input", target_size=(8, 8), shuffle=False)
    x, y = next(itself)
    np.testing.assert_array_equal(x, y)
    assert x is not y and not np.shares_memory(x, y)
    raw = generator.flow_from_dataframe(table, pictures, y_col="weight", class_mode="raw", shuffle=False)
    np.testing.assert_array_equal(next(raw)[1], [2.0, 0.5])
    two = generator.flow_from_dataframe(table, pictures, y_col=["weight", "weight"], class_mode="multi_output", shuffle=False)
    assert next(two)[1].shape == (2, 2)
    with pytest.raises(ValueError, match="unknown class_mode 'class'"):
        generator.flow_from_dataframe(table, pictures, class_mode="class")
    with pytest.raises(ValueError, match="no row of the table is left: 2 rows, 0 with a known class"):
        generator.flow_from_dataframe(table, pictures, classes=["bird"])
    with pytest.raises(ValueError, match="class_mode='binary' needs two classes, the table has 1"):
        generator.flow_from_dataframe(table, pictures, classes=["cat"], class_mode="binary")


def test_classes_of_a_folder(pictures):
    flow = ImageDataGenerator().flow_from_directory(pictures, target_size=(8, 8), shuffle=False)
    np.testing.assert_array_equal(flow.labels, [0, 0, 0, 1, 1])


def test_an_iterator_s_batches():
    flow = ImageDataGenerator().flow(X, np.arange(10), batch_size=4, shuffle=False)
    assert len(flow) == 3 and iter(flow) is flow
    np.testing.assert_array_equal(flow[2][1], [8, 9])
    np.testing.assert_array_equal(flow[-1][1], [8, 9])
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"batch {index} of 3"):
            flow[index]
    np.testing.assert_array_equal(flow.next()[1], [0, 1, 2, 3])
    np.testing.assert_array_equal(next(flow)[1], [4, 5, 6, 7])
    flow.reset()
    np.testing.assert_array_equal(next(flow)[1], [0, 1, 2, 3])
    np.testing.assert_array_equal(flow.pictures(np.array([3, 1])), X[[3, 1]])


def test_parts_of_arrays():
    generator = ImageDataGenerator(validation_split=0.3)
    y = np.array([0, 1] * 5)
    first = generator.flow(X, y, batch_size=10, subset="validation", shuffle=False)
    second = generator.flow(X, y, sample_weight=np.arange(10), batch_size=10, subset="training", shuffle=False)
    np.testing.assert_array_equal(first[0][0], X[:3])
    np.testing.assert_array_equal(second[0][0], X[3:])
    np.testing.assert_array_equal(second[0][2], np.arange(3, 10))
    with pytest.raises(ValueError, match="different classes; shuffle the arrays first"):
        generator.flow(X, np.array([0] * 3 + [1] * 7), subset="training")


def test_pictures_that_are_saved_as_they_are_made(pictures, tmp_path):
    (tmp_path / "out").mkdir()
    flow = ImageDataGenerator().flow_from_directory(pictures, classes=["cats"], save_to_dir=tmp_path / "out", save_prefix="seen")
    next(flow)
    saved = sorted((tmp_path / "out").iterdir())
    assert len(saved) == 3 and all(path.name.startswith("seen") and path.suffix == ".png" for path in saved)


@pytest.mark.filterwarnings("ignore")
def test_batches_of_broken_pictures(pictures):
    for file in (pictures / "cats").iterdir():
        file.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"no picture of a batch can be read: .*\.png"):
        next(ImageDataGenerator().flow_from_directory(pictures, classes=["cats"], batch_size=3))


def test_numbers_that_a_generator_finds_are_of_what_it_gives():
    generator = ImageDataGenerator(rescale=0.5, featurewise_center=True, featurewise_std_normalization=True)
    generator.fit(X)
    np.testing.assert_allclose(generator.mean.reshape(-1), 0.5 * X.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(generator.std.reshape(-1), 0.5 * X.std(axis=(0, 1, 2)), rtol=1e-4)
    with pytest.raises(ValueError, match=r"ImageDataGenerator.fit: expected pictures \(N, H, W, C\), got shape \(6, 5, 3\)"):
        generator.fit(X[0])


def test_pictures_with_transparency(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "palette.png", transparency=1)
    np.testing.assert_array_equal(img_to_array(load_img(tmp_path / "palette.png", color_mode="rgba"))[0, 1], [0, 255, 0, 0])
    save_img(tmp_path / "four.jpg", np.full((4, 4, 4), 200.0), scale=False)
    assert Image.open(tmp_path / "four.jpg").mode == "RGB"
    for shape in ((2, 2, 2, 3), (3,)):
        with pytest.raises(ValueError, match=r"img_to_array: expected a picture"):
            img_to_array(np.zeros(shape))
    with pytest.raises(ValueError, match=r"array_to_img: expected"):
        array_to_img(np.zeros((2, 2, 2)))


def test_recipes_take_as_many_targets_as_pictures():
    with pytest.raises(ValueError, match="augmented: x has 10 pictures, y 9"):
        augmented(X, np.arange(9), lambda x, y, *_: (x, y))


def test_texts(texts, capsys):
    data = text_dataset_from_directory(texts, batch_size=10, shuffle=False)
    assert "Found 3 files belonging to 2 classes." in capsys.readouterr().out
    some, labels = next(iter(data))
    assert [str(text) for text in np.asarray(some)] == ["awful", "fine", "great"] and list(np.asarray(labels)) == [0, 1, 1]
    given = text_dataset_from_directory(texts, labels=[1, 0, 1], batch_size=10, shuffle=False, verbose=False)
    assert list(np.asarray(next(iter(given))[1])) == [1, 0, 1]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_names": ["bad", "ugly"]}, r"class_names \['bad', 'ugly'\], and the folder has \['bad', 'good'\]"),
        ({"labels": [1, 0]}, "2 labels for 3 files, sorted by path"),
        ({"validation_split": 0.01, "subset": "validation", "seed": 0}, "validation_split=0.01 leaves nothing on one side"),
    ],
)
def test_settings_of_texts(texts, settings, message):
    with pytest.raises(ValueError, match=message):
        text_dataset_from_directory(texts, **settings)
