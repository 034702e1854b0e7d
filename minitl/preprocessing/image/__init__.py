"""Images: from files and folders, augmented, in batches. Names and meanings are those of `keras.preprocessing.image`."""

from minitl.preprocessing.image.files import BadImageError, array_to_img, img_to_array, load_img, save_img
from minitl.preprocessing.image.folders import DataFrameIterator, DirectoryIterator
from minitl.preprocessing.image.functions import (
    apply_affine_transform,
    apply_brightness_shift,
    apply_channel_shift,
    flip_axis,
    random_brightness,
    random_channel_shift,
    random_rotation,
    random_shear,
    random_shift,
    random_zoom,
    smart_resize,
)
from minitl.preprocessing.image.generator import ImageDataGenerator
from minitl.preprocessing.image.iterators import Iterator, NumpyArrayIterator
from minitl.preprocessing.image.recipes import (
    alternating_flip,
    augmented,
    compose,
    cutout,
    label_smoothing,
    mixup,
    pad_and_crop,
)
from minitl.preprocessing.image.views import predict_views
from minitl.preprocessing.image.whitening import whitening_kernel

__all__ = [
    "BadImageError",
    "DataFrameIterator",
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "alternating_flip",
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "array_to_img",
    "augmented",
    "compose",
    "cutout",
    "flip_axis",
    "img_to_array",
    "label_smoothing",
    "load_img",
    "mixup",
    "pad_and_crop",
    "predict_views",
    "random_brightness",
    "random_channel_shift",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_zoom",
    "save_img",
    "smart_resize",
    "whitening_kernel",
]
