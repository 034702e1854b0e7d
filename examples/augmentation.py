"""What augmentation looks like: each recipe and each argument of ImageDataGenerator, a row of draws from a few images.

python examples/augmentation.py                   glyphs; no download
python examples/augmentation.py --folder DIR      images of your own, in a folder for every class
"""

from __future__ import annotations

import argparse

import numpy as np

from minitl import plot
from minitl.datasets import glyphs
from minitl.preprocessing.image import ImageDataGenerator, alternating_flip, cutout, mixup, pad_and_crop

COLUMNS = 8
RECIPES = {
    "pad_and_crop(4)": pad_and_crop(4),
    "alternating_flip()": alternating_flip(),
    "cutout(12)": cutout(12, value=0.5),
    "mixup(0.4)": mixup(0.4),
}
ARGUMENTS = {
    "rotation_range=30": {"rotation_range": 30},
    "width_shift_range=0.2": {"width_shift_range": 0.2},
    "shear_range=25": {"shear_range": 25},
    "zoom_range=0.4": {"zoom_range": 0.4},
    "horizontal_flip=True": {"horizontal_flip": True},
    "channel_shift_range=80": {"channel_shift_range": 80},
    "brightness_range=(0.4, 1.6)": {"brightness_range": (0.4, 1.6)},
    "fill_mode='reflect', all": {"rotation_range": 30, "zoom_range": 0.4, "shear_range": 15, "fill_mode": "reflect"},
}


def main(arguments: argparse.Namespace) -> None:
    """Draw the sheet."""
    if arguments.folder:
        data = ImageDataGenerator().flow_from_directory(
            arguments.folder, (32, 32), batch_size=COLUMNS, seed=2, class_mode="sparse"
        )
        x, y = next(data)
    else:
        x, y = glyphs.draw("letters", 26, glyphs.TRAIN_FONTS, np.random.default_rng(5))
        x, y = x[:COLUMNS], y[:COLUMNS, 0]
    x = np.asarray(x, np.float32) / 255
    one_hot = np.eye(int(np.max(y)) + 1, dtype=np.float32)[np.asarray(y, int)]
    rows, names = [x], ["as they are"]
    for name, recipe in RECIPES.items():
        rows.append(recipe(x, one_hot, np.arange(len(x)), 0, np.random.default_rng(1))[0])
        names.append(name)
    for name, settings in ARGUMENTS.items():
        flow = ImageDataGenerator(rescale=1 / 255, **settings).flow(255 * x, batch_size=len(x), shuffle=False, seed=1)
        rows.append(next(flow))
        names.append(name)
    titles = [text for name in names for text in (name, *[""] * (len(x) - 1))]
    plot.images(np.clip(np.concatenate(rows), 0, 1), titles, arguments.output, columns=len(x))
    print(f"{len(names)} rows in {arguments.output}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder")
    parser.add_argument("--output", default="augmentation.png")
    main(parser.parse_args())
