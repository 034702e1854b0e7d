"""The program of a Keras tutorial on CIFAR-10 from folders, as it stands there; only the imports are minitl's.

    python examples/tutorial.py data/cifar10           folders train/<class>/*.png and test/<class>/*.png
    python examples/tutorial.py data/cifar10 --epochs 20 --steps 1875     as long as the tutorial trains

(50,000 files give 1,563 batches; the tutorial asks for 1,875: the generator goes on into the next pass.)
"""

from __future__ import annotations

import argparse
import os

from minitl.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from minitl.models import Sequential
from minitl.preprocessing.image import ImageDataGenerator


def main(folder: str, epochs: int = 5, steps: int | None = None, output: str | None = "tutorial.npz"):
    """Train, test, save; returns the history and the test accuracy."""
    model = Sequential()
    model.add(Conv2D(32, (3, 3), input_shape=(32, 32, 3), activation="relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Conv2D(64, (3, 3), activation="relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Flatten())
    model.add(Dense(128, activation="relu"))
    model.add(Dropout(0.3))
    model.add(Dense(10, activation="softmax"))

    train_datagen = ImageDataGenerator(rescale=1.0 / 255, shear_range=0.2, zoom_range=0.2, horizontal_flip=True)
    test_datagen = ImageDataGenerator(rescale=1.0 / 255)
    train_generator = train_datagen.flow_from_directory(
        os.path.join(folder, "train"), target_size=(32, 32), batch_size=32, class_mode="categorical"
    )
    test_generator = test_datagen.flow_from_directory(
        os.path.join(folder, "test"), target_size=(32, 32), batch_size=32, class_mode="categorical", shuffle=False
    )

    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    history = model.fit_generator(train_generator, steps_per_epoch=steps, epochs=epochs, verbose=2)
    loss, accuracy = model.evaluate_generator(test_generator)
    print(f"test: loss {loss:.3f}, accuracy {accuracy:.3f}")
    if output:
        model.save(output)
    return history, accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--steps", type=int, help="batches per epoch; without it, one pass over the files")
    parser.add_argument("--output", default="tutorial.npz")
    options = parser.parse_args()
    main(options.folder, options.epochs, options.steps, options.output)
