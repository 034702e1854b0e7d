"""The control that matters most: the same photographs, a small network that starts from random weights, and augmentation.

A pretrained base is worth what it adds to this. The network is four convolutions with batch normalisation at 64 pixels,
which two cores train in a minute; it sees every photograph shifted, mirrored, and lighter or darker.
"""

from __future__ import annotations

import numpy as np

from minitl.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
    RandomContrast,
    RandomFlip,
    RandomTranslation,
    ReLU,
    Rescaling,
)  # fmt: skip
from minitl.models import Sequential
from minitl.optimizers import AdamW
from minitl.photographs.images import batches
from minitl.random import set_random_seed
from minitl.schedules import CosineDecay

SIZE, BATCH = 64, 32
WIDTHS = (16, 32, 64, 128)
UPDATES = 1500  # the same for few photographs as for many
RATE = 3e-3


def small_images(paths: list[str]) -> np.ndarray:
    """Photographs at the control's size, all of them in memory.

    Shapes: (N, 64, 64, 3), uint8.
    """
    return np.concatenate([images for images, _ in batches(paths, SIZE)])


def from_scratch(
    images: np.ndarray, labels: np.ndarray, classes: int, seed: int, rate: float = RATE, updates: int | None = None
) -> Sequential:
    """A small network, trained on photographs from random weights; its predictions are probabilities.

    `rate` is the highest learning rate; it falls with a cosine to zero over the updates, by default 1,500.
    Shapes: images (N, 64, 64, 3), uint8; labels (N,) class numbers.
    """
    set_random_seed(seed)
    model = Sequential([Input((SIZE, SIZE, 3)), Rescaling(1 / 127.5, -1.0), RandomFlip("horizontal")])
    model.add(RandomTranslation(0.1, 0.1, fill_mode="reflect"))
    model.add(RandomContrast(0.2))
    for filters in WIDTHS:
        model.add(Conv2D(filters, 3, padding="same", use_bias=False))
        model.add(BatchNormalization())
        model.add(ReLU())
        model.add(MaxPooling2D())
    model.add(GlobalAveragePooling2D())
    model.add(Dropout(0.3))
    model.add(Dense(classes, activation="softmax"))
    epochs = max(1, round((updates or UPDATES) * BATCH / len(images)))
    steps = -(-len(images) // BATCH)
    model.compile(AdamW(CosineDecay(rate, epochs * steps), weight_decay=0.02), "sparse_categorical_crossentropy")
    model.fit(images.astype(np.float32), labels, batch_size=BATCH, epochs=epochs, verbose=0)
    return model
