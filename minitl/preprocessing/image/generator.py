"""ImageDataGenerator: Keras's, with every argument and the same meaning, on one compiled warp per image."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from minitl import channels
from minitl.preprocessing.image import transforms
from minitl.preprocessing.image.files import check_data_format
from minitl.preprocessing.image.folders import DataFrameIterator, DirectoryIterator
from minitl.preprocessing.image.iterators import NumpyArrayIterator


class ImageDataGenerator:
    """Images, augmented at random and standardized.

    Ranges: `rotation_range` and `shear_range` in degrees to either side; `width_shift_range` and `height_shift_range` a share of
    the size (below 1), pixels (an integer n: whole pixels below n), or a list to pick from; `zoom_range` z for 1 - z .. 1 + z,
    or a pair; `channel_shift_range` up to so much; `brightness_range` a pair of factors; flips with probability 1/2.
    As in Keras, whose affine matrix has its axes exchanged, a width shift moves images up and down and a height shift sideways.
    Order: preprocessing_function after all that, then rescale, then the sample's own mean and deviation, then those of the data
    (`fit` finds them), then ZCA whitening. With one seed and one shape, `get_random_transform` draws Keras's numbers.
    Shapes: (H, W, C) an image; results are float32 unless `dtype` says float64. `interpolation_order` 0 or 1.
    Errors: ValueError for arguments out of range.
    Source: Keras, `keras.preprocessing.image.ImageDataGenerator`.
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: Any = 0.0,
        height_shift_range: Any = 0.0,
        brightness_range: Any = None,
        shear_range: float = 0.0,
        zoom_range: Any = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[[np.ndarray], np.ndarray] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: Any = None,
    ):
        check_data_format(data_format)
        if validation_split and not 0 < validation_split < 1:
            raise ValueError(f"ImageDataGenerator: validation_split must be in (0, 1), got {validation_split!r}")
        if isinstance(zoom_range, (int, float)):
            zoom_range = (1 - zoom_range, 1 + zoom_range)
        if np.shape(zoom_range) != (2,):
            raise ValueError(f"ImageDataGenerator: zoom_range must be a number or a pair, got {zoom_range!r}")
        if brightness_range is not None and np.shape(brightness_range) != (2,):
            raise ValueError(f"ImageDataGenerator: brightness_range must be a pair of factors, got {brightness_range!r}")
        # Asking for them one at a time finds a wrong mode or order now, not in a background thread.
        transforms.warp(
            np.zeros((1, 1, 1, 1), np.uint8), np.arange(0), np.zeros((0, 2, 3)), fill_mode, 0, interpolation_order, 1, "f4"
        )
        featurewise_std_normalization = featurewise_std_normalization and not zca_whitening
        self.featurewise_center = featurewise_center or featurewise_std_normalization or zca_whitening
        self.samplewise_center = samplewise_center or samplewise_std_normalization
        self.featurewise_std_normalization = featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening, self.zca_epsilon = zca_whitening, zca_epsilon
        self.rotation_range, self.shear_range, self.zoom_range = rotation_range, shear_range, list(zoom_range)
        self.width_shift_range, self.height_shift_range = width_shift_range, height_shift_range
        self.brightness_range, self.channel_shift_range = brightness_range, channel_shift_range
        self.fill_mode, self.cval, self.interpolation_order = fill_mode, cval, interpolation_order
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.rescale, self.preprocessing_function = rescale, preprocessing_function
        self.validation_split = validation_split
        self.dtype = np.dtype(dtype or np.float32)
        self.mean: np.ndarray | None = None
        self.std: np.ndarray | None = None
        self.zca_whitening_matrix: np.ndarray | None = None

    # Where images come from.

    def flow(self, x: Any, y: Any = None, batch_size: int = 32, shuffle: bool = True, **how: Any) -> NumpyArrayIterator:
        """Batches from arrays; see `NumpyArrayIterator` for the other arguments."""
        return NumpyArrayIterator(x, y, self, batch_size, shuffle, **how)

    def flow_from_directory(self, directory: Any, target_size: tuple[int, int] = (256, 256), **how: Any) -> DirectoryIterator:
        """Batches from a folder with a folder for every class; see `DirectoryIterator` for the other arguments."""
        return DirectoryIterator(directory, self, target_size, **how)

    def flow_from_dataframe(
        self, dataframe: Any, directory: Any = None, x_col: str = "filename", **how: Any
    ) -> DataFrameIterator:
        """Batches from a table of file names; see `DataFrameIterator` for the other arguments."""
        return DataFrameIterator(dataframe, directory, self, x_col, **how)

    # One image.

    def get_random_transform(self, img_shape: tuple[int, ...], seed: int | None = None) -> dict[str, Any]:
        """Parameters for one image, drawn in Keras's order: with a seed, Keras's own numbers."""
        random = np.random.RandomState(seed) if seed is not None else np.random.mtrand._rand
        theta = random.uniform(-self.rotation_range, self.rotation_range) if self.rotation_range else 0
        tx = _shift(self.height_shift_range, img_shape[0], random)
        ty = _shift(self.width_shift_range, img_shape[1], random)
        shear = random.uniform(-self.shear_range, self.shear_range) if self.shear_range else 0
        zx, zy = random.uniform(self.zoom_range[0], self.zoom_range[1], 2) if list(self.zoom_range) != [1, 1] else (1, 1)
        shift, light = self.channel_shift_range, self.brightness_range
        return {
            "theta": theta, "tx": tx, "ty": ty, "shear": shear, "zx": zx, "zy": zy,
            "flip_horizontal": (random.random_sample() < 0.5) * self.horizontal_flip,
            "flip_vertical": (random.random_sample() < 0.5) * self.vertical_flip,
            "channel_shift_intensity": random.uniform(-shift, shift) if shift else None,
            "brightness": random.uniform(*light) if light is not None else None,
        }  # fmt: skip

    def apply_transform(self, x: np.ndarray, transform_parameters: dict[str, Any]) -> np.ndarray:
        """One image (H, W, C), transformed; parameters that are left out change nothing."""
        x = np.asarray(x)
        given = {name: value for name, value in transform_parameters.items() if name in transforms.DEFAULTS}
        m = transforms.matrices(*x.shape[:2], **given)
        y = self._warp(np.asarray(x[None], None if x.dtype in (np.uint8, np.float32, np.float64) else np.float32), [0], m, 1.0)[0]
        return _colours(y, transform_parameters.get("channel_shift_intensity"), transform_parameters.get("brightness"))

    def random_transform(self, x: np.ndarray, seed: int | None = None) -> np.ndarray:
        """One image (H, W, C), transformed at random."""
        return self.apply_transform(x, self.get_random_transform(np.shape(x), seed))

    def standardize(self, x: np.ndarray) -> np.ndarray:
        """One image (H, W, C), or a batch of them as one, brought to the scale that was asked for; x is not changed.

        A mean, deviation or whitening that `fit` has not found yet is left out with a warning.
        """
        if self.preprocessing_function is not None:
            x = self.preprocessing_function(x)
        x = np.asarray(x, self.dtype)
        return self._normalized(x * self.dtype.type(self.rescale) if self.rescale else x)

    def _normalized(self, x: np.ndarray) -> np.ndarray:
        if self.samplewise_center:
            x = x - x.mean()
        if self.samplewise_std_normalization:
            x = x / (x.std() + self.dtype.type(1e-6))
        for wanted, found, use in (
            (self.featurewise_center, self.mean, lambda x, mean: x - mean),
            (self.featurewise_std_normalization, self.std, lambda x, std: x / (std + self.dtype.type(1e-6))),
            (self.zca_whitening, self.zca_whitening_matrix, lambda x, zca: (x.reshape(-1, len(zca)) @ zca).reshape(x.shape)),
        ):
            if wanted and found is None:
                warnings.warn("this ImageDataGenerator needs the data's statistics: call fit(x) first", stacklevel=3)
            elif wanted:
                x = use(x, found)
        return x

    def fit(self, x: Any, augment: bool = False, rounds: int = 1, seed: int | None = None) -> None:
        """Find the mean, the deviation and the whitening of some images (N, H, W, C), perhaps augmented `rounds` times.

        Formula: ZCA, with X = U S V^T of the centred images as columns: U diag(sqrt(N) / (S + epsilon)) U^T.
        Errors: ValueError for another number of axes.
        """
        x = channels.inner_images(np.array(x, self.dtype))
        if x.ndim != 4:
            raise ValueError(f"ImageDataGenerator.fit: expected pictures (N, H, W, C), got shape {x.shape}")
        if self.rescale:
            x *= self.dtype.type(self.rescale)
        if augment:
            random = np.random.default_rng(seed)
            x = np.concatenate([self._augmented(x, np.arange(len(x)), random, 1.0) for _ in range(rounds)])
        if self.featurewise_center:
            self.mean = x.mean(axis=(0, 1, 2), dtype=np.float64).astype(self.dtype).reshape(1, 1, -1)
            x = x - self.mean
        if self.featurewise_std_normalization:
            self.std = x.std(axis=(0, 1, 2), dtype=np.float64).astype(self.dtype).reshape(1, 1, -1)
            x = x / (self.std + self.dtype.type(1e-6))
        if self.zca_whitening:
            u, s, _ = np.linalg.svd(x.reshape(len(x), -1).T, full_matrices=False)
            self.zca_whitening_matrix = (u * (np.sqrt(len(x)) / (s + self.zca_epsilon))) @ u.T

    # A batch.

    def transform_batch(self, source: np.ndarray, rows: np.ndarray, random: np.random.Generator | None) -> np.ndarray:
        """The images source[rows], augmented by draws from a generator (None: as they are), and standardized.

        Shapes: source (N, H, W, C) to (len(rows), H, W, C) of the generator's dtype.
        """
        simple = self.preprocessing_function is None and not self.channel_shift_range and self.brightness_range is None
        scale = float(self.rescale or 1.0) if simple else 1.0  # goes into the warp
        if random is None:
            x = source[rows].astype(self.dtype)
            x *= self.dtype.type(scale)
        else:
            x = self._augmented(source, rows, random, scale)
        rest = (self.samplewise_center, self.featurewise_center, self.zca_whitening)
        if simple and not any(rest):
            return x
        return np.stack([self._normalized(picture) if simple else self.standardize(picture) for picture in x])

    def _augmented(self, source: np.ndarray, rows: np.ndarray, random: np.random.Generator, scale: float) -> np.ndarray:
        n, (height, width) = len(rows), source.shape[1:3]
        p: dict[str, Any] = {}
        if self.rotation_range:
            p["theta"] = random.uniform(-self.rotation_range, self.rotation_range, n)
        p["tx"] = _shift(self.height_shift_range, height, random, n)
        p["ty"] = _shift(self.width_shift_range, width, random, n)
        if self.shear_range:
            p["shear"] = random.uniform(-self.shear_range, self.shear_range, n)
        if self.zoom_range != [1, 1]:
            p["zx"], p["zy"] = random.uniform(self.zoom_range[0], self.zoom_range[1], (2, n))
        if self.horizontal_flip:
            p["flip_horizontal"] = random.random(n) < 0.5
        if self.vertical_flip:
            p["flip_vertical"] = random.random(n) < 0.5
        x = self._warp(source, rows, transforms.matrices(height, width, count=n, **p), scale)
        shifts = random.uniform(-1, 1, n) * self.channel_shift_range if self.channel_shift_range else [None] * n
        lights = (
            random.uniform(self.brightness_range[0], self.brightness_range[1], n)
            if self.brightness_range is not None
            else [None] * n
        )
        if self.channel_shift_range or self.brightness_range is not None:
            for i in range(n):
                x[i] = _colours(x[i], shifts[i], lights[i])
        return x

    def _warp(self, source: np.ndarray, rows: Any, m: np.ndarray, scale: float) -> np.ndarray:
        return transforms.warp(
            source, np.asarray(rows), m, self.fill_mode, self.cval, self.interpolation_order, scale, self.dtype
        )


def _colours(x: np.ndarray, shift: float | None, light: float | None) -> np.ndarray:
    if shift is not None:
        x = transforms.channel_shift(x, shift)
    return transforms.brightness(x, light) if light is not None else x


def _shift(wanted: Any, size: int, random: Any, n: int | None = None) -> Any:
    """Keras's rule for one shift, or n: a float below 1 is a share, an integer or a list is picked from, with either sign."""
    if not np.any(wanted):
        return 0
    if np.ndim(wanted) == 0 and not isinstance(wanted, (int, np.integer)):
        shift = random.uniform(-wanted, wanted, n)
    else:
        shift = random.choice(wanted, n)
        shift = shift * random.choice([-1, 1], n)
    return shift * size if np.max(wanted) < 1 else shift
