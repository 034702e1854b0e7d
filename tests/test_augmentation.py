"""What each setting of an ImageDataGenerator does to the pictures of a batch: only that, within its range, and to each its own.

The pictures carry their own coordinates: the first channel of a pixel is its row, the second its column.
"""

import numpy as np
import pytest

import minitl
from minitl.preprocessing.image import ImageDataGenerator

SIZE, COUNT, MIDDLE = 33, 48, 16
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE].astype(np.float32)
PICTURES = np.repeat(np.stack([ROWS, COLUMNS, np.full_like(ROWS, 16)], axis=-1)[None], COUNT, axis=0)
NEAR = 6  # pixels around the middle, which no range here moves out of the picture


def batch(**settings):
    return next(ImageDataGenerator(**settings).flow(PICTURES, batch_size=COUNT, shuffle=False, seed=3))


def moved(pictures):
    """Where the middle of every picture comes from, and the steps (rows, columns) in it down and to the right."""
    middle = pictures[:, MIDDLE, MIDDLE, :2]
    down = (pictures[:, MIDDLE + NEAR, MIDDLE, :2] - pictures[:, MIDDLE - NEAR, MIDDLE, :2]) / (2 * NEAR)
    right = (pictures[:, MIDDLE, MIDDLE + NEAR, :2] - pictures[:, MIDDLE, MIDDLE - NEAR, :2]) / (2 * NEAR)
    return middle - MIDDLE, down, right


def varied(numbers, low, high):
    """All within a range, different in every picture, and over most of the range."""
    assert low - 1e-3 <= numbers.min() and numbers.max() <= high + 1e-3
    assert len(np.unique(numbers)) == COUNT and np.ptp(numbers) > 0.7 * (high - low)


def same(numbers, value):
    np.testing.assert_allclose(numbers, np.broadcast_to(value, numbers.shape), atol=2e-3)


def test_nothing_is_moved_without_a_setting():
    same(batch(), PICTURES)


@pytest.mark.parametrize(("name", "axis"), [("height_shift_range", 1), ("width_shift_range", 0)])  # so it is in Keras
def test_shifts(name, axis):
    middle, down, right = moved(batch(**{name: 0.2}))
    varied(middle[:, axis], -0.2 * SIZE, 0.2 * SIZE)
    same(middle[:, 1 - axis], 0)
    same(down, (1, 0))
    same(right, (0, 1))


def test_a_whole_number_is_a_choice_of_whole_pixels():
    middle, _, _ = moved(batch(height_shift_range=4))
    assert set(np.round(middle[:, 1], 3)) == {float(k) for k in range(-3, 4)}


def test_rotations():
    middle, down, right = moved(batch(rotation_range=40))
    same(middle, 0)
    same(np.hypot(*down.T), 1)
    angles = np.degrees(np.arctan2(down[:, 1], down[:, 0]))
    varied(angles, -40, 40)
    same(right, np.stack([-down[:, 1], down[:, 0]], axis=1))


def test_zooms_are_of_rows_and_columns_by_themselves():
    middle, down, right = moved(batch(zoom_range=(0.5, 1.0)))
    same(middle, 0)
    varied(down[:, 0], 0.5, 1)
    varied(right[:, 1], 0.5, 1)
    same(np.stack([down[:, 1], right[:, 0]]), 0)
    assert abs(np.corrcoef(down[:, 0], right[:, 1])[0, 1]) < 0.5
    only = moved(batch(zoom_range=[1, 1]))
    same(only[1], (1, 0))


def test_shears():
    middle, down, right = moved(batch(shear_range=20))
    same(middle, 0)
    slopes = np.degrees(np.arcsin(right[:, 0])) if np.ptp(right[:, 0]) > 1e-3 else np.degrees(np.arcsin(down[:, 1]))
    varied(slopes, -20, 20)


@pytest.mark.parametrize(("name", "axis"), [("vertical_flip", 0), ("horizontal_flip", 1)])
def test_flips(name, axis):
    _, *steps = moved(batch(**{name: True}))
    flipped = steps[axis][:, axis] < 0
    assert 0.25 * COUNT < flipped.sum() < 0.75 * COUNT
    same(np.abs(steps[axis][:, axis]), 1)
    same(steps[1 - axis][:, 1 - axis], 1)


def test_colours_are_shifted_by_one_number_per_picture():
    change = batch(channel_shift_range=15.0)[..., 2] - 16
    same(change.std(axis=(1, 2)), 0)
    varied(change[:, 0, 0], -15, 15)


def test_light_is_one_factor_per_picture():
    factor = batch(brightness_range=(0.5, 1.5))[..., 2] / 16
    assert factor.std(axis=(1, 2)).max() < 0.02
    low, high = factor[:, 0, 0].min(), factor[:, 0, 0].max()
    assert 0.47 < low < 0.65 and 1.35 < high < 1.53


@pytest.mark.parametrize("also", [{}, {"channel_shift_range": 1e-3}, {"brightness_range": (1.0, 1.0)}, {"rotation_range": 1e-6}])
def test_the_scale_comes_last(also):
    np.testing.assert_allclose(batch(rescale=1 / 8, **also)[..., 2], 2, rtol=0.01)
    np.testing.assert_allclose(batch(rescale=1 / 8, preprocessing_function=lambda x: x + 8, **also)[..., 2], 3, rtol=0.01)
    centred = batch(rescale=1 / 8, samplewise_center=True, **also)
    np.testing.assert_allclose(centred.mean(axis=(1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(
        centred[:, 1, 0, 0] - centred[:, 0, 0, 0], 1 / 8, atol=0.13 if "brightness_range" in also else 1e-3
    )


def test_other_numbers_than_bytes_and_floats_are_transformed_as_floats():
    generator, parameters = ImageDataGenerator(), {"theta": 10.0, "tx": 1.5, "zx": 0.9}
    expected = generator.apply_transform(PICTURES[0], parameters)
    y = generator.apply_transform(PICTURES[0].astype(np.int64), parameters)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)


def test_statistics_of_augmented_pictures_are_of_one_round_unless_more_are_asked_for():
    def mean(**rounds):
        generator = ImageDataGenerator(featurewise_center=True, zoom_range=(0.5, 1.0), rotation_range=40)
        generator.fit(np.random.default_rng(0).random((2, 8, 8, 3)), augment=True, seed=1, **rounds)
        return generator.mean

    np.testing.assert_array_equal(mean(), mean(rounds=1))
    assert not np.array_equal(mean(), mean(rounds=2))


MOVES = {
    "zoom of rows": ("RandomZoom", ((0.5, 0.5), (0.0, 0.0))), "zoom of columns": ("RandomZoom", ((0.0, 0.0), (0.5, 0.5))),
    "zoom of both": ("RandomZoom", ((-0.5, -0.5), (0.25, 0.25))), "the same zoom": ("RandomZoom", ((-0.5, -0.5),)),
    "down": ("RandomTranslation", ((0.25, 0.25), (0.0, 0.0))), "left": ("RandomTranslation", ((0.0, 0.0), (-0.25, -0.25))),
    "a quarter turn": ("RandomRotation", ((0.25, 0.25),)), "turned": ("RandomRotation", ((0.1, 0.1),)),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("fill_mode", ["reflect", "nearest"])  # a constant begins half a pixel further out there
def test_layers_move_as_keras_s_do(name, fill_mode):
    """Of ranges that hold one number alone."""
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    kind, factors = MOVES[name]
    x = np.random.default_rng(4).random((2, 12, 12, 3)).astype(np.float32)
    ours = getattr(minitl.layers, kind)(*factors, fill_mode=fill_mode)(x, training=True)
    theirs = np.asarray(getattr(keras.layers, kind)(*factors, fill_mode=fill_mode)(x, training=True))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert not np.allclose(ours, x, atol=0.1)
