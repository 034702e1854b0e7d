"""A small training for `test_distributed.py`, alone or under mpirun; prints its history and a hash of its weights."""

import hashlib
import os
import signal
import sys

import numpy as np

from minitl import processes
from minitl.callbacks import BackupAndRestore, Callback
from minitl.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D
from minitl.models import Sequential
from minitl.utils import set_random_seed


class Dies(Callback):
    """One process is killed in the middle of an epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if processes.rank() == 1 and self.model.training_run.epoch == 1 and batch == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def main(accumulate, backup, dies):
    set_random_seed(3)
    x = np.random.default_rng(0).standard_normal((51, 10, 10, 3)).astype(np.float32)
    y = np.arange(51) % 4  # the last batch has fewer samples than four processes
    model = Sequential(
        [
            Input((10, 10, 3)), Conv2D(8, 3, activation="relu"), MaxPooling2D(), BatchNormalization(), Dropout(0.3), Flatten(),
            Dense(4, activation="softmax", kernel_regularizer="l2"),
        ]
    )  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    callbacks = ([BackupAndRestore(backup, save_freq=1)] if backup else []) + ([Dies()] if dies else [])
    history = model.fit(x, y, batch_size=16, epochs=3, verbose=0, accumulate=accumulate, callbacks=callbacks)
    weights = hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()
    print(history.history["loss"], history.history["accuracy"], weights)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None, "dies" in sys.argv)
